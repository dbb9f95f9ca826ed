"""Multipliers under which another library's own rounding makes a given network, to the last channel and block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phiscale.network import ScaledNetwork
from phiscale.rounding import Rounding
from phiscale.spec import NetworkSpec

_KEEP = 0.9
"""Rounding never falls below this part of a size."""


@dataclass(frozen=True)
class Recipe:
    """Sizes before multiplication, and the multipliers under which a library's rounding makes the network."""

    channels: tuple[int, ...]
    repeats: tuple[int, ...]
    stem: int
    width: float = 1.0
    depth: float = 1.0
    divisor: int = 1


def stage_channels(spec: NetworkSpec) -> tuple[int, ...]:
    """Output channels of every stage."""
    return tuple(stage.channels for stage in spec.stages)


def stage_repeats(spec: NetworkSpec) -> tuple[int, ...]:
    """Blocks of every stage."""
    return tuple(stage.repeats for stage in spec.stages)


def round_channels(value: float, divisor: int) -> int:
    """Channels as timm, torchvision, Keras and transformers round them: a multiple, never under 0.9 of the value."""
    return Rounding("ceil", divisor, keep=_KEEP).channels(1, value)


def find_recipe(network: ScaledNetwork, fixed: Sequence[tuple[int, int]] = ()) -> Recipe | None:
    """Multipliers that turn the baseline into the network, or that leave the network as it is; None without any.

    ``fixed``: pairs of (channels before, channels after) that the same width has to make, in place of the stem's.
    """
    spec = network.spec
    for base in (network.base, spec):
        stem = fixed or [(base.stem_channels, spec.stem_channels)]
        pairs = [*stem, *zip(stage_channels(base), stage_channels(spec), strict=True)]
        for divisor in (8, 1):
            width = _width(pairs, divisor, network.asked.width)
            if width is not None:
                depth = _depth(stage_repeats(base), stage_repeats(spec), network.asked.depth)
                repeats = stage_repeats(spec) if depth is None else stage_repeats(base)
                return Recipe(stage_channels(base), repeats, stem[0][0], width, depth or 1.0, divisor)
    return None


def _width(pairs: Sequence[tuple[int, int]], divisor: int, asked: float) -> float | None:
    """A multiplier that rounds every first number of a pair to its second."""
    intervals = [
        (min(after - divisor / 2, (after - divisor) / _KEEP) / before, min(after + divisor / 2, after / _KEEP) / before)
        for before, after in pairs
    ]
    return _shortest(
        intervals, asked, lambda width: all(round_channels(before * width, divisor) == after for before, after in pairs)
    )


def _depth(before: tuple[int, ...], after: tuple[int, ...], asked: float) -> float | None:
    """A multiplier whose products with ``before``, rounded up, are ``after``."""
    intervals = [((large - 1) / small, large / small) for small, large in zip(before, after, strict=True)]
    return _shortest(intervals, asked, lambda depth: tuple(math.ceil(small * depth) for small in before) == after)


def _shortest(intervals: Sequence[tuple[float, float]], asked: float, works: Callable[[float], bool]) -> float | None:
    """``asked`` if it works, else a number of few digits from the middle of what all intervals share, or None."""
    low, high = max(low for low, _ in intervals), min(high for _, high in intervals)
    numbers = [asked, *(round((low + high) / 2, digits) for digits in range(13))]
    return next((float(number) for number in numbers if number > 0 and works(number)), None)
