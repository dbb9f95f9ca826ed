"""Published scaling rules and the published EfficientNet table, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from phiscale.triangle import FLOPS, CostModel, ScalingConstants, Shares, constants_from_shares


@dataclass(frozen=True)
class PublishedRule:
    """Constants that somebody published, or that mark a place on the triangle."""

    constants: ScalingConstants
    """Multipliers for one unit of phi; for the TinyNet rows one unit is the published network itself."""
    cost_model: CostModel
    """The surface the rule was stated on."""
    source: str
    """Where the numbers stand."""


@dataclass(frozen=True)
class PublishedMember:
    """One row of the published EfficientNet table; the rows are not the formula at whole phi."""

    width: float
    depth: float
    resolution: int
    dropout: float
    phi: float | None
    """The compound coefficient the row is nearest to; None where the row was never stated as one."""


def _on_axes(depth: float, width: float, resolution: float) -> ScalingConstants:
    return constants_from_shares(Shares(depth, width, resolution))


_TAN_LE = "Tan & Le 2019, arXiv 1905.11946, section 3.3"
_DOLLAR = "Dollar, Singh & Girshick 2021, arXiv 2103.06877, fast scaling d1_w8_r1, for one doubling"
_LACS = "Li et al. 2021, arXiv 2102.05610, latency-aware compound scaling, implied for one doubling"
_CMT = "Guo et al. 2022, arXiv 2107.06263, section 3.3"
_TINYNET = "Han et al. 2020, arXiv 2010.14819, depth / width / resolution of B0"

PUBLISHED_RULES = MappingProxyType(
    {
        "paper": PublishedRule(ScalingConstants(1.2, 1.1, 1.15), FLOPS, _TAN_LE),
        "equal": PublishedRule(_on_axes(1 / 3, 1 / 3, 1 / 3), FLOPS, "equal shares of a doubling"),
        "depth": PublishedRule(ScalingConstants(2.0, 1.0, 1.0), FLOPS, "depth alone"),
        "width": PublishedRule(_on_axes(0, 1, 0), FLOPS, "width alone"),
        "resolution": PublishedRule(_on_axes(0, 0, 1), FLOPS, "resolution alone"),
        "dollar": PublishedRule(ScalingConstants(1.0718, 1.3195, 1.0353), FLOPS, _DOLLAR),
        "lacs-gpu": PublishedRule(ScalingConstants(1.300, 1.158, 1.071), FLOPS, _LACS),
        "lacs-tpu": PublishedRule(ScalingConstants(1.298, 1.138, 1.091), FLOPS, _LACS),
        "cmt": PublishedRule(ScalingConstants(1.2, 1.3, 1.15), CostModel(1, 1.5, 2, 2.5), _CMT),
        "tinynet-a": PublishedRule(ScalingConstants(1.2, 1.0, 0.86), FLOPS, _TINYNET),
        "tinynet-b": PublishedRule(ScalingConstants(1.1, 0.75, 0.84), FLOPS, _TINYNET),
        "tinynet-c": PublishedRule(ScalingConstants(0.85, 0.54, 0.825), FLOPS, _TINYNET),
        "tinynet-d": PublishedRule(ScalingConstants(0.695, 0.54, 0.68), FLOPS, _TINYNET),
        "tinynet-e": PublishedRule(ScalingConstants(0.6, 0.51, 0.475), FLOPS, _TINYNET),
    }
)
"""Every published rule by name; ``PUBLISHED_RULES["paper"].constants`` is 1.2, 1.1, 1.15."""

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
