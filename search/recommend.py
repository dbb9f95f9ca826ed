"""From noisy trials to constants: the maximum of a fitted surface, with what cannot be told apart from it.

The best observed trial is the luckiest of many; it is reported beside the recommendation, never instead of it.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from phiscale.constants import CostModel, ScalingConstants, Shares, constants_from_shares
from phiscale.errors import StudyError
from phiscale.record import Estimate, Observed
from search.measurements import Measurement
from search.simplex import active_axes, lattice
from search.surface import Array, Surface, are_equal, fit_surface
from search.workers import one_thread

FINE_STEPS = 100
"""Lattice on which the maximum is looked for."""
REGION_STEPS = 20
"""Lattice on which the region is given."""
_DRAWS = 1000
FEWEST = 8
"""Networks below which no surface is fitted."""
_Z90 = 1.6449


@dataclass(frozen=True)
class Recommendation:
    """Constants, and how sure they are."""

    constants: ScalingConstants
    shares: Shares
    expected: Estimate | None
    """Expected score with its 90 % interval; None without a surface."""
    noise: float | None
    """Standard deviation of one evaluation; None without a surface or replicates."""
    region: tuple[Shares, ...]
    """The smallest set of lattice points that holds the optimum with 90 % probability; empty with too few networks."""
    best_observed: Observed
    notes: tuple[str, ...]
    details: dict[str, Any]
    """Models with their weights, calibration, and the second opinion, as JSON values."""


@dataclass(frozen=True)
class Prediction:
    """The fitted surface on a lattice, in the unit of the scores."""

    shares: Array
    """(n, 3)"""
    mean: Array
    """Expected score, (n,)."""
    deviation: Array
    """Its standard deviation, (n,)."""


def predict(
    rows: Sequence[Measurement], cost_model: CostModel, direction: str, *, steps: int = 60
) -> Prediction | None:
    """The surface on a lattice of ``steps``, for pictures; None where too few networks or equal scores show none."""
    if len(rows) < FEWEST or are_equal(np.array(_evaluations(rows))):
        return None
    sign = 1.0 if direction == "maximize" else -1.0
    points = as_array(lattice(steps, cost_model))
    with one_thread():
        mean, deviation = fit_rows(rows, sign).predict(points)
    return Prediction(points, sign * mean, deviation)


def recommend(rows: Sequence[Measurement], cost_model: CostModel, direction: str) -> Recommendation:
    """The recommendation from all measured networks. Raises ``StudyError`` where there is none."""
    if not rows:
        raise StudyError("expected at least one finished trial to recommend from, got none; run more trials")
    sign = 1.0 if direction == "maximize" else -1.0
    best = max(rows, key=lambda row: sign * row.score)
    observed = Observed(best.name, best.constants, best.score, len(best.scores))
    if len(rows) > 1 and are_equal(np.array(_evaluations(rows))):
        return _undecided(rows, cost_model, observed)
    if len(rows) < FEWEST:
        note = f"{len(rows)} networks are too few for a surface ({FEWEST} are needed): this is the best observed trial"
        constants = constants_from_shares(best.shares, cost_model)
        return Recommendation(constants, best.shares, None, replicate_noise(rows), (), observed, (note,), {})
    with one_thread():
        return _from_surface(rows, cost_model, sign, best, observed)


def _undecided(rows: Sequence[Measurement], cost_model: CostModel, observed: Observed) -> Recommendation:
    """The middle of the triangle, and the whole of it as region, where all networks score the same."""
    axes = active_axes(cost_model)
    middle = Shares(*(1 / len(axes) if axis in axes else 0.0 for axis in range(3)))
    note = (
        f"all {len(_evaluations(rows))} scores are equal ({observed.score:.4g}): nothing can be recommended, and the "
        "middle of the triangle is given"
    )
    constants, region = constants_from_shares(middle, cost_model), tuple(lattice(REGION_STEPS, cost_model))
    noise, details = replicate_noise(rows), {"region_part": 1.0}
    return Recommendation(constants, middle, None, noise, region, observed, (note,), details)


def _from_surface(
    rows: Sequence[Measurement], cost_model: CostModel, sign: float, best: Measurement, observed: Observed
) -> Recommendation:
    surface = fit_rows(rows, sign)
    top = _highest(surface, cost_model)
    mean, deviation = surface.predict(as_array([top]))
    expected = _estimate(sign, float(mean[0]), float(deviation[0]))
    region, gain = optimum_region(surface, top, cost_model)
    opinions, disagreement = second_opinions(surface, sign, lattice(REGION_STEPS, cost_model))
    notes = (*_cautions(rows, surface, region, cost_model), *disagreement)
    details = {
        "models": {model.name: model.weight for model in surface.models},
        "calibration": asdict(surface.calibration),
        "replicate_noise": replicate_noise(rows),
        "optimism": sign * (best.score - _at(surface, best.shares, sign)),
        "region_part": len(region) / len(lattice(REGION_STEPS, cost_model)),
        "expected_gain": gain,
        **opinions,
    }
    constants = constants_from_shares(top, cost_model)
    return Recommendation(constants, top, expected, surface.noise, region, observed, notes, details)


def _highest(surface: Surface, cost_model: CostModel) -> Shares:
    """The point of the fine lattice where the surface is highest, looked for around the best of the coarse one."""
    coarse = lattice(REGION_STEPS, cost_model)
    best = as_array([coarse[int(np.argmax(surface.means(as_array(coarse))))]])
    points = lattice(FINE_STEPS, cost_model)
    array = as_array(points)
    near = np.flatnonzero(np.abs(array - best).max(axis=1) <= 1.5 / REGION_STEPS)
    return points[int(near[np.argmax(surface.means(array[near]))])]


def as_array(points: Sequence[Shares]) -> Array:
    """The points as (n, 3)."""
    return np.array([point.as_tuple() for point in points], dtype=float)


def _evaluations(rows: Sequence[Measurement]) -> list[float]:
    """All scores, one per evaluation."""
    return [score for row in rows for score in row.scores]


def fit_rows(rows: Sequence[Measurement], sign: float) -> Surface:
    """A surface of the score times ``sign``, to be maximised; every evaluation is one observation."""
    shares = as_array([row.shares for row in rows for _ in row.scores])
    return _fitted(shares.tobytes(), (sign * np.array(_evaluations(rows))).tobytes())


@functools.lru_cache(maxsize=2)
def _fitted(shares: bytes, scores: bytes) -> Surface:
    """Kept, since the decision to stop, the next point and the recommendation ask for the same surface."""
    return fit_surface(np.frombuffer(shares).reshape(-1, 3), np.frombuffer(scores))


def _at(surface: Surface, shares: Shares, sign: float) -> float:
    return sign * float(surface.predict(as_array([shares]))[0][0])


def second_opinions(surface: Surface, sign: float, points: Sequence[Shares]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the Gaussian process alone and the Scheffe polynomials alone would say, and a caution if they disagree.

    They disagree where each loses more at the other's maximum than twice its own standard deviation there.
    """
    array, opinions, losses = as_array(points), {}, []
    alone = {"gp": ("matern",), "scheffe": ("quadratic", "cubic")}
    predicted = {name: surface.only(kinds).predict(array) for name, kinds in alone.items()}
    tops = {name: int(np.argmax(mean)) for name, (mean, _) in predicted.items()}
    for name, other in (("gp", "scheffe"), ("scheffe", "gp")):
        mean, deviation = predicted[name]
        loss = float(mean[tops[name]] - mean[tops[other]])
        opinions[name] = {"shares": list(points[tops[name]].as_tuple()), "score": sign * float(mean[tops[name]])}
        losses.append(loss > 2 * float(np.hypot(deviation[tops[name]], deviation[tops[other]])))
    note = "the Gaussian process and the Scheffe polynomial disagree about the best constants by more than their error"
    return opinions, (note,) if all(losses) else ()


def _estimate(sign: float, mean: float, deviation: float) -> Estimate:
    ends = (sign * (mean - _Z90 * deviation), sign * (mean + _Z90 * deviation))
    return Estimate(sign * mean, min(ends), max(ends))


def optimum_region(
    surface: Surface, recommended: Shares, cost_model: CostModel, *, probability: float = 0.9
) -> tuple[tuple[Shares, ...], float]:
    """The fewest lattice points that hold the surface's maximum with ``probability``, likeliest first, and the gain.

    The gain is what knowing the surface without error would add to the score at ``recommended``, in expectation.
    """
    points = lattice(REGION_STEPS, cost_model)
    draws = surface.draws(as_array([*points, recommended]), _DRAWS, seed=0)
    winners = np.argmax(draws[:, :-1], axis=1)
    counts = np.bincount(winners, minlength=len(points))
    order = np.argsort(-counts, kind="stable")
    enough = int(np.searchsorted(np.cumsum(counts[order]), probability * len(draws))) + 1
    gain = float((draws.max(axis=1) - draws[:, -1]).mean())
    return tuple(points[index] for index in order[:enough]), gain


def replicate_noise(rows: Sequence[Measurement]) -> float | None:
    """Pooled standard deviation of one evaluation over networks that were measured more than once; None if none was."""
    pairs = [(statistics.variance(row.scores), len(row.scores) - 1) for row in rows if len(row.scores) > 1]
    if not pairs:
        return None
    return float((sum(v * f for v, f in pairs) / sum(f for _, f in pairs)) ** 0.5)


def _cautions(
    rows: Sequence[Measurement], surface: Surface, region: Sequence[Shares], cost_model: CostModel
) -> tuple[str, ...]:
    notes = []
    part = len(region) / len(lattice(REGION_STEPS, cost_model))
    if part > 0.25:
        notes.append(f"the region covers {part:.0%} of the triangle: more trials or seeds would narrow it")
    spread = float(np.std([row.score for row in rows]))
    if surface.noise > spread:
        notes.append("the noise of one evaluation is larger than the differences between networks")
    if surface.calibration.spread > 1.5:
        notes.append("the surface foretells left-out evaluations worse than it claims: take its interval as too narrow")
    return tuple(notes)
