"""Tables of scores that grow while a command runs: read completely, written in one step, so that a kill loses one
row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from phiscale.errors import StudyError
from phiscale.files import write_text


def read_rows(path: Path, columns: Sequence[str], numbers: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of an earlier run; none where there is no table.

    ``numbers`` are the columns that hold a number or nothing. Raises ``StudyError`` for a table that is damaged.
    """
    if not path.exists():
        return []
    try:
        rows: list[dict[str, Any]] = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        whole = all(set(row) == set(columns) and None not in row.values() for row in rows)
        for row in rows:
            _ = [float(row[name] or 0) for name in numbers]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise StudyError(
            f"expected scores of an earlier run in {path}, got a damaged table; move it away to start again"
        )
    return rows


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows in one step. Raises ``FileError``."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, out.getvalue())
