"""The modules of the kinds of block: one file a kind, under the name by which ``phiscale/blocks/`` counts it."""

from objectives.networks.blocks._block import Block
from phiscale.discovery import classes_of
from phiscale.spec import StageSpec

__all__ = ["Block", "make_block"]

_BLOCKS = classes_of(__name__, __path__, Block)


def make_block(stage: StageSpec, in_channels: int, stride: int, activation: str, drop_path: float) -> Block:
    """One block of the stage. ``drop_path`` is its rate of stochastic depth, where it has a residual branch."""
    block = _BLOCKS[stage.block](stage, in_channels, stride, activation)
    block.drop_path = drop_path
    return block
