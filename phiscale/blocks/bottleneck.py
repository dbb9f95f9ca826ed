"""The bottleneck block of ResNet: 1x1, ``kernel`` with the stride, 1x1, and a shortcut.

``expansion`` is output over hidden channels: 4 in ResNet-50. Rounding acts on the hidden channels.
Source: He et al. 2015 (arXiv 1512.03385).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phiscale.blocks._kind import BlockKind, shortcut
from phiscale.cost import Cost, conv

if TYPE_CHECKING:
    from phiscale.spec import StageSpec


class Bottleneck(BlockKind):
    unit_is_expansion = True

    def count(self, stage: StageSpec, in_channels: int, side: int, stride: int) -> Cost:
        hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
        reduce = conv(side, 1, in_channels, hidden)
        middle = conv(out_side, stage.kernel, hidden, hidden)
        expand = conv(out_side, 1, hidden, stage.channels)
        return Cost.total([reduce, middle, expand, shortcut(stage, in_channels, out_side, stride)])
