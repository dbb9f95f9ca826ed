"""The shared scaling function: how far phi grows depth, width and resolution.

Every network that phiscale scales gets its multipliers from ``multipliers`` below.
Source: Tan & Le 2019 (arXiv 1905.11946), section 3.3, equation 3.
"""

from __future__ import annotations

import math

from phiscale import checks
from phiscale.errors import ConstraintError
from phiscale.triangle import Multipliers, ScalingConstants


def multipliers(constants: ScalingConstants, phi: float) -> Multipliers:
    """``(alpha**phi, beta**phi, gamma**phi)``; phi may be fractional or negative.

    Raises ``ConstraintError`` if phi is not finite or a multiplier leaves the range of a float.
    """
    phi = checks.real("phi", phi, ConstraintError)
    try:
        values = [value**phi for value in constants.as_tuple()]
    except OverflowError:
        values = [math.inf]
    if not all(0 < value < math.inf for value in values):
        raise ConstraintError(f"expected a phi whose multipliers fit a float, got {phi!r}; use a phi nearer to 0")
    return Multipliers(*values)


def efficientnet_scaling(
    base_depth: float,
    base_width: float,
    base_resolution: float,
    phi: float,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
) -> tuple[int, int, int]:
    """Depth, width and resolution of a baseline after ``phi`` growth steps, truncated, never below 1.

    ``efficientnet_scaling(10, 64, 224, phi=1)`` is ``(12, 70, 257)``. The defaults are the paper's constants.
    Raises ``ConstraintError`` for a base or constant that is not a finite number above 0, or sizes above 2**31 - 1.
    """
    factors = multipliers(ScalingConstants(alpha, beta, gamma), phi)
    sizes = (
        checks.positive("base_depth", base_depth, ConstraintError) * factors.depth,
        checks.positive("base_width", base_width, ConstraintError) * factors.width,
        checks.positive("base_resolution", base_resolution, ConstraintError) * factors.resolution,
    )
    if max(sizes) > checks.LARGEST_SIZE:
        raise ConstraintError(
            f"expected sizes of at most {checks.LARGEST_SIZE} after scaling, got {max(sizes):.4g}; "
            "use a smaller base or phi"
        )
    depth, width, resolution = (max(1, int(size)) for size in sizes)
    return depth, width, resolution
