"""Where a study is stored: named on the command line, in a file or in the environment, and no password is shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phiscale import SettingsError, StudyError
from scripts.dashboard import DashboardOptions
from scripts.run_search import SearchOptions
from scripts.shared.storage import VARIABLE, storage_given
from scripts.shared.studies import StudyOptions
from tests.test_scripts import NETWORK, ROOT, command, search

DATABASE = "postgresql+psycopg://u:hunter2@127.0.0.1:1/d"
QUICK = ("--study", "s", "--objective", NETWORK, "--trials", "2")


def test_the_nearest_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "storage.txt"
    file.write_text("from-file.journal\n")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert storage_given(None, None) is None
    monkeypatch.setenv(VARIABLE, "from-variable.journal")
    assert storage_given(None, None) == "from-variable.journal"
    assert storage_given(None, file) == "from-file.journal"
    assert storage_given("given.journal", None) == "given.journal"
    assert StudyOptions(study="s", storage_file=file).storage_name == "from-file.journal"
    assert SearchOptions(study="s", storage_file=file).storage_name == str(Path.cwd() / "from-file.journal")
    assert DashboardOptions().study is None  # all studies of the storage
    with pytest.raises(SettingsError, match="either --storage or --storage-file"):
        storage_given("given.journal", file)


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff"])
def test_a_file_that_names_no_storage_is_refused_without_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "storage.txt"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="storage.txt") as caught:
        storage_given(None, file)
    assert "two" not in str(caught.value)
    with pytest.raises(SettingsError, match="none.txt: No such file"):
        storage_given(None, tmp_path / "none.txt")


def test_only_a_short_file_is_read(tmp_path: Path) -> None:
    """Nothing that never ends, or that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_text("x" * 5000)
    for file in (tmp_path / "pipe", tmp_path / "long", tmp_path, Path("/dev/zero")):
        with pytest.raises(SettingsError, match=f"expected --storage-file {file} to be a file of at most 4096 bytes"):
            storage_given(None, file)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_password_that_others_can_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, warned: bool
) -> None:
    file = tmp_path / "storage.txt"
    file.write_text(f"\ufeff{DATABASE}\r\n")  # as editors of Windows write it
    file.chmod(mode)
    assert storage_given(None, file) == DATABASE
    assert capsys.readouterr().err == (
        f"others can read a password in --storage-file {file}; chmod 600 {file}\n" * warned
    )
    file.write_text("a.journal")
    storage_given(None, file)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("by", ["option", "file", "variable"])
def test_a_password_is_never_shown(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "storage.txt"
    file.write_text(DATABASE)
    words = {"option": ("--storage", DATABASE), "file": ("--storage-file", file), "variable": ()}[by]
    if by == "variable":
        monkeypatch.setenv(VARIABLE, DATABASE)
    for done in (
        search(tmp_path, *QUICK, *words),
        command("report", "--study", "s", "--results", tmp_path, "--print", "text", *words),
        command("dashboard", "--results", tmp_path, *words),
    ):
        said = done.stdout + done.stderr
        assert (done.returncode, "u:***@127.0.0.1" in said, "Traceback" in said) == (1, True, False), said
        assert "hunter2" not in said
        assert ("others can read a password in --storage;" in said) == (by == "option" and "study s" in done.stdout)
        assert ("others can read a password in --storage-file" in said) == (by == "file")


@pytest.mark.parametrize("storage", [(), ("--storage", "x.journal"), ("--storage", "sqlite:///x.db")])
def test_an_objective_that_changes_the_folder_moves_nothing(tmp_path: Path, storage: tuple[str, ...]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine.py").write_text(
        f"import os\ndef score(alpha, beta, gamma):\n    os.chdir({str(tmp_path / 'elsewhere')!r})\n    return alpha\n"
    )
    words = ["--study", "s", "--objective", "mine:score", "--trials", "3", "--results", "results", *storage]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.run_search", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert {"constants.json", "trials.csv", "report.html"} <= {p.name for p in (tmp_path / "results" / "s").iterdir()}
    stored = json.loads((tmp_path / "results" / "s" / "config.json").read_text())["storage"]
    assert StudyOptions(study="s", results=tmp_path / "results", storage=stored).load().trials


def test_a_study_is_found_again_by_the_same_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, journal = tmp_path / "storage.txt", tmp_path / "x.journal"
    file.write_text(str(journal))
    done = search(tmp_path, *QUICK, "--storage-file", file)
    assert done.returncode == 0, done.stderr
    assert journal.is_file()
    config = json.loads((tmp_path / "s" / "config.json").read_text())
    assert config["storage"] == str(journal)
    place = StudyOptions(study="s", results=tmp_path, storage_file=file)
    assert len(place.load().trials) == 2
    (tmp_path / "s" / "config.json").write_text(json.dumps(config | {"storage": "mysql://u:***@host/db"}))
    assert len(place.load().trials) == 2
    with pytest.raises(StudyError, match="expected --storage or --storage-file as given .* 's' is in mysql://u"):
        StudyOptions(study="s", results=tmp_path).load()


def test_workers_do_not_inherit_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import os\ndef score(alpha, beta, gamma):\n    return float('PHISCALE_STORAGE' in os.environ)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "x.journal"))
    done = search(tmp_path, "--study", "s", "--objective", "mine:score", "--trials", "2", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert {trial.value for trial in StudyOptions(study="s", results=tmp_path).load().trials} == {0.0}
