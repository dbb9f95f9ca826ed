"""The basic block of ResNet: two convolutions of ``kernel``, the stride in the first, and a shortcut.

``expansion`` is 1. Source: He et al. 2015 (arXiv 1512.03385).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phiscale.blocks._kind import BlockKind, shortcut
from phiscale.cost import Cost, conv

if TYPE_CHECKING:
    from phiscale.spec import StageSpec


class Basic(BlockKind):
    unit_is_expansion = True

    def count(self, stage: StageSpec, in_channels: int, side: int, stride: int) -> Cost:
        hidden, out_side = stage.hidden_channels(in_channels), stage.output_side(side, stride)
        first = conv(out_side, stage.kernel, in_channels, hidden)
        second = conv(out_side, stage.kernel, hidden, stage.channels)
        return Cost.total([first, second, shortcut(stage, in_channels, out_side, stride)])
