"""A search on a person's own factory, from the command line to the family that phiscale makes of its record."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phiscale import ConstraintError, SearchRecord, SettingsError
from phiscale.cli import main
from phiscale.factory import factory_name, format_multipliers, multiplier_family
from scripts.report import ReportOptions, report
from scripts.shared.setup import ObjectiveSettings, choose_baseline
from tests.factories_for_tests import plain

ROOT = Path(__file__).parent.parent
PLAIN = "tests.factories_for_tests:plain"
QUICK = (
    "--train.train-images",
    "64",
    "--train.validation-images",
    "16",
    "--train.images-seen",
    "128",
    "--train.rungs",
    "2",
    "--train.device",
    "cpu",
)


def search(results: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("run_search", "--results", results, "--study", "s", *arguments)


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-W", "error", "-m", f"scripts.{script}", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of a factory."""
    results = tmp_path_factory.mktemp("results")
    done = search(results, "--factory", PLAIN, "--trials", "9", "--phi", "1", "--cache", str(results / "cache"), *QUICK)
    assert done.returncode == 0, done.stderr
    assert f"multipliers for {PLAIN}" in done.stdout
    return results / "s"


def test_its_trials_cost_the_same(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    complete = [row for row in rows if row["state"] == "COMPLETE"]
    assert len(complete) >= 6
    assert all(abs(float(row["cost_ratio"]) - 1) <= 0.02 for row in complete)
    assert {row["failure_kind"] for row in rows if row["state"] == "FAIL"} <= {"budget"}


def test_its_record_holds_the_factory_and_its_members(folder: Path) -> None:
    record = SearchRecord.load(folder / "constants.json")
    assert (record.network, factory_name(record)) == (None, PLAIN)
    factory = record.details["factory"]
    assert json.loads((folder / "family.json").read_text())["factory"] == factory
    for budget in ("nominal", "matched"):
        assert [member["phi"] for member in factory[budget]] == [0, 1, 2, 3]
        assert factory[budget][0]["macs"] == factory["macs"]
    matched = [member for member in factory["matched"] if "problem" not in member]
    assert all(abs(member["growth"] / member["target_growth"] - 1) <= 0.02 for member in matched)
    nominal = factory["nominal"][2]
    assert nominal["asked"] == {
        "depth": record.constants.alpha**2,
        "width": record.constants.beta**2,
        "resolution": record.constants.gamma**2,
    }
    assert nominal["realised"]["resolution"] == nominal["resolution"] / factory["resolution"]


def test_its_report_says_what_to_call_the_factory_with(folder: Path) -> None:
    written = (folder / "report.md").read_text()  # by the search
    report(ReportOptions(study="s", results=folder.parent))
    assert (folder / "report.md").read_text() == written
    table = written.split("at matched cost: depth, width and pixels to call it with")[1]
    lines = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| phi=")}
    factory = SearchRecord.load(folder / "constants.json").details["factory"]
    member = [member for member in factory["matched"] if "problem" not in member][-1]
    line = lines[f"phi={member['phi']:g}"]
    depth, width, pixels, _, _, growth = (cell.strip() for cell in line.strip("| ").split("|")[1:7])
    assert member["phi"] > 0
    assert (int(pixels), growth) == (member["resolution"], f"{member['growth']:.3f}")
    called = plain(float(depth), float(width), int(pixels), factory["classes"])
    assert sum(parameter.numel() for parameter in called.parameters()) == member["params"]


def test_phiscale_gives_its_multipliers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(folder / "constants.json")
    record = SearchRecord.load(path)
    assert main(["family", path, "--phi", "0:3", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    members = record.details["factory"]["nominal"]
    assert [(row["depth"], row["width"], row["resolution"]) for row in rows] == [
        (member["realised"]["depth"], member["realised"]["width"], member["resolution"]) for member in members
    ]
    assert main(["family", path, "--phi", "1", "--max-resolution", "5", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(",5,128")
    assert main(["family", path]) == 0
    assert capsys.readouterr().out == format_multipliers(multiplier_family(record, range(8)), "table", record) + "\n"
    assert main(["family", path, "--network", "resnet-18", "--phi", "1"]) == 0
    assert "MACs" in capsys.readouterr().out


def test_a_matched_family_is_that_which_the_search_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(folder / "constants.json")
    members = SearchRecord.load(path).details["factory"]["matched"]
    held = [member for member in members if "problem" not in member]
    phis = ",".join(f"{member['phi']:g}" for member in held)
    assert main(["family", path, "--budget", "matched", "--phi", phis, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["depth"], row["width"], row["resolution"]) for row in rows] == [
        (member["realised"]["depth"], member["realised"]["width"], member["resolution"]) for member in held
    ]
    for words, message in (
        (("--phi", "4"), f"or a phi of 0, 1, 2, 3, got phi 4: {PLAIN} is counted by the search alone"),
        (("--phi", "1", "--max-resolution", "8"), "expected no --max-resolution"),
    ):
        assert main(["family", path, "--budget", "matched", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error


def test_a_size_is_exported_as_the_call_of_the_function(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(folder), "--phi", "2", "--to", "python"]) == 0
    names: dict[str, Any] = {}
    exec(capsys.readouterr().out, names)  # noqa: S102  the code that is exported is what is tested
    member = SearchRecord.load(folder).details["factory"]["nominal"][2]
    assert sum(parameter.numel() for parameter in names["model"].parameters()) == member["params"]
    assert names["INPUT_SIZE"] == (3, member["resolution"], member["resolution"])


def test_a_record_cannot_bring_code_of_its_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for call in ("os.system('x')", "system", "os.class", "os.\nx"):
        plain = json.loads((folder / "constants.json").read_text())
        plain["details"]["factory"]["nominal"][1]["call"] = call
        (tmp_path / "constants.json").write_text(json.dumps(plain))
        assert main(["export", str(tmp_path), "--phi", "1", "--to", "python"]) == 1
        assert "expected a call at phi 1 in details.factory" in capsys.readouterr().err


def test_what_needs_a_spec_is_refused_in_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(folder / "constants.json")
    assert main(["export", path, "--phi", "1", "--to", "json"]) == 2
    assert f"expected --to python for a record of {PLAIN}, got json" in capsys.readouterr().err
    assert main(["family", path, "--rounding", "tf"]) == 2
    assert f"expected no --rounding for a record of {PLAIN}" in capsys.readouterr().err
    done = run("export_onnx", "--study", "s", "--results", folder.parent, "--output", folder / "x.onnx")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert f"got one of {PLAIN}, whose networks phiscale cannot build" in done.stderr


def test_a_record_of_something_else_has_no_multipliers() -> None:
    golden = json.loads((ROOT / "tests" / "golden" / "old_record.json").read_text())["record"]
    record = SearchRecord.from_dict(golden)
    assert factory_name(record) is None
    for damaged in ({}, {"factory": 3}, {"factory": {"name": "x"}}, {"factory": {"name": "x", "resolution": 0}}):
        plain = SearchRecord.from_dict({**golden, "network": None, "details": damaged})
        assert factory_name(plain) is None
        with pytest.raises(SettingsError, match="record of a factory"):
            multiplier_family(plain, [1])
    own = {"factory": {"name": "x", "resolution": 32}}
    with pytest.raises(ConstraintError, match="use a phi nearer to 0"):
        multiplier_family(SearchRecord.from_dict({**golden, "network": None, "details": own}), [1000])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--factory", "nowhere:x"), "cannot import 'nowhere' of --factory"),
        (("--factory", "plain"), "expected --factory as package.module:attribute"),
        (("--factory", "tests.factories_for_tests:missing"), "no attribute 'missing'"),
        (("--factory", "tests.factories_for_tests:NOT_A_FUNCTION"), "to be a function, got int"),
        (("--factory", "tests.factories_for_tests:no_module"), "return a torch.nn.Module, got str"),
        (("--factory", PLAIN, "--network", "resnet-18"), "either --network or --factory"),
        (("--factory", PLAIN, "--objective", PLAIN), "either --objective"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = search(tmp_path, *arguments, "--trials", "2", "--cache", str(tmp_path / "cache"), *QUICK)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_baseline_of_a_factory_fits_the_images_unless_its_resolution_is_given() -> None:
    # At phi 2 and resolution alone the side doubles: images of 64 pixels leave 32 to the baseline.
    assert choose_baseline(ObjectiveSettings(factory=PLAIN), 64).resolution == 32
    assert choose_baseline(ObjectiveSettings(factory=PLAIN, resolution=20), 64).resolution == 20


def test_it_is_confirmed(folder: Path) -> None:
    words = ("--study", "s", "--results", folder.parent, "--phis", "1", "--seeds", "1", "--rivals", "paper")
    done = run("confirm", *words, "--images", "32")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((folder / "confirm-families.csv").read_text().splitlines()))
    assert {row["name"] for row in rows} == {"recommended", "paper"}
    macs = [int(row["macs"]) for row in rows]
    assert max(macs) / min(macs) < 1.05
    plain = json.loads((folder / "constants.json").read_text())
    plain["details"]["factory"]["fingerprint"] = "0"
    (folder / "constants.json").write_text(json.dumps(plain))
    done = run("confirm", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "its code has changed since" in done.stderr
