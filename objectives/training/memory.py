"""Memory of a device: how much there is, how much is free, and giving back what this process no longer uses."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def total_memory(device: torch.device) -> float:
    """Bytes of the device that this process may use at most; infinite where it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return min([_ram("MemTotal", "SC_PHYS_PAGES"), *(limit for limit, _ in _group_limits())])


def free_memory(device: torch.device) -> float:
    """Bytes of the device that this process could get at this moment; infinite where it is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([_ram("MemAvailable", "SC_AVPHYS_PAGES"), *(limit - used for limit, used in _group_limits())])


def give_back(device: torch.device) -> None:
    """Return to the device the memory that finished trainings of this process still hold for the next one.

    The C library of Linux keeps half the peak of a training, PyTorch's allocator all that was ever used on a GPU.
    """
    gc.collect()
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):  # some versions refuse after a failed capture
            torch.cuda.empty_cache()
    elif sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # other C libraries have no such function
            ctypes.CDLL(None).malloc_trim(0)


def _ram(name: str, pages: str) -> float:
    """Bytes of the machine's memory by its name in Linux's table, elsewhere by that of its number of pages."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _group_limits() -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of the control groups (version 2) around this process: a container's, a job's.

    Source: "Control Group v2" of the Linux kernel, section "Memory". Files that are cached and idle count as free.
    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = _OWN_GROUP.read_text(encoding="utf-8").splitlines()
        group = _GROUPS / next(line for line in lines if line.startswith("0::"))[3:].lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(_GROUPS):
                return
            with contextlib.suppress(OSError, ValueError):  # no limit here
                limit = int((folder / "memory.max").read_text(encoding="ascii"))
                used = int((folder / "memory.current").read_text(encoding="ascii"))
                yield limit, used - _idle_files(folder)


def _idle_files(folder: Path) -> int:
    lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
