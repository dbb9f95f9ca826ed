"""The driver of a study: the one process that proposes, submits, tells and writes.

Workers only evaluate (``search/executors``); none of them sees the study. The driver holds the study for its life
(``search/hold.py``), keeps its trials in memory, and reads the storage only for trials that a user enqueued. The next
driver repeats a trial that was running when a driver ended.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.contract import AnyNetwork, Evaluation, Objective
from phiscale.errors import BudgetError, ConstraintError, StudyError, TrialError, one_line
from phiscale.triangle import CostModel, ScalingConstants
from search import methods
from search.aim import aim_of
from search.enqueued import enqueue_again, take_enqueued
from search.evaluation import Evaluate, as_result, checked, described, mean_scores, network_at, target_growth
from search.executors.contract import MOST_LOST, Executor, Job, Lost, Outcome, Raised
from search.history import History
from search.hold import Hold, make_folder
from search.progress import Progress
from search.proposals import Planned, next_plans, planned, still_to_do, to_redo
from search.settings import SearchSettings
from search.stopping import reason_to_stop
from search.storage import Patience, absolute_name, begin_trial, end_transactions, storage_errors
from search.study import STOPPED, open_study
from search.trial import (
    Failure,
    Plan,
    Result,
    Sizes,
    Trial,
    failure_attributes,
    plan_attributes,
    point_attributes,
    result_attributes,
    running_trial,
    trials_of,
)

if TYPE_CHECKING:
    import optuna
    from optuna import Study

_HOPELESS = 5
"""A study whose first trials all fail, as many as this, ends with the reason of the last one."""
_AHEAD = 8
"""For every so many workers one more trial waits at the executor, so that no worker is idle while points are chosen."""


@dataclass(frozen=True, kw_only=True)
class StudyPlace:
    """Where a study lives."""

    name: str
    folder: Path | None
    """Folder of its results; None stores nothing and keeps the study in memory."""
    storage: str | None = None
    """See ``search.storage``; None for SQLite in the folder."""
    take_over: bool = False
    """Work on the study although another driver holds it, because that one has ended."""
    patience: float = 300.0
    """Seconds for which a database that does not answer is tried again."""

    def __post_init__(self) -> None:
        """Make the paths absolute, because a user's code may change the current folder."""
        object.__setattr__(self, "folder", self.folder and self.folder.absolute())
        object.__setattr__(self, "storage", absolute_name(self.storage))


def run_study(
    place: StudyPlace,
    objective: Objective,
    cost_model: CostModel,
    settings: SearchSettings,
    progress: Progress,
    executor: Executor,
    work: Callable[..., Evaluation] | None = None,
    opened: Callable[[Study], None] = lambda _: None,
) -> Study:
    """Create or resume the study and run it to its total number of trials.

    ``work`` is what workers call with constants and seed, ``objective.evaluate`` if None; ``opened`` is called once the
    study is there and its settings fit, before the first trial. Raises ``SettingsError`` and ``StudyError`` before the
    first trial if something is missing or does not fit. Raises ``StudyError`` if all of the first trials fail, a user's
    code raises, or the storage fails. ``KeyboardInterrupt`` is passed on; the next run repeats what was running.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    methods.check_method(settings, cost_model)
    plain = described(objective)
    plan = planned(settings, cost_model, partial(network_at, objective))
    empty = History((), cost_model, settings, aim_of(settings, plain, objective.direction))
    patience = Patience(place.storage, place.patience)
    advice = "finished trials are kept; fix this, and run the same command again"
    with storage_errors(place.storage, place.folder, advice):
        comparable = {**plain, "cost_model": vars(cost_model)}
        if place.folder is not None:
            make_folder(place.folder)
        study = open_study(place.name, place.folder, place.storage, objective.direction, comparable)
        hold = Hold(study, place.folder, take_over=place.take_over)
        driver = _Driver(study, hold, objective, plain, empty, plan, executor, progress, patience)
        try:
            driver.begin(opened)
            executor.start(work or Evaluate(objective))
            driver.run()
        finally:
            executor.close()
            with contextlib.suppress(Exception):  # nothing here may hide why the run ends; the next driver repairs it
                end_transactions(study)
                driver.put_back()
            with contextlib.suppress(Exception):
                hold.release()
    return study


@dataclass(eq=False)
class _Running:
    """A trial whose evaluations the executor runs."""

    begun: optuna.Trial
    trial: Trial
    started: float = field(default_factory=time.perf_counter)
    jobs: dict[int, Job] = field(default_factory=dict)
    """By seed."""
    evaluations: dict[int, Evaluation] = field(default_factory=dict)
    """By seed: those that have returned."""


class _Driver:
    """The state of a run."""

    def __init__(
        self,
        study: Study,
        hold: Hold,
        objective: Objective,
        plain: Mapping[str, Any],
        history: History,
        plan: Planned,
        executor: Executor,
        progress: Progress,
        patience: Patience,
    ) -> None:
        self._study, self._hold, self._objective, self._executor = study, hold, objective, executor
        self._progress, self._patience, self._plan = progress, patience, plan
        self._model, self._settings = history.cost_model, history.settings
        self._history = replace(history, is_open=self._is_open)
        self._trials: dict[int, Trial] = {}
        self._running: dict[int, _Running] = {}
        self._stated, self._target = plain.get("rungs"), target_growth(plain, self._model)
        self._total = 0

    def begin(self, opened: Callable[[Study], None]) -> None:
        """Mark what an earlier driver left running as failed, and print what the study holds."""
        left = self._patience(self._take_stock)
        self._total = self._settings.total(self._with_known())
        opened(self._study)
        notes = []
        if self._plan.plans:
            points, named = len(self._plan.plans), self._plan.named
            same = f" ({named} named; the rest are the same networks)" if named > points else ""
            notes.append(f"{points} planned points{same}")
        if left:
            notes.append(f"{left} trial{'s' if left > 1 else ''} of an ended run will be done again")
        self._progress.begin(list(self._trials.values()), self._total, notes)

    def run(self) -> None:
        """Run trials until the study has the requested number, or meets its stopping rule."""
        stopped: str | None = None
        while True:
            if stopped is None:
                stopped = reason_to_stop(self._now())
            begun = self._submit() if stopped is None else 0
            if not self._running and not begun:
                break
            for outcome in self._executor.wait() if self._running else ():  # all that began may have failed immediately
                self._take(outcome)
        self._patience(self._say_stopped, stopped or f"{self._now().taken} trials")

    def _say_stopped(self, reason: str) -> None:
        self._hold.check()
        self._study.set_user_attr(STOPPED, reason)

    def put_back(self) -> None:
        """Mark running trials as interrupted; the next driver repeats them."""
        self._hold.check()
        for running in self._running.values():
            self._mark_failed(running.begun)

    def _take_stock(self) -> int:
        """Read all trials, and mark those whose driver has ended. Return how many trials have to be repeated."""
        if STOPPED in self._study.user_attrs:
            self._study.set_user_attr(STOPPED, None)
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                self._mark_failed(trial.number)
        enqueue_again(self._study, self._model)
        found = trials_of(self._study.get_trials(deepcopy=False), self._model)
        self._trials = {trial.number: trial for trial in found}
        return len(to_redo(found))

    def _with_known(self) -> int:
        """How many trials the study will have when all planned and interrupted ones are done."""
        trials = list(self._trials.values())
        waiting = sum(trial.state == "WAITING" for trial in trials) + len(to_redo(trials))
        return sum(trial.is_attempt for trial in trials) + waiting + len(still_to_do(self._plan.plans, trials))

    def _now(self) -> History:
        return replace(self._history, trials=list(self._trials.values()))

    def _submit(self) -> int:
        """Begin a trial for each idle worker, with one fit for all of them. Return how many began."""
        workers = self._executor.workers
        history = self._now()
        count = min(workers + workers // _AHEAD - len(self._running), self._total - history.taken)
        if count <= 0:
            return 0
        enqueued = self._patience(self._enqueued, count)
        for trial, plan in enqueued:
            self._begin_trial(plan, trial)
        following = next_plans(self._now() if enqueued else history, self._plan.plans, count - len(enqueued))
        for plan in following:
            self._begin_trial(plan)
        return len(enqueued) + len(following)

    def _enqueued(self, count: int) -> list[tuple[optuna.Trial, Plan]]:
        self._hold.check()
        return take_enqueued(self._study, self._model, self._settings.seed, count)

    def _begin_trial(self, plan: Plan, begun: optuna.Trial | None = None) -> None:
        """Store the trial as running, and submit an evaluation for each of its seeds."""
        network, problem = self._network_or_problem(plan.constants)
        key = _key(network, plan.constants)
        seeds = self._unused_seeds(key)
        sizes = Sizes.of(network, self._model, self._target) if network else None
        attributes = plan_attributes(plan) | point_attributes(plan.constants, self._model, key, seeds, sizes)
        begun = self._patience(self._store, begun, plan, attributes)
        trial = running_trial(begun.number, plan, self._model, seeds=seeds, fingerprint=key, sizes=sizes)
        running = _Running(begun, trial)
        self._trials[begun.number], self._running[begun.number] = trial, running
        if problem:
            self._fail(running, problem)
            return
        for seed in seeds:
            running.jobs[seed] = self._job(running, seed, network)
            self._executor.submit(running.jobs[seed])

    def _store(self, begun: optuna.Trial | None, plan: Plan, attributes: dict[str, Any]) -> optuna.Trial:
        self._hold.check()
        if begun is None:
            return begin_trial(self._study, plan, self._model, attributes)
        for name, value in attributes.items():
            begun.set_user_attr(name, value)
        return begun

    def _job(self, running: _Running, seed: int, network: AnyNetwork | None) -> Job:
        needs = getattr(self._objective, "memory_needed", None)
        needed = int(needs(network)) if needs and network else 0
        return Job((running.begun.number, seed), (running.trial.constants, seed), needed)

    def _take(self, outcome: Outcome) -> None:
        """Take the outcome of one evaluation."""
        number, seed = outcome.key
        running = self._running.get(number)
        if running is None:
            return  # another seed of the trial has failed meanwhile
        try:
            if isinstance(outcome, Lost):
                self._again(running, seed, outcome.reason)
            elif isinstance(outcome, Raised):
                self._raised(running, seed, outcome)
            else:
                running.evaluations[seed] = checked(outcome.value, self._lengths(running), self._history.aim.score_name)
        except TrialError as error:
            self._fail(running, error)
            return
        if set(running.evaluations) == set(running.trial.seeds):
            self._finish(running)

    def _lengths(self, running: _Running) -> list[int] | None:
        """The lengths at which every evaluation of the study has a score; None if not yet known."""
        if self._stated is not None:
            return list(self._stated)
        for evaluation in running.evaluations.values():
            return [*map(int, evaluation.rungs)]
        return next((list(trial.result.rungs) for trial in self._trials.values() if trial.result), None)

    def _again(self, running: _Running, seed: int, reason: str) -> None:
        """Submit a lost evaluation again. Raises ``TrialError`` where it was lost too often."""
        lost = running.trial.plan.lost + 1
        if lost > MOST_LOST:
            raise TrialError("lost", f"its evaluation was lost {lost} times, the last time because {reason}")
        running.trial = replace(running.trial, plan=replace(running.trial.plan, lost=lost))
        self._patience(self._store, running.begun, running.trial.plan, plan_attributes(running.trial.plan))
        self._executor.submit(running.jobs[seed])

    def _raised(self, running: _Running, seed: int, outcome: Raised) -> None:
        """An evaluation that raised: a failed trial, or the end of the run."""
        if isinstance(outcome.error, TrialError):
            raise outcome.error
        if isinstance(outcome.error, (BudgetError, ConstraintError)):
            raise TrialError("budget", str(outcome.error))
        if outcome.error is not None:
            raise outcome.error
        raised = running.trial.plan.raised + 1
        if raised > 1:
            raise TrialError("exception", f"the objective raised {outcome.what} ({outcome.where}), twice")
        plan = replace(running.trial.plan, raised=raised)
        self._patience(self._store, running.begun, plan, plan_attributes(plan))
        raise _TheirError(running.trial, seed, outcome)

    def _finish(self, running: _Running) -> None:
        result = as_result([running.evaluations[seed] for seed in running.trial.seeds])
        value, rungs = mean_scores(result)
        self._patience(self._tell, running.begun, result, value, rungs)
        self._ended(replace(running.trial, state="COMPLETE", value=value, result=result))

    def _tell(self, begun: optuna.Trial, result: Result, value: float, rungs: dict[int, float]) -> None:
        self._hold.check()
        for name, given in result_attributes(result).items():
            begun.set_user_attr(name, given)
        for length in sorted(rungs):  # each once, even if a database that did not answer is asked again
            begun.report(rungs[length], length)
            del rungs[length]
        self._study.tell(begun, value, skip_if_finished=True)

    def _fail(self, running: _Running, error: TrialError) -> None:
        failure = Failure(kind=error.kind, reason=one_line(str(error)), seconds=time.perf_counter() - running.started)
        self._patience(self._store, running.begun, running.trial.plan, failure_attributes(failure))
        self._patience(self._mark_failed, running.begun)
        self._executor.withdraw({job.key for job in running.jobs.values()})
        self._ended(replace(running.trial, state="FAIL", failure=failure))
        ended = [trial for trial in self._trials.values() if trial.is_attempt]
        if len(ended) >= _HOPELESS and all(trial.failure for trial in ended):
            raise StudyError(f"the first {_HOPELESS} trials all failed, the last because: {failure.reason}")

    def _ended(self, trial: Trial) -> None:
        del self._running[trial.number]
        self._trials[trial.number] = trial
        self._progress.trial_ended(trial)

    def _mark_failed(self, begun: optuna.Trial | int) -> None:
        import optuna

        self._study.tell(begun, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def _network_or_problem(self, constants: ScalingConstants) -> tuple[AnyNetwork | None, TrialError | None]:
        """The objective's network, or why there is none."""
        try:
            return network_at(self._objective, constants), None
        except TrialError as error:
            return None, error
        except (BudgetError, ConstraintError) as error:
            return None, TrialError("budget", str(error))

    def _is_open(self, constants: ScalingConstants) -> bool:
        """Whether constants stand for a network with which no trial has failed so far."""
        network, problem = self._network_or_problem(constants)
        key = _key(network, constants)
        return problem is None and not any(t.failure and t.fingerprint == key for t in self._trials.values())

    def _unused_seeds(self, key: str) -> tuple[int, ...]:
        """The first seeds with which this network has not been trained: common to all trials, none used twice."""
        same = (trial for trial in self._trials.values() if trial.fingerprint == key)
        used = {seed for trial in same if trial.is_attempt or trial.is_running for seed in trial.seeds}
        first, count = self._settings.seed * 1000, self._settings.seeds
        free = (seed for seed in range(first, first + len(used) + count) if seed not in used)
        return tuple(next(free) for _ in range(count))


class _TheirError(StudyError):
    """An exception of a user's code, which ends the run the first time."""

    def __init__(self, trial: Trial, seed: int, outcome: Raised) -> None:
        alpha, beta, gamma = trial.constants.as_tuple()
        super().__init__(
            f"trial {trial.number} (alpha {alpha:.4f}, beta {beta:.4f}, gamma {gamma:.4f}, seed {seed}): the objective "
            f"raised {outcome.what} ({outcome.where}); the same command repeats this trial once, and then counts it "
            "as failed. Raise phiscale.TrialError for a trial that may fail (docs/howto/objective.md)"
        )
        self.add_note(outcome.trace)


def _key(network: AnyNetwork | None, constants: ScalingConstants) -> str:
    """What identifies a point: the fingerprint of the network, or the constants if there is none."""
    return network.fingerprint if network else repr(constants.as_tuple())
