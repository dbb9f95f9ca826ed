"""--resolution-multiple, from the search to its family, its confirmation and its exports."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from objectives.training.settings import TrainSettings
from phiscale import SearchRecord, SettingsError, SpecError, StudyError
from phiscale.cli import main
from scripts import confirm, run_search
from scripts.shared.rivals import Entry, plan
from scripts.shared.setup import ObjectiveSettings, choose_baseline
from search.settings import SearchSettings

TRAIN = TrainSettings(train_images=64, validation_images=16, images_seen=64, rungs=1, device="cpu")


@pytest.mark.parametrize("factory", [None, "tests.factories_for_tests:plain"])
def test_every_network_of_a_study_keeps_to_it(
    factory: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = ObjectiveSettings(factory=factory, resolution=16, resolution_multiple=8, cache=tmp_path / "cache")
    search = SearchSettings(method="qmc", trials=3, baselines="resolution")
    run_search.search(
        run_search.SearchOptions(study="s", search=search, measure=measure, train=TRAIN, results=tmp_path, quiet=True)
    )
    folder = tmp_path / "s"
    sides = [int(row["resolution"]) for row in csv.DictReader((folder / "trials.csv").read_text().splitlines())]
    record = SearchRecord.load(folder)
    kept = record.network.resolution_multiple if record.network else record.details["factory"]["resolution_multiple"]
    family = json.loads((folder / "family.json").read_text())
    members = family["factory"] if factory else family
    rows = [row for budget in ("nominal", "matched") for row in members[budget] if "problem" not in row]
    assert kept == 8
    assert 32 in sides  # resolution alone
    assert len(rows) > 4
    assert all(side % 8 == 0 for side in (*sides, *(row["resolution"] for row in rows)))
    capsys.readouterr()
    assert main(["family", str(folder), "--phi", "0:4:0.5", "--format", "json"]) == 0
    assert all(row["resolution"] % 8 == 0 for row in json.loads(capsys.readouterr().out))
    planned: list[Entry] = []

    def stop_once_planned(*arguments: Any) -> list[Entry]:
        planned.extend(plan(*arguments))
        raise StudyError("planned")

    monkeypatch.setattr(confirm, "plan", stop_once_planned)
    with pytest.raises(StudyError, match="planned"):
        confirm.confirm(
            confirm.ConfirmOptions(study="s", phis="1,2", seeds=1, images=16, rivals="paper", results=tmp_path)
        )
    assert len(planned) > 1
    assert all(entry.network.resolution % 8 == 0 for entry in planned)


def test_a_baseline_of_another_resolution_is_refused_and_one_that_is_chosen_fits() -> None:
    with pytest.raises(SpecError, match="resolution of proxy-base to be a multiple of 32, got 24; choose another"):
        choose_baseline(ObjectiveSettings(resolution_multiple=32), 32)
    with pytest.raises(SettingsError, match="--resolution that is a multiple of 32 for tests"):
        _ = choose_baseline(
            ObjectiveSettings(factory="tests.factories_for_tests:plain", resolution=24, resolution_multiple=32), 32
        ).step  # type: ignore[union-attr]
    assert choose_baseline(ObjectiveSettings(data="images", resolution_multiple=32, phi=1.0), 96).resolution == 64
    assert choose_baseline(ObjectiveSettings(data="images", phi=1.0), 96).resolution == 66 // 8 * 8
    chosen = choose_baseline(
        ObjectiveSettings(factory="tests.factories_for_tests:plain", resolution_multiple=24, phi=1.0), 96
    )
    assert chosen.resolution == 48
    with pytest.raises(SettingsError, match="expected a resolution_multiple of at least 1"):
        ObjectiveSettings(resolution_multiple=0)


def test_the_package_takes_it_for_any_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rule", "paper", "--resolution-multiple", "32"]
    assert main(["family", *words, "--phi", "-1:4:0.5", "--format", "json"]) == 0
    sides = [row["resolution"] for row in json.loads(capsys.readouterr().out)]
    assert sides == sorted(sides)
    assert {side % 32 for side in sides} == {0}
    assert main(["export", *words, "--phi", "2", "--budget", "matched", "--to", "timm"]) == 0
    assert "INPUT_SIZE = (3, 288, 288)" in capsys.readouterr().out
    assert main(["export", *words, "--phi", "2", "--to", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["network"]["resolution_multiple"] == 32
    for more, message in (
        (["--network", "proxy-base"], "expected the resolution of proxy-base to be a multiple of 32, got 24"),
        (["--max-resolution", "20"], "expected max_resolution to be at least 32, got 20"),
    ):
        assert main(["family", *words, *more]) in (1, 2)
        assert message in capsys.readouterr().err
    assert main(["family", "--published", "--resolution-multiple", "32"]) == 2
    assert "expected no --resolution-multiple with --published" in capsys.readouterr().err
