"""From noisy trials to constants: the maximum of a fitted surface, with what cannot be told apart from it.

The best observed trial is the luckiest of many; it is reported next to the recommendation, never instead of it.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from phiscale.errors import StudyError
from phiscale.record import Estimate, Observed
from phiscale.training_length import FARTHEST
from phiscale.triangle import CostModel, ScalingConstants, Shares, active_axes, constants_from_shares, lattice
from search import drift
from search.aim import Aim, out_of_reach
from search.hindcast import LEAST_COVERAGE, Hindcast, hindcast
from search.horizon import Fitted, Scale, fit, fit_lines, law_scale, network_means, plain_scale, without_common_error
from search.leads import Lead, leads
from search.measurements import Measurement
from search.scaling import Array, are_equal
from search.threads import one_thread

FINE_STEPS = 100
"""Steps of the lattice on which the maximum is searched."""
REGION_STEPS = 20
"""Steps of the lattice on which the region is given."""
_DRAWS = 1000
_BLUR = 0.5
"""Part of the draws whose optimum is spread over its neighbours on the lattice, because no surface is exact to one
step. Chosen on random landscapes (``benchmarks/bench_search.py``), where it lifts the region's hold from 0.8 to 0.9."""
FEWEST = 8
"""With fewer networks, no surface is fitted."""
_Z90 = 1.6449
_MOST_TIMES = 20
"""If more than this factor of trainings of every network is needed, more trainings are not advised."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Whether the constants could be recommended for the requested horizon."""

    images: int
    """The horizon, in images seen."""
    reason: str
    """Why it is not determined, and what would determine it: a phrase; empty where it is determined."""


@dataclass(frozen=True)
class Recommendation:
    """Constants, and how certain they are."""

    constants: ScalingConstants
    shares: Shares
    expected: Estimate | None
    """Expected score of a fresh training on other images, with its 90 % interval; None without a surface."""
    noise: float | None
    """Standard deviation of one evaluation; None without a surface or replicates."""
    region: tuple[Shares, ...]
    """The smallest set of lattice points that holds the optimum with 90 % probability; empty with too few networks."""
    best_observed: Observed
    notes: tuple[str, ...]
    details: dict[str, Any]
    """Models with their weights, calibration, leads, rungs, drift and hindcast, as JSON values."""
    length: int | None = None
    """Images seen of the training that the constants are for; None where training length plays no part."""
    outlook: Outlook | None = None
    """For the requested horizon; None if there is none."""
    leads: tuple[Lead, ...] = ()
    """Over every measured rule; empty without a surface."""


@dataclass(frozen=True)
class Prediction:
    """The fitted surface on a lattice, in the unit of the scores."""

    shares: Array
    """(n, 3)"""
    mean: Array
    """Expected score, (n,)."""
    deviation: Array
    """Its standard deviation, (n,)."""


def predict(rows: Sequence[Measurement], cost_model: CostModel, aim: Aim, *, steps: int = 60) -> Prediction | None:
    """The surface at the horizon on a lattice of ``steps``, for pictures. None for too few networks or equal scores."""
    if len(rows) < FEWEST or are_equal(np.array(_evaluations(rows))):
        return None
    points = as_array(lattice(steps, cost_model))
    with one_thread():
        surface, scale = surface_at(rows, aim)
        mean, deviation = surface.predict(points)
    return Prediction(points, scale.to_scores(mean), deviation * scale.slope(mean))


def surface_at(rows: Sequence[Measurement], aim: Aim, *, each: bool = False) -> tuple[Fitted, Scale]:
    """The surface at the horizon and the scale of its values.

    At a rung it is fitted to the scores measured there; elsewhere to the lines through all rungs, where trainings of
    one network count once unless ``each`` is to count: for what further ones would teach. A horizon of more than four
    times the longest rung counts as the longest rung.
    """
    length = aim.horizon
    shares, scores, lengths = _observed(rows)
    if length is None or not lengths or length > FARTHEST * lengths[-1]:
        length = lengths[-1] if lengths else None
    if length is None or length in lengths:
        scale, there = plain_scale(aim.direction), scores[:, -1 if length is None else lengths.index(length)]
        return fit(shares, scale.to_values(there), _counting_error(there, aim)), scale
    scale = law_scale(scores, aim.direction, aim.score_name)
    values = (shares, scale.to_values(scores)) if each else network_means(_groups(rows, scale))
    return fit_lines(*values, lengths, length), scale


def _counting_error(scores: Array, aim: Aim) -> float | None:
    """Standard deviation of the best of these accuracies from counting that many images; None for other scores."""
    if aim.counted is None:
        return None
    part = float(np.clip(scores.max(), 0.5 / aim.counted, 1 - 0.5 / aim.counted))
    return math.sqrt(part * (1 - part) / aim.counted)


def _groups(rows: Sequence[Measurement], scale: Scale) -> list[tuple[Array, Array]]:
    """Shares (3,) of every network, and the values of its trainings at the rungs (m, k)."""
    return [(np.array(row.shares.as_tuple()), scale.to_values(np.array(row.rung_scores))) for row in rows]


def _observed(rows: Sequence[Measurement]) -> tuple[Array, Array, tuple[int, ...]]:
    """Shares (n, 3) and scores (n, k) of every evaluation, and the lengths of the k rungs; k is 1 without rungs."""
    shares = as_array([row.shares for row in rows for _ in row.scores])
    lengths = rows[0].rungs
    if any(row.rungs != lengths for row in rows):
        raise StudyError("expected trials with the same rungs, got others; search again under another --study")
    if lengths:
        return shares, np.array([scores for row in rows for scores in row.rung_scores]), lengths
    return shares, np.array(_evaluations(rows))[:, None], ()


def recommend(
    rows: Sequence[Measurement], cost_model: CostModel, aim: Aim, *, with_drift: bool = True
) -> Recommendation:
    """The recommendation for the horizon from all measured networks.

    If the horizon cannot be determined, it is for the longest rung, and ``outlook`` says so. Without ``with_drift`` the
    details lack rungs and drift, which take more than half of the time. Raises ``StudyError`` where there is no
    measurement.
    """
    if not rows:
        raise StudyError("expected at least one finished trial to recommend from, got none; run more trials")
    sign = 1.0 if aim.direction == "maximize" else -1.0
    best = max(rows, key=lambda row: sign * row.score)
    observed = Observed(best.name, best.constants, best.score, len(best.scores))
    longest = rows[0].rungs[-1] if rows[0].rungs else None
    outlook = None
    if aim.horizon is not None and longest is not None:
        reason = "" if aim.horizon == longest else "too few networks have been measured"
        outlook = Outlook(images=aim.horizon, reason=reason)
    if len(rows) > 1 and are_equal(np.array(_evaluations(rows))):
        if outlook and outlook.reason:
            outlook = dataclasses.replace(outlook, reason="all scores at the longest rung are equal")
        return dataclasses.replace(_undecided(rows, cost_model, observed), length=longest, outlook=outlook)
    if len(rows) < FEWEST:
        few = f"{len(rows)} networks are" if len(rows) > 1 else "1 network is"
        note = f"{few} too few for a surface ({FEWEST} are needed): this is the best observed trial"
        constants = constants_from_shares(best.shares, cost_model)
        noise = replicate_noise(rows)
        return Recommendation(constants, best.shares, None, noise, (), observed, (note,), {}, longest, outlook)
    with one_thread():
        checked = _hindcast(rows, cost_model, aim)
        if outlook is not None:
            seeds = statistics.fmean(len(row.scores) for row in rows)
            outlook = _outlook(outlook.images, rows[0].rungs, checked, seeds)
        length = outlook.images if outlook and not outlook.reason else longest
        fitted = surface_at(rows, dataclasses.replace(aim, horizon=length))
        measured = fitted if length == longest else surface_at(rows, dataclasses.replace(aim, horizon=None))
        found = _from_surface(rows, cost_model, aim, fitted, measured, best, observed)
        details = found.details | (_over_length(rows, cost_model, aim) if with_drift else {})
    details["hindcast"] = None if checked is None else checked.to_json()
    return dataclasses.replace(found, details=details, length=length, outlook=outlook)


def _hindcast(rows: Sequence[Measurement], cost_model: CostModel, aim: Aim) -> Hindcast | None:
    if not rows[0].rungs:
        return None
    scale = law_scale(_observed(rows)[1], aim.direction, aim.score_name)
    return hindcast(_groups(rows, scale), rows[0].rungs, scale, as_array(lattice(REGION_STEPS, cost_model)))


def _over_length(rows: Sequence[Measurement], cost_model: CostModel, aim: Aim) -> dict[str, Any]:
    """Optimum and noise at every rung, and the drift, as JSON values; nothing without rungs."""
    shares, scores, lengths = _observed(rows)
    if not lengths:
        return {}
    arguments = shares, scores, lengths, plain_scale(aim.direction), lattice(REGION_STEPS, cost_model)
    return drift.as_json(drift.rung_summaries(*arguments), drift.drift(*arguments))


def _outlook(horizon: int, lengths: Sequence[int], checked: Hindcast | None, seeds: float) -> Outlook:
    """Whether the rungs say anything about the horizon; if not, why, and what could help.

    ``seeds`` is the mean number of trainings of a network.
    """
    reason = out_of_reach(horizon, lengths)
    if reason or horizon <= lengths[-1] or checked is None or checked.holds:
        return Outlook(images=horizon, reason=reason)
    longer = f"a longest rung of {horizon:,} images seen could determine it"
    if checked.rank is not None or checked.coverage < LEAST_COVERAGE:
        failed = f"the rungs up to {checked.rungs[-1]:,} images seen do not predict the longest one"
        return Outlook(images=horizon, reason=f"{failed} ({checked.describe()}); {longer}")
    more = math.ceil(seeds * checked.repeats) if checked.repeats <= _MOST_TIMES else 0
    repeated = f"about {more} trainings of every network (--seeds), or " if more else ""
    hidden = "noise hides the order of the networks, so nothing checks the extrapolation"
    return Outlook(images=horizon, reason=f"{hidden}; {repeated}{longer}")


def _undecided(rows: Sequence[Measurement], cost_model: CostModel, observed: Observed) -> Recommendation:
    """The middle of the triangle, with the whole triangle as region, if all networks score the same."""
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
    rows: Sequence[Measurement],
    cost_model: CostModel,
    aim: Aim,
    fitted: tuple[Fitted, Scale],
    measured: tuple[Fitted, Scale],
    best: Measurement,
    observed: Observed,
) -> Recommendation:
    """``fitted`` is the surface at the length of the recommendation, ``measured`` that of the trials' own scores."""
    surface, scale = fitted
    top = _highest(surface, cost_model)
    mean, deviation = surface.predict(as_array([top]))
    seeds = len({seed for row in rows for seed in row.seeds}) or 1
    unknown = math.hypot(float(deviation[0]), surface.network_effect, surface.seed_effect / math.sqrt(seeds))
    expected = _estimate(scale, float(mean[0]), unknown, _counting_error(scale.to_scores(mean), aim) or 0.0)
    steepness = float(scale.slope(mean)[0])
    region, gain = optimum_region(surface, top, cost_model)
    own, plain = measured
    noise = own.noise
    found = leads(rows, (without_common_error(surface), scale), top)
    notes = _cautions(rows, surface, noise, region, cost_model)
    best_score = plain.sign * max(plain.sign * score for score in _evaluations(rows))
    if own is surface and plain.sign * (expected.score - best_score) > noise:
        notes += (f"the expected score is better than the best that was measured, {best_score:.4g}: a guess",)
    details = {
        "models": _weights(surface),
        "calibration": asdict(surface.calibration),
        "replicate_noise": replicate_noise(rows),
        "optimism": plain.sign * (best.score - _at(own, best.shares, plain)),
        "region_part": len(region) / len(lattice(REGION_STEPS, cost_model)),
        "expected_gain": gain * steepness,
    }
    constants = constants_from_shares(top, cost_model)
    return Recommendation(constants, top, expected, noise, region, observed, notes, details, leads=found)


def _weights(surface: Fitted) -> dict[str, float]:
    """Weight of every kind of model, heaviest first."""
    weights: dict[str, float] = {}
    for model in surface.models:
        weights[model.name] = weights.get(model.name, 0.0) + model.weight
    return dict(sorted(weights.items(), key=lambda item: -item[1]))


def _highest(surface: Fitted, cost_model: CostModel) -> Shares:
    """The point of the fine lattice where the surface is highest, searched around the best of the coarse one."""
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


def _at(surface: Fitted, shares: Shares, scale: Scale) -> float:
    return float(scale.to_scores(surface.predict(as_array([shares]))[0])[0])


def _estimate(scale: Scale, mean: float, deviation: float, counting: float) -> Estimate:
    """The score of a value with its interval; ``counting`` is a further error in the unit of the score."""
    score, *ends = scale.to_scores(np.array([mean, mean - _Z90 * deviation, mean + _Z90 * deviation])).tolist()
    low, high = (math.hypot(end - score, _Z90 * counting) for end in sorted(ends))
    return Estimate(score, score - low, score + high)


def optimum_region(
    surface: Fitted, recommended: Shares, cost_model: CostModel, *, probability: float = 0.9
) -> tuple[tuple[Shares, ...], float]:
    """The fewest lattice points that hold the surface's maximum with ``probability``, likeliest first, and the gain.

    Half of the optima of drawn surfaces also count for their neighbours. The gain is the expected rise of the score at
    ``recommended`` if the surface were known exactly.
    """
    points = lattice(REGION_STEPS, cost_model)
    draws = surface.draws(as_array([*points, recommended]), _DRAWS, seed=0)
    winners = np.argmax(draws[:, :-1], axis=1)
    counts = np.bincount(winners, minlength=len(points)).astype(float)
    array = as_array(points)
    near = np.abs(array[:, None] - array[None]).max(axis=2) <= 1 / REGION_STEPS + 1e-9
    counts = (1 - _BLUR) * counts + _BLUR * counts @ (near / near.sum(axis=1, keepdims=True))
    order = np.argsort(-counts, kind="stable")
    enough = int(np.searchsorted(np.cumsum(counts[order]), probability * len(draws) - 1e-9)) + 1
    gain = float((draws.max(axis=1) - draws[:, -1]).mean())
    return tuple(points[index] for index in order[:enough]), gain


def replicate_noise(rows: Sequence[Measurement]) -> float | None:
    """Pooled standard deviation of one evaluation over networks that were measured more than once; None if none was."""
    pairs = [(statistics.variance(row.scores), len(row.scores) - 1) for row in rows if len(row.scores) > 1]
    if not pairs:
        return None
    return float((sum(v * f for v, f in pairs) / sum(f for _, f in pairs)) ** 0.5)


def _cautions(
    rows: Sequence[Measurement], surface: Fitted, noise: float, region: Sequence[Shares], cost_model: CostModel
) -> tuple[str, ...]:
    notes = []
    part = len(region) / len(lattice(REGION_STEPS, cost_model))
    if part > 0.25:
        notes.append(f"the region covers {part:.0%} of the triangle: more trials or seeds would narrow it")
    spread = float(np.std([row.score for row in rows]))
    if noise > spread:
        notes.append("the noise of one evaluation is larger than the differences between networks")
    if surface.calibration.spread > 1.5:
        notes.append("the surface predicts left-out evaluations worse than it claims: take its interval as too narrow")
    return tuple(notes)
