"""Is the recommendation ahead, and how sure? Paired comparisons of scores that share their seeds.

Differences are taken seed by seed, so that what a seed does to all networks cancels. Several rivals are corrected for
by Holm's step-down procedure. Sources: Student 1908 (paired t); Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

Scores = Mapping[tuple[float, int], float]
"""Score by (phi, seed)."""
_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """The recommendation against one rival; positive differences are in its favour."""

    rival: str
    phi: float | None
    """Where they were compared; None for all phi together."""
    difference: float
    """Mean paired difference, in the unit of the score."""
    half_width: float
    """Half of the 95 % interval; infinite with a single pair."""
    p: float
    """Two-sided p-value of no difference, corrected for the number of rivals."""
    pairs: int

    @property
    def result(self) -> str:
        """``ahead``, ``behind`` or ``not distinguishable``."""
        if self.p >= _LEVEL:
            return "not distinguishable"
        return "ahead" if self.difference > 0 else "behind"

    def sentence(self) -> str:
        """The comparison in words."""
        where = "at phi " + f"{self.phi:g}" if self.phi is not None else "over all phi"
        size = f"{self.difference:+.4f} +- {self.half_width:.4f}, p = {self.p:.2g}, {self.pairs} pairs"
        words = {
            "ahead": f"ahead of {self.rival} by {size}",
            "behind": f"behind {self.rival} by {size}",
            "not distinguishable": f"not distinguishable from {self.rival} ({size})",
        }
        return f"{words[self.result]}, {where} at equal cost"


def compare(ours: Scores, rivals: Mapping[str, Scores], direction: str) -> list[Comparison]:
    """The recommendation against every rival, for each phi and for all together.

    Only pairs that both have count. Rivals without any are left out.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    phis: list[float | None] = [None, *sorted({phi for phi, _ in ours})]
    found = []
    for phi in phis:
        pairs = {rival: _differences(ours, scores, phi, sign) for rival, scores in rivals.items()}
        tests = {rival: (values, _p_value(values)) for rival, values in pairs.items() if len(values)}
        corrected = holm([p for _, p in tests.values()])
        for (rival, (values, _)), p in zip(tests.items(), corrected, strict=True):
            found.append(Comparison(rival, phi, float(values.mean()), half_width(values), p, len(values)))
    return found


def _differences(ours: Scores, theirs: Scores, phi: float | None, sign: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    keys = sorted(key for key in ours if key in theirs and phi in (None, key[0]))
    return np.array([sign * (ours[key] - theirs[key]) for key in keys])


def _p_value(differences: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Two-sided paired t-test; 1 where all differences are 0, or there is one pair only."""
    from scipy import stats

    if len(differences) < 2 or not differences.any():
        return 1.0
    spread = float(differences.std(ddof=1))
    if spread == 0:
        return 0.0
    t = float(differences.mean()) / (spread / math.sqrt(len(differences)))
    return float(2 * stats.t.sf(abs(t), len(differences) - 1))


def half_width(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Half of the 95 % interval of the mean."""
    from scipy import stats

    if len(values) < 2:
        return math.inf
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def verdict(comparisons: Sequence[Comparison]) -> str:
    """The answer in one sentence: against the paper's constants where they were measured, else against the closest."""
    overall = [item for item in comparisons if item.phi is None]
    if not overall:
        return "nothing was compared"
    against = next((item for item in overall if item.rival == "paper"), min(overall, key=lambda item: item.difference))
    rival = "the paper's constants" if against.rival == "paper" else against.rival
    return replace(against, rival=rival).sentence()


def as_json(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The comparisons as JSON values; an infinite half width becomes None."""
    rows = [asdict(item) | {"result": item.result} for item in comparisons]
    return [{key: None if value == math.inf else value for key, value in row.items()} for row in rows]
