"""Hypothesis strategies that several test files share: surfaces, constants, networks, records and JSON values."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

import phiscale
from phiscale.blocks import BLOCKS


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def shares() -> st.SearchStrategy[phiscale.Shares]:
    """Points of the triangle, its corners and edges among them."""
    weights = st.tuples(*[st.just(0.0) | reals(1e-3, 1)] * 3).filter(any)
    return weights.map(lambda w: phiscale.Shares(*(part / sum(w) for part in w)))


def cost_models() -> st.SearchStrategy[phiscale.CostModel]:
    """Surfaces on which every axis enters the cost."""
    exponent = reals(0.25, 4)
    metric = st.sampled_from(["macs", "params", "activations", "formula"])
    return st.builds(phiscale.CostModel, exponent, exponent, exponent, reals(1.1, 8), metric)


def constants() -> st.SearchStrategy[phiscale.ScalingConstants]:
    """Any positive multipliers, on a surface or not."""
    return st.builds(phiscale.ScalingConstants, *[reals(0.3, 3)] * 3)


@st.composite
def stages(draw: st.DrawFn, blocks: tuple[str, ...] = tuple(BLOCKS)) -> phiscale.StageSpec:
    block = draw(st.sampled_from(blocks))
    whole, takes = BLOCKS[block].unit_is_expansion, BLOCKS[block].takes
    expansion = draw(st.sampled_from([1, 2, 4] if whole else [1, 1.5, 2, 4.0, 6]))
    return phiscale.StageSpec(
        block=block,
        kernel=draw(st.sampled_from([1, 3, 5, 7])),
        repeats=draw(st.integers(1, 5)),
        channels=draw(st.integers(1, 64)) * (int(expansion) if whole else 1),
        expansion=expansion,
        stride=draw(st.integers(1, 3)),
        se_ratio=draw(st.sampled_from([0, 0.0, 0.1, 0.25, 1])) if "se_ratio" in takes else 0,
        layer_scale=draw(st.sampled_from([0, 1e-6, 1])) if "layer_scale" in takes else 0.0,
    )


@st.composite
def networks(draw: st.DrawFn, blocks: tuple[str, ...] = tuple(BLOCKS)) -> phiscale.NetworkSpec:
    """Networks of these kinds of block; with ``mbconv`` alone, as all of them were before there were others."""
    alone = blocks == ("mbconv",)
    stem = "conv" if alone else draw(st.sampled_from(["conv", "conv-pool", "patch"]))
    stride = draw(st.integers(1, 4))
    spec = phiscale.NetworkSpec(
        name=draw(st.text(min_size=1, max_size=12)),
        resolution=2**20,
        stem_channels=draw(st.integers(1, 64)),
        stages=draw(st.lists(stages(blocks), min_size=1, max_size=4).map(tuple)),
        head_channels=draw(st.integers(1 if alone else 0, 256)),
        classes=draw(st.integers(1, 1000)),
        stem=stem,
        stem_kernel=stride if stem == "patch" else draw(st.sampled_from([1, 3, 7])),
        stem_stride=stride,
        head_norm=not alone and draw(st.booleans()),
        in_channels=draw(st.integers(1, 4)),
        activation=draw(st.sampled_from(["silu", "relu"] if alone else ["silu", "relu", "relu6", "gelu"])),
        dropout=draw(reals(0, 0.9)),
        drop_path=draw(reals(0, 0.9)),
    )
    least, multiple = (
        max(spec.smallest_resolution, draw(st.integers(1, 300))),
        1 if alone else draw(st.sampled_from([1, 8])),
    )
    return dataclasses.replace(spec, resolution=-(-least // multiple) * multiple, resolution_multiple=multiple)


def json_scalars() -> st.SearchStrategy[object]:
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return st.none() | st.booleans() | numbers | st.text(max_size=8)


def json_values() -> st.SearchStrategy[object]:
    """Any value that a JSON file can hold."""
    return st.recursive(
        json_scalars(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )


def free_parts() -> st.SearchStrategy[dict[str, object]]:
    """The parts of a record that may hold anything."""
    return st.dictionaries(st.text(max_size=8), json_values(), max_size=3)


def observations() -> st.SearchStrategy[phiscale.Observed]:
    name = st.text(min_size=1, max_size=8)
    return st.builds(phiscale.Observed, name, constants(), reals(-1e6, 1e6), st.integers(1, 99))


def lengths() -> st.SearchStrategy[phiscale.Length]:
    """Any length of training, in epochs or not."""
    count = st.integers(1, 2**60)
    return st.builds(phiscale.Length, count, st.none() | count, st.none() | st.text(min_size=1, max_size=8))


def horizons() -> st.SearchStrategy[phiscale.Horizon]:
    return st.builds(phiscale.Horizon, st.integers(1, 2**60), st.booleans(), st.text(max_size=12))


@st.composite
def records(draw: st.DrawFn) -> phiscale.SearchRecord:
    """Whole records whose constants lie on their surface."""
    cost_model = draw(cost_models())
    low, score, high = sorted(draw(st.tuples(*[reals(-1e6, 1e6)] * 3)))
    text = st.text(min_size=1, max_size=12)
    return phiscale.SearchRecord(
        study=draw(text),
        created=draw(text),
        constants=phiscale.constants_from_shares(draw(shares()), cost_model),
        cost_model=cost_model,
        phi=draw(reals(-3, 8).filter(bool)),
        network=draw(st.none() | networks()),
        score_name=draw(text),
        direction=draw(st.sampled_from(["maximize", "minimize"])),
        expected=draw(st.none() | st.just(phiscale.Estimate(score, low, high))),
        noise=draw(st.none() | reals(0, 10)),
        length=draw(st.none() | lengths()),
        horizon=draw(st.none() | horizons()),
        best_observed=draw(observations()),
        region=tuple(draw(st.lists(shares(), max_size=2))),
        baselines=tuple(draw(st.lists(observations(), max_size=2))),
        notes=tuple(draw(st.lists(text, max_size=2))),
        data=draw(free_parts()),
        budget=draw(free_parts()),
        versions=draw(free_parts()),
        device=draw(text),
        details=draw(free_parts()),
    )
