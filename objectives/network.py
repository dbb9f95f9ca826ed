"""The module of a network spec: inverted residual blocks whose parameters and work equal the spec's counted cost.

Source: Tan & Le 2019 (arXiv 1905.11946), table 1; Sandler et al. 2018 (arXiv 1801.04381); squeeze-excitation, Hu et
al. 2018 (arXiv 1709.01507); stochastic depth, Huang et al. 2016 (arXiv 1603.09382).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from phiscale.spec import NetworkSpec, StageSpec

_ACTIVATIONS = {"silu": nn.SiLU, "relu": nn.ReLU}


def build_network(spec: NetworkSpec, seed: int | torch.Generator) -> Network:
    """The network on the CPU, initialised from ``seed`` alone: the global random state is neither read nor changed."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        network = Network(spec)
    network.to_empty(device="cpu")
    _initialise(network, generator)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class Network(nn.Module):
    """Stem, stages, head, pooling and classifier of a spec.

    Input: float, (n, in_channels, resolution, resolution). Output: logits, (n, classes). Any other side works too.
    Construct it through ``build_network``, or under ``torch.device("meta")`` to count.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        act = spec.activation
        self.stem = _conv(spec.in_channels, spec.stem_channels, spec.stem_kernel, act, stride=spec.stem_stride)
        self.blocks = nn.Sequential(*_blocks(spec))
        self.head = _conv(spec.stages[-1].channels, spec.head_channels, 1, act)
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.head_channels, spec.classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.head(self.blocks(self.stem(images)))
        logits: Tensor = self.classifier(self.dropout(features.mean((2, 3))))
        return logits


def _conv(
    in_channels: int, channels: int, kernel: int, activation: str, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, activation; a side of n becomes ceil(n / stride)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        _ACTIVATIONS[activation](inplace=True),
    )


def _blocks(spec: NetworkSpec) -> list[nn.Module]:
    """All blocks in order; stochastic depth grows from 0 at the first to ``spec.drop_path`` at the last."""
    blocks: list[nn.Module] = []
    channels = spec.stem_channels
    last = max(1, spec.total_repeats - 1)
    for stage in spec.stages:
        for index in range(stage.repeats):
            drop_path = spec.drop_path * len(blocks) / last
            blocks.append(_Block(stage, channels, stage.stride if index == 0 else 1, spec.activation, drop_path))
            channels = stage.channels
    return blocks


class _Block(nn.Module):
    """MBConv: expand, depthwise, squeeze-excitation, project; added to its input where the shapes allow it."""

    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str, drop_path: float) -> None:
        super().__init__()
        hidden, squeeze = stage.hidden_channels(in_channels), stage.squeeze_channels(in_channels)
        layers: list[nn.Module] = []
        if stage.expansion != 1:
            layers.append(_conv(in_channels, hidden, 1, activation))
        layers.append(_conv(hidden, hidden, stage.kernel, activation, stride=stride, groups=hidden))
        if squeeze:
            layers.append(_SqueezeExcitation(hidden, squeeze, activation))
        layers += [nn.Conv2d(hidden, stage.channels, 1, bias=False), nn.BatchNorm2d(stage.channels)]
        self.branch = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == stage.channels
        self.drop_path = drop_path

    def forward(self, images: Tensor) -> Tensor:
        branch: Tensor = self.branch(images)
        if not self.residual:
            return branch
        if self.drop_path and self.training:
            kept = functional.dropout(branch.new_ones(len(branch), 1, 1, 1), self.drop_path)
            branch = branch * kept
        return images + branch


class _SqueezeExcitation(nn.Module):
    """Scale each channel by a gate in (0, 1) that two linear layers make of all channel means."""

    def __init__(self, channels: int, squeeze: int, activation: str) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, squeeze)
        self.activation = _ACTIVATIONS[activation](inplace=True)
        self.expand = nn.Linear(squeeze, channels)

    def forward(self, images: Tensor) -> Tensor:
        gate = torch.sigmoid(self.expand(self.activation(self.reduce(images.mean((2, 3))))))
        return images * gate[:, :, None, None]


def _initialise(network: Network, generator: torch.Generator) -> None:
    """He normal over outputs for convolutions, over inputs for linear layers; every residual branch starts at 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out), generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear", generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    for block in network.blocks:
        if isinstance(block, _Block) and block.residual:
            nn.init.zeros_(cast("nn.BatchNorm2d", block.branch[-1]).weight)
