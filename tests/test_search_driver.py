"""Which trials a study has: totals, seeds, several workers, resuming, what is redone, and what a person enqueued."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import optuna
import pytest

from objectives.landscape import INTERIOR
from phiscale import FLOPS, PARAMETERS, PROXY_BASE, Multipliers, Shares, match_budget, scale_network
from phiscale.rounding import ROUNDINGS
from search import recommendation
from search.executors.contract import Job
from search.executors.processes import Processes
from search.measurements import measurements
from search.results import write_results
from search.settings import SPREAD_FIRST, SearchSettings
from search.study import load_study
from search.trial import trials_of
from tests.objectives_for_tests import ALWAYS_FAILS, NetworkObjective
from tests.search_for_tests import Scripted, complete, failed, run

MEASURED = {"scores", "rungs", "rung_scores", "seconds", "device", "peak_memory", "curves"}
"""Attributes that a trial has once it has ended."""


def what_was_measured(study: optuna.Study) -> list[tuple[Any, ...]]:
    done = complete(study)
    return sorted((tuple(t.params.values()), tuple(t.user_attrs["seeds"]), t.value) for t in done)


# totals and seeds


def test_a_study_is_one_of_alpha_beta_and_gamma(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=9)
    for trial in study.trials:
        assert list(trial.params) == ["alpha", "beta", "gamma"]
        assert trial.params["alpha"] * trial.params["beta"] ** 2 * trial.params["gamma"] ** 2 == pytest.approx(2)
        assert sum(trial.user_attrs[f"share_{axis}"] for axis in ("depth", "width", "resolution")) == pytest.approx(1)
    assert study.user_attrs["stopped"] == "9 trials"


def test_a_parameter_budget_is_searched_on_its_line(tmp_path: Path) -> None:
    objective = dataclasses.replace(INTERIOR, cost_model=PARAMETERS, optimum=Shares(0.4, 0.6, 0.0))
    study, _ = run(tmp_path, objective, cost_model=PARAMETERS, trials=16)
    assert len(complete(study)) == 16
    assert {trial.params["gamma"] for trial in study.trials} == {1.0}


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_network_is_trained_twice_with_one_seed(tmp_path: Path, seeds: int) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=20, seeds=seeds, seed=3, executor=Scripted(5), method="qmc")
    trained = [(t.user_attrs["fingerprint"], seed) for t in complete(study) for seed in t.user_attrs["seeds"]]
    assert len(trained) == len(set(trained)) == 20 * seeds
    assert min(seed for _, seed in trained) == 3000
    for trial in complete(study):
        assert len(trial.user_attrs["scores"]) == seeds
        assert trial.value == pytest.approx(sum(trial.user_attrs["scores"]) / seeds)


def test_workers_that_train_one_network_at_once_have_different_seeds(tmp_path: Path) -> None:
    class OneNetwork(NetworkObjective):
        def network(self, constants: Any) -> Any:
            return scale_network(PROXY_BASE, Multipliers(1, 1, 1), ROUNDINGS["exact"])

        def evaluate(self, constants: Any, *, seed: int) -> Any:
            return INTERIOR.evaluate(constants, seed=seed)

    study, _ = run(tmp_path, OneNetwork(), trials=8, executor=Scripted(4), method="qmc", baselines="none")
    assert sorted(trial.user_attrs["seeds"] for trial in study.trials) == [[seed] for seed in range(8)]


def test_scores_stand_with_their_seeds_in_whatever_order_they_come_back(tmp_path: Path) -> None:
    """The scripted executor does the last seed first."""
    objective = dataclasses.replace(INTERIOR, noise=0.1)
    study, _ = run(tmp_path, objective, trials=6, seeds=3, executor=Scripted(2), method="qmc")
    for trial in trials_of(study.trials, FLOPS):
        assert trial.result is not None
        alone = [objective.evaluate(trial.constants, seed=seed).score for seed in trial.seeds]
        assert trial.result.scores == pytest.approx(alone, abs=1e-12)


def test_the_number_of_trials_is_a_total(tmp_path: Path) -> None:
    objective = NetworkObjective()
    run(tmp_path, objective, trials=9, method="tpe")
    study, progress = run(tmp_path, objective, trials=12, method="random")
    assert (len(study.trials), len(progress.ended), objective.calls) == (12, 3, 12)
    _, progress = run(tmp_path, objective, trials=12, method="random")
    assert progress.ended == []


@pytest.mark.parametrize("workers", [4, 16])
def test_several_workers_respect_the_total_and_are_all_busy(tmp_path: Path, workers: int) -> None:
    executor = Scripted(workers)
    study, _ = run(tmp_path, NetworkObjective(), trials=30, method="qmc", executor=executor)
    assert len(complete(study)) == len(study.trials) == len(executor.done) == 30
    assert executor.most == workers + workers // 8  # some wait at the executor, so that no worker is idle


def test_many_workers_get_their_points_from_one_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, fit = [], recommendation.surface_at
    monkeypatch.setattr(recommendation, "surface_at", lambda *given, each: fits.append(1) or fit(*given, each=each))
    run(tmp_path, INTERIOR, trials=SPREAD_FIRST)
    assert not fits
    study, _ = run(tmp_path, INTERIOR, trials=SPREAD_FIRST + 16, executor=Scripted(16))
    assert len(fits) == 1
    points = {tuple(trial.params.values()) for trial in study.trials}
    assert len(points) > SPREAD_FIRST + 10  # the surface may ask for one point twice


# the same again


@pytest.mark.parametrize("method", ["gp", "tpe", "random"])
def test_a_study_in_pieces_is_the_study_in_one_run(tmp_path: Path, method: str) -> None:
    whole, _ = run(tmp_path / "whole", NetworkObjective(), trials=16, method=method)
    for trials in (3, 9, 12, 16):
        pieces, _ = run(tmp_path / "pieces", NetworkObjective(), trials=trials, method=method)
    assert [(t.params, t.value) for t in pieces.trials] == [(t.params, t.value) for t in whole.trials]


@pytest.mark.slow
def test_a_seed_repeats_a_study_with_one_worker_exactly_wherever_it_runs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"trials": 17, "seed": 5, "seeds": 2}
    here, _ = run(tmp_path / "here", NetworkObjective(), **settings)
    there, _ = run(tmp_path / "there", NetworkObjective(), executor=Processes(1), **settings)
    other, _ = run(tmp_path / "other", NetworkObjective(), **settings | {"seed": 6})
    first, second, third = (
        [(t.params, t.value, t.user_attrs["seeds"]) for t in each.trials] for each in (here, there, other)
    )
    assert first == second
    assert first[-1] != third[-1]


def test_a_grid_with_another_step_measures_its_own_points_too(tmp_path: Path) -> None:
    run(tmp_path, INTERIOR, method="grid", step=0.25, tolerance=0.1, baselines="none")
    study, _ = run(tmp_path, INTERIOR, method="grid", step=0.1, tolerance=0.1, baselines="none")
    fresh, _ = run(tmp_path / "fresh", INTERIOR, method="grid", step=0.1, tolerance=0.1, baselines="none")
    points = [{tuple(trial.user_attrs["constants"]) for trial in complete(each)} for each in (study, fresh)]
    assert points[1] < points[0]
    assert len(complete(study)) == len(points[0])


@pytest.mark.parametrize(("trials", "held"), [(3, 3), (16, 6)])
def test_a_grid_has_no_more_trials_than_points(tmp_path: Path, trials: int, held: int) -> None:
    grid: dict[str, Any] = {"method": "lattice", "step": 0.5, "baselines": "none", "trials": trials}
    study, progress = run(tmp_path, INTERIOR, **grid)
    assert (len(study.trials), progress.total, study.user_attrs["stopped"]) == (held, held, f"{held} trials")
    study, _ = run(tmp_path, INTERIOR, **grid | {"trials": 2})
    assert study.user_attrs["stopped"] == f"{held} trials"


def test_grid_points_that_are_one_network_are_measured_once(tmp_path: Path) -> None:
    objective = NetworkObjective()
    study, progress = run(tmp_path, objective, method="grid", step=0.05, tolerance=0.05, executor=Scripted(3))
    names = [name for trial in study.trials for name in trial.user_attrs["names"]]
    assert len([name for name in names if name.startswith("grid:")]) == 55
    assert objective.calls == len(study.trials) == len({t.user_attrs["fingerprint"] for t in study.trials})
    assert any("same networks" in note for note in progress.notes)


# what is done again


class KilledError(BaseException):
    """Stands for the end of the process."""


CALLS = ("create_new_trial", "set_trial_user_attr", "set_trial_intermediate_value", "set_trial_state_values")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 30, 4))
def test_a_driver_that_is_killed_at_any_write_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    """At the ``at``-th write to the storage, before or after it; the driver can then write nothing more."""
    settings: dict[str, Any] = {
        "trials": 6,
        "baselines": "paper",
        "method": "qmc",
        "storage": str(tmp_path / "j.journal"),
    }
    whole, _ = run(tmp_path / "whole", NetworkObjective(), **settings | {"storage": None})
    writes = 0

    def killed_at(write: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes > at or (writes == at and not after):
                raise KilledError
            done = write(*given, **named)
            if writes == at:
                raise KilledError
            return done

        return call

    storage = optuna.storages.JournalStorage
    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(storage, name, killed_at(getattr(storage, name)))
        patch.setattr("search.driver._Driver.put_back", lambda _: None)
        patch.setattr("search.hold.Hold.release", lambda hold: hold._let_go())
        with pytest.raises(KilledError):
            run(tmp_path, NetworkObjective(), **settings)
    study, _ = run(tmp_path, NetworkObjective(), **settings)
    assert what_was_measured(study) == what_was_measured(whole)
    redone = [trial.user_attrs["redo_of"] for trial in study.trials if "redo_of" in trial.user_attrs]
    assert redone == [trial.number for trial in failed(study)]
    assert len(redone) <= 1


def test_all_that_ran_side_by_side_is_redone_exactly_once_though_the_redo_is_killed_too(tmp_path: Path) -> None:
    def die(job: Job, done: int) -> None:
        if done == 6:
            raise KilledError

    settings: dict[str, Any] = {"trials": 16, "method": "qmc"}
    for _ in range(2):
        with pytest.raises(KilledError):
            run(tmp_path, NetworkObjective(), executor=Scripted(4, die), **settings)
    study, progress = run(tmp_path, NetworkObjective(), executor=Scripted(4), **settings)
    assert "4 trials of an ended run will be done again" in progress.notes
    assert len(complete(study)) == 16
    assert len(failed(study)) == 8
    redone = [trial.user_attrs["redo_of"] for trial in study.trials if "redo_of" in trial.user_attrs]
    assert sorted(redone) == [trial.number for trial in failed(study)]
    whole, _ = run(tmp_path / "whole", NetworkObjective(), **settings)
    assert what_was_measured(study) == what_was_measured(whole)


def test_a_trial_begins_whole(tmp_path: Path) -> None:
    """Whoever looks meanwhile sees all of it but its scores."""
    seen = []

    def look(job: Job, done: int) -> None:
        seen.append(load_study("s", tmp_path / "s", None).trials[-1])

    study, _ = run(tmp_path, NetworkObjective(), trials=2, executor=Scripted(1, look), baselines="paper")
    for running, ended in zip(seen, study.trials, strict=True):
        assert running.state.name == "RUNNING"
        assert set(running.user_attrs) == set(ended.user_attrs) - MEASURED
        assert (running.params, running.distributions) == (ended.params, ended.distributions)


@pytest.mark.parametrize("storage", [None, "s.journal", "sqlite:///s.db"])
def test_an_objective_may_change_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str | None
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    leave = NetworkObjective(act=lambda _: os.chdir(tmp_path / "elsewhere"))
    study, _ = run(Path("results"), leave, trials=3, storage=storage)
    assert len(complete(study)) == 3
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not list((tmp_path / "results" / "s").glob("driver-*"))


# what a person enqueued


def test_what_a_person_enqueued_is_evaluated_first_and_counts(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=3)
    study.enqueue_trial({"alpha": 1.2, "beta": 1.1, "gamma": 1.15})
    study.enqueue_trial({"beta": 1.3})
    study, _ = run(tmp_path, NetworkObjective(), trials=6)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6
    assert study.trials[3].params == {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}
    second = study.trials[4].params
    assert second["beta"] == 1.3
    assert second["alpha"] * second["beta"] ** 2 * second["gamma"] ** 2 == pytest.approx(2, abs=1e-12)
    assert all("fingerprint" in trial.user_attrs for trial in study.trials)


def test_a_trial_that_is_enqueued_meanwhile_is_seen(tmp_path: Path) -> None:
    def enqueue(job: Job, done: int) -> None:
        if done == 2:
            load_study("s", tmp_path / "s", None).enqueue_trial({"alpha": 1.5})

    study, _ = run(tmp_path, NetworkObjective(), trials=6, executor=Scripted(1, enqueue))
    assert [t.params["alpha"] == 1.5 for t in study.trials] == [False, False, True, False, False, False]
    assert len(complete(study)) == 6


def test_an_enqueued_trial_of_a_killed_driver_is_done_by_the_next(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=3)
    study.enqueue_trial({"alpha": 1.5})
    study.ask()  # by a driver that was killed before it could say anything
    study, _ = run(tmp_path, NetworkObjective(), trials=6)
    assert len(complete(study)) == 6
    assert [trial.params.get("alpha") for trial in complete(study)].count(1.5) == 1


def test_an_enqueued_trial_that_leaves_no_room_fails_with_the_reason(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=3)
    study.enqueue_trial({"beta": 1.4, "gamma": 1.4})
    study, _ = run(tmp_path, NetworkObjective(), trials=6)
    (left,) = failed(study)
    assert "expected enqueued constants of 1 or more that leave room" in left.user_attrs["failure"]
    assert len(complete(study)) == 6


NOT_ENQUEUED: list[tuple[Any, dict[str, Any], str]] = [
    ({"alpha": "1,2"}, {}, "'alpha': '1,2'"),
    ({"alpha": None}, {}, "None"),
    ({"beta": float("nan")}, {}, "nan"),
    ({"alpha": 0}, {}, "'alpha': 0"),
    ({"gamma": -1}, {}, "'gamma': -1"),
    ({"alpha": [1.2]}, {}, "[1.2]"),
    ({"alpha": 10**400}, {}, "too large"),
    ({"alpha": 1, "beta": 1, "gamma": 1}, {}, "at least one multiplier above 1"),
    ({"alpha": 0.5, "beta": 0.5, "gamma": 0.5}, {}, "above 1"),
    ({"alpha": 1.2}, {"constants": "x"}, "no user attributes of the names constants"),
    ({"alpha": 1.2}, {"names": 5, "lost": "often", "note": "mine"}, "of the names lost, names, which"),
]


@pytest.mark.filterwarnings("ignore:Fixed parameter:UserWarning")
def test_nothing_that_a_person_enqueues_ends_the_search(tmp_path: Path) -> None:
    """Each fails with its reason, once, and the search goes on."""
    study, _ = run(tmp_path, NetworkObjective(), trials=2)
    for parameters, attributes, _ in NOT_ENQUEUED:
        study.enqueue_trial(parameters, attributes)
    study.enqueue_trial({"alpha": 1.3}, {"redo_of": [1], "note": "mine"})
    for total in (5, 16, 20):
        study, _ = run(tmp_path, NetworkObjective(), trials=total, executor=Scripted(16))
    reasons = [trial.user_attrs["failure"] for trial in failed(study)]
    assert len(reasons) == len(NOT_ENQUEUED)
    for reason, (_, _, expected) in zip(reasons, NOT_ENQUEUED, strict=True):
        assert expected in reason
        assert len(reason) <= 500
    assert [trial.params["alpha"] for trial in complete(study)].count(1.3) == 1


# networks


@pytest.mark.parametrize("smaller", [True, False])
def test_networks_that_do_not_grow_have_shares_too(tmp_path: Path, smaller: bool) -> None:
    class Other(NetworkObjective):
        def network(self, constants: Any) -> Any:
            return match_budget(PROXY_BASE, constants, phi=-1) if smaller else unchanged

        def evaluate(self, constants: Any, *, seed: int) -> Any:
            return INTERIOR.evaluate(constants, seed=seed)

    unchanged = scale_network(PROXY_BASE, Multipliers(1, 1, 1), ROUNDINGS["exact"])
    study, _ = run(tmp_path, Other(), trials=8)
    trials = trials_of(study.trials, FLOPS)
    rows = measurements(trials, FLOPS)
    assert rows
    for row in rows:
        wanted = next(trial.shares for trial in trials if trial.number in row.trials).as_tuple()
        assert row.shares.as_tuple() == pytest.approx(wanted, abs=0.3 if smaller else 1e-9)


def test_minimising_finds_the_same_point(tmp_path: Path) -> None:
    objective = dataclasses.replace(INTERIOR, direction="minimize", noise=0.001)
    study, _ = run(tmp_path, objective, trials=30)
    record = write_results(study, tmp_path / "s", FLOPS, SearchSettings())
    assert record.direction == "minimize"
    assert record.shares.as_tuple() == pytest.approx(objective.optimum.as_tuple(), abs=0.06)


@pytest.mark.parametrize("method", ["gp", "qmc", "random", "tpe"])
def test_points_differ_while_no_trial_has_finished(tmp_path: Path, method: str) -> None:
    with pytest.raises(RuntimeError, match="first 5 trials all failed"):
        run(tmp_path, ALWAYS_FAILS, trials=9, method=method, baselines="none")
    study = load_study("s", tmp_path / "s", None)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 5
