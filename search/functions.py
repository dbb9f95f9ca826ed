"""A person's own function as an objective: ``score(alpha, beta, gamma, seed)``, or ``objective(trial)`` of Optuna."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from objectives.contract import AnyNetwork, Evaluation, Objective
from phiscale.errors import SettingsError
from phiscale.triangle import CostModel, ScalingConstants
from search.trial import PARAMETERS, parameters_of


@dataclass(frozen=True)
class FunctionObjective:
    """Scores constants by a function of the person's own, which returns a number or an ``Evaluation``."""

    function: Callable[..., Any]
    cost_model: CostModel
    direction: str = "maximize"

    def describe(self) -> dict[str, object]:
        """The name of the function: two functions of one name count as comparable."""
        module, name = (getattr(self.function, key, "") for key in ("__module__", "__qualname__"))
        return {"objective": f"{module}:{name}"}

    def network(self, constants: ScalingConstants) -> AnyNetwork | None:  # noqa: ARG002 - the contract
        """None: the function alone knows what it trains."""
        return None

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        """Call the function once. Raises ``SettingsError`` where it returns something else."""
        started = time.perf_counter()
        given = self._call(constants, seed)
        if isinstance(given, Evaluation):
            return given
        try:
            score = float(given)
        except (TypeError, ValueError):
            raise SettingsError(f"expected the objective to return a number or an Evaluation, got {given!r}") from None
        return Evaluation(score=score, seconds=time.perf_counter() - started, device="unknown")

    def _call(self, constants: ScalingConstants, seed: int) -> Any:
        if _takes_trial(self.function):
            import optuna

            return self.function(optuna.trial.FixedTrial(parameters_of(constants, self.cost_model)))
        named = dict(zip(PARAMETERS, constants.as_tuple(), strict=True))
        taken = inspect.signature(self.function).parameters
        return self.function(**named, **({"seed": seed} if _takes_seed(taken) else {}))


def as_objective(given: Any, cost_model: CostModel, direction: str = "maximize") -> Objective:
    """An objective from what a person gave: one, a class or function that makes one, or a function that scores.

    ``direction`` is that of a function that scores. Raises ``SettingsError`` for anything else.
    """
    if isinstance(given, Objective) and not isinstance(given, type):
        return given
    if callable(given) and not isinstance(given, type) and (_takes_constants(given) or _takes_trial(given)):
        return FunctionObjective(given, cost_model, direction)
    made = given() if callable(given) and _takes_nothing(given) else given
    if not isinstance(made, Objective):
        raise SettingsError(
            "expected a function score(alpha, beta, gamma, seed), one of Optuna's objective(trial), or an objective "
            f"with direction, describe, network and evaluate (objectives/contract.py), got {_name(given)}"
        )
    return made


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def _needed(function: Any) -> list[str]:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in _parameters(function) if p.default is p.empty and p.kind not in variable]


def _takes_constants(function: Any) -> bool:
    return {*PARAMETERS} <= {p.name for p in _parameters(function)} and {*_needed(function)} <= {*PARAMETERS, "seed"}


def _takes_trial(function: Any) -> bool:
    return len(_needed(function)) == 1 and not _takes_constants(function)


def _takes_nothing(function: Any) -> bool:
    return not _needed(function)


def _takes_seed(taken: Mapping[str, inspect.Parameter]) -> bool:
    return "seed" in taken or any(p.kind is p.VAR_KEYWORD for p in taken.values())


def _name(given: Any) -> str:
    return getattr(given, "__qualname__", None) or type(given).__name__
