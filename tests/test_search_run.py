"""A whole study with objectives that need no training: methods, counts, seeds, failures, resuming."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from search.run import StudyPlace, run_study
from search.samplers import SPREAD

from objectives.contract import Evaluation
from objectives.landscape import CORNER, EDGE, INTERIOR
from phiscale import (
    FLOPS,
    PARAMETERS,
    PROXY_BASE,
    CostModel,
    Multipliers,
    SearchRecord,
    SettingsError,
    Shares,
    StudyError,
    TrialError,
    match_budget,
    scale_network,
    shares_of_direction,
)
from phiscale.rounding import ROUNDINGS
from search.measurements import FAILURE, RUNG_SCORES, RUNGS, measurements
from search.results import write_results
from search.settings import METHODS, SPREAD_FIRST, SearchSettings
from search.study import load_study
from tests.objectives_for_tests import (
    ALWAYS_FAILS,
    FAILS_SOMETIMES,
    NanObjective,
    NetworkObjective,
    UnreachableObjective,
    interrupted,
)

MEASURED = {"scores", RUNGS, RUNG_SCORES, "seconds", "device", "peak_memory", "curves"}
"""Attributes that a trial has once it has ended."""


class Silent:
    """Progress that only remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[int] = []

    def begin(self, study: optuna.Study, total: int, notes: list[str]) -> None:
        self.notes = notes

    def trial_ended(self, trial: Any) -> None:
        self.ended.append(trial.number)


def run(folder: Path, objective: Any, *, cost_model: CostModel = FLOPS, storage: str | None = None, **settings: Any):
    place = StudyPlace(name="s", folder=folder / "s", storage=storage)
    progress = Silent()
    study = run_study(place, objective, cost_model, SearchSettings(**settings), progress)
    return study, progress


def complete(study: optuna.Study) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_measures_feasible_points_only(tmp_path: Path, method: str) -> None:
    step = 0.25 if method == "lattice" else 0.1
    study, _ = run(tmp_path, NetworkObjective(), method=method, trials=14, step=step, tolerance=0.1, baselines="paper")
    assert len(complete(study)) == len(study.trials) == 14 or method in ("grid", "lattice")
    for trial in complete(study):
        a = trial.user_attrs
        on_surface = 0.1 if any(name.startswith("grid") for name in a.get("names", ())) else 1e-9
        assert abs(a["product"] - 2) <= on_surface
        assert abs(a["cost_ratio"] - 1) <= 0.02
        assert sum(a[f"share_{axis}"] for axis in ("depth", "width", "resolution")) == pytest.approx(1, abs=1e-9)
        for name in ("alpha", "beta", "gamma", "asked", "realised", "seeds", "scores", "seconds", "device"):
            assert name in a


def test_no_network_is_trained_twice_with_one_seed(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=40, seeds=2)
    trained = [(t.user_attrs["fingerprint"], seed) for t in complete(study) for seed in t.user_attrs["seeds"]]
    assert len(trained) == len(set(trained)) == 80


def test_the_best_constants_are_found(tmp_path: Path) -> None:
    for objective in (INTERIOR, EDGE, CORNER):
        folder = tmp_path / str(objective.optimum.as_tuple())
        study, _ = run(folder, objective, trials=24)
        record = write_results(study, folder / "s", FLOPS, SearchSettings(trials=24))
        regret = objective.true_score(objective.best_constants) - objective.true_score(record.constants)
        assert regret < 0.01 * objective.drop * 2
        assert record.noise == pytest.approx(0.01, rel=0.8)


def test_minimising_finds_the_same_point(tmp_path: Path) -> None:
    objective = dataclasses.replace(INTERIOR, direction="minimize", noise=0.001)
    study, _ = run(tmp_path, objective, trials=30)
    record = write_results(study, tmp_path / "s", FLOPS, SearchSettings())
    assert record.direction == "minimize"
    assert record.shares.as_tuple() == pytest.approx(objective.optimum.as_tuple(), abs=0.06)


def test_a_parameter_budget_is_searched_on_its_line(tmp_path: Path) -> None:
    objective = dataclasses.replace(INTERIOR, cost_model=PARAMETERS, optimum=Shares(0.4, 0.6, 0.0))
    study, _ = run(tmp_path, objective, cost_model=PARAMETERS, trials=12)
    assert {tuple(trial.params) for trial in study.trials} == {("u",)}
    assert all(trial.user_attrs["gamma"] == 1 for trial in study.trials)


def test_the_number_of_trials_is_a_total(tmp_path: Path) -> None:
    objective = NetworkObjective()
    run(tmp_path, objective, trials=9, method="tpe")
    study, progress = run(tmp_path, objective, trials=12, method="random")
    assert (len(study.trials), len(progress.ended), objective.calls) == (12, 3, 12)
    _, progress = run(tmp_path, objective, trials=12, method="random")
    assert progress.ended == []


def test_a_study_in_pieces_is_the_study_in_one_run(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", NetworkObjective(), trials=16)
    for trials in (3, 9, 12, 16):
        pieces, _ = run(tmp_path / "pieces", NetworkObjective(), trials=trials)
    assert [t.params for t in pieces.trials] == [t.params for t in whole.trials]
    assert [t.value for t in pieces.trials] == [t.value for t in whole.trials]


def test_failed_trials_keep_their_reason_and_count(tmp_path: Path) -> None:
    study, _ = run(tmp_path, FAILS_SOMETIMES, trials=12)
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert len(failed) == 4
    assert len(study.trials) == 12
    assert {t.user_attrs["failure"] for t in failed} == {"the loss became NaN in epoch 1"}
    assert {t.user_attrs["failure_kind"] for t in failed} == {"diverged"}


def test_points_without_a_network_fail_with_the_reason(tmp_path: Path) -> None:
    study, _ = run(tmp_path, UnreachableObjective(), trials=20, method="random")
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert failed
    assert all(t.user_attrs["failure_kind"] == "budget" and "shallower" in t.user_attrs["failure"] for t in failed)


def test_gp_spreads_every_other_later_trial(tmp_path: Path) -> None:
    """A model that alone decided where to look would not see that it is wrong where it does not look."""
    study, _ = run(tmp_path, NetworkObjective(), trials=24)
    places = [trial.user_attrs.get(SPREAD) for trial in study.trials[SPREAD_FIRST:]]
    assert [place is not None for place in places] == [number % 2 == 0 for number in range(12, 24)]
    found = [place for place in places if place is not None]
    assert found == list(range(found[0], found[0] + 6))  # the sequence goes on: no place twice, none left out


def test_gp_passes_over_what_cannot_be_built_and_what_failed(tmp_path: Path) -> None:
    """A failed trial teaches the surface nothing: its point would be chosen again until the trials are used up."""

    class Diverging(UnreachableObjective):
        def evaluate(self, constants: Any, *, seed: int) -> Evaluation:
            if shares_of_direction(Multipliers(*constants.as_tuple())).resolution > 0.4:
                raise TrialError("diverged", "the loss became NaN in epoch 1")
            return super().evaluate(constants, seed=seed)

    study, _ = run(tmp_path, Diverging(), trials=40)
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    spread = next(t.number for t in study.trials if sum(e.number <= t.number for e in complete(study)) == 12)
    assert {"budget", "diverged"} == {trial.user_attrs["failure_kind"] for trial in failed}
    assert all(trial.user_attrs["failure_kind"] == "diverged" for trial in failed if trial.number > spread)
    networks = [trial.user_attrs["fingerprint"] for trial in failed]
    assert len(networks) == len(set(networks))
    assert len(complete(study)) >= 34 - 12  # no more fail than the spread has


@pytest.mark.parametrize("method", ["gp", "qmc", "random"])
def test_points_differ_while_no_trial_has_finished(tmp_path: Path, method: str) -> None:
    with pytest.raises(StudyError, match="first 5 trials all failed"):
        run(tmp_path, ALWAYS_FAILS, trials=9, method=method, baselines="none")
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s/study.db")
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 5


def test_a_trial_that_failed_before_its_worker_died_is_not_done_again(tmp_path: Path) -> None:
    def die_while_failing(call: int) -> None:
        if call == 4:
            study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s/study.db")
            trial = study.ask()
            trial.set_user_attr(FAILURE, "the loss became NaN in epoch 1")

    study, _ = run(tmp_path, NetworkObjective(act=die_while_failing), trials=9)
    failed = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert [len(failed), len(study.trials)] == [1, 9]
    assert not any("redo_of" in trial.user_attrs for trial in study.trials)


def test_a_hopeless_study_ends_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="first 5 trials all failed.*does not fit"):
        run(tmp_path, ALWAYS_FAILS, trials=50)


def test_infinite_scores_are_failures(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="finite score, got inf"):
        run(tmp_path, NanObjective(optimum=INTERIOR.optimum), trials=9)


def test_ctrl_c_puts_the_running_trial_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupted(), trials=9)
    study, _ = run(tmp_path, NetworkObjective(), trials=9)
    redone = [trial for trial in study.trials if "redo_of" in trial.user_attrs]
    assert len(complete(study)) == 9
    assert [trial.user_attrs["redo_of"] for trial in redone] == [4]
    assert redone[0].user_attrs["names"] == study.trials[4].user_attrs["names"]


def test_an_objective_that_breaks_puts_its_trial_back_and_is_heard(tmp_path: Path) -> None:
    def break_once(call: int) -> None:
        if call == 3:
            raise ZeroDivisionError("a mistake of the objective")

    with pytest.raises(ZeroDivisionError):
        run(tmp_path, NetworkObjective(act=break_once), trials=9)
    study, _ = run(tmp_path, NetworkObjective(), trials=9)
    assert len(complete(study)) == 9


def test_a_planned_point_claimed_by_a_dead_worker_is_redone(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=3)
    study.ask()  # the next planned point, claimed, and its worker gone before it could say anything
    study, progress = run(tmp_path, NetworkObjective(), trials=8)
    assert any("done again" in note for note in progress.notes)
    named = [name for trial in complete(study) for name in trial.user_attrs.get("names", [])]
    assert sorted(named) == sorted(SearchSettings().baseline_names)


def test_changed_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    run(tmp_path, INTERIOR, trials=3)
    with pytest.raises(StudyError, match=r"noise: 0.01 before, 0.02 asked"):
        run(tmp_path, dataclasses.replace(INTERIOR, noise=0.02), trials=3)
    with pytest.raises(StudyError, match="cost_model.width: 2.0 before, 1.0 asked"):
        run(tmp_path, INTERIOR, cost_model=CostModel(1, 1, 2), trials=3)


def test_a_grid_with_another_step_measures_its_own_points_too(tmp_path: Path) -> None:
    run(tmp_path, INTERIOR, method="grid", step=0.25, tolerance=0.1, baselines="none")
    study, _ = run(tmp_path, INTERIOR, method="grid", step=0.1, tolerance=0.1, baselines="none")
    fresh, _ = run(tmp_path / "fresh", INTERIOR, method="grid", step=0.1, tolerance=0.1, baselines="none")
    points = [{tuple(trial.user_attrs["constants"]) for trial in complete(each)} for each in (study, fresh)]
    assert points[1] < points[0]
    assert len(complete(study)) == len(points[0])


def test_a_trial_whose_worker_dies_meanwhile_is_redone_by_the_others(tmp_path: Path) -> None:
    def die_in_the_third(call: int) -> None:
        if call == 3:  # another worker claims a trial, and is gone before it could say anything
            optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s/study.db").ask()

    study, _ = run(tmp_path, NetworkObjective(act=die_in_the_third), trials=9)
    assert len(complete(study)) == 9
    named = [name for trial in complete(study) for name in trial.user_attrs.get("names", [])]
    assert sorted(named) == sorted(SearchSettings().baseline_names)


@pytest.mark.parametrize("method", ["random", "gp"])
@pytest.mark.parametrize("name", [None, "s.journal"])
def test_a_foreseen_trial_begins_whole(tmp_path: Path, method: str, name: str | None, monkeypatch) -> None:
    """A worker that ends at once leaves a running trial of which nothing is missing, and which is done again."""

    class EndedError(Exception):
        pass

    def end(*_: Any) -> None:
        raise EndedError

    settings: Any = {"trials": 2, "method": method, "baselines": "none"}
    storage = name and str(tmp_path / name)
    whole, _ = run(tmp_path / "whole", INTERIOR, **settings)
    first = whole.trials[0]
    with monkeypatch.context() as patch:
        patch.setattr(optuna, "Trial", end)
        with pytest.raises(EndedError):
            run(tmp_path, INTERIOR, storage=storage, **settings)
    (left,) = load_study("s", tmp_path / "s", storage).trials
    assert left.state.name == "RUNNING"
    assert set(left.user_attrs) == set(first.user_attrs) - MEASURED
    assert (left.params, left.distributions) == (first.params, first.distributions)
    study, _ = run(tmp_path, INTERIOR, storage=storage, **settings)
    assert [trial.user_attrs.get("redo_of") for trial in study.trials] == [None, 0, None]
    points = [[(t.params, t.value, t.user_attrs["seeds"]) for t in complete(each)] for each in (study, whole)]
    assert points[0] == points[1]
    assert complete(study)[0].user_attrs["worker"] != left.user_attrs["worker"]


class Odd(NetworkObjective):
    """An objective that breaks one promise of the contract."""

    def __init__(self, **broken: Any) -> None:
        super().__init__()
        self.broken = broken

    def describe(self) -> Any:
        return self.broken.get("describe", super().describe())

    def network(self, constants: Any) -> Any:
        return self.broken.get("network", super().network(constants))

    def evaluate(self, constants: Any, *, seed: int) -> Any:
        evaluation = super().evaluate(constants, seed=seed)
        return self.broken["evaluate"](evaluation) if "evaluate" in self.broken else evaluation


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"describe": None}, r"describe\(\) to return a dictionary, got None"),
        ({"describe": {"x": object()}}, r"describe\(\) to return JSON values"),
        ({"describe": {"network": "mine"}}, "'network' in the objective's .* a dictionary, got 'mine'"),
        ({"describe": {"phi": "big"}}, "'phi' in the objective's .* a number, got 'big'"),
        ({"network": 5}, r"network\(\) to return a ScaledNetwork, a CountedNetwork or None, got 5"),
        ({"evaluate": lambda evaluation: evaluation.score}, r"evaluate\(\) to return an Evaluation"),
        ({"evaluate": lambda evaluation: dataclasses.replace(evaluation, score="high")}, "whose scores are numbers"),
    ],
)
def test_an_objective_that_breaks_the_contract_is_told_what_was_expected(tmp_path: Path, broken, message) -> None:
    with pytest.raises(SettingsError, match=message):
        run(tmp_path, Odd(**broken), trials=3)


@pytest.mark.parametrize("smaller", [True, False])
def test_networks_that_do_not_grow_have_shares_too(tmp_path: Path, smaller: bool) -> None:
    class Other(NetworkObjective):
        def network(self, constants: Any) -> Any:
            return match_budget(PROXY_BASE, constants, phi=-1) if smaller else unchanged

        def evaluate(self, constants: Any, *, seed: int) -> Evaluation:
            return INTERIOR.evaluate(constants, seed=seed)

    unchanged = scale_network(PROXY_BASE, Multipliers(1, 1, 1), ROUNDINGS["exact"])
    study, _ = run(tmp_path, Other(), trials=8)
    rows = measurements(study.get_trials(), FLOPS)
    assert rows
    for row in rows:
        wanted = shares_of_direction(Multipliers(*row.constants.as_tuple())).as_tuple()
        assert row.shares.as_tuple() == pytest.approx(wanted, abs=0.3 if smaller else 1e-9)


def test_scores_of_numpy_are_numbers(tmp_path: Path) -> None:
    def as_numpy(evaluation: Evaluation) -> Evaluation:
        curves = {"landscape": np.array([0.5, 0.6], dtype=np.float32)}
        return dataclasses.replace(evaluation, score=np.float32(evaluation.score), curves=curves)

    study, _ = run(tmp_path, Odd(evaluate=as_numpy), trials=3)
    assert len(complete(study)) == 3


def test_a_storage_that_fails_during_the_run_is_one_sentence(tmp_path: Path) -> None:
    def lose_the_database(call: int) -> None:
        if call == 3:
            for path in (tmp_path / "s").glob("study.db*"):
                path.write_bytes(b"no database at all" * 1000)

    with pytest.raises(StudyError, match=r"study\.db failed \([^)]+\); finished trials are kept"):
        run(tmp_path, NetworkObjective(act=lose_the_database), trials=9)


def test_a_half_written_journal_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "s.journal"
    run(tmp_path, INTERIOR, trials=3, storage=str(journal))
    journal.write_bytes(journal.read_bytes()[:-20])
    with pytest.raises(StudyError, match=r"s\.journal"):
        run(tmp_path, INTERIOR, trials=5, storage=str(journal))


def test_another_program_s_study_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    foreign = optuna.create_study(storage=f"sqlite:///{tmp_path}/s/study.db", study_name="s", direction="maximize")
    foreign.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(StudyError, match="not made by phiscale"):
        run(tmp_path, INTERIOR, trials=3)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_damaged_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_bytes(content)
    if content:
        with pytest.raises(StudyError, match=r"study\.db"):
            run(tmp_path, INTERIOR, trials=3)
        assert (tmp_path / "s" / "study.db").read_bytes() == content
    else:
        assert len(complete(run(tmp_path, INTERIOR, trials=3)[0])) == 3


def test_a_journal_file_resumes_too(tmp_path: Path) -> None:
    journal = str(tmp_path / "s.journal")
    run(tmp_path, INTERIOR, trials=5, storage=journal)
    study, progress = run(tmp_path, INTERIOR, trials=8, storage=journal)
    assert (len(complete(study)), len(progress.ended)) == (8, 3)


def test_grid_points_that_are_one_network_are_measured_once(tmp_path: Path) -> None:
    objective = NetworkObjective()
    study, progress = run(tmp_path, objective, method="grid", step=0.05, tolerance=0.05)
    names = [name for trial in study.trials for name in trial.user_attrs["names"]]
    assert len([name for name in names if name.startswith("grid:")]) == 55
    assert objective.calls == len(study.trials) == len({t.user_attrs["fingerprint"] for t in study.trials})
    assert any("same networks" in note for note in progress.notes)


def test_results_can_be_read_without_optuna(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=12)
    written = write_results(study, tmp_path / "s", FLOPS, SearchSettings(trials=12))
    assert SearchRecord.load(tmp_path / "s" / "constants.json") == written
    family = json.loads((tmp_path / "s" / "family.json").read_text())
    assert [row["phi"] for row in family["nominal"]] == [float(phi) for phi in range(8)]
    for row in family["matched"]:
        assert row["growth"] / row["target_growth"] == pytest.approx(1, abs=0.02)
    assert {row.name for row in written.baselines} == set(SearchSettings().baseline_names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "annealing"}, "method of gp"),
        ({"trials": 0}, "trials to be a whole number"),
        ({"trials": True}, "trials to be a whole number"),
        ({"seeds": -1}, "seeds to be a whole number"),
        ({"seed": -1}, "seed of 0"),
        ({"step": float("nan")}, "step to be finite"),
        ({"tolerance": float("inf")}, "tolerance to be finite"),
        ({"baselines": "papper"}, "'papper'"),
    ],
)
def test_impossible_settings_say_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SearchSettings(**settings)


def test_a_method_without_its_package_is_refused_before_the_first_trial(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("search.samplers.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="needs scipy, scikit-learn.*pip install scipy scikit-learn"):
        run(tmp_path, INTERIOR, trials=3)
    assert not (tmp_path / "s" / "study.db").exists()
