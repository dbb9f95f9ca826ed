"""Counted cost of a network: multiply-accumulates, parameters and activations, from its spec alone.

One multiply-accumulate (MAC) is two FLOPs. Convolutions and linear layers count; normalisation, pooling, layer scale,
activation functions and additions do not (they count as parameters where they have any). Activations are the outputs
of convolutions and linear layers, as in Radosavovic et al. 2020 (arXiv 2003.13678).

A counted metric is a field of ``Cost`` and its count in the three layers below; everything else uses these.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phiscale.errors import ConstraintError

if TYPE_CHECKING:
    from phiscale.spec import NetworkSpec


@dataclass(frozen=True)
class Metric:
    """A counted cost: its names, and how it grows with the multipliers of an ideal network."""

    label: str
    """Head of a column."""
    words: str
    """Full name."""
    exponents: tuple[float, float, float]
    """Of depth, width and resolution."""


def _counted(label: str, words: str, exponents: tuple[float, float, float]) -> Any:
    return dataclasses.field(default=0, metadata={"metric": Metric(label, words, exponents)})


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one image; costs add part by part."""

    macs: int = _counted("MACs", "multiply-accumulates", (1, 2, 2))
    """Multiply-accumulates."""
    params: int = _counted("parameters", "parameters", (1, 2, 0))
    """Trainable numbers."""
    activations: int = _counted("activations", "activations", (1, 1, 2))
    """Output elements of all convolutions and linear layers."""

    def __iter__(self) -> Iterator[int]:
        return iter(vars(self).values())

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(operator.add, self, other))

    def __mul__(self, times: int) -> Cost:
        return Cost(*(count * times for count in self))

    @classmethod
    def total(cls, parts: Iterable[Cost]) -> Cost:
        """The sum of the parts."""
        return cls(*map(sum, zip(*parts, strict=True)))

    def by_metric(self, metric: str) -> int:
        """The counted cost of that name. Raises ``ConstraintError`` for one that is not counted."""
        if metric not in COUNTED:
            raise ConstraintError(f"expected a counted metric of {', '.join(COUNTED)}, got {metric!r}")
        return int(getattr(self, metric))

    def over(self, base: Cost, metric: str) -> float:
        """The cost as a multiple of ``base``. Raises ``ConstraintError`` where the metric is not counted."""
        if not base.by_metric(metric):
            raise ConstraintError(f"expected a baseline whose {metric} are counted, got 0; choose another cost")
        return self.by_metric(metric) / base.by_metric(metric)


COUNTED: dict[str, Metric] = {field.name: field.metadata["metric"] for field in dataclasses.fields(Cost)}
"""Every counted cost by name."""


def conv(side: int, kernel: int, in_channels: int, out_channels: int, *, groups: int = 1, norm: bool = True) -> Cost:
    """A convolution to ``side`` pixels: with its batch normalisation and no bias, or else with a bias."""
    weights = kernel * kernel * (in_channels // groups) * out_channels
    return Cost(weights * side * side, weights + (2 if norm else 1) * out_channels, out_channels * side * side)


def linear(in_features: int, out_features: int, *, positions: int = 1) -> Cost:
    """A linear layer with bias, applied at every position."""
    weights = in_features * out_features
    return Cost(weights * positions, weights + out_features, out_features * positions)


def layer_norm(channels: int) -> Cost:
    """Layer normalisation over channels."""
    return Cost(params=2 * channels)


def count_cost(spec: NetworkSpec) -> Cost:
    """Cost of the network at its own resolution; equal to what its module has and does."""
    side, channels = spec.stem_side, spec.stem_channels
    parts = [_stem(spec)]
    for stage in spec.stages:
        parts.append(stage.kind.count(stage, channels, side, stage.stride))
        side, channels = stage.output_side(side, stage.stride), stage.channels
        if stage.repeats > 1:
            parts.append(stage.kind.count(stage, channels, side, 1) * (stage.repeats - 1))
    if spec.head_channels:
        parts.append(conv(side, 1, channels, spec.head_channels))
    if spec.head_norm:
        parts.append(layer_norm(spec.features))
    return Cost.total([*parts, linear(spec.features, spec.classes)])


def _stem(spec: NetworkSpec) -> Cost:
    """The stem at the resolution of the network; a max-pool costs nothing."""
    if spec.stem == "patch":
        patches = conv(spec.stem_side, spec.stem_kernel, spec.in_channels, spec.stem_channels, norm=False)
        return patches + layer_norm(spec.stem_channels)
    side = -(-spec.resolution // spec.stem_stride)
    return conv(side, spec.stem_kernel, spec.in_channels, spec.stem_channels)
