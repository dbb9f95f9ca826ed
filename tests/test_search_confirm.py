"""Paired comparisons of the recommendation with its rivals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from search.confirm import as_json, compare, half_width, holm, verdict

SEEDS = range(6)


def scores(values, phi: float = 1.0):
    return {(phi, seed): value for seed, value in enumerate(values)}


OURS = scores([0.81, 0.83, 0.80, 0.84, 0.82, 0.83])
WORSE = scores([0.78, 0.80, 0.78, 0.80, 0.80, 0.80])
NOISY = scores([0.84, 0.80, 0.83, 0.80, 0.85, 0.79])


def test_a_paired_t_test_as_scipy_does_it() -> None:
    (overall, at_one) = compare(OURS, {"paper": WORSE}, "maximize")
    expected = stats.ttest_rel(list(OURS.values()), list(WORSE.values()))
    assert overall.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert overall.difference - overall.half_width == pytest.approx(interval.low)
    assert overall.difference + overall.half_width == pytest.approx(interval.high)
    assert (overall.result, overall.phi, at_one.phi, overall.pairs) == ("ahead", None, 1.0, 6)


def test_a_loss_is_better_when_smaller() -> None:
    assert compare(OURS, {"x": WORSE}, "minimize")[0].result == "behind"


def test_what_cannot_be_told_apart_is_called_so() -> None:
    found = compare(OURS, {"paper": NOISY}, "maximize")
    assert found[0].result == "not distinguishable"
    assert verdict(found).startswith("not distinguishable from the paper's constants")


def test_several_rivals_are_corrected_for() -> None:
    single = compare(OURS, {"a": WORSE}, "maximize")[0].p
    several = {item.rival: item.p for item in compare(OURS, {"a": WORSE, "b": NOISY, "c": NOISY}, "maximize")[:3]}
    assert several["a"] == pytest.approx(3 * single)


def test_holm_against_a_worked_example() -> None:
    # Holm 1979, step down: 0.01 * 4, 0.02 * 3, 0.03 * 2 and 0.04 * 1 raised to their running maximum
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_only_common_seeds_are_paired() -> None:
    partial = {key: value for key, value in WORSE.items() if key[1] < 3}
    assert compare(OURS, {"a": partial, "b": {}}, "maximize")[0].pairs == 3
    assert {item.rival for item in compare(OURS, {"a": partial, "b": {}}, "maximize")} == {"a"}


def test_all_phi_together_and_each_alone() -> None:
    ours = OURS | scores(list(WORSE.values()), phi=2.0)
    rival = WORSE | scores(list(OURS.values()), phi=2.0)
    found = {item.phi: item for item in compare(ours, {"r": rival}, "maximize")}
    assert (found[1.0].result, found[2.0].result, found[None].pairs) == ("ahead", "behind", 12)
    assert found[None].difference == pytest.approx(0)


def test_one_pair_or_equal_networks_prove_nothing() -> None:
    one = compare({(1.0, 0): 0.9}, {"a": {(1.0, 0): 0.1}}, "maximize")[0]
    assert (one.p, one.half_width, one.result) == (1.0, math.inf, "not distinguishable")
    assert as_json([one])[0]["half_width"] is None
    assert compare(OURS, {"same": OURS}, "maximize")[0].p == 1.0
    assert half_width(np.array([1.0])) == math.inf
    assert verdict([]) == "nothing was compared"


def test_only_the_rule_itself_is_called_the_paper_s_constants() -> None:
    ours = {(1.0, -1): 0.8, (1.0, -2): 0.81}
    found = compare(ours, {"paper-grid": {key: score - 0.1 for key, score in ours.items()}}, "maximize")
    assert "paper-grid" in verdict(found)
