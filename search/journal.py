"""A study in a journal: a file to which every change is appended as one line."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

_CHUNK = 2**16
"""Bytes."""


class Journal(JournalFileBackend):
    """Optuna's backend, with a full disk reported as a storage that failed."""

    def __init__(self, path: Path) -> None:
        """Make the file if it is not there."""
        self._path, self._own_lock = path, JournalFileSymlinkLock(str(path))
        super().__init__(str(path), self._own_lock)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """See Optuna."""
        with _storage_failed():
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """See Optuna."""
        with _storage_failed():
            super().append_logs(logs)

    def cut_incomplete_line(self) -> None:
        """Cut a last line that a full disk or a power cut left incomplete; otherwise nothing could be appended. It
        holds the writers' lock, so that nobody is about to complete it.
        """
        self._own_lock.acquire()
        try:
            with self._path.open("r+b") as file:
                place = _end_of_last_line(file)
                file.seek(place)
                if file.read(1) == b"{":
                    file.truncate(place)
        finally:
            self._own_lock.release()


def _end_of_last_line(file: Any) -> int:
    """The position after the last line break."""
    place, chunk = file.seek(0, os.SEEK_END), b""
    while place and b"\n" not in chunk:
        place = max(0, place - _CHUNK)
        file.seek(place)
        chunk = file.read(_CHUNK)
    return int(place + chunk.rfind(b"\n") + 1)


@contextmanager
def _storage_failed() -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise StorageInternalError(error.strerror or str(error)) from None
