from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from objectives.network import Network, build_network
from phiscale import (
    EFFICIENTNET_B0,
    PROXY_BASE,
    PUBLISHED_RULES,
    ROUNDINGS,
    Cost,
    Multipliers,
    count_cost,
    match_budget,
    scale_network,
)
from tests import strategies


def counted(spec):
    """The cost of the module itself, on the meta device."""
    with torch.device("meta"):
        network = Network(spec)
        images = torch.empty(1, spec.in_channels, spec.resolution, spec.resolution)
    outputs = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.numel()))
    with FlopCounterMode(display=False) as flops:
        logits = network.eval()(images)
    assert logits.shape == (1, spec.classes)
    params = sum(parameter.numel() for parameter in network.parameters())
    return Cost(flops.get_total_flops() // 2, params, sum(outputs))


def with_resolution(spec, resolution):
    return dataclasses.replace(spec, resolution=resolution)


SPECS = [
    EFFICIENTNET_B0,
    PROXY_BASE,
    *(with_resolution(EFFICIENTNET_B0, side) for side in (1, 31, 225, 257)),
    *(with_resolution(PROXY_BASE, side) for side in (1, 2, 23, 25, 33)),
    *(
        scale_network(EFFICIENTNET_B0, Multipliers(depth, width, resolution), ROUNDINGS["tf"]).spec
        for depth, width, resolution in ((1.1, 1.0, 240 / 224), (1.4, 1.2, 300 / 224), (3.1, 2.0, 600 / 224))
    ),
    *(
        match_budget(PROXY_BASE, PUBLISHED_RULES[name].constants, phi=2).spec
        for name in ("equal", "paper", "depth", "width", "resolution")
    ),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.name}-{spec.total_repeats}-{spec.resolution}")
def test_module_has_and_does_what_its_spec_counts(spec):
    assert counted(spec) == count_cost(spec)


@settings(max_examples=20, deadline=None)
@given(strategies.networks())
def test_any_spec_counts_equal_to_its_module(spec):
    assert counted(spec) == count_cost(spec)


def test_efficientnet_b0_has_the_published_parameters():
    assert sum(parameter.numel() for parameter in build_network(EFFICIENTNET_B0, 0).parameters()) == 5_288_548


@pytest.mark.parametrize(("side", "stride"), [*itertools.product((1, 7, 8, 9), (1, 2, 3))])
def test_a_stride_rounds_the_side_up(side, stride):
    stage = dataclasses.replace(PROXY_BASE.stages[0], stride=stride, kernel=5)
    spec = dataclasses.replace(PROXY_BASE, stages=(stage,), stem_stride=1)
    features = build_network(spec, 0).eval().blocks(torch.zeros(1, spec.stem_channels, side, side))
    assert features.shape[2:] == (-(-side // stride),) * 2


def test_weights_come_from_the_seed_alone():
    before = torch.random.get_rng_state()
    first, again, other = (build_network(EFFICIENTNET_B0, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(7)
    generated = build_network(EFFICIENTNET_B0, torch.Generator().manual_seed(1)).state_dict()
    torch.random.set_rng_state(before)
    assert all(torch.equal(first[name], again[name]) and torch.equal(first[name], generated[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


def test_every_value_is_initialised():
    network = build_network(EFFICIENTNET_B0, 0)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert network.stem[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_residual_branches_start_at_zero_and_other_blocks_do_not():
    spec = dataclasses.replace(PROXY_BASE, drop_path=0.0)
    network = build_network(spec, 0).train()
    images = torch.randn(4, spec.stem_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    residual = 0
    for block in network.blocks:
        outputs = block(images)
        if block.residual:
            residual += 1
            assert torch.equal(outputs, images)
        else:
            assert outputs.abs().sum() > 0
        images = outputs
    assert residual == 3


def test_stochastic_depth_grows_linearly_and_acts_in_training_only():
    spec = dataclasses.replace(PROXY_BASE, drop_path=0.4)
    network = build_network(spec, 0)
    assert [block.drop_path for block in network.blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    last = network.blocks[-1]
    nn.init.ones_(last.branch[-1].weight)
    images = torch.ones(200, 24, 6, 6) + torch.randn(200, 24, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = (last.train()(images) == images).flatten(1).all(1).float().mean()
    assert 0.25 < dropped < 0.55
    assert not (last.eval()(images) == images).flatten(1).all(1).any()
