"""The description of a network: what its cost is counted from and what its module is built from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phiscale import _checks
from phiscale.errors import SpecError

ACTIVATION_FUNCTIONS = ("silu", "relu")
_LARGEST_EXPANSION = 1000


def _size(name: str, value: object, *, low: int = 1) -> int:
    number = _checks.whole(name, value, SpecError, low=low)
    if number > _checks.LARGEST_SIZE:
        raise SpecError(f"expected {name} to be at most {_checks.LARGEST_SIZE}, got more; use a smaller size")
    return number


def _rate(name: str, value: object) -> float:
    number = _checks.real(name, value, SpecError)
    if not 0 <= number < 1:
        raise SpecError(f"expected {name} in [0, 1), got {value!r}")
    return number


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A run of inverted residual blocks (MBConv) with one number of output channels.

    Source: Sandler et al. 2018 (arXiv 1801.04381); Tan & Le 2019, table 1. Raises ``SpecError``.
    """

    kernel: int
    """Side of the depthwise kernel; odd."""
    repeats: int
    """Number of blocks."""
    channels: int
    """Output channels of every block."""
    expansion: float
    """Hidden channels of a block as a multiple of its input channels, at most 1000; 1 leaves the expansion out."""
    stride: int
    """Stride of the first block: 1 or more; the others have 1."""
    se_ratio: float = 0.25
    """Squeeze-excitation channels as a part of the block's input channels; 0 leaves it out."""

    def __post_init__(self) -> None:
        if _size("the kernel of a stage", self.kernel) % 2 == 0:
            raise SpecError(f"expected an odd kernel, got {self.kernel}")
        for name in ("repeats", "channels", "stride"):
            _size(f"{name} of a stage", getattr(self, name))
        if not 1 <= _checks.real("the expansion of a stage", self.expansion, SpecError) <= _LARGEST_EXPANSION:
            raise SpecError(f"expected an expansion in [1, {_LARGEST_EXPANSION}], got {self.expansion!r}")
        if not 0 <= _checks.real("the se_ratio of a stage", self.se_ratio, SpecError) <= 1:
            raise SpecError(f"expected an se_ratio in [0, 1], got {self.se_ratio!r}")

    def hidden_channels(self, in_channels: int) -> int:
        """Channels inside a block that takes ``in_channels``."""
        return int(in_channels * self.expansion)

    def squeeze_channels(self, in_channels: int) -> int:
        """Channels of the squeeze of a block that takes ``in_channels``; 0 without squeeze-excitation."""
        return max(1, int(in_channels * self.se_ratio)) if self.se_ratio else 0


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A whole network: stem convolution, stages, head convolution, pooling, linear classifier.

    Convolutions pad so that a stride s turns a side of n pixels into ceil(n / s). Raises ``SpecError``.
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
    """Output channels of the 1x1 convolution before pooling."""
    classes: int = 1000
    """Outputs of the classifier."""
    stem_kernel: int = 3
    """Side of the stem kernel; odd."""
    stem_stride: int = 2
    """Stride of the stem."""
    in_channels: int = 3
    """Channels of an image."""
    activation: str = "silu"
    """``silu`` or ``relu``, everywhere."""
    dropout: float = 0.2
    """Rate before the classifier."""
    drop_path: float = 0.2
    """Stochastic depth of the last block; it grows linearly from 0 at the first."""

    def __post_init__(self) -> None:
        _checks.text("the name of a network", self.name, SpecError)
        for name in (
            "resolution",
            "stem_channels",
            "head_channels",
            "classes",
            "stem_kernel",
            "stem_stride",
            "in_channels",
        ):
            _size(name, getattr(self, name))
        if self.stem_kernel % 2 == 0:
            raise SpecError(f"expected an odd stem_kernel, got {self.stem_kernel}")
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.stages or not all(isinstance(stage, StageSpec) for stage in self.stages):
            raise SpecError(f"expected stages of one StageSpec or more, got {self.stages!r}")
        if self.activation not in ACTIVATION_FUNCTIONS:
            raise SpecError(f"expected an activation of {', '.join(ACTIVATION_FUNCTIONS)}, got {self.activation!r}")
        _rate("dropout", self.dropout)
        _rate("drop_path", self.drop_path)

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
        plain = dataclasses.asdict(self)
        plain["stages"] = list(plain["stages"])
        for stage in plain["stages"]:
            stage["expansion"] = float(stage["expansion"])
            stage["se_ratio"] = float(stage["se_ratio"])
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


def _fields_of(cls: type[StageSpec | NetworkSpec], name: str, value: object) -> Mapping[str, Any]:
    fields = dataclasses.fields(cls)
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    optional = frozenset(field.name for field in fields) - required
    return _checks.exact_keys(name, value, required, SpecError, optional=optional)


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
