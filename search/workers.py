"""Which process works on a study: one lock for short decisions, a file that shows a worker is alive, its threads.

Every worker holds its own file in ``workers/`` (``objectives/alive.py``). So a running trial whose worker's file nobody
holds belongs to a dead worker, at once and without a heartbeat to wait for.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from objectives.alive import hold, is_held, let_go
from phiscale.errors import StudyError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


class Worker:
    """This process as a worker of the study in ``folder``; ``close`` (or the end of the process) ends its claim."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            (folder / "workers").mkdir(parents=True, exist_ok=True)
            self._alive = hold(folder / "workers" / f"{self.name}.lock")
        except OSError as error:
            raise StudyError(f"cannot write to {folder}: {error.strerror or error}; choose another --results") from None

    def deciding(self) -> contextlib.AbstractContextManager[None]:
        """Hold the study's lock."""
        return deciding(self.folder)

    def close(self) -> None:
        """End the claim."""
        let_go(self._alive)


@contextlib.contextmanager
def deciding(folder: Path) -> Iterator[None]:
    """Hold the lock of the study in ``folder``: no worker creates, claims or requeues a trial meanwhile."""
    lock = FileLock(folder / "decisions.lock")
    try:
        lock.acquire()
    except OSError as error:
        raise StudyError(f"cannot lock {folder}: {error.strerror or error}; allow writing to it") from None
    try:
        yield
    finally:
        lock.release()


def is_dead(folder: Path, name: str) -> bool:
    """Whether the worker of that name has ended; False where it cannot be told from here.

    A worker whose file is not in ``folder`` closed it, or works for the same storage from another folder or machine.
    """
    path = folder / "workers" / f"{name}.lock"
    return not is_held(path) if path.exists() else _has_ended(name)


def _has_ended(name: str) -> bool:
    host, process, _ = name.rsplit("-", 2)
    if host != _host():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(process) == os.getpid()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra on one thread: on small matrices more threads wait for each other, and for other workers."""
    with _thread_pools(len(sys.modules)).limit(limits=1):
        yield


@functools.lru_cache(maxsize=1)
def _thread_pools(_modules: int) -> ThreadpoolController:
    """All libraries with threads of their own; looked for again, which takes 3 ms, once modules have been imported."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _host() -> str:
    return socket.gethostname() or "localhost"
