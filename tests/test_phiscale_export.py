"""Members of a family in the real libraries: the same parameters and the same work, or a refusal that says why."""

from __future__ import annotations

import ast
import csv
import dataclasses
import io
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from objectives.networks.build import build_network
from phiscale import (
    EFFICIENTNET_B0,
    EFFICIENTNET_TABLE,
    FLOPS,
    MOBILENETV2,
    PROXY_BASE,
    PUBLISHED_RULES,
    ROUNDINGS,
    Length,
    Multipliers,
    NetworkSpec,
    Observed,
    ScalingConstants,
    SearchRecord,
    SettingsError,
    Shares,
    StageSpec,
    constants_from_shares,
    generate_family,
    published_family,
)
from phiscale.baselines import BASELINES, CONVNEXT_T, RESNET_18, RESNET_50
from phiscale.cli import main
from phiscale.export import EXPORTS, LIBRARIES, export_member, library_arguments
from phiscale.family import FamilyMember
from tests import strategies
from tests.interop import require

GOLDEN = {
    row["name"]: row
    for row in json.loads((Path(__file__).parent / "golden" / "efficientnet.json").read_text(encoding="utf-8"))["rows"]
}
PUBLISHED = {member.name: member for member in published_family()}
PAPER = PUBLISHED_RULES["paper"].constants
RECORD = SearchRecord(
    study="demo",
    created="2025-01-02T03:04:05Z",
    constants=constants_from_shares(Shares(0.25, 0.5, 0.25)),
    cost_model=FLOPS,
    phi=1.0,
    network=None,
    score_name="accuracy",
    direction="maximize",
    expected=None,
    noise=None,
    best_observed=Observed("trial 7", PAPER, 0.83, 2),
)
TORCH_LIBRARIES = ("timm", "torchvision", "transformers")

NARROW = NetworkSpec(
    name="narrow",
    resolution=96,
    stem_channels=24,
    stages=(
        StageSpec(kernel=3, repeats=1, channels=16, expansion=1, stride=1),
        StageSpec(kernel=7, repeats=3, channels=40, expansion=4, stride=2),
        StageSpec(kernel=5, repeats=2, channels=72, expansion=3, stride=2),
    ),
    head_channels=512,
    classes=37,
)
"""A network of whole multiples of 8 that is no EfficientNet."""


def run(snippet: str) -> Any:
    """The model of a snippet, without weights in memory where torch allows it."""
    names: dict[str, Any] = {}
    with torch.device("meta"):
        exec(compile(snippet, "snippet", "exec"), names)  # noqa: S102 - our own text, and the subject of the test
    return names["model"]


def build(member: FamilyMember, library: str) -> nn.Module:
    require(library)
    model = run(export_member(member, library))
    assert isinstance(model, nn.Module)
    return model


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, member: FamilyMember) -> int:
    spec = member.network.spec
    images = torch.empty(1, spec.in_channels, spec.resolution, spec.resolution, device="meta")
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model.eval()(images)
    return flops.get_total_flops() // 2


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]


# The published family against the libraries' own


@pytest.mark.parametrize("name", [f"b{index}" for index in range(8)])
@pytest.mark.parametrize("library", TORCH_LIBRARIES)
def test_published_members_have_the_published_parameters(library: str, name: str) -> None:
    model = build(PUBLISHED[name], library)
    assert parameters(model) == GOLDEN[name]["params"] == PUBLISHED[name].network.cost.params


@pytest.mark.parametrize("name", [f"b{index}" for index in range(8)])
def test_timm_and_torchvision_have_the_same_networks_themselves(name: str) -> None:
    with torch.device("meta"):
        timm = require("timm").create_model(f"efficientnet_{name}", pretrained=False)
        torchvision = getattr(require("torchvision.models"), f"efficientnet_{name}")(weights=None)
    assert shapes(build(PUBLISHED[name], "timm")) == shapes(timm)
    assert shapes(build(PUBLISHED[name], "torchvision")) == shapes(torchvision)


@pytest.mark.parametrize("name", ["b8", "l2"])
def test_the_largest_members_are_timms(name: str) -> None:
    with torch.device("meta"):
        timm = require("timm").create_model(f"tf_efficientnet_{name}", pretrained=False)
    assert shapes(build(PUBLISHED[name], "timm")) == shapes(timm)


@pytest.mark.parametrize("name", [f"b{index}" for index in range(8)])
def test_keras_has_the_same_networks_itself(name: str) -> None:
    applications = require("keras.applications")
    model = run(export_member(PUBLISHED[name], "keras"))
    own = getattr(applications, f"EfficientNet{name.upper()}")(weights=None)
    sizes = [weight.shape for weight in model.trainable_weights]
    assert sizes == [weight.shape for weight in own.trainable_weights]
    assert sum(torch.Size(size).numel() for size in sizes) == GOLDEN[name]["params"]
    assert model.input_shape == (None, *[EFFICIENTNET_TABLE[name].resolution] * 2, 3)


def test_what_keras_counts_besides() -> None:
    require("keras")
    model = run(export_member(PUBLISHED["b0"], "keras"))
    # Mean and variance of 21,008 normalised channels, and mean, variance and count of its Normalization layer.
    assert model.count_params() - PUBLISHED["b0"].network.cost.params == 42_023 == 2 * 21_008 + 7


@pytest.mark.parametrize("name", [f"b{index}" for index in range(8)])
def test_transformers_pads_as_in_its_own_conversion(name: str) -> None:
    # Source: transformers src/transformers/models/efficientnet/convert_efficientnet_to_pytorch.py, dw_padding.
    published = {"b1": [16], "b2": [5, 8, 16], "b3": [5, 18], "b4": [6], "b5": [13, 27], "b6": [31], "b7": [18]}
    given_ = library_arguments(PUBLISHED[name].network, "transformers")["depthwise_padding"]
    assert given_ == published.get(name, [])


@pytest.mark.parametrize("name", ["b0", "b2", "b4", "b7"])
@pytest.mark.parametrize("library", TORCH_LIBRARIES)
def test_published_members_do_the_counted_work(library: str, name: str) -> None:
    assert macs(build(PUBLISHED[name], library), PUBLISHED[name]) == PUBLISHED[name].network.cost.macs


# Scaled members


def scaled(base: NetworkSpec, rule: str, phi: float, budget: str = "nominal", rounding: str = "tf") -> FamilyMember:
    how = ROUNDINGS[rounding]
    return generate_family(base, PUBLISHED_RULES[rule].constants, [phi], budget=budget, rounding=how)[0]


SCALED = [
    scaled(EFFICIENTNET_B0, "paper", 3),
    scaled(EFFICIENTNET_B0, "paper", -1.5),
    scaled(EFFICIENTNET_B0, "equal", 2, "matched"),
    scaled(EFFICIENTNET_B0, "dollar", 4, "matched"),
    scaled(EFFICIENTNET_B0, "depth", 1),
    scaled(EFFICIENTNET_B0, "tinynet-c", 1, rounding="timm-round"),
    scaled(EFFICIENTNET_B0, "width", 2, rounding="effnetv2"),
    scaled(EFFICIENTNET_B0, "resolution", 1.5),
]


@pytest.mark.parametrize("member", SCALED, ids=lambda member: f"{member.name} {member.network.fingerprint}")
@pytest.mark.parametrize("library", LIBRARIES)
def test_scaled_members_have_the_counted_parameters(library: str, member: FamilyMember) -> None:
    model = build(member, library)
    if library == "keras":
        assert sum(torch.Size(weight.shape).numel() for weight in model.trainable_weights) == member.network.cost.params
        return
    assert parameters(model) == member.network.cost.params
    if library != "transformers" or member.network.resolution % 2 == 0:  # it drops the last row of an odd image
        assert macs(model, member) == member.network.cost.macs


@pytest.mark.parametrize("phi", [0, 1, 2.5, 4])
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_another_network_has_the_counted_parameters(library: str, phi: float) -> None:
    member = scaled(NARROW, "paper", phi)
    model = build(member, library)
    assert (parameters(model), macs(model, member)) == (member.network.cost.params, member.network.cost.macs)


@pytest.mark.parametrize("activation", ["relu", "relu6", "gelu"])
def test_every_activation_goes_to_timm(activation: str) -> None:
    (member,) = generate_family(dataclasses.replace(MOBILENETV2, activation=activation), PAPER, [0])
    model = build(member, "timm")
    assert parameters(model) == member.network.cost.params
    kinds = {type(module).__name__.lower() for module in model.modules()}
    assert any(kind.startswith(activation) for kind in kinds)
    assert not any(kind.startswith("silu") for kind in kinds)


def test_a_network_without_a_head_convolution_goes_to_timm() -> None:
    member = scaled(dataclasses.replace(NARROW, head_channels=0), "paper", 1)
    assert parameters(build(member, "timm")) == member.network.cost.params


def test_uneven_depths_and_single_channels_go_to_timm_as_they_are() -> None:
    spec = dataclasses.replace(
        NARROW, stages=tuple(dataclasses.replace(s, expansion=8, se_ratio=0) for s in NARROW.stages[1:])
    )
    member = scaled(spec, "equal", 2, "matched", "exact")
    assert any(stage.channels % 8 for stage in member.network.spec.stages)
    assert parameters(build(member, "timm")) == member.network.cost.params


# Other presets

OTHERS = ("efficientnetv2-b0", "efficientnetv2-s", "resnet-18", "resnet-50", "convnext-t")
LATER = (re.compile(r"scale$|gamma$"), re.compile(r"shortcut|downsample|^features\.[246]\.\d\.(weight|bias)$"))
"""Parameters that libraries hold elsewhere in a block than phiscale: layer scales, and what changes its input."""


@pytest.mark.parametrize(("rule", "phi", "budget"), [("paper", 0, "nominal"), ("paper", 1, "nominal"),
                                                     ("paper", 1.5, "matched"), ("equal", -1, "nominal")])  # fmt: skip
@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("name", OTHERS)
def test_presets_have_the_counted_parameters(name: str, library: str, rule: str, phi: float, budget: str) -> None:
    if name.startswith("resnet") and library == "torchvision" and phi:
        rule, budget = "depth", "nominal"  # matching makes up for the cost by width
    (member,) = generate_family(BASELINES[name], PUBLISHED_RULES[rule].constants, [phi], budget=budget)
    model = build(member, library)
    assert (parameters(model), macs(model, member)) == (member.network.cost.params, member.network.cost.macs)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_preset_is_the_model_of_the_library_itself(name: str, library: str) -> None:
    own = {
        "timm": ("tf_efficientnetv2_b0", "tf_efficientnetv2_s", "resnet18", "resnet50", "convnext_tiny"),
        "torchvision": (None, "efficientnet_v2_s", "resnet18", "resnet50", "convnext_tiny"),
    }[library][OTHERS.index(name)]
    if own is None:  # torchvision has no EfficientNetV2-B0
        return
    with torch.device("meta"):
        models = require("timm") if library == "timm" else require("torchvision.models")
        theirs = models.create_model(own) if library == "timm" else getattr(models, own)()
    ours = shapes(build(generate_family(BASELINES[name], PAPER, [0])[0], library))
    if (name[:6], library) == ("resnet", "timm"):  # another class of timm, which holds shortcuts first
        assert sorted(ours) == sorted(shapes(theirs))
    else:
        assert ours == shapes(theirs)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_preset_computes_what_phiscale_trains(name: str, library: str) -> None:
    require(library)
    fixed = name.startswith("resnet") and library == "torchvision"
    base = dataclasses.replace(BASELINES[name], resolution=64, classes=7, drop_path=0.0)
    member = generate_family(base, PUBLISHED_RULES["width"].constants, [0 if fixed else -4])[0]
    names: dict[str, Any] = {}
    exec(export_member(member, library), names)  # noqa: S102
    models = [build_network(member.network.spec, 0).eval(), names["model"].eval()]
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value, other in zip(*(in_one_order(model) for model in models), strict=True):
            fan = value[0].numel() if value.dim() > 1 else 100  # vectors near 1, also variances
            value.copy_(torch.randn(value.shape, generator=random) / fan**0.5 + (value.dim() == 1))
            other.copy_(value.view(other.shape))
        for module in (part for model in models for part in model.modules() if hasattr(part, "eps")):
            module.eps = 1e-5  # which no argument of theirs sets
        images = torch.randn(2, 3, 64, 64, generator=random)
        ours, theirs = (model(images) for model in models)
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def in_one_order(model: nn.Module) -> list[torch.Tensor]:
    state = {name: value for name, value in model.state_dict().items() if value.dim()}
    return [state[name] for name in sorted(state, key=lambda name: [bool(kind.search(name)) for kind in LATER])]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*BASELINES.values(), NARROW]), strategies.constants(), strategies.reals(-2, 4),
       st.sampled_from(sorted(ROUNDINGS)), st.sampled_from(TORCH_LIBRARIES))  # fmt: skip
def test_any_member_is_exact_or_refused(base, constants, phi, rounding, library) -> None:
    member = generate_family(base, constants, [phi], rounding=ROUNDINGS[rounding])[0]
    if member.network.cost.params > 2e8:
        return
    require(library)
    try:
        snippet = export_member(member, library)
    except SettingsError:  # each reason has its test below, and that B0's own family is not refused stands above
        return
    assert parameters(run(snippet)) == member.network.cost.params


def test_the_multipliers_asked_for_are_handed_on_where_they_work() -> None:
    for name in EFFICIENTNET_TABLE:
        timm = library_arguments(PUBLISHED[name].network, "timm")
        assert timm["channel_multiplier"] == EFFICIENTNET_TABLE[name].width
        assert timm["depth_multiplier"] == EFFICIENTNET_TABLE[name].depth
        keras = library_arguments(PUBLISHED[name].network, "keras")
        assert (keras["width_coefficient"], keras["default_size"]) == (
            EFFICIENTNET_TABLE[name].width,
            EFFICIENTNET_TABLE[name].resolution,
        )
    # Width takes up the rest of a matched budget, so that the multiplier asked for makes another network.
    matched = scaled(EFFICIENTNET_B0, "width", 1, "matched").network
    assert library_arguments(matched, "timm")["channel_multiplier"] != matched.asked.width


# Refusals


def test_proxy_base_is_refused_with_the_channels_that_timm_would_build() -> None:
    member = generate_family(PROXY_BASE, PAPER, [0])[0]
    with pytest.raises(SettingsError, match=r"proxy-base phi=0 to timm: in timm 36 hidden channels of a block are"):
        library_arguments(member.network, "timm")
    timm = require("timm.models.efficientnet")
    with torch.device("meta"):
        model = timm.EfficientNet(
            timm.decode_arch_def([["ir_r1_k3_s1_e2_c12"], ["ir_r2_k3_s2_e3_c16"], ["ir_r2_k3_s2_e3_c24"]]),
            num_classes=10, num_features=64, stem_size=12,
            round_chs_fn=lambda channels: channels,
        )  # fmt: skip
    assert parameters(model) - member.network.cost.params == 164  # four more hidden channels in one block


def with_stages(spec: NetworkSpec = EFFICIENTNET_B0, **fields: Any) -> NetworkSpec:
    return dataclasses.replace(spec, stages=tuple(dataclasses.replace(stage, **fields) for stage in spec.stages))


def mixed(spec: NetworkSpec, other: NetworkSpec) -> NetworkSpec:
    return dataclasses.replace(spec, stages=(*spec.stages[:3], other.stages[3]))


def halved(spec: NetworkSpec) -> NetworkSpec:
    return generate_family(spec, ScalingConstants(1.0, 2.0, 1.0), [-1])[0].network.spec


@pytest.mark.parametrize(
    ("library", "spec", "reason"),
    [
        ("timm", dataclasses.replace(EFFICIENTNET_B0, stem_stride=1), "stride of the stem is 2, not 1"),
        (
            "torchvision",
            dataclasses.replace(NARROW, head_channels=0),
            "there is always a convolution before the pooling",
        ),
        ("timm", with_stages(se_ratio=0.3), "squeeze-excitation has"),
        ("torchvision", dataclasses.replace(EFFICIENTNET_B0, stem_kernel=5), "kernel of the stem is 3, not 5"),
        ("torchvision", dataclasses.replace(EFFICIENTNET_B0, in_channels=1), "images have 3 channels, not 1"),
        (
            "torchvision",
            dataclasses.replace(EFFICIENTNET_B0, activation="relu"),
            "in torchvision the activation is silu, not relu",
        ),
        (
            "torchvision",
            dataclasses.replace(EFFICIENTNET_B0, stem_channels=30),
            "30 channels are rounded to a multiple of 8",
        ),
        ("torchvision", with_stages(se_ratio=0), "squeeze-excitation has 8 channels, not 0"),
        ("torchvision", with_stages(stride=3), "strides are 1 or 2, not 3"),
        ("torchvision", with_stages(expansion=1.3), "are rounded to"),
        ("torchvision", with_stages(block="fused", expansion=4), "the squeeze-excitation has 0 channels, not 8"),
        ("timm", with_stages(block="fused"), "the squeeze-excitation has 0 channels, not 8"),
        ("timm", dataclasses.replace(RESNET_18, stem_kernel=5), "kernel of the stem is 3 or 7, not 5"),
        ("timm", dataclasses.replace(RESNET_18, stem="patch", stem_kernel=2), "is conv or conv-pool, not patch"),
        ("timm", with_stages(RESNET_18, stride=2), "strides multiply to at most 32, not 64"),
        ("timm", with_stages(RESNET_18, kernel=5), "kernel of blocks is 3, not 5"),
        ("timm", with_stages(RESNET_50, channels=80), "20 channels are rounded to a multiple of 8"),
        ("timm", dataclasses.replace(RESNET_18, head_norm=True), "head_norm=True has no place"),
        ("timm", dataclasses.replace(CONVNEXT_T, stages=CONVNEXT_T.stages[:3]), "a ConvNeXt has 4 stages, not 3"),
        ("timm", dataclasses.replace(CONVNEXT_T, stem_kernel=8, stem_stride=8), "stride of the stem is 4, not 8"),
        ("timm", mixed(CONVNEXT_T, EFFICIENTNET_B0), "in timm no network has blocks of convnext and mbconv"),
        *((library, RESNET_18, "no network has blocks of basic") for library in ("keras", "transformers")),
        (
            "torchvision",
            halved(RESNET_18),
            "64, 128, 256, 512 hidden channels after a stem of 64, not 32, 64, 128, 256",
        ),
        ("torchvision", dataclasses.replace(RESNET_18, activation="silu"), "the activation is relu, not silu"),
        ("torchvision", dataclasses.replace(RESNET_18, stem="conv"), "the stem is conv-pool, not conv"),
        ("torchvision", dataclasses.replace(RESNET_18, dropout=0.1), "neither dropout nor stochastic depth"),
        ("torchvision", dataclasses.replace(RESNET_18, head_channels=8), "there is no convolution before the pooling"),
        ("torchvision", with_stages(RESNET_50, expansion=2), "expansion of blocks is 4, not 2"),
        ("torchvision", mixed(RESNET_18, RESNET_50), "the block of blocks is basic, not bottleneck"),
        ("torchvision", with_stages(RESNET_18, stride=1), "the stride of stage 1 is 2, not 1"),
        ("torchvision", with_stages(CONVNEXT_T, kernel=5), "kernel of blocks is 7, not 5"),
        ("torchvision", with_stages(CONVNEXT_T, layer_scale=0.0), "blocks always have a layer scale"),
        ("torchvision", with_stages(CONVNEXT_T, expansion=3), "expansion of blocks is 4, not 3"),
        ("torchvision", dataclasses.replace(CONVNEXT_T, dropout=0.1), "a ConvNeXt has no dropout"),
        ("torchvision", dataclasses.replace(CONVNEXT_T, activation="silu"), "the activation is gelu, not silu"),
        ("torchvision", dataclasses.replace(CONVNEXT_T, head_norm=False), "always a normalisation before the classif"),
        ("torchvision", dataclasses.replace(CONVNEXT_T, head_channels=8), "no convolution before the pooling"),
        ("torchvision", dataclasses.replace(CONVNEXT_T, stem_channels=64), "stem has the 96 channels of the first"),
        ("torchvision", dataclasses.replace(CONVNEXT_T, stem="conv", stem_kernel=7), "stem of a ConvNeXt is patch"),
        ("keras", dataclasses.replace(EFFICIENTNET_B0, stem_kernel=5), "kernel of the stem is 3, not 5"),
        ("keras", dataclasses.replace(EFFICIENTNET_B0, in_channels=1), "images have 3 channels, not 1"),
        ("keras", dataclasses.replace(EFFICIENTNET_B0, head_channels=640), "32 and 1280 times one width, not 32 and"),
        ("keras", with_stages(expansion=2.5), "expansions are whole numbers, not 2.5"),
        ("transformers", dataclasses.replace(EFFICIENTNET_B0, stem_kernel=5), "kernel of the stem is 3, not 5"),
        ("transformers", NARROW, "32 and 1280 times one width, not 24 and 512"),
        ("transformers", with_stages(expansion=2.5), "expansions are whole numbers, not 2.5"),
        ("transformers", with_stages(se_ratio=0), "always have squeeze-excitation"),
        ("transformers", with_stages(stride=3), "strides are 1 or 2, not 3"),
        ("transformers", with_stages(channels=32, stride=1), "has no skip connection, and one of 32 has"),
        ("tensorflow", EFFICIENTNET_B0, "expected a library of keras, timm, torchvision, transformers"),
    ],
)
def test_refusals(library: str, spec: NetworkSpec, reason: str) -> None:
    member = generate_family(spec, PAPER, [0])[0]
    with pytest.raises(SettingsError, match=reason):
        library_arguments(member.network, library)


def test_one_squeeze_ratio_for_transformers() -> None:
    stages = (*EFFICIENTNET_B0.stages[:-1], dataclasses.replace(EFFICIENTNET_B0.stages[-1], se_ratio=0.5))
    member = generate_family(dataclasses.replace(EFFICIENTNET_B0, stages=stages), PAPER, [0])[0]
    with pytest.raises(SettingsError, match="one squeeze-excitation ratio"):
        library_arguments(member.network, "transformers")


def test_a_field_that_no_export_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from phiscale.export import _library

    known = {cls: names - {"kernel"} for cls, names in _library._KNOWN_FIELDS.items()}
    monkeypatch.setattr(_library, "_KNOWN_FIELDS", known)
    with pytest.raises(SettingsError, match="in timm kernel=3 has no place"):
        library_arguments(PUBLISHED["b0"].network, "timm")


# Plain data


@pytest.mark.parametrize("constants", [PAPER, None])
def test_json_and_toml_hold_the_whole_member(constants: ScalingConstants | None) -> None:
    member = scaled(EFFICIENTNET_B0, "paper", 2.5)
    document = json.loads(export_member(member, "json", constants))
    assert NetworkSpec.from_dict(document["network"]) == member.network.spec
    assert Multipliers(**document["multipliers"]) == member.network.realised
    assert Multipliers(**document["multipliers_asked"]) == member.network.asked
    assert document["cost"] == dataclasses.asdict(member.network.cost)
    assert document["constants"] == (dataclasses.asdict(constants) if constants else None)
    assert (document["format"], document["version"], document["phi"]) == ("phiscale-export", 1, 2.5)
    there = {name: value for name, value in document.items() if value is not None}
    assert tomllib.loads(export_member(member, "toml", constants)) == there


@settings(max_examples=40, deadline=None)
@given(strategies.records())
def test_every_export_says_the_length_that_its_constants_are_for(record: SearchRecord) -> None:
    member = scaled(EFFICIENTNET_B0, "paper", 1)
    length = dataclasses.asdict(record.length) if record.length else None
    assert json.loads(export_member(member, "json", PAPER, record))["length"] == length
    toml = tomllib.loads(export_member(member, "toml", PAPER, record)).get("length")
    assert toml == (length and {name: value for name, value in length.items() if value is not None})
    for to in (*LIBRARIES, "python"):
        text = export_member(member, to, PAPER, record)
        assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(export_member(member, to, PAPER)))
        assert "\n# constants for a training of " in text
        said = f"{record.length.images:,} images seen" if record.length else "unstated length"
        assert said in text
    (row,) = csv.DictReader(io.StringIO(export_member(member, "csv", PAPER, record)))
    assert row["length_images"] == (str(record.length.images) if record.length else "")


def test_the_length_of_published_constants_is_not_spoken_of() -> None:
    assert json.loads(export_member(PUBLISHED["b1"], "json", PAPER))["length"] is None
    assert "length" not in tomllib.loads(export_member(PUBLISHED["b1"], "toml", PAPER))
    assert "constants for" not in export_member(PUBLISHED["b1"], "timm", PAPER)


@given(strategies.networks())
def test_any_network_survives_toml(spec: NetworkSpec) -> None:
    member = generate_family(spec, PAPER, [0])[0]
    assert tomllib.loads(export_member(member, "toml"))["network"] == member.network.spec.to_dict()


def test_csv_is_the_row_of_the_family() -> None:
    rows = list(csv.DictReader(io.StringIO(export_member(PUBLISHED["b3"], "csv"))))
    assert [(row["name"], row["params"]) for row in rows] == [("b3", "12233232")]


def test_the_python_snippet_needs_nothing() -> None:
    member = scaled(EFFICIENTNET_B0, "paper", 1)
    names: dict[str, Any] = {"__builtins__": {"int": int, "max": max, "tuple": tuple}}
    exec(export_member(member, "python", PAPER), names)  # noqa: S102
    assert names["scale"](10, 64, 224, 1) == (12, 70, 257)
    assert [StageSpec(**stage) for stage in names["STAGES"]] == list(member.network.spec.stages)
    assert Multipliers(*(names[f"REALISED_{axis}"] for axis in ("DEPTH", "WIDTH", "RESOLUTION"))) == (
        member.network.realised
    )
    spec = member.network.spec
    sizes = tuple(names[name] for name in ("RESOLUTION", "STEM_CHANNELS", "HEAD_CHANNELS", "CLASSES"))
    assert sizes == (spec.resolution, spec.stem_channels, spec.head_channels, spec.classes)
    assert "ALPHA" not in export_member(PUBLISHED["b1"], "python")


@pytest.mark.parametrize("to", [*LIBRARIES, "python"])
def test_a_name_cannot_become_code(to: str) -> None:
    spec = dataclasses.replace(EFFICIENTNET_B0, name="x\nraise SystemExit('ran')\u2028\r\x0craise SystemExit")
    member = generate_family(spec, PAPER, [0])[0]
    data = Length(1000, 100, spec.name)
    for text in (export_member(member, to), export_member(member, to, record=dataclasses.replace(RECORD, length=data))):
        code = [line for line in text.splitlines() if not line.startswith("#")]
        assert "SystemExit" not in "\n".join(code)
        compile(text, "snippet", "exec")


def test_an_unknown_export_is_refused() -> None:
    with pytest.raises(SettingsError, match="expected an export to csv, json, keras"):
        export_member(PUBLISHED["b0"], "caffe")


# The command


@pytest.mark.parametrize("to", EXPORTS)
def test_the_command_prints_the_export(to: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--rule", "paper", "--phi", "2", "--to", to]) == 0
    assert capsys.readouterr().out == export_member(generate_family(EFFICIENTNET_B0, PAPER, [2])[0], to, PAPER) + "\n"


def test_the_command_exports_a_published_member(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--published", "b4", "--to", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["params"] == GOLDEN["b4"]["params"]
