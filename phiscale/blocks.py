"""Counted cost of the parts of a network: layers, the five kinds of block, and the three kinds of stem.

A count is (multiply-accumulates, parameters, activations); ``phiscale.cost`` says what enters it. What is counted here
is built in ``objectives/networks/blocks.py`` from the same ``StageSpec``.
"""

from __future__ import annotations

from phiscale.spec import NetworkSpec, StageSpec

Count = tuple[int, int, int]
"""Multiply-accumulates, parameters, activations."""


def add(*counts: Count) -> Count:
    """The sum, part by part."""
    return sum(c[0] for c in counts), sum(c[1] for c in counts), sum(c[2] for c in counts)


def conv(side: int, kernel: int, in_channels: int, out_channels: int, *, groups: int = 1, norm: bool = True) -> Count:
    """A convolution to ``side`` pixels: with its batch normalisation and no bias, or else with a bias."""
    weights = kernel * kernel * (in_channels // groups) * out_channels
    return weights * side * side, weights + (2 if norm else 1) * out_channels, out_channels * side * side


def linear(in_features: int, out_features: int, *, positions: int = 1) -> Count:
    """A linear layer with bias, applied at every position."""
    weights = in_features * out_features
    return weights * positions, weights + out_features, out_features * positions


def layer_norm(channels: int) -> Count:
    """Layer normalisation over channels."""
    return 0, 2 * channels, 0


def stem(spec: NetworkSpec) -> Count:
    """The stem at the resolution of the network; a max-pool costs nothing."""
    if spec.stem == "patch":
        patches = conv(spec.stem_side, spec.stem_kernel, spec.in_channels, spec.stem_channels, norm=False)
        return add(patches, layer_norm(spec.stem_channels))
    side = -(-spec.resolution // spec.stem_stride)
    return conv(side, spec.stem_kernel, spec.in_channels, spec.stem_channels)


def block(stage: StageSpec, in_channels: int, side: int, stride: int) -> Count:
    """One block of the stage that takes ``in_channels`` and ``side`` pixels."""
    return _BLOCKS[stage.block](stage, in_channels, side, stride)


def _mbconv(stage: StageSpec, in_channels: int, side: int, stride: int) -> Count:
    hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
    parts = [conv(out_side, stage.kernel, hidden, hidden, groups=hidden), conv(out_side, 1, hidden, stage.channels)]
    if stage.expansion != 1:
        parts.append(conv(side, 1, in_channels, hidden))
    return add(*parts, _squeeze(stage, in_channels))


def _fused(stage: StageSpec, in_channels: int, side: int, stride: int) -> Count:
    hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
    if stage.expansion == 1:
        parts = [conv(out_side, stage.kernel, in_channels, stage.channels)]
    else:
        parts = [conv(out_side, stage.kernel, in_channels, hidden), conv(out_side, 1, hidden, stage.channels)]
    return add(*parts, _squeeze(stage, in_channels))


def _squeeze(stage: StageSpec, in_channels: int) -> Count:
    """Squeeze-excitation over the hidden channels."""
    hidden, squeeze = stage.hidden_channels(in_channels), stage.squeeze_channels(in_channels)
    return add(linear(hidden, squeeze), linear(squeeze, hidden)) if squeeze else (0, 0, 0)


def _basic(stage: StageSpec, in_channels: int, side: int, stride: int) -> Count:
    hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
    first = conv(out_side, stage.kernel, in_channels, hidden)
    second = conv(out_side, stage.kernel, hidden, stage.channels)
    return add(first, second, _shortcut(stage, in_channels, out_side, stride))


def _bottleneck(stage: StageSpec, in_channels: int, side: int, stride: int) -> Count:
    hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
    reduce = conv(side, 1, in_channels, hidden)
    middle = conv(out_side, stage.kernel, hidden, hidden)
    expand = conv(out_side, 1, hidden, stage.channels)
    return add(reduce, middle, expand, _shortcut(stage, in_channels, out_side, stride))


def _shortcut(stage: StageSpec, in_channels: int, out_side: int, stride: int) -> Count:
    """The 1x1 convolution of a shortcut that cannot be the identity."""
    if stride == 1 and in_channels == stage.channels:
        return 0, 0, 0
    return conv(out_side, 1, in_channels, stage.channels)


def _convnext(stage: StageSpec, in_channels: int, side: int, stride: int) -> Count:
    channels, hidden, out_side = stage.channels, stage.hidden_channels(in_channels), stage.output_side(side, stride)
    parts = [
        conv(out_side, stage.kernel, channels, channels, groups=channels, norm=False),
        layer_norm(channels),
        linear(channels, hidden, positions=out_side**2),
        linear(hidden, channels, positions=out_side**2),
        (0, channels if stage.layer_scale else 0, 0),
    ]
    if stride != 1 or in_channels != channels:
        parts += [layer_norm(in_channels), conv(out_side, stride, in_channels, channels, norm=False)]
    return add(*parts)


_BLOCKS = {"mbconv": _mbconv, "fused": _fused, "basic": _basic, "bottleneck": _bottleneck, "convnext": _convnext}
