from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from objectives.networks.build import Network, build_network, folded
from objectives.training.settings import TrainSettings
from objectives.training.train import train_proxy
from phiscale import (
    BASELINES,
    CONVNEXT_T,
    EFFICIENTNET_B0,
    EFFICIENTNETV2_S,
    PROXY_BASE,
    PUBLISHED_RULES,
    RESNET_18,
    RESNET_50,
    ROUNDINGS,
    Cost,
    Multipliers,
    count_cost,
    match_budget,
    scale_network,
)
from tests import strategies
from tests.interop import require
from tests.tiny_data import striped_images


def counted(spec):
    """The cost of the module itself, on the meta device."""
    with torch.device("meta"):
        return module_cost(Network(spec), spec)


def module_cost(network, spec):
    """The cost of any module on the meta device, at the resolution of the spec."""
    images = torch.empty(1, spec.in_channels, spec.resolution, spec.resolution, device="meta")
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
    *(
        match_budget(base, PUBLISHED_RULES[name].constants, phi=phi).spec
        for base in BASELINES.values()
        for name, phi in (("paper", -1), ("equal", 1), ("dollar", 2.5))
    ),
    *(scale_network(base, Multipliers(1.3, 1.2, 1.1), ROUNDINGS["tf"]).spec for base in BASELINES.values()),
    *BASELINES.values(),
    with_resolution(CONVNEXT_T, 32),
    with_resolution(CONVNEXT_T, 101),
    with_resolution(RESNET_18, 1),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.name}-{spec.total_repeats}-{spec.resolution}")
def test_module_has_and_does_what_its_spec_counts(spec):
    assert counted(spec) == count_cost(spec)


@settings(max_examples=30, deadline=None)
@given(strategies.networks())
def test_any_spec_counts_equal_to_its_module(spec):
    assert counted(spec) == count_cost(spec)


def test_efficientnet_b0_has_the_published_parameters():
    assert sum(parameter.numel() for parameter in build_network(EFFICIENTNET_B0, 0).parameters()) == 5_288_548


LIBRARIES = {
    "efficientnet-b0": ("torchvision efficientnet_b0", "timm efficientnet_b0"),
    "efficientnetv2-b0": ("timm tf_efficientnetv2_b0",),
    "efficientnetv2-s": ("torchvision efficientnet_v2_s", "timm tf_efficientnetv2_s"),
    "mobilenetv2": ("torchvision mobilenet_v2", "timm mobilenetv2_100"),
    "resnet-18": ("torchvision resnet18", "timm resnet18"),
    "resnet-50": ("torchvision resnet50", "timm resnet50"),
    "convnext-t": ("torchvision convnext_tiny", "timm convnext_tiny"),
}


@pytest.mark.parametrize(("name", "model"), [(name, model) for name, models in LIBRARIES.items() for model in models])
def test_presets_have_the_layers_of_other_libraries(name, model):
    library, function = model.split()
    module = require("torchvision.models" if library == "torchvision" else library)
    spec = BASELINES[name]
    with torch.device("meta"):
        theirs = getattr(module, function)() if library == "torchvision" else module.create_model(function)
        ours = Network(spec)
    assert module_cost(theirs, spec) == count_cost(spec)
    assert sorted(weight_shapes(theirs)) == sorted(weight_shapes(ours))


def weight_shapes(network):
    """Shapes of all parameters, sides of 1 left out: some libraries write a linear layer as a convolution."""
    shapes = (tuple(parameter.shape) for parameter in network.parameters())
    return [tuple(side for side in shape if side != 1) for shape in shapes]


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


def small(base):
    """The baseline at an eighth of its width, with one or two blocks in a stage, 32 px and two classes."""
    thin = scale_network(base, Multipliers(1, 1 / 8, 1), ROUNDINGS["exact"], resolution=32).spec
    stages = tuple(dataclasses.replace(stage, repeats=min(stage.repeats, 2)) for stage in thin.stages)
    return dataclasses.replace(thin, stages=stages, classes=2)


@pytest.mark.parametrize("base", BASELINES.values(), ids=lambda spec: spec.name)
def test_every_value_is_initialised(base, monkeypatch):
    def to_garbage(network, *, device):
        """Memory as it comes may hold anything, or by luck what it should."""
        network._apply(lambda value: torch.full(value.shape, 77, dtype=value.dtype, device=device))
        return network

    monkeypatch.setattr(Network, "to_empty", to_garbage)
    network = build_network(small(base), 0)
    assert not any((value == 77).any() for value in network.state_dict().values())
    assert network.stem[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("base", [EFFICIENTNETV2_S, RESNET_18, RESNET_50, CONVNEXT_T], ids=lambda spec: spec.name)
def test_other_residual_branches_start_at_zero_or_small(base):
    network = build_network(dataclasses.replace(small(base), drop_path=0.0), 0).train()
    images = network.stem(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    kept = 0
    for block in network.blocks:
        outputs = block(images)
        ends_active = base is EFFICIENTNETV2_S and not isinstance(block.branch[-1], nn.BatchNorm2d)
        if outputs.shape == images.shape and not ends_active:
            # Layer scale starts at 1e-6; after a block of a ResNet nothing is below 0, so that ReLU changes nothing.
            assert torch.allclose(outputs, images, atol=1e-4 if base is CONVNEXT_T else 0)
            kept += 1
        assert outputs.abs().sum() > 0
        images = outputs
    assert kept == {"efficientnetv2-s": 5, "resnet-18": 5, "resnet-50": 4, "convnext-t": 5}[base.name]


def test_a_convnext_branch_without_layer_scale_starts_at_zero():
    stage = dataclasses.replace(CONVNEXT_T.stages[0], layer_scale=0, repeats=1, channels=8)
    block = build_network(dataclasses.replace(CONVNEXT_T, stages=(stage,), stem_channels=8), 0).blocks[0]
    assert block.scale is None
    images = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(images), images)


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("efficientnetv2-b0", 4), ("mobilenetv2", 4), ("resnet-18", 4), ("resnet-50", 4), ("convnext-t", 12)],
)
def test_every_kind_of_network_trains(name, epochs):
    settings = TrainSettings(device="cpu", images_seen=epochs * 128, learning_rate=0.05)
    run = train_proxy(small(BASELINES[name]), striped_images(), settings, seed=0)
    first, *_, last = run.curves["train_loss"]
    assert last < min(0.6, first)  # guessing between two classes costs 0.693


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


@pytest.mark.parametrize("base", [EFFICIENTNET_B0, EFFICIENTNETV2_S, RESNET_18, RESNET_50, CONVNEXT_T, PROXY_BASE])
def test_a_folded_network_is_the_same_function_without_batch_normalisation(base):
    spec = with_resolution(dataclasses.replace(base, classes=5), max(32, base.smallest_resolution))
    network, generator = build_network(spec, 0), torch.Generator().manual_seed(1)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        for tensor, low, high in (
            *((norm.weight, 0.5, 1.5), (norm.bias, -0.5, 0.5)),
            *((norm.running_mean, -0.5, 0.5), (norm.running_var, 0.5, 2.0)),
        ):
            tensor.data.uniform_(low, high, generator=generator)
    images = torch.rand(4, 3, spec.resolution, spec.resolution, generator=generator)
    with torch.no_grad():
        plain, quick = network.eval()(images), folded(network)
        scale = plain.abs().max().item()
        torch.testing.assert_close(quick(images), plain, rtol=0, atol=1e-4 * scale)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    assert [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)] == norms  # untouched itself


def test_a_network_of_a_factory_is_not_folded():
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    assert folded(own) is own
