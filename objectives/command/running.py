"""Runs one command to its end or its time-out, with a log, and leaves no process behind."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from phiscale.errors import FileError, TrialError

_GUARD = Path(__file__).with_name("guard.py")
_KEPT_BACK = "PHISCALE_STORAGE"
"""A variable that may hold a password."""
_TAIL = 4096
"""Bytes at the end of a log that are searched for its last lines."""
_LINES = 3
"""Lines of the log that a message quotes."""
_CLEANING = 10.0
"""Seconds that the guard has to end everything, more than it takes itself."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended by itself with exit status 0."""

    said: str
    """The end of its standard output."""
    last: str
    """The last lines of all its output, on one line."""


def run_to_end(words: Sequence[str], *, folder: Path, log: Path, timeout: float | None = None) -> Ended:
    """Run a command, without a shell, in a folder; its output is appended to the log.

    The command and everything it started are ended at the time-out (seconds), by an interrupt, and when this process
    ends in any way. Raises ``TrialError`` for a time-out and any exit status except 0, ``FileError`` if the log cannot
    be written or the folder does not exist.
    """
    where = f"see {log.parent.name}/{log.name}"
    with _opened(log) as file:
        file.write(f"$ {shlex.join(words)}\n".encode(errors="surrogateescape"))
        file.flush()
        begin = file.seek(0, os.SEEK_END)
        with _started(words, folder, file) as guard:
            try:
                said, _ = guard.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                message = f"the command took more than {timeout:g} s, {where}: {_last_lines(file, begin)}"
                raise TrialError("timeout", message) from None
        last = _last_lines(file, begin)
    if guard.returncode:
        raise TrialError("exit", f"the command ended with {_ending(guard.returncode)}, {where}: {last}")
    return Ended(said.decode(errors="replace"), last)


@contextlib.contextmanager
def _opened(log: Path) -> Iterator[IO[bytes]]:
    """The log to append to. Raises ``FileError``."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab+")
    except OSError as error:
        raise FileError(f"cannot write the log {log}: {error.strerror or error}") from None
    with file:
        yield file


@contextlib.contextmanager
def _started(words: Sequence[str], folder: Path, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The guard of a running command, which ends with the block. Raises ``FileError`` if the folder does not exist."""
    reads, writes = os.pipe()  # the guard ends with the last end of it that can be written to: this one
    try:
        guard = subprocess.Popen(  # noqa: S603 - what the person asked for, without a shell
            [sys.executable, "-I", "-S", str(_GUARD), *words],
            stdin=reads,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        os.close(writes)
        raise FileError(f"cannot run a command in {folder}: {error.strerror or error}") from None
    finally:
        os.close(reads)
    try:
        yield guard
    finally:
        os.close(writes)
        with contextlib.suppress(subprocess.TimeoutExpired):
            guard.wait(_CLEANING)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(guard.pid, signal.SIGKILL)
        guard.wait()
        if guard.stdout:
            guard.stdout.close()


def _environment() -> dict[str, str]:
    """The environment of this process, without secrets; Python writes its lines to the log at once."""
    kept = {name: value for name, value in os.environ.items() if name != _KEPT_BACK}
    return {"PYTHONUNBUFFERED": "1"} | kept


def _ending(status: int) -> str:
    """An exit status in words, with the signal if it stands for one, as in a shell."""
    number = -status if status < 0 else status - 128
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
        return f"exit status {status} ({name}{', for lack of memory perhaps' if name == 'SIGKILL' else ''})"
    return f"exit status {status}"


def _last_lines(file: IO[bytes], begin: int) -> str:
    """The last lines of the log after the place ``begin``."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(begin, end - _TAIL))
    lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return " / ".join([line for line in lines if line][-_LINES:]) or "it wrote nothing"
