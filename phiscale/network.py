"""One network after scaling: its spec, the multipliers asked for and realised, and its counted cost."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

from phiscale import checks
from phiscale.cost import Cost, count_cost
from phiscale.errors import ConstraintError
from phiscale.rounding import Rounding
from phiscale.spec import NetworkSpec, StageSpec
from phiscale.triangle import CostModel, Multipliers


@dataclass(frozen=True)
class ScaledNetwork:
    """A baseline after scaling and rounding."""

    spec: NetworkSpec
    """The network itself, at its resolution."""
    base: NetworkSpec
    """The baseline it grew from."""
    asked: Multipliers
    """Multipliers before rounding and before the cost is matched."""

    @cached_property
    def cost(self) -> Cost:
        """Counted cost of the network."""
        return count_cost(self.spec)

    @cached_property
    def realised(self) -> Multipliers:
        """Multipliers after rounding: blocks, stage channels and pixels relative to the baseline's."""
        channels = sum(stage.channels for stage in self.spec.stages)
        return Multipliers(
            self.spec.total_repeats / self.base.total_repeats,
            channels / sum(stage.channels for stage in self.base.stages),
            self.spec.resolution / self.base.resolution,
        )

    @property
    def resolution(self) -> int:
        """Side of the input, in pixels."""
        return self.spec.resolution

    @property
    def fingerprint(self) -> str:
        """Equal for equal architectures, see ``NetworkSpec.fingerprint``."""
        return self.spec.fingerprint

    def growth(self, cost_model: CostModel) -> float:
        """Cost as a multiple of the baseline's, by the metric of the cost model."""
        if cost_model.metric == "formula":
            return cost_model.growth(self.realised)
        return self.cost.over(count_cost(self.base), cost_model.metric)


def resize(
    base: NetworkSpec, repeats: tuple[int, ...], width: float, resolution: int, rounding: Rounding
) -> NetworkSpec:
    """The baseline with other repeats, a width multiplier (stem, stages and head) and another resolution.

    Where the output channels of a kind of block are a whole multiple of the hidden ones, the hidden ones are rounded.
    """

    def widened(stage: StageSpec) -> int:
        return rounding.channels(stage.channels, width, unit=stage.channel_unit)

    stages = tuple(
        dataclasses.replace(stage, repeats=count, channels=widened(stage))
        for stage, count in zip(base.stages, repeats, strict=True)
    )
    return dataclasses.replace(
        base,
        stages=stages,
        stem_channels=rounding.channels(base.stem_channels, width),
        head_channels=base.head_channels and rounding.channels(base.head_channels, width),
        resolution=resolution,
    )


def whole_pixels(base: NetworkSpec, scale: float, rounding: Rounding) -> int:
    """The rounded resolution of ``base`` times ``scale``, at least the smallest that the network can take.

    A baseline with a ``resolution_multiple`` gets the nearest multiple, in any rounding.
    """
    step = base.resolution_multiple
    if step > 1:
        rounding = dataclasses.replace(rounding, pixels="nearest", pixel_step=step)
    return max(-(-base.smallest_resolution // step) * step, rounding.resolution(base.resolution, scale))


def largest_pixels(base: NetworkSpec, cap: int | None) -> float:
    """The largest resolution up to ``cap`` (pixels) that ``base`` can grow to; infinity without a cap.

    Raises ``ConstraintError`` for a cap that is none, or below the ``resolution_multiple``.
    """
    if cap is None:
        return math.inf
    step = base.resolution_multiple
    return checks.whole("max_resolution", cap, ConstraintError, low=step) // step * step


def scale_network(
    base: NetworkSpec, asked: Multipliers, rounding: Rounding, *, resolution: int | None = None
) -> ScaledNetwork:
    """The baseline times the multipliers, rounded; ``resolution`` overrides the rounded pixels.

    Raises ``SpecError`` for a resolution below the smallest of the baseline.
    """
    repeats = rounding.stage_repeats(tuple(stage.repeats for stage in base.stages), asked.depth)
    pixels = whole_pixels(base, asked.resolution, rounding) if resolution is None else resolution
    return ScaledNetwork(resize(base, repeats, asked.width, pixels, rounding), base, asked)
