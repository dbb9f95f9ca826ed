"""Processes that tests start, and those that these start."""

from __future__ import annotations

from pathlib import Path


def descendants(process: int) -> list[int]:
    """All living processes below this one."""
    found, seen = [], {process}
    parents = dict(_parents())
    for pid in sorted(parents):
        if parents[pid] in seen:
            seen.add(pid)
            found.append(pid)
    return found


def _parents() -> list[tuple[int, int]]:
    pairs = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                pairs.append((int(folder.name), int(fields[1])))
    return pairs
