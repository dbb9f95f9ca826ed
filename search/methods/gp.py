"""Where a fitted surface expects to learn most: the knowledge gradient over the lattice of shares.

The recommendation is the maximum of the surface's mean. The knowledge gradient of a point is the expected rise of that
maximum if the point is evaluated once more. A repeat of a known point is valued by the same measure as a new one. The
first points are an even spread, and so is every second later one: a model that asks only where it expects the optimum
never notices that it is wrong elsewhere.

Source: Frazier, Powell & Dayanik 2009, "The knowledge-gradient policy for correlated normal beliefs", equation 15 (the
expectation is taken over equally likely outcomes instead of exactly).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from phiscale.triangle import Shares, constants_from_shares
from search.history import History
from search.methods import qmc
from search.settings import SPREAD_FIRST
from search.trial import Plan, shares_of_constants

if TYPE_CHECKING:
    from search.horizon import Fitted
    from search.scaling import Array

NEEDS = {"scipy": "scipy"}
_SPREAD_EVERY = 2
_PLACES = 20
"""Positions of the even spread that are tried, until the network of one can be built."""


def propose(history: History, count: int) -> list[Plan]:
    """The next points; the surface is fitted once for all of them."""
    plans: list[Plan] = []
    place = history.places
    learn: Callable[[Sequence[Shares]], Shares | None] | None = None
    for turn in range(history.taken, history.taken + count):
        shares = None
        if turn % _SPREAD_EVERY and _is_known(history):
            learn = learn or _learner(history)
            shares = learn([shares_of_constants(plan.constants, history.cost_model) for plan in plans])
        if shares is not None:
            plans.append(Plan(constants=constants_from_shares(shares, history.cost_model)))
            continue
        place = _open_place(history, place) if turn >= SPREAD_FIRST else place
        plans.append(Plan(constants=qmc.point(history, place), place=place))
        place += 1
    return plans


def _is_known(history: History) -> bool:
    """Whether enough has been measured for a surface."""
    from search.recommendation import FEWEST

    return sum(len(row.scores) for row in history.rows) >= SPREAD_FIRST and len(history.rows) >= FEWEST


def _open_place(history: History, first: int) -> int:
    """The first place, from ``first`` on, whose network can be built; ``first`` where none of the next ones can."""
    return next((at for at in range(first, first + _PLACES) if history.is_open(qmc.point(history, at))), first)


def _learner(history: History) -> Callable[[Sequence[Shares]], Shares | None]:
    """The most informative open point, given further points that are about to run.

    A trial that fails teaches nothing and would be chosen again for ever, so points that are not open are skipped.
    Failed and running points count as pending, which lowers the value of their neighbours.
    """
    from phiscale.triangle import lattice
    from search.horizon import LineSurface
    from search.recommendation import REGION_STEPS, as_array
    from search.threads import one_thread

    points = lattice(REGION_STEPS, history.cost_model)
    surface, _ = history.surface
    if isinstance(surface, LineSurface):  # no training at these rungs tells how curves bend beyond them
        surface = replace(surface, bend=0.0, shift_error=0.0)

    def learn(chosen: Sequence[Shares]) -> Shares | None:
        with one_thread():
            gradient = knowledge_gradient(surface, as_array(points), as_array([*history.pending, *chosen]))
        ranked = (points[index] for index in (-gradient).argsort(kind="stable"))
        return next((s for s in ranked if history.is_open(constants_from_shares(s, history.cost_model))), None)

    return learn


def knowledge_gradient(surface: Fitted, points: Array, pending: Array) -> Array:
    """Expected rise of the highest mean over ``points`` (n, 3) by one evaluation at each of them, (n,)."""
    import numpy as np
    from scipy.stats import norm

    outcomes = norm.ppf((np.arange(24) + 0.5) / 24)  # equally likely ones of a standard normal evaluation
    mean, covariance = surface.moments(np.concatenate([points, pending.reshape(-1, 3)]))
    for index in range(len(points), len(mean)):
        column = covariance[:, index] / _deviation(covariance, surface.noise)[index]
        covariance = covariance - np.outer(column, column)
    slopes = (covariance / _deviation(covariance, surface.noise))[: len(points), : len(points)]
    mean = mean[: len(points)]
    highest = np.zeros(len(points))
    for outcome in outcomes:
        highest += (mean[:, None] + slopes * outcome).max(axis=0)
    return np.asarray(highest / len(outcomes) - mean.max())


def _deviation(covariance: Array, noise: float) -> Array:
    """Standard deviation of one evaluation at each point, as far as it can be predicted."""
    import numpy as np

    return np.asarray(np.sqrt(np.maximum(np.diag(covariance), 0.0) + max(noise, 1e-12) ** 2))
