"""A member of a family as text for other projects: one file a target, under the name by which it is asked for.

A target that builds the models of another library (``Library``) gives a network equal to the member to the last
parameter. What a library cannot build is refused with the reason: a network that is nearly the one whose cost was
counted would be a mistake that nobody sees.
"""

from __future__ import annotations

from typing import Any

from phiscale.discovery import classes_of
from phiscale.errors import SettingsError
from phiscale.export._library import Library
from phiscale.export._target import Target
from phiscale.family import FamilyMember
from phiscale.network import ScaledNetwork
from phiscale.record import SearchRecord
from phiscale.triangle import ScalingConstants

__all__ = ["EXPORTS", "LIBRARIES", "export_member", "library_arguments"]

_TARGETS = {name: target() for name, target in classes_of(__name__, __path__, Target).items()}  # type: ignore[type-abstract]
_LIBRARIES = {name: target for name, target in _TARGETS.items() if isinstance(target, Library)}
EXPORTS = tuple(_TARGETS)
"""Everything that ``export_member`` writes."""
LIBRARIES = tuple(_LIBRARIES)
"""Libraries that ``library_arguments`` knows."""


def export_member(
    member: FamilyMember, to: str, constants: ScalingConstants | None = None, record: SearchRecord | None = None
) -> str:
    """The member as text; ``record`` is where its constants come from, None for published ones.

    ``keras``, ``timm``, ``torchvision``, ``transformers``: Python that builds ``model`` and needs that library alone.
    ``python``: the sizes as Python that needs nothing, and a function that scales by ``constants`` if they are given.
    ``json``, ``toml``: one document with constants, the length of training they are for, multipliers, counted cost
    and the whole network. ``csv``: the columns of ``family_rows``. Python says the length in a comment. Raises
    ``SettingsError`` for another name, or a library that cannot build it.
    """
    if to not in _TARGETS:
        raise SettingsError(f"expected an export to {', '.join(EXPORTS)}, got {to!r}")
    return _TARGETS[to].text(member, constants, record)


def library_arguments(network: ScaledNetwork, library: str) -> dict[str, Any]:
    """Arguments for ``library``, as plain values: numbers, texts, lists and dictionaries.

    Of what, the file of the library says. ``input_size`` (pixels) is no argument of timm's and torchvision's classes,
    but the side of the images that the network is meant for. Raises ``SettingsError`` for another library, or with the
    reason where it cannot build exactly this network.
    """
    if library not in _LIBRARIES:
        raise SettingsError(f"expected a library of {', '.join(LIBRARIES)}, got {library!r}")
    return _LIBRARIES[library].arguments_of(network)
