"""ConvNeXt: depthwise convolution, layer normalisation, two linear layers, layer scale.

A first block that changes channels or side begins with normalisation and a convolution of patches, which do not pad.
``expansion`` is hidden over output channels. Source: Liu et al. 2022 (arXiv 2201.03545).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phiscale.blocks._kind import BlockKind
from phiscale.cost import Cost, conv, layer_norm, linear

if TYPE_CHECKING:
    from phiscale.spec import StageSpec


class ConvNeXt(BlockKind):
    takes = ("layer_scale",)

    def hidden_channels(self, stage: StageSpec, in_channels: int) -> int:  # noqa: ARG002
        return int(stage.channels * stage.expansion)

    def output_side(self, side: int, stride: int) -> int:
        return side // stride

    def smallest_input(self, side: int, stride: int) -> int:
        return side * stride

    def count(self, stage: StageSpec, in_channels: int, side: int, stride: int) -> Cost:
        channels, hidden, out_side = stage.channels, stage.hidden_channels(in_channels), stage.output_side(side, stride)
        parts = [
            conv(out_side, stage.kernel, channels, channels, groups=channels, norm=False),
            layer_norm(channels),
            linear(channels, hidden, positions=out_side**2),
            linear(hidden, channels, positions=out_side**2),
            Cost(params=channels if stage.layer_scale else 0),
        ]
        if stride != 1 or in_channels != channels:
            parts += [layer_norm(in_channels), conv(out_side, stride, in_channels, channels, norm=False)]
        return Cost.total(parts)
