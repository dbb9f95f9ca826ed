"""scripts.reproduce: every stage a command of its own, resumable, and a summary that follows from the figures."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest

from phiscale import SearchRecord
from phiscale.score_text import percent
from scripts.reproduce import ReproduceOptions, Stage, command_of
from scripts.shared.executors import ExecutorSettings
from tests.test_scripts import command

SMALL = ("--trials", "3", "--phis", "1", "--seeds", "3")


def reproduce(folder: Path, *arguments: str):
    return command("reproduce", "--name", "e", "--data", "embedded", "--results", folder, *SMALL, *arguments)


@pytest.mark.slow
def test_all_stages_end_in_a_statement_and_a_second_run_trains_nothing(tmp_path: Path) -> None:
    small = "--train.train-images 60 --train.validation-images 30 --train.images-seen 128 --train.batch-size 8"
    extra = f"--extra={small} --phi 1"
    done = reproduce(tmp_path, "--grid", extra)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "evidence" / "e.md").read_text()
    confirmation = SearchRecord.load(tmp_path / "e-gp" / "constants.json").details["confirmation"]
    overall = [row for row in confirmation["comparisons"] if row["phi"] is None]
    assert {row["rival"] for row in overall} == {"paper", "equal", "depth", "width", "resolution", "e-grid"}
    for row in overall:
        assert (
            f"| {row['rival']} | {row['difference']:+.4f} | +- {row['half_width']:.4f} | {percent(row['level'])} |"
            in text
        )
    assert "for these networks alone" in text or "no difference" in text
    assert "Nothing is shown for larger networks" in text
    assert (tmp_path / "evidence" / "e.png").stat().st_size > 1000
    families = list(csv.DictReader((tmp_path / "evidence" / "e-families.csv").read_text().splitlines()))
    assert {row["name"] for row in families} == {"recommended", *(row["rival"] for row in overall)}
    stages = [shlex.split(line)[1] for line in done.stdout.splitlines() if line.startswith("phiscale ")]
    assert stages == ["search", "search", "confirm"]
    assert "grid's best observed" in text
    rows = (tmp_path / "e-gp" / "confirm.csv").read_text()
    again = reproduce(tmp_path, "--grid", extra)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "e-gp" / "confirm.csv").read_text() == rows
    assert "\ntrial 0" not in again.stdout  # but it may be the best observed one
    alone = reproduce(tmp_path, "--stage", "summary", extra)
    assert alone.returncode == 0, alone.stderr
    assert "grid's best observed" not in (tmp_path / "evidence" / "e.md").read_text()


@pytest.mark.parametrize("stage", ["search", "grid", "confirm"])
def test_every_stage_runs_where_it_was_asked_to(stage: Stage) -> None:
    run = ExecutorSettings(workers=8, executor="ray", address="ray://head:10001")
    line = shlex.join(command_of(stage, ReproduceOptions(name="e", data="embedded", run=run)))
    assert "--workers 8 --executor ray --address ray://head:10001" in line
    alone = shlex.join(command_of(stage, ReproduceOptions(name="e", data="embedded")))
    assert "--workers 1" in alone
    assert "--executor" not in alone


def test_mistakes_end_in_one_sentence(tmp_path: Path) -> None:
    for arguments, status, message in (
        (("--stage", "summary"), 1, "expected a study in"),
        (("--stage", "search", "--extra=--phi 'x"), 2, "extra"),
        (("--stage", "search", "--extra=--joy 3"), 1, "the stage search ended with status 2"),
        (("--workers", "0"), 2, "expected 1 to 4096 workers, got 0"),
    ):
        done = reproduce(tmp_path, *arguments)
        assert (done.returncode, message in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr
