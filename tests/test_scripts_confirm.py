"""scripts.confirm from a small real study: resuming, the record, the tables, and mistakes."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import scripts.confirm
from objectives.data.imageset import ImageSet
from objectives.data.load import load_data
from objectives.training.settings import TrainSettings
from phiscale import (
    ROUNDINGS,
    Multipliers,
    NetworkSpec,
    SearchRecord,
    Shares,
    StudyError,
    constants_from_shares,
    match_budget,
    shares_of_direction,
)
from scripts.confirm import ConfirmOptions
from scripts.shared.rivals import fresh_seed
from tests.processes import descendants
from tests.test_scripts import ROOT, command, search
from tests.test_scripts_workers import wait_for

TINY = ("--train.train-images", "80", "--train.validation-images", "40", "--phi", "1")
TINY += ("--train.images-seen", "256", "--train.batch-size", "16")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("confirm")
    done = search(folder, "--study", "s", "--trials", "4", "--baselines", "paper,width", *TINY)
    assert done.returncode == 0, done.stderr
    return folder


def test_scores_are_of_images_that_the_search_never_saw(study: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(study / "s", tmp_path / "s")
    scored: list[ImageSet] = []

    def train(spec: object, images: ImageSet, *_: object, **__: object) -> SimpleNamespace:
        scored.append(images)
        return SimpleNamespace(scores=(0.5,), seconds=0.0)

    monkeypatch.setattr("objectives.training.train.train_proxy", train)
    scripts.confirm.confirm(scripts.confirm.ConfirmOptions(study="s", results=tmp_path, phis="1", seeds=1, images=60))
    seen = load_data(train_images=80, validation_images=40, seed=0)
    assert {images.fingerprint for images in scored} == {scored[0].fingerprint}
    assert np.array_equal(scored[0].train_images, seen.train_images)
    fresh = {image.tobytes() for image in scored[0].validation_images}
    assert len(fresh) == 60
    assert not fresh & {image.tobytes() for image in (*seen.train_images, *seen.validation_images)}


def confirm(results: Path, *arguments: str):
    return command("confirm", "--study", "s", "--results", results, "--images", "60", *arguments)


def test_a_verdict_is_written_and_a_second_run_trains_only_what_is_missing(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "s", tmp_path / "s")
    first = confirm(tmp_path, "--phis", "1", "--seeds", "2")
    assert first.returncode == 0, first.stderr
    rows = list(csv.DictReader((tmp_path / "s" / "confirm.csv").read_text().splitlines()))
    keys = {(row["phi"], row["fingerprint"], row["seed"]) for row in rows}
    assert len(keys) == len(rows)
    assert {int(row["seed"]) for row in rows} == {fresh_seed(1.0, 0), fresh_seed(1.0, 1)}
    confirmation = SearchRecord.load(tmp_path / "s" / "constants.json").details["confirmation"]
    assert "the paper's constants" in confirmation["verdict"]
    assert confirmation["verdict"] in first.stdout
    assert "on images that the search never saw" in (tmp_path / "s" / "report.html").read_text()
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


def test_sizes_share_no_seeds_rules_of_a_size_do_and_progress_names_rules(
    study: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = shutil.copytree(study / "s", tmp_path / "s")
    monkeypatch.setattr("objectives.training.train.train_proxy", by_seed)
    options = ConfirmOptions(study="s", results=tmp_path, phis="1,2,2,3", seeds=3, images=60, rivals="paper,width")
    scripts.confirm.confirm(options)
    rows = list(csv.DictReader((folder / "confirm.csv").read_text().splitlines()))
    seeds = {(float(row["phi"]), row["fingerprint"]): set() for row in rows}
    for row in rows:
        seeds[float(row["phi"]), row["fingerprint"]].add(int(row["seed"]))
    of_size = {phi: {frozenset(found) for (at, _), found in seeds.items() if at == phi} for phi in (1.0, 2.0, 3.0)}
    assert {phi: len(found) for phi, found in of_size.items()} == {1.0: 1, 2.0: 1, 3.0: 1}
    assert len(frozenset.union(*(next(iter(found)) for found in of_size.values()))) == 9
    assert all(int(row["seed"]) < 0 for row in rows)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("phi ") and "]" in line]
    assert len(lines) == len(rows)
    assert all(
        re.fullmatch(r"phi [123] [a-z=]*(recommended|paper|width)[a-z=]*: 0\.\d+   \[.*\]", line) for line in lines
    )
    assert all(re.search(r"\[\d+/\d+, \d+\.\d min left\]", line) for line in lines[:-1])
    assert lines[-1].endswith(f"[{len(rows)}/{len(rows)}]")
    found = SearchRecord.load(folder / "constants.json").details["confirmation"]
    assert "over 3 sizes, 9 pairs of trainings, after" in found["verdict"]
    assert all(row["about_rule"] for row in found["comparisons"] if row["phi"] is None)


def by_seed(spec: NetworkSpec, *_: object, seed: int, **__: object) -> SimpleNamespace:
    """A score that a network and a seed have in common."""
    drawn = np.random.default_rng([spec.total_repeats, spec.resolution, -seed]).random()
    return SimpleNamespace(scores=(round(0.6 + 0.1 * drawn, 4),), seconds=0.0)


def test_the_confirmed_score_takes_the_place_of_the_expected_one_at_the_size_and_length_of_the_search(
    study: Path, tmp_path: Path, monkeypatch
) -> None:
    folder = shutil.copytree(study / "s", tmp_path / "s")
    searched = SearchRecord.load(folder / "constants.json").expected
    monkeypatch.setattr("objectives.training.train.train_proxy", by_seed)
    options = ConfirmOptions(study="s", results=tmp_path, phis="2", seeds=3, images=60, rivals="paper")
    for elsewhere in (options, dataclasses.replace(options, phis="1", epochs=4.5)):
        scripts.confirm.confirm(elsewhere)
        assert SearchRecord.load(folder / "constants.json").expected == searched
    scripts.confirm.confirm(dataclasses.replace(options, phis="1"))
    record = SearchRecord.load(folder / "constants.json")
    families = csv.DictReader((folder / "confirm-families.csv").read_text().splitlines())
    (mean,) = (float(row["mean"]) for row in families if row["name"] == "recommended")
    assert record.expected is not None
    assert record.expected.score == pytest.approx(mean)
    # never narrower than three counts of 60 images tell, 2.92 standard errors of 2 degrees of freedom
    assert record.expected.high - record.expected.low >= 2 * 2.9199 * (mean * (1 - mean) / 60 / 3) ** 0.5 - 1e-9
    assert record.details["confirmation"]["searched"] == (dataclasses.asdict(searched) if searched else None)


def test_trainings_are_as_long_as_the_constants_are_for_and_the_verdict_says_so(
    study: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = shutil.copytree(study / "s", tmp_path / "s")
    used: list[TrainSettings] = []

    def train(_spec: object, _images: ImageSet, train: TrainSettings, **_: object) -> SimpleNamespace:
        used.append(train)
        return SimpleNamespace(scores=(0.5,), seconds=0.0)

    monkeypatch.setattr("objectives.training.train.train_proxy", train)
    options = ConfirmOptions(study="s", results=tmp_path, phis="1", seeds=1, images=60)
    scripts.confirm.confirm(options)
    assert {(each.images_seen, each.rungs) for each in used} == {(256, 1)}
    record = SearchRecord.load(folder / "constants.json")
    assert record.length is not None
    assert record.details["confirmation"]["verdict"].endswith(
        "after 256 images seen (3.2 epochs of the embedded images)"
    )
    used.clear()
    scripts.confirm.confirm(dataclasses.replace(options, epochs=4.5))
    assert {each.images_seen for each in used} == {360}  # other lengths are trained anew
    assert "each training: 360 images seen (4.5 epochs of the embedded images)" in capsys.readouterr().out
    assert SearchRecord.load(folder / "constants.json").details["confirmation"]["length"]["images"] == 360


def test_processes_change_no_score_and_another_study_can_be_a_rival(study: Path, tmp_path: Path) -> None:
    scores = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        shutil.copytree(study / "s", folder / "s")
        shutil.copytree(study / "s", folder / "grid")
        done = confirm(
            folder, "--phis", "1", "--seeds", "1", "--rivals", "depth", "--against", "grid", "--workers", str(workers)
        )
        assert done.returncode == 0, done.stderr
        rows = csv.DictReader((folder / "s" / "confirm.csv").read_text().splitlines())
        scores.append(sorted((row["fingerprint"], row["score"]) for row in rows))  # in the order in which they end
        table = csv.DictReader((folder / "s" / "confirm-families.csv").read_text().splitlines())
        assert [row["name"] for row in table] == ["recommended", "depth", "grid"]
    assert scores[0] == scores[1]
    record = json.loads((tmp_path / "1" / "grid" / "constants.json").read_text())
    (tmp_path / "1" / "grid" / "constants.json").write_text(
        json.dumps({**record, "network": {**record["network"], "resolution": 28}})
    )
    done = confirm(tmp_path / "1", "--phis", "1", "--seeds", "1", "--against", "grid")
    assert (done.returncode, "same network" in done.stderr) == (1, True), done.stderr


def confirm_while(
    study: Path, results: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[SearchRecord], SearchRecord]
) -> Path:
    """Confirm a copy of the study, whose search writes its record again while the end waits for the study's lock."""
    folder = shutil.copytree(study / "s", results / "s")
    path = folder / "constants.json"

    @contextlib.contextmanager
    def writing(where: Path) -> Iterator[None]:
        assert where == folder
        change(SearchRecord.load(path)).save(path)
        yield

    monkeypatch.setattr("search.hold.writing", writing)
    monkeypatch.setattr(
        "objectives.training.train.train_proxy", lambda *_, **__: SimpleNamespace(scores=(0.5,), seconds=0.0)
    )
    scripts.confirm.confirm(ConfirmOptions(study="s", results=results, phis="1", seeds=2, images=60))
    return folder


def test_the_record_of_a_search_that_went_on_meanwhile_is_kept(study: Path, tmp_path: Path, monkeypatch) -> None:
    def newer(record: SearchRecord) -> SearchRecord:
        return dataclasses.replace(record, created="2030-01-01T00:00:00+00:00", details={"optimism": 0.125})

    folder = confirm_while(study, tmp_path, monkeypatch, newer)
    record = SearchRecord.load(folder / "constants.json")
    assert (record.created, record.details["optimism"]) == ("2030-01-01T00:00:00+00:00", 0.125)
    assert "not distinguishable" in record.details["confirmation"]["verdict"]


def test_other_constants_are_not_called_confirmed(study: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    other = constants_from_shares(Shares(0.1, 0.2, 0.7))

    def moved(record: SearchRecord) -> SearchRecord:
        return dataclasses.replace(record, constants=other)

    with pytest.raises(StudyError, match=f"recommends {other.alpha:.4f}, .*, not the .*; run the same"):
        confirm_while(study, tmp_path, monkeypatch, moved)
    record = SearchRecord.load(tmp_path / "s" / "constants.json")
    assert (record.constants, "confirmation" in record.details) == (other, False)
    assert not (tmp_path / "s" / "confirm-families.csv").exists()
    assert "not distinguishable from the paper's constants" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "s" / "confirm.csv").read_text().splitlines()))
    assert {int(row["seed"]) for row in rows} == {fresh_seed(1.0, 0), fresh_seed(1.0, 1)}


@pytest.fixture
def coarse(study: Path, tmp_path: Path, monkeypatch) -> Callable[..., Path]:
    """Confirms a copy of the study as one that was run with other options, without training; its folder."""
    monkeypatch.setattr(
        "objectives.training.train.train_proxy", lambda *_, **__: SimpleNamespace(scores=(0.5,), seconds=0.0)
    )

    def run(phi: str, **measure: str) -> Path:
        folder = shutil.copytree(study / "s", tmp_path / "s")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"measure": config["measure"] | measure}))
        record = SearchRecord.load(folder / "constants.json")
        constants = constants_from_shares(Shares(0.0, 0.25, 0.75))
        dataclasses.replace(record, constants=constants).save(folder / "constants.json")
        options = ConfirmOptions(study="s", results=tmp_path, phis=phi, seeds=1, images=60, rivals="paper,equal")
        scripts.confirm.confirm(options)
        return folder

    return run


@pytest.mark.parametrize("budget", ["matched", "nominal"])
def test_networks_are_made_whole_as_the_study_made_them_and_cost_the_same(coarse, budget: str) -> None:
    folder = coarse("2", rounding="pycls", budget=budget)
    base = SearchRecord.load(folder / "constants.json").network
    assert base is not None
    shares = Shares(0.0, 0.25, 0.75), shares_of_direction(Multipliers(1.2, 1.1, 1.15)), Shares(1 / 3, 1 / 3, 1 / 3)
    rules = [constants_from_shares(each) for each in shares]  # the recommendation, paper, equal
    coarsely, finely = (
        [match_budget(base, constants, phi=2, rounding=ROUNDINGS[name]).fingerprint for constants in rules]
        for name in ("pycls", "exact")
    )
    assert not set(coarsely) & set(finely)
    rows = list(csv.DictReader((folder / "confirm.csv").read_text().splitlines()))
    assert {row["fingerprint"] for row in rows} == set(coarsely)
    assert max(int(row["macs"]) for row in rows) < 1.045 * min(int(row["macs"]) for row in rows)


def test_nothing_is_trained_where_nothing_can_be_compared(coarse, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="at one of the phis 1, found none with the study's rounding"):
        coarse("1", rounding="tf", budget="nominal")
    assert not (tmp_path / "s" / "confirm.csv").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see the processes")
def test_a_killed_command_leaves_no_training_process_and_no_score_is_lost(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "s", tmp_path / "s")
    words = [sys.executable, "-m", "scripts.confirm", "--study", "s", "--results", str(tmp_path), "--images", "60"]
    words += ["--phis", "1", "--seeds", "30", "--workers", "2"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while "[3/" not in running.stdout.readline():
            pass
        processes = descendants(running.pid)
        assert len(processes) >= 2
        running.kill()
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in processes), seconds=20)
    assert len((tmp_path / "s" / "confirm.csv").read_text().splitlines()) >= 4  # a head, and the three


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--seeds", "0"), 2, "seeds of at least 1"),
        (("--phis", "x"), 2, "expected phi as"),
        (("--phis", "1e6"), 2, "expected a phi other than 0 between -20 and 20, got 1000000.0"),
        (("--workers", "0"), 2, "expected 1 to 4096 workers, got 0"),
        (("--epochs", "0"), 2, "expected more than 0 epochs, got 0.0"),
        (("--epochs", "nan"), 2, "expected more than 0 epochs, got nan"),
        (("--epochs", "0.1"), 2, "at least two batches"),
        (("--rivals", "papper"), 2, "'papper'"),
        (("--rivals", "none"), 2, "expected rivals"),
        (("--against", "../x"), 2, "name"),
        (("--against", "recommended"), 2, "expected --against to name studies"),
        (("--rivals", "depth", "--against", "paper"), 2, "expected --against to name studies"),
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
    assert "one of --objective" in done.stderr
    assert json.loads((tmp_path / "s" / "constants.json").read_text())["network"] is None
