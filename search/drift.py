"""How the best constants move with training length: the optimum at every rung, and the shift per doubling.

The surface of every rung is fitted to the scores measured there, by itself, so the path assumes no law of length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from phiscale.triangle import Shares
from search.horizon import Scale, fit
from search.scaling import Array, are_equal

_DRAWS = 500


@dataclass(frozen=True)
class RungSummary:
    """What was measured at one rung."""

    images: int
    """Images seen."""
    optimum: Shares
    """Where the surface of its scores is highest."""
    noise: float
    """Standard deviation of one training, in the unit of the score."""
    range: float
    """Difference between the best and the poorest measured network by the surface, in the unit of the score."""

    @property
    def noise_part(self) -> float:
        """Noise of one training over the range of the networks."""
        return self.noise / self.range if self.range > 0 else float("inf")


@dataclass(frozen=True)
class Shift:
    """Movement of one share of the optimum per doubling of the length, with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Drift:
    """Movement of the optimum per doubling of the length between the shortest and the longest rung."""

    depth: Shift
    width: Shift
    resolution: Shift


def rung_summaries(
    shares: Array, scores: Array, lengths: Sequence[int], scale: Scale, points: Sequence[Shares]
) -> list[RungSummary]:
    """Optimum and noise at every rung from scores (n, k); a rung whose scores are all equal is left out."""
    array = np.array([point.as_tuple() for point in points])
    found = []
    for index, length in enumerate(lengths):
        if are_equal(scores[:, index]):
            continue
        surface = fit(shares, scale.to_values(scores[:, index]))
        best = points[int(np.argmax(surface.means(array)))]
        found.append(RungSummary(length, best, surface.noise, float(np.ptp(surface.means(shares)))))
    return found


def drift(shares: Array, scores: Array, lengths: Sequence[int], scale: Scale, points: Sequence[Shares]) -> Drift | None:
    """The shift of the optimum per doubling, a line through the optima of all rungs; None with fewer than two rungs.

    The interval comes from surfaces drawn at every rung, each with its own optimum.
    """
    array = np.array([point.as_tuple() for point in points])
    usable = [index for index in range(len(lengths)) if not are_equal(scores[:, index])]
    if len(usable) < 2:
        return None
    x = np.log2([lengths[index] for index in usable])
    x -= x.mean()
    optima = [
        array[np.argmax(fit(shares, scale.to_values(scores[:, index])).draws(array, _DRAWS, seed=index), axis=1)]
        for index in usable
    ]  # each (draws, 3)
    shifts = np.tensordot(x, np.stack(optima), axes=1) / float(x @ x)
    low, high = np.quantile(shifts, (0.05, 0.95), axis=0)
    return Drift(*(Shift(float(shifts[:, a].mean()), float(low[a]), float(high[a])) for a in range(3)))


def as_json(summaries: Sequence[RungSummary], found: Drift | None) -> dict[str, object]:
    """Both as JSON values, under ``rungs`` and ``drift``."""
    rungs = [{**asdict(item), "noise_part": item.noise_part if item.range > 0 else None} for item in summaries]
    return {"rungs": rungs, "drift": None if found is None else asdict(found)}
