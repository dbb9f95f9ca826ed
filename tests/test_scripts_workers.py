"""Several workers on one study: the total, replacing the dead, ending together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_scripts import ROOT, search, trials

SLOW = "tests.objectives_for_tests:SLOW"


def started(results: Path, total: int, workers: int = 3) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(results), "--study", "s"]
    words += ["--objective", SLOW, "--trials", str(total), "--workers", str(workers)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def alive(results: Path) -> list[int]:
    """Process ids of the study's workers that still run."""
    names = [path.name for path in (results / "s" / "workers").glob("*.lock")]
    return [pid for pid in (int(name.rsplit("-", 2)[1]) for name in names) if Path(f"/proc/{pid}").exists()]


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
    assert len({row["worker"] for row in trials(tmp_path)}) == 3
    assert done.stdout.count("written:") == 1


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the workers")
def test_a_worker_that_dies_is_replaced_and_its_trial_redone(tmp_path: Path) -> None:
    running = started(tmp_path, 90)
    workers = wait_for(lambda: pids if len(pids := alive(tmp_path)) == 3 else None)
    time.sleep(0.4)
    os.kill(next(pid for pid in workers if pid != running.pid), signal.SIGKILL)
    assert wait_for(lambda: set(alive(tmp_path)) - set(workers))
    output, errors = running.communicate(timeout=180)
    assert running.returncode == 0, errors
    check(tmp_path, 90)
    assert "90/90" in output


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the workers")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_all_workers_end_together(tmp_path: Path, how: signal.Signals) -> None:
    running = started(tmp_path, 400)
    workers = wait_for(lambda: pids if len(pids := alive(tmp_path)) == 3 else None)
    time.sleep(0.4)
    running.send_signal(how)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    again = search(tmp_path, "--study", "s", "--objective", SLOW, "--trials", "12")
    assert again.returncode == 0, again.stderr
    states = [row["state"] for row in trials(tmp_path)]
    assert "RUNNING" not in states
    assert states.count("COMPLETE") >= 12


@pytest.mark.parametrize("count", ["0", "-1", "1000", "two"])
def test_an_impossible_number_of_workers_is_refused(tmp_path: Path, count: str) -> None:
    done = search(tmp_path, "--study", "s", "--objective", SLOW, "--workers", count)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
