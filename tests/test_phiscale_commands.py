"""The command ``phiscale`` in any folder: what it lists, which modules it finds, what it says of a missing package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import phiscale
from phiscale import commands
from phiscale.cli import main
from phiscale.commands import COMMANDS, SCRIPTS, start
from phiscale.errors import SettingsError
from scripts.shared.setup import ObjectiveSettings, choose_baseline, load_objective
from tests.test_scripts import ROOT

OURS = ("objectives", "report", "scripts", "search")
SCORE = "def score(alpha, beta, gamma, seed):\n    return alpha - beta * gamma\n"
BUILD = "def build(depth, width, resolution, classes):\n    raise ValueError('mine')\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A person's project with folders of our names, which fail where they are imported, and a module of its own."""
    for name in OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('found in the project')\n")
    (tmp_path / "search" / "mine.py").write_text(SCORE)
    (tmp_path / "mine.py").write_text(SCORE)
    return tmp_path


def installed(*words: str, folder: Path, path: str = "", environment: dict[str, str] | None = None):
    """``phiscale`` as the script that an installation puts on the path, run in ``folder``."""
    script = folder / "bin" / "phiscale"
    script.parent.mkdir(exist_ok=True)
    target = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["phiscale"]
    module, _, function = target.partition(":")
    script.write_text(
        f"import sys\nfrom {module} import {function}\nif __name__ == '__main__':\n    sys.exit({function}())\n"
    )
    return python(str(script), *words, folder=folder, path=path, environment=environment)


def python(*words: str, folder: Path, path: str = "", environment: dict[str, str] | None = None):
    places = os.pathsep.join(filter(None, [path, str(ROOT)]))
    variables = {**os.environ, "PYTHONPATH": places, **(environment or {})}
    line = [sys.executable, *words]
    return subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)


def test_every_command_is_listed_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0
    for group, listed in COMMANDS.items():
        place = lines.index(f"{group}:") + 1
        assert lines[place : place + len(listed)] == [f"  {name:<12}{each.help}" for name, each in listed.items()]
    assert max(map(len, lines)) <= 80


def test_every_script_is_a_command() -> None:
    scripts = {path.stem for path in (ROOT / "scripts").glob("[a-z]*.py")}
    assert set(SCRIPTS.values()) == scripts
    for script in scripts:
        assert (
            f'"{next(name for name in SCRIPTS if SCRIPTS[name] == script)}"'
            in (ROOT / "scripts" / f"{script}.py").read_text()
        ), script


def test_commands_of_the_checkout_are_started_by_name_in_one_place() -> None:
    """What the layers contract cannot see: no other file of the package names a module of another folder."""
    for path in (ROOT / "phiscale").rglob("*.py"):
        started = [word for word in OURS if f'"{word}.' in path.read_text(encoding="utf-8")]
        assert started == (["scripts"] if path.name == "commands.py" else []), path


@pytest.mark.parametrize("name", ["search", "confirm", "dashboard"])
def test_help_of_a_command_shows_its_options(name: str, tmp_path: Path) -> None:
    shown = installed(name, "--help", folder=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: phiscale {name} ")
    assert "--study" in shown.stdout
    assert "Folder of all studies." in shown.stdout


def test_folders_of_a_project_disturb_neither_a_search_nor_its_workers(project: Path) -> None:
    (project / "optuna.py").write_text("raise RuntimeError('found in the project')\n")
    words = ("search", "--study", "s", "--objective", "mine:score", "--trials", "2", "--quiet", "--workers", "2")
    done = installed(*words, folder=project)
    assert done.returncode == 0, done.stderr
    config = json.loads((project / "results" / "s" / "config.json").read_text())
    assert config["command"] == " ".join(["phiscale", *words])


@pytest.mark.parametrize("path", ["", "."])
def test_folders_with_our_names_disturb_no_module_run_and_no_path(project: Path, path: str) -> None:
    place = str(project) if path else ""
    if not place:  # the current folder comes last, unless a person puts it on the path
        (project / "optuna.py").write_text("raise RuntimeError('found in the project')\n")
    done = python("-m", "phiscale", "report", "--study", "s", folder=project, path=place)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: expected a study in results/s"), done.stderr


@pytest.mark.parametrize(("name", "other"), [("search", "__init__.py"), ("search.mine", "mine.py")])
def test_a_module_with_the_name_of_another_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    monkeypatch.chdir(project)
    message = rf"expected the module '{name}' of --objective to be .*{other}, got that of .*; rename yours"
    with pytest.raises(SettingsError, match=message):
        load_objective(f"{name}:score", phiscale.FLOPS)
    (project / "textwrap.py").write_text(BUILD)
    with pytest.raises(SettingsError, match=r"'textwrap' of --factory to be .*textwrap.py, got that of .*textwrap.py"):
        choose_baseline(ObjectiveSettings(factory="textwrap:build"), 32)


def test_a_package_that_is_missing_is_named_with_its_extra(project: Path) -> None:
    done = python("-S", "-m", "phiscale", "report", "--study", "s", folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "phiscale: expected the package tyro for phiscale report, which is not installed; run: "
        f"pip install --editable '{ROOT}[search]'\n"
    )


@pytest.mark.parametrize(
    ("module", "extra"), [("optuna_dashboard", "dashboard"), ("PIL", "search"), ("ray", "cluster")]
)
def test_every_extra_is_known(monkeypatch: pytest.MonkeyPatch, module: str, extra: str) -> None:
    missing(module, monkeypatch)
    with pytest.raises(SettingsError, match=rf"package {module} for phiscale report, .*\[{extra}\]'"):
        start("report", [])


def test_a_missing_module_that_is_no_package_of_an_extra_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    missing("theirs", monkeypatch)
    with pytest.raises(ModuleNotFoundError, match="of theirs"):
        start("report", [])


def missing(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command need a module that is not there."""

    def fail(_: str) -> None:
        raise ModuleNotFoundError(f"a part of {module}", name=f"{module}.part")

    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["phiscale"])
    monkeypatch.setattr(commands, "importlib", SimpleNamespace(import_module=fail))
