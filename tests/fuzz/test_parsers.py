"""Some seeded inputs of every parser, the same in every run, and that faults are found."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import strategies as st

from phiscale import RecordError
from tests.fuzz import running
from tests.fuzz.parsers import PARSERS
from tests.fuzz.running import Parser, run


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_an_input_is_accepted_with_a_right_value_or_refused_in_one_line(parser: Parser, tmp_path: Path) -> None:
    outcome = run(parser, tmp_path, examples=20 if parser.name == "options" else 60)
    if outcome.fault:
        raise AssertionError(f"the input {outcome.smallest!r}") from outcome.fault
    assert sum(outcome.counts.values()) >= 10


class TwoLinesError(RecordError):
    """A refusal that is not one line."""

    def __str__(self) -> str:
        return "one\ntwo"


def _refuse_in_two_lines(_given: int, _folder: Path) -> None:
    raise TwoLinesError


def _fail(given: int, _folder: Path) -> None:
    if given > 100:
        raise KeyError(given)


@pytest.mark.parametrize(("read", "kind"), [(_fail, KeyError), (_refuse_in_two_lines, AssertionError)])
def test_a_fault_is_found_and_its_input_made_small(read, kind, tmp_path: Path) -> None:
    outcome = run(Parser("x", st.integers(0, 1000), read), tmp_path, examples=50)
    assert isinstance(outcome.fault, kind)
    assert outcome.smallest == (101 if read is _fail else 0)


def test_a_parser_that_hangs_is_stopped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(running, "LIMIT", 0.3)
    outcome = run(Parser("x", st.just(1), lambda *_: time.sleep(30)), tmp_path, examples=1)
    assert isinstance(outcome.fault, running.HangError)
