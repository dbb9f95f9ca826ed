"""The module of a network spec: stem, blocks and head whose parameters and work equal the spec's counted cost."""

from __future__ import annotations

import copy
import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from objectives.networks.blocks import Block, make_block
from objectives.networks.layers import ChannelNorm, conv_norm
from objectives.networks.own_module import FactoryMember, build_member
from phiscale.spec import NetworkSpec


def build_network(spec: NetworkSpec | FactoryMember, seed: int | torch.Generator) -> nn.Module:
    """The network on the CPU, initialised from ``seed`` alone: the global random state is neither read nor changed."""
    if isinstance(spec, FactoryMember):
        return build_member(spec, seed)
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        network = Network(spec)
    network.to_empty(device="cpu")
    _initialise(network, generator)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Network(nn.Module):
    """Stem, stages, head, pooling and classifier of a spec.

    Input: float, (n, in_channels, resolution, resolution). Output: logits, (n, classes). Any other side of at least the
    spec's ``smallest_resolution`` works too. Construct it through ``build_network``, or under
    ``torch.device("meta")`` to count.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.stem = _stem(spec)
        self.blocks = nn.Sequential(*_blocks(spec))
        self.head: nn.Module = nn.Identity()
        if spec.head_channels:
            self.head = conv_norm(spec.stages[-1].channels, spec.head_channels, 1, spec.activation)
        self.norm = nn.LayerNorm(spec.features, eps=1e-6) if spec.head_norm else nn.Identity()
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.features, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.head(self.blocks(self.stem(images)))
        logits: Tensor = self.classifier(self.dropout(self.norm(features.mean((2, 3)))))
        return logits


def folded(network: nn.Module) -> nn.Module:
    """The network for scoring: a copy whose batch normalisations are part of the convolutions before them.

    The same function up to rounding, and much faster on a CPU. ``network`` is in evaluation mode. A network of a
    factory is returned unchanged, because its modules may do more than run in order.
    """
    if not isinstance(network, Network):
        return network
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, nn.Sequential):
            for index, (layer, norm) in enumerate(itertools.pairwise(module)):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[index], module[index + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()
    return copied


def _stem(spec: NetworkSpec) -> nn.Sequential:
    kernel, stride, channels = spec.stem_kernel, spec.stem_stride, spec.stem_channels
    if spec.stem == "patch":
        return nn.Sequential(nn.Conv2d(spec.in_channels, channels, kernel, stride), ChannelNorm(channels))
    stem = conv_norm(spec.in_channels, channels, kernel, spec.activation, stride=stride)
    return stem.append(nn.MaxPool2d(3, 2, 1)) if spec.stem == "conv-pool" else stem


def _blocks(spec: NetworkSpec) -> list[Block]:
    """All blocks in order; stochastic depth grows from 0 at the first to ``spec.drop_path`` at the last."""
    blocks: list[Block] = []
    channels = spec.stem_channels
    last = max(1, spec.total_repeats - 1)
    for stage in spec.stages:
        for index in range(stage.repeats):
            drop_path = spec.drop_path * len(blocks) / last
            blocks.append(make_block(stage, channels, stage.stride if index == 0 else 1, spec.activation, drop_path))
            channels = stage.channels
    return blocks


def _initialise(network: Network, generator: torch.Generator) -> None:
    """He normal over outputs for convolutions, over inputs for linear layers; every residual branch starts at 0.
    Exceptions are branches that end in a layer scale, which start at its small first value, or in an activation."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out), generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for block in network.blocks:
        cast("Block", block).set_first_values()
