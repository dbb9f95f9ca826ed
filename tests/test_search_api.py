"""The search from a script or a notebook."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

import search as package
from objectives.contract import Evaluation
from objectives.landscape import INTERIOR, LandscapeObjective
from phiscale import (
    FLOPS,
    PARAMETERS,
    CostModel,
    ScalingConstants,
    SearchRecord,
    SettingsError,
    StudyError,
    constants_from_shares,
)
from phiscale.triangle import lattice, paper_grid
from search import ConstantsSampler, search, suggest_constants
from search.executors.processes import Processes
from search.study import load_study
from search.trial import trials_of
from tests.objectives_for_tests import NOT_AN_OBJECTIVE, WITH_RUNGS

AXES = ("alpha", "beta", "gamma")


def hill(alpha: float, beta: float, gamma: float, seed: int) -> float:
    return INTERIOR.evaluate(ScalingConstants(alpha, beta, gamma), seed=seed).score


def is_near_the_top(record: SearchRecord) -> bool:
    return INTERIOR.top - INTERIOR.true_score(record.constants) < 0.01


def test_a_plain_function_is_searched() -> None:
    seen: list[tuple[float, ...]] = []

    def score(alpha: float, beta: float, gamma: float, seed: int) -> float:
        seen.append((alpha, beta, gamma, seed))
        return hill(alpha, beta, gamma, seed)

    record = search(score, trials=24, seed=2, seeds=2)
    assert is_near_the_top(record)
    assert record.constants.product() == pytest.approx(2, abs=1e-9)
    assert len(seen) == len(set(seen)) == 48
    assert {seed for *_, seed in seen} >= {2000, 2001}  # a point that is asked for again has seeds of its own
    assert {row.name for row in record.baselines} >= {"paper", "equal"}


def test_an_objective_of_optuna_is_searched() -> None:
    def objective(trial: optuna.Trial) -> float:
        constants = ScalingConstants(*(trial.suggest_float(name, 1, 2) for name in AXES))
        assert constants.product() == pytest.approx(2, abs=1e-9)
        return -INTERIOR.evaluate(constants, seed=trial.number).score

    record = search(objective, trials=24, direction="minimize")
    assert is_near_the_top(record)
    assert record.direction == "minimize"
    assert is_near_the_top(search(lambda trial: INTERIOR.true_score(suggest_constants(trial)), trials=20))


def test_objectives_and_what_makes_them_are_searched() -> None:
    class Mine(LandscapeObjective):
        def __init__(self) -> None:
            super().__init__(optimum=INTERIOR.optimum)

    for given in (INTERIOR, Mine, lambda: INTERIOR):
        assert search(given, trials=9, method="qmc").score_name == "score"
    record = search(WITH_RUNGS, trials=9, method="qmc", horizon_images=6000)
    assert record.length is not None
    assert record.length.images == 6000


def test_functions_give_evaluations_with_rungs_too() -> None:
    def score(alpha: float, beta: float, gamma: float) -> Evaluation:
        value = hill(alpha, beta, gamma, 0)
        return Evaluation(score=value, seconds=1.0, device="mine", rungs={100: value - 0.1, 200: value})

    record = search(score, trials=9)
    assert record.device == "mine"
    assert record.length is not None
    assert record.length.images == 200


@pytest.mark.slow
def test_a_lambda_is_evaluated_in_processes_as_it_is_here() -> None:
    settings: dict[str, Any] = {"trials": 12, "method": "qmc"}
    there = search(lambda alpha, beta, gamma, seed: hill(alpha, beta, gamma, seed), executor=Processes(2), **settings)
    here = search(hill, **settings)
    assert there.constants == here.constants
    assert there.best_observed == here.best_observed


def test_a_folder_keeps_the_study_and_the_same_call_resumes(tmp_path: Path) -> None:
    calls: list[int] = []

    def score(alpha: float, beta: float, gamma: float, seed: int) -> float:
        calls.append(seed)
        return hill(alpha, beta, gamma, seed)

    search(score, trials=6, folder=tmp_path / "s", study="mine")
    record = search(score, trials=10, folder=tmp_path / "s", study="mine")
    assert len(calls) == 10
    assert SearchRecord.load(tmp_path / "s" / "constants.json") == record
    assert len((tmp_path / "s" / "trials.csv").read_text().splitlines()) == 11
    assert len(load_study("mine", tmp_path / "s", None).trials) == 10
    with pytest.raises(StudyError, match=r"cannot be compared .* objective.of: .*score' before, .*hill' asked"):
        search(hill, trials=12, folder=tmp_path / "s", study="mine")


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    search(hill, trials=3)
    assert list(tmp_path.iterdir()) == []


def test_another_cost_model_is_searched_on_its_own_surface() -> None:
    def score(alpha: float, beta: float, gamma: float) -> float:
        assert gamma == 1
        assert alpha * beta**2 == pytest.approx(2)
        return alpha

    assert search(score, trials=12, cost_model=PARAMETERS).constants.gamma == 1


def two_needed(alpha: float, other: float) -> float:
    return alpha + other


class NoObjective:
    """Lacks what an objective has."""


EXPECTED = r"expected a function score\(alpha, beta, gamma, seed\), one of Optuna's objective\(trial\), or an objective"


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        (NOT_AN_OBJECTIVE, {}, EXPECTED + ".* got int"),
        (two_needed, {}, EXPECTED + ".* got two_needed"),
        (NoObjective, {}, EXPECTED + ".* got NoObjective"),
        (NoObjective(), {}, EXPECTED),
        (None, {}, EXPECTED + ".* got NoneType"),
        (
            lambda alpha, beta, gamma: "high",
            {},
            "objective to return a number or an Evaluation, got 'high'",
        ),
        (lambda alpha, beta, gamma: None, {}, "a number or an Evaluation, got None"),
        (hill, {"trials": 0}, "trials to be at least 1"),
        (hill, {"trials": "40"}, "trials to be a whole number, got '40'"),
        (hill, {"trial": 40}, "expected settings of baselines, .*, until_region, got trial"),
        (hill, {"folder": 3}, "folder to be a path, got 3"),
        (hill, {"folder": ""}, "folder to be a path, got ''"),
        (hill, {"study": 3}, "expected a study name of letters"),
        (hill, {"storage": 3}, "storage to be a non-empty text, got 3"),
        (hill, {"cost_model": "flops"}, "cost_model to be a CostModel, such as phiscale.FLOPS, got 'flops'"),
        (hill, {"executor": 4}, "expected an executor, such as .* got 4"),
        (hill, {"method": "annealing"}, "expected a method of"),
        (hill, {"direction": "up"}, "direction is maximize or minimize, got 'up'"),
        (hill, {"study": "../x"}, "expected a study name of letters"),
        (hill, {"horizon_images": 100}, "scores at rungs for a horizon"),
        (hill, {"storage": "sqlite://"}, "expected a storage that lasts"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(given: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((SettingsError, StudyError), match=message) as caught:
        search(given, **{"trials": 3, **settings})
    assert "\n" not in str(caught.value)


def test_a_mistake_of_the_function_names_trial_and_constants() -> None:
    def score(alpha: float, beta: float, gamma: float) -> float:
        return 1 / (alpha - alpha)

    with pytest.raises(StudyError, match=r"trial 0 \(alpha .*, seed 0\): .* raised ZeroDivisionError.* in score"):
        search(score, trials=3)


def told(*trials: tuple[ScalingConstants, float], **attributes: Any) -> optuna.Study:
    """A study of a person's own, with these constants and values, and these attributes at every trial."""
    study = optuna.create_study(direction="maximize")
    for constants, value in trials:
        study.enqueue_trial(dict(zip(AXES, constants.as_tuple(), strict=True)))
        trial = study.ask()
        for name in AXES:
            trial.suggest_float(name, 0.1, 9)
        for name, given in attributes.items():
            trial.set_user_attr(name, given)
        study.tell(trial, value)
    return study


POINTS = [constants_from_shares(point) for point in lattice(4, FLOPS)]
SCORED = [(point, INTERIOR.true_score(point)) for point in POINTS]


def test_recommend_takes_any_study_of_alpha_beta_and_gamma() -> None:
    found = package.recommend(told(*SCORED))
    assert found.constants.product() == pytest.approx(2)
    assert found.shares.as_tuple() == pytest.approx(INTERIOR.optimum.as_tuple(), abs=0.1)
    assert not [note for note in found.notes if "left out" in note]
    with pytest.raises(StudyError, match="at least one finished trial"):
        package.recommend(optuna.create_study())
    with pytest.raises(SettingsError, match="expected study to be a study of Optuna, got 42"):
        package.recommend(42)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "odd",
    [
        (ScalingConstants(2, 2, 2), 99.0),  # 32 times the cost
        (ScalingConstants(0.5, 2, 1), 99.0),  # shrinks an axis
        (ScalingConstants(1.1, 1.1, 1.1), 99.0),
        (POINTS[3], math.inf),
        (POINTS[3], 1e308),
    ],
)
def test_trials_off_the_surface_or_without_a_finite_value_are_left_out_and_counted(odd: Any) -> None:
    found = package.recommend(told(*SCORED[:3], odd, *SCORED[4:], odd))
    assert found.best_observed.score <= INTERIOR.top
    assert found.shares.as_tuple() == pytest.approx(INTERIOR.optimum.as_tuple(), abs=0.1)
    assert found.notes[-1].startswith("2 of 16 finished trials left out")
    with pytest.raises(StudyError, match="expected trials to recommend from, got 1 finished ones: they lack"):
        package.recommend(told(odd))


def test_attributes_of_a_person_s_own_study_are_the_person_s() -> None:
    odd = {"scores": [99], "fingerprint": "one", "constants": [9, 9, 9], "rungs": [1.5], "names": 7, "seeds": None}
    odd |= {"curves": "many", "realised": {"x": 1}, "failure": "none", "spread": "wide", "repeats": "yes"}
    study = told(*SCORED, **odd)
    study.set_user_attr("settings", {"cost_model": "mine"})
    assert package.recommend(study) == package.recommend(told(*SCORED))
    plain = told(*SCORED)
    for each in (study, plain):
        each.sampler = ConstantsSampler()
        each.optimize(lambda trial: INTERIOR.true_score(suggest_constants(trial)), n_trials=1)
    assert study.trials[-1].params == plain.trials[-1].params


def test_the_cost_model_of_a_study_is_known_and_another_one_refused() -> None:
    study = optuna.create_study(direction="maximize", sampler=ConstantsSampler(PARAMETERS))
    study.optimize(lambda trial: suggest_constants(trial, PARAMETERS).alpha, n_trials=9)
    assert package.recommend(study).constants == package.recommend(study, PARAMETERS).constants
    assert package.recommend(study).constants.gamma == 1
    with pytest.raises(SettingsError, match=r"alpha \* beta\*\*2 = 2 \(params\), got alpha .* \(macs\); leave it out"):
        package.recommend(study, FLOPS)
    study.sampler = ConstantsSampler(FLOPS)
    with pytest.raises(SettingsError, match="expected the cost model of the study"):
        study.ask()


def test_two_studies_never_share_a_folder(tmp_path: Path) -> None:
    search(hill, trials=3, folder=tmp_path, study="one")
    before = (tmp_path / "constants.json").read_bytes()
    for storage in (None, f"sqlite:///{tmp_path}/other.db"):
        with pytest.raises(StudyError, match="holds the study 'one', whose results 'two' would overwrite"):
            search(hill, trials=3, folder=tmp_path, study="two", storage=storage)
    assert (tmp_path / "constants.json").read_bytes() == before


def test_a_folder_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    search(hill, trials=1, folder="~/mine")
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_trials_that_were_enqueued_before_the_search_are_measured(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db", study_name="search", direction="maximize")
    study.enqueue_trial({"alpha": 1.3})
    search(hill, trials=2, folder=tmp_path)
    assert study.trials[0].params["alpha"] == 1.3
    assert study.trials[0].state.name == "COMPLETE"


def test_the_verbosity_of_optuna_stays_as_it_was() -> None:
    before = optuna.logging.get_verbosity()
    try:
        optuna.logging.set_verbosity(optuna.logging.DEBUG)
        search(hill, trials=1)
        with pytest.raises(SettingsError):
            search(hill, trials=1, method="tpe", cost_model=CostModel(1, 0, 0))
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


def test_errors_name_arguments_where_commands_have_options(tmp_path: Path) -> None:
    search(hill, trials=1, folder=tmp_path)
    with pytest.raises(StudyError, match="use the earlier settings, or another study$"):
        search(INTERIOR, trials=2, folder=tmp_path)
    study = load_study("search", tmp_path, None)
    study.set_user_attr("driver", {"host": "another-machine", "process": 1})
    with pytest.raises(StudyError, match="run this again with take_over=True$"):
        search(hill, trials=2, folder=tmp_path)
    assert search(hill, trials=2, folder=tmp_path, take_over=True).budget["trials"]["complete"] == 2


def test_a_point_of_the_grid_reaches_an_objective_of_optuna_as_it_is(tmp_path: Path) -> None:
    seen = set()

    def objective(trial: optuna.Trial) -> float:
        seen.add(suggest_constants(trial).as_tuple())
        return 1.0

    search(objective, method="grid", step=0.2, tolerance=0.3, baselines="none", folder=tmp_path)
    assert seen == {point.as_tuple() for point in paper_grid(0.2, 0.3, FLOPS)}
    assert max(alpha for alpha, *_ in seen) > 2  # beyond the range of the parameter
    stored = trials_of(load_study("search", tmp_path, None).trials, FLOPS)
    assert {trial.constants.as_tuple() for trial in stored} == seen


def test_the_names_of_the_package_are_few_and_cost_nothing_until_used() -> None:
    names = ["ConstantsSampler", "SearchSettings", "recommend", "search", "suggest_constants"]
    assert sorted(package.__all__) == names
    assert all(getattr(package, name) for name in names)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018
    code = "import search, sys; print([name for name in ('optuna', 'scipy', 'torch', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
