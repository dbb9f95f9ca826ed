"""Rank correlations that are corrected for the noise of single trainings."""

from __future__ import annotations

import numpy as np
import pytest

from phiscale import DataError
from scripts.check_proxy import CheckOptions
from search.fidelity import fidelity

NETWORKS, SEEDS, NOISE = 15, CheckOptions.seeds, 0.25
"""Noise as a part of the range of the true scores, which is 1."""


def measured(
    generator: np.random.Generator, truth: np.ndarray, reference: np.ndarray, shared: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (seeds, networks) of a cheap setting and the reference; a part of their noise variance is shared."""
    shape = SEEDS, len(truth)
    common = np.sqrt(shared) * generator.standard_normal(shape)
    own = [np.sqrt(1 - shared) * generator.standard_normal(shape) for _ in range(2)]
    return truth + NOISE * (common + own[0]), reference + NOISE * (common + own[1])


def part_said_to_keep_the_order(*, same_order: bool, shared: float, runs: int = 200) -> float:
    """How often the low end of the interval lies above 0.5, over simulated checks."""
    generator, said = np.random.default_rng(0), 0
    for draw in range(runs):
        truth = generator.random(NETWORKS)
        truth = (truth - truth.min()) / np.ptp(truth)
        reference = truth if same_order else generator.permutation(truth)
        found = fidelity(*measured(generator, truth, reference, shared), seed=draw, draws=500).spearman
        said += found is not None and found.low > CheckOptions.keep
    return said / runs


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_the_seeds_of_a_check_tell_the_same_order_from_an_unrelated_one_through_noise(shared: float) -> None:
    # a plain correlation of one seed with another says so of the same order in about half of the checks
    assert part_said_to_keep_the_order(same_order=True, shared=shared) >= 0.9
    assert part_said_to_keep_the_order(same_order=False, shared=shared) <= 0.05


def test_without_noise_the_same_order_is_1_and_the_reverse_is_minus_1() -> None:
    values = np.array([[1.0, 2, 3, 4, 5, 6, 7, 8]] * 2)
    same, reverse = fidelity(values, values**3).spearman, fidelity(values, -values).spearman
    assert same is not None
    assert reverse is not None
    assert (same.value, same.low, reverse.value, reverse.high) == pytest.approx((1, 1, -1, -1))


def test_the_value_is_that_of_a_worked_example() -> None:
    # by hand, as 17.5 less half the sum of squared rank differences: x with x' 14.5, y with y' 16.5, x with y' 14.5,
    # x' with y 10.5
    x, y = [[1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]], [[1, 2, 3, 6, 5, 4], [1, 2, 3, 5, 6, 4]]
    found = fidelity(x, y).spearman
    assert found is not None
    assert found.value == pytest.approx((14.5 + 10.5) / 2 / np.sqrt(14.5 * 16.5))


def test_noise_that_both_share_does_not_count_as_order() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random(200), generator.random(200)
    found = fidelity(*measured(generator, first, second, shared=1.0), draws=200).spearman
    assert found is not None
    assert abs(found.value) < 0.2  # a plain correlation of the same scores is about 0.5


def test_noise_does_not_lower_the_value() -> None:
    generator = np.random.default_rng(2)
    truth = generator.random(200)
    found = fidelity(*measured(generator, truth, truth, shared=0.0), draws=200).spearman
    assert found is not None
    assert found.value > 0.95  # a plain correlation of two seeds is about 0.57


def test_an_order_that_cannot_be_told_from_noise_has_no_number() -> None:
    generator = np.random.default_rng(3)
    noise, clear = generator.standard_normal((3, 15)), np.arange(15) + 0.1 * generator.standard_normal((3, 15))
    assert (fidelity(noise, clear).spearman, fidelity(noise, clear).undetermined) == (None, "setting")
    assert (fidelity(clear, noise).spearman, fidelity(clear, noise).undetermined) == (None, "reference")
    equal = np.full((3, 15), 0.1)
    assert fidelity(equal, clear).undetermined == "setting"
    assert fidelity(clear, clear).undetermined == ""


def one_by_one(x: np.ndarray, y: np.ndarray) -> float:
    """The corrected correlation of ranks (seeds, networks), pair by pair of seeds; NaN where there is no order."""

    def across(a: np.ndarray, b: np.ndarray) -> float:
        seeds = range(len(a))
        return float(np.mean([np.cov(a[j], b[k], ddof=0)[0, 1] for j in seeds for k in seeds if j != k]))

    scale = across(x, x), across(y, y)
    return across(x, y) / np.sqrt(scale[0] * scale[1]) if min(scale) > 0 else float("nan")


def test_the_interval_holds_draws_without_an_order_at_its_worst_end() -> None:
    generator = np.random.default_rng(2)
    truth = np.linspace(0, 1, 8)
    scores = measured(generator, truth, truth, shared=0.0)
    found = fidelity(*scores, draws=300).spearman
    x, y = (np.argsort(np.argsort(part, axis=1), axis=1).astype(float) for part in scores)
    picks = np.random.default_rng(0).integers(8, size=(300, 8))
    drawn = np.clip([one_by_one(x[:, pick], y[:, pick]) for pick in picks], -1, 1)
    assert 0 < np.isnan(drawn).mean() < 0.05
    assert found is not None
    assert found.value == pytest.approx(min(1, one_by_one(x, y)))
    assert found.low == pytest.approx(np.quantile(np.nan_to_num(drawn, nan=-1), 0.05))
    assert found.high == pytest.approx(np.quantile(np.nan_to_num(drawn, nan=1), 0.95))


def test_the_same_seed_gives_the_same_interval() -> None:
    generator = np.random.default_rng(4)
    truth = generator.random(15)
    scores = measured(generator, truth, truth)
    assert fidelity(*scores) == fidelity(*scores)
    assert fidelity(*scores) != fidelity(*scores, seed=1)


@pytest.mark.parametrize(
    ("cheap", "reference", "message"),
    [
        ([[1, 2, 3]] * 2, [[1, 2, 3]] * 2, "at least 6 networks, got 3"),
        ([range(6)], [range(6)], "at least 2 seeds"),
        (range(6), range(6), "at least 2 seeds"),
        ([[1, 2, 3, 4, 5, float("nan")]] * 2, [range(6)] * 2, "finite scores"),
        ([range(7)] * 2, [range(6)] * 2, "same seeds and networks"),
        ([range(6)] * 3, [range(6)] * 2, "same seeds and networks"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(cheap, reference, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fidelity(list(map(list, cheap)) if not isinstance(cheap, range) else list(cheap), reference)
