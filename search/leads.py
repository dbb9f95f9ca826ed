"""How far the recommendation is ahead of each measured rule, from the surface at both points together.

The surface estimates a rule's network from all trials around it, not from its own score alone. The errors at both
points are correlated, so their difference is more certain than either. The intervals hold for all rules together in 90
% (Bonferroni), for networks as they are rounded: each of the two has its own effect. If hardly any network was measured
twice, the noise is a guess and nothing is called ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phiscale.published import MEASURED_RULES
from phiscale.triangle import Shares
from search.horizon import Fitted, Scale
from search.measurements import Measurement

_ERROR_RATE = 0.1
_FEWEST_REPEATS = 3


@dataclass(frozen=True)
class Lead:
    """The recommendation against one rule, in the unit of the score; positive where it is better."""

    rule: str
    """Key of ``MEASURED_RULES``."""
    difference: float
    half_width: float
    """Half of the interval that holds for all rules together in 90 %."""
    result: str
    """``ahead``, ``behind``, ``not distinguishable``, or ``unknown`` if too few networks were measured twice."""


def leads(rows: Sequence[Measurement], fitted: tuple[Fitted, Scale], recommended: Shares) -> tuple[Lead, ...]:
    """The recommendation against every rule among the measured networks, in the order of ``MEASURED_RULES``."""
    from scipy.stats import norm

    surface, scale = fitted
    places = {name: row.shares.as_tuple() for row in rows for name in row.names if name in MEASURED_RULES}
    names = [name for name in MEASURED_RULES if name in places]
    if not names:
        return ()
    mean, covariance = surface.moments(np.array([recommended.as_tuple(), *(places[name] for name in names)]))
    slope, scores = scale.slope(mean), scale.to_scores(mean)
    covariance = (covariance + np.diag(np.full(len(mean), surface.network_effect**2))) * np.outer(slope, slope)
    variance = covariance[0, 0] + np.diag(covariance)[1:] - 2 * covariance[0, 1:]
    half_widths = norm.ppf(1 - _ERROR_RATE / 2 / len(names)) * np.sqrt(np.maximum(variance, 0.0))
    differences = scale.better * (scores[0] - scores[1:])
    repeated = sum(len(row.scores) - 1 for row in rows) >= _FEWEST_REPEATS
    pairs = zip(names, differences.tolist(), half_widths.tolist(), strict=True)
    return tuple(Lead(name, d, half, _result(d, half) if repeated else "unknown") for name, d, half in pairs)


def _result(difference: float, half_width: float) -> str:
    if abs(difference) <= half_width:
        return "not distinguishable"
    return "ahead" if difference > 0 else "behind"
