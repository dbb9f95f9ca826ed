"""Where the next evaluation teaches most: the knowledge gradient over the lattice of shares.

The recommendation is the maximum of the surface's mean. The knowledge gradient of a point is by how much that maximum
is expected to rise when the point is evaluated once more: a repeat of a known point is valued by the same measure as a
new one. Points that other workers are evaluating, and those that failed, count as evaluated with an unknown result.

Source: Frazier, Powell & Dayanik 2009, "The knowledge-gradient policy for correlated normal beliefs", equation 15 (the
expectation is taken over equally likely outcomes instead of exactly).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from phiscale.triangle import CostModel, Shares, lattice, parameters_at
from search.horizon import Aim, Fitted, LineSurface
from search.measurements import FAILURE, Measurement, measurements
from search.recommend import FEWEST, REGION_STEPS, as_array, surface_at
from search.settings import SPREAD_FIRST
from search.surface import Array
from search.workers import one_thread

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_SHARES = ("share_depth", "share_width", "share_resolution")

_OUTCOMES = norm.ppf((np.arange(24) + 0.5) / 24)
"""Equally likely outcomes of a standard normal evaluation."""


def next_point(
    trials: Sequence[FrozenTrial], cost_model: CostModel, aim: Aim, is_open: Callable[[Shares], bool]
) -> tuple[dict[str, float], dict[str, Any]] | None:
    """Unit parameters and attributes of the next trial; None where too little is known to choose one.

    A trial that fails teaches nothing, and would be chosen again for ever: points that are not ``is_open`` are passed
    over. Failed and running points count as pending, which lowers the value of their neighbours.
    """
    rows = measurements(trials, cost_model)
    if sum(len(row.scores) for row in rows) < SPREAD_FIRST or len(rows) < FEWEST:
        return None
    unknown = [trial.user_attrs for trial in trials if trial.state.name == "RUNNING" or FAILURE in trial.user_attrs]
    pending = [Shares(*(attributes[name] for name in _SHARES)) for attributes in unknown if _SHARES[-1] in attributes]
    ranked = most_informative(rows, pending, cost_model, aim)
    chosen = next((shares for shares in ranked if is_open(shares)), None)
    return None if chosen is None else (parameters_at(chosen, cost_model), {})


def most_informative(
    rows: Sequence[Measurement], pending: Sequence[Shares], cost_model: CostModel, aim: Aim
) -> list[Shares]:
    """The lattice points, those first whose evaluation is expected to raise the best expected score most."""
    points = lattice(REGION_STEPS, cost_model)
    with one_thread():
        surface, _ = surface_at(rows, aim)
        if isinstance(surface, LineSurface):  # no training at these rungs teaches how lines bend beyond them
            surface = replace(surface, bend=0.0)
        gradient = knowledge_gradient(surface, as_array(points), as_array(pending))
    return [points[index] for index in np.argsort(-gradient, kind="stable")]


def knowledge_gradient(surface: Fitted, points: Array, pending: Array) -> Array:
    """Expected rise of the highest mean over ``points`` (n, 3) by one evaluation at each of them, (n,)."""
    mean, covariance = surface.moments(np.concatenate([points, pending.reshape(-1, 3)]))
    for index in range(len(points), len(mean)):
        column = covariance[:, index] / _spread(covariance, surface.noise)[index]
        covariance = covariance - np.outer(column, column)
    slopes = (covariance / _spread(covariance, surface.noise))[: len(points), : len(points)]
    mean = mean[: len(points)]
    highest = np.zeros(len(points))
    for outcome in _OUTCOMES:
        highest += (mean[:, None] + slopes * outcome).max(axis=0)
    return np.asarray(highest / len(_OUTCOMES) - mean.max())


def _spread(covariance: Array, noise: float) -> NDArray[np.float64]:
    """Standard deviation of one evaluation at each point, as far as it can be predicted."""
    return np.sqrt(np.maximum(np.diag(covariance), 0.0) + max(noise, 1e-12) ** 2)
