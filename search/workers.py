"""Which process works on a study: one lock for short decisions, a file that shows a worker is alive, its threads.

Every worker holds a lock on its own file in ``workers/``; the operating system releases it when the process ends,
however it ends. So a running trial whose worker's file can be locked belongs to a dead worker, at once and without a
heartbeat to wait for.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from phiscale.errors import StudyError


class Worker:
    """This process as a worker of the study in ``folder``; ``close`` (or the end of the process) ends its claim."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            (folder / "workers").mkdir(parents=True, exist_ok=True)
            self._alive = FileLock(folder / "workers" / f"{self.name}.lock")
            self._alive.acquire(timeout=0)
            self._decisions = FileLock(folder / "decisions.lock")
        except OSError as error:
            raise StudyError(f"cannot write to {folder}: {error.strerror or error}; choose another --results") from None

    @contextlib.contextmanager
    def deciding(self) -> Iterator[None]:
        """Hold the study's lock: no other worker creates, claims or requeues a trial meanwhile."""
        with self._decisions:
            yield

    def close(self) -> None:
        """End the claim."""
        self._alive.release()
        with contextlib.suppress(OSError):
            (self.folder / "workers" / f"{self.name}.lock").unlink()


def is_dead(folder: Path, name: str) -> bool:
    """Whether the worker of that name has ended; False for one on another machine, which cannot be told from here."""
    path = folder / "workers" / f"{name}.lock"
    if not path.exists():
        return name.rsplit("-", 2)[0] == _host()
    probe = FileLock(path)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return False
    probe.release()
    with contextlib.suppress(OSError):
        path.unlink()
    return True


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra on one thread: on small matrices more threads wait for each other, and for other workers."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def _host() -> str:
    return socket.gethostname() or "localhost"
