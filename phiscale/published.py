"""Published scaling rules and the published EfficientNet table, each with its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from phiscale.triangle import (
    FLOPS,
    CostModel,
    Multipliers,
    ScalingConstants,
    Shares,
    active_axes,
    constants_from_shares,
    shares_of_direction,
)


@dataclass(frozen=True)
class PublishedRule:
    """Published constants, or constants that mark a point of the triangle."""

    constants: ScalingConstants
    """Multipliers for one unit of phi; for the TinyNet rows one unit is the published network itself."""
    cost_model: CostModel
    """The surface the rule was stated on."""
    source: str
    """Source of the numbers."""
    label: str
    """Name for display."""
    measured: bool = False
    """Whether a study also measures the rule, at the same real cost as its own points."""
    axes: tuple[int, ...] = ()
    """The axes (0 depth, 1 width, 2 resolution) among which a place on the triangle shares a step equally."""

    def on(self, cost_model: CostModel) -> ScalingConstants | None:
        """The rule on the surface of this cost model; None where it grows nothing that enters the cost.

        A place on the triangle stays that place; other constants keep their direction and grow to the target.
        """
        if not self.axes:
            direction = Multipliers(*self.constants.as_tuple())
            return constants_from_shares(shares_of_direction(direction, cost_model), cost_model)
        grown = [axis for axis in self.axes if axis in active_axes(cost_model)]
        return _place(grown, cost_model) if grown else None


@dataclass(frozen=True)
class PublishedMember:
    """One row of the published EfficientNet table; the rows are not the formula at whole phi."""

    width: float
    depth: float
    resolution: int
    dropout: float
    phi: float | None
    """The compound coefficient the row is nearest to; None where the row was never stated as one."""


def _place(axes: Sequence[int], cost_model: CostModel = FLOPS) -> ScalingConstants:
    return constants_from_shares(Shares(*(1 / len(axes) if axis in axes else 0.0 for axis in range(3))), cost_model)


def _at(label: str, *axes: int) -> PublishedRule:
    return PublishedRule(_place(axes), FLOPS, "a place on the triangle", label, measured=True, axes=axes)


def _measured(label: str, source: str, *constants: float) -> PublishedRule:
    return PublishedRule(ScalingConstants(*constants), FLOPS, source, label, measured=True)


def _tinynet(letter: str, depth: float, width: float, resolution: float) -> PublishedRule:
    source = "Han et al. 2020, arXiv 2010.14819, depth / width / resolution of B0"
    return PublishedRule(ScalingConstants(depth, width, resolution), FLOPS, source, f"TinyNet-{letter}")


_TAN_LE = "Tan & Le 2019, arXiv 1905.11946, section 3.3"
_DOLLAR = "Dollar, Singh & Girshick 2021, arXiv 2103.06877, fast scaling d1_w8_r1, for one doubling"
_LACS = "Li et al. 2021, arXiv 2102.05610, latency-aware compound scaling, implied for one doubling"
_CMT = "Guo et al. 2022, arXiv 2107.06263, section 3.3"

PUBLISHED_RULES = MappingProxyType(
    {
        "paper": _measured("the paper's constants", _TAN_LE, 1.2, 1.1, 1.15),
        "equal": _at("equal shares", 0, 1, 2),
        "depth": _at("depth alone", 0),
        "width": _at("width alone", 1),
        "resolution": _at("resolution alone", 2),
        "dollar": _measured("Dollar et al. (fast scaling)", _DOLLAR, 1.0718, 1.3195, 1.0353),
        "lacs-gpu": _measured("LACS for GPU", _LACS, 1.300, 1.158, 1.071),
        "lacs-tpu": _measured("LACS for TPU", _LACS, 1.298, 1.138, 1.091),
        "cmt": PublishedRule(ScalingConstants(1.2, 1.3, 1.15), CostModel(1, 1.5, 2, 2.5), _CMT, "CMT"),
        "tinynet-a": _tinynet("A", 1.2, 1.0, 0.86),
        "tinynet-b": _tinynet("B", 1.1, 0.75, 0.84),
        "tinynet-c": _tinynet("C", 0.85, 0.54, 0.825),
        "tinynet-d": _tinynet("D", 0.695, 0.54, 0.68),
        "tinynet-e": _tinynet("E", 0.6, 0.51, 0.475),
    }
)
"""Every published rule by name; ``PUBLISHED_RULES["paper"].constants`` is 1.2, 1.1, 1.15."""

MEASURED_RULES = {name: rule.label for name, rule in PUBLISHED_RULES.items() if rule.measured}
"""Labels of the rules that a study measures, in the order in which it does and in which they are shown."""

EFFICIENTNET_TABLE = MappingProxyType(
    {
        "b0": PublishedMember(1.0, 1.0, 224, 0.2, 0.0),
        "b1": PublishedMember(1.0, 1.1, 240, 0.2, 0.5),
        "b2": PublishedMember(1.1, 1.2, 260, 0.3, 1.0),
        "b3": PublishedMember(1.2, 1.4, 300, 0.3, 2.0),
        "b4": PublishedMember(1.4, 1.8, 380, 0.4, 3.5),
        "b5": PublishedMember(1.6, 2.2, 456, 0.4, 5.0),
        "b6": PublishedMember(1.8, 2.6, 528, 0.5, 6.0),
        "b7": PublishedMember(2.0, 3.1, 600, 0.5, 7.0),
        "b8": PublishedMember(2.2, 3.6, 672, 0.5, None),
        "l2": PublishedMember(4.3, 5.3, 800, 0.5, None),
    }
)
"""Width, depth, resolution and dropout by name. Source: TensorFlow TPU ``efficientnet_builder.py``."""
