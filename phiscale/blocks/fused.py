"""Fused MBConv: expansion and depthwise convolution in one full convolution, squeeze-excitation, 1x1 projection.

``expansion`` is hidden over input channels; 1 leaves one convolution. Source: Tan & Le 2021 (arXiv 2104.00298).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phiscale.blocks._kind import BlockKind, squeeze_excitation
from phiscale.cost import Cost, conv

if TYPE_CHECKING:
    from phiscale.spec import StageSpec


class Fused(BlockKind):
    takes = ("se_ratio",)

    def count(self, stage: StageSpec, in_channels: int, side: int, stride: int) -> Cost:
        hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
        squeeze = squeeze_excitation(stage, in_channels)
        if stage.expansion == 1:
            return conv(out_side, stage.kernel, in_channels, stage.channels) + squeeze
        expand = conv(out_side, stage.kernel, in_channels, hidden)
        return Cost.total([expand, squeeze, conv(out_side, 1, hidden, stage.channels)])
