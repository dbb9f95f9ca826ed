"""What the libraries have in common: which networks they can build, and how their arguments become Python.

timm, Keras and transformers take a width and a depth multiplier and round by themselves; the multipliers given are
those asked for where the library's own rounding then makes the same network, and else the shortest numbers that do.
torchvision takes whole sizes.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

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
        "name", "resolution", "resolution_multiple", "stem_channels", "stages", "head_channels", "classes",
        "stem_kernel", "stem_stride", "in_channels", "activation", "dropout", "drop_path",
    },
    StageSpec: {"block", "kernel", "repeats", "channels", "expansion", "stride", "se_ratio"},
}  # fmt: skip
"""Fields that every architecture reads; a network whose other fields are not at their defaults is refused."""
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


class Architecture(ABC):
    """A class of a library that builds networks of some kinds of block."""

    blocks: ClassVar[frozenset[str]]
    """Kinds of block that a network of it may have."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Fields that it reads besides those that every architecture reads."""

    @abstractmethod
    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        """The arguments as plain values; ``check`` refuses what the class cannot build."""

    @abstractmethod
    def snippet(self, arguments: dict[str, Any]) -> str:
        """Python that builds ``model`` from the arguments."""


class Library(Target):
    """A library whose models are built from arguments."""

    architectures: ClassVar[tuple[Architecture, ...]]
    """What it can build: the first that has all kinds of block of a network is taken."""

    def arguments_of(self, network: ScaledNetwork) -> dict[str, Any]:
        """The arguments, once it is known that an export reads every field of the network that is not at its default.

        Raises ``SettingsError`` with the reason where the library cannot build exactly this network.
        """
        return self._found(network)[1]

    def text(self, member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> str:  # noqa: ARG002
        architecture, arguments = self._found(member.network)
        return python_header(member, record) + architecture.snippet(arguments).rstrip("\n")

    def _found(self, network: ScaledNetwork) -> tuple[Architecture, dict[str, Any]]:
        check = Check(self.name, network.spec.name)
        kinds = {stage.block for stage in network.spec.stages}
        found = next((made for made in self.architectures if kinds <= made.blocks), None)
        if found is None:
            check.refuse(f"no network has blocks of {' and '.join(sorted(kinds))}")
        parts: list[NetworkSpec | StageSpec] = [network.spec, *network.spec.stages]
        for part in parts:
            for field in dataclasses.fields(part):
                known = field.name in _KNOWN_FIELDS[type(part)] | found.reads
                known = known or getattr(part, field.name) == field.default
                check.that(known, f"{field.name}={getattr(part, field.name, None)!r} has no place")
        return found, found.arguments(network, check)


def check_stem_stride(spec: NetworkSpec, check: Check, stride: int = 2) -> None:
    """Refuse a stem of another stride."""
    check.that(spec.stem_stride == stride, f"the stride of the stem is {stride}, not {spec.stem_stride}")


def check_stem(spec: NetworkSpec, check: Check, *, kernel: int = 3, stride: int = 2) -> None:
    """Refuse a stem of another kernel or stride, or one that is not for colour images."""
    check_stem_stride(spec, check, stride)
    check.that(spec.stem_kernel == kernel, f"the kernel of the stem is {kernel}, not {spec.stem_kernel}")
    check.that(spec.in_channels == 3, f"images have 3 channels, not {spec.in_channels}")


def check_stages(spec: NetworkSpec, check: Check, **fields: object) -> None:
    """Refuse stages in which a field has another value than the one that the library gives it."""
    for stage in spec.stages:
        for name, value in fields.items():
            found = getattr(stage, name)
            check.that(found == value, f"the {name} of blocks is {value}, not {found}")


def check_strides(spec: NetworkSpec, check: Check) -> None:
    """Refuse stages whose strides are not 1 in the first and 2 in the others."""
    for index, stage in enumerate(spec.stages):
        fixed = min(index, 1) + 1
        check.that(stage.stride == fixed, f"the stride of stage {index} is {fixed}, not {stage.stride}")


def check_convnext(spec: NetworkSpec, check: Check) -> None:
    """Refuse what no ConvNeXt of a library has."""
    check.that(spec.stem == "patch", f"the stem of a ConvNeXt is patch, not {spec.stem}")
    first = spec.stages[0]
    same = spec.stem_channels == first.channels
    check.that(same, f"the stem has the {first.channels} channels of the first stage, not {spec.stem_channels}")
    check.that(spec.head_norm, "there is always a normalisation before the classifier")
    check.that(spec.head_channels == 0, "there is no convolution before the pooling")
    check_stages(spec, check, expansion=4, layer_scale=first.layer_scale)
    check_strides(spec, check)


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
