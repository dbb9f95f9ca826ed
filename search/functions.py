"""A user's own function as an objective: ``score(alpha, beta, gamma, seed)``, or ``objective(trial)`` of Optuna."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from objectives.contract import AnyNetwork, Evaluation, Objective
from phiscale import checks
from phiscale.errors import PhiscaleError, SettingsError, one_line
from phiscale.triangle import CostModel, ScalingConstants
from search.identity import identity
from search.trial import PARAMETERS

_GIVEN = (*PARAMETERS, "seed")
_EXPECTED = (
    "expected a function score(alpha, beta, gamma, seed), one of Optuna's objective(trial), or an objective with "
    "direction, describe, network and evaluate (objectives/contract.py)"
)


@dataclass(frozen=True)
class FunctionObjective:
    """Scores constants by a user's own function, which returns a number or an ``Evaluation``."""

    function: Callable[..., Any]
    cost_model: CostModel
    direction: str = "maximize"

    def describe(self) -> dict[str, object]:
        """What identifies the function, see ``search.identity``."""
        return {"objective": identity(self.function)}

    def network(self, constants: ScalingConstants) -> AnyNetwork | None:  # noqa: ARG002 - the contract
        """None: only the function knows what it trains."""
        return None

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        """Call the function once. Raises ``SettingsError`` where it returns something else."""
        started = time.perf_counter()
        given = self._call(constants, seed)
        if isinstance(given, Evaluation):
            return given
        try:
            score = checks.number("the score", checks.plain(given), SettingsError)
        except SettingsError:
            raise SettingsError(f"expected the objective to return a number or an Evaluation, got {given!r}") from None
        return Evaluation(score=score, seconds=time.perf_counter() - started, device="unknown")

    def _call(self, constants: ScalingConstants, seed: int) -> Any:
        if not _takes_constants(self.function):
            return self._call_with_trial(constants)
        named = dict(zip(_GIVEN, (*constants.as_tuple(), seed), strict=True))
        parameters = _parameters(self.function)
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        names = {p.name for p in parameters}
        return self.function(**{name: value for name, value in named.items() if takes_all or name in names})

    def _call_with_trial(self, constants: ScalingConstants) -> Any:
        import optuna

        from search.optuna_trial import ConstantsTrial, check_suggested, pruned_error

        trial = ConstantsTrial(constants, self.cost_model)
        try:
            given = self.function(trial)
        except optuna.TrialPruned:
            raise pruned_error() from None
        except (AttributeError, TypeError) as error:
            if trial.params:
                raise
            raise SettingsError(
                f"{_EXPECTED}, got {_shown(self.function)}, which raised {one_line(error)} for a trial of Optuna"
            ) from error
        check_suggested(trial.params)
        return given


def as_objective(given: Any, cost_model: CostModel, direction: str = "maximize") -> Objective:
    """An objective from what the user gave: an objective, a class or function that makes one, or a function that
    scores. A function that makes one has no parameters at all. ``direction`` belongs to a function that scores. Raises
    ``SettingsError`` for anything else.
    """
    if _is_objective(given):
        return given  # type: ignore[no-any-return]
    if callable(given) and not isinstance(given, type):
        _refuse_what_gives_no_score(given)
        if _takes_constants(given) or _takes_trial(given):
            return FunctionObjective(given, cost_model, direction)
    made = _made(given) if _makes(given) else given
    if not _is_objective(made):
        raise SettingsError(f"{_EXPECTED}, got {_shown(given)}")
    return made  # type: ignore[no-any-return]


def _is_objective(thing: Any) -> bool:
    try:
        return isinstance(thing, Objective) and not isinstance(thing, type) and hasattr(thing, "direction")
    except Exception as error:
        raise SettingsError(f"{_shown(thing)}, asked for its direction, raised {one_line(error)}") from error


def _refuse_what_gives_no_score(function: Any) -> None:
    """Raise ``SettingsError`` for functions that return no score when they are called, or fix what is searched."""
    inner, fixed = function, set[str]()
    while isinstance(inner, functools.partial):
        fixed |= inner.keywords.keys() & set(_GIVEN)
        inner = inner.func
    if fixed:
        raise SettingsError(
            f"expected a function whose {', '.join(_GIVEN)} are left to the search, got a partial that fixes "
            f"{', '.join(sorted(fixed))}; leave that out of the partial"
        )
    called = inner if inspect.isroutine(inner) else type(inner).__call__
    kinds = {
        "an async function": inspect.iscoroutinefunction,
        "an async generator": inspect.isasyncgenfunction,
        "a generator": inspect.isgeneratorfunction,
    }
    for kind, is_it in kinds.items():
        if is_it(called):
            raise SettingsError(f"expected a function that returns a score, got {kind}, {_shown(function)}")


def _makes(given: Any) -> bool:
    """Whether it is a class whose objects can be objectives, or a function, that can be called without arguments."""
    if isinstance(given, type):
        return not _needed(given) and all(hasattr(given, name) for name in ("describe", "network", "evaluate"))
    return inspect.isroutine(given) and not inspect.isbuiltin(given) and not _parameters(given)


def _made(given: Any) -> Any:
    try:
        return given()
    except PhiscaleError:
        raise
    except Exception as error:
        raise SettingsError(f"{_shown(given)}, called for an objective, raised {one_line(error)}") from error


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def _needed(function: Any) -> list[str]:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in _parameters(function) if p.default is p.empty and p.kind not in variable]


def _takes_constants(function: Any) -> bool:
    """Whether it can be called with alpha, beta and gamma by name, and needs at most a seed in addition."""
    named = {p.name for p in _parameters(function) if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {*PARAMETERS} <= named and {*_needed(function)} <= {*_GIVEN} & named


def _takes_trial(function: Any) -> bool:
    """Whether it can be called with one argument that is not one of the constants; a function of C takes no trial."""
    needed = _needed(function)
    first = next((p for p in _parameters(function) if p.name in needed), None)
    by_place = first is not None and first.kind is not first.KEYWORD_ONLY
    return by_place and len(needed) == 1 and not {*needed} & {*_GIVEN} and not inspect.isbuiltin(function)


def _shown(given: Any) -> str:
    """The name of an object, with its parameters if it has any, so that the user finds the mistake."""
    name = getattr(given, "__qualname__", None) or type(given).__name__
    try:
        return f"{name}{inspect.signature(given)}" if inspect.isroutine(given) else str(name)
    except (TypeError, ValueError):
        return str(name)
