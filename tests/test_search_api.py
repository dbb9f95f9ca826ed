"""The search from a script or a notebook."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

import search as package
from objectives.contract import Evaluation
from objectives.landscape import INTERIOR, LandscapeObjective
from phiscale import FLOPS, PARAMETERS, ScalingConstants, SearchRecord, SettingsError, StudyError
from search import search, suggest_constants
from search.executors.processes import Processes
from search.study import load_study
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
    assert {seed for *_, seed in seen} == {2000, 2001}
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
    with pytest.raises(StudyError, match=r"cannot be compared .* objective: .*score.* before, .*hill.* asked"):
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
        (hill, {"trials": 0}, "trials to be a whole number"),
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


def test_recommend_takes_any_study_of_alpha_beta_and_gamma() -> None:
    study = optuna.create_study(direction="maximize")  # of a sampler that knows no surface
    study.optimize(lambda t: INTERIOR.true_score(ScalingConstants(*(t.suggest_float(n, 1, 2) for n in AXES))), 40)
    found = package.recommend(study)
    assert found.constants.product() == pytest.approx(2)
    assert found.shares.as_tuple() == pytest.approx(INTERIOR.optimum.as_tuple(), abs=0.1)
    with pytest.raises(StudyError, match="at least one finished trial"):
        package.recommend(optuna.create_study())


def test_the_names_of_the_package_are_few_and_cost_nothing_until_used() -> None:
    names = ["ConstantsSampler", "SearchSettings", "recommend", "search", "suggest_constants"]
    assert sorted(package.__all__) == names
    assert all(getattr(package, name) for name in names)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018
    code = (
        "import search, sys; print([name for name in ('optuna', 'sklearn', 'torch', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_described_function_is_that_of_its_name() -> None:
    from search.functions import as_objective

    assert as_objective(hill, FLOPS).describe() == {"objective": f"{__name__}:hill"}
    assert as_objective(INTERIOR, FLOPS) is INTERIOR
    assert dataclasses.is_dataclass(as_objective(hill, FLOPS))
