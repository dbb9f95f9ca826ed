"""What an objective says and returns, checked: its description, and the scores of one evaluation."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objectives.contract import AnyNetwork, Evaluation, Objective
from phiscale.errors import SettingsError, TrialError
from phiscale.spec import NetworkSpec
from phiscale.triangle import CostModel, ScalingConstants
from search.trial import Result

_KINDS: dict[str, Any] = {"network": Mapping, "data": Mapping, "train": Mapping, "phi": (int, float)}
"""What an objective's description must hold under the names that go into the record."""


def described(objective: Objective) -> dict[str, Any]:
    """The objective's description as JSON values. Raises ``SettingsError`` where it is not one, ``SpecError``."""
    said = objective.describe()
    try:
        plain = json.loads(json.dumps(said))
    except (TypeError, ValueError) as error:
        raise SettingsError(f"expected the objective's describe() to return JSON values: {error}") from None
    if not isinstance(plain, dict):
        raise SettingsError(f"expected the objective's describe() to return a dictionary, got {said!r}")
    for name, kind in _KINDS.items():
        if plain.get(name) is not None and not isinstance(plain[name], kind):
            what = "a dictionary" if kind is Mapping else "a number"
            raise SettingsError(f"expected {name!r} in the objective's describe() to be {what}, got {plain[name]!r}")
    rungs = plain.get("rungs", [])
    if not isinstance(rungs, list) or any(type(length) is not int or length < 1 for length in rungs):
        raise SettingsError(f"expected 'rungs' in the objective's describe() to be lengths above 0, got {rungs!r}")
    if rungs != sorted(set(rungs)):
        raise SettingsError(f"expected 'rungs' in the objective's describe() in rising order, got {rungs!r}")
    if plain.get("network"):
        NetworkSpec.from_dict(plain["network"])
    return plain


def network_at(objective: Objective, constants: ScalingConstants) -> AnyNetwork | None:
    """The objective's network. Raises ``SettingsError`` where it returns something else."""
    network = objective.network(constants)
    if network is not None and not isinstance(network, AnyNetwork):
        raise SettingsError(
            f"expected the objective's network() to return a ScaledNetwork, a CountedNetwork or None, got {network!r}"
        )
    return network


def target_growth(plain: Mapping[str, Any], cost_model: CostModel) -> float:
    """The growth of cost that an objective's networks are held to, from what ``described`` gave of it.

    ``target ** phi``; phi is 1 where it has none.
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
        """Of the device on which the objective evaluates, where it says so: name, bytes in all, bytes free."""
        say = getattr(self.objective, "memory", None)
        return say() if say else ("", 0, 0)


def checked(evaluation: Any, lengths: Sequence[int] | None) -> Evaluation:
    """The evaluation, if it is one and its rungs are the ``lengths`` of the study (None: not known yet).

    Raises ``TrialError`` for a score that is not finite, ``SettingsError`` for anything that is not as it should be.
    """
    try:
        scores = {int(length): float(score) for length, score in evaluation.rungs.items()}
        score = float(evaluation.score)
    except (AttributeError, TypeError, ValueError):
        message = f"expected evaluate() to return an Evaluation whose scores are numbers, got {evaluation!r}"
        raise SettingsError(message) from None
    for name, value in [("score", score), *((f"score at {length} images", value) for length, value in scores.items())]:
        if not math.isfinite(value):
            raise TrialError("diverged", f"expected a finite {name}, got {value!r}")
    _check_rungs(scores, score, lengths)
    found: Evaluation = evaluation
    _check_rest(found)
    return found


def _check_rest(evaluation: Evaluation) -> None:
    """Raise ``SettingsError`` where what stands with the scores cannot be stored."""
    try:
        fits = isinstance(evaluation.device, str) and as_result([evaluation]).seconds >= 0
    except (AttributeError, TypeError, ValueError):
        fits = False
    if not fits:
        raise SettingsError(
            "expected evaluate() to return an Evaluation whose device is a text, whose seconds and peak_memory are "
            f"numbers, and whose curves are lists of numbers, got device={evaluation.device!r}, "
            f"seconds={evaluation.seconds!r}, peak_memory={evaluation.peak_memory!r}, curves={evaluation.curves!r}"
        )


def _check_rungs(scores: Mapping[int, float], score: float, lengths: Sequence[int] | None) -> None:
    """Raise ``SettingsError`` where the rungs of an evaluation are not those of the study, or not in order."""
    found = list(scores)
    if found != sorted(found) or (found and found[0] < 1):
        raise SettingsError(f"expected rungs in rising order of images seen, above 0, got {found}; sort them")
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
    """The evaluations of one trial, one for each seed, as plain values."""
    return Result(
        scores=tuple(float(evaluation.score) for evaluation in evaluations),
        rungs=tuple(map(int, evaluations[0].rungs)),
        rung_scores=tuple(tuple(map(float, evaluation.rungs.values())) for evaluation in evaluations),
        seconds=float(sum(evaluation.seconds for evaluation in evaluations)),
        device=evaluations[0].device,
        peak_memory=int(max(evaluation.peak_memory for evaluation in evaluations)),
        curves=tuple({name: tuple(map(float, v)) for name, v in e.curves.items()} for e in evaluations),
    )


def mean_scores(result: Result) -> tuple[float, dict[int, float]]:
    """Means over the seeds: the score, and the score at each rung by its length."""
    by_rung = zip(result.rungs, zip(*result.rung_scores, strict=True), strict=True) if result.rungs else ()
    return statistics.fmean(result.scores), {length: statistics.fmean(scores) for length, scores in by_rung}
