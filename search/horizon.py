"""From scores at the rungs to the score at the horizon, the length for which constants are recommended.

Symbols: n trainings, k rungs, N points of the triangle.
    lengths  (k,)    images seen at each rung, shortest first
    values   (n, k)  scores on the scale on which they are straight in log length; larger is better
    x        (k,)    log2 of the lengths: one unit is a doubling
    level    (n,)    value of a training's line at the centre of the rungs
    slope    (n,)    rise of its line per doubling

Each training has a line ``level + slope * (x - centre)``: a power law of its error rate or loss. Levels and slopes of
neighbouring networks are alike, so one surface is fitted to each, and the surface at the horizon is
``level surface + reach * slope surface`` with ``reach`` the doublings from the centre. Its variance is the sum of both,
so it widens with the distance by itself. Weighted by the noise of each rung, level and slope of a training have
independent errors. Trainings of one network count once, by their mean: they share what rounding made of that network,
which no repetition averages out.

No real network keeps its power law for ever. Beyond the longest rung the slope of each corner of the triangle may bend
by a fifth (one standard deviation) of the mean slope, and that of the points between in proportion.

Sources: Hestness et al. 2017, "Deep learning scaling is predictable, empirically" (power laws of the error);
Alabdulmohsin et al. 2023, arXiv 2305.13035 (the best shape moves with compute).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from objectives.training.rungs import LONGEST
from phiscale.errors import SettingsError
from phiscale.training_length import FARTHEST
from search.settings import SearchSettings
from search.surface import Array, Calibration, Model, Surface, fit_surface

LEAST_COVERAGE, LEAST_RANK = 0.75, 0.5
"""The hindcast's intervals of contrasts, which should hold in 90 %, and its rank correlation have to reach these; the
rank correlation only as far as noise allows, see ``Hindcast.least_rank``."""
_RANK_DRAWS = 400
_BEND = 0.2
"""Standard deviation of the bend of a corner's slope, as a part of the mean slope: from the lattice of CIFAR-10
(``benchmarks/bench_horizon.py``), where rungs up to 40,000 images seen predict 160,000."""
_LEAST_ERROR = 5e-4
"""Error rates below this count as this: half an image of a thousand."""
_LEAST_RELIABILITY = 0.25
"""Part of the measured differences that is no noise, below which their order says nothing about a prediction."""
_Z90 = 1.6449
_KEPT_AT_MOST = 300
"""Values beyond which no surface is kept: each would take some 100 MiB at 1,000."""
_FEWEST_REPEATS = 6
"""Repeated trainings from which the noise is taken; with fewer it is the surface's estimate."""
_ENOUGH_FOR_NOISE = 12
"""Trainings below which every rung counts the same."""


@dataclass(frozen=True)
class Aim:
    """What is recommended: constants whose score is best at the horizon."""

    direction: str
    """``maximize`` or ``minimize``."""
    score_name: str = "score"
    """What is measured, e.g. ``accuracy``."""
    horizon: int | None = None
    """Images seen of the training that will be run; None for the longest rung."""


class Fitted(Protocol):
    """What a recommendation needs of a surface; values are larger where they are better."""

    @property
    def models(self) -> tuple[Model, ...]: ...

    @property
    def noise(self) -> float: ...

    @property
    def calibration(self) -> Calibration: ...

    def only(self, kinds: Sequence[str]) -> Fitted: ...

    def means(self, shares: Array) -> Array: ...

    def predict(self, shares: Array) -> tuple[Array, Array]: ...

    def moments(self, shares: Array) -> tuple[Array, Array]: ...

    def draws(self, shares: Array, count: int, seed: int) -> Array: ...


@dataclass(frozen=True)
class Scale:
    """Scores as values, larger where better, that are straight in log length."""

    kind: str
    """``log error`` (of a score that is 1 at best), ``log loss`` (0 at best), or ``score``."""
    sign: float
    """Of the kind ``score``: 1 where larger scores are better, -1 where smaller ones are."""

    def to_values(self, scores: Array) -> Array:
        """Values of scores of any shape."""
        if self.kind == "log error":
            return np.asarray(-np.log(np.maximum(1 - scores, _LEAST_ERROR)))
        if self.kind == "log loss":
            return np.asarray(-np.log(np.maximum(scores, 1e-300)))
        return self.sign * scores

    def to_scores(self, values: Array) -> Array:
        """Scores of values of any shape."""
        if self.kind == "log error":
            return np.asarray(1 - np.exp(-values))
        return np.asarray(np.exp(-values)) if self.kind == "log loss" else self.sign * values

    def slope(self, values: Array) -> Array:
        """How fast the score changes with the value, always positive."""
        return np.ones_like(values) if self.kind == "score" else np.exp(-values)


def plain_scale(direction: str) -> Scale:
    """The scores as they are, with the sign that makes larger ones better."""
    return Scale("score", 1.0 if direction == "maximize" else -1.0)


def law_scale(scores: Array, direction: str, score_name: str) -> Scale:
    """The scale of the power law: of the error rate for an accuracy, of a loss where all are above 0, else none."""
    if score_name == "accuracy" and direction == "maximize" and scores.max() <= 1:
        return Scale("log error", 1.0)
    if direction == "minimize" and scores.min() > 0:
        return Scale("log loss", -1.0)
    return plain_scale(direction)


@functools.lru_cache(maxsize=16)
def _kept(shares: bytes, values: bytes) -> Surface:
    return fit_surface(np.frombuffer(shares).reshape(-1, 3), np.frombuffer(values))


def fit(shares: Array, values: Array) -> Surface:
    """The surface of values (n,) at shares (n, 3); the last small ones are kept, since several parts ask for them."""
    if len(values) > _KEPT_AT_MOST:
        return fit_surface(shares, values)
    return _kept(np.ascontiguousarray(shares).tobytes(), np.ascontiguousarray(values).tobytes())


@dataclass(frozen=True)
class LineSurface:
    """The surface at a length some doublings from the centre of the rungs."""

    level: Fitted
    slope: Fitted
    reach: float
    """Doublings from the centre of the rungs."""
    bend: float = 0.0
    """Standard deviation by which the value at a corner may leave its line."""

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of the levels, heaviest first."""
        return self.level.models

    @property
    def noise(self) -> float:
        """Standard deviation of one training's value there."""
        return math.hypot(self.level.noise, self.reach * self.slope.noise)

    @property
    def calibration(self) -> Calibration:
        """Of the levels."""
        return self.level.calibration

    def only(self, kinds: Sequence[str]) -> LineSurface:
        """With the models of these kinds alone."""
        return replace(self, level=self.level.only(kinds), slope=self.slope.only(kinds))

    def means(self, shares: Array) -> Array:
        """Expected value at shares (N, 3)."""
        return self.level.means(shares) + self.reach * self.slope.means(shares)

    def predict(self, shares: Array) -> tuple[Array, Array]:
        """Expected value and its standard deviation."""
        (level, level_deviation), (slope, slope_deviation) = self.level.predict(shares), self.slope.predict(shares)
        lines = np.hypot(level_deviation, self.reach * slope_deviation)
        return level + self.reach * slope, np.hypot(lines, self.bend * np.linalg.norm(shares, axis=1))

    def moments(self, shares: Array) -> tuple[Array, Array]:
        """Expected value (N,) and covariance (N, N)."""
        (level, level_spread), (slope, slope_spread) = self.level.moments(shares), self.slope.moments(shares)
        bends = self.bend**2 * shares @ shares.T
        return level + self.reach * slope, level_spread + self.reach**2 * slope_spread + bends

    def draws(self, shares: Array, count: int, seed: int) -> Array:
        """``count`` surfaces from the posterior, (count, N)."""
        generator = np.random.default_rng([seed, 1])  # draws come ordered by model: shuffled, the pairs are independent
        slopes = generator.permutation(self.slope.draws(shares, count, seed + 1))
        bends = self.bend * generator.standard_normal((count, 3)) @ shares.T
        return self.level.draws(shares, count, seed) + self.reach * slopes + bends


def network_means(groups: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Shares (N, 3) and mean values (N, k) of networks given by shares (3,) and the values of their trainings."""
    return np.array([place for place, _ in groups]), np.array([values.mean(axis=0) for _, values in groups])


def fit_lines(shares: Array, values: Array, lengths: Sequence[int], length: float) -> Fitted:
    """The surface at ``length`` from the values (n, k) of networks at shares (n, 3) at two or more rungs."""
    level, slope, centre = line_parts(shares, values, lengths)
    beyond = max(0.0, math.log2(length / lengths[-1]))
    bend = _BEND * abs(float(slope.mean())) * beyond
    return LineSurface(fit(shares, level), fit(shares, slope), math.log2(length) - centre, bend)


def line_parts(shares: Array, values: Array, lengths: Sequence[int]) -> tuple[Array, Array, float]:
    """Level and slope of every training's line, (n,) each, and the centre of the rungs in doublings."""
    x = np.log2(np.asarray(lengths, dtype=float))
    weights = 1 / rung_noise(shares, values) ** 2
    weights /= weights.sum()
    centre = float(weights @ x)
    off = weights * (x - centre)
    return values @ weights, values @ off / float(off @ (x - centre)), centre


def rung_noise(shares: Array, values: Array) -> Array:
    """Standard deviation of one training at each rung, (k,), up to a factor: what a quadratic in the shares leaves.

    Near the ceiling of a score the last rungs are the noisiest, and count less. All are 1 with few trainings.
    """
    if len(values) < _ENOUGH_FOR_NOISE:
        return np.ones(values.shape[1])
    pairs = np.triu_indices(3)
    design = shares[:, pairs[0]] * shares[:, pairs[1]]  # Scheffe's quadratic: products of two shares
    residuals = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    spread = np.median(np.abs(residuals), axis=0)
    return np.asarray(np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-12)))


@dataclass(frozen=True)
class Hindcast:
    """The longest rung as the rungs up to a quarter of it predict it, against its measurement."""

    rungs: tuple[int, ...]
    """Images seen at the rungs that predict."""
    longest: int
    """Images seen at the rung that is predicted."""
    bias: float
    """Mean predicted score less mean measured score."""
    coverage: float
    """Part of the contrasts between two networks that lie inside their 90 % interval."""
    rank: float | None
    """Rank correlation of predicted and measured scores, corrected for the noise of both; None where noise is most of
    the differences of one of them, so that their order says nothing."""
    least_rank: float
    """What the rank correlation has to reach: 0.5, or where noise makes that lower, the 5 % quantile of what the
    prediction itself expects of it."""
    regret: float
    """Score lost at the longest rung by the constants that the short rungs recommend, by the surface fitted there."""
    repeats: float
    """Times as many trainings of every network as there were, with which noise would not hide the order; at most 1
    where it does not."""
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
    """Check the extrapolation on rungs that were measured; None with fewer than two rungs up to a quarter.

    ``groups`` holds for every network its shares (3,) and the values of its trainings (m, k).
    """
    short = [index for index, length in enumerate(lengths) if 4 * length <= lengths[-1]]
    if len(short) < 2:
        return None
    places, values = network_means(groups)
    measured = values[:, -1]
    predicted = fit_lines(places, values[:, short], [lengths[index] for index in short], lengths[-1])
    known = fit(places, measured)
    mean, covariance = predicted.moments(places)
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
        networks=len(groups),
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
    """Part of the variance of measured values that is no noise; below 0 where the noise is larger than all of it."""
    variance = float(measured.var())
    return 1 - float(noise.mean()) / variance if variance > 0 else -math.inf


def _prediction_reliability(mean: Array, covariance: Array) -> float:
    """Part of the variance of the true values that their predictions have: the rest is uncertainty of prediction."""
    variance = float(mean.var())
    return variance / (variance + float(np.diag(covariance).mean())) if variance > 0 else 0.0


def _rank(predicted: Array, measured: Array, reliable: tuple[float, float]) -> float | None:
    """Spearman's correlation over the root of both reliabilities (Spearman 1904), at most 1."""
    if min(reliable) < _LEAST_RELIABILITY:
        return None
    return float(_corrected_ranks(predicted, measured[None], reliable)[0])


def _least_rank(mean: Array, covariance: Array, noise: Array, reliable: tuple[float, float]) -> float:
    """The bound of ``_rank``: what it reaches in 95 % of measurements drawn from the prediction with its noise."""
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
    """Factor on the trainings of every network that lifts a reliability to its bound; infinite where all is noise."""
    if reliability <= 0:
        return math.inf
    return (1 / reliability - 1) / (1 / _LEAST_RELIABILITY - 1)


def aim_of(settings: SearchSettings | None, described: Mapping[str, Any], direction: str) -> Aim:
    """What a study aims at, from its settings (None: not known) and from what its objective says of itself.

    Raises ``SettingsError`` for a horizon of which its rungs can say nothing.
    """
    train = described.get("train")
    named = described.get("score") or (train.get("score") if isinstance(train, Mapping) else None)
    horizon = None if settings is None else _asked_horizon(settings, described)
    return Aim(direction, str(named or "score"), horizon)


def out_of_reach(horizon: int, lengths: Sequence[int]) -> str:
    """Why rungs of these lengths can never determine the horizon, and what could: a phrase; empty where they can."""
    longest = lengths[-1]
    if lengths[0] <= horizon <= longest:
        return ""
    if horizon > FARTHEST * longest:
        return (
            f"the horizon is {horizon / longest:.3g} times the longest rung, and nothing is claimed beyond {FARTHEST} "
            f"times; a longest rung of {math.ceil(horizon / FARTHEST):,} images seen could determine it"
        )
    if sum(4 * length <= longest for length in lengths) < 2:
        return (
            "fewer than two rungs lie at or below a quarter of the longest, so nothing checks the extrapolation; "
            "4 rungs or more could determine it"
        )
    return ""


def _asked_horizon(settings: SearchSettings, described: Mapping[str, Any]) -> int | None:
    """The horizon in images seen that the settings ask for; None for the longest rung."""
    epochs, images = settings.horizon_epochs, settings.horizon_images
    if epochs is None and images is None:
        return None
    rungs = described.get("rungs")
    if not rungs:
        raise SettingsError("expected an objective with scores at rungs for a horizon, got one without; leave it out")
    if epochs is not None:
        data = described.get("data")
        one = data.get("epoch_images") if isinstance(data, Mapping) else None
        if not isinstance(one, int | float) or not 0 < one < math.inf:
            raise SettingsError("expected data whose epoch is known for --horizon-epochs; use --horizon-images")
        images = round(min(epochs * one, LONGEST))
    if images is None or images < rungs[0]:
        raise SettingsError(
            f"expected a horizon of at least the shortest rung of {rungs[0]:,} images seen, got {images or 0:,}; "
            "use a longer horizon, or more rungs (--train.rungs)"
        )
    if len(rungs) == 1 and images != rungs[0]:
        raise SettingsError("expected two rungs or more for a horizon beyond them, got one; use --train.rungs 4")
    return images
