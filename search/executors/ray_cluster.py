"""Evaluations in a Ray cluster: on this machine or on many.

Every worker is an actor that loads the work once and keeps it. Ray never runs a call twice by itself: a call whose
worker or node was lost returns as lost. The code of this checkout is copied to the nodes, and the data of the work is
put into Ray's store once. Where the cluster asks for a token, Ray takes it from RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH.
Source: Ray's documentation of actors, fault tolerance and runtime environments (release 2.60).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import platform
import socket
import sys
import sysconfig
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import phiscale
from phiscale.checks import positive, real, whole
from phiscale.errors import SettingsError, StudyError, one_line
from search.executors.contract import Job, Lost, Outcome, Work, attempt_and_send, cannot_send, received

_CONNECT = 10.0
"""Seconds in which a cluster has to answer."""
_MOST_DEATHS = 5
"""After so many deaths of workers in a row before any was ready, the run ends."""
_PAUSE = 1.0
"""Longest time between two checks of jobs whose time may run out, in seconds."""
_INSTALLED = {"site-packages", "dist-packages"}
_NO_REPEATS = {"max_restarts": 0, "max_task_retries": 0}
_PACKAGES = ("phiscale", "objectives", "search", "scripts", "report")
_LEFT_OUT = ["**/__pycache__"]


class RayCluster:
    """The executor of ``workers`` actors; ``gpus`` and ``memory`` (bytes) are what each reserves.

    Without ``gpus`` that is one where the cluster has any, else one CPU. A session of Ray that this process has already
    started is used, and stays open. Raises ``SettingsError`` for an impossible number.
    """

    def __init__(
        self,
        workers: int,
        *,
        address: str = "auto",
        gpus: float | None = None,
        memory: int | None = None,
        timeout: float | None = None,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise SettingsError("expected the package ray for --executor ray; pip install ray")
        self.workers, self._address = whole("workers", workers, SettingsError), address
        self._timeout = None if timeout is None else positive("timeout", timeout, SettingsError)
        self._gpus = None if gpus is None else real("gpus", gpus, SettingsError)
        self._reserved = {} if memory is None else {"memory": whole("memory", memory, SettingsError)}
        self._waiting: deque[Job] = deque()
        self._crew: list[_Actor] = []
        self._deaths = 0
        self._work: Any = None
        self._is_ours = False
        """Whether to end the session of Ray."""

    def start(self, work: Work) -> None:
        """Connect, and start the actors. Raises ``SettingsError`` and ``StudyError``."""
        import ray

        if not ray.is_initialized():
            self._is_ours = True
            _connect(self._address)
        gpus = (1.0 if _largest("GPU") else 0.0) if self._gpus is None else self._gpus
        if gpus > _largest("GPU"):
            raise SettingsError(
                f"expected at most {_largest('GPU'):g} GPUs for each worker, which one node has, got {gpus:g}"
            )
        memory = self._reserved.get("memory", 0)
        if memory > _largest("memory"):
            raise SettingsError(
                f"expected at most {_largest('memory') / 2**30:.2f} GiB of memory for each worker, which one node of "
                f"the cluster has, got {memory / 2**30:.4g}"
            )
        self._options = {"num_cpus": 0 if gpus else 1, "num_gpus": gpus, **_NO_REPEATS, **self._reserved}
        try:
            self._work = ray.put(work)
        except Exception as error:  # noqa: BLE001 - objects raise anything when they are pickled
            raise cannot_send(error) from None
        self._crew = [self._spawn() for _ in range(self.workers)]

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._waiting.append(job)

    def withdraw(self, keys: Collection[Any]) -> None:
        """Drop those of the jobs that have not begun."""
        self._waiting = deque(job for job in self._waiting if job.key not in keys)

    def wait(self) -> list[Outcome]:
        """The outcomes. Raises ``StudyError`` if workers die as they start."""
        import ray

        while True:
            for actor in self._crew:
                if self._waiting and actor.is_idle:
                    actor.give(self._waiting.popleft())
            by_call = {actor.call: actor for actor in self._crew if actor.call is not None}
            ready, _ = ray.wait(list(by_call), num_returns=1, timeout=_PAUSE)
            more, _ = ray.wait(list(by_call), num_returns=len(by_call), timeout=0) if ready else ([], [])
            outcomes = [outcome for call in more for outcome in self._heard(by_call[call])]
            outcomes += self._late()
            if outcomes:
                return outcomes

    def close(self) -> None:
        """End the actors, and leave the cluster if it was joined here."""
        import ray

        for actor in self._crew:
            ray.kill(actor.handle)
        self._crew, self._waiting, self._work = [], deque(), None
        if self._is_ours:
            ray.shutdown()

    def _spawn(self) -> _Actor:
        import ray

        handle: Any = ray.remote(_Worker).options(**self._options).remote(self._work)
        return _Actor(handle, handle.about.remote())

    def _heard(self, actor: _Actor) -> list[Outcome]:
        import ray

        job, call = actor.job, actor.call
        actor.job = actor.call = None
        try:
            value = ray.get(call)
        except ray.exceptions.RayError as error:
            return self._lost(actor, job, error)
        self._deaths = 0
        if job is not None:
            return [received(job.key, value)]
        _check_same(value)
        return []

    def _lost(self, actor: _Actor, job: Job | None, error: Exception) -> list[Outcome]:
        reason = one_line(str(error), 200) or type(error).__name__
        self._crew[self._crew.index(actor)] = self._spawn()
        if job is not None:
            return [Lost(job.key, f"its worker was lost ({type(error).__name__})")]
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS:
            raise StudyError(f"expected workers that start on the cluster, got {self._deaths} that did not: {reason}")
        return []

    def _late(self) -> list[Outcome]:
        """The jobs whose time has run out; their workers are ended and replaced."""
        import ray

        found: list[Outcome] = []
        for index, actor in enumerate(self._crew):
            if actor.job is not None and self._timeout and time.monotonic() - actor.since > self._timeout:
                found.append(Lost(actor.job.key, f"it took more than {self._timeout:g} s"))
                ray.kill(actor.handle)
                self._crew[index] = self._spawn()
        return found


@dataclass(eq=False)
class _Actor:
    """A worker of the cluster, as the driver sees it."""

    handle: Any
    call: Any
    """The running call; at first the start of the worker."""
    job: Job | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def is_idle(self) -> bool:
        return self.call is None

    def give(self, job: Job) -> None:
        self.job, self.since = job, time.monotonic()
        self.call = self.handle.attempt.remote(job)


class _Worker:
    """The worker on a node."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def about(self) -> dict[str, str]:
        """What has to be the same on every node."""
        return _about()

    def attempt(self, job: Job) -> bytes:
        """One job; the pickled outcome."""
        return attempt_and_send(self._work, job)


def _connect(address: str) -> None:
    import ray

    environment = {
        "py_modules": [str(path) for path in _own_code()],
        "excludes": _LEFT_OUT,
        "worker_process_setup_hook": f"{__name__}.{load_own.__name__}",
    }
    try:
        _check_answers(address)
        ray.init(address=address, runtime_env=environment, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        reason = one_line(str(error), 200)
        raise SettingsError(
            f"expected a Ray cluster at {address}, got none ({reason}); start one with: ray start --head, or name "
            "another --address"
        ) from None


def load_own() -> None:
    """Load this checkout's packages as a worker starts.

    Ray then searches the driver's current folder first, where packages of a person may have the same names.
    """
    for name in _PACKAGES:
        importlib.import_module(name)


def _largest(resource: str) -> float:
    """The largest amount of a resource on any living node."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return max((float(node["Resources"].get(resource, 0)) for node in nodes if node["Alive"]), default=0.0)


def _own_code() -> list[Path]:
    """What has to be copied: this checkout's packages, and the imported modules of the current folder."""
    root, here = Path(phiscale.__file__).parents[1], Path.cwd()
    found = {root / name for name in _PACKAGES if (root / name).is_dir()}
    for name, module in list(sys.modules.items()):
        if "." in name or name == "__main__":
            continue
        path = Path([*getattr(module, "__path__", ()), getattr(module, "__file__", None) or "/"][0])
        if path.is_relative_to(here) and path.suffix in ("", ".py"):
            found.add(path)
    library = sysconfig.get_path("stdlib")
    return sorted(path for path in found if not (_INSTALLED & set(path.parts) or path.is_relative_to(library)))


def _check_answers(address: str) -> None:
    """Raise ``OSError`` where nothing answers at the address; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), timeout=_CONNECT).close()


def _about() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])
    return {"Python": python, "phiscale": phiscale.__version__}


def _check_same(node: dict[str, str]) -> None:
    here = _about()
    for name, version in here.items():
        if node.get(name) != version:
            raise SettingsError(
                f"expected {name} {version} on every node of the cluster, as here, got {node.get(name)}; install it"
            )
