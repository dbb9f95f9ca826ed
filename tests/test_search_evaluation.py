"""What an objective says and returns, checked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objectives.contract import Evaluation
from phiscale import SettingsError
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
        ({"describe": {"network": "mine"}}, "'network' in the objective's .* a dictionary, got 'mine'"),
        ({"describe": {"phi": "big"}}, "'phi' in the objective's .* a number, got 'big'"),
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


@pytest.mark.parametrize("odd", [{"device": None}, {"seconds": None}, {"peak_memory": None}, {"curves": {"x": 3}}])
def test_what_stands_beside_the_score_is_checked_at_the_first_trial(tmp_path: Path, odd: dict[str, Any]) -> None:
    """It failed only when all trials were done (the list of faults, F)."""
    objective = Odd(evaluate=lambda evaluation: dataclasses.replace(evaluation, **odd))
    with pytest.raises(SettingsError, match=f"expected evaluate.*{next(iter(odd))}") as caught:
        run(tmp_path, objective, trials=3)
    assert "\n" not in str(caught.value)
    assert objective.calls == 1
