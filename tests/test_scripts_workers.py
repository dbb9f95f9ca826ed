"""Several workers on one study: the total, replacing the dead, ending together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phiscale import StudyError
from scripts.shared.studies import StudyOptions
from tests.processes import descendants
from tests.test_scripts import ROOT, search, trials

SLOW = "tests.objectives_for_tests:SLOW"
STUCK = "tests.objectives_for_tests:STUCK"
LINUX = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the workers")


def started(results: Path, total: int, objective: str = SLOW) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(results), "--study", "s"]
    words += ["--objective", objective, "--trials", str(total), "--workers", "2"]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_of(driver: subprocess.Popen[str]) -> set[int]:
    """Process ids of the workers that live."""
    found = set()
    for process in descendants(driver.pid):
        try:
            command = Path(f"/proc/{process}/cmdline").read_text()
        except OSError:
            continue
        if "spawn_main" in command:
            found.add(process)
    return found


def lost(results: Path) -> dict[int, int]:
    """How often the evaluations of each running trial of the study were lost; none before the study is there."""
    try:
        study = StudyOptions(study="s", results=results).load()
    except StudyError:
        return {}
    return {t.number: t.user_attrs.get("lost", 0) for t in study.trials if t.state.name == "RUNNING"}


def wait_for(condition, seconds: float = 60.0):
    """The first true value of the condition."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def check(results: Path, total: int) -> None:
    rows = [row for row in trials(results) if row["state"] == "COMPLETE"]
    trained = [(row["fingerprint"], row["seeds"]) for row in rows]
    assert len(trained) == len(set(trained)) == total


def test_workers_share_a_study_and_say_each_trial_once(tmp_path: Path) -> None:
    done = search(tmp_path, "--study", "s", "--objective", SLOW, "--trials", "24", "--workers", "3")
    assert done.returncode == 0, done.stderr
    check(tmp_path, 24)
    lines = [line for line in done.stdout.splitlines() if line.startswith("trial ")]
    assert sorted(int(line.split()[1].rstrip(":")) for line in lines) == list(range(24))
    assert "24/24" in done.stdout
    assert done.stdout.count("written:") == 1


@LINUX
def test_a_worker_that_dies_is_replaced_and_its_trial_redone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import os, pathlib, time\n"
        "def score(alpha, beta, gamma):\n"
        "    (pathlib.Path(__file__).parent / f'{os.getpid()}.pid').touch()\n"
        "    time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    running = started(tmp_path, 24, "mine:score")
    wait_for(lambda: len(at_work(tmp_path)) == 2)  # both have a trial
    killed = min(at_work(tmp_path))
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: sorted(lost(tmp_path).values()) == [0, 1])
    wait_for(lambda: len(at_work(tmp_path)) == 3)  # a third one works on the trial
    assert workers_of(running) == at_work(tmp_path) - {killed}
    running.terminate()
    running.communicate(timeout=60)
    assert not workers_of(running)
    assert [row["failure_kind"] for row in trials(tmp_path)] == ["interrupted"] * 2


def at_work(folder: Path) -> set[int]:
    """The processes that have begun an evaluation."""
    return {int(path.stem) for path in folder.glob("*.pid")}


@LINUX
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_end_together_and_the_next_run_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    running = started(tmp_path, 400)
    assert running.stdout is not None
    while "[5/" not in running.stdout.readline():
        pass
    whole = descendants(running.pid)
    assert len(workers_of(running)) == 2
    running.send_signal(how)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == (130 if how != signal.SIGKILL else -signal.SIGKILL), errors
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in whole), seconds=10)
    assert "Traceback" not in errors
    again = search(tmp_path, "--study", "s", "--objective", SLOW, "--trials", "12")
    assert again.returncode == 0, again.stderr
    check(tmp_path, 12)
    assert "RUNNING" not in {row["state"] for row in trials(tmp_path)}


@LINUX
def test_an_evaluation_that_takes_too_long_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    words = ("--objective", STUCK, "--trials", "1", "--trial-timeout", "0.3", "--baselines", "none")
    done = search(tmp_path, "--study", "s", *words)
    assert done.returncode == 1
    assert "its evaluation was lost 4 times, the last time because it took more than 0.3 s" in done.stdout
    assert [row["failure_kind"] for row in trials(tmp_path)] == ["lost"]


@pytest.mark.parametrize("option", ["--workers", "--trial-timeout", "--gpus-per-worker"])
@pytest.mark.parametrize("value", ["-1", "5000x", "nan"])
def test_an_impossible_number_is_refused(tmp_path: Path, option: str, value: str) -> None:
    done = search(tmp_path, "--study", "s", "--objective", SLOW, option, value)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--workers", "--trial-timeout"])
def test_none_at_all_is_refused_too(tmp_path: Path, option: str) -> None:
    assert search(tmp_path, "--study", "s", "--objective", SLOW, option, "0").returncode == 2
    assert not (tmp_path / "s").exists()
