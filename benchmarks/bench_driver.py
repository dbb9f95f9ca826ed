"""Does one driver keep many workers busy? 64 workers whose trials take 5 s, in simulated time.

The driver works as it always does, in real time and on a real storage; only the evaluations do not run. Each occupies
its worker for 4 to 6 s of a clock that runs with the real one and jumps to the next trial that ends when the driver
waits. So a driver that takes long to choose or to write leaves workers idle, as it would in earnest.

Run: python -m benchmarks.bench_driver --method qmc --trials 10000     # about 3 minutes
     python -m benchmarks.bench_driver --method gp --trials 1000 --storage sqlite

Prints how busy the workers were, by quarters of the run, milliseconds of the driver per trial, and its memory.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import random
import tempfile
import time
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import Any

from objectives.landscape import INTERIOR
from phiscale import FLOPS
from search.driver import StudyPlace, run_study
from search.executors.contract import Job, Outcome, Work, attempt
from search.progress import Silent
from search.settings import SearchSettings

_QUARTERS = 4


class Simulated:
    """Workers that are busy in simulated time; an executor as ``search.executors.contract.Executor``."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.workers, self._seconds = workers, seconds
        self._random = random.Random(0)  # noqa: S311 - times of trials
        self._order = itertools.count()
        self._waiting: deque[Job] = deque()
        self._running: list[tuple[float, int, Job]] = []
        """(end, order, job) of a heap."""
        self._skipped, self._began = 0.0, 0.0
        self.spans: list[tuple[float, float]] = []
        """Begin and end of every trial."""
        self.memory: list[float] = []
        """MiB in use when each trial began."""

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began + self._skipped

    def start(self, work: Work) -> None:
        """Take the work; the clock starts."""
        self._work, self._began = work, time.perf_counter()

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._waiting.append(job)
        self._give_out(self.now())

    def withdraw(self, keys: Collection[Any]) -> None:
        """Drop those of the jobs that have not begun."""
        self._waiting = deque(job for job in self._waiting if job.key not in keys)

    def wait(self) -> list[Outcome]:
        """All trials that have ended; jumps to the next one where none has."""
        self._skipped += max(0.0, self._running[0][0] - self.now())
        ended = []
        while self._running and self._running[0][0] <= self.now():
            end, _, job = heapq.heappop(self._running)
            ended.append(job)
            self._give_out(end)  # the worker takes what waits at once
        return [attempt(self._work, job) for job in ended]

    def close(self) -> None:
        """Nothing to end."""

    def _give_out(self, at: float) -> None:
        while self._waiting and len(self._running) < self.workers:
            end = at + self._seconds * self._random.uniform(0.8, 1.2)
            heapq.heappush(self._running, (end, next(self._order), self._waiting.popleft()))
            self.spans.append((at, end))
            self.memory.append(_mebibytes())


def main() -> None:
    """The command."""
    options = _options()
    executor = Simulated(options.workers, options.seconds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if options.storage == "sqlite" else None
        settings = SearchSettings(method=options.method, trials=options.trials)
        started = time.perf_counter()
        run_study(StudyPlace(name="busy", folder=folder), INTERIOR, FLOPS, settings, Silent(), executor)
        seconds = time.perf_counter() - started
    end = max(end for _, end in executor.spans)
    print(f"{options.trials} trials of {options.seconds:g} s, method {options.method}, storage {options.storage}")
    print(f"driver: {1000 * seconds / options.trials:.1f} ms a trial")
    print(f"workers busy: {_busy(executor.spans, 0, end, options.workers):.1%}")
    for quarter in range(_QUARTERS):
        first, last = end * quarter / _QUARTERS, end * (quarter + 1) / _QUARTERS
        memory = executor.memory[(len(executor.memory) - 1) * (quarter + 1) // _QUARTERS]
        busy = _busy(executor.spans, first, last, options.workers)
        print(f"  quarter {quarter + 1}: {busy:.1%}, {memory:.0f} MiB at its end")


def _busy(spans: list[tuple[float, float]], first: float, last: float, workers: int) -> float:
    inside = sum(max(0.0, min(end, last) - max(begin, first)) for begin, end in spans)
    return inside / (workers * (last - first))


def _mebibytes() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="gp")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a trial; each takes 0.8 to 1.2 times that")
    parser.add_argument("--storage", choices=("memory", "sqlite"), default="sqlite")
    return parser.parse_args()


if __name__ == "__main__":
    main()
