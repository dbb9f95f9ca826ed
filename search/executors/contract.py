"""What every executor does: take jobs, and return the outcome of each.

The work, a function, is given once, with all data that the jobs share; a job holds the arguments of one call. A job
without an answer, because its worker was killed, its node was lost or its time ran out, returns as lost. Whoever
submitted it decides whether to submit it again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol

from phiscale.errors import PhiscaleError, SettingsError, StudyError, one_line

Work = Callable[..., Any]
MOST_LOST = 3
"""How often a lost job is submitted again."""


@dataclass(frozen=True)
class Job:
    """One call of the work."""

    key: Any
    """Names the job; hashable, and unique among those that have not returned."""
    arguments: tuple[Any, ...]
    needed: int = 0
    """Bytes of memory that the call takes on its device."""


@dataclass(frozen=True)
class Done:
    """A call that returned."""

    key: Any
    value: Any


@dataclass(frozen=True)
class Raised:
    """A call that raised."""

    key: Any
    error: PhiscaleError | None
    """The exception, if it is one of phiscale's; the other fields describe one of a user's code."""
    what: str
    """Its type and message on one line."""
    where: str
    """File, line and function in which it was raised."""
    trace: str
    """The whole traceback, added as a note to the exception that ends the run."""

    def as_error(self, call: str) -> PhiscaleError:
        """What to raise if the ``call``, named for the user, must not fail."""
        if self.error is not None:
            return self.error
        error = StudyError(f"{call} raised {self.what} ({self.where})")
        error.add_note(self.trace)
        return error


@dataclass(frozen=True)
class Lost:
    """A call without an answer."""

    key: Any
    reason: str


Outcome = Done | Raised | Lost


class Executor(Protocol):
    """Runs jobs. ``start`` is called once before the first job, ``close`` once at the end, whatever happened."""

    @property
    def workers(self) -> int:
        """Jobs that run side by side."""

    def start(self, work: Work) -> None:
        """Start the workers. Raises ``SettingsError`` or ``StudyError`` if that fails."""

    def submit(self, job: Job) -> None:
        """Take a job; it waits where all workers are busy."""

    def withdraw(self, keys: Collection[Any]) -> None:
        """Drop those of the jobs that have not begun; the others still return an outcome."""

    def wait(self) -> list[Outcome]:
        """Wait for at least one outcome, and return all there are. Only called while jobs run or wait."""

    def close(self) -> None:
        """End all workers, and the jobs that still run."""


def attempt(work: Work, job: Job) -> Done | Raised:
    """Call the work. ``KeyboardInterrupt`` is passed on."""
    process = os.getpid()
    try:
        return Done(job.key, work(*job.arguments))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's code may raise anything
        return _raised(job.key, error)
    finally:
        if os.getpid() != process:
            _end_fork()


def _end_fork() -> NoReturn:
    """End a process that the work forked and left running: it would answer and drive the study a second time."""
    said = f"process {os.getpid()}, which an evaluation forked, ends; end it by os._exit in your code\n"
    with contextlib.suppress(OSError):
        os.write(2, said.encode())
    os._exit(1)


def attempt_and_send(work: Work, job: Job) -> bytes:
    """As ``attempt``, in another process: the pickled outcome. A value that cannot be sent is a call that raised."""
    import cloudpickle

    outcome = attempt(work, job)
    try:
        return bytes(cloudpickle.dumps(outcome))
    except Exception as error:  # noqa: BLE001 - objects raise anything when they are pickled
        return pickle.dumps(_raised(job.key, error))


def received(key: Any, sent: bytes) -> Outcome:
    """What ``attempt_and_send`` sent; an answer that this process cannot read is a call that raised."""
    try:
        outcome: Outcome = pickle.loads(sent)  # noqa: S301 - of this program's own worker
    except Exception as error:  # noqa: BLE001 - the classes of a user's answer may be missing here
        return _raised(key, error)
    return outcome


def cannot_send(error: Exception) -> SettingsError:
    """What to raise if the work cannot be pickled."""
    return SettingsError(
        f"expected an objective that can be sent to workers, got {one_line(error)}; make "
        "what cannot be sent inside of the evaluation, or use one worker in this process"
    )


def _raised(key: Any, error: BaseException) -> Raised:
    ours = error if isinstance(error, PhiscaleError) and _travels(error) else None
    trace = "".join(traceback.format_exception(error))
    return Raised(key, ours, one_line(error), _where(error.__traceback__), trace)


def _where(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}, in {frames[-1].name}" if frames else "unknown"


def _travels(error: PhiscaleError) -> bool:
    """Whether the exception survives pickling."""
    try:
        return str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - of this process
    except Exception:  # noqa: BLE001 - any failure counts
        return False


def run_all(executor: Executor, work: Work, calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Done | Raised]]:
    """The outcome of every call with its index in ``calls``, as they end; lost ones are repeated up to 3 times. Raises
    ``StudyError`` if one is lost more often.
    """
    lost = [0] * len(calls)
    out = 0
    try:
        executor.start(work)
        for place in range(len(calls)):
            executor.submit(_job(work, place, calls))
            out += 1
        while out:
            for outcome in executor.wait():
                if isinstance(outcome, Lost):
                    lost[outcome.key] += 1
                    if lost[outcome.key] > MOST_LOST:
                        raise StudyError(
                            f"a training was lost {lost[outcome.key]} times, the last time because {outcome.reason}; "
                            "finished ones are kept: run the same again, with fewer --workers"
                        )
                    executor.submit(_job(work, outcome.key, calls))
                else:
                    out -= 1
                    yield outcome.key, outcome
    finally:
        executor.close()


def _job(work: Work, place: int, calls: Sequence[tuple[Any, ...]]) -> Job:
    """The call at an index, with the memory that the work says it needs."""
    say = getattr(work, "memory_needed", None)
    return Job(place, calls[place], say(*calls[place]) if say else 0)
