"""Running one parser on many inputs: counting, a time limit, and what makes a refusal a good one."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from phiscale.errors import PhiscaleError

LIMIT = 10
"""Seconds for one input."""
LONGEST = 400
"""Letters of a message."""


@dataclass(frozen=True)
class Parser:
    """What reads one kind of input."""

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any, Path], None]
    """Reads an input, with an empty folder to use, and asserts that the value is right; raises ``PhiscaleError``."""


@dataclass
class Outcome:
    """What came of the inputs of one parser."""

    counts: Counter[str] = field(default_factory=Counter)
    """Accepted, refused."""
    fault: BaseException | None = None
    smallest: Any = None
    """The smallest input that fails."""


class HangError(BaseException):
    """One input took too long; no code catches it by the way."""


def check_line(message: str) -> None:
    """The form of a refusal."""
    assert message, "a refusal without a reason"
    assert message.isprintable(), f"not one printable line: {message!r}"
    assert len(message) <= LONGEST, f"{len(message)} letters: {message}"


def run(parser: Parser, folder: Path, examples: int, number: int | None = None) -> Outcome:
    """The outcome of so many inputs; of a random ``number``, or always the same ones where there is none."""
    outcome = Outcome()

    def one(given_input: Any) -> None:
        outcome.smallest = given_input  # of a failing run the last is the smallest
        with _limited():
            try:
                parser.read(given_input, folder)
            except PhiscaleError as error:
                check_line(str(error))
                outcome.counts["refused"] += 1
            else:
                outcome.counts["accepted"] += 1

    checks = list(HealthCheck)
    chosen = settings(
        max_examples=examples, derandomize=number is None, deadline=None, database=None, suppress_health_check=checks
    )
    test = chosen(given(parser.inputs)(one))
    try:
        (test if number is None else seed(number)(test))()
    except (Exception, HangError) as fault:  # noqa: BLE001  whatever a parser raises is a finding
        outcome.fault = fault
    else:
        outcome.smallest = None
    return outcome


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise HangError(f"more than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)
