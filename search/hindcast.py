"""Whether the extrapolation can be trusted: the longest rung as shorter rungs predict it, against its measurement.

Symbols: n networks, k rungs, m trainings of one network. Source of the corrected rank correlation: Spearman 1904, "The
proof and measurement of association between two things".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from search.aggregation import merge_networks
from search.horizon import Scale, fit, fit_lines, network_means, without_common_error
from search.scaling import Array

LEAST_COVERAGE, LEAST_RANK = 0.75, 0.5
"""Bounds for the part of contrasts inside their 90 % intervals, and for the rank correlation; the latter is lowered if
noise requires it, see ``Hindcast.least_rank``."""
_RANK_DRAWS = 400
_LEAST_RELIABILITY = 0.25
"""If less than this part of the measured differences is not noise, their order says nothing about a prediction."""
_FEWEST_REPEATS = 6
"""From so many repeated trainings on, the noise is taken from them; with fewer it is the surface's estimate."""
_Z90 = 1.6449


@dataclass(frozen=True)
class Hindcast:
    """The longest rung as the rungs up to a quarter of it predict it, compared with its measurement."""

    rungs: tuple[int, ...]
    """Images seen at the rungs that predict."""
    longest: int
    """Images seen at the rung that is predicted."""
    bias: float
    """Mean predicted score minus mean measured score."""
    coverage: float
    """Part of the contrasts between two networks that lie inside their 90 % interval."""
    rank: float | None
    """Rank correlation of predicted and measured scores, corrected for the noise of both; None if most of the
    differences of one of them is noise, so that their order says nothing."""
    least_rank: float
    """Bound of the rank correlation: 0.5, or if noise makes it lower, the 5 % quantile of what the prediction itself
    expects."""
    regret: float
    """Score lost at the longest rung by the constants that the short rungs recommend, by the surface fitted there."""
    repeats: float
    """Factor on the trainings of every network with which noise would not hide the order; at most 1 if it does not
    now."""
    networks: int

    def to_json(self) -> dict[str, Any]:
        """JSON values; an infinite number of repeats becomes None."""
        plain = asdict(self) | {"rungs": list(self.rungs), "holds": self.holds}
        return plain | {"repeats": self.repeats if math.isfinite(self.repeats) else None}

    def describe(self) -> str:
        """Coverage and rank correlation in words."""
        rank = "the order cannot be told from noise" if self.rank is None else f"rank correlation {self.rank:.2f}"
        return f"90 % intervals of contrasts hold in {self.coverage:.0%}, {rank}"

    @property
    def holds(self) -> bool:
        """Whether coverage and rank correlation reach their bounds."""
        return self.coverage >= LEAST_COVERAGE and self.rank is not None and self.rank >= self.least_rank


def hindcast(
    groups: Sequence[tuple[Array, Array]], lengths: Sequence[int], scale: Scale, lattice: Array
) -> Hindcast | None:
    """Check the extrapolation on measured rungs; None with fewer than two rungs up to a quarter of the longest.
    ``groups`` holds for every network its shares (3,) and the values of its trainings (m, k). With many networks, those
    that lie close together count as one.
    """
    networks, groups = len(groups), merge_networks(groups)
    short = [index for index, length in enumerate(lengths) if 4 * length <= lengths[-1]]
    if len(short) < 2:
        return None
    places, values = network_means(groups)
    measured = values[:, -1]
    predicted = fit_lines(places, values[:, short], [lengths[index] for index in short], lengths[-1])
    known = fit(places, measured)
    mean, covariance = without_common_error(predicted).moments(places)
    repeated = _replicate_noise(groups)
    noise = np.full(len(groups), known.noise**2)
    if repeated is not None:
        noise = repeated**2 / np.array([len(trainings) for _, trainings in groups])
    reliable = _reliability(measured, noise), _prediction_reliability(mean, covariance)
    chosen = lattice[int(np.argmax(predicted.means(lattice)))]
    at_longest = scale.to_scores(known.means(np.vstack([chosen, lattice])))
    return Hindcast(
        rungs=tuple(lengths[index] for index in short),
        longest=lengths[-1],
        bias=float((scale.to_scores(mean) - scale.to_scores(measured)).mean()),
        coverage=_contrast_coverage(mean - measured, covariance, np.full(len(groups), known.noise**2)),
        rank=_rank(mean, measured, reliable),
        least_rank=_least_rank(mean, covariance, noise, reliable),
        regret=float(np.abs(at_longest[0] - at_longest[1:][int(np.argmax(known.means(lattice)))])),
        repeats=_repeats(min(reliable)),
        networks=networks,
    )


def _contrast_coverage(errors: Array, covariance: Array, noise: Array) -> float:
    """Part of the differences of two networks' errors that lie inside their 90 % interval."""
    first, second = np.triu_indices(len(errors), 1)
    total = covariance + np.diag(noise)
    variance = total[first, first] + total[second, second] - 2 * total[first, second]
    return float((np.abs(errors[first] - errors[second]) <= _Z90 * np.sqrt(variance)).mean())


def _replicate_noise(groups: Sequence[tuple[Array, Array]]) -> float | None:
    """Pooled deviation of one training at the longest rung over networks trained more than once; None with few."""
    repeated = [values[:, -1] for _, values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if freedom < _FEWEST_REPEATS:
        return None
    return math.sqrt(sum(float(values.var()) * len(values) for values in repeated) / freedom)


def _reliability(measured: Array, noise: Array) -> float:
    """Part of the variance of measured values that is not noise; below 0 if the noise exceeds the variance."""
    variance = float(measured.var())
    return 1 - float(noise.mean()) / variance if variance > 0 else -math.inf


def _prediction_reliability(mean: Array, covariance: Array) -> float:
    """Part of the variance of the true values that the predictions explain; the rest is uncertainty of prediction."""
    variance = float(mean.var())
    return variance / (variance + float(np.diag(covariance).mean())) if variance > 0 else 0.0


def _rank(predicted: Array, measured: Array, reliable: tuple[float, float]) -> float | None:
    """Spearman's correlation divided by the root of both reliabilities (Spearman 1904), at most 1."""
    if min(reliable) < _LEAST_RELIABILITY:
        return None
    return float(_corrected_ranks(predicted, measured[None], reliable)[0])


def _least_rank(mean: Array, covariance: Array, noise: Array, reliable: tuple[float, float]) -> float:
    """The bound of ``_rank``: it is reached in 95 % of measurements drawn from the prediction with its noise."""
    if min(reliable) < _LEAST_RELIABILITY:
        return LEAST_RANK
    values, vectors = np.linalg.eigh(covariance + np.diag(noise))
    normal = np.random.default_rng(0).standard_normal((_RANK_DRAWS, len(mean)))
    drawn = mean + (normal * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return min(LEAST_RANK, float(np.quantile(_corrected_ranks(mean, drawn, reliable), 0.05)))


def _corrected_ranks(predicted: Array, measured: Array, reliable: tuple[float, float]) -> Array:
    """Corrected rank correlation of ``predicted`` (N,) with each row of ``measured`` (m, N)."""
    places = [np.argsort(np.argsort(values, axis=-1), axis=-1).astype(float) for values in (predicted, measured)]
    first, second = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in places)
    plain = second @ first / (np.linalg.norm(first) * np.linalg.norm(second, axis=-1))
    return np.asarray(np.minimum(1.0, plain / math.sqrt(math.prod(reliable))))


def _repeats(reliability: float) -> float:
    """Factor on the trainings of every network that raises a reliability to its bound; infinite if all is noise."""
    if reliability <= 0:
        return math.inf
    return (1 / reliability - 1) / (1 / _LEAST_RELIABILITY - 1)
