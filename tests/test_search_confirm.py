"""Paired comparisons of the recommendation with its rivals."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phiscale.score_text import percent
from search.confirm import FEWEST, Comparison, Mean, as_json, compare, expectation, holm, mean_of, verdict

SIZES, SEEDS = (1.0, 1.5, 2.0, 2.5, 3.0), (0, 1, 2)


def at_one_size(values, phi: float = 1.0):
    return {(phi, number): value for number, value in enumerate(values)}


def drawn(seed: int, lead: float = 0.0, network: float = 0.0) -> dict[tuple[float, int], float]:
    """Scores at all sizes, with an effect of every network and noise of 0.01 a seed."""
    generator = np.random.default_rng(seed)
    effects = network * generator.standard_normal(len(SIZES))
    noise = 0.01 * generator.standard_normal((len(SIZES), len(SEEDS)))
    return {
        (phi, number): 0.7 + lead + effects[at] + noise[at, number] for at, phi in enumerate(SIZES) for number in SEEDS
    }


def by_rival(rows: list[Comparison]) -> dict[str, Comparison]:
    return {row.rival: row for row in rows if row.phi is None}


OURS = at_one_size([0.81, 0.83, 0.80, 0.84, 0.82, 0.83])
WORSE = at_one_size([0.78, 0.80, 0.78, 0.80, 0.80, 0.80])
NOISY = at_one_size([0.84, 0.80, 0.83, 0.80, 0.85, 0.79])


def test_one_size_is_a_paired_t_test_over_seeds_as_scipy_does_it_about_these_networks_alone() -> None:
    (found,) = compare(OURS, {"paper": WORSE}, "maximize")
    expected = stats.ttest_rel(list(OURS.values()), list(WORSE.values()))
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.difference - found.half_width == pytest.approx(interval.low)
    assert found.difference + found.half_width == pytest.approx(interval.high)
    assert (found.result, found.level, found.pairs, found.about_rule) == ("ahead", pytest.approx(0.95), 6, False)
    assert "(95 % interval)" in found.sentence()
    assert "at equal cost over 1 size, 6 pairs of trainings, these networks alone" in found.sentence()


def test_a_statement_about_a_rule_is_a_t_test_over_sizes_as_scipy_does_it() -> None:
    ours, theirs = drawn(1, 0.01), drawn(2)
    found = by_rival(compare(ours, {"paper": theirs}, "maximize"))["paper"]
    means = [[np.mean([scores[phi, n] for n in SEEDS]) for phi in SIZES] for scores in (ours, theirs)]
    expected = stats.ttest_rel(*means)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.half_width == pytest.approx(expected.confidence_interval(0.95).high - found.difference)
    assert (found.about_rule, found.pairs, found.sizes) == (True, 15, 5)
    assert "over 5 sizes, 15 pairs of trainings" in found.sentence()
    assert "alone" not in found.sentence()


def test_more_seeds_do_not_make_the_effect_of_few_networks_a_statement_about_the_rule() -> None:
    # at each of 3 sizes the networks differ by a hundred times the noise, in both directions
    effects = {1.0: 0.1, 2.0: -0.05, 3.0: 0.04}
    generator = np.random.default_rng(0)
    noise = {(phi, n): 0.001 * generator.standard_normal() for phi in effects for n in range(50)}
    ours = {key: 0.7 + effects[key[0]] + value for key, value in noise.items()}
    found = by_rival(compare(ours, {"paper": dict.fromkeys(ours, 0.7)}, "maximize"))["paper"]
    assert found.pairs == 150
    assert found.p > 0.5


def test_two_sizes_are_compared_by_what_a_seed_does_at_both() -> None:
    ours = {(phi, n): 0.7 + 0.01 * n for phi in (1.0, 2.0) for n in range(4)}
    theirs = {(phi, n): 0.69 + 0.01 * n + 0.001 * n * phi for phi in (1.0, 2.0) for n in range(4)}
    found = by_rival(compare(ours, {"paper": theirs}, "maximize"))["paper"]
    expected = stats.ttest_1samp([0.01 - 0.0015 * n for n in range(4)], 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert not found.about_rule
    del theirs[2.0, 3]  # a seed that one size lacks says nothing of both
    found = by_rival(compare(ours, {"paper": theirs}, "maximize"))["paper"]
    assert found.difference == pytest.approx(0.01 - 0.0015)


def test_a_loss_is_better_when_smaller() -> None:
    assert compare(OURS, {"x": WORSE}, "minimize")[0].result == "behind"


def test_what_cannot_be_told_apart_is_called_so() -> None:
    found = compare(OURS, {"paper": NOISY}, "maximize")
    assert found[0].result == "not distinguishable"
    assert verdict(found).startswith("not distinguishable from the paper's constants")


def test_the_paper_is_tested_alone_and_the_other_rivals_are_corrected_for() -> None:
    single = compare(OURS, {"a": WORSE}, "maximize")[0]
    found = by_rival(compare(OURS, {"a": WORSE, "paper": WORSE, "b": NOISY, "c": NOISY}, "maximize"))
    assert found["paper"].p == pytest.approx(single.p)
    assert found["a"].p == pytest.approx(3 * single.p)
    assert (found["paper"].level, found["a"].level) == pytest.approx((0.95, 1 - 0.05 / 3))
    assert "(98.3 % interval)" in found["a"].sentence()
    assert found["a"].half_width > found["paper"].half_width


def test_the_others_are_judged_more_strictly_where_the_paper_is_not_told_apart() -> None:
    single = compare(OURS, {"a": WORSE}, "maximize")[0]
    found = by_rival(compare(OURS, {"a": WORSE, "paper": NOISY, "b": NOISY}, "maximize"))
    assert found["paper"].p > 0.05
    assert found["a"].p == pytest.approx(5 * 2 * single.p)
    assert found["a"].level == pytest.approx(1 - 0.05 / 10)
    assert found["a"].result == "ahead"  # a clear difference is shown all the same


def test_holm_against_a_worked_example() -> None:
    # Holm 1979, step down: 0.01 * 4, 0.02 * 3, 0.03 * 2 and 0.04 * 1 raised to their running maximum
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.6, 1.6])  # not cut, so that it over p is the correction
    assert holm([]) == []


def test_each_size_is_judged_by_the_spread_of_all_where_the_rule_is_told_apart() -> None:
    ours, theirs = drawn(3, 0.05), drawn(4)
    overall, *sizes = compare(ours, {"paper": theirs}, "maximize")
    assert [row.phi for row in sizes] == list(SIZES)
    differences = np.array([[ours[phi, n] - theirs[phi, n] for n in SEEDS] for phi in SIZES])
    error = np.sqrt(differences.var(axis=1, ddof=1).mean() / len(SEEDS))
    plain = 2 * stats.t.sf(np.abs(differences.mean(axis=1)) / error, 10)
    expected = np.maximum(holm(plain.tolist()), overall.p)
    assert [row.p for row in sizes] == pytest.approx(expected.tolist())
    assert "at phi 1.5, 3 pairs of trainings, these networks alone" in sizes[1].sentence()


def test_a_lead_that_grows_with_size_is_shown_at_the_sizes() -> None:
    # CIFAR-10, 160,000 images seen: ahead of width alone by .020, .055 and .063 at phi 1, 2 and 3
    theirs = {key: value for key, value in drawn(5).items() if key[0] in {1.0, 2.0, 3.0}}
    leads = {1.0: 0.020, 2.0: 0.055, 3.0: 0.063}
    ours = {key: value + leads[key[0]] + 0.001 * (-1) ** key[1] for key, value in theirs.items()}
    rule, *sizes = compare(ours, {"width": theirs}, "maximize")
    assert (rule.about_rule, rule.result) == (True, "not distinguishable")
    assert [(row.phi, row.result, row.about_rule) for row in sizes] == [(phi, "ahead", False) for phi in leads]


def test_where_the_rule_is_not_told_apart_sizes_have_their_own_spread() -> None:
    """By hand: t-tests of scipy at the sizes, entered by Welch's test of their mean, at a fifth of the level."""
    leads, generator = {1.0: 0.02, 2.0: 0.06, 3.0: 0.10}, np.random.default_rng(7)
    found = {phi: lead + 0.004 * phi * generator.standard_normal(5) for phi, lead in leads.items()}
    ours = {(phi, n): float(d) for phi, ds in found.items() for n, d in enumerate(ds)}
    rule, *sizes = compare(ours, {"paper": dict.fromkeys(ours, 0.0)}, "maximize")
    assert rule.p > 0.05
    errors = np.array([stats.sem(ds) ** 2 for ds in found.values()])
    freedom = errors.sum() ** 2 / (errors**2 / 4).sum()
    entered = 2 * stats.t.sf(np.mean([ds.mean() for ds in found.values()]) / (np.sqrt(errors.sum()) / 3), freedom)
    plain = [stats.ttest_1samp(ds, 0).pvalue for ds in found.values()]
    assert [row.p for row in sizes] == pytest.approx(np.maximum(holm(plain), 5 * entered).tolist())


@pytest.mark.parametrize("of_last", [1, 2])
def test_a_noisy_size_of_few_trainings_shows_nothing(of_last: int) -> None:
    """All rules are equal; two trainings of the last size are five times as noisy, as those that lose pairs may be."""
    shown = 0
    for draw in range(200):
        generator = np.random.default_rng(draw)
        table = generator.standard_normal((2, 3, 5)) * [[[1.0], [1.0], [5.0]]]
        ours, theirs = (
            {(float(p), n): float(row[p, n]) for p in range(3) for n in range(5 if p < 2 else of_last)} for row in table
        )
        shown += any(row.result != "not distinguishable" for row in compare(ours, {"paper": theirs}, "maximize"))
    assert shown <= 0.09 * 200


def test_no_size_stands_where_neither_the_rule_nor_its_networks_do() -> None:
    sizes = SIZES[:4]  # ahead at two and behind at two
    ours = {(phi, n): 0.7 + 0.05 * (-1) ** int(2 * phi) + 0.001 * n for phi in sizes for n in SEEDS}
    theirs = {key: 0.7 + 0.001 * (key[1] % 2) for key in ours}
    overall, *rows = compare(ours, {"paper": theirs}, "maximize")
    assert overall.p > 0.05
    assert {row.result for row in rows} == {"not distinguishable"}
    assert all(row.half_width > abs(row.difference) for row in rows)


def test_networks_of_one_seed_have_no_spread_of_their_own() -> None:
    ours, theirs = (
        {key: value for key, value in drawn(n, lead).items() if key[1] == 0} for n, lead in ((3, 0.05), (4, 0))
    )
    rule, *sizes = compare(ours, {"paper": theirs}, "maximize")
    assert rule.result == "ahead"
    assert {row.result for row in sizes} == {"not distinguishable"}


def test_only_common_trainings_are_paired() -> None:
    partial = {key: value for key, value in WORSE.items() if key[1] < 3}
    assert compare(OURS, {"a": partial, "b": {}}, "maximize")[0].pairs == 3
    assert {item.rival for item in compare(OURS, {"a": partial, "b": {}}, "maximize")} == {"a"}


@pytest.mark.parametrize("theirs", [[0.1], [0.1, 0.2], [0.1] * 6])
def test_fewer_than_three_pairs_or_equal_differences_prove_nothing(theirs: list[float]) -> None:
    # two trainings of one network without spread had p = 0
    ours = at_one_size([0.9] * len(theirs))
    one = compare(ours, {"a": at_one_size(theirs)}, "maximize")[0]
    assert (one.p, one.half_width, one.result) == (1.0, math.inf, "not distinguishable")
    assert as_json([one])[0]["half_width"] is None
    assert f"at least {FEWEST} pairs that differ" in one.sentence()
    assert compare(OURS, {"same": OURS}, "maximize")[0].p == 1.0
    assert verdict([]) == "nothing was compared"


def test_accuracies_spread_at_least_by_the_error_of_counting_images() -> None:
    # by hand: both together right on 0.8 of 1000 images, so sqrt(0.8 * 0.2 / 1000) for one pair, over sqrt(4) for four
    ours, theirs = at_one_size([0.81] * 4), at_one_size([0.79] * 4)
    (found,) = compare(ours, {"paper": theirs}, "maximize", images=1000)
    error = math.sqrt(0.8 * 0.2 / 1000) / 2
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 3) * error)
    assert found.p == pytest.approx(2 * stats.t.sf(0.02 / error, 3))
    spread = compare(OURS, {"paper": WORSE}, "maximize", images=10**6)[0]
    assert spread.p == pytest.approx(compare(OURS, {"paper": WORSE}, "maximize")[0].p)  # where the scores vary more


def test_the_floor_holds_over_sizes_too() -> None:
    ours = dict.fromkeys(drawn(0), 0.81)
    found, *_ = compare(ours, {"paper": dict.fromkeys(ours, 0.79)}, "maximize", images=1000)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 4) * math.sqrt(0.8 * 0.2 / 1000 / 15))


def test_only_the_rule_itself_is_called_the_paper_s_constants() -> None:
    ours = {(1.0, 0): 0.8, (1.0, 1): 0.81}
    found = compare(ours, {"paper-grid": {key: score - 0.1 for key, score in ours.items()}}, "maximize")
    assert "paper-grid" in verdict(found)


def test_an_expected_score_has_the_interval_of_scipy_and_the_floor() -> None:
    scores = [0.71, 0.74, 0.70, 0.73]
    found = expectation({(2.0, number): score for number, score in enumerate(scores)}, 2.0, None)
    assert found is not None
    low, high = stats.t.interval(0.9, 3, np.mean(scores), stats.sem(scores))
    assert (found["low"], found["score"], found["high"]) == pytest.approx((low, np.mean(scores), high))
    floor = expectation({(2.0, number): 0.5 for number in range(4)}, 2.0, 100)
    assert floor is not None
    counting = 0.05  # of 100 images, in the spread of trainings and of the images that they share
    seeds = stats.t.ppf(0.95, 3) * counting / 2
    assert floor["high"] - 0.5 == pytest.approx(math.hypot(seeds, 1.6449 * counting))
    for few in ([], [0.5], [0.5, 0.6], [0.5] * 4):
        assert expectation({(2.0, number): score for number, score in enumerate(few)}, 2.0, None) is None
    assert expectation({(1.0, number): score for number, score in enumerate(scores)}, 2.0, None) is None


def test_the_spread_of_an_expected_score_is_pooled_over_sizes() -> None:
    ours = {(1.0, 0): 0.50, (1.0, 1): 0.52, (2.0, 0): 0.60, (2.0, 1): 0.66, (3.0, 0): 0.70, (3.0, 1): 0.70}
    found = expectation(ours, 2.0, None)
    assert found is not None
    variance = (2 * 0.01**2 + 2 * 0.03**2) / 3  # squares within sizes, over three degrees of freedom
    assert found["score"] == pytest.approx(0.63)
    assert found["high"] - 0.63 == pytest.approx(stats.t.ppf(0.95, 3) * math.sqrt(variance / 2))


def test_levels_are_written_with_as_many_digits_as_they_need() -> None:
    assert [percent(level) for level in (0.9, 0.95, 1 - 0.05 / 8, 0.999, 1 - 1e-9)] == [
        "90 %", "95 %", "99.4 %", "99.9 %", "over 99.9 %",
    ]  # fmt: skip


RULES = ("paper", "equal", "depth", "other")
LEADS = st.lists(st.sampled_from([0.0, 0.005, 0.02, -0.02, 0.1]), min_size=len(RULES), max_size=len(RULES))


def of(leads: list[float], seed: int) -> tuple[dict[tuple[float, int], float], Mapping[str, Mapping]]:
    rivals = {rule: drawn(seed + at, -lead, 0.005) for at, (rule, lead) in enumerate(zip(RULES, leads, strict=True))}
    return drawn(seed + 99), rivals


@given(LEADS, st.integers(0, 10**6), st.sampled_from([None, 500]))
def test_verdict_and_interval_agree_and_p_is_never_0(leads: list[float], seed: int, images: int | None) -> None:
    ours, rivals = of(leads, seed)
    for row in compare(ours, rivals, "maximize", images=images):
        assert 0 < row.p <= 1
        assert row.level + 1e-12 >= 0.95
        assert (abs(row.difference) > row.half_width) == (row.result != "not distinguishable")


@given(LEADS, st.integers(0, 10**6), st.permutations(RULES))
def test_the_order_of_rivals_does_not_matter(leads: list[float], seed: int, order: list[str]) -> None:
    ours, rivals = of(leads, seed)
    rows = {(row.rival, row.phi): row for row in compare(ours, rivals, "maximize")}
    again = compare(ours, {rule: rivals[rule] for rule in order}, "maximize")
    assert {(row.rival, row.phi): row for row in again} == rows


def test_equal_rules_are_rarely_called_different_whatever_their_networks_do() -> None:
    # 5 % for the paper, and 1 % for the others together where that is not told apart
    draws, false = 200, 0
    for draw in range(draws):
        rivals = {rule: drawn(100 * draw + at + 1, 0.0, 0.01) for at, rule in enumerate(RULES)}
        rows = by_rival(compare(drawn(100 * draw, 0.0, 0.01), rivals, "maximize"))
        false += any(row.result != "not distinguishable" for row in rows.values())
    assert 0.01 < false / draws <= 0.09  # 6 %, and two standard errors of so few draws


def test_the_mean_of_values_is_that_of_scipy() -> None:
    values = np.array([0.1, 0.3, 0.2, 0.25])
    assert mean_of(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert Mean(1.0, 1e-9, 60).p > 0  # though that is less than a float can hold
    assert mean_of(values[:2]).half_width(0.05) == math.inf
