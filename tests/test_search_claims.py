"""Seeing which trials lost their worker, without taking anything from the run that does them again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from search.claims import is_interrupted
from search.workers import Worker

from report.answer import interrupted, summary
from report.page import html, markdown
from report.view import look
from tests.objectives_for_tests import NetworkObjective
from tests.test_search_run import complete, run

ELSEWHERE = "another-machine-12-abcdef01"


def running(worker: str | None) -> optuna.trial.FrozenTrial:
    attributes = {} if worker is None else {"worker": worker}
    return optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=attributes)


def test_a_trial_is_interrupted_once_its_worker_has_gone(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    trial = running(worker.name)
    assert not is_interrupted(trial, tmp_path)
    worker.close()
    assert is_interrupted(trial, tmp_path)


def test_a_trial_whose_worker_cannot_be_told_runs(tmp_path: Path) -> None:
    assert not is_interrupted(running(ELSEWHERE), tmp_path)
    assert not is_interrupted(running(None), tmp_path)
    (tmp_path / "workers" / f"{ELSEWHERE}.lock").mkdir(parents=True)  # as one that may not be read
    assert not is_interrupted(running(ELSEWHERE), tmp_path)


def test_a_process_that_has_ended_is_known_without_its_file(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    host = worker.name.rsplit("-", 2)[0]
    worker.close()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        trial = running(f"{host}-{other.pid}-abcdef01")
        assert not is_interrupted(trial, tmp_path)
        other.communicate(b"\n")
    assert is_interrupted(trial, tmp_path)


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.WAITING])
def test_only_running_trials_can_be_interrupted(tmp_path: Path, state: TrialState) -> None:
    worker = Worker(tmp_path)
    worker.close()
    assert not is_interrupted(optuna.trial.create_trial(state=state, user_attrs={"worker": worker.name}), tmp_path)


def test_a_look_leaves_what_the_next_run_needs(tmp_path: Path) -> None:
    """The file of a dead worker of another machine is all that tells of its death."""
    study, _ = run(tmp_path, NetworkObjective(), trials=3)
    study.ask().set_user_attr("worker", ELSEWHERE)
    file = tmp_path / "s" / "workers" / f"{ELSEWHERE}.lock"
    file.touch()
    view = look(study, tmp_path / "s")
    assert file.is_file()
    assert (view.counts["running"], view.counts["interrupted"], view.state) == (0, 1, "ended: 3 trials")
    sentence = "1 trial was interrupted and will be done again by the same command"
    assert all(sentence in text for text in (summary(view), html(view), markdown(view)))
    study, progress = run(tmp_path, NetworkObjective(), trials=5)
    assert "1 trial of an ended run will be done again" in progress.notes
    assert [trial.user_attrs.get("redo_of") for trial in study.trials].count(3) == 1
    assert len(complete(study)) == 5
    assert interrupted(look(study, tmp_path / "s")) == []
