"""The bottleneck block of ResNet: three convolutions, added to the input or its projection."""

from __future__ import annotations

from objectives.networks.blocks._block import ResidualBlock
from objectives.networks.layers import conv_norm
from phiscale.spec import StageSpec


class Bottleneck(ResidualBlock):
    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str) -> None:
        hidden = stage.hidden_channels(in_channels)
        reduce = conv_norm(in_channels, hidden, 1, activation)
        middle = conv_norm(hidden, hidden, stage.kernel, activation, stride=stride)
        expand = conv_norm(hidden, stage.channels, 1, None)
        super().__init__(stage, in_channels, stride, activation, [reduce, middle, *expand])
