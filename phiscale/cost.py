"""Counted cost of a network: multiply-accumulates, parameters and activations, from its spec alone.

One multiply-accumulate (MAC) is two FLOPs. Convolutions and linear layers count; batch normalisation, pooling,
activation functions and additions do not (they count as parameters where they have any). Activations are the
outputs of convolutions and linear layers, as in Radosavovic et al. 2020 (arXiv 2003.13678).
"""

from __future__ import annotations

from dataclasses import dataclass

from phiscale.errors import ConstraintError
from phiscale.spec import NetworkSpec, StageSpec


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


_Triple = tuple[int, int, int]


def _conv(side: int, kernel: int, in_channels: int, out_channels: int, *, groups: int = 1) -> _Triple:
    """A convolution without bias and its batch normalisation; ``side`` is the output's."""
    weights = kernel * kernel * (in_channels // groups) * out_channels
    return weights * side * side, weights + 2 * out_channels, out_channels * side * side


def _linear(in_features: int, out_features: int) -> _Triple:
    """A linear layer with bias."""
    weights = in_features * out_features
    return weights, weights + out_features, out_features


def _add(*costs: _Triple) -> _Triple:
    return sum(c[0] for c in costs), sum(c[1] for c in costs), sum(c[2] for c in costs)


def _block(stage: StageSpec, in_channels: int, side: int, stride: int) -> tuple[_Triple, int]:
    """Cost of one block and the side of its output."""
    hidden, squeeze = stage.hidden_channels(in_channels), stage.squeeze_channels(in_channels)
    out_side = -(-side // stride)
    parts = [
        _conv(out_side, stage.kernel, hidden, hidden, groups=hidden),
        _conv(out_side, 1, hidden, stage.channels),
    ]
    if stage.expansion != 1:
        parts.append(_conv(side, 1, in_channels, hidden))
    if squeeze:
        parts += [_linear(hidden, squeeze), _linear(squeeze, hidden)]
    return _add(*parts), out_side


def count_cost(spec: NetworkSpec) -> Cost:
    """Cost of the network at its own resolution; equal to what its module has and does."""
    side = -(-spec.resolution // spec.stem_stride)
    total = _conv(side, spec.stem_kernel, spec.in_channels, spec.stem_channels)
    channels = spec.stem_channels
    for stage in spec.stages:
        first, side = _block(stage, channels, side, stage.stride)
        total = _add(total, first)
        channels = stage.channels
        if stage.repeats > 1:
            later, _ = _block(stage, channels, side, 1)
            more = stage.repeats - 1
            total = _add(total, (later[0] * more, later[1] * more, later[2] * more))
    head = _conv(side, 1, channels, spec.head_channels)
    return Cost(*_add(total, head, _linear(spec.head_channels, spec.classes)))
