"""Network descriptions: what they accept, their JSON form, their fingerprint, and the baselines that come along."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale import (
    BASELINES,
    CONVNEXT_T,
    EFFICIENTNET_B0,
    PROXY_BASE,
    PUBLISHED_RULES,
    RESNET_50,
    NetworkSpec,
    SearchRecord,
    SpecError,
    StageSpec,
    count_cost,
    load_network,
    match_budget,
)
from tests import strategies

GOLDEN = Path(__file__).parent / "golden"


def plain(**changes: object) -> dict[str, Any]:
    """EfficientNet-B0 as JSON values, with changes."""
    return {**EFFICIENTNET_B0.to_dict(), **changes}


def plain_stage(**changes: object) -> dict[str, Any]:
    return plain(stages=[{**EFFICIENTNET_B0.to_dict()["stages"][1], **changes}])


def test_b0_is_table_one_of_the_paper() -> None:
    # Kernel, repeats, channels, expansion, stride: Tan & Le 2019, table 1; strides as in efficientnet_builder.py.
    rows = [(s.kernel, s.repeats, s.channels, s.expansion, s.stride, s.se_ratio) for s in EFFICIENTNET_B0.stages]
    assert rows == [
        (3, 1, 16, 1, 1, 0.25),
        (3, 2, 24, 6, 2, 0.25),
        (5, 2, 40, 6, 2, 0.25),
        (3, 3, 80, 6, 2, 0.25),
        (5, 3, 112, 6, 1, 0.25),
        (5, 4, 192, 6, 2, 0.25),
        (3, 1, 320, 6, 1, 0.25),
    ]
    b0 = EFFICIENTNET_B0
    assert (b0.resolution, b0.stem_channels, b0.head_channels, b0.classes) == (224, 32, 1280, 1000)
    assert (b0.stem_kernel, b0.stem_stride, b0.in_channels, b0.activation) == (3, 2, 3, "silu")
    assert (b0.dropout, b0.drop_path, b0.total_repeats) == (0.2, 0.2, 16)


def test_the_proxy_base() -> None:
    rows = [(s.kernel, s.repeats, s.channels, s.expansion, s.stride, s.se_ratio) for s in PROXY_BASE.stages]
    assert rows == [(3, 1, 12, 2, 1, 0), (3, 2, 16, 3, 2, 0), (3, 2, 24, 3, 2, 0)]
    assert (PROXY_BASE.resolution, PROXY_BASE.stem_channels, PROXY_BASE.head_channels) == (24, 12, 64)
    assert (PROXY_BASE.activation, PROXY_BASE.dropout, PROXY_BASE.drop_path) == ("relu", 0, 0)


def test_baselines_are_found_by_their_own_name() -> None:
    assert all(name == spec.name for name, spec in BASELINES.items())
    assert list(BASELINES) == [
        "efficientnet-b0", "efficientnetv2-b0", "efficientnetv2-s", "mobilenetv2", "resnet-18", "resnet-50",
        "convnext-t", "proxy-base",
    ]  # fmt: skip
    assert len({spec.fingerprint for spec in BASELINES.values()}) == len(BASELINES)


@given(strategies.networks())
def test_json_round_trip(spec: NetworkSpec) -> None:
    back = NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert back == spec
    assert back.fingerprint == spec.fingerprint


@given(strategies.networks())
def test_fields_with_a_default_may_be_left_out(spec: NetworkSpec) -> None:
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(NetworkSpec)
        if field.default is not dataclasses.MISSING
    }
    short = {name: value for name, value in spec.to_dict().items() if name not in defaults}
    # the default stem may take more pixels than the stem that was drawn
    whole = dataclasses.replace(spec, **defaults, resolution=2**20)
    assert NetworkSpec.from_dict(short | {"resolution": 2**20}) == whole


@given(strategies.networks(), st.text(min_size=1), strategies.reals(0, 0.9))
def test_name_and_regularisation_do_not_change_the_fingerprint(spec: NetworkSpec, name: str, rate: float) -> None:
    other = dataclasses.replace(spec, name=name, dropout=rate, drop_path=rate)
    assert other.fingerprint == spec.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 225},
        {"stem_channels": 40},
        {"head_channels": 1281},
        {"classes": 10},
        {"stem_kernel": 5},
        {"stem_stride": 1},
        {"in_channels": 1},
        {"activation": "relu"},
        {"activation": "gelu"},
        {"stem": "conv-pool"},
        {"stem": "patch", "stem_kernel": 2},
        {"head_channels": 0},
        {"head_norm": True},
        {"stages": (dataclasses.replace(EFFICIENTNET_B0.stages[0], block="fused"), *EFFICIENTNET_B0.stages[1:])},
        {"stages": EFFICIENTNET_B0.stages[:-1]},
        {"stages": EFFICIENTNET_B0.stages[::-1]},
        {"stages": (dataclasses.replace(EFFICIENTNET_B0.stages[0], repeats=2), *EFFICIENTNET_B0.stages[1:])},
        {"stages": (dataclasses.replace(EFFICIENTNET_B0.stages[0], se_ratio=0), *EFFICIENTNET_B0.stages[1:])},
    ],
)
def test_every_part_of_the_architecture_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert dataclasses.replace(EFFICIENTNET_B0, **change).fingerprint != EFFICIENTNET_B0.fingerprint


def test_how_a_network_grows_does_not_change_its_fingerprint() -> None:
    assert dataclasses.replace(EFFICIENTNET_B0, resolution_multiple=32).fingerprint == EFFICIENTNET_B0.fingerprint


def test_fingerprints_stay_the_same_between_versions() -> None:
    # Computed by this package at 0.1.0: studies recognise networks they have trained by it.
    assert EFFICIENTNET_B0.fingerprint == "51bddc2236a65a15"
    assert PROXY_BASE.fingerprint == "fb4365fdb7b1238b"
    matched = [match_budget(PROXY_BASE, PUBLISHED_RULES[name].constants, phi=2) for name in ("paper", "width")]
    assert [network.fingerprint for network in matched] == ["8d1e7f72124411af", "f5e82e4ee4be0a72"]


def test_a_record_written_before_there_were_kinds_of_block_means_mbconv() -> None:
    golden = json.loads((GOLDEN / "old_record.json").read_text())
    spec = SearchRecord.from_dict(golden["record"]).network
    assert spec is not None
    assert [stage.block for stage in spec.stages] == ["mbconv"] * 7
    assert (spec.stem, spec.head_norm, spec.fingerprint) == ("conv", False, golden["fingerprint"])
    assert (count_cost(spec).macs, count_cost(spec).params) == (golden["macs"], golden["params"])
    upgraded = golden["record"] | {"version": 2, "length": None, "horizon": None}
    assert SearchRecord.from_dict(golden["record"]).to_dict() == upgraded


def test_what_mbconv_lacks_is_left_out_of_the_json_form() -> None:
    assert set(PROXY_BASE.to_dict()) == {
        "name", "resolution", "stem_channels", "stages", "head_channels", "classes", "stem_kernel", "stem_stride",
        "in_channels", "activation", "dropout", "drop_path",
    }  # fmt: skip
    said = EFFICIENTNET_B0.to_dict() | {"stem": "conv", "head_norm": False}
    said["stages"] = [stage | {"block": "mbconv", "layer_scale": 0} for stage in said["stages"]]
    assert NetworkSpec.from_dict(said).to_dict() == EFFICIENTNET_B0.to_dict()
    convnext = CONVNEXT_T.to_dict()
    assert (convnext["stem"], convnext["head_norm"], convnext["head_channels"]) == ("patch", True, 0)
    assert convnext["stages"][0] == {
        "block": "convnext", "kernel": 7, "repeats": 3, "channels": 96, "expansion": 4.0, "stride": 1, "se_ratio": 0.0,
        "layer_scale": 1e-6,
    }  # fmt: skip


def test_whole_and_decimal_expansions_are_the_same_network() -> None:
    whole = NetworkSpec.from_dict(plain_stage(expansion=6))
    decimal = NetworkSpec.from_dict(plain_stage(expansion=6.0))
    assert (whole, whole.fingerprint) == (decimal, decimal.fingerprint)


def test_hidden_and_squeezed_channels() -> None:
    stage = EFFICIENTNET_B0.stages[1]
    assert stage.hidden_channels(16) == 96
    # int(16 * 0.25), int(30 * 0.25), and never below 1.
    assert [stage.squeeze_channels(n) for n in (16, 30, 1)] == [4, 7, 1]
    assert dataclasses.replace(stage, se_ratio=0).squeeze_channels(16) == 0
    assert dataclasses.replace(stage, expansion=1.5).hidden_channels(5) == 7


SIZES = ["resolution", "stem_channels", "head_channels", "classes", "stem_kernel", "stem_stride", "in_channels"]
BAD_SIZES = [0, -3, 2**31 + 1, 10**5000, 3.0, math.nan, "3", None, True, [3]]
BAD_NAMES = ["zero", "negative", "above 32 bits", "huge", "decimal", "nan", "text", "null", "true", "list"]


@pytest.mark.parametrize("bad", BAD_SIZES, ids=BAD_NAMES)
@pytest.mark.parametrize("name", SIZES)
def test_bad_sizes_of_a_network(name: str, bad: object) -> None:
    if (name, bad) == ("head_channels", 0):
        assert NetworkSpec.from_dict(plain(head_channels=0)).features == 320
        return
    with pytest.raises(SpecError, match=name):
        NetworkSpec.from_dict(plain(**{name: bad}))


@pytest.mark.parametrize("bad", BAD_SIZES, ids=BAD_NAMES)
@pytest.mark.parametrize("name", ["kernel", "repeats", "channels", "stride"])
def test_bad_sizes_of_a_stage(name: str, bad: object) -> None:
    with pytest.raises(SpecError, match=name):
        NetworkSpec.from_dict(plain_stage(**{name: bad}))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("kernel", 4),
        ("expansion", 0.5),
        ("expansion", 1001),
        ("expansion", 1e308),
        ("expansion", math.nan),
        ("expansion", "6"),
        ("se_ratio", -0.1),
        ("se_ratio", 1.1),
        ("se_ratio", None),
        ("block", "resnet"),
        ("block", None),
        ("block", ["mbconv"]),
        ("layer_scale", 0.1),
        ("layer_scale", math.nan),
    ],
)
def test_impossible_stages(name: str, bad: object) -> None:
    with pytest.raises(SpecError, match=name):
        NetworkSpec.from_dict(plain_stage(**{name: bad}))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("name", ""),
        ("name", 3),
        ("stem_kernel", 2),
        ("activation", "tanh"),
        ("stem", "pool"),
        ("stem", ["conv"]),
        ("resolution_multiple", 0),
        ("resolution_multiple", 1.5),
        ("head_norm", 1),
        ("head_norm", None),
        ("activation", ["silu"]),
        ("dropout", 1),
        ("dropout", -0.1),
        ("drop_path", math.inf),
        ("drop_path", "0"),
        ("stages", []),
        ("stages", {}),
        ("stages", "k3"),
        ("stages", [3]),
        ("stages", [[]]),
        ("stages", [{"kernel": 3}]),
    ],
)
def test_impossible_networks(name: str, bad: object) -> None:
    with pytest.raises(SpecError, match="stage" if name == "stages" else name):
        NetworkSpec.from_dict(plain(**{name: bad}))


def test_missing_and_unknown_fields_are_named() -> None:
    short = plain()
    del short["resolution"], short["head_channels"]
    with pytest.raises(SpecError, match="lacks head_channels, resolution"):
        NetworkSpec.from_dict(short)
    with pytest.raises(SpecError, match="unknown fields: depth, widht"):
        NetworkSpec.from_dict(plain(widht=1, depth=2))
    with pytest.raises(SpecError, match="stage 0 has unknown fields: groups"):
        NetworkSpec.from_dict(plain_stage(groups=2))


@given(strategies.json_values())
def test_any_json_is_a_network_or_one_clear_error(value: object) -> None:
    with pytest.raises(SpecError):
        NetworkSpec.from_dict(value)


def test_stages_must_be_stages() -> None:
    with pytest.raises(SpecError, match="StageSpec"):
        dataclasses.replace(EFFICIENTNET_B0, stages=("k3",))
    assert isinstance(dataclasses.replace(EFFICIENTNET_B0, stages=list(EFFICIENTNET_B0.stages)).stages, tuple)


def test_specs_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EFFICIENTNET_B0.resolution = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        EFFICIENTNET_B0.stages[0].repeats = 1  # type: ignore[misc]


def test_load_network(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(PROXY_BASE.to_dict()))
    assert load_network(path) == PROXY_BASE
    assert load_network(str(path)) == PROXY_BASE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b'{"name": "a"', "not JSON"),
        (b"\xff\xfe\x00", "not text"),
        (b"[" * 100_000, "nested too deep"),
        (b"9" * 5000, "digits"),
        (b"[]", "named fields"),
        (b"null", "named fields"),
        (b'{"name": "a"}', "lacks head_channels, resolution, stages, stem_channels"),
    ],
)
def test_files_that_hold_no_network(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=reason) as caught:
        load_network(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        load_network(tmp_path / "missing.json")
    with pytest.raises(SpecError, match="cannot read the network file"):
        load_network("a\0b")
    with pytest.raises(SpecError, match="Is a directory"):
        load_network(tmp_path)


def test_a_stage_is_made_by_keyword_only() -> None:
    with pytest.raises(TypeError):
        StageSpec(3, 1, 16, 1, 1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (RESNET_50, {"se_ratio": 0.25}, "se_ratio to be 0 in a bottleneck block"),
        (RESNET_50, {"layer_scale": 0.1}, "layer_scale to be 0 in a bottleneck block"),
        (RESNET_50, {"channels": 254}, "divides the 254 channels of a bottleneck block, got 4"),
        (RESNET_50, {"expansion": 2.5}, "whole expansion"),
        (RESNET_50, {"block": "basic", "expansion": 1.5}, "whole expansion"),
        (CONVNEXT_T, {"se_ratio": 0.1}, "se_ratio to be 0 in a convnext block"),
        (CONVNEXT_T, {"layer_scale": 2}, "layer_scale in"),
    ],
)
def test_a_block_has_only_the_fields_of_its_kind(base: NetworkSpec, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(base.stages[0], **change)


def test_a_patch_stem_has_patches_side_by_side() -> None:
    with pytest.raises(SpecError, match="to be equal, got 7 and 4"):
        dataclasses.replace(CONVNEXT_T, stem_kernel=7)
    with pytest.raises(SpecError, match="odd stem_kernel"):
        dataclasses.replace(CONVNEXT_T, stem="conv")


@pytest.mark.parametrize("spec", BASELINES.values(), ids=lambda spec: spec.name)
def test_strides_and_smallest_resolutions(spec: NetworkSpec) -> None:
    assert spec.total_stride == (8 if spec.name == "proxy-base" else 32)
    assert spec.smallest_resolution == (32 if spec.name == "convnext-t" else 1)
    assert count_cost(dataclasses.replace(spec, resolution=spec.smallest_resolution)).macs > 0


def test_a_resolution_below_one_patch_is_refused() -> None:
    with pytest.raises(SpecError, match="at least 32 pixels in convnext-t.*got 31"):
        dataclasses.replace(CONVNEXT_T, resolution=31)


@given(strategies.networks())
def test_the_smallest_resolution_is_the_smallest(spec: NetworkSpec) -> None:
    def last_side(resolution: int) -> int:
        smaller = dataclasses.replace(spec, resolution=resolution, resolution_multiple=1)
        side = smaller.stem_side
        for stage in smaller.stages:
            side = stage.output_side(side, stage.stride)
        return side

    assert last_side(spec.smallest_resolution) == 1
    assert last_side(spec.total_stride) == 1
    if spec.smallest_resolution > 1:
        with pytest.raises(SpecError, match="at least"):
            last_side(spec.smallest_resolution - 1)
