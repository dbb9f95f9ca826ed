"""Evaluations side by side in processes of this machine.

Workers are spawned once and stay; the work goes to them once, its arrays in a file that all of them map. One that dies
is replaced, and its job comes back as lost. They end with this process, however it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from phiscale.errors import StudyError
from search.executors.contract import Job, Lost, Outcome, Work, attempt_and_send
from search.executors.memory import Memory, fits
from search.executors.shared_work import ReceivedWork, SharedWork

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_MOST_DEATHS = 3
"""Deaths of workers, one after the other before any job, after which no more are started."""


class Processes:
    """The executor of ``workers`` processes; ``timeout`` is the longest that a job may take, in seconds."""

    def __init__(self, workers: int, *, timeout: float | None = None) -> None:
        self.workers = workers
        self._timeout = timeout
        self._waiting: deque[Job] = deque()
        self._crew: list[_Worker] = []
        self._work: SharedWork | None = None
        self._deaths = 0
        self._memory: dict[str, Memory] = {}
        """The latest that a worker said of each device."""

    def start(self, work: Work) -> None:
        """Write the work where workers find it, and spawn them."""
        self._work = SharedWork(work)
        self._crew = [self._spawn(place) for place in range(self.workers)]

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._waiting.append(job)

    def wait(self) -> list[Outcome]:
        """What came back. Raises ``StudyError`` where every worker dies as it starts."""
        while True:
            self._give_out()
            outcomes = self._late()
            for worker in self._ready(0 if outcomes else self._patience()):
                outcomes += self._heard(worker)
            if outcomes:
                return outcomes

    def close(self) -> None:
        """End the workers."""
        for worker in self._crew:
            worker.end()
        self._crew, self._waiting = [], deque()
        if self._work is not None:
            self._work.close()

    def _spawn(self, place: int) -> _Worker:
        gpus = _visible_gpus()
        changed = {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if len(gpus) > 1 else {}
        with _environment(changed):
            return _Worker.spawn(place, self._work)

    def _give_out(self) -> None:
        """Give waiting jobs, in their order, to idle workers in whose memory they fit."""
        for worker in self._crew:
            if not self._waiting:
                return
            if worker.is_idle and self._has_room(worker, self._waiting[0].needed):
                worker.give(self._waiting.popleft())

    def _has_room(self, worker: _Worker, needed: int) -> bool:
        device = worker.memory.device
        running = [other.job.needed for other in self._crew if other.job and other.memory.device == device]
        return fits(needed, self._memory.get(device, Memory()), running)

    def _patience(self) -> float | None:
        """Seconds until something has to be looked at again; None to wait for the workers alone."""
        now, limit = time.monotonic(), self._timeout
        times = [worker.since + limit - now for worker in self._crew if worker.job and limit is not None]
        return max(0.0, min(times)) if times else None

    def _ready(self, timeout: float | None) -> list[_Worker]:
        by_handle: dict[Any, _Worker] = {}
        for worker in self._crew:
            by_handle |= {worker.connection: worker, worker.process.sentinel: worker}
        return list({id(by_handle[handle]): by_handle[handle] for handle in wait(list(by_handle), timeout)}.values())

    def _late(self) -> list[Outcome]:
        """The jobs whose time has run out; their workers are killed and replaced."""
        late = [w for w in self._crew if w.job and self._timeout and time.monotonic() - w.since > self._timeout]
        return [self._replace(worker, f"it took more than {self._timeout:g} s") for worker in late if worker.job]

    def _heard(self, worker: _Worker) -> list[Outcome]:
        try:
            if not worker.connection.poll():
                raise EOFError
            sent, worker.memory = worker.connection.recv()
        except (EOFError, OSError):
            return self._died(worker)
        self._memory[worker.memory.device] = worker.memory
        self._deaths, worker.is_ready = 0, True
        if sent is None:
            return []
        worker.job = None
        return [pickle.loads(sent)]  # noqa: S301 - of this process's own worker

    def _died(self, worker: _Worker) -> list[Outcome]:
        worker.process.join(1)
        reason = _ending(worker.process.exitcode)
        if not worker.is_ready:
            self._deaths += 1
            if self._deaths >= _MOST_DEATHS:
                raise StudyError(
                    f"expected worker processes that start, got {self._deaths} that ended at once ({reason}); "
                    "see what they printed above, or use --workers 1"
                )
        if worker.job is None:
            self._crew[self._crew.index(worker)] = self._spawn(worker.place)
            return []
        return [self._replace(worker, f"its worker process ended ({reason})")]

    def _replace(self, worker: _Worker, reason: str) -> Lost:
        job = worker.job
        worker.end()
        self._crew[self._crew.index(worker)] = self._spawn(worker.place)
        return Lost(job.key if job else None, reason)


@dataclass(eq=False)
class _Worker:
    """A process, as this one sees it."""

    place: int
    process: SpawnProcess
    connection: Connection
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)
    """When its job was given."""
    is_ready: bool = False
    memory: Memory = field(default_factory=Memory)

    @classmethod
    def spawn(cls, place: int, work: SharedWork | None) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, work), name=f"phiscale-worker-{place}")
        process.start()
        theirs.close()
        return cls(place, process, ours)

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.job is None

    def give(self, job: Job) -> None:
        self.job, self.since = job, time.monotonic()
        with contextlib.suppress(OSError):  # one that has died is seen by its sentinel
            self.connection.send(job)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, received: ReceivedWork) -> None:
    """A worker: load the work, then do one job after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work = received.load()
    connection.send((None, Memory.of(work)))
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send((attempt_and_send(work, job), Memory.of(work)))


def _end_with_parent() -> None:
    """End this process with the one that started it, which ``kill -9`` would otherwise leave waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _environment(changed: dict[str, str]) -> Iterator[None]:
    """These variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return [name.strip() for name in stated.split(",") if name.strip()]
    try:
        import torch
    except ImportError:
        return []
    return [str(index) for index in range(torch.cuda.device_count())]


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}, for lack of memory perhaps"
    return f"exit status {code}"
