"""Every kind of block and every preset: counts of torchvision and timm to the unit, scaling rules, equal real cost."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from phiscale import (
    BASELINES,
    CONVNEXT_T,
    EFFICIENTNETV2_S,
    FLOPS,
    MOBILENETV2,
    PUBLISHED_RULES,
    RESNET_18,
    RESNET_50,
    ROUNDINGS,
    Cost,
    Multipliers,
    NetworkSpec,
    StageSpec,
    count_cost,
    generate_family,
    match_budget,
    scale_network,
)
from phiscale.family import suited_rounding

ROWS = json.loads((Path(__file__).parent / "golden" / "networks.json").read_text())["rows"]
PRESETS = [spec for name, spec in BASELINES.items() if name != "proxy-base"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['name']}-{row['resolution']}")
def test_presets_cost_what_torchvision_and_timm_count(row: dict[str, Any]) -> None:
    cost = count_cost(dataclasses.replace(BASELINES[row["name"]], resolution=row["resolution"]))
    assert cost == Cost(row["macs"], row["params"], row["activations"])
    if "torchvision_gmacs" in row:
        assert round(cost.macs / 1e9, 3) == row["torchvision_gmacs"]


def test_every_preset_has_a_golden_count_at_its_own_resolution() -> None:
    assert {(spec.name, spec.resolution) for spec in PRESETS} <= {(row["name"], row["resolution"]) for row in ROWS}


def one_block(**fields: Any) -> Cost:
    """What one stage adds to a network of 4 input channels at 8 px."""
    spec = NetworkSpec(
        name="x", resolution=8, stem_channels=4, stages=(StageSpec(**fields),), head_channels=0, classes=1,
        stem_kernel=1, stem_stride=1, in_channels=1,
    )  # fmt: skip
    cost, channels = count_cost(spec), fields["channels"]
    stem_and_classifier = 4 * 64 + channels, 4 + 8 + channels + 1, 4 * 64 + 1
    return Cost(*(whole - part for whole, part in zip(dataclasses.astuple(cost), stem_and_classifier, strict=True)))


# By hand: 8 px in, 4 px out at stride 2; weights times output pixels; 2 parameters per channel of a batch
# normalisation or a layer normalisation, 1 per bias and per factor of layer scale.
BLOCKS_BY_HAND = [
    # 3x3 4 -> 8 and 3x3 8 -> 8, shortcut 1x1 4 -> 8.
    (
        {"block": "basic", "kernel": 3, "repeats": 1, "channels": 8, "expansion": 1, "stride": 2, "se_ratio": 0},
        Cost((288 + 576 + 32) * 16, 288 + 576 + 32 + 3 * 16, 3 * 8 * 16),
    ),
    # Two blocks of 4 channels at stride 1 have no convolution in the shortcut.
    (
        {"block": "basic", "kernel": 3, "repeats": 2, "channels": 4, "expansion": 1, "stride": 1, "se_ratio": 0},
        Cost(4 * 144 * 64, 4 * (144 + 8), 4 * 4 * 64),
    ),
    # 1x1 4 -> 2 at 8 px, 3x3 2 -> 2, 1x1 2 -> 8, shortcut 1x1 4 -> 8 at 4 px.
    (
        {"block": "bottleneck", "kernel": 3, "repeats": 1, "channels": 8, "expansion": 4, "stride": 2, "se_ratio": 0},
        Cost(8 * 64 + (36 + 16 + 32) * 16, 8 + 36 + 16 + 32 + 4 + 4 + 16 + 16, 2 * 64 + (2 + 8 + 8) * 16),
    ),
    # One 3x3 convolution 4 -> 6.
    (
        {"block": "fused", "kernel": 3, "repeats": 1, "channels": 6, "expansion": 1, "stride": 2, "se_ratio": 0},
        Cost(216 * 16, 216 + 12, 6 * 16),
    ),
    # 3x3 4 -> 8, squeeze 8 -> 1 -> 8, 1x1 8 -> 6.
    (
        {"block": "fused", "kernel": 3, "repeats": 1, "channels": 6, "expansion": 2, "stride": 2, "se_ratio": 0.25},
        Cost((288 + 48) * 16 + 16, 288 + 16 + 16 + 9 + 48 + 12, (8 + 6) * 16 + 9),
    ),
    # Normalisation of 4, patches 2x2 4 -> 6 with bias; depthwise 7x7, normalisation, 6 -> 24 -> 6, layer scale.
    (
        {"block": "convnext", "kernel": 7, "repeats": 1, "channels": 6, "expansion": 4, "stride": 2, "se_ratio": 0,
         "layer_scale": 1e-6},
        Cost(
            (96 + 294 + 144 + 144) * 16,
            8 + 96 + 6 + 294 + 6 + 12 + 144 + 24 + 144 + 6 + 6,
            (6 + 6 + 24 + 6) * 16,
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), BLOCKS_BY_HAND)
def test_blocks_small_enough_to_count_by_hand(fields: dict[str, Any], expected: Cost) -> None:
    assert one_block(**fields) == expected


def test_depth_multiplies_the_repeats_of_every_stage() -> None:
    for base, repeats in ((RESNET_50, [6, 8, 12, 6]), (CONVNEXT_T, [6, 6, 18, 6]), (RESNET_18, [4, 4, 4, 4])):
        deeper = scale_network(base, Multipliers(2, 1, 1), ROUNDINGS["tf"]).spec
        assert [stage.repeats for stage in deeper.stages] == repeats
        assert dataclasses.replace(deeper, stages=base.stages) == base


def test_width_multiplies_channels_with_the_divisor_of_the_rounding() -> None:
    # 96, 192, 384, 768 times 1.1 are 105.6, 211.2, 422.4, 844.8: the nearest multiples of 8.
    wider = scale_network(CONVNEXT_T, Multipliers(1, 1.1, 1), ROUNDINGS["tf"]).spec
    assert [wider.stem_channels, *(stage.channels for stage in wider.stages)] == [104, 104, 208, 424, 848]
    assert wider.head_channels == 0
    # The hidden channels of a bottleneck are rounded: 64, 128, 256, 512 times 1.1 are 70.4, 140.8, 281.6, 563.2.
    wider = scale_network(RESNET_50, Multipliers(1, 1.1, 1), ROUNDINGS["tf"]).spec
    assert [stage.hidden_channels(0) for stage in wider.stages] == [72, 144, 280, 560]
    assert [stage.channels for stage in wider.stages] == [288, 576, 1120, 2240]
    wider = scale_network(MOBILENETV2, Multipliers(1, 1.4, 1), ROUNDINGS["tf"]).spec
    assert [stage.channels for stage in wider.stages] == [24, 32, 48, 88, 136, 224, 448]
    assert (wider.stem_channels, wider.head_channels) == (48, 1792)


def test_resolution_multiplies_pixels_and_stops_at_one_patch() -> None:
    assert scale_network(CONVNEXT_T, Multipliers(1, 1, 1.5), ROUNDINGS["tf"]).resolution == 336
    assert scale_network(CONVNEXT_T, Multipliers(1, 1, 0.01), ROUNDINGS["tf"]).resolution == 32
    member = generate_family(CONVNEXT_T, PUBLISHED_RULES["resolution"].constants, [-8])[0]
    assert member.network.resolution == 32


def test_the_family_of_efficientnetv2_s_keeps_its_kinds_of_block() -> None:
    member = generate_family(EFFICIENTNETV2_S, PUBLISHED_RULES["paper"].constants, [1])[0]
    assert [stage.block for stage in member.network.spec.stages] == ["fused"] * 3 + ["mbconv"] * 3
    assert member.network.spec.total_stride == 32


def test_the_rounding_of_a_family_suits_the_channels_that_are_rounded() -> None:
    assert [suited_rounding(spec) for spec in PRESETS] == [ROUNDINGS["tf"]] * 7
    # At an eighth of the width a ResNet-50 gives up to 256 channels, but rounds 8 to 64.
    thin = scale_network(RESNET_50, Multipliers(1, 1 / 8, 1), ROUNDINGS["exact"]).spec
    assert thin.stages[-1].channels == 256
    assert suited_rounding(thin) == ROUNDINGS["exact"]


@pytest.mark.parametrize("phi", [-1, -0.5, 0.5, 1, 2, 3])
@pytest.mark.parametrize("rule", ["paper", "equal", "depth", "width", "resolution"])
@pytest.mark.parametrize("base", PRESETS, ids=lambda spec: spec.name)
def test_every_preset_matches_a_budget(base: NetworkSpec, rule: str, phi: float) -> None:
    network = match_budget(base, PUBLISHED_RULES[rule].constants, phi=phi)
    assert network.growth(FLOPS) == pytest.approx(2**phi, rel=0.02)
    assert math.isclose(network.asked.depth, PUBLISHED_RULES[rule].constants.alpha ** phi)
