"""Checks of single values that several modules share; each returns the value or raises one clear sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from phiscale.errors import PhiscaleError

LARGEST_SIZE = 2**31 - 1
"""Largest number of layers, channels or pixels: what 32-bit frameworks can index."""
LARGEST_WHOLE = 2**63 - 1
"""Largest count of anything."""

LARGEST_PHI = 20
"""Largest phi of a search, its record and its confirmation: a million times the cost at a target of 2."""


def plain(value: object) -> object:
    """A scalar of NumPy or PyTorch as a Python number; anything else unchanged."""
    if isinstance(value, (int, float)) or not callable(getattr(value, "item", None)):
        return value
    try:
        return value.item()  # type: ignore[attr-defined]
    except (TypeError, ValueError, RuntimeError):  # an array of several values
        return value


def number(name: str, value: object, error: type[PhiscaleError]) -> float:
    """``value`` as a float that may be NaN or infinite; bools and strings raise ``error``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise error(f"expected {name} to be a number, got {value!r}; give a finite number")
    try:
        return float(value)
    except OverflowError:
        raise error(f"expected {name} to be a finite number, got an integer too large for a float") from None


def real(name: str, value: object, error: type[PhiscaleError]) -> float:
    """``value`` as a finite float; bools, strings, NaN and infinities raise ``error``."""
    found = number(name, value, error)
    if not math.isfinite(found):
        raise error(f"expected {name} to be finite, got {value!r}; give a finite number")
    return found


def positive(name: str, value: object, error: type[PhiscaleError]) -> float:
    """``value`` as a finite float above zero."""
    number = real(name, value, error)
    if number <= 0:
        raise error(f"expected {name} to be above 0, got {value!r}")
    return number


def phi(name: str, value: object, error: type[PhiscaleError]) -> float:
    """``value`` as the phi of a search; not 0, because the compared networks differ in cost from the baseline."""
    found = number(name, value, error)
    if not 0 < abs(found) <= LARGEST_PHI:
        raise error(f"expected {name} other than 0 between -{LARGEST_PHI} and {LARGEST_PHI}, got {value!r}")
    return found


def whole(name: str, value: object, error: type[PhiscaleError], *, low: int = 1, high: int = LARGEST_WHOLE) -> int:
    """``value`` as an int from ``low`` to ``high``; bools and floats raise ``error``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise error(f"expected {name} to be a whole number, got {value!r}")
    if value < low:
        raise error(f"expected {name} to be at least {low}, got {value}")
    if value > high:
        raise error(f"expected {name} to be at most {high}, got more; use a smaller one")
    return value


def text(name: str, value: object, error: type[PhiscaleError]) -> str:
    """``value`` as a non-empty string."""
    if not isinstance(value, str) or not value:
        raise error(f"expected {name} to be a non-empty text, got {value!r}")
    return value


def exact_keys(
    name: str,
    value: object,
    required: set[str],
    error: type[PhiscaleError],
    *,
    optional: frozenset[str] = frozenset(),
) -> Mapping[str, Any]:
    """``value`` as a mapping with all ``required`` keys and none beyond ``optional``."""
    if not isinstance(value, Mapping):
        raise error(f"expected {name} to be an object with named fields, got {type(value).__name__}")
    missing = sorted(required - set(value))
    if missing:
        raise error(f"{name} lacks {', '.join(missing)}; add what is missing or write the file again")
    unknown = sorted(str(key) for key in set(value) - required - optional)
    if unknown:
        raise error(f"{name} has unknown fields: {', '.join(unknown)}; remove them or check their spelling")
    return value
