"""What the kinds of block have in common: how their sizes follow from a stage, and which of its fields they take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from phiscale.cost import Cost, conv, linear
from phiscale.errors import SpecError

if TYPE_CHECKING:
    from phiscale.spec import StageSpec

_OPTIONAL = ("se_ratio", "layer_scale")
"""Fields of a stage that only some kinds take; 0 leaves them out."""


class BlockKind(ABC):
    """One kind of block. Convolutions pad, so that a stride s turns a side of n pixels into ceil(n / s)."""

    takes: ClassVar[tuple[str, ...]] = ()
    """The optional fields of a stage that the kind has: ``se_ratio``, ``layer_scale``."""
    unit_is_expansion: ClassVar[bool] = False
    """Whether output channels are ``expansion`` times hidden ones, and so a whole multiple of it."""

    def check(self, stage: StageSpec) -> None:
        """Raise ``SpecError`` for a field that this kind of block does not have, or for an impossible value."""
        for name in _OPTIONAL:
            if getattr(stage, name) and name not in self.takes:
                raise SpecError(f"expected {name} to be 0 in a {stage.block} block, got {getattr(stage, name)!r}")
        if self.unit_is_expansion and (stage.expansion % 1 or stage.channels % int(stage.expansion)):
            raise SpecError(
                f"expected a whole expansion that divides the {stage.channels} channels of a {stage.block} block, "
                f"got {stage.expansion!r}"
            )

    def hidden_channels(self, stage: StageSpec, in_channels: int) -> int:
        """Channels inside a block that takes ``in_channels``."""
        return stage.channels // int(stage.expansion) if self.unit_is_expansion else int(in_channels * stage.expansion)

    def output_side(self, side: int, stride: int) -> int:
        """Side after a block of that stride, in pixels."""
        return -(-side // stride)

    def smallest_input(self, side: int, stride: int) -> int:
        """The smallest side from which a block of that stride makes ``side``, in pixels."""
        return (side - 1) * stride + 1

    @abstractmethod
    def count(self, stage: StageSpec, in_channels: int, side: int, stride: int) -> Cost:
        """Counted cost of one block of the stage that takes ``in_channels`` and ``side`` pixels."""


def squeeze_excitation(stage: StageSpec, in_channels: int) -> Cost:
    """Two linear layers over the means of the hidden channels, where the stage has them."""
    hidden, squeeze = stage.hidden_channels(in_channels), stage.squeeze_channels(in_channels)
    return linear(hidden, squeeze) + linear(squeeze, hidden) if squeeze else Cost()


def shortcut(stage: StageSpec, in_channels: int, out_side: int, stride: int) -> Cost:
    """The 1x1 convolution of a shortcut that cannot be the identity."""
    same = stride == 1 and in_channels == stage.channels
    return Cost() if same else conv(out_side, 1, in_channels, stage.channels)
