"""The commands as a person runs them: help, exit statuses, messages, files, kill -9."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phiscale import BASELINES, SearchRecord
from phiscale.commands import SCRIPTS
from phiscale.published import MEASURED_RULES

ROOT = Path(__file__).parent.parent
NETWORK = "tests.objectives_for_tests:NetworkObjective"


def command(script: str, *arguments: str | Path, timeout: float = 540) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-W", "error", "-m", f"scripts.{script}", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def name_of(script: str) -> str:
    """How ``phiscale`` calls a file in ``scripts/``."""
    return next(name for name, file in SCRIPTS.items() if file == script)


def search(results: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return command("run_search", "--results", results, *arguments)


def trials(results: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((results / "s" / "trials.csv").read_text().splitlines()))


@pytest.mark.parametrize("script", ["run_search", "calibrate_cost"])
def test_help_lists_every_baseline(script: str) -> None:
    words = command(script, "--help").stdout.replace("│", " ").replace(",", " ").split()
    assert set(BASELINES) <= set(words)


@pytest.mark.parametrize("script", ["run_search", "report", "export_onnx", "dashboard"])
def test_help_teaches_and_loads_nothing_heavy(script: str) -> None:
    shown = command(script, "--help")
    assert shown.returncode == 0
    assert f"Run: phiscale {name_of(script)}" in shown.stdout
    probe = (
        "import sys; sys.argv=['x','--help']\n"
        f"import scripts.{script} as s\n"
        "try: s.main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', sorted({'torch','optuna','numpy','scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert "LOADED []" in done.stdout


def test_a_search_leaves_its_files(tmp_path: Path) -> None:
    done = search(tmp_path, "--study", "s", "--objective", NETWORK, "--trials", "10")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "s"
    for name in ("study.db", "config.json", "trials.csv", "constants.json", "family.json"):
        assert (folder / name).stat().st_size > 0
    assert not list(folder.glob("study.db-*"))  # the file alone holds the study
    assert (folder / "study.db").read_bytes()[18:20] == b"\x01\x01"  # and needs no log beside it to be read
    rows = trials(tmp_path)
    assert len(rows) == 10
    assert all(abs(float(row["cost_ratio"]) - 1) <= 0.02 for row in rows)
    assert "alpha" in done.stdout
    assert "10/10" in done.stdout


def test_quiet_prints_the_result_only(tmp_path: Path) -> None:
    done = search(tmp_path, "--study", "s", "--objective", NETWORK, "--trials", "9", "--quiet")
    assert done.returncode == 0
    assert "trials/min" not in done.stdout
    assert "alpha" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "--study"),
        (("--study", "../x"), 2, "study name of letters"),
        (("--study", "s", "--method", "annealing"), 2, "annealing"),
        (("--study", "s", "--trials", "0"), 2, "trials to be at least 1"),
        (("--study", "s", "--trials", "many"), 2, "many"),
        (("--study", "s", "--phi", "nan"), 2, "phi other than 0"),
        (("--study", "s", "--phi", "0"), 2, "phi other than 0"),
        (("--study", "s", "--objective", ""), 2, "package.module:attribute, got nothing"),
        (("--study", "s", "--objective", "nowhere"), 2, "package.module:attribute"),
        (("--study", "s", "--objective", "nowhere:X"), 2, "cannot import 'nowhere'"),
        (("--study", "s", "--objective", "objectives.landscape:NOTHING"), 2, "no attribute 'NOTHING'"),
        (("--study", "s", "--objective", "tests.objectives_for_tests:NOT_AN_OBJECTIVE"), 2, "got int"),
        (
            ("--study", "s", "--objective", NETWORK, "--data", "x", "--phi", "1"),
            2,
            "--data, --phi of the proxy training",
        ),
        (("--study", "s", "--objective", NETWORK, "--train.images-seen", "9000"), 2, "or options of --train"),
        (("--study", "s", "--direction", "minimize"), 2, "minimize with --objective or --command, got it without"),
        (("--study", "s", "--gpus-per-worker", "1"), 2, "--gpus-per-worker with --executor ray, got it without"),
        (("--study", "s", "--address", "ray://h:1"), 2, "--address with --executor ray"),
        (("--study", "s", "--objective", "tests.objectives_for_tests:ALWAYS_FAILS"), 1, "does not fit"),
        (("--study", "s", "--data", "/nowhere/at/all"), 1, "/nowhere/at/all"),
        (("--study", "s", "--network", "/nowhere/net.json"), 1, "/nowhere/net.json"),
        (("--study", "s", "--objective", NETWORK, "--storage", "postgresql://u:hunter2@127.0.0.1:1/d"), 1, "u:***@"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path: Path, arguments, status: int, message: str) -> None:
    done = search(tmp_path, *arguments)
    assert (done.returncode, message in done.stderr + done.stdout) == (status, True), done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not any("hunter2" in path.read_text(errors="ignore") for path in tmp_path.rglob("*.json"))


def test_a_network_file_with_a_mistake_is_named(tmp_path: Path) -> None:
    network = tmp_path / "net.json"
    network.write_text('{"name": "x"}')
    done = search(tmp_path, "--study", "s", "--network", network)
    assert done.returncode == 1
    assert "lacks" in done.stderr
    assert "net.json" in done.stderr


def test_a_changed_setting_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    search(tmp_path, "--study", "s", "--objective", NETWORK, "--trials", "4")
    done = search(tmp_path, "--study", "s", "--objective", "objectives.landscape:INTERIOR", "--trials", "8")
    assert done.returncode == 1
    assert "cannot be compared" in done.stderr
    assert "objective: 'network' before, 'landscape' asked" in done.stderr
    assert "objectives_for_tests" in (tmp_path / "s" / "config.json").read_text()


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = ("--study", "s", "--objective", "tests.objectives_for_tests:interrupted", "--trials", "9")
    done = search(tmp_path, *arguments)
    assert done.returncode == 130
    assert "phiscale search --results" in done.stderr
    assert "Traceback" not in done.stderr
    assert [row["state"] for row in trials(tmp_path)].count("COMPLETE") == 4
    done = search(tmp_path, "--study", "s", "--objective", NETWORK, "--trials", "9")
    assert done.returncode == 0
    states = [row["state"] for row in trials(tmp_path)]
    assert (states.count("COMPLETE"), states.count("FAIL")) == (9, 1)


def test_a_study_whose_trials_all_fail_leaves_their_reasons(tmp_path: Path) -> None:
    done = search(tmp_path, "--study", "s", "--objective", "tests.objectives_for_tests:ALWAYS_FAILS", "--trials", "2")
    assert done.returncode == 1
    assert "no trial of study 's' has finished; the last failed because: the network does not fit" in done.stderr
    assert [row["failure"] for row in trials(tmp_path) if row["state"] == "FAIL"] == ["the network does not fit"] * 2


def test_a_parameter_budget_is_drawn_on_its_line(tmp_path: Path) -> None:
    arguments = ("--study", "s", "--objective", "objectives.landscape:INTERIOR", "--cost", "params", "--trials", "10")
    done = search(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s" / "triangle.png").stat().st_size > 0
    assert "family.json" not in done.stdout  # this objective has no network


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(tmp_path), "--study", "s", "--trials", "2"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*words, "--objective", NETWORK], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_that_nobody_reads_any_longer_ends_the_command_without_a_word(tmp_path: Path) -> None:
    """As ``| head -1`` does; what has finished is kept."""
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(tmp_path), "--study", "s", "--trials", "300"]
    words += ["--objective", "tests.objectives_for_tests:SLOW"]
    running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stderr is not None
    assert any(line.startswith("trial 1") for line in running.stdout)  # that many are read
    running.stdout.close()
    assert (running.wait(60), running.stderr.read()) == (141, "")
    running.stderr.close()
    assert [row["state"] for row in trials(tmp_path)].count("COMPLETE") >= 2


def test_a_command_needs_no_output(tmp_path: Path) -> None:
    """Standard output may be closed from the start."""
    words = [sys.executable, "-m", "scripts.report", "--study", "none", "--results", str(tmp_path)]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *words], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


def test_what_other_code_says_is_one_line_that_the_terminal_does_not_obey(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import phiscale\n"
        "SAID = 'red \\x1b[31m\\n\\u202e' + 'x' * 9000\n"
        "def failing(alpha, beta, gamma):\n    raise phiscale.TrialError('odd', SAID)\n"
        "def raising(alpha, beta, gamma):\n    raise ValueError(SAID)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PHISCALE_TRACEBACK", "1")
    for name, said_by in (("failing", "stdout"), ("raising", "stderr")):
        done = search(tmp_path / name, "--study", "s", "--objective", f"mine:{name}", "--trials", "1")
        (line,) = [
            line for line in getattr(done, said_by).splitlines() if line.startswith(("trial 0", "error: trial 0"))
        ]
        assert r"red \x1b[31m \u202exxx" in line
        assert len(line) < 1000
    assert ", in raising\n    raise ValueError(SAID)\n" in done.stderr  # the person's own traceback
    reason = trials(tmp_path / "failing")[0]["failure"]
    assert reason.isprintable()
    assert len(reason) == 400


@pytest.mark.slow
def test_ten_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(tmp_path), "--study", "s", "--trials", "30"]
    words += ["--objective", "tests.objectives_for_tests:SLOW"]
    moments = random.Random(7)
    for _ in range(10):
        running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            running.wait(timeout=moments.uniform(1.0, 3.5))
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
        running.wait()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = trials(tmp_path)
    complete = [(row["fingerprint"], row["seeds"]) for row in rows if row["state"] == "COMPLETE"]
    assert len(complete) == len(set(complete)) == 30
    assert all(row["failure_kind"] == "interrupted" for row in rows if row["state"] == "FAIL")
    names = [name for row in rows if row["state"] == "COMPLETE" for name in json.loads(row["names"] or "[]")]
    assert sorted(names) == sorted(MEASURED_RULES)
    whole = search(tmp_path / "whole", "--study", "s", "--objective", NETWORK, "--trials", "30")
    assert whole.returncode == 0, whole.stderr
    killed, never = (SearchRecord.load(folder / "s" / "constants.json") for folder in (tmp_path, tmp_path / "whole"))
    assert killed.constants.as_tuple() == pytest.approx(never.constants.as_tuple(), abs=1e-9)
    assert sorted(complete) == sorted(
        (row["fingerprint"], row["seeds"]) for row in trials(tmp_path / "whole") if row["state"] == "COMPLETE"
    )
