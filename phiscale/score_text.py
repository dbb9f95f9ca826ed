"""How scores are written for people: with the digits in which they differ, whether they are near 1 or near 1e-7."""

from __future__ import annotations

import math

from phiscale.record import SearchRecord

_LEAST, _MOST = 4, 15
"""Decimals of a score."""
_FIXED = 6
"""Decimals beyond which a small number is written with an exponent."""


def decimals(spread: float | None, least: int = _LEAST) -> int:
    """Decimals that show two digits of ``spread``, a typical difference between two scores; ``least`` or more."""
    if not spread or not math.isfinite(spread):
        return least
    return min(max(least, 1 - math.floor(math.log10(abs(spread)))), _MOST)


def score_text(value: float, spread: float | None = None, sign: str = "") -> str:
    """A score, or a difference of two (``sign`` ``+``), with four decimals, or more where ``spread`` needs them.

    ``spread`` is a typical difference between two scores; None where it is not known.
    """
    small = 0 < abs(value) < 1e-3
    if not spread:
        return f"{value:{sign}.4g}" if small else _fixed(value, _LEAST, sign)
    places = decimals(spread)
    if small and places > _FIXED:
        return f"{value:{sign}.{max(1, math.floor(math.log10(abs(value))) + places)}e}"
    return _fixed(value, places, sign)


def _fixed(value: float, places: int, sign: str) -> str:
    """So many decimals; a value that rounds to 0 has no minus."""
    return f"{round(value, places) or 0.0:{sign}.{places}f}"


def record_spread(record: SearchRecord) -> float | None:
    """A typical difference between two scores of a record: the noise, else a tenth of the range of the rules."""
    if record.noise:
        return record.noise
    scores = [record.best_observed.score, *(row.score for row in record.baselines)]
    return (max(scores) - min(scores)) / 10 or None


def percent(level: float) -> str:
    """``95 %``, ``99.4 %``; all above 99.9 % as ``over 99.9 %``."""
    return "over 99.9 %" if level > 0.99901 else f"{100 * level:.3g} %"
