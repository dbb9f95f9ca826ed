"""Parts of JSON and CSV files that people may have edited: what has another shape is left out, and never an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Kinds = Mapping[str, Callable[[Any], bool]]
"""Whether the value under each name is of its kind; a name that is absent has None."""


def rows_of(found: Any, kinds: Kinds) -> list[dict[str, Any]]:
    """The rows of a list whose values are of their kinds; empty for anything but a list."""
    return [row for row in found if is_row(row, kinds)] if isinstance(found, list) else []


def is_row(row: Any, kinds: Kinds) -> bool:
    """Whether every value of an object is of its kind."""
    return isinstance(row, dict) and all(is_kind(row.get(name)) for name, is_kind in kinds.items())


def numbers(found: Any) -> dict[str, float]:
    """The numbers of a JSON object, by name; empty for anything but an object."""
    return {name: value for name, value in found.items() if is_number(value)} if isinstance(found, Mapping) else {}


def is_number(value: Any) -> bool:
    """A finite number that a table can show."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def is_number_or_none(value: Any) -> bool:
    """The same, or that none is known."""
    return value is None or is_number(value)


def is_text(value: Any) -> bool:
    """A text that is not empty."""
    return isinstance(value, str) and value != ""


def is_number_text(value: Any) -> bool:
    """A finite number as it stands in a CSV file."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def are_counts(value: Any) -> bool:
    """A list of whole numbers."""
    return isinstance(value, list) and all(type(item) is int for item in value)
