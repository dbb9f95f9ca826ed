"""Counted cost against published counts, against layers counted one by one, and its known cliffs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given

from phiscale import (
    EFFICIENTNET_B0,
    PROXY_BASE,
    PUBLISHED_RULES,
    ROUNDINGS,
    ConstraintError,
    Cost,
    Multipliers,
    NetworkSpec,
    StageSpec,
    count_cost,
    multipliers,
    published_family,
    scale_network,
)
from tests import strategies

GOLDEN = Path(__file__).parent / "golden"
ROWS = {row["name"]: row for row in json.loads((GOLDEN / "efficientnet.json").read_text())["rows"]}
TINYNETS = json.loads((GOLDEN / "tinynet.json").read_text())["rows"]
COSTS = {member.name: member.network.cost for member in published_family()}
SPECS = {member.name: member.network.spec for member in published_family()}


def significant(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


@pytest.mark.parametrize("name", [name for name in ROWS if "params" in ROWS[name]])
def test_parameters_to_the_unit(name: str) -> None:
    assert COSTS[name].params == ROWS[name]["params"]


@pytest.mark.parametrize("name", ["b8", "l2"])
def test_parameters_to_the_digits_given(name: str) -> None:
    assert round(COSTS[name].params / 1e6, 2) == ROWS[name]["params_millions"]


@pytest.mark.parametrize("name", ["b0", "b1", "b2", "b3", "b4", "b5"])
def test_macs_and_activations_of_pycls(name: str) -> None:
    # pycls counts one more for every bias: of the two layers of each squeeze-excitation, and of the classifier.
    spec, biases = SPECS[name], SPECS[name].classes
    channels = spec.stem_channels
    for stage in spec.stages:
        for _ in range(stage.repeats):
            biases += stage.squeeze_channels(channels) + stage.hidden_channels(channels)
            channels = stage.channels
    assert COSTS[name].macs + biases == ROWS[name]["pycls_macs"]
    assert significant(COSTS[name].macs, 4) == significant(ROWS[name]["pycls_macs"], 4)
    assert COSTS[name].activations == ROWS[name]["activations"]


@pytest.mark.parametrize("name", ["b6", "b7"])
def test_macs_of_torchvision(name: str) -> None:
    assert round(COSTS[name].macs / 1e9, 1) == ROWS[name]["torchvision_gmacs"]


@pytest.mark.parametrize("name", ["b8", "l2"])
def test_macs_of_timm(name: str) -> None:
    # timm's counter adds batch normalisation, two for every element of an activation.
    counted = COSTS[name].macs + 2 * COSTS[name].activations
    assert significant(counted / 1e9, 3) == ROWS[name]["timm_gmacs"]


@pytest.mark.parametrize("row", TINYNETS, ids=lambda row: row["name"])
def test_tinynets(row: dict[str, float | str]) -> None:
    # timm _gen_tinynet: depth_trunc="round", the stem stays 32 and the head 1280 channels wide.
    constants = PUBLISHED_RULES[str(row["name"])].constants
    network = scale_network(EFFICIENTNET_B0, multipliers(constants, 1), ROUNDINGS["timm-round"])
    assert network.resolution == row["resolution"]
    cost = count_cost(dataclasses.replace(network.spec, stem_channels=32, head_channels=1280))
    assert round(cost.params / 1e6, 2) == row["params_millions"]
    assert cost.macs / 1e6 == pytest.approx(row["macs_millions"], rel=0.02)


def layers(spec: NetworkSpec) -> Iterator[tuple[str, int, int, int, int, int]]:
    """Every layer, one by one: (kind, kernel, inputs, outputs, groups, side of the output)."""
    side = -(-spec.resolution // spec.stem_stride)
    yield "conv", spec.stem_kernel, spec.in_channels, spec.stem_channels, 1, side
    channels = spec.stem_channels
    for stage in spec.stages:
        for block in range(stage.repeats):
            hidden = int(channels * stage.expansion)
            if stage.expansion != 1:
                yield "conv", 1, channels, hidden, 1, side
            side = -(-side // (stage.stride if block == 0 else 1))
            yield "conv", stage.kernel, hidden, hidden, hidden, side
            if stage.se_ratio:
                squeeze = max(1, int(channels * stage.se_ratio))
                yield "linear", 1, hidden, squeeze, 1, 1
                yield "linear", 1, squeeze, hidden, 1, 1
            yield "conv", 1, hidden, stage.channels, 1, side
            channels = stage.channels
    yield "conv", 1, channels, spec.head_channels, 1, side
    yield "linear", 1, spec.head_channels, spec.classes, 1, 1


@given(strategies.networks(("mbconv",)))
def test_cost_is_the_sum_over_layers(spec: NetworkSpec) -> None:
    macs = params = activations = 0
    for kind, kernel, inputs, outputs, groups, side in layers(spec):
        weights = kernel**2 * (inputs // groups) * outputs
        macs += weights * side**2
        params += weights + (2 * outputs if kind == "conv" else outputs)
        activations += outputs * side**2
    assert count_cost(spec) == Cost(macs, params, activations)


def test_a_network_small_enough_to_count_by_hand() -> None:
    # 4 px, stem 3x3 stride 2: 2 px. Block: depthwise 3x3 on 2 channels, then 1x1 to 3; head 1x1 to 4; 5 classes.
    stage = StageSpec(kernel=3, repeats=1, channels=3, expansion=1, stride=1, se_ratio=0)
    spec = NetworkSpec(
        name="tiny", resolution=4, stem_channels=2, stages=(stage,), head_channels=4, classes=5, in_channels=1
    )
    macs = 9 * 1 * 2 * 4 + 9 * 2 * 4 + 2 * 3 * 4 + 3 * 4 * 4 + 4 * 5
    params = (18 + 4) + (18 + 4) + (6 + 6) + (12 + 8) + (20 + 5)
    activations = 2 * 4 + 2 * 4 + 3 * 4 + 4 * 4 + 5
    assert count_cost(spec) == Cost(macs, params, activations)


def test_parameters_do_not_depend_on_the_resolution() -> None:
    assert count_cost(dataclasses.replace(PROXY_BASE, resolution=96)).params == count_cost(PROXY_BASE).params


def test_the_proxy_is_cheap() -> None:
    assert count_cost(PROXY_BASE).macs == pytest.approx(0.42e6, rel=0.02)


@pytest.mark.parametrize(("pixels", "growth"), [(224, 1), (256, 1.305), (257, 1.492)])
def test_resolution_cliff(pixels: int, growth: float) -> None:
    # One pixel more than a multiple of 32 costs a row and a column at every stride.
    cost = count_cost(dataclasses.replace(EFFICIENTNET_B0, resolution=pixels))
    assert cost.macs / COSTS["b0"].macs == pytest.approx(growth, abs=5e-4)


@pytest.mark.parametrize(
    ("asked", "gmacs"),
    [
        (Multipliers(4, 1, 1), 1.58),
        (Multipliers(1, 2, 1), 1.45),
        (Multipliers(1, 1, 2), 1.54),
        (Multipliers(1.4, 1.2, 1.3), 1.80),
    ],
)
def test_the_papers_table_seven_was_not_at_equal_cost(asked: Multipliers, gmacs: float) -> None:
    # Tan & Le 2019, table 7 says 1.8, 1.8, 1.9 and 1.8; the standard rounding gives this.
    macs = scale_network(EFFICIENTNET_B0, asked, ROUNDINGS["tf"]).cost.macs
    assert macs / 1e9 == pytest.approx(gmacs, abs=0.006)


def test_by_metric() -> None:
    cost = Cost(macs=1, params=2, activations=3)
    assert [cost.by_metric(name) for name in ("macs", "params", "activations")] == [1, 2, 3]
    for bad in ("formula", "flops", "__class__"):
        with pytest.raises(ConstraintError, match="macs, params, activations"):
            cost.by_metric(bad)


def test_counting_the_largest_network_is_instant() -> None:
    most = 2**31 - 1
    stage = StageSpec(kernel=most, repeats=most, channels=most, expansion=1000, stride=most)
    spec = NetworkSpec(name="huge", resolution=most, stem_channels=most, stages=(stage,) * 3, head_channels=most)
    assert count_cost(spec).macs > 1e40
