"""docs/networks.md: its JSON loads, its table is what is counted, its factory is matched, its commands run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from objectives.networks.factory import Factory, match_factory
from phiscale import BASELINES, FLOPS, PUBLISHED_RULES, NetworkSpec, StageSpec, count_cost, match_budget
from phiscale.cli import main

PAGE = (Path(__file__).parent.parent / "docs" / "networks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", PAGE, re.DOTALL)


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


def test_its_factory_is_matched():
    names: dict[str, object] = {}
    exec(blocks("python")[0], names)  # noqa: S102  the code of the page is what is tested
    made = Factory(name="mynet:build", build=names["build"], resolution=64, classes=10)
    network = match_factory(made, PUBLISHED_RULES["paper"].constants, phi=2, cost_model=FLOPS)
    assert network.growth(FLOPS) == pytest.approx(4, rel=0.02)


def test_its_family_command_runs(capsys):
    words = re.search(r"python -m phiscale (family --rule .*)", PAGE).group(1).split()
    assert main(words) == 0
    assert "phi=3" in capsys.readouterr().out
