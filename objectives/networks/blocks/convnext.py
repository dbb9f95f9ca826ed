"""ConvNeXt: depthwise convolution, layer normalisation, two linear layers, layer scale; patches before a change.

Patches do not pad: a side of n becomes floor(n / stride).
Source of layer scale: Touvron et al. 2021 (arXiv 2103.17239).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from objectives.networks.blocks._block import Block
from objectives.networks.layers import ChannelNorm, activation_module
from phiscale.spec import StageSpec


class ConvNeXt(Block):
    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str) -> None:
        super().__init__(stage, in_channels, stride, activation)
        same, self.residual = self.residual, True
        channels, hidden = stage.channels, stage.hidden_channels(in_channels)
        patches = [ChannelNorm(in_channels), nn.Conv2d(in_channels, channels, stride, stride)]
        self.downsample = nn.Sequential(*([] if same else patches))
        self.depthwise = nn.Conv2d(channels, channels, stage.kernel, padding=(stage.kernel - 1) // 2, groups=channels)
        self.branch = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, hidden),
            activation_module(activation),
            nn.Linear(hidden, channels),
        )
        self.scale = nn.Parameter(torch.empty(channels)) if stage.layer_scale else None
        self.first_scale = stage.layer_scale

    def set_first_values(self) -> None:
        if self.scale is None:
            nn.init.zeros_(cast("nn.Linear", self.branch[-1]).weight)
        else:
            nn.init.constant_(self.scale, self.first_scale)

    def forward(self, images: Tensor) -> Tensor:
        images = self.downsample(images)
        branch: Tensor = self.branch(self.depthwise(images).permute(0, 2, 3, 1))
        if self.scale is not None:
            branch = branch * self.scale
        return images + self.dropped(branch.permute(0, 3, 1, 2))
