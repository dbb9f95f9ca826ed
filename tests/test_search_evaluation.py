"""What an objective says and returns, checked."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objectives.contract import Evaluation
from phiscale import SettingsError, TrialError
from search.evaluation import checked
from tests.objectives_for_tests import NetworkObjective
from tests.search_for_tests import complete, run


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
        ({"describe": {"x": [float("nan")]}}, r"describe\(\) to return JSON values"),
        ({"describe": {"network": "mine"}}, "'network' in the objective's .* a dictionary, got 'mine'"),
        ({"describe": {"phi": "big"}}, "'phi' in the objective's .* a number, got 'big'"),
        ({"describe": {"phi": True}}, "'phi' in the objective's .* a number, got True"),
        *(
            ({"describe": {"phi": phi}}, "'phi' in the objective's .* other than 0 between -20 and 20, got")
            for phi in (0, 1e9)
        ),
        ({"describe": {"score": 3}}, "'score' in the objective's .* a text, got 3"),
        ({"network": 5}, r"network\(\) to return a ScaledNetwork, a CountedNetwork or None, got 5"),
        ({"evaluate": lambda evaluation: evaluation.score}, r"evaluate\(\) to return an Evaluation"),
        ({"evaluate": lambda evaluation: dataclasses.replace(evaluation, score="high")}, "whose scores are numbers"),
    ],
)
def test_an_objective_that_breaks_the_contract_is_told_what_was_expected(tmp_path: Path, broken, message) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        run(tmp_path, Odd(**broken), trials=3)
    assert "\n" not in str(caught.value)


def test_scores_of_numpy_are_numbers(tmp_path: Path) -> None:
    def as_numpy(evaluation: Evaluation) -> Evaluation:
        curves = {"landscape": np.array([0.5, 0.6], dtype=np.float32)}
        return dataclasses.replace(evaluation, score=np.float32(evaluation.score), curves=curves)

    study, _ = run(tmp_path, Odd(evaluate=as_numpy), trials=3)
    assert len(complete(study)) == 3


@pytest.mark.parametrize("bad", ["0.5", b"", True, np.bool_(True), None, [0.5], 1j])
def test_only_numbers_are_scores_wherever_they_stand(bad: Any) -> None:
    good = Evaluation(score=0.5, seconds=1.0, device="cpu", rungs={100: 0.4, 200: 0.5})
    for odd in ({"score": bad}, {"rungs": {100: bad, 200: 0.5}}):
        with pytest.raises(SettingsError, match="whose scores are numbers, at rungs of whole numbers"):
            checked(dataclasses.replace(good, **odd), None)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e51, -1e308])
def test_a_score_whose_square_is_no_number_has_diverged(bad: float) -> None:
    good = Evaluation(score=0.5, seconds=1.0, device="cpu", rungs={100: 0.4, 200: 0.5})
    for odd in ({"score": bad}, {"rungs": {100: bad, 200: 0.5}}):
        with pytest.raises(TrialError, match="expected a (finite )?score") as caught:
            checked(dataclasses.replace(good, **odd), None)
        assert caught.value.kind == "diverged"


@pytest.mark.parametrize(
    ("name", "bad", "said"),
    [
        ("accuracy", 69.04, "expected an accuracy of 0 to 1, got 69.04; print 0.6904, or name the score otherwise"),
        ("accuracy", -0.1, "expected an accuracy of 0 to 1, got -0.1; name the score otherwise"),
        ("log_loss", -0.5, "expected a log_loss of 0 or more, got -0.5; name the score otherwise"),
    ],
)
def test_a_score_that_its_name_rules_out_is_none(name: str, bad: float, said: str) -> None:
    good = Evaluation(score=0.5, seconds=1.0, device="cpu", rungs={100: 0.0, 200: 0.5})
    assert checked(good, None, name).score == 0.5
    assert checked(dataclasses.replace(good, score=1 + 2e-16, rungs={}), None, name).score > 0.5
    assert checked(dataclasses.replace(good, score=bad, rungs={}), None, "score").score == bad
    for odd in ({"score": bad}, {"rungs": {100: bad, 200: 0.5}}):
        with pytest.raises(TrialError, match=re.escape(said)) as caught:
            checked(dataclasses.replace(good, **odd), None, name)
        assert caught.value.kind == "output"


@pytest.mark.parametrize("length", [1.5, math.inf, math.nan, "100", True, 0, -5])
def test_only_whole_numbers_are_rungs(length: Any) -> None:
    with pytest.raises(SettingsError, match="at rungs of whole numbers above 0"):
        checked(Evaluation(score=0.5, seconds=1.0, device="cpu", rungs={length: 0.5}), None)


def test_an_evaluation_is_taken_in_plain_numbers() -> None:
    network = Evaluation(
        score=np.float32(0.5), seconds=np.float64(2), device="cpu", peak_memory=np.int64(7), rungs={np.int64(9): 0.5}
    )
    found = checked(network, [9])
    assert json.loads(json.dumps([found.score, found.seconds, found.peak_memory, dict(found.rungs)])) == [
        0.5,
        2,
        7,
        {"9": 0.5},
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"device": None},
        {"seconds": None},
        {"peak_memory": None},
        {"curves": {"x": 3}},
        *({"seconds": bad} for bad in (math.inf, math.nan, -1, "1", True)),
        *({"peak_memory": bad} for bad in (math.inf, math.nan, -1, "1")),
        {"curves": {"x": ["1"]}},
    ],
)
def test_what_comes_with_the_score_is_checked_at_the_first_trial(tmp_path: Path, odd: dict[str, Any]) -> None:
    """It failed only when all trials were done (the list of faults, F)."""
    objective = Odd(evaluate=lambda evaluation: dataclasses.replace(evaluation, **odd))
    with pytest.raises(SettingsError, match=f"expected evaluate.*{next(iter(odd))}") as caught:
        run(tmp_path, objective, trials=3)
    assert "\n" not in str(caught.value)
    assert objective.calls == 1


def test_a_network_that_cannot_be_made_fails_its_trial_with_the_reason(tmp_path: Path) -> None:
    class Breaks(NetworkObjective):
        def network(self, constants: Any) -> Any:
            if constants.gamma > 1.2:
                raise ZeroDivisionError("no pixels")
            return super().network(constants)

    study, _ = run(tmp_path, Breaks(), trials=9)
    failed = [trial.user_attrs for trial in study.trials if trial.state.name == "FAIL"]
    assert len(study.trials) == 9 > len(failed) > 0
    assert {trial["failure_kind"] for trial in failed} == {"network"}
    assert {trial["failure"] for trial in failed} == {"the objective's network() raised ZeroDivisionError: no pixels"}


def test_a_description_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    class Breaks(NetworkObjective):
        def describe(self) -> Any:
            raise KeyError("data")

    with pytest.raises(SettingsError, match=r"^the objective's describe\(\) raised KeyError: 'data'$"):
        run(tmp_path, Breaks(), trials=1)
