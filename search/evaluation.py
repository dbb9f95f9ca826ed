"""Checks of what an objective returns: its description, and the scores of one evaluation."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objectives.contract import AnyNetwork, Evaluation, Objective
from phiscale import checks
from phiscale.errors import PhiscaleError, SettingsError, TrialError, one_line
from phiscale.spec import NetworkSpec
from phiscale.triangle import CostModel, ScalingConstants
from search.trial import LARGEST_SCORE, POSSIBLE, Result

_KINDS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("network", "data", "train"), (Mapping, "a dictionary")),
    "score": (str, "a text"),
}
"""What an objective's description must hold under the names that go into the record."""
_ROUNDING = 1e-6
"""How far the rounding errors of a mean may take a score beyond what is possible."""


def described(objective: Objective) -> dict[str, Any]:
    """The objective's description as JSON values. Raises ``SettingsError`` where it is not one, ``SpecError``."""
    try:
        said = objective.describe()
    except PhiscaleError:
        raise
    except Exception as error:
        raise SettingsError(f"the objective's describe() raised {one_line(error)}") from error
    try:
        plain = json.loads(json.dumps(said, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SettingsError(f"expected the objective's describe() to return JSON values: {error}") from None
    if not isinstance(plain, dict):
        raise SettingsError(f"expected the objective's describe() to return a dictionary, got {said!r}")
    for name, (kind, what) in _KINDS.items():
        if plain.get(name) is not None and not isinstance(plain[name], kind):
            raise SettingsError(f"expected {name!r} in the objective's describe() to be {what}, got {plain[name]!r}")
    if plain.get("phi") is not None:
        checks.phi("'phi' in the objective's describe() to be a number", plain["phi"], SettingsError)
    rungs = plain.get("rungs", [])
    if not isinstance(rungs, list) or any(type(length) is not int or length < 1 for length in rungs):
        raise SettingsError(f"expected 'rungs' in the objective's describe() to be lengths above 0, got {rungs!r}")
    if rungs != sorted(set(rungs)):
        raise SettingsError(f"expected 'rungs' in the objective's describe() in rising order, got {rungs!r}")
    if plain.get("network"):
        NetworkSpec.from_dict(plain["network"])
    return plain


def network_at(objective: Objective, constants: ScalingConstants) -> AnyNetwork | None:
    """The objective's network. Raises ``SettingsError`` where it returns something else.

    Other exceptions of a user's code become ``TrialError``: there is no such network, as with ``BudgetError``.
    """
    try:
        network = objective.network(constants)
    except PhiscaleError:
        raise
    except (Exception, SystemExit) as error:
        raise TrialError("network", f"the objective's network() raised {one_line(error)}") from error
    if network is not None and not isinstance(network, AnyNetwork):
        raise SettingsError(
            f"expected the objective's network() to return a ScaledNetwork, a CountedNetwork or None, got {network!r}"
        )
    return network


def target_growth(plain: Mapping[str, Any], cost_model: CostModel) -> float:
    """The growth of cost of an objective's networks, from its description: ``target ** phi``, with phi 1 if none is
    given.
    """
    phi = plain.get("phi")
    return float(cost_model.target ** (1.0 if phi is None else phi))


@dataclass(frozen=True)
class Evaluate:
    """The work of a search: one evaluation of an objective."""

    objective: Objective

    def __call__(self, constants: ScalingConstants, seed: int) -> Evaluation:
        """See ``Objective.evaluate``."""
        return self.objective.evaluate(constants, seed=seed)

    def memory(self) -> tuple[str, int, int]:
        """Name, total bytes and free bytes of the device on which the objective evaluates, if it tells them."""
        say = getattr(self.objective, "memory", None)
        return say() if say else ("", 0, 0)


def checked(evaluation: Any, lengths: Sequence[int] | None, score_name: str = "score") -> Evaluation:
    """The evaluation in plain numbers, if its rungs are the ``lengths`` of the study (None: not known yet).

    Raises ``TrialError`` for a score that is not finite, beyond ``LARGEST_SCORE`` or impossible by its name,
    ``SettingsError`` for anything else that is wrong.
    """
    try:
        rungs = {
            checks.whole("a rung", checks.plain(n), SettingsError): _number(v) for n, v in evaluation.rungs.items()
        }
        score = _number(evaluation.score)
    except (AttributeError, TypeError, ValueError):
        raise SettingsError(
            "expected evaluate() to return an Evaluation whose scores are numbers, at rungs of whole numbers above 0, "
            f"got {evaluation!r}"
        ) from None
    for name, value in [("score", score), *((f"score at {length} images", value) for length, value in rungs.items())]:
        if not math.isfinite(value):
            raise TrialError("diverged", f"expected a finite {name}, got {value!r}")
        if abs(value) > LARGEST_SCORE:
            raise TrialError("diverged", f"expected a {name} of at most {LARGEST_SCORE:g}, got {value!r}")
        _check_possible(score_name, value)
    _check_rungs(rungs, score, lengths)
    return _with_rest(evaluation, score, rungs)


def _check_possible(score_name: str, value: float) -> None:
    """Raise ``TrialError`` for a score that its name rules out, such as an accuracy in per cent."""
    least, most = POSSIBLE.get(score_name, (-math.inf, math.inf))
    if not least - _ROUNDING <= value <= most + _ROUNDING:
        possible = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
        instead = f"print {value / 100:.6g}, or name" if most < value <= 100 * most else "name"
        raise TrialError(
            "output",
            f"expected {'an' if score_name == 'accuracy' else 'a'} {score_name} of {possible}, got {value!r}; "
            f"{instead} the score otherwise (--command-score, describe())",
        )


def _number(value: Any) -> float:
    return checks.number("a value", checks.plain(value), SettingsError)


def _with_rest(evaluation: Any, score: float, rungs: Mapping[int, float]) -> Evaluation:
    """The evaluation with its other fields as plain values. Raises ``SettingsError`` if they cannot be stored."""
    try:
        seconds = checks.real("seconds", checks.plain(evaluation.seconds), SettingsError)
        memory = checks.real("peak_memory", checks.plain(evaluation.peak_memory), SettingsError)
        curves = {str(name): tuple(map(_number, values)) for name, values in evaluation.curves.items()}
    except (AttributeError, TypeError, ValueError):
        seconds = memory = -1.0
    if min(seconds, memory) < 0 or not isinstance(evaluation.device, str):
        raise SettingsError(
            "expected evaluate() to return an Evaluation whose device is a text, whose seconds and peak_memory are "
            f"finite numbers of 0 or more, and whose curves are lists of numbers, got device={evaluation.device!r}, "
            f"seconds={evaluation.seconds!r}, peak_memory={evaluation.peak_memory!r}, curves={evaluation.curves!r}"
        )
    return Evaluation(
        score=score,
        seconds=seconds,
        device=evaluation.device,
        peak_memory=int(memory),
        network=evaluation.network,
        rungs=rungs,
        curves=curves,
    )


def _check_rungs(scores: Mapping[int, float], score: float, lengths: Sequence[int] | None) -> None:
    """Raise ``SettingsError`` where the rungs of an evaluation are not those of the study, or not in order."""
    found = list(scores)
    if found != sorted(found):
        raise SettingsError(f"expected rungs in rising order of images seen, got {found}; sort them")
    if lengths is not None and found != list(lengths):
        raise SettingsError(
            f"expected scores at the rungs {lengths} that all trials of the study share, got {found or 'none'}; "
            "return the same rungs for every evaluation"
        )
    if found and scores[found[-1]] != score:
        raise SettingsError(
            f"expected the score to be that of the longest rung, {scores[found[-1]]!r}, got {score!r}; return that one"
        )


def as_result(evaluations: Sequence[Evaluation]) -> Result:
    """The evaluations of one trial that ``checked`` gave, one for each seed."""
    return Result(
        scores=tuple(evaluation.score for evaluation in evaluations),
        rungs=tuple(evaluations[0].rungs),
        rung_scores=tuple(tuple(evaluation.rungs.values()) for evaluation in evaluations),
        seconds=math.fsum(evaluation.seconds for evaluation in evaluations),
        device=evaluations[0].device,
        peak_memory=max(evaluation.peak_memory for evaluation in evaluations),
        curves=tuple(evaluation.curves for evaluation in evaluations),
    )


def mean_scores(result: Result) -> tuple[float, dict[int, float]]:
    """Means over the seeds: the score, and the score at each rung by its length."""
    by_rung = zip(result.rungs, zip(*result.rung_scores, strict=True), strict=True) if result.rungs else ()
    return statistics.fmean(result.scores), {length: statistics.fmean(scores) for length, scores in by_rung}
