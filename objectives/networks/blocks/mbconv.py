"""MBConv: expand, depthwise convolution, squeeze-excitation, project."""

from __future__ import annotations

from torch import nn

from objectives.networks.blocks._block import Block
from objectives.networks.layers import SqueezeExcitation, conv_norm
from phiscale.spec import StageSpec


class MBConv(Block):
    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str) -> None:
        super().__init__(stage, in_channels, stride, activation)
        hidden, squeeze = stage.hidden_channels(in_channels), stage.squeeze_channels(in_channels)
        layers: list[nn.Module] = []
        if stage.expansion != 1:
            layers.append(conv_norm(in_channels, hidden, 1, activation))
        layers.append(conv_norm(hidden, hidden, stage.kernel, activation, stride=stride, groups=hidden))
        if squeeze:
            layers.append(SqueezeExcitation(hidden, squeeze, activation))
        self.branch = nn.Sequential(*layers, *conv_norm(hidden, stage.channels, 1, None))
