"""The kinds of block that a stage can be made of: one file a kind, with its sizes, checks and counted cost.

What is counted here is built by the file of the same name in ``objectives/networks/blocks/``.
"""

from phiscale.blocks._kind import BlockKind
from phiscale.discovery import classes_of

__all__ = ["BLOCKS", "BlockKind"]

BLOCKS = {name: kind() for name, kind in classes_of(__name__, __path__, BlockKind).items()}  # type: ignore[type-abstract]
"""Every kind of block by name."""
