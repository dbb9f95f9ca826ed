"""Counted cost of a network: multiply-accumulates, parameters and activations, from its spec alone.

One multiply-accumulate (MAC) is two FLOPs. Convolutions and linear layers count; normalisation, pooling, layer scale,
activation functions and additions do not (they count as parameters where they have any). Activations are the outputs
of convolutions and linear layers, as in Radosavovic et al. 2020 (arXiv 2003.13678).
"""

from __future__ import annotations

from dataclasses import dataclass

from phiscale import blocks
from phiscale.errors import ConstraintError
from phiscale.spec import NetworkSpec


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one image."""

    macs: int
    """Multiply-accumulates."""
    params: int
    """Trainable numbers."""
    activations: int
    """Output elements of all convolutions and linear layers."""

    def by_metric(self, metric: str) -> int:
        """The counted cost of that name. Raises ``ConstraintError`` for one that is not counted."""
        if metric not in ("macs", "params", "activations"):
            raise ConstraintError(f"expected a counted metric of macs, params, activations, got {metric!r}")
        return int(getattr(self, metric))


def count_cost(spec: NetworkSpec) -> Cost:
    """Cost of the network at its own resolution; equal to what its module has and does."""
    side, channels = spec.stem_side, spec.stem_channels
    total = blocks.stem(spec)
    for stage in spec.stages:
        first = blocks.block(stage, channels, side, stage.stride)
        side, channels = stage.output_side(side, stage.stride), stage.channels
        macs, params, activations = blocks.block(stage, channels, side, 1)
        more = stage.repeats - 1
        total = blocks.add(total, first, (macs * more, params * more, activations * more))
    if spec.head_channels:
        total = blocks.add(total, blocks.conv(side, 1, channels, spec.head_channels))
    if spec.head_norm:
        total = blocks.add(total, blocks.layer_norm(spec.features))
    return Cost(*blocks.add(total, blocks.linear(spec.features, spec.classes)))
