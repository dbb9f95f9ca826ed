"""Fused MBConv: expand in a full convolution, squeeze-excitation, project; without expansion, one convolution.

A block without expansion ends in an activation, so its branch does not start at 0.
"""

from __future__ import annotations

from torch import nn

from objectives.networks.blocks._block import Block
from objectives.networks.layers import SqueezeExcitation, conv_norm
from phiscale.spec import StageSpec


class Fused(Block):
    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str) -> None:
        super().__init__(stage, in_channels, stride, activation)
        hidden, squeeze = stage.hidden_channels(in_channels), stage.squeeze_channels(in_channels)
        excite = [SqueezeExcitation(hidden, squeeze, activation)] if squeeze else []
        if stage.expansion == 1:
            layers = [*excite, *conv_norm(hidden, stage.channels, stage.kernel, activation, stride=stride)]
        else:
            expand = conv_norm(in_channels, hidden, stage.kernel, activation, stride=stride)
            layers = [expand, *excite, *conv_norm(hidden, stage.channels, 1, None)]
        self.branch = nn.Sequential(*layers)
