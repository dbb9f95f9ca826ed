"""Networks of libraries as factories, ``timm:resnet18``: one file a library, which finds the arguments that scale.

A network is one call of the library with plain arguments, so that the call can be kept in a record and be written as
Python. What a library's function cannot scale is refused with the reason.
"""

from __future__ import annotations

from objectives.networks.libraries._library import Call, Library, LibraryNetworks
from phiscale.discovery import classes_of

__all__ = ["LIBRARIES", "Call", "LibraryNetworks", "library_networks"]

_LIBRARIES = {name: library() for name, library in classes_of(__name__, __path__, Library).items()}  # type: ignore[type-abstract]
LIBRARIES = tuple(_LIBRARIES)
"""What may stand before the colon."""


def library_networks(name: str) -> LibraryNetworks | None:
    """The networks of ``library:model`` at all sizes; None where it names no library.

    Raises ``SettingsError`` where the library is not installed, has no such model, or cannot scale it.
    """
    library, _, model = name.partition(":")
    return _LIBRARIES[library].networks(model) if library in _LIBRARIES else None
