"""One driver a study: who is refused, who may take over, and what a driver that was taken over still does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock, Timeout

from objectives.landscape import INTERIOR
from phiscale import StudyError, TrialError
from search import hold
from search.executors.contract import Job, Lost, Raised
from search.hold import Hold, is_driven, writing
from search.storage import open_storage
from search.study import load_study
from tests.objectives_for_tests import NetworkObjective
from tests.search_for_tests import Scripted, complete, run

HELD = r"the study 's' is held by process \d+ on \S+ since 20\d\d-\d\d-\d\d .*--take-over"
HERE = hold._host()
CHILD = """
import sys
from pathlib import Path
from search.hold import Hold
from search.storage import open_storage
import optuna
study = optuna.load_study(study_name="s", storage=open_storage(sys.argv[2], Path(sys.argv[1]), to_write=True))
held = Hold(study, Path(sys.argv[1]) if sys.argv[3] == "locks" else None)
print("held", flush=True)
input()
held.release()
"""


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    (tmp_path / "s").mkdir()
    return optuna.create_study(
        study_name="s", storage=open_storage(str(tmp_path / "s.journal"), tmp_path / "s", to_write=True)
    )


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def other(tmp_path: Path, study: optuna.Study) -> Iterator[Start]:
    """Starts a driver in a process of its own, which holds the study when it is given."""
    started: list[subprocess.Popen[str]] = []

    def start(locks: str = "locks") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, str(tmp_path / "s"), str(tmp_path / "s.journal"), locks]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("locks", ["locks", "no locks"])
@pytest.mark.parametrize("folder", ["s", "elsewhere", None])
def test_a_second_driver_is_refused_until_the_first_has_ended(
    tmp_path: Path, study: optuna.Study, other: Start, locks: str, folder: str | None
) -> None:
    """From the same folder, another one, or none: the claim stands in the storage (A6 of the list of faults)."""
    place = None if folder is None else tmp_path / folder
    if place is not None:
        place.mkdir(exist_ok=True)
    assert not is_driven(study)
    first = other(locks)
    assert is_driven(study)
    before = study.user_attrs
    with pytest.raises(StudyError, match=HELD) as caught:
        Hold(study, place)
    assert f"process {first.pid} on {HERE}" in str(caught.value)
    assert study.user_attrs == before
    first.communicate("\n")
    assert not is_driven(study)
    Hold(study, place).release()
    assert list((tmp_path / "s").glob("driver-*")) == []


@pytest.mark.parametrize("locks", ["locks", "no locks"])
def test_the_claim_of_a_killed_driver_is_taken_without_asking(
    tmp_path: Path, study: optuna.Study, other: Start, locks: str
) -> None:
    first = other(locks)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert study.user_attrs["driver"]["process"] == first.pid
    assert not is_driven(study)
    held = Hold(study, tmp_path / "s")
    assert len(list((tmp_path / "s").glob("driver-*.lock"))) == 1  # that of the killed one is removed
    assert is_driven(study)
    held.release()
    assert study.user_attrs["driver"] is None


def test_a_driver_of_another_host_cannot_be_told_and_can_be_declared_dead(
    tmp_path: Path, study: optuna.Study, other: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = other()
    first.kill()
    first.wait()
    monkeypatch.setattr(hold, "_host", lambda: "another-machine")
    assert is_driven(study)
    with pytest.raises(StudyError, match=HELD):
        Hold(study, tmp_path / "s")
    held = Hold(study, tmp_path / "s", take_over=True)
    held.check()
    assert study.user_attrs["driver"]["host"] == "another-machine"
    held.release()


def test_a_second_search_of_the_same_process_is_refused(study: optuna.Study) -> None:
    """Of another thread, say: without a folder no lock tells that the first one lives."""
    first = Hold(study, None)
    assert is_driven(study)
    with pytest.raises(StudyError, match=HELD):
        Hold(study, None)
    first.release()
    Hold(study, None).release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_of_the_driver_is_none(tmp_path: Path, study: optuna.Study) -> None:
    held = Hold(study, tmp_path / "s")
    child = os.fork()
    if not child:
        try:
            held.check()
        except StudyError:
            held.release()
            os._exit(3)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    held.check()
    assert hold._is_locked(Path(study.user_attrs["driver"]["lock"]))
    held.release()


def test_a_claim_that_cannot_be_stored_leaves_no_lock(
    tmp_path: Path, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(study, "set_user_attr", fail)
        with pytest.raises(OSError, match="disk full"):
            Hold(study, tmp_path / "s")
    assert list((tmp_path / "s").iterdir()) == []
    Hold(study, tmp_path / "s").release()


def test_who_was_taken_over_hears_of_it_and_leaves_the_claim_alone(tmp_path: Path, study: optuna.Study) -> None:
    first = Hold(study, tmp_path / "s")
    second = Hold(study, tmp_path / "s", take_over=True)
    with pytest.raises(StudyError, match=rf"'s' was taken over by process {os.getpid()} on .*; this search ends here"):
        first.check()
    first.release()
    second.check()
    second.release()
    with pytest.raises(StudyError, match="'s' was taken over; this search ends here"):
        second.check()


@pytest.mark.parametrize("storage", [None, "the.journal"])
def test_a_search_refuses_a_second_one_and_takes_over(tmp_path: Path, storage: str | None) -> None:
    """The second comes while trials 0 and 3 run."""
    name = str(tmp_path / storage) if storage else f"sqlite:///{tmp_path}/the.db"
    settings: dict[str, Any] = {"trials": 6, "method": "qmc", "storage": name}
    second: list[Any] = []

    def come(job: Job, done: int) -> None:
        if done == 3:
            with pytest.raises(StudyError, match=HELD):
                run(tmp_path / "elsewhere", NetworkObjective(), **settings)
            second.append(run(tmp_path / "elsewhere", NetworkObjective(), take_over=True, **settings)[0])

    with pytest.raises(StudyError, match="was taken over; this search ends here"):
        run(tmp_path, NetworkObjective(), executor=Scripted(2, come), **settings)
    (study,) = second
    assert len(complete(study)) == 6
    assert len(study.trials) == 8  # the two that ran were done again
    assert sorted(t.user_attrs["redo_of"] for t in study.trials if "redo_of" in t.user_attrs) == [0, 3]
    networks = [trial.user_attrs["fingerprint"] for trial in complete(study)]
    assert len(set(networks)) == 6


@pytest.mark.parametrize("ends", ["finished", "failed", "lost"])
def test_who_was_taken_over_writes_nothing_more(tmp_path: Path, ends: str) -> None:
    """Whatever comes back to it."""
    journal = tmp_path / "the.journal"
    lines: list[int] = []

    def take_over(job: Job, done: int) -> Any:
        if done < 2:
            return None
        study = load_study("s", tmp_path / "s", str(journal))
        Hold(study, None, take_over=True)
        lines.append(len(journal.read_text().splitlines()))
        failure = Raised(job.key, TrialError("diverged", "NaN"), "", "", "")
        return {"finished": None, "failed": failure, "lost": Lost(job.key, "its node was lost")}[ends]

    with pytest.raises(StudyError, match="was taken over by process"):
        run(tmp_path, INTERIOR, trials=4, storage=str(journal), executor=Scripted(1, take_over))
    assert len(journal.read_text().splitlines()) == lines[0]


SEARCH = """
import os, signal, sys
from pathlib import Path
from tests.objectives_for_tests import NetworkObjective
from tests.search_for_tests import run
def die(call):
    if call == 3:
        os.kill(os.getpid(), signal.SIGKILL)
run(Path(sys.argv[1]), NetworkObjective(act=die), trials=6, method="qmc")
"""


def test_a_search_that_was_killed_is_resumed_by_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SEARCH, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    study, progress = run(tmp_path, NetworkObjective(), trials=6, method="qmc")
    assert "1 trial of an ended run will be done again" in progress.notes
    assert (len(complete(study)), len(study.trials)) == (6, 7)
    assert sorted(path.name for path in (tmp_path / "s").iterdir() if "lock" in path.name) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    with pytest.raises(StudyError, match=r"cannot write to .*s: .*; choose another --results"):
        run(tmp_path, INTERIOR, trials=3)


def test_result_files_are_written_by_one_at_a_time(tmp_path: Path) -> None:
    with writing(tmp_path), pytest.raises(Timeout):
        FileLock(tmp_path / "results.lock", timeout=0).acquire()
    FileLock(tmp_path / "results.lock", timeout=0).acquire()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.lock").mkdir()
    with pytest.raises(StudyError, match="cannot lock .*other"), writing(tmp_path / "other"):
        pass
