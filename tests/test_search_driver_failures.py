"""What a driver does where trials fail, a person's code raises, evaluations are lost, or the storage is away."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from objectives.contract import Evaluation
from objectives.landscape import INTERIOR
from phiscale import Multipliers, ScalingConstants, StudyError, TrialError, shares_of_direction
from search import storage
from search.executors.contract import Job, Lost, Raised
from search.hold import Hold
from search.journal import Journal
from search.storage import Patience
from search.study import load_study
from tests.objectives_for_tests import (
    ALWAYS_FAILS,
    FAILS_SOMETIMES,
    NanObjective,
    NetworkObjective,
    UnreachableObjective,
    interrupted,
)
from tests.search_for_tests import Scripted, complete, failed, run

SPREAD: dict[str, Any] = {"method": "qmc", "baselines": "none"}


# trials that fail


@pytest.mark.parametrize("workers", [1, 3])
def test_failed_trials_keep_their_reason_and_count(tmp_path: Path, workers: int) -> None:
    FAILS_SOMETIMES.calls = 0
    study, progress = run(tmp_path, FAILS_SOMETIMES, trials=12, executor=Scripted(workers))
    assert (len(failed(study)), len(study.trials), len(progress.ended)) == (4, 12, 12)
    assert {t.user_attrs["failure"] for t in failed(study)} == {"the loss became NaN in epoch 1"}
    assert {t.user_attrs["failure_kind"] for t in failed(study)} == {"diverged"}


def test_points_without_a_network_fail_with_the_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    study, _ = run(tmp_path, UnreachableObjective(), trials=20, method="random")
    assert len(study.trials) == 20
    assert 0 < len(failed(study)) < 15
    for trial in failed(study):
        assert trial.user_attrs["failure_kind"] == "budget"
        assert trial.user_attrs["failure"] == "expected a shallower network"


def test_gp_passes_over_what_cannot_be_built_and_what_failed(tmp_path: Path) -> None:
    """A failed trial teaches the surface nothing: its point would be chosen again until the trials are used up."""

    class Diverging(UnreachableObjective):
        def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
            if shares_of_direction(Multipliers(*constants.as_tuple())).resolution > 0.4:
                raise TrialError("diverged", "the loss became NaN in epoch 1")
            return super().evaluate(constants, seed=seed)

    study, _ = run(tmp_path, Diverging(), trials=40)
    without = failed(study)
    assert {"budget", "diverged"} == {trial.user_attrs["failure_kind"] for trial in without}
    spread = next(t.number for t in study.trials if sum(e.number <= t.number for e in complete(study)) == 12)
    assert all(trial.user_attrs["failure_kind"] == "diverged" for trial in without if trial.number > spread)
    networks = [trial.user_attrs["fingerprint"] for trial in without]
    assert len(networks) == len(set(networks))
    assert len(complete(study)) >= 34 - 12  # no more fail than the spread has


@pytest.mark.parametrize(
    ("objective", "reason"),
    [(ALWAYS_FAILS, "does not fit"), (NanObjective(optimum=INTERIOR.optimum), "score, got inf")],
)
def test_a_hopeless_study_ends_with_the_reason(tmp_path: Path, objective: Any, reason: str) -> None:
    with pytest.raises(StudyError, match=f"first 5 trials all failed, the last because: .*{reason}"):
        run(tmp_path, objective, trials=50)
    assert len(failed(load_study("s", tmp_path / "s", None))) == 5


def test_one_failed_seed_fails_its_trial_and_the_others_are_not_waited_for(tmp_path: Path) -> None:
    def fail(job: Job, done: int) -> Raised | None:
        return Raised(job.key, TrialError("diverged", "NaN"), "", "", "") if job.key == (1, 1) else None

    executor = Scripted(1, fail)
    study, _ = run(tmp_path, NetworkObjective(), trials=4, seeds=3, executor=executor)
    assert [job.key for job in executor.done if job.key[0] == 1] == [(1, 2), (1, 1)]  # the third is not begun
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs["seeds"] == [0, 1, 2]


# a person's code that raises (B1, B2 of the list of faults: it was tried again for ever, or ended every run)


def raising(error: BaseException) -> Callable[[int], None]:
    def act(call: int) -> None:
        if call == 3:
            raise error

    return act


@pytest.mark.parametrize("error", [RuntimeError("no such\nlayer"), TimeoutError("too slow"), SystemExit(3)])
def test_an_exception_ends_the_run_once_and_then_fails_its_trial(tmp_path: Path, error: BaseException) -> None:
    broken = tmp_path / "broken"

    def act(_: int) -> None:
        if broken.exists():
            raise error

    objective = NetworkObjective(act=act)
    run(tmp_path, objective, trials=2, **SPREAD)
    broken.touch()
    with pytest.raises(StudyError) as caught:
        run(tmp_path, objective, trials=9, **SPREAD)
    said = str(caught.value)
    third = load_study("s", tmp_path / "s", None).trials[2]
    constants = ", ".join(f"{name} {value:.4f}" for name, value in third.params.items())
    assert said.startswith(f"trial 2 ({constants}, seed 0): the objective raised {type(error).__name__}: ")
    assert "(test_search_driver_failures.py, line " in said
    assert "TrialError" in said
    assert "\n" not in said
    assert "Traceback" in "".join(caught.value.__notes__)
    assert (third.state.name, "failure" in third.user_attrs) == ("FAIL", False)

    objective.act = lambda call: broken.unlink() if call > 4 and broken.exists() else act(call)
    study, progress = run(tmp_path, objective, trials=9, **SPREAD)  # the same error once more, and then none
    assert "1 trial of an ended run will be done again" in progress.notes
    again = study.trials[3]
    assert (again.user_attrs["redo_of"], again.params, again.user_attrs["failure_kind"]) == (
        2,
        third.params,
        "exception",
    )
    assert "twice" in again.user_attrs["failure"]
    assert type(error).__name__ in again.user_attrs["failure"]
    assert (len(complete(study)), len(study.trials)) == (8, 10)


def test_an_exception_puts_back_what_others_evaluate(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="objective raised ZeroDivisionError: a mistake"):
        run(tmp_path, NetworkObjective(act=raising(ZeroDivisionError("a mistake"))), trials=12, executor=Scripted(4))
    study, _ = run(tmp_path, NetworkObjective(), trials=12)
    assert len(complete(study)) == 12
    redone = [trial.user_attrs["redo_of"] for trial in study.trials if "redo_of" in trial.user_attrs]
    assert sorted(redone) == [trial.number for trial in failed(study)]
    assert len(redone) == 4


def test_ctrl_c_puts_the_running_trial_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupted(), trials=9)
    study, _ = run(tmp_path, NetworkObjective(), trials=9)
    (redone,) = [trial for trial in study.trials if "redo_of" in trial.user_attrs]
    assert len(complete(study)) == 9
    assert redone.user_attrs["redo_of"] == 4
    assert redone.user_attrs["names"] == study.trials[4].user_attrs["names"]


# evaluations that are lost


def losing(times: int) -> Callable[[Job, int], Lost | None]:
    """An executor that loses the evaluation of trial 1 so many times."""
    left = itertools.count(1)
    return lambda job, _: Lost(job.key, "it took more than 9 s") if job.key[0] == 1 and next(left) <= times else None


@pytest.mark.parametrize("times", [3, 4])
def test_a_lost_evaluation_is_made_again_up_to_three_times(tmp_path: Path, times: int) -> None:
    executor = Scripted(2, losing(times))
    study, _ = run(tmp_path, NetworkObjective(), trials=6, seeds=2, executor=executor, **SPREAD)
    ended = study.trials[1]
    assert len(study.trials) == 6
    if times == 3:
        assert len(complete(study)) == 6
        assert (ended.user_attrs["lost"], len(ended.user_attrs["scores"])) == (3, 2)
        assert len(executor.done) == 12 + 3
    else:
        assert failed(study) == [ended]
        assert ended.user_attrs["failure_kind"] == "lost"
        assert ended.user_attrs["failure"].endswith("lost 4 times, the last time because it took more than 9 s")


def test_losses_are_counted_over_runs(tmp_path: Path) -> None:
    def interrupted_after(times: int) -> Callable[[Job, int], Lost | None]:
        lose = losing(times)

        def act(job: Job, done: int) -> Lost | None:
            found = lose(job, done)
            if found is None and job.key[0] == 1:
                raise KeyboardInterrupt
            return found

        return act

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, NetworkObjective(), trials=4, executor=Scripted(1, interrupted_after(2)), **SPREAD)
    always = Scripted(1, lambda job, _: Lost(job.key, "its node was lost") if job.key[0] == 2 else None)
    study, _ = run(tmp_path, NetworkObjective(), trials=4, executor=always, **SPREAD)
    assert "lost 4 times" in study.trials[2].user_attrs["failure"]
    assert [job.key[0] for job in always.done].count(2) == 2


# the storage


def test_a_storage_that_fails_during_the_run_is_one_sentence(tmp_path: Path) -> None:
    def lose_the_database(call: int) -> None:
        if call == 3:
            for path in (tmp_path / "s").glob("study.db*"):
                path.write_bytes(b"no database at all" * 1000)

    with pytest.raises(StudyError, match=r"study\.db failed \([^)]+\); finished trials are kept"):
        run(tmp_path, NetworkObjective(act=lose_the_database), trials=9)


def test_a_journal_on_a_full_disk_is_one_sentence_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    journal = tmp_path / "s.journal"
    run(tmp_path, INTERIOR, trials=3, storage=str(journal))
    size, limits = journal.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 700, limits[1]))
    try:
        with pytest.raises(StudyError, match=r"s\.journal failed \(File too large\); finished trials are kept"):
            run(tmp_path, INTERIOR, trials=5, storage=str(journal))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not journal.read_bytes().endswith(b"\n")
    assert len(load_study("s", tmp_path / "s", str(journal)).trials) >= 3  # a look changes nothing
    assert not journal.read_bytes().endswith(b"\n")
    study, _ = run(tmp_path, INTERIOR, trials=5, storage=str(journal))
    assert len(complete(study)) == 5


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "s.journal"
    run(tmp_path, INTERIOR, trials=3, storage=str(journal))
    journal.write_bytes(journal.read_bytes()[:-20] + b"\n{}\n")
    with pytest.raises(StudyError, match=r"s\.journal"):
        run(tmp_path, INTERIOR, trials=5, storage=str(journal))


@pytest.mark.parametrize("content", [b"", b"notes of mine", b"{}\nnotes of mine", b"{}\n"])
def test_a_file_without_an_incomplete_line_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "s.journal"
    file.write_bytes(content)
    Journal(file).cut_incomplete_line()
    assert file.read_bytes() == content


@pytest.mark.parametrize("length", [1, 2**16 - 1, 2**16, 2**17 + 5])
def test_an_incomplete_line_of_any_length_is_cut(tmp_path: Path, length: int) -> None:
    file = tmp_path / "s.journal"
    file.write_bytes(b"{}\n" * 3 + b"{" * length)
    Journal(file).cut_incomplete_line()
    assert file.read_bytes() == b"{}\n" * 3


def gone() -> OperationalError:
    return OperationalError("INSERT", {}, Exception("server closed the connection unexpectedly"))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of a clock that only waiting moves on."""
    found: list[float] = []
    monkeypatch.setattr(storage.time, "sleep", found.append)
    monkeypatch.setattr(storage.time, "monotonic", lambda: sum(found))
    return found


def failing(error: Callable[[], Exception], times: int) -> Callable[[str], str]:
    left = itertools.count(1)

    def work(given: str) -> str:
        if next(left) <= times:
            raise error()
        return given

    return work


def wrapped() -> Exception:
    """As Optuna gives on what the database says."""
    error = optuna.exceptions.StorageInternalError("an exception is raised during the commit")
    error.__cause__ = gone()
    return error


@pytest.mark.parametrize("error", [gone, wrapped])
def test_a_database_that_does_not_answer_is_asked_again_with_growing_pauses(pauses: list[float], error: Any) -> None:
    patience = Patience("postgresql://host/db", 300)
    assert patience(failing(error, 8), "answer") == "answer"
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    pauses.clear()
    with pytest.raises(type(error())):
        patience(failing(error, 99), "answer")
    assert 250 < sum(pauses) <= 300


@pytest.mark.parametrize("name", [None, "s.journal", "sqlite:///s.db", "postgresql://host/db"])
def test_other_errors_and_files_are_not_waited_for(pauses: list[float], name: str | None) -> None:
    error = (lambda: ValueError("a mistake")) if name and name.startswith("postgresql") else gone
    with pytest.raises(type(error())):
        Patience(name, 300)(failing(error, 1), "answer")
    assert pauses == []


METHODS = ("create_new_trial", "set_trial_user_attr", "set_trial_intermediate_value", "set_trial_state_values")


@pytest.mark.parametrize("method", [*METHODS, "get_all_trials", "get_study_user_attrs"])
def test_a_study_outlasts_a_database_that_is_away_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float], method: str
) -> None:
    """Some calls fail before they have done anything, once the first trial has been evaluated."""
    calls = itertools.count(1)
    objective = NetworkObjective(rungs=(10, 20, 40))
    plain = getattr(optuna.storages.JournalStorage, method)

    def sometimes(*given: Any, **named: Any) -> Any:
        if objective.calls and next(calls) in (2, 3, 9, 14):
            raise gone()
        return plain(*given, **named)

    monkeypatch.setattr(storage, "_is_database", lambda _: True)
    monkeypatch.setattr(optuna.storages.JournalStorage, method, sometimes)
    study, _ = run(tmp_path, objective, trials=8, seeds=2, storage=str(tmp_path / "s.journal"), executor=Scripted(2))
    monkeypatch.undo()
    assert pauses
    assert (len(complete(study)), len(study.trials), objective.calls) == (8, 8, 16)
    assert all(list(trial.intermediate_values) == [10, 20, 40] for trial in study.trials)


def test_a_storage_that_fails_at_the_end_does_not_hide_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(_: Any) -> None:
        raise gone()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Hold, "release", locked)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, NetworkObjective(act=interrupt), trials=3)
