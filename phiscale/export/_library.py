"""What the libraries have in common: which networks they can build, and how their arguments become Python.

timm, Keras and transformers take a width and a depth multiplier and round by themselves; the multipliers given are
those asked for where the library's own rounding then makes the same network, and else the shortest numbers that do.
torchvision takes whole sizes.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from phiscale.errors import SettingsError
from phiscale.export._recipe import Recipe, find_recipe, stage_channels
from phiscale.export._target import Target, python_header
from phiscale.family import FamilyMember
from phiscale.network import ScaledNetwork
from phiscale.record import SearchRecord
from phiscale.spec import NetworkSpec, StageSpec
from phiscale.triangle import ScalingConstants

_KNOWN_FIELDS = {
    NetworkSpec: {
        "name", "resolution", "stem_channels", "stages", "head_channels", "classes", "stem_kernel", "stem_stride",
        "in_channels", "activation", "dropout", "drop_path",
    },
    StageSpec: {"kernel", "repeats", "channels", "expansion", "stride", "se_ratio"},
}  # fmt: skip
"""Fields that the exports below read; a network whose other fields are not at their defaults is refused."""
_FIXED_STEM, _FIXED_HEAD = 32, 1280
"""Stem and head of Keras and transformers, before their width multiplier."""


@dataclass(frozen=True)
class Check:
    library: str
    network: str

    def that(self, holds: bool, reason: str) -> None:
        """Refuse the network unless ``holds``; ``reason`` says what the library does instead."""
        if not holds:
            self.refuse(reason)

    def refuse(self, reason: str) -> NoReturn:
        """Say why the library cannot build the network."""
        raise SettingsError(
            f"cannot give {self.network} to {self.library}: in {self.library} {reason}; "
            "use another library, or plain json"
        )


class Library(Target):
    """A library whose models are built from arguments."""

    @abstractmethod
    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        """The arguments as plain values; ``check`` refuses what the library cannot build."""

    @abstractmethod
    def snippet(self, arguments: dict[str, Any]) -> str:
        """Python that builds ``model`` from the arguments."""

    def arguments_of(self, network: ScaledNetwork) -> dict[str, Any]:
        """The arguments, once it is known that an export reads every field of the network that is not at its default.

        Raises ``SettingsError`` with the reason where the library cannot build exactly this network.
        """
        check = Check(self.name, network.spec.name)
        parts: list[NetworkSpec | StageSpec] = [network.spec, *network.spec.stages]
        for part in parts:
            for field in dataclasses.fields(part):
                known = field.name in _KNOWN_FIELDS[type(part)] or getattr(part, field.name) == field.default
                check.that(known, f"{field.name}={getattr(part, field.name, None)!r} has no place")
        check.that(network.spec.stem_stride == 2, f"the stride of the stem is 2, not {network.spec.stem_stride}")
        return self.arguments(network, check)

    def text(self, member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> str:  # noqa: ARG002
        return python_header(member, record) + self.snippet(self.arguments_of(member.network)).rstrip("\n")


def check_stem(spec: NetworkSpec, check: Check) -> None:
    """Refuse a stem that is not 3x3 on colour images."""
    check.that(spec.stem_kernel == 3, f"the kernel of the stem is 3, not {spec.stem_kernel}")
    check.that(spec.in_channels == 3, f"images have 3 channels, not {spec.in_channels}")


def check_whole_expansions(spec: NetworkSpec, check: Check) -> None:
    """Refuse expansions that are no whole numbers."""
    for stage in spec.stages:
        whole = float(stage.expansion).is_integer()
        check.that(whole, f"expansions are whole numbers, not {stage.expansion:g}")


def block_inputs(spec: NetworkSpec) -> Iterator[tuple[StageSpec, int]]:
    """Every stage with the input channels of its first block, and with those of its later blocks if it has any."""
    for stage, channels in zip(spec.stages, (spec.stem_channels, *stage_channels(spec)), strict=False):
        yield stage, channels
        if stage.repeats > 1:
            yield stage, stage.channels


def one_width(network: ScaledNetwork, check: Check) -> Recipe:
    """The recipe for a library whose stem and head are fixed numbers times its width multiplier."""
    spec = network.spec
    recipe = find_recipe(network, [(_FIXED_STEM, spec.stem_channels), (_FIXED_HEAD, spec.head_channels)])
    if recipe is None:
        check.refuse(
            f"the stem and head are 32 and 1280 times one width, not {spec.stem_channels} and {spec.head_channels}"
        )
    return recipe
