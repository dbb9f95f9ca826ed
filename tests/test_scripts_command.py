"""Searches of a person's own command, as a person runs them: workers, kills, logs, families, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import scripts.confirm
import scripts.run_search
from objectives.command.objective import CommandSettings
from objectives.training.settings import TrainSettings
from phiscale import ScalingConstants, SearchRecord, SettingsError, StudyError, match_budget
from phiscale.next_step import next_step
from scripts.confirm import ConfirmOptions
from scripts.run_search import SearchOptions
from scripts.shared.setup import ObjectiveSettings, make_command
from search.settings import SearchSettings
from tests.test_objectives_command import SIZES, alive, script
from tests.test_scripts import ROOT, search, trials
from tests.test_scripts_workers import LINUX, wait_for, workers_of
from tests.tiny_data import TINY

SCORE = """echo "{\\"score\\": $2}" """
HANG = "sleep 600 & echo $$ $! > $$.pids; wait"
"""Starts a process in the background, and never ends."""


def pids(folder: Path) -> list[int]:
    return [int(word) for file in folder.glob("*.pids") for word in file.read_text().split()]


def test_workers_run_a_command_for_networks_of_equal_cost_and_log_each(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(json.dumps(TINY.to_dict()))
    words = ["--study", "s", "--command", script(tmp_path, SCORE), "--command-folder", tmp_path, "--workers", "2"]
    words += ["--network", tmp_path / "net.json", "--trials", "8", "--rounding", "exact", "--command-score", "width"]
    done = search(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    rows = [row for row in trials(tmp_path) if row["state"] == "COMPLETE"]
    assert rows
    assert all(abs(float(row["cost_ratio"]) - 1) <= 0.02 for row in rows)
    assert all(float(row["value"]) == pytest.approx(float(row["realised_width"])) for row in rows)
    logs = {path.name for path in (tmp_path / "s" / "logs").iterdir()}
    assert logs == {f"{row['fingerprint']}-seed-{json.loads(row['seeds'])[0]}.log" for row in rows}
    record = SearchRecord.load(tmp_path / "s" / "constants.json")
    assert (record.network, record.score_name, record.phi) == (TINY, "width", 2.0)
    assert (tmp_path / "s" / "family.json").exists()
    with pytest.raises(StudyError, match=r"cannot be compared.*objective\.command"):
        run(tmp_path, ObjectiveSettings(own=CommandSettings(command=f"true {SIZES}")))


@LINUX
def test_no_command_outlives_a_worker_or_a_driver_that_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "scripts.run_search", "--results", tmp_path, "--study", "s", "--workers", "2"]
    words += ["--trials", "4", "--command", script(tmp_path, HANG), "--command-folder", tmp_path]
    driver = subprocess.Popen([*map(str, words)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(pids(tmp_path)) == 4)
        begun = pids(tmp_path)
        assert all(map(alive, begun))
        os.kill(workers_of(driver).pop(), signal.SIGKILL)
        assert wait_for(lambda: sum(map(alive, begun)) == 2)  # those of the other worker
        assert wait_for(lambda: len(pids(tmp_path)) == 6)  # and the trial is done again
    finally:
        driver.kill()
        driver.wait(60)
    assert wait_for(lambda: not any(map(alive, pids(tmp_path))))


def run(folder: Path, measure: ObjectiveSettings, **changes) -> None:
    """A search in this process."""
    settings = SearchSettings(trials=3, baselines="none", method="qmc", **changes)
    scripts.run_search.search(SearchOptions(study="s", results=folder, measure=measure, search=settings, quiet=True))


def test_a_factory_beside_a_command_gives_its_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = CommandSettings(command=script(tmp_path, SCORE), command_folder=tmp_path, command_classes=3)
    run(tmp_path, ObjectiveSettings(own=own, factory="tests.factories_for_tests:plain", resolution=16, phi=1.0))
    factory = SearchRecord.load(tmp_path / "s" / "constants.json").details["factory"]
    assert (factory["name"], factory["classes"]) == ("tests.factories_for_tests:plain", 3)
    assert [row["phi"] for row in factory["matched"]] == [0.0, 1.0, 2.0, 3.0]
    assert "multipliers for tests.factories_for_tests:plain" in capsys.readouterr().out


def confirmable(folder: Path, placeholders: str, body: str = "", **fields) -> None:
    """A study of TINY whose command scores its width in a search and its depth in a confirmation."""
    (folder / "net.json").write_text(json.dumps(TINY.to_dict()))
    text = script(folder, body or """[ $6 = test ] && echo "{\\"score\\": $1}" || echo "{\\"score\\": $2}" """)
    own = CommandSettings(command=f"{text} {placeholders}", command_folder=folder, **fields)
    run(folder, ObjectiveSettings(own=own, network=str(folder / "net.json")))


def test_a_command_is_confirmed_on_its_test_images_with_fresh_seeds(tmp_path: Path, capsys) -> None:
    confirmable(tmp_path, "{phi} {split}")
    record = SearchRecord.load(tmp_path / "s" / "constants.json")
    sure = dataclasses.replace(record, details={**record.details, "region_part": 0.1})
    assert "phiscale confirm --study s" in str(next_step(sure).command)
    options = ConfirmOptions(study="s", results=tmp_path, phis="1,2,3", seeds=1, rivals="depth,width")
    scripts.confirm.confirm(options)
    with (tmp_path / "s" / "confirm.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {float(row["phi"]) for row in rows} == {1.0, 2.0, 3.0}
    assert all(int(row["seed"]) < 0 for row in rows)
    families = list(csv.DictReader((tmp_path / "s" / "confirm-families.csv").read_text().splitlines()))
    deepest = {row["phi"]: float(row["mean"]) for row in families if row["name"] == "depth"}
    assert all(float(row["mean"]) < deepest[row["phi"]] for row in families if row["name"] == "width")
    for row in families:  # the multiplier of depth that the network of that size has
        network = match_budget(TINY, ScalingConstants(*(float(row[name]) for name in ("alpha", "beta", "gamma"))),
                               phi=float(row["phi"]))  # fmt: skip
        assert float(row["mean"]) == pytest.approx(network.realised.depth)
    confirmation = SearchRecord.load(tmp_path / "s" / "constants.json").details["confirmation"]
    assert {item["rival"] for item in confirmation["comparisons"]} == {"depth", "width"}
    scripts.confirm.confirm(options)
    assert f"{len(rows)} of {len(rows)} trainings done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("placeholders", "options", "message"),
    [
        ("{seed}", {}, "expected {split} in the study's --command"),
        ("{split}", {"data": "images"}, "expected no --data for a study of --command"),
        ("{split}", {"epochs": 3.0}, "expected no --epochs for a study of --command"),
    ],
)
def test_what_a_command_cannot_confirm_is_said(tmp_path: Path, placeholders: str, options: dict, message: str) -> None:
    confirmable(tmp_path, placeholders)
    with pytest.raises(StudyError, match=re.escape(message)):
        scripts.confirm.confirm(ConfirmOptions(study="s", results=tmp_path, **options))


def test_a_command_without_counted_networks_cannot_be_confirmed(tmp_path: Path) -> None:
    own = CommandSettings(command=script(tmp_path, SCORE) + " {split}", command_folder=tmp_path)
    run(tmp_path, ObjectiveSettings(own=own))
    with pytest.raises(StudyError, match="with --network or --factory"):
        scripts.confirm.confirm(ConfirmOptions(study="s", results=tmp_path))


def test_lengths_of_a_command_reach_a_horizon(tmp_path: Path) -> None:
    lengths = "20,40,80,160"
    body = """for n in 20 40 80 160; do all="$all, \\"$n\\": 0.$n"; done; echo "{\\"scores\\": {${all#, }}}" """
    own = CommandSettings(command=script(tmp_path, body), command_folder=tmp_path, command_rungs=lengths)
    run(tmp_path, ObjectiveSettings(own=own), horizon_images=320)
    record = SearchRecord.load(tmp_path / "s" / "constants.json")
    assert record.horizon is not None
    assert record.horizon.images == 320
    rows = list(csv.DictReader((tmp_path / "s" / "trials.csv").read_text().splitlines()))
    assert {row["rungs"] for row in rows} == {"[20, 40, 80, 160]"}


_COMMAND = CommandSettings(command=f"true {SIZES}")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"objective": "a:b"}, "either --objective or --command"),
        ({"data": "images", "side": 8}, "--command, or --data, --side of the proxy training"),
        ({"rounding": "tf", "resolution": 9}, "--network or --factory with --resolution, --rounding"),
        ({"own": CommandSettings(), "direction": "minimize"}, "--objective or --command"),
    ],
)
def test_options_that_a_command_would_ignore_are_refused(fields, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ObjectiveSettings(**{"own": _COMMAND, **fields})


@pytest.mark.parametrize(
    ("measure", "train", "said"),
    [
        (ObjectiveSettings(own=_COMMAND), TrainSettings(batch_size=9), "--train.epochs or --train.images-seen"),
        (ObjectiveSettings(own=_COMMAND, factory="timm:resnet18"), TrainSettings(), "expected --resolution"),
        (
            ObjectiveSettings(own=CommandSettings(command=f"true postgresql://me:hunter@host/db {SIZES}")),
            TrainSettings(),
            "without a password",
        ),
    ],
)
def test_what_a_command_cannot_have_is_refused(measure, train, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        make_command(measure, train, tmp_path)
    assert "hunter" not in str(raised.value)
