"""The basic block of ResNet: two convolutions, added to the input or its projection."""

from __future__ import annotations

from objectives.networks.blocks._block import ResidualBlock
from objectives.networks.layers import conv_norm
from phiscale.spec import StageSpec


class Basic(ResidualBlock):
    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str) -> None:
        hidden = stage.hidden_channels(in_channels)
        first = conv_norm(in_channels, hidden, stage.kernel, activation, stride=stride)
        second = conv_norm(hidden, stage.channels, stage.kernel, None)
        super().__init__(stage, in_channels, stride, activation, [first, *second])
