"""Which jobs fit into the memory of one device at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_PART = 0.9
"""Part of a device's memory that jobs may take together."""


@dataclass(frozen=True)
class Memory:
    """The memory of the device on which a worker evaluates; 0 bytes where it is not known."""

    device: str = ""
    """Equal for workers that share it."""
    total: int = 0
    """Bytes."""
    free: int = 0
    """Bytes that were free when the worker reported it."""

    @classmethod
    def of(cls, work: Any) -> Memory:
        """What the work reports of its device by ``memory()``, if it has that method: (device, total, free)."""
        return cls(*work.memory()) if hasattr(work, "memory") else cls()


def fits(needed: int, memory: Memory, running: Sequence[int]) -> bool:
    """Whether a job fits next to those that run, by what each needs, in bytes.

    A job that is alone always fits, because waiting would not help it.
    """
    if not running or not memory.total or not needed:
        return True
    return needed <= memory.free and sum(running) + needed <= _PART * memory.total
