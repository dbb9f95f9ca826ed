"""Running a study in a test: what a person would have seen, an executor that follows a script, and finished trials."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import optuna

from phiscale import FLOPS, CostModel
from search.driver import StudyPlace, run_study
from search.executors.contract import Executor, Job, Outcome, Work, attempt
from search.executors.in_process import InProcess
from search.progress import Silent
from search.settings import SearchSettings
from search.trial import Trial


class Remembering(Silent):
    """Progress that only remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[int] = []
        self.total = 0

    def begin(self, trials: list[Trial], total: int, notes: list[str]) -> None:
        self.notes, self.total = notes, total

    def trial_ended(self, trial: Trial) -> None:
        self.ended.append(trial.number)


class Scripted:
    """An executor of any number of workers in this process, the last job first.

    ``act`` is asked before every call, with the job and how many jobs were done: its outcome, if it gives one, stands
    for the call.
    """

    def __init__(self, workers: int = 1, act: Callable[[Job, int], Outcome | None] = lambda *_: None) -> None:
        self.workers, self._act = workers, act
        self.jobs: list[Job] = []
        self.done: list[Job] = []
        self.most = 0
        """Jobs that were out at once."""

    def start(self, work: Work) -> None:
        self._work = work

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.most = max(self.most, len(self.jobs))

    def withdraw(self, keys: Collection[Any]) -> None:
        self.jobs = [job for job in self.jobs if job.key not in keys]

    def wait(self) -> list[Outcome]:
        job = self.jobs.pop()
        self.done.append(job)
        return [self._act(job, len(self.done)) or attempt(self._work, job)]

    def close(self) -> None:
        self.jobs = []


def run(
    folder: Path,
    objective: Any,
    *,
    cost_model: CostModel = FLOPS,
    storage: str | None = None,
    executor: Executor | None = None,
    take_over: bool = False,
    **settings: Any,
) -> tuple[optuna.Study, Remembering]:
    """The study ``s`` in ``folder``, run without its results."""
    place = StudyPlace(name="s", folder=folder / "s", storage=storage, take_over=take_over)
    progress = Remembering()
    asked = SearchSettings(**settings)
    study = run_study(place, objective, cost_model, asked, progress, executor or InProcess())
    return study, progress


def complete(study: optuna.Study) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name == "COMPLETE"]


def failed(study: optuna.Study) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name == "FAIL"]
