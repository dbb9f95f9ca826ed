"""The joined layers compute what torch's three layers compute, and only where they are meant to."""

from __future__ import annotations

import copy
import dataclasses
import errno
import signal

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.caching import IndexDataCacheFile
from torch import nn

from objectives.cpu import compiled as loops
from objectives.cpu import fit_to_device
from objectives.cpu import kernels as cpu_kernels
from objectives.cpu.layers import ConvNorm, Excitation
from objectives.cpu.normalisation import NORMALISATIONS
from objectives.networks.build import build_network, folded
from objectives.networks.layers import SqueezeExcitation, activation_module, conv_norm
from objectives.training.settings import TrainSettings
from phiscale import BASELINES, EFFICIENTNET_B0, ROUNDINGS, Multipliers, scale_network
from phiscale.errors import TrialError
from tests.tiny_data import TINY

CPU = torch.device("cpu")
ACTIVATIONS = (None, "relu", "relu6", "silu")


def layers(channels_in, channels, kernel, activation, seed, **options):
    """Torch's layers with drawn weights and statistics that have moved, in channels_last."""
    generator = torch.Generator().manual_seed(seed)
    made = conv_norm(channels_in, channels, kernel, activation, **options)
    for parameter in made.parameters():
        nn.init.normal_(parameter, 0.3, 0.7, generator=generator)
    nn.init.normal_(made[1].running_mean, generator=generator)
    return made.to(memory_format=torch.channels_last).train()


def trained(made, images, seed):
    """Result, gradients of images and parameters, and running statistics of one training step."""
    dtype = next(made.parameters()).dtype
    inputs = images.to(dtype).requires_grad_()
    result = made(inputs)
    generator = torch.Generator().manual_seed(seed)
    result.backward(torch.randn(result.shape, generator=generator).to(dtype))
    gradients = [inputs.grad, *(parameter.grad for parameter in made.parameters())]
    return [part.double().clone() for part in (result, *gradients, made[1].running_mean, made[1].running_var)]


def check_equal(made, images, seed=0):
    """The joined layers against torch's in float64: no farther from them than float32 rounds."""
    exact = trained(copy.deepcopy(made).double(), images, seed)
    found = trained(ConvNorm(*copy.deepcopy(made)), images, seed)
    for wanted, got in zip(exact, found, strict=True):
        assert got.shape == wanted.shape
        assert (got - wanted).abs().max() <= 3e-5 * max(1.0, wanted.abs().max())


def drawn_images(n, channels, height, width, seed=1):
    drawn = torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(seed))
    return drawn.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("channels_in", "channels", "kernel", "stride", "groups"),
    [
        (5, 15, 1, 1, 1),
        (6, 4, 1, 2, 1),
        (3, 7, 3, 2, 1),
        (9, 9, 1, 1, 9),
        (9, 9, 3, 1, 9),
        (9, 9, 5, 1, 9),
        (33, 33, 5, 2, 33),
    ],
    ids=["product", "strided product", "dense", "depthwise 1", "depthwise", "depthwise 5", "depthwise 5, strided"],
)
def test_a_step_is_that_of_torch(channels_in, channels, kernel, stride, groups, activation):
    made = layers(channels_in, channels, kernel, activation, 0, stride=stride, groups=groups)
    check_equal(made, drawn_images(4, channels_in, 9, 7))


@given(
    n=st.integers(1, 5),
    channels=st.integers(1, 300),
    sides=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    activation=st.sampled_from(ACTIVATIONS),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_any_number_of_channels_and_pixels(n, channels, sides, activation, seed):
    """Runs and what is left over after them."""
    if n * sides[0] * sides[1] < 4:
        n = 4  # of two values the variance may be anything, of one there is none
    check_equal(layers(2, channels, 1, activation, seed), drawn_images(n, 2, *sides, seed), seed)


@given(
    n=st.integers(2, 20),
    channels=st.integers(2, 40),
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.sampled_from((3, 5, 7)),
    stride=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_weight_gradient_of_depthwise_convolutions(n, channels, sides, kernel, stride):
    images = drawn_images(n, channels, *sides)
    convolution = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False).double()
    result = convolution(images.double())
    gradient = torch.randn(result.shape, generator=torch.Generator().manual_seed(2))
    result.backward(gradient.double())
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    found = torch.empty(channels, 1, kernel, kernel)
    addresses = (part.data_ptr() for part in (images.contiguous(memory_format=torch.channels_last), gradient, found))
    cpu_kernels.depthwise_weight_gradient(n, *sides, channels, kernel, stride, *addresses)
    assert torch.allclose(found.double(), convolution.weight.grad, atol=1e-4)


def test_many_values_far_from_zero_are_summed_exactly_enough():
    """A variance of 1 at a mean of 1000: float32 sums of squares would lose it."""
    made = layers(1, 3, 1, "relu", 0)
    with torch.no_grad():
        made[0].weight.fill_(1)
        made[1].running_mean.fill_(0)
    images = drawn_images(64, 1, 80, 80) + 1000
    ConvNorm(*made)(images)
    exact = images.double()
    assert made[1].running_mean.tolist() == pytest.approx([0.1 * exact.mean().item()] * 3, rel=2e-7)
    assert made[1].running_var.tolist() == pytest.approx([0.9 + 0.1 * exact.var().item()] * 3, rel=1e-5)


def test_many_equal_values_are_summed_exactly_enough():
    """A float32 sum of thousands of 0.1 or 0.01 is off by a ten-thousandth, always in one direction."""
    made = layers(1, 3, 1, None, 0)
    with torch.no_grad():
        made[0].weight.fill_(1)
        made[1].running_mean.fill_(0)
    result = ConvNorm(*made)(torch.full((64, 1, 80, 80), 0.1))
    result.backward(torch.full_like(result, 0.1))
    assert made[1].running_mean.tolist() == pytest.approx([0.1 * 0.1] * 3, rel=5e-6)
    assert made[1].bias.grad.tolist() == pytest.approx([0.1 * 64 * 80 * 80] * 3, rel=5e-6)
    images = torch.full((64 * 200 * 5 * 2,), 0.1)
    filters, means, gates = torch.empty(2, 25), torch.empty(2), torch.empty(2)
    at = images.data_ptr()
    cpu_kernels.depthwise_weight_gradient(64, 200, 5, 2, 5, 1, at, at, filters.data_ptr())
    assert filters[:, 12].tolist() == pytest.approx([0.01 * 64 * 200 * 5] * 2, rel=5e-6)
    cpu_kernels.mean_of_pixels(1, 64 * 200 * 5, 2, at, means.data_ptr())
    assert means.tolist() == pytest.approx([0.1] * 2, rel=5e-6)
    cpu_kernels.gate_gradient(1, 64 * 200 * 5, 2, at, at, gates.data_ptr())
    assert gates.tolist() == pytest.approx([0.01 * 64 * 200 * 5] * 2, rel=5e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_not_a_number_stays_so(activation, value):
    """A training that diverged must be seen to have."""
    made = layers(2, 3, 1, activation, 0)
    images = drawn_images(2, 2, 3, 3)
    images[0, 0, 0, 0] = value
    result = ConvNorm(*made)(images.requires_grad_())
    assert result.isnan().any(dim=(0, 2, 3)).all()
    result.sum().backward()
    assert made[0].weight.grad.isnan().any()
    assert made[1].weight.grad.isnan().all()


@pytest.mark.parametrize("value", [-1e4, -90.0, -20.0, 0.0, 6.0, 90.0, 1e4])
@pytest.mark.parametrize("activation", ACTIVATIONS[1:])
def test_activations_far_out(activation, value):
    made = layers(1, 1, 1, activation, 0)
    with torch.no_grad():
        made[0].weight.fill_(1)
        made[1].weight.fill_(0)
        made[1].bias.fill_(value)
    result = ConvNorm(*made)(drawn_images(2, 1, 2, 2))
    wanted = activation_module(activation)(torch.full((2, 1, 2, 2), value))
    assert torch.allclose(result, wanted, rtol=1e-6)
    result.sum().backward()
    at = torch.tensor(value, requires_grad=True)
    activation_module(activation)(at * 1).backward()
    assert made[1].bias.grad.item() == pytest.approx(8 * at.grad.item(), rel=1e-6, abs=1e-20)


def test_images_of_another_layout_and_no_gradient_of_images():
    made = layers(4, 6, 1, "silu", 0)
    images = drawn_images(3, 4, 5, 5).contiguous()
    wanted = made(images)
    joined = ConvNorm(*made)
    found = joined(images)  # which want no gradient
    assert torch.allclose(found, wanted, atol=1e-5)
    found.sum().backward()
    assert images.grad is None


@pytest.mark.parametrize(("side", "channels"), [(1, 3), (5, 40), (20, 9)])
def test_squeeze_excitation_is_that_of_torch(side, channels):
    """Sums of up to 400 pixels, more than are summed in float32."""
    plain = SqueezeExcitation(channels, 4, "silu").train()
    images = drawn_images(3, channels, side, side)
    results = []
    for layer in (copy.deepcopy(plain).double(), Excitation(copy.deepcopy(plain))):
        inputs = images.to(next(layer.parameters()).dtype).requires_grad_()
        result = layer.train()(inputs)
        result.backward(torch.sin(10 * images).to(result.dtype))
        gradients = [inputs.grad, *(parameter.grad for parameter in layer.parameters())]
        results.append([part.double() for part in (result, *gradients)])
    for wanted, got in zip(*results, strict=True):
        assert (got - wanted).abs().max() <= 1e-6 * max(1.0, wanted.abs().max())
    layer.eval()
    assert torch.equal(layer(images), layer.plain(images))


@pytest.mark.parametrize("block", ["mbconv", "fused", "basic", "bottleneck"])
def test_every_normalised_convolution_of_a_network_is_joined(block):
    stage = dataclasses.replace(TINY.stages[0], block=block, stride=2, se_ratio=0.25 if block == "mbconv" else 0.0)
    spec = dataclasses.replace(TINY, stages=(stage,))
    network = build_network(spec, 0)
    plain = copy.deepcopy(network)
    before = [part.data_ptr() for part in (*network.parameters(), *network.buffers())]
    fit_to_device(network, CPU, TrainSettings())
    assert sorted(before) == sorted(part.data_ptr() for part in (*network.parameters(), *network.buffers()))
    joined = [module for module in network.modules() if isinstance(module, ConvNorm)]
    assert len(joined) == sum(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    excitations = sum(isinstance(module, Excitation) for module in network.modules())
    assert excitations == (2 if block == "mbconv" else 0)
    images = drawn_images(4, 3, 8, 8)
    assert torch.allclose(network.train()(images), plain.train()(images), atol=1e-5)
    network.eval(), plain.eval()
    assert torch.allclose(network(images), plain(images), atol=1e-5)
    assert torch.allclose(folded(network)(images), plain(images), atol=1e-4)


def test_a_step_of_efficientnet_b0():
    spec = scale_network(EFFICIENTNET_B0, Multipliers(1, 0.5, 64 / 224), ROUNDINGS["exact"]).spec
    spec = dataclasses.replace(spec, dropout=0.0, drop_path=0.0)
    images = drawn_images(4, 3, spec.resolution, spec.resolution)
    gradients = []
    for join in (False, True):
        network = build_network(spec, 0).train()
        nn.init.ones_(network.blocks[1].branch[-1].weight)
        if join:
            fit_to_device(network, CPU, TrainSettings())
        network(images).logsumexp(1).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[0].norm()


@pytest.mark.parametrize("spec", [BASELINES["convnext-t"], TINY], ids=["layer normalisation", "another device"])
def test_nothing_is_joined_elsewhere(spec):
    cases = [(CPU, TrainSettings())]
    if spec is TINY:
        cases = [
            (torch.device("cuda"), TrainSettings()),
            (CPU, TrainSettings(precision="bfloat16")),
            (CPU, TrainSettings(compile=True)),
        ]
    for device, chosen in cases:
        network = build_network(dataclasses.replace(spec, resolution=32), 0)
        fit_to_device(network, device, chosen)
        assert not any(isinstance(module, ConvNorm) for module in network.modules())


def test_a_network_of_a_person_is_left_alone():
    network = nn.Sequential(conv_norm(3, 4, 3, "relu"), nn.Flatten())
    fit_to_device(network, CPU, TrainSettings())
    assert not any(isinstance(module, ConvNorm) for module in network.modules())


def test_nothing_is_joined_where_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    network = build_network(TINY, 0)
    fit_to_device(network, CPU, TrainSettings())
    assert not any(isinstance(module, ConvNorm) for module in network.modules())


@pytest.mark.parametrize("kernel", [1, 3])
def test_one_value_per_channel_is_refused(kernel):
    """Its variance is unknown."""
    joined = ConvNorm(*layers(3, 4, kernel, "silu", 0))
    before = joined[1].running_var.clone()
    with pytest.raises(TrialError, match="one image of 1 x 1 features; use a larger batch") as caught:
        joined(drawn_images(1, 3, 1, 1))
    assert caught.value.kind == "shape"
    assert torch.equal(joined[1].running_var, before)


def test_every_function_is_kept_in_a_file_of_its_own():
    """Numba names the file after the function; of two that two processes add to one file at once, one would be read
    for the other ever after."""
    functions = [
        *(function for pair in NORMALISATIONS for function in pair),
        cpu_kernels.depthwise_weight_gradient,
        cpu_kernels.mean_of_pixels,
        cpu_kernels.gated,
        cpu_kernels.gate_gradient,
    ]
    assert len({function.py_func.__qualname__ for function in functions}) == len(functions)


def one_more(folder, monkeypatch):
    """A function whose machine code is kept in the folder, called once; how often it was found there."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    function = loops.compiled(lambda value: value + 1)
    assert function(1) == 2
    return sum(function.stats.cache_hits.values())


def test_without_a_folder_for_machine_code_there_is_machine_code(monkeypatch, tmp_path):
    def without_folder(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(loops, "_Files", without_folder)
    assert one_more(tmp_path, monkeypatch) == 0


def test_a_full_disk_and_files_cut_short_are_no_failure(monkeypatch, tmp_path):
    def full(self, path):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(IndexDataCacheFile, "_open_for_write", full)
        assert one_more(tmp_path, monkeypatch) == 0
    assert one_more(tmp_path, monkeypatch) == 0
    assert one_more(tmp_path, monkeypatch) == 1
    for pattern in ("*.nbi", "*.nbc"):
        for path in tmp_path.rglob(pattern):
            path.write_bytes(path.read_bytes()[:100] if pattern == "*.nbc" else b"")
        assert one_more(tmp_path, monkeypatch) == 0
        assert one_more(tmp_path, monkeypatch) == 1


def test_a_run_that_is_ended_during_a_compilation_ends_after_it():
    """In the middle of one the interruption would be lost inside of LLVM."""

    def add_one(values):
        for at in range(len(values)):
            values[at] += 1

    function, seen = loops.compiled(add_one), []
    keep = function._cache.save_overload

    def ended(*arguments):
        signal.raise_signal(signal.SIGINT)
        seen.append("went on")
        return keep(*arguments)

    function._cache.save_overload = ended
    values = np.zeros(3)
    with pytest.raises(KeyboardInterrupt):
        function(values)
    assert (seen, len(function.overloads)) == (["went on"], 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    function(values)
    assert values.tolist() == [1, 1, 1]
