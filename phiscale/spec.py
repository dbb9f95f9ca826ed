"""The description of a network. Its cost is counted from it, and its module is built from it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phiscale import checks
from phiscale.blocks import BLOCKS, BlockKind
from phiscale.errors import SpecError
from phiscale.files import read_json

ACTIVATION_FUNCTIONS = ("silu", "relu", "relu6", "gelu")
STEMS = ("conv", "conv-pool", "patch")
_LARGEST_EXPANSION = 1000
_LATER_FIELDS = {"block": "mbconv", "layer_scale": 0.0, "stem": "conv", "head_norm": False, "resolution_multiple": 1}
"""Fields that files of phiscale 0.1 lack, with what their absence means; left out of the JSON form where they say it,
so that a network has one fingerprint for good."""


def _size(name: str, value: object, *, low: int = 1) -> int:
    return checks.whole(name, value, SpecError, low=low, high=checks.LARGEST_SIZE)


def _rate(name: str, value: object) -> float:
    number = checks.real(name, value, SpecError)
    if not 0 <= number < 1:
        raise SpecError(f"expected {name} in [0, 1), got {value!r}")
    return number


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A run of blocks of one kind with one number of output channels. Raises ``SpecError``.

    Each kind is a file of ``phiscale/blocks/``, which says what it is made of.
    """

    block: str = "mbconv"
    """Kind of block: the name of a file of ``phiscale/blocks/``."""
    kernel: int
    """Side of the kernel that is not 1x1; odd."""
    repeats: int
    """Number of blocks."""
    channels: int
    """Output channels of every block."""
    expansion: float
    """Hidden channels over input or output channels, or output over hidden ones, as the kind of block says; 1 to
    1000."""
    stride: int
    """Stride of the first block: 1 or more; the others have 1."""
    se_ratio: float = 0.25
    """Squeeze-excitation channels as a part of the block's input channels; 0 leaves it out, as it must be in a kind
    that has none."""
    layer_scale: float = 0.0
    """First value of the factor per channel on the branch of a block; 0 leaves it out."""

    def __post_init__(self) -> None:
        if not isinstance(self.block, str) or self.block not in BLOCKS:
            raise SpecError(f"expected a block of {', '.join(BLOCKS)}, got {self.block!r}")
        if _size("the kernel of a stage", self.kernel) % 2 == 0:
            raise SpecError(f"expected an odd kernel, got {self.kernel}")
        for name in ("repeats", "channels", "stride"):
            _size(f"{name} of a stage", getattr(self, name))
        if not 1 <= checks.real("the expansion of a stage", self.expansion, SpecError) <= _LARGEST_EXPANSION:
            raise SpecError(f"expected an expansion in [1, {_LARGEST_EXPANSION}], got {self.expansion!r}")
        for name in ("se_ratio", "layer_scale"):
            if not 0 <= checks.real(f"the {name} of a stage", getattr(self, name), SpecError) <= 1:
                raise SpecError(f"expected a {name} in [0, 1], got {getattr(self, name)!r}")
        self.kind.check(self)

    @property
    def kind(self) -> BlockKind:
        """The sizes and the count of its kind of block."""
        return BLOCKS[self.block]

    @property
    def channel_unit(self) -> int:
        """What the output channels must be a multiple of, where the kind of block divides them."""
        return int(self.expansion) if self.kind.unit_is_expansion else 1

    def hidden_channels(self, in_channels: int) -> int:
        """Channels inside a block that takes ``in_channels``."""
        return self.kind.hidden_channels(self, in_channels)

    def squeeze_channels(self, in_channels: int) -> int:
        """Channels of the squeeze of a block that takes ``in_channels``; 0 without squeeze-excitation."""
        return max(1, int(in_channels * self.se_ratio)) if self.se_ratio else 0

    def output_side(self, side: int, stride: int) -> int:
        """Side after a block of that stride, in pixels."""
        return self.kind.output_side(side, stride)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A whole network: stem, stages, head convolution, pooling, linear classifier.

    Convolutions pad so that a stride s turns a side of n pixels into ceil(n / s); patches (of the ``patch`` stem and
    between ``convnext`` stages) leave a part of one out: floor(n / s). Raises ``SpecError``.
    """

    name: str
    """Its name in tables and records."""
    resolution: int
    """Side of the square input, in pixels."""
    resolution_multiple: int = 1
    """Pixels of which the resolution, and that of every network grown from this one, is a multiple."""
    stem_channels: int
    """Output channels of the stem convolution."""
    stages: tuple[StageSpec, ...]
    """The stages in order; at least one."""
    head_channels: int
    """Output channels of the 1x1 convolution before pooling; 0 leaves it out."""
    classes: int = 1000
    """Outputs of the classifier."""
    stem: str = "conv"
    """``conv``: convolution, batch normalisation, activation; ``conv-pool``: then a 3x3 max-pool of stride 2;
    ``patch``: a convolution of patches side by side, layer normalisation."""
    stem_kernel: int = 3
    """Side of the stem kernel; odd, or in a ``patch`` stem equal to the stride."""
    stem_stride: int = 2
    """Stride of the stem convolution."""
    head_norm: bool = False
    """Whether layer normalisation comes between pooling and classifier."""
    in_channels: int = 3
    """Channels of an image."""
    activation: str = "silu"
    """``silu``, ``relu``, ``relu6`` or ``gelu``, everywhere."""
    dropout: float = 0.2
    """Rate before the classifier."""
    drop_path: float = 0.2
    """Stochastic depth of the last block; it grows linearly from 0 at the first."""

    def __post_init__(self) -> None:
        checks.text("the name of a network", self.name, SpecError)
        sizes = "stem_channels", "classes", "stem_kernel", "stem_stride", "in_channels"
        for name in ("resolution", "resolution_multiple", *sizes):
            _size(name, getattr(self, name))
        _size("head_channels", self.head_channels, low=0)
        self._check_stem()
        if not isinstance(self.head_norm, bool):
            raise SpecError(f"expected head_norm to be true or false, got {self.head_norm!r}")
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.stages or not all(isinstance(stage, StageSpec) for stage in self.stages):
            raise SpecError(f"expected stages of one StageSpec or more, got {self.stages!r}")
        if self.activation not in ACTIVATION_FUNCTIONS:
            raise SpecError(f"expected an activation of {', '.join(ACTIVATION_FUNCTIONS)}, got {self.activation!r}")
        _rate("dropout", self.dropout)
        _rate("drop_path", self.drop_path)
        if self.resolution % self.resolution_multiple:
            raise SpecError(
                f"expected the resolution of {self.name} to be a multiple of {self.resolution_multiple}, "
                f"got {self.resolution}; choose another resolution or another multiple"
            )
        if self.resolution < self.smallest_resolution:
            raise SpecError(
                f"expected a resolution of at least {self.smallest_resolution} pixels in {self.name}, whose patches "
                f"would otherwise be larger than the image, got {self.resolution}"
            )

    def _check_stem(self) -> None:
        if self.stem not in STEMS:
            raise SpecError(f"expected a stem of {', '.join(STEMS)}, got {self.stem!r}")
        if self.stem == "patch":
            if self.stem_kernel != self.stem_stride:
                raise SpecError(
                    f"expected stem_kernel and stem_stride of a patch stem to be equal, "
                    f"got {self.stem_kernel} and {self.stem_stride}"
                )
        elif self.stem_kernel % 2 == 0:
            raise SpecError(f"expected an odd stem_kernel, got {self.stem_kernel}")

    @property
    def stem_side(self) -> int:
        """Side of what the stem gives, in pixels."""
        if self.stem == "patch":
            return self.resolution // self.stem_stride
        side = -(-self.resolution // self.stem_stride)
        return -(-side // 2) if self.stem == "conv-pool" else side

    @property
    def total_stride(self) -> int:
        """Pixels of the input per pixel of the last stage; sides that are a multiple of it waste nothing."""
        return self.stem_stride * (2 if self.stem == "conv-pool" else 1) * math.prod(s.stride for s in self.stages)

    @property
    def smallest_resolution(self) -> int:
        """The least side, in pixels, of which every stage sees one pixel: 1 unless the network takes patches."""
        side = 1
        for stage in reversed(self.stages):
            side = stage.kind.smallest_input(side, stage.stride)
        if self.stem == "conv-pool":
            side = 2 * side - 1
        return side * self.stem_stride if self.stem == "patch" else (side - 1) * self.stem_stride + 1

    @property
    def features(self) -> int:
        """Channels that are pooled for the classifier."""
        return self.head_channels or self.stages[-1].channels

    @property
    def total_repeats(self) -> int:
        """Number of blocks."""
        return sum(stage.repeats for stage in self.stages)

    @property
    def fingerprint(self) -> str:
        """16 hex digits, equal for equal architectures; how they grow, name and regularisation do not count."""
        import hashlib  # loads OpenSSL: milliseconds that most readers of records need not wait for

        plain = self.to_dict()
        for name in ("name", "dropout", "drop_path", "resolution_multiple"):
            plain.pop(name, None)
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON values."""
        plain = _without_later(dataclasses.asdict(self))
        plain["stages"] = [_without_later(stage) for stage in plain["stages"]]
        for stage in plain["stages"]:
            for name in ("expansion", "se_ratio", "layer_scale"):
                if name in stage:
                    stage[name] = float(stage[name])
        return plain

    @classmethod
    def from_dict(cls, value: object) -> NetworkSpec:
        """The spec from JSON values. Raises ``SpecError`` for missing, unknown or impossible fields."""
        fields = dict(_fields_of(cls, "the network", value))
        if not isinstance(fields["stages"], (list, tuple)):
            raise SpecError(f"expected stages to be a list, got {type(fields['stages']).__name__}")
        fields["stages"] = tuple(
            StageSpec(**_fields_of(StageSpec, f"stage {index}", stage)) for index, stage in enumerate(fields["stages"])
        )
        return cls(**fields)


def _without_later(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in _LATER_FIELDS or value != _LATER_FIELDS[name]}


def _fields_of(cls: type[StageSpec | NetworkSpec], name: str, value: object) -> Mapping[str, Any]:
    fields = dataclasses.fields(cls)
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    optional = frozenset(field.name for field in fields) - required
    return checks.exact_keys(name, value, required, SpecError, optional=optional)


def load_network(path: str | Path) -> NetworkSpec:
    """Read a spec from a JSON file as ``NetworkSpec.to_dict`` makes it. Raises ``SpecError`` with the reason."""
    value = read_json(path, "network file", SpecError)
    try:
        return NetworkSpec.from_dict(value)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
