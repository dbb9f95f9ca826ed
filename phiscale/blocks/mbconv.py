"""MBConv: 1x1 expansion, depthwise convolution, squeeze-excitation, 1x1 projection.

``expansion`` is hidden over input channels; 1 leaves the expansion out.
Source: Sandler et al. 2018 (arXiv 1801.04381); Tan & Le 2019 (arXiv 1905.11946), table 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phiscale.blocks._kind import BlockKind, squeeze_excitation
from phiscale.cost import Cost, conv

if TYPE_CHECKING:
    from phiscale.spec import StageSpec


class MBConv(BlockKind):
    takes = ("se_ratio",)

    def count(self, stage: StageSpec, in_channels: int, side: int, stride: int) -> Cost:
        hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
        expand = conv(side, 1, in_channels, hidden) if stage.expansion != 1 else Cost()
        depthwise = conv(out_side, stage.kernel, hidden, hidden, groups=hidden)
        project = conv(out_side, 1, hidden, stage.channels)
        return Cost.total([expand, depthwise, squeeze_excitation(stage, in_channels), project])
