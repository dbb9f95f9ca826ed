"""A search on a PostgreSQL server: restarts, kills, a second driver, and a password that nobody sees."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.postgresql import PASSWORD, Server, server
from tests.processes import descendants
from tests.test_scripts import ROOT
from tests.test_scripts_workers import SLOW, check, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgresql")]
TRIALS = 40


@pytest.fixture
def database():
    with server() as made:
        yield made


def command(database: Server, results: Path, *more: str) -> list[str]:
    secret = results / "storage"
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_text(database.url)
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(results), "--study", "s"]
    words += ["--objective", SLOW, "--trials", str(TRIALS), "--workers", "4", "--storage-file", str(secret)]
    return [*words, *more]


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def none_of(processes: list[int]) -> bool:
    return not any(Path(f"/proc/{process}").exists() for process in processes)


def lines(running: subprocess.Popen[str], count: int) -> None:
    """Wait until so many trials have been told."""
    for line in running.stdout or ():
        count -= line.startswith("trial ")
        if count == 0:
            return


def test_a_restart_of_the_server_loses_nothing(database: Server, tmp_path: Path) -> None:
    running = start(command(database, tmp_path))
    lines(running, 8)
    database.stop()
    database.start()
    said, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert "trying again" in errors
    check(tmp_path, TRIALS)
    assert PASSWORD not in said + errors


def test_a_server_that_stays_away_ends_the_search_in_one_sentence(database: Server, tmp_path: Path) -> None:
    running = start(command(database, tmp_path, "--storage-patience", "1"))
    lines(running, 4)
    database.stop()
    _, errors = running.communicate(timeout=120)
    database.start()
    assert running.returncode == 1
    assert errors.strip().splitlines()[-1].startswith("error: the storage postgresql+psycopg://user:***@127.0.0.1")
    assert "Traceback" not in errors
    done = subprocess.run(command(database, tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check(tmp_path, TRIALS)


def test_another_folder_is_refused_while_a_driver_lives(database: Server, tmp_path: Path) -> None:
    running = start(command(database, tmp_path / "one"))
    lines(running, 2)
    other = subprocess.run(command(database, tmp_path / "two"), cwd=ROOT, capture_output=True, text=True)
    assert other.returncode == 1
    assert f"is held by process {running.pid} on " in other.stderr
    assert "--take-over" in other.stderr
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    check(tmp_path / "one", TRIALS)


def test_the_password_is_on_no_command_line_and_in_no_environment(database: Server, tmp_path: Path) -> None:
    running = start(command(database, tmp_path))
    lines(running, 4)
    shown = ""
    for process in (running.pid, *descendants(running.pid)):
        shown += Path(f"/proc/{process}/cmdline").read_text() + Path(f"/proc/{process}/environ").read_text()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert len(shown) > 100
    assert "p-7d1f" not in shown
    assert "p-7d1f" not in (tmp_path / "s" / "config.json").read_text()


def test_kills_lose_and_repeat_nothing(database: Server, tmp_path: Path) -> None:
    moments = random.Random(3)
    for _ in range(4):
        running = start(command(database, tmp_path))
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=moments.uniform(2.0, 5.0))
        workers = descendants(running.pid)
        running.kill()
        running.communicate()
        wait_for(partial(none_of, workers))
    done = subprocess.run(command(database, tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check(tmp_path, TRIALS)
