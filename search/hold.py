"""Who works on a study: one driver holds it while it runs, and every other one is refused.

The claim is stored with the study, so that a driver in another folder or on another host sees it. On the driver's own
host a locked file tells whether it runs: the operating system releases the lock when its process ends, however it ends.
Nothing can be known of another host; there ``--take-over`` declares the driver dead. A driver whose claim was taken
over stops before it writes again.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from phiscale.errors import StudyError

if TYPE_CHECKING:
    from optuna import Study

_KEY = "driver"
"""User attribute of a study: the claim of its driver, None where there is none."""
_HELD: set[str] = set()
"""Tokens of the drivers that work in this process."""


class Hold:
    """This process as the driver of a study."""

    def __init__(self, study: Study, folder: Path | None, *, take_over: bool = False) -> None:
        """Claim the study. Raises ``StudyError`` where another driver holds it."""
        self._study = study
        other = study.user_attrs.get(_KEY)
        if other and not take_over and _lives(other):
            raise StudyError(
                f"the study {study.study_name!r} is held by {_name(other)}; wait for its end, or if it has ended, "
                "run this again with --take-over"
            )
        self._token, self._process = uuid.uuid4().hex, os.getpid()
        self._lock = _locked(folder / f"driver-{self._token[:8]}.lock") if folder else None
        claim = {"host": _host(), "process": self._process, "token": self._token, "since": _now()}
        lock = str(Path(self._lock.lock_file).resolve()) if self._lock else None
        _HELD.add(self._token)
        try:
            study.set_user_attr(_KEY, claim | {"lock": lock})
            self.check()
        except BaseException:
            self._let_go()
            raise

    def check(self) -> None:
        """Raise ``StudyError`` if the study was taken over, or if this process is a fork of the driver's."""
        if os.getpid() != self._process:
            raise StudyError(
                f"process {os.getpid()} is a fork of the driver of the study {self._study.study_name!r}, process "
                f"{self._process}, and ends here; end a process that your code forks by os._exit"
            )
        held = self._study.user_attrs.get(_KEY)
        if not held or held.get("token") != self._token:
            by = f" by {_name(held)}" if held else ""
            raise StudyError(f"the study {self._study.study_name!r} was taken over{by}; this search ends here")

    def release(self) -> None:
        """Release the study."""
        try:
            with contextlib.suppress(StudyError):
                self.check()
                self._study.set_user_attr(_KEY, None)
        finally:  # also where the storage fails
            self._let_go()

    def _let_go(self) -> None:
        _HELD.discard(self._token)
        if self._lock is not None and os.getpid() == self._process:  # a fork would release the driver's own lock
            self._lock.release()
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()


def is_driven(study: Study) -> bool:
    """Whether a driver may be at work; False only if it is known that none is. Changes nothing."""
    claim = study.user_attrs.get(_KEY)
    return claim is not None and _lives(claim)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the lock of a study's result files, which a search, a confirmation and a report write."""
    lock = FileLock(folder / "results.lock")
    try:
        lock.acquire()
    except OSError as error:
        raise StudyError(f"cannot lock {folder}: {error.strerror or error}; allow writing to it") from None
    try:
        yield
    finally:
        lock.release()


def make_folder(folder: Path) -> None:
    """Make the folder of a study. Raises ``StudyError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _cannot_write(folder: Path, error: OSError) -> StudyError:
    return StudyError(f"cannot write to {folder}: {error.strerror or error}; choose another --results")


def _locked(path: Path) -> FileLock:
    lock = FileLock(path)
    try:
        for old in path.parent.glob("driver-*.lock"):  # of drivers that were killed
            if not _is_locked(old):
                old.unlink(missing_ok=True)
        lock.acquire(timeout=0)
    except OSError as error:
        raise _cannot_write(path.parent, error) from None
    return lock


def _lives(claim: dict[str, Any]) -> bool:
    """Whether the driver runs, as far as is known: True for one of another host."""
    if claim.get("host") != _host():
        return True
    if claim.get("token") in _HELD:
        return True
    if claim.get("lock"):
        return _is_locked(Path(claim["lock"]))
    if int(claim["process"]) == os.getpid():
        return False
    with contextlib.suppress(PermissionError):  # it belongs to another user
        try:
            os.kill(int(claim["process"]), 0)
        except ProcessLookupError:
            return False
    return True


def _is_locked(path: Path) -> bool:
    """Whether a running process holds the lock of the file; the file stays unchanged."""
    if not path.is_file():
        return False
    try:
        import fcntl
    except ImportError:  # Windows
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _name(claim: dict[str, Any]) -> str:
    return f"process {claim.get('process')} on {claim.get('host')} since {claim.get('since')}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(sep=" ", timespec="seconds")


def _host() -> str:
    return socket.gethostname() or "localhost"
