"""The description of a network: what its cost is counted from and what its module is built from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phiscale import checks
from phiscale.errors import SpecError

ACTIVATION_FUNCTIONS = ("silu", "relu", "relu6", "gelu")
BLOCKS = ("mbconv", "fused", "basic", "bottleneck", "convnext")
STEMS = ("conv", "conv-pool", "patch")
_LARGEST_EXPANSION = 1000
_LATER_FIELDS = {"block": "mbconv", "layer_scale": 0.0, "stem": "conv", "head_norm": False}
"""Fields that files of phiscale 0.1 lack, with what their absence means; left out of the JSON form where they say it,
so that a network has one fingerprint for good."""


def _size(name: str, value: object, *, low: int = 1) -> int:
    number = checks.whole(name, value, SpecError, low=low)
    if number > checks.LARGEST_SIZE:
        raise SpecError(f"expected {name} to be at most {checks.LARGEST_SIZE}, got more; use a smaller size")
    return number


def _rate(name: str, value: object) -> float:
    number = checks.real(name, value, SpecError)
    if not 0 <= number < 1:
        raise SpecError(f"expected {name} in [0, 1), got {value!r}")
    return number


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A run of blocks of one kind with one number of output channels. Raises ``SpecError``.

    ``mbconv``: 1x1 expansion, depthwise convolution, squeeze-excitation, 1x1 projection (Sandler et al. 2018, arXiv
    1801.04381; Tan & Le 2019, table 1). ``fused``: expansion and depthwise convolution in one full convolution (Tan &
    Le 2021, arXiv 2104.00298). ``basic``, ``bottleneck``: two, or three, convolutions, the stride in the (first) one
    of ``kernel`` (He et al. 2015, arXiv 1512.03385). ``convnext``: depthwise convolution, layer normalisation, two
    linear layers; a first block that changes channels or side begins with normalisation and a convolution of patches
    (Liu et al. 2022, arXiv 2201.03545).
    """

    block: str = "mbconv"
    """``mbconv``, ``fused``, ``basic``, ``bottleneck`` or ``convnext``."""
    kernel: int
    """Side of the kernel that is not 1x1; odd."""
    repeats: int
    """Number of blocks."""
    channels: int
    """Output channels of every block."""
    expansion: float
    """Hidden channels as a multiple, at most 1000, of a block's input channels (``mbconv``, ``fused``; 1 leaves the
    expansion out) or of its output channels (``convnext``); or output channels as a whole multiple of hidden ones
    (``bottleneck``: 4 in ResNet-50; ``basic``: 1)."""
    stride: int
    """Stride of the first block: 1 or more; the others have 1."""
    se_ratio: float = 0.25
    """Squeeze-excitation channels as a part of the block's input channels; 0 leaves it out, as it must be in ``basic``,
    ``bottleneck`` and ``convnext``."""
    layer_scale: float = 0.0
    """First value of the factor per channel on the branch of a ``convnext`` block; 0 leaves it out."""

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
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
        self._check_block()

    def _check_block(self) -> None:
        """Raise ``SpecError`` for a field that this kind of block does not have, or not so."""
        if self.se_ratio and self.block not in ("mbconv", "fused"):
            raise SpecError(f"expected an se_ratio of 0 in a {self.block} block, got {self.se_ratio!r}")
        if self.layer_scale and self.block != "convnext":
            raise SpecError(f"expected a layer_scale of 0 in a {self.block} block, got {self.layer_scale!r}")
        if self.block in ("basic", "bottleneck") and (self.expansion % 1 or self.channels % self.channel_unit):
            raise SpecError(
                f"expected a whole expansion that divides the {self.channels} channels of a {self.block} block, "
                f"got {self.expansion!r}"
            )

    @property
    def channel_unit(self) -> int:
        """What the output channels must be a multiple of: the expansion of ``basic`` and ``bottleneck`` blocks."""
        return int(self.expansion) if self.block in ("basic", "bottleneck") else 1

    def hidden_channels(self, in_channels: int) -> int:
        """Channels inside a block that takes ``in_channels``."""
        if self.block in ("basic", "bottleneck"):
            return self.channels // self.channel_unit
        return int((self.channels if self.block == "convnext" else in_channels) * self.expansion)

    def squeeze_channels(self, in_channels: int) -> int:
        """Channels of the squeeze of a block that takes ``in_channels``; 0 without squeeze-excitation."""
        return max(1, int(in_channels * self.se_ratio)) if self.se_ratio else 0

    def output_side(self, side: int, stride: int) -> int:
        """Side after a block of that stride, in pixels."""
        return side // stride if self.block == "convnext" else -(-side // stride)


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A whole network: stem, stages, head convolution, pooling, linear classifier.

    Convolutions pad so that a stride s turns a side of n pixels into ceil(n / s); patches (of the ``patch`` stem and
    between ``convnext`` stages) leave a part of one out: floor(n / s). Raises ``SpecError``.
    """

    name: str
    """What tables and records call it."""
    resolution: int
    """Side of the square input, in pixels."""
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
        for name in ("resolution", "stem_channels", "classes", "stem_kernel", "stem_stride", "in_channels"):
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
            side = side * stage.stride if stage.block == "convnext" else (side - 1) * stage.stride + 1
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
        """16 hex digits, equal for equal architectures; name and regularisation do not count."""
        import hashlib  # loads OpenSSL: milliseconds that most readers of records need not wait for

        plain = self.to_dict()
        for name in ("name", "dropout", "drop_path"):
            del plain[name]
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
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"cannot read the network file {path}: {reason}") from None
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise SpecError(f"expected {path} to hold one JSON network, got text that is not JSON ({error})") from None
    try:
        return NetworkSpec.from_dict(value)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
