"""Does a cheap setting keep the order of a dear one? Rank correlations over the same networks, with intervals.

Sources: Spearman 1904; Kendall 1938; percentile bootstrap over networks, Efron & Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from phiscale.errors import DataError

_DRAWS = 2000
FEWEST = 6
"""Networks below which a rank correlation says nothing."""


@dataclass(frozen=True)
class RankCorrelation:
    """A correlation with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fidelity:
    """How a cheap setting orders the networks of a reference."""

    spearman: RankCorrelation
    kendall: RankCorrelation
    networks: int


def fidelity(cheap: Sequence[float], reference: Sequence[float], *, seed: int = 0) -> Fidelity:
    """Correlations of the scores of the same networks, in the same order.

    Raises ``DataError`` for fewer than 6 networks, scores that are not finite, or scores that are all equal.
    """
    a, b = np.asarray(cheap, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if len(a) != len(b) or len(a) < FEWEST:
        raise DataError(f"expected scores of the same {FEWEST} networks or more, got {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("expected finite scores, got NaN or infinity")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise DataError("expected scores that differ between networks, got equal ones: there is no order to keep")
    generator = np.random.default_rng(seed)
    picks = generator.integers(len(a), size=(_DRAWS, len(a)))
    return Fidelity(_interval("spearman", a, b, picks), _interval("kendall", a, b, picks), len(a))


def _interval(
    kind: str, a: np.ndarray[tuple[int], np.dtype[np.float64]], b: np.ndarray[tuple[int], np.dtype[np.float64]],
    picks: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> RankCorrelation:  # fmt: skip
    from scipy import stats

    measure: Any = stats.spearmanr if kind == "spearman" else stats.kendalltau
    value = float(measure(a, b).statistic)
    drawn = [
        float(measure(a[pick], b[pick]).statistic) for pick in picks if np.ptp(a[pick]) > 0 and np.ptp(b[pick]) > 0
    ]
    low, high = np.quantile(drawn, (0.05, 0.95))
    return RankCorrelation(value, float(low), float(high))
