"""scripts.confirm from a small real study: resuming, the record, the tables, and mistakes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from phiscale import SearchRecord
from tests.test_scripts import command, search

TINY = ("--train.train-images", "80", "--train.validation-images", "40", "--train.epochs", "1", "--phi", "1")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("confirm")
    done = search(folder, "--study", "s", "--trials", "4", "--baselines", "paper,width", *TINY)
    assert done.returncode == 0, done.stderr
    return folder


def confirm(results: Path, *arguments: str):
    return command("confirm", "--study", "s", "--results", results, "--images", "60", *arguments)


def test_a_verdict_is_written_and_a_second_run_trains_only_what_is_missing(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "s", tmp_path / "s")
    first = confirm(tmp_path, "--phis", "1", "--seeds", "2")
    assert first.returncode == 0, first.stderr
    rows = list(csv.DictReader((tmp_path / "s" / "confirm.csv").read_text().splitlines()))
    keys = {(row["phi"], row["fingerprint"], row["seed"]) for row in rows}
    assert len(keys) == len(rows)
    assert {row["seed"] for row in rows} == {"-1", "-2"}
    confirmation = SearchRecord.load(tmp_path / "s" / "constants.json").details["confirmation"]
    assert "the paper's constants" in confirmation["verdict"]
    assert confirmation["verdict"] in first.stdout
    assert "Confirmed with fresh seeds" in (tmp_path / "s" / "report.html").read_text()
    table = list(csv.DictReader((tmp_path / "s" / "confirm-families.csv").read_text().splitlines()))
    assert {row["name"] for row in table} >= {"recommended", "paper", "width", "equal"}
    assert len({row["n"] for row in table}) == 1
    macs = [int(row["macs"]) for row in table]
    assert max(macs) / min(macs) < 1.045
    again = confirm(tmp_path, "--phis", "1", "--seeds", "3")
    assert f"{len(rows)} of {len(rows) // 2 * 3} trainings done" in again.stdout
    more = list(csv.DictReader((tmp_path / "s" / "confirm.csv").read_text().splitlines()))
    assert more[: len(rows)] == rows
    assert len(more) == len(rows) // 2 * 3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--seeds", "0"), 2, "seeds of at least 1"),
        (("--phis", "x"), 2, "expected phi as"),
        (("--study", "none"), 1, "cannot read the record"),
    ],
)
def test_mistakes_end_in_one_sentence(study: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    done = confirm(study, *arguments)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_files_are_named_and_kept(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "s", tmp_path / "s")
    (tmp_path / "s" / "confirm.csv").write_text("setting,phi\nx,1")
    done = confirm(tmp_path, "--phis", "1", "--seeds", "1")
    assert (done.returncode, "damaged table" in done.stderr) == (1, True)
    assert (tmp_path / "s" / "confirm.csv").read_text() == "setting,phi\nx,1"
    (tmp_path / "s" / "config.json").write_text('{"train": {"epochs": ')
    done = confirm(tmp_path, "--phis", "1", "--seeds", "1")
    assert (done.returncode, "config.json" in done.stderr) == (1, True)


def test_a_study_without_networks_cannot_be_confirmed(tmp_path: Path) -> None:
    search(tmp_path, "--study", "s", "--objective", "objectives.landscape:INTERIOR", "--trials", "9")
    done = confirm(tmp_path)
    assert done.returncode == 1
    assert "another objective" in done.stderr
    assert json.loads((tmp_path / "s" / "constants.json").read_text())["network"] is None
