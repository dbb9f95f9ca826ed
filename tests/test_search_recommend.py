"""The recommendation: surface, region, interval, second opinions, and when to stop."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from objectives.landscape import EDGE, INTERIOR, LandscapeObjective
from phiscale import FLOPS, PARAMETERS, Shares, StudyError, constants_from_shares
from phiscale.triangle import lattice
from search.aim import Aim
from search.measurements import Measurement, measurements, trials_csv
from search.recommendation import predict, recommend, replicate_noise
from search.results import write_results
from search.settings import SearchSettings
from search.surface import fit_surface
from search.trial import trials_of
from tests.objectives_for_tests import NetworkObjective
from tests.search_for_tests import complete, run

UP, DOWN = Aim("maximize"), Aim("minimize")


def rows_of(objective: LandscapeObjective, steps: int = 7, seeds: int = 1) -> list[Measurement]:
    """Measurements of a landscape on a lattice."""
    rows = []
    for index, shares in enumerate(lattice(steps, FLOPS)):
        constants = constants_from_shares(shares, FLOPS)
        scores = [objective.evaluate(constants, seed=seed).score for seed in range(seeds)]
        rows.append(Measurement((), constants, shares, tuple(scores), (index,)))
    return rows


@pytest.mark.parametrize("shape", ["quadratic", "ridge", "peak"])
@pytest.mark.parametrize("optimum", [(0.3, 0.5, 0.2), (0.4, 0.6, 0.0), (0.0, 0.0, 1.0)])
def test_the_optimum_is_found_without_noise(shape: str, optimum: tuple[float, float, float]) -> None:
    objective = LandscapeObjective(optimum=Shares(*optimum), shape=shape)
    found = recommend(rows_of(objective), FLOPS, UP)
    assert objective.true_score(objective.best_constants) - objective.true_score(found.constants) < 0.015
    assert found.constants.product() == pytest.approx(2, abs=1e-9)


def test_the_surface_beats_the_luckiest_trial() -> None:
    lost: dict[str, list[float]] = {"surface": [], "luckiest": []}
    for seed in range(12):
        objective = dataclasses.replace(INTERIOR, noise=0.03)
        rows = [
            dataclasses.replace(row, scores=(objective.evaluate(row.constants, seed=seed).score,))
            for row in rows_of(dataclasses.replace(objective, noise=0.0))
        ]
        found = recommend(rows, FLOPS, UP)
        top = objective.true_score(objective.best_constants)
        lost["surface"].append(top - objective.true_score(found.constants))
        lost["luckiest"].append(top - objective.true_score(found.best_observed.constants))
        assert found.best_observed.score == max(row.score for row in rows)
    assert np.median(lost["surface"]) < 0.4 * np.median(lost["luckiest"])


def test_interval_noise_and_region_say_what_is_known() -> None:
    held = inside = 0
    noises = []
    for seed in range(20):
        objective = dataclasses.replace(INTERIOR, noise=0.02, optimum=Shares(0.3, 0.5, 0.2))
        rows = [
            dataclasses.replace(row, scores=(objective.evaluate(row.constants, seed=seed).score,))
            for row in rows_of(dataclasses.replace(objective, noise=0.0))
        ]
        found = recommend(rows, FLOPS, UP)
        assert found.expected is not None
        inside += found.expected.low <= objective.true_score(found.constants) <= found.expected.high
        held += any(np.allclose(shares.as_tuple(), (0.3, 0.5, 0.2)) for shares in found.region)
        noises.append(found.noise)
        assert 0.3 < found.details["calibration"]["coverage"] <= 1
    assert held >= 15
    assert inside >= 14
    assert np.median(noises) == pytest.approx(0.02, rel=0.25)


def test_more_noise_widens_the_region() -> None:
    parts = []
    for noise in (0.002, 0.3):
        found = recommend(rows_of(dataclasses.replace(INTERIOR, noise=noise)), FLOPS, UP)
        parts.append(found.details["region_part"])
    assert parts[0] < 0.03 < 0.06 < parts[1]


def test_the_order_of_trials_does_not_matter(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=18, method="qmc")
    trials = trials_of(study.get_trials(), FLOPS)
    first = recommend(measurements(trials, FLOPS), FLOPS, UP)
    random.Random(0).shuffle(trials)
    assert recommend(measurements(trials, FLOPS), FLOPS, UP) == first


def test_a_loss_is_recommended_where_it_is_small() -> None:
    objective = dataclasses.replace(EDGE, direction="minimize", noise=0.0, top=0.9)
    found = recommend(rows_of(objective), FLOPS, DOWN)
    assert found.shares.as_tuple() == pytest.approx((0.4, 0.6, 0.0), abs=0.05)
    assert found.expected is not None
    assert found.expected.score == pytest.approx(-0.9, abs=0.02)
    assert found.best_observed.score == min(row.score for row in rows_of(objective))


def test_too_few_networks_give_the_best_observed_and_say_so() -> None:
    rows = rows_of(INTERIOR)[:5]
    found = recommend(rows, FLOPS, UP)
    assert found.expected is None
    assert found.region == ()
    assert "too few" in found.notes[0]
    assert found.constants.as_tuple() == pytest.approx(max(rows, key=lambda row: row.score).constants.as_tuple())
    assert predict(rows, FLOPS, UP) is None
    with pytest.raises(StudyError, match="at least one finished trial"):
        recommend([], FLOPS, UP)


@pytest.mark.parametrize("score", [0.5, 0.1, 0.0, -2.302585092994046])
@pytest.mark.parametrize("count", [3, None])
def test_equal_scores_recommend_nothing_and_say_so(score: float, count: int | None) -> None:
    rows = [dataclasses.replace(row, scores=(score, score)) for row in rows_of(INTERIOR)[:count]]
    found = recommend(rows, FLOPS, UP)
    assert f"all {2 * len(rows)} scores are equal" in found.notes[0]
    assert "nothing can be recommended" in found.notes[0]
    assert found.shares.as_tuple() == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert found.expected is None
    assert len(found.region) == len(lattice(20, FLOPS))
    assert found.details["region_part"] == 1


def test_the_line_of_a_model_without_resolution_has_its_middle() -> None:
    rows = [
        Measurement((), constants_from_shares(shares, PARAMETERS), shares, (0.1,), (index,))
        for index, shares in enumerate(lattice(10, PARAMETERS))
    ]
    assert recommend(rows, PARAMETERS, DOWN).shares.as_tuple() == pytest.approx((0.5, 0.5, 0.0))


@pytest.mark.parametrize("score", [0.1, 0.7])
def test_the_surface_of_equal_scores_knows_nothing_for_sure(score: float) -> None:
    """The mean of equal numbers may be off by a rounding error, which is no spread."""
    shares = np.array([row.shares.as_tuple() for row in rows_of(INTERIOR)])
    surface = fit_surface(shares, np.full(len(shares), score))
    mean, deviation = surface.predict(shares)
    assert mean == pytest.approx(score, abs=1e-6)
    assert deviation.min() > 1e-4
    assert surface.noise > 1e-4


def test_a_study_of_equal_scores_goes_on_and_says_so(tmp_path: Path) -> None:
    objective = dataclasses.replace(INTERIOR, noise=0.0, top=0.1, drop=1e-16)
    study, _ = run(tmp_path, objective, trials=20, until_region=0.1, until_gain=0.01)
    assert len(complete(study)) == 20
    record = write_results(study, tmp_path / "s", FLOPS, SearchSettings())
    assert any("nothing can be recommended" in note for note in record.notes)


def test_replicates_tell_the_noise() -> None:
    rows = rows_of(dataclasses.replace(INTERIOR, noise=0.02), seeds=6)
    assert replicate_noise(rows) == pytest.approx(0.02, rel=0.2)
    assert replicate_noise(rows_of(INTERIOR)) is None


def test_posterior_draws_agree_with_the_prediction() -> None:
    rows = rows_of(dataclasses.replace(INTERIOR, noise=0.01))
    shares = np.array([row.shares.as_tuple() for row in rows])
    surface = fit_surface(shares, np.array([row.score for row in rows]))
    mean, deviation = surface.predict(shares)
    draws = surface.draws(shares, 4000, seed=1)
    assert draws.shape == (4000, len(rows))
    assert np.abs(draws.mean(axis=0) - mean).max() < 0.005
    assert draws.std(axis=0) == pytest.approx(deviation, rel=0.4, abs=0.002)


def test_a_study_ends_when_it_knows_enough(tmp_path: Path) -> None:
    objective = NetworkObjective(noise=0.002)
    study, _ = run(tmp_path, objective, trials=60, until_region=0.1)
    assert 16 <= len(study.trials) < 60
    record = write_results(study, tmp_path / "s", FLOPS, SearchSettings())
    assert "region" in record.budget["stopped"]
    assert record.details["region_part"] <= 0.1
    again, progress = run(tmp_path, objective, trials=60, until_region=0.1)
    assert (len(again.trials), progress.ended) == (len(study.trials), [])
    study, _ = run(tmp_path / "gain", objective, trials=60, until_gain=0.01)
    assert 16 <= len(study.trials) < 60
    assert "gain" in study.user_attrs["stopped"]


def test_promising_networks_are_measured_again(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(noise=0.05), trials=28, replicate="auto", method="qmc")
    repeated = [trial for trial in study.trials if "repeats" in trial.user_attrs]
    assert [trial.number for trial in repeated] == [12, 16, 20, 24]
    for trial in repeated:
        first = study.trials[trial.user_attrs["repeats"]]
        assert trial.user_attrs["fingerprint"] == first.user_attrs["fingerprint"]
        assert not set(trial.user_attrs["seeds"]) & set(first.user_attrs["seeds"])


def test_a_finished_grid_is_repeated_where_it_is_promising(tmp_path: Path) -> None:
    settings = {"method": "lattice", "step": 0.25, "baselines": "none", "trials": 20}
    study, _ = run(tmp_path, NetworkObjective(noise=0.05), replicate="auto", **settings)
    assert len(complete(study)) == 20
    plain, _ = run(tmp_path / "plain", NetworkObjective(), **settings)
    assert len(complete(plain)) == 15


def test_every_trial_is_a_row_of_the_table(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=4)
    lines = trials_csv(trials_of(study.get_trials(deepcopy=False), FLOPS)).splitlines()
    assert len(lines) == 1 + len(study.trials)
    assert lines[0].startswith("number,state,value,names,alpha,beta,gamma,share_depth")
