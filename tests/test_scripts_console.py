"""What commands share at the terminal: wrong usage in one sentence, signals, digits of scores."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from phiscale import FLOPS, SettingsError
from scripts.shared.console import _terminate, run_command
from scripts.shared.setup import load_objective
from tests.test_scripts import ROOT, command, name_of


@pytest.fixture
def handlers():
    """Leaves the handlers of signals as they were."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@dataclass(frozen=True, kw_only=True)
class Options:
    name: str = "x"


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("report", (), "error: expected --study NAME, or --compare with the names of two studies"),
        ("run_search", (), "Missing from phiscale search: --study STR"),
        ("report", ("--studdy", "x"), "Unrecognized options: --studdy"),
        ("report", ("--study",), "Missing value for argument '--study'"),
        ("report", ("--study", "s", "--print", "xml"), "invalid choice 'xml' for argument '--print'"),
        ("run_search", ("--study", "s", "--trials", "many"), "expected --trials as {None}|INT, got 'many'"),
        ("run_search", ("--study", "s", "--trails", "3"), "--trails, 3; Perhaps you meant: --trials {None}|INT; see"),
        ("run_search", ("--study", "s", "--trials", "1" * 300 + "x"), "1" * 300 + "x'"),
    ],
)
def test_wrong_usage_is_one_sentence(script: str, words: tuple[str, ...], said: str) -> None:
    done = command(script, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.endswith(f"; see phiscale {name_of(script)} --help\n")
    assert done.stderr.count("\n") == 1
    assert not {*done.stderr} & {*"│─╭"}


@pytest.mark.parametrize("encoding", ["ascii", "UTF-8", "utf-8"])
@pytest.mark.usefixtures("handlers")
def test_wrong_usage_is_one_sentence_in_every_encoding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    monkeypatch.setattr(sys, "argv", ["phiscale", "--nme", "y"])
    assert run_command(Options, print, "", "x") == 2
    assert capsys.readouterr().err.startswith("error: Unrecognized options: --nme")


def test_help_keeps_the_width_of_the_terminal() -> None:
    words = [sys.executable, "-m", "scripts.report", "--help"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "90"})
    assert max(len(line) for line in shown.stdout.splitlines() if line.startswith("│")) <= 90


@pytest.mark.parametrize("module", ["search.driver", "report.page", "objectives.landscape", "scripts.shared.console"])
def test_a_module_that_is_no_command_says_so(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the modules of {module.rpartition('.')[0]} are no commands" in done.stderr


def test_a_command_of_a_person_may_use_the_packages(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("import objectives, report, search")
    (tmp_path / "mine" / "run.py").write_text("print('ran')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    words = [sys.executable, "-m", "mine.run"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == "ran\n", done.stderr


@pytest.mark.usefixtures("handlers")
def test_a_command_runs_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python lets the main thread alone handle signals."""
    monkeypatch.setattr(sys, "argv", ["x"])
    before, found = signal.getsignal(signal.SIGTERM), []

    def interrupted(_: Options) -> None:
        raise KeyboardInterrupt

    def run() -> None:
        found.extend(run_command(Options, each, "", "x") for each in (lambda _: None, interrupted))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [0, 130]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("handlers")
def test_what_an_objective_forks_ends_by_signals_as_the_system_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool ends its workers by SIGTERM; each would print a traceback."""
    monkeypatch.setattr(sys, "argv", ["x"])
    found = []

    def fork(_: Options) -> None:
        assert signal.getsignal(signal.SIGTERM) is _terminate
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, b"d" if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else b"h")
            os._exit(0)
        os.waitpid(child, 0)
        found.append(os.read(read, 1))

    assert "fork" in multiprocessing.get_all_start_methods()
    assert run_command(Options, fork, "", "x") == 0
    assert found == [b"d"]


def test_scores_near_zero_are_told_apart_everywhere(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(
        "def score(alpha, beta, gamma, seed):\n    return 1e-7 * (2 - (alpha - 1.3) ** 2 + 0.01 * (seed % 7))\n"
    )
    words = [sys.executable, "-m", "scripts.run_search", "--study", "s", "--results", str(tmp_path), "--trials", "14"]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [*words, "--objective", "tiny:score"], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "s" / "report.html").read_text() + (tmp_path / "s" / "report.md").read_text()
    for text in (done.stdout, page, command("report", "--study", "s", "--results", tmp_path, "--print", "text").stdout):
        assert "e-07" in text
        assert "0.0000" not in text.replace("0.00000", "")
        assert "less than 0.001" not in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent_module", "No module named 'absent_module'; run from its folder"),
        ("broken", "ModuleNotFoundError: No module named 'absent_package'; that module fails by itself"),
        ("wrong", "ZeroDivisionError: division by zero; that module fails by itself"),
        ("unwritten", "SyntaxError: .*; that module fails by itself"),
    ],
)
def test_a_module_that_fails_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    for module, text in (("broken", "import absent_package"), ("wrong", "1 / 0"), ("unwritten", "def")):
        (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SettingsError, match=said):
        load_objective(f"{name}:score", FLOPS)


def test_an_interrupt_that_a_destructor_swallows_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "swallow.py").write_text(
        """
import os, signal, sys, time
from dataclasses import dataclass
from scripts.shared.console import run_command

@dataclass(frozen=True)
class Options:
    pass

class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

def work(options):
    Dropped()
    time.sleep(60)

sys.exit(run_command(Options, work, "", "work"))
"""
    )
    done = subprocess.run(
        [sys.executable, "swallow.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (130, "")
