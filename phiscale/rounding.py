"""How ideal sizes become whole layers, channels and pixels; one preset per well-known code base.

Sources: ``tf`` TensorFlow TPU ``efficientnet_builder.py`` (round_filters, round_repeats); ``effnetv2`` google/automl
``efficientnetv2/effnetv2_model.py``; ``timm`` ``_efficientnet_builder.py`` (depth_trunc ceil or round) and
``layers/helpers.py`` (make_divisible), with the truncated resolutions of its TinyNets; ``pycls`` ``models/scaler.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

from phiscale import checks
from phiscale.errors import ConstraintError, SettingsError


@dataclass(frozen=True)
class Rounding:
    """One way of rounding. ``scale`` is the multiplier; a multiplier of 1 changes nothing.

    ``nearest`` takes the even one of two equally near numbers, as ``round`` does. Raises ``SettingsError`` for an
    unknown way; the methods raise ``ConstraintError`` for sizes above 2**31 - 1.
    """

    repeats: str
    """``ceil`` or ``nearest`` in every stage, or ``largest-remainder`` over all stages."""
    divisor: int
    """Channels become the nearest multiple of it."""
    keep: float = 0.0
    """Channels never fall below this part of the ideal value; they go up one divisor instead."""
    pixels: str = "truncate"
    """Resolution: ``truncate`` or ``nearest`` a multiple of ``pixel_step``."""
    pixel_step: int = 1
    """Resolution becomes a multiple of it."""
    ties: str = "up"
    """Where channels lie halfway between two multiples: ``up``, or to the ``even`` multiple."""

    def __post_init__(self) -> None:
        _one_of("repeats", self.repeats, ("ceil", "nearest", "largest-remainder"))
        _one_of("pixels", self.pixels, ("truncate", "nearest"))
        _one_of("ties", self.ties, ("up", "even"))
        checks.whole("the divisor", self.divisor, SettingsError)
        checks.whole("the pixel_step", self.pixel_step, SettingsError)
        if not 0 <= checks.real("keep", self.keep, SettingsError) <= 1:
            raise SettingsError(f"expected keep in [0, 1], got {self.keep!r}")

    def channels(self, base: int, scale: float, *, unit: int = 1) -> int:
        """Whole channels for ``base * scale``; with a ``unit``, that many times the rounded part of a unit."""
        if scale == 1:
            return base
        ideal = _ideal(base, scale) / unit
        half_up = int(ideal + self.divisor / 2) // self.divisor
        count = half_up if self.ties == "up" else round(ideal / self.divisor)
        rounded = max(1, count) * self.divisor
        return unit * (rounded + self.divisor if rounded < self.keep * ideal else rounded)

    def resolution(self, base: int, scale: float) -> int:
        """Whole pixels for ``base * scale``."""
        if scale == 1:
            return base
        ideal = _ideal(base, scale) / self.pixel_step
        steps = round(ideal) if self.pixels == "nearest" else int(ideal)
        return max(1, steps) * self.pixel_step

    def stage_repeats(self, base: tuple[int, ...], scale: float) -> tuple[int, ...]:
        """Whole repeats of all stages, each at least 1."""
        if scale == 1:
            return base
        if self.repeats == "largest-remainder":
            return _largest_remainder(base, scale)
        to_whole = math.ceil if self.repeats == "ceil" else round
        return tuple(max(1, to_whole(_ideal(repeats, scale))) for repeats in base)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"expected {name} to be one of {', '.join(known)}, got {value!r}")


def _ideal(base: int, scale: float) -> float:
    size = base * scale
    if size > checks.LARGEST_SIZE:
        raise ConstraintError(
            f"expected sizes of at most {checks.LARGEST_SIZE} after scaling, got {base} * {scale:.4g}; "
            "use a smaller phi"
        )
    return size


def _largest_remainder(base: tuple[int, ...], scale: float) -> tuple[int, ...]:
    """Repeats whose sum is the nearest whole number to ``sum(base) * scale``; ties go to the earlier stage."""
    total = max(len(base), math.floor(_ideal(sum(base), scale) + 0.5))
    ideal = [repeats * scale for repeats in base]
    whole = [max(1, int(value)) for value in ideal]
    while sum(whole) < total:
        short = [value - count for value, count in zip(ideal, whole, strict=True)]
        whole[short.index(max(short))] += 1
    while sum(whole) > total:
        spare = [count - value if count > 1 else -math.inf for value, count in zip(ideal, whole, strict=True)]
        whole[spare.index(max(spare))] -= 1
    return tuple(whole)


ROUNDINGS = MappingProxyType(
    {
        "tf": Rounding("ceil", 8, keep=0.9),
        "effnetv2": Rounding("ceil", 8),
        "timm": Rounding("ceil", 8, keep=0.9),
        "timm-round": Rounding("nearest", 8, keep=0.9),
        "pycls": Rounding("nearest", 8, pixels="nearest", pixel_step=4, ties="even"),
        "exact": Rounding("largest-remainder", 1, pixels="nearest"),
    }
)
"""Every preset by name; ``exact`` is for proxies, whose sizes are small."""


def rounding_by_name(name: str) -> Rounding:
    """The preset of that name. Raises ``SettingsError`` with the names there are."""
    if name not in ROUNDINGS:
        raise SettingsError(f"expected a rounding of {', '.join(ROUNDINGS)}, got {name!r}")
    return ROUNDINGS[name]
