"""docs/networks.md: its JSON loads, its table is what is counted, its factory is matched, its commands run."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from objectives.networks.factory import Factory, match_factory
from phiscale import (
    BASELINES,
    FLOPS,
    PUBLISHED_RULES,
    NetworkSpec,
    SettingsError,
    StageSpec,
    count_cost,
    generate_family,
    match_budget,
)
from phiscale.cli import main
from phiscale.export import export_member

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")


def blocks(language: str, title: str = "") -> list[str]:
    """Blocks of a language; with a title those of this file."""
    return re.findall(rf"```{language}[^\n]*{re.escape(title)}[^\n]*\n(.*?)```", PAGE, re.DOTALL)


def test_its_spec_is_a_network_that_can_be_matched():
    spec = NetworkSpec.from_dict(json.loads(blocks("json")[0]))
    assert match_budget(spec, PUBLISHED_RULES["paper"].constants, phi=2).growth(FLOPS) == pytest.approx(4, rel=0.02)


def test_it_shows_a_stage_of_several_kinds_of_block():
    stages = [StageSpec(**stage) for stage in json.loads(blocks("json")[1])]
    assert len({stage.block for stage in stages}) == len(stages) >= 5


def test_its_table_is_counted():
    rows = re.findall(r"^\| `(.+)` \| (\d+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    shown = {name: tuple(int(number.replace(",", "")) for number in numbers) for name, *numbers in rows}
    costs = {name: count_cost(spec) for name, spec in BASELINES.items()}
    assert shown == {name: (BASELINES[name].resolution, cost.params, cost.macs) for name, cost in costs.items()}


def test_its_table_of_exports_says_what_is_exported_and_why_not():
    table = PAGE.split("### Which presets go to which library")[1].split("\n\n")[2].splitlines()
    (_, *libraries), _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    assert {row[0].strip("`") for row in rows} == set(BASELINES)
    for name, *cells in rows:
        for library, cell in zip(libraries, cells, strict=True):
            for phi in (0, 1):
                (member,) = generate_family(BASELINES[name.strip("`")], PUBLISHED_RULES["paper"].constants, [phi])
                reason = cell.removeprefix("at its own width only: ")
                if cell == "yes" or (reason != cell and phi == 0):
                    assert export_member(member, library)
                else:
                    with pytest.raises(SettingsError, match=reason):
                        export_member(member, library)


def test_its_factory_is_matched():
    names: dict[str, object] = {}
    exec(blocks("python", "mynet.py")[0], names)  # noqa: S102  the code of the page is what is tested
    made = Factory(name="mynet:build", build=names["build"], resolution=64, classes=10)
    network = match_factory(made, PUBLISHED_RULES["paper"].constants, phi=2, cost_model=FLOPS)
    assert network.growth(FLOPS) == pytest.approx(4, rel=0.02)


def test_its_vit_is_searched(tmp_path):
    (tmp_path / "myvit.py").write_text(blocks("python", "myvit.py")[0])
    words = ["-m", "scripts.run_search", "--study", "v", "--factory", "myvit:build", "--resolution", "32", "--phi", "1"]
    words += ["--method", "random", "--trials", "4", "--baselines", "none", "--train.rungs", "1", "--quiet"]
    words += ["--train.images-seen", "64", "--train.train-images", "64", "--train.validation-images", "16"]
    places = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, *words, "--cache", str(tmp_path / "cache"), "--train.device", "cpu"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = list(csv.DictReader((tmp_path / "results" / "v" / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in trials] == ["COMPLETE"] * 4
    assert {int(row["resolution"]) % 16 for row in trials} == {0}
    assert all(float(row["cost_ratio"]) == pytest.approx(1, abs=0.02) for row in trials)


def test_its_family_command_runs(capsys):
    found = re.findall(r"^    phiscale (family --rule .*)", PAGE, re.MULTILINE)
    assert found
    for line in found:
        assert main(line.split()) == 0
        assert "phi=3" in capsys.readouterr().out
