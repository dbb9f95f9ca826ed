"""Files that show which processes live: one that is held by a lock belongs to a living process.

The operating system releases the lock when its process ends, however it ends; there is no heartbeat to wait for.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from filelock import FileLock, Timeout


def hold(path: Path) -> FileLock:
    """Make the file and hold it until ``let_go`` or the end of the process. Raises ``OSError``."""
    lock = FileLock(path)
    lock.acquire(timeout=0)
    return lock


def let_go(lock: FileLock) -> None:
    """Give up a file that was held, and remove it."""
    lock.release()
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()


def is_held(path: Path) -> bool:
    """Whether a living process holds the file; a file that nobody holds is removed. Raises ``OSError``."""
    try:
        lock = hold(path)
    except Timeout:
        return True
    let_go(lock)
    return False


def seems_held(path: Path) -> bool:
    """Whether a living process holds the file, by a look that changes nothing; True where that cannot be told."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
