"""Room on a device: a training that would not fit the memory beside those of other processes waits for its turn.

Every training that runs holds a file named after the bytes it needs, every one that waits holds a ticket; both are
files in a folder of this user and device under the system's temporary directory, and end with their process
(``objectives/alive.py``). Decisions are made one at a time, under a lock. Processes of other users or in other
containers do not see the files: of those only the memory that they have taken already counts.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock

from objectives.alive import hold, is_held, let_go
from objectives.training.memory import free_memory, give_back, total_memory

_PART = 0.9
"""Part of the device's memory that the needs of all trainings may sum to."""
_LARGE = 0.1
"""Part of the device's memory from which a training leaves nothing behind for the next one of its process."""
_SECONDS_TO_GROW = 10.0
"""So long after its start a training may not yet have taken what it needs."""
_SECONDS_OF_SILENCE = 30.0
"""Who waits and has not looked for so long was stopped; others go first."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 0.5
"""Seconds between two looks."""
_PATIENCE = 30.0
"""Seconds to wait for another's decision, which takes less than a millisecond."""


@contextlib.contextmanager
def room(device: torch.device, needed: int) -> Iterator[None]:
    """Inside, ``needed`` bytes of the device are reserved; first wait until they fit beside the others' reservations.

    Where no other training runs there is always room. Where nothing can be reserved (a temporary directory that cannot
    be written to) nothing waits. A training that waits says so once, as a warning in the log.
    """
    line = reservation = None
    with contextlib.suppress(OSError):
        line = _Line(_device_folder(device), device)
        reservation = line.wait(needed)
    try:
        yield
    finally:
        if line is not None and reservation is not None:
            line.leave(reservation, needed)


@dataclass(frozen=True)
class _Entry:
    """One training, as its file says."""

    path: Path
    since: float
    """When it was made, in seconds since 1970."""
    needed: int
    """Bytes."""

    @classmethod
    def read(cls, path: Path) -> _Entry | None:
        found = re.fullmatch(r"(\d{20})-(\d+)-[0-9a-f]{8}\.lock", path.name)
        return cls(path, int(found[1]) / 1e9, int(found[2])) if found else None


class _Line:
    """The trainings that run on a device, and those that wait for it in the order in which they came."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder, self._device = folder, device
        self._running, self._waiting = folder / "running", folder / "waiting"
        for place in (self._running, self._waiting):
            place.mkdir(exist_ok=True)

    def wait(self, needed: int) -> FileLock:
        """The reservation, once there is room. Raises ``OSError``."""
        ticket: FileLock | None = None
        pause = 0.0
        try:
            while True:
                with self._deciding():
                    obstacle = self._obstacle(needed, ticket)
                    if not obstacle:
                        return hold(self._running / _file_name(needed))
                    ticket = ticket or hold(self._waiting / _file_name(needed))
                    os.utime(ticket.lock_file)
                if pause == 0:
                    give_back(self._device)
                elif pause == _FIRST_PAUSE:
                    logging.getLogger(__name__).warning("waiting for memory: %s", obstacle)
                time.sleep(pause)
                pause = min(max(_FIRST_PAUSE, 1.5 * pause), _LONGEST_PAUSE)
        finally:
            if ticket:
                let_go(ticket)

    def leave(self, reservation: FileLock, needed: int) -> None:
        """Give the room to the others, and the memory that this process would keep where it matters to them."""
        with contextlib.suppress(OSError):
            if needed > _LARGE * total_memory(self._device) or any(self._waiting.iterdir()):
                give_back(self._device)
        let_go(reservation)

    def _deciding(self) -> FileLock:
        return FileLock(self._folder / "decisions.lock", timeout=_PATIENCE)

    def _obstacle(self, needed: int, ticket: FileLock | None) -> str:
        """Why a training has to wait, for a person to read; empty where it may run."""
        waiting = [entry for entry in _living(self._waiting) if not _is_silent(entry)]
        own = Path(ticket.lock_file).name if ticket else "~"  # who has no ticket comes after all who have
        what = f"this trial needs about {_gibibytes(needed)} of {_memory_name(self._device)}"
        if any(entry.path.name < own for entry in waiting):
            return f"{what}, and others have waited longer"
        running = _living(self._running)
        left = self._left(running) if running else math.inf
        return f"{what}, {_gibibytes(left)} are left for it" if needed > left else ""

    def _left(self, running: list[_Entry]) -> float:
        """Bytes that are neither reserved nor taken by anyone else."""
        reserved = sum(entry.needed for entry in running)
        growing = sum(entry.needed for entry in running if time.time() - entry.since < _SECONDS_TO_GROW)
        left = min(_PART * total_memory(self._device) - reserved, free_memory(self._device) - growing)
        return max(0.0, left)


def _living(folder: Path) -> list[_Entry]:
    """The trainings of the folder whose processes live; files of others are removed."""
    entries = filter(None, map(_Entry.read, folder.iterdir()))
    return [entry for entry in entries if is_held(entry.path)]


def _is_silent(entry: _Entry) -> bool:
    try:
        return time.time() - entry.path.stat().st_mtime > _SECONDS_OF_SILENCE
    except FileNotFoundError:
        return True


def _file_name(needed: int) -> str:
    """Sorts by time."""
    return f"{time.time_ns():020d}-{needed}-{uuid.uuid4().hex[:8]}.lock"


def _device_folder(device: torch.device) -> Path:
    """The folder of the device, the same for all processes of this user. Raises ``OSError``."""
    user = getattr(os, "getuid", lambda: "user")()  # on Windows each user has a temporary directory
    folder = Path(tempfile.gettempdir()) / f"phiscale-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if hasattr(os, "getuid") and (not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077):
        raise PermissionError(f"{folder} is not a folder of this user alone")
    named = folder / (_gpu_name(device) if device.type == "cuda" else "cpu")
    named.mkdir(exist_ok=True)
    return named


def _gpu_name(device: torch.device) -> str:
    """What is the same whatever CUDA_VISIBLE_DEVICES says."""
    uuid_of_gpu = getattr(torch.cuda.get_device_properties(device), "uuid", device.index or 0)
    return "cuda-" + re.sub(r"[^0-9A-Za-z-]", "-", str(uuid_of_gpu))


def _memory_name(device: torch.device) -> str:
    return str(device) if device.type == "cuda" else "this machine's memory"


def _gibibytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
