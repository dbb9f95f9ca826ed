"""Evaluations one after the other in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Any

from search.executors.contract import Job, Outcome, Work, attempt


class InProcess:
    """The executor of one worker: this process."""

    workers = 1

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._work: Work | None = None

    def start(self, work: Work) -> None:
        """Take the work."""
        self._work = work

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._jobs.append(job)

    def withdraw(self, keys: Collection[Any]) -> None:
        """Drop those of the jobs that have not begun."""
        self._jobs = deque(job for job in self._jobs if job.key not in keys)

    def wait(self) -> list[Outcome]:
        """Do the first job."""
        if self._work is None:
            raise RuntimeError("wait() before start()")
        return [attempt(self._work, self._jobs.popleft())]

    def close(self) -> None:
        """Forget the jobs."""
        self._jobs.clear()
