"""Exponents of a cost model from measured networks: least squares in log space, with intervals.

log cost = constant + a log depth + b log width + c log resolution. Source: Draper & Smith 1998, chapter 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from phiscale.errors import DataError
from phiscale.triangle import Multipliers


@dataclass(frozen=True)
class CostFit:
    """Fitted exponents."""

    exponents: tuple[float, float, float]
    """Of depth, width and resolution; nan-free, may be negative."""
    half_widths: tuple[float, float, float]
    """Half of their 95 % intervals."""
    r_squared: float


def fit_exponents(multipliers: Sequence[Multipliers], costs: Sequence[float]) -> CostFit:
    """Fit the costs (any unit, above 0) of networks with these realised multipliers.

    Raises ``DataError`` for costs that are not finite and above 0, or networks that do not vary all axes independently.
    """
    from scipy import stats

    cost = np.asarray(costs, dtype=np.float64)
    if not (np.isfinite(cost).all() and (cost > 0).all()):
        raise DataError("expected measured costs that are finite and above 0, got others; measure again")
    logs = np.log([[m.depth, m.width, m.resolution] for m in multipliers])
    design = np.column_stack([np.ones(len(logs)), logs])
    if len(cost) < 5 or np.linalg.matrix_rank(design) < 4:
        raise DataError(f"expected at least 5 networks that differ in every axis, got {len(cost)} that do not")
    target = np.log(cost)
    solution, *_ = np.linalg.lstsq(design, target, rcond=None)
    residuals = target - design @ solution
    freedom = len(cost) - 4
    covariance = np.linalg.inv(design.T @ design) * float(residuals @ residuals) / freedom
    reach = float(stats.t.ppf(0.975, freedom)) * np.sqrt(np.diag(covariance))
    spread = float(((target - target.mean()) ** 2).sum())
    r_squared = 1.0 if spread == 0 else 1 - float(residuals @ residuals) / spread
    a, b, c = (float(value) for value in solution[1:])
    da, db, dc = (float(value) for value in reach[1:])
    return CostFit((a, b, c), (da, db, dc), min(1.0, max(0.0, r_squared)) if math.isfinite(r_squared) else 0.0)
