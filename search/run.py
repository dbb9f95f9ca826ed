"""Running a study: claim a trial, evaluate it, tell the result, until the study has as many as asked for."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from objectives.contract import Evaluation, Objective
from phiscale.errors import SettingsError, StudyError, TrialError
from phiscale.spec import NetworkSpec
from phiscale.triangle import CostModel, parameter_names
from search import claims
from search.horizon import Aim, aim_of
from search.measurements import FAILURE, RUNG_SCORES, RUNGS
from search.plan import plan_points
from search.racing import STOPPED, reason_to_stop
from search.samplers import check_method
from search.settings import DEFAULT_TRIALS, SearchSettings
from search.storage import storage_errors
from search.study import open_study
from search.workers import Worker

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_HOPELESS = 5
"""A study whose first trials all fail, this many, ends with the reason of the last."""
_KINDS: dict[str, Any] = {"network": Mapping, "data": Mapping, "train": Mapping, "phi": (int, float)}
"""What an objective's description must hold under the names that go into the record."""


class Progress(Protocol):
    """What a person sees of a run."""

    def begin(self, study: Study, total: int, notes: list[str]) -> None: ...

    def trial_ended(self, trial: FrozenTrial) -> None: ...


@dataclass(frozen=True, kw_only=True)
class StudyPlace:
    """Where a study lives."""

    name: str
    folder: Path
    storage: str | None = None
    """See ``search.storage``; None for SQLite in the folder."""


def run_study(
    place: StudyPlace,
    objective: Objective,
    cost_model: CostModel,
    settings: SearchSettings,
    progress: Progress,
    opened: Callable[[], None] = lambda: None,
) -> Study:
    """Create or resume the study and run it to its total number of trials.

    ``opened`` is called once the study is there and its settings fit, before the first trial. Raises ``SettingsError``
    and ``StudyError`` before the first trial where something is missing or does not fit, and ``StudyError`` where every
    one of the first trials fails or the storage does. ``KeyboardInterrupt`` ends the running trial, which is enqueued
    again, and goes on to the caller.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    check_method(settings, len(parameter_names(cost_model)))
    aim = aim_of(settings, described(objective), objective.direction)
    worker = Worker(place.folder)
    try:
        with storage_errors(place.storage, place.folder, "finished trials are kept; mend that, and run the same again"):
            with worker.deciding():
                study, total, notes = _prepare(place, objective, cost_model, settings, worker)
                opened()
            progress.begin(study, total, notes)
            _run_to(total, study, objective, cost_model, aim, settings, progress, worker)
            return study
    finally:
        worker.close()


def _run_to(
    total: int,
    study: Study,
    objective: Objective,
    cost_model: CostModel,
    aim: Aim,
    settings: SearchSettings,
    progress: Progress,
    worker: Worker,
) -> None:
    """Trials until the study has ``total`` of them, or has learnt what was asked for."""
    if STOPPED in study.user_attrs:
        study.set_user_attr(STOPPED, None)  # of an earlier run
    while True:
        reason = reason_to_stop(study, settings, cost_model, aim)
        if reason:
            study.set_user_attr(STOPPED, reason)
            return
        with worker.deciding():
            claimed = claims.claim(study, objective, settings, cost_model, aim, total, worker)
        if claimed is None:
            study.set_user_attr(STOPPED, f"{total} trials")
            return
        ended = _evaluate(study, claimed, objective, worker)
        progress.trial_ended(ended)
        if ended.state.name == "FAIL":
            _stop_if_hopeless(study.get_trials(deepcopy=False))


def _prepare(
    place: StudyPlace, objective: Objective, cost_model: CostModel, settings: SearchSettings, worker: Worker
) -> tuple[Study, int, list[str]]:
    """The study with its plan enqueued, its total number of trials, and what a person should know of both."""
    comparable = {**described(objective), "cost_model": vars(cost_model)}
    points, stated = plan_points(settings, cost_model, partial(claims.network_at, objective))
    study = open_study(place.name, place.folder, place.storage, objective.direction, comparable)
    claims.enqueue_plan(study, points, cost_model)
    redo, elsewhere = claims.requeue_dead(study, worker, study.get_trials(deepcopy=False))
    total = settings.trials or (_with_waiting(study) if settings.is_grid else DEFAULT_TRIALS)
    notes = []
    if points:
        same = f" ({stated} named; the rest are the same networks)" if stated > len(points) else ""
        notes.append(f"{len(points)} planned points{same}")
    if redo:
        notes.append(f"{redo} trial{'s' if redo > 1 else ''} of an ended run will be done again")
    if elsewhere:
        notes.append(f"trials still running elsewhere, left alone: {', '.join(sorted(set(elsewhere)))}")
    return study, total, notes


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


def _with_waiting(study: Study) -> int:
    """How many trials the study has once all that are enqueued or running have ended."""
    trials = study.get_trials(deepcopy=False)
    return sum(claims.is_attempt(trial) or not trial.state.is_finished() for trial in trials)


def _evaluate(study: Study, claimed: claims.Claim, objective: Objective, worker: Worker) -> FrozenTrial:
    """Evaluate a claimed trial with each of its seeds and tell the study; a failure of its own is told as one.

    The trial as it ended.
    """
    import optuna

    trial, failed = claimed.trial, optuna.trial.TrialState.FAIL
    started = time.perf_counter()
    try:
        if claimed.problem:
            raise TrialError("budget", claimed.problem)
        lengths = _known_rungs(study, objective)
        evaluations: list[Evaluation] = []
        for seed in claimed.seeds:
            evaluations.append(_one_seed(claimed, objective, seed, lengths))
            lengths = [*map(int, evaluations[0].rungs)]
        for name, value in _measured(evaluations).items():
            trial.set_user_attr(name, value)
        for length, *scores in zip(lengths or (), *(e.rungs.values() for e in evaluations), strict=True):
            trial.report(statistics.fmean(map(float, scores)), length)
        return study.tell(trial, statistics.fmean(float(evaluation.score) for evaluation in evaluations))
    except TrialError as error:
        trial.set_user_attr("seconds", time.perf_counter() - started)
        trial.set_user_attr("failure_kind", error.kind)
        trial.set_user_attr(FAILURE, str(error))
        return study.tell(trial, state=failed)
    except BaseException:
        with worker.deciding():
            frozen = study.get_trials(deepcopy=False)[trial.number]
            if not frozen.state.is_finished():
                claims.enqueue_again(study, frozen)
                study.tell(trial, state=failed, skip_if_finished=True)
        raise


def _known_rungs(study: Study, objective: Objective) -> list[int] | None:
    """The lengths at which every evaluation of the study has a score; None while that is not known."""
    stated = objective.describe().get("rungs")
    if isinstance(stated, Sequence):
        return list(stated)
    finished = (trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE")
    return next((list(trial.user_attrs.get(RUNGS, ())) for trial in finished), None)


def _one_seed(claimed: claims.Claim, objective: Objective, seed: int, lengths: list[int] | None) -> Evaluation:
    evaluation = objective.evaluate(claimed.constants, seed=seed)
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
    return evaluation


def _check_rungs(scores: Mapping[int, float], score: float, lengths: list[int] | None) -> None:
    """Raise ``SettingsError`` where the rungs of an evaluation are not those of the study, or not in order."""
    found = list(scores)
    if found != sorted(found) or (found and found[0] < 1):
        raise SettingsError(f"expected rungs in rising order of images seen, above 0, got {found}; sort them")
    if lengths is not None and found != lengths:
        raise SettingsError(
            f"expected scores at the rungs {lengths} that all trials of the study share, got {found or 'none'}; "
            "return the same rungs for every evaluation"
        )
    if found and scores[found[-1]] != score:
        raise SettingsError(
            f"expected the score to be that of the longest rung, {scores[found[-1]]!r}, got {score!r}; return that one"
        )


def _measured(evaluations: list[Evaluation]) -> dict[str, Any]:
    return {
        "scores": [float(evaluation.score) for evaluation in evaluations],
        RUNGS: [*map(int, evaluations[0].rungs)],
        RUNG_SCORES: [[*map(float, evaluation.rungs.values())] for evaluation in evaluations],
        "seconds": float(sum(evaluation.seconds for evaluation in evaluations)),
        "device": evaluations[0].device,
        "peak_memory": int(max(evaluation.peak_memory for evaluation in evaluations)),
        "curves": [{name: [*map(float, values)] for name, values in e.curves.items()} for e in evaluations],
    }


def _stop_if_hopeless(trials: Sequence[FrozenTrial]) -> None:
    ended = [trial for trial in trials if claims.is_attempt(trial)]
    if len(ended) >= _HOPELESS and all(trial.state.name == "FAIL" for trial in ended):
        raise StudyError(f"the first {_HOPELESS} trials all failed, the last because: {ended[-1].user_attrs[FAILURE]}")
