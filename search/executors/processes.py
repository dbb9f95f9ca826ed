"""Evaluations in several processes of this machine.

Workers are spawned once and stay. They receive the work once, with its arrays in a file that all of them map. A worker
that dies is replaced, and its job returns as lost. They end with this process, however it ends.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from phiscale.checks import positive, whole
from phiscale.errors import SettingsError, StudyError
from search.executors.contract import Job, Lost, Outcome, Work, attempt_and_send, received
from search.executors.memory import Memory, fits
from search.executors.shared_work import ReceivedWork, SharedWork

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_MOST_DEATHS = 3
"""After so many deaths of workers in a row before any job, no more are started."""
_PAUSE = 1.0
"""Longest time between two checks of the workers, in seconds. If a worker dies, a process that it forked keeps its
pipes open."""
_UNGUARDED = 97
"""Exit status of a worker that imports a script, which then starts workers of its own."""


class Processes:
    """The executor of ``workers`` processes; ``timeout`` is the longest that a job may take, in seconds.

    Raises ``SettingsError`` for an impossible number of workers or timeout.
    """

    def __init__(self, workers: int, *, timeout: float | None = None) -> None:
        if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself checks
            os._exit(_UNGUARDED)
        self.workers = whole("workers", workers, SettingsError)
        self._timeout = None if timeout is None else positive("timeout", timeout, SettingsError)
        self._waiting: deque[Job] = deque()
        self._crew: list[_Worker] = []
        self._work: SharedWork | None = None
        self._deaths = 0
        self._memory: dict[str, Memory] = {}
        """The latest report of a worker on each device."""

    def start(self, work: Work) -> None:
        """Write the work where workers find it, and spawn them."""
        self._work = SharedWork(work)
        self._crew = [self._spawn(place) for place in range(self.workers)]

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._waiting.append(job)

    def withdraw(self, keys: Collection[Any]) -> None:
        """Drop those of the jobs that have not begun."""
        self._waiting = deque(job for job in self._waiting if job.key not in keys)

    def wait(self) -> list[Outcome]:
        """The outcomes. Raises ``StudyError`` if every worker dies as it starts."""
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
        """Give waiting jobs, in their order, to idle workers with enough memory."""
        for worker in self._crew:
            if not self._waiting:
                return
            if worker.is_idle and self._has_room(worker, self._waiting[0].needed):
                worker.give(self._waiting.popleft())

    def _has_room(self, worker: _Worker, needed: int) -> bool:
        device = worker.memory.device
        running = [other.job.needed for other in self._crew if other.job and other.memory.device == device]
        return fits(needed, self._memory.get(device, Memory()), running)

    def _patience(self) -> float:
        """Seconds until the next check."""
        now, limit = time.monotonic(), self._timeout or math.inf
        return max(0.0, min([_PAUSE, *(worker.since + limit - now for worker in self._crew if worker.job)]))

    def _ready(self, timeout: float) -> list[_Worker]:
        """Workers that have sent something or ended; waits at most ``timeout`` seconds."""
        handles: list[Any] = [handle for w in self._crew for handle in (w.connection, w.process.sentinel)]
        ready = set(wait(handles, timeout))
        return [w for w in self._crew if {w.connection, w.process.sentinel} & ready or w.process.exitcode is not None]

    def _late(self) -> list[Outcome]:
        """The jobs whose time has run out; their workers are killed and replaced."""
        late = [w for w in self._crew if w.job and self._timeout and time.monotonic() - w.since > self._timeout]
        return [lost for w in late for lost in self._replace(w, f"it took more than {self._timeout:g} s")]

    def _heard(self, worker: _Worker) -> list[Outcome]:
        try:
            if worker.process.exitcode is not None:
                worker.kill_session()  # a process that it forked may keep its pipe open in the middle of an answer
            if not worker.connection.poll():
                raise EOFError
            sent, worker.memory = worker.connection.recv()
        except (EOFError, OSError):
            return self._died(worker)
        self._memory[worker.memory.device] = worker.memory
        self._deaths, worker.is_ready = 0, True
        if sent is None:
            return []
        job, worker.job = worker.job, None
        return [received(job.key, sent)] if job else []

    def _died(self, worker: _Worker) -> list[Outcome]:
        worker.process.join(_PAUSE)
        if worker.process.exitcode == _UNGUARDED:
            raise SettingsError(
                "expected a script that starts its search under if __name__ == '__main__':, got one that starts it "
                "when a worker process imports it; put the call under that line"
            ) from None
        reason = _ending(worker.process.exitcode)
        if not worker.is_ready:
            self._deaths += 1
            if self._deaths >= _MOST_DEATHS:
                raise StudyError(
                    f"expected worker processes that start, got {self._deaths} that ended at once ({reason}); "
                    "see what they printed above, or use --workers 1"
                ) from None
        return self._replace(worker, f"its worker process ended ({reason})")

    def _replace(self, worker: _Worker, reason: str) -> list[Outcome]:
        worker.end()
        self._crew[self._crew.index(worker)] = self._spawn(worker.place)
        return [Lost(worker.job.key, reason)] if worker.job else []


@dataclass(eq=False)
class _Worker:
    """A worker process, as the driver sees it."""

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
        with contextlib.suppress(OSError):  # its sentinel shows whether it has died
            self.connection.send(job)

    def end(self) -> None:
        """End the process, and every process that its evaluations left running."""
        self.kill_session()
        self.process.kill()
        self.process.join()
        self.connection.close()

    def kill_session(self) -> None:
        if self.is_ready and self.process.pid:  # before that it may not have its own session
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def _serve(connection: Connection, sent: ReceivedWork) -> None:
    """A worker: load the work, then do one job after the other, in a process session of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work = sent.load()
    with contextlib.suppress(EOFError, OSError):  # the driver has ended
        connection.send((None, Memory.of(work)))
        while True:
            job = connection.recv()
            connection.send((attempt_and_send(work, job), Memory.of(work)))


def _end_with_parent() -> None:
    """End this session together with the process that started it; after its ``kill -9`` this one would wait for
    ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        while os.getppid() == parent.pid:
            parent.join(_PAUSE)
        os.killpg(0, signal.SIGKILL)


@contextlib.contextmanager
def _environment(changed: dict[str, str]) -> Iterator[None]:
    """Set these variables for processes that are started meanwhile."""
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
