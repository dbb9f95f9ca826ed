"""Time to constants: the recorded landscape of rungs, Optuna in boxes, and what is counted until an answer is good."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import recorded_landscapes, search_rivals
from benchmarks import time_to_constants as bench
from benchmarks.bench_horizon import FOLDER, read
from benchmarks.contestants import ONE, PLAIN, RUNGS, SINGLE
from benchmarks.random_landscapes import RandomLandscape
from benchmarks.time_tables import seconds_within, write_evidence
from phiscale.triangle import FLOPS

PRICES = [
    {"loop": loop, "shape": shape, "round": turn, "images": "1000", "core_seconds": str(seconds)}
    for loop, each in ((PLAIN, 4), (SINGLE, 3), (ONE, 1), (RUNGS, 1.5))
    for shape in bench.SHAPES
    for turn, seconds in enumerate((each, each, 100 * each))
]


def test_rungs_of_two_files_are_those_of_the_same_trainings():
    joined = bench.landscape("cifar10")
    long = read(FOLDER / "cifar10-rungs.csv")
    assert joined.lengths == (5_000, 10_000, 20_000, 40_000, 80_000, 160_000)
    assert joined.residuals.shape == (84, 6)
    at_end = long.accuracy[:3, -1]  # three trainings of the first network
    np.testing.assert_allclose(joined.residuals[:3, -1], (at_end - at_end.mean()) * np.sqrt(3 / 2))
    together = np.corrcoef(joined.residuals.T)
    assert together[1, 2] > 0.2  # a rung of each file: the noise of a training is shared
    best, spread = joined.best()
    assert 0.6 < best < 0.66
    assert 0.05 < spread < 0.1


def test_files_of_other_trainings_are_not_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded_landscapes, "_FOLDER", tmp_path)
    for name, seed in (("a", 0), ("b", 1)):
        lines = ["depth,width,resolution,seed,accuracy 10", *(f"{d},{1 - d},0,{seed},0.5" for d in (0, 0.5, 1))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="others in b"):
        recorded_landscapes.recorded_rungs(("a", "b"))


def noisy(chosen):
    recorded = bench.landscape("cifar10")
    plain = RandomLandscape("cifar10", recorded.heights[chosen[-1]], lambda shares, _: np.zeros(len(shares)))
    return bench.RungNoisy(plain, 0.0, np.random.default_rng(0), recorded=recorded, chosen=chosen)


def test_the_noise_of_a_training_is_one_recorded_training_s():
    seen, shares = noisy([2, 3, 4, 5]), np.array([[0.2, 0.3, 0.5]])
    expected = [float(seen.recorded.heights[index](shares)[0]) for index in seen.chosen]
    drawn = {tuple(np.round(np.array(seen.measure_rungs(shares[0])) - expected, 9)) for _ in range(50)}
    assert len(drawn) > 20
    assert drawn <= {tuple(row) for row in np.round(seen.recorded.residuals[:, 2:], 9)}
    assert seen.scores[-1] == pytest.approx(seen.measure(shares[0]), abs=0.06)


@pytest.mark.parametrize(("sampler", "counts"), [("tpe", (1, 4, 40)), ("gp", (1, 2))])
def test_in_boxes_only_feasible_proposals_are_trained(sampler, counts, monkeypatch):
    seen, trained, map_to_shares = noisy([5]), [], search_rivals.shares_of_constants

    def kept(constants, cost_model):
        trained.append(constants)
        return map_to_shares(constants, cost_model)

    monkeypatch.setattr(search_rivals, "shares_of_constants", kept)
    answers = search_rivals.optuna_boxes(sampler)(seen, 0, counts)
    assert sorted(answers) == list(counts)
    assert len(trained) == len(seen.scores) == counts[-1]
    products = np.array([constants.product(FLOPS) for constants in trained])
    assert np.abs(products - 2).max() <= 0.1
    assert answers[counts[-1]].shares.tolist() == seen.best().tolist()


def test_an_answer_counts_from_where_it_stays_good():
    regrets = {1: 0.01, 2: 0.2, 3: 0.04, 5: 0.05, 8: 0.01}
    assert bench.stays_within(regrets, 0.05) == 3
    assert bench.stays_within(regrets, 0.02) == 8
    assert bench.stays_within({1: 0.01, 2: 0.2}, 0.05) is None


def test_a_run_is_judged_at_the_horizon_and_repeats_itself():
    job = bench.Job("cifar10", "nni-grid", 40_000, 3)
    row = bench.run_job(job)
    assert row == bench.run_job(job)
    assert row["within_5"]
    assert int(row["within_5"]) <= int(row["within_2"] or 999)
    assert float(bench.run_job(bench.Job("cifar10", "nni-grid", 10_000, 3))["last_regret"]) > 0.3  # width leads there


def runs(way, length, *counts):
    each = {"landscape": "cifar10", "way": way, "length": str(length), "last_regret": "0", "determined": ""}
    return [each | {"seed": seed, "within_5": count, "within_2": ""} for seed, count in enumerate(counts)]


def test_a_run_that_does_not_get_there_is_infinite_and_the_person_s_loop_takes_its_cheaper_threads():
    rows = runs("tpe", 2000, "10", "30", "", "20", "")
    assert seconds_within(rows, PRICES, "within_5") == (2 * 3 * 30, 2 * 3 * 20, np.inf)
    assert seconds_within(rows, PRICES, "within_5", PLAIN)[0] == 2 * 4 * 30
    assert seconds_within(runs("phiscale-rungs", 1000, "10"), PRICES, "within_5")[0] == 15


def test_the_page_states_the_ratios_beside_their_goals(tmp_path):
    rows = [*runs("tpe", 4000, "60", "60"), *runs("phiscale", 4000, "10"), *runs("phiscale-rungs", 1000, "8")]
    text = write_evidence(tmp_path / "time.csv", rows, PRICES)
    assert (tmp_path / "time.md").read_text() == text
    assert (tmp_path / "time.png").stat().st_size > 10_000
    tpe = "- phiscale with 4 rungs up to 1,000 over Optuna TPE, three boxes and a constraint, plain loop at 4,000: "
    assert tpe + "1/60.0 (goal: 1/15); 1/80.0 with torch's default threads" in text  # 60 * 4 * 3 over 8 * 1.5
    assert "up to 1,000 over phiscale, one length at 4,000: 1/3.3 (goal: 1/3)" in text
