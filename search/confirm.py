"""Is the recommendation ahead, and how sure? Paired comparisons of scores of networks that cost the same.

Symbols
    d       score of the recommendation less that of a rival, both of one size (phi) and trained with one seed
    units   independent numbers, whose spread tells the error of their mean
    n       images on which an accuracy is counted

A statement about a rule has sizes as units, the means of d at each: rounding to whole layers and pixels gives every
network an effect of its own, which more seeds do not average out. Sizes share no seeds, so they are independent, and
the t-test of such means holds its level whatever their variances. With fewer than 3 sizes the units are seeds, the
means of d over the sizes, and the statement is about these networks alone. So is that at one of several sizes, with
the spread pooled over them.

The paper's constants are tested first, alone, at the level .05. The other rivals follow together by Holm's procedure,
at .05 if the paper's constants differ significantly, else at .01. So a clear difference is shown in any case, and
little is added to the risk of the first test. The sizes of a rival follow by Holm's procedure if the rival itself
differs significantly, with the spread of their seeds pooled. Else each size has the spread of its own seeds, and they
follow if the mean over them differs at .01, by Holm's procedure over the rivals. So a lead that grows with size is
shown at the sizes, though three of them tell little about the rule. An interval has the level at which its p was
judged, so it leaves out 0 exactly where a statement is made. A statement needs a spread of at least two degrees of
freedom, as of three units. The spread of differences of accuracies is at least the counting error sqrt(p (1 - p) / n)
of two networks whose answers to an image correlate by a half.

Sources: Student 1908 (t-test); Satterthwaite 1946 and Welch 1947 (unequal spreads); Holm 1979; Wiens 2003 (a sequence
of tests that goes on at a smaller level); Bakirov & Szekely 2006 and Ibragimov & Mueller 2010 (t-test of group means).
benchmarks/bench_confirm.py measures what is held.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from phiscale.published import MEASURED_RULES
from phiscale.score_text import percent, score_text
from search.scaling import Array

Scores = Mapping[tuple[float, int], float]
"""Score by phi and the number of the training there; the same number is the same seed for every rule."""
FEWEST = 3
"""Units for a statement where their spread is not pooled, and sizes for one about a rule."""
FIRST = "paper"
"""The rival that is tested alone, and first."""
_LEVEL = 0.05
_STRICTER = 5
"""What is tested after something that does not differ significantly has a level that is divided by this."""
_Z90 = 1.6449
_EQUAL = 1e-9
"""Numbers with a smaller spread relative to their mean count as equal: no error can be estimated from them."""

_Pairs = Mapping[tuple[float, int], tuple[float, float]]
"""By phi and number of the training: difference, and the variance of counting it (0 where nothing is counted)."""


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error."""

    value: float
    error: float
    """Infinite if there are too few units, or if all are equal."""
    freedom: float

    @property
    def p(self) -> float:
        """Two-sided p-value of a mean of 0, above 0; 1 where the error is not known."""
        from scipy.special import stdtr

        if math.isinf(self.error):
            return 1.0
        return max(sys.float_info.min, 2 * float(stdtr(self.freedom, -abs(self.value) / self.error)))

    def half_width(self, outside: float) -> float:
        """Half of the interval that misses the true mean with the probability ``outside``."""
        from scipy.special import stdtrit

        return math.inf if math.isinf(self.error) else -float(stdtrit(self.freedom, outside / 2)) * self.error


@dataclass(frozen=True)
class Comparison:
    """The recommendation against one rival; positive differences are in its favour."""

    rival: str
    phi: float | None
    """Where they were compared; None for all sizes together."""
    difference: float
    """Mean of the units, in the unit of the score."""
    half_width: float
    """Half of the interval; infinite where there are too few units or no spread."""
    level: float
    """Of the interval: 0.95 for a single test, more where p is corrected."""
    p: float
    """Two-sided p-value of no difference, corrected for the number of rivals, or of sizes."""
    pairs: int
    """Trainings of each of both."""
    sizes: int
    """Sizes that they are of."""

    @property
    def about_rule(self) -> bool:
        """Whether the statement is about the rule; if not, it is about these networks alone."""
        return self.phi is None and self.sizes >= FEWEST

    @property
    def result(self) -> str:
        """``ahead``, ``behind`` or ``not distinguishable``."""
        if self.p >= _LEVEL:
            return "not distinguishable"
        return "ahead" if self.difference > 0 else "behind"

    def sentence(self) -> str:
        """The comparison in words."""
        rival = MEASURED_RULES.get(self.rival, self.rival)
        difference = score_text(self.difference, self.half_width, "+")
        half = score_text(self.half_width, self.half_width)
        size = f"{difference} +- {half} ({percent(self.level)} interval), p = {self.p:.2g}"
        if math.isinf(self.half_width):
            size = f"{score_text(self.difference, sign='+')}; at least {FEWEST} pairs that differ are needed for more"
        words = {
            "ahead": f"ahead of {rival} by {size}",
            "behind": f"behind {rival} by {size}",
            "not distinguishable": f"not distinguishable from {rival} ({size})",
        }
        return f"{words[self.result]}, at equal cost {self._where()}"

    def _where(self) -> str:
        many = f"{self.sizes} sizes" if self.sizes > 1 else "1 size"
        where = f"over {many}" if self.phi is None else f"at phi {self.phi:g}"
        pairs = f"{self.pairs} pair{'s' if self.pairs > 1 else ''} of trainings"
        return f"{where}, {pairs}" if self.about_rule else f"{where}, {pairs}, these networks alone"


def compare(
    ours: Scores, rivals: Mapping[str, Scores], direction: str, *, images: int | None = None
) -> list[Comparison]:
    """The recommendation against every rival over all sizes, then at each where there are several.

    Only pairs that both have are counted. Rivals without any are left out. ``images`` is the number of images on which
    an accuracy was counted; None for other scores.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    pairs = {rival: _pairs(ours, scores, sign, images) for rival, scores in rivals.items()}
    pairs = {rival: found for rival, found in pairs.items() if found}
    means = {rival: _over_sizes(found) for rival, found in pairs.items()}
    rules = _corrected({rival: mean.p for rival, mean in means.items()})
    networks = holm([_networks(pairs[rival], mean).p for rival, mean in means.items()])
    rows = [_comparison(rival, None, pairs[rival], mean, rules[rival]) for rival, mean in means.items()]
    at_sizes = []
    for (rival, found), of_networks in zip(pairs.items(), networks, strict=True):
        if len({phi for phi, _ in found}) == 1:
            continue
        differs = rules[rival] < _LEVEL
        alone = _at_sizes(found, pooled=differs)
        entered = rules[rival] if differs else _STRICTER * of_networks
        for (phi, mean), p in zip(alone.items(), holm([mean.p for mean in alone.values()]), strict=True):
            some = {key: pair for key, pair in found.items() if key[0] == phi}
            at_sizes.append(_comparison(rival, phi, some, mean, max(p, entered)))
    return [*rows, *sorted(at_sizes, key=lambda row: row.phi or 0.0)]


def _pairs(ours: Scores, theirs: Scores, sign: float, images: int | None) -> _Pairs:
    found = {}
    for key in sorted(ours.keys() & theirs.keys()):
        both = (ours[key] + theirs[key]) / 2
        found[key] = sign * (ours[key] - theirs[key]), _counting(both, images)
    return found


def _counting(accuracy: float, images: int | None) -> float:
    """Variance of an accuracy that is counted on so many images; 0 where it is not counted."""
    return max(0.0, accuracy * (1 - accuracy)) / images if images else 0.0


def _over_sizes(pairs: _Pairs) -> Mean:
    """The mean over all sizes, with sizes as units; with fewer than 3 sizes, the seeds that all sizes share are the
    units."""
    sizes = len({phi for phi, _ in pairs})
    unit, least = (0, 1) if sizes >= FEWEST else (1, sizes)
    groups: dict[float, list[tuple[float, float]]] = {}
    for key, pair in pairs.items():
        groups.setdefault(key[unit], []).append(pair)
    kept = [np.array(group) for group in groups.values() if len(group) >= least]
    if not kept:
        return Mean(float(np.mean([difference for difference, _ in pairs.values()])), math.inf, 0)
    values = np.array([group[:, 0].mean() for group in kept])
    counting = float(np.mean([group[:, 1].mean() / len(group) for group in kept]))
    return mean_of(values, counting)


def _by_size(pairs: _Pairs) -> dict[float, Array]:
    """Per size the differences and their counting variances, (pairs, 2)."""
    groups: dict[float, list[tuple[float, float]]] = {}
    for (phi, _), pair in pairs.items():
        groups.setdefault(phi, []).append(pair)
    return {phi: np.array(group) for phi, group in groups.items()}


def _at_sizes(pairs: _Pairs, *, pooled: bool = True) -> dict[float, Mean]:
    """The mean at each size, with the spread pooled over them, or with its own."""
    groups = _by_size(pairs)
    if not pooled:
        return {phi: mean_of(group[:, 0], float(group[:, 1].mean())) for phi, group in groups.items()}
    freedom = sum(len(group) - 1 for group in groups.values())
    squares = sum(float(group[:, 0].var()) * len(group) for group in groups.values())
    spread = squares / freedom if freedom else 0.0
    return {phi: _mean(group[:, 0], max(spread, float(group[:, 1].mean())), freedom) for phi, group in groups.items()}


def _networks(pairs: _Pairs, over_sizes: Mean) -> Mean:
    """The mean over all sizes, each with the spread of its own seeds; ``over_sizes`` where one of them is not known.

    Sizes at which both rules have the same network have no spread.
    """
    groups = list(_by_size(pairs).values())
    spread = [group for group in groups if group[:, 0].any()]
    if len(groups) < FEWEST or not spread or min(len(group) for group in spread) == 1:
        return over_sizes
    parts = [
        (max(float(group[:, 0].var(ddof=1)), float(group[:, 1].mean())) / len(group), len(group) - 1)
        for group in spread
    ]
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return over_sizes
    value = float(np.mean([group[:, 0].mean() for group in groups]))
    return Mean(value, math.sqrt(total) / len(groups), total**2 / sum(v**2 / freedom for v, freedom in parts))


def mean_of(values: Array, counting: float = 0.0) -> Mean:
    """The mean of independent values with their own spread; ``counting`` is a lower bound of their variance."""
    variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return _mean(values, max(variance, counting), len(values) - 1)


def _mean(values: Array, variance: float, freedom: int) -> Mean:
    value, spread = float(values.mean()), math.sqrt(variance)
    known = freedom >= FEWEST - 1 and spread > _EQUAL * abs(value)
    return Mean(value, spread / math.sqrt(len(values)) if known else math.inf, freedom)


def _corrected(p_values: Mapping[str, float]) -> dict[str, float]:
    """Unchanged for the first rival; for the others by Holm's procedure, at a smaller level if the first is not
    significant."""
    others = {rival: p for rival, p in p_values.items() if rival != FIRST}
    factor = 1 if p_values.get(FIRST, 0.0) < _LEVEL else _STRICTER
    corrected = (factor * p for p in holm(list(others.values())))
    return {**p_values, **dict(zip(others, corrected, strict=True))}


def _comparison(rival: str, phi: float | None, pairs: _Pairs, mean: Mean, corrected: float) -> Comparison:
    outside = _LEVEL * mean.p / corrected
    return Comparison(
        rival=rival,
        phi=phi,
        difference=mean.value,
        half_width=mean.half_width(outside),
        level=1 - outside,
        p=min(1.0, corrected),
        pairs=len(pairs),
        sizes=len({size for size, _ in pairs}),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values in the order given; not limited to 1, so that each divided by the plain one is its
    correction."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = largest
    return corrected


def expectation(ours: Scores, phi: float, images: int | None) -> dict[str, float] | None:
    """Mean of the scores at one size with its 90 % interval; None where too few or equal scores tell none.

    The spread of a seed is pooled over all sizes in ``ours``. The interval is for other images, so it includes the
    error of counting ``images`` (as in ``compare``), which all trainings share.
    """
    at_size = [score for (size, _), score in ours.items() if size == phi]
    if not at_size:
        return None
    counting = _counting(float(np.mean(at_size)), images)
    mean = _at_sizes({key: (score, counting) for key, score in ours.items()})[phi]
    half = math.hypot(mean.half_width(0.1), _Z90 * math.sqrt(counting))
    return None if math.isinf(half) else {"score": mean.value, "low": mean.value - half, "high": mean.value + half}


def verdict(comparisons: Sequence[Comparison]) -> str:
    """The answer in one sentence: against the paper's constants where they were measured, else against the closest."""
    overall = [item for item in comparisons if item.phi is None]
    if not overall:
        return "nothing was compared"
    first = next((item for item in overall if item.rival == FIRST), None)
    return (first or min(overall, key=lambda item: item.difference)).sentence()


def as_json(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The comparisons as JSON values; an infinite half width becomes None."""
    rows = [asdict(item) | {"result": item.result, "about_rule": item.about_rule} for item in comparisons]
    return [{key: None if value == math.inf else value for key, value in row.items()} for row in rows]
