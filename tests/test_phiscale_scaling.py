"""The shared scaling function, literally as published, and its behaviour on any number at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale import ConstraintError, ScalingConstants, efficientnet_scaling, multipliers
from tests import strategies

PAPER = ScalingConstants(1.2, 1.1, 1.15)


@pytest.mark.parametrize(("phi", "sizes"), [(0, (10, 64, 224)), (1, (12, 70, 257)), (2, (14, 77, 296))])
def test_the_published_example(phi: int, sizes: tuple[int, int, int]) -> None:
    # 10 * 1.2, 64 * 1.1, 224 * 1.15 = 12, 70.4, 257.6; the squares give 14.4, 77.44, 296.24; all interrupted.
    result = efficientnet_scaling(10, 64, 224, phi)
    assert result == sizes
    assert all(type(value) is int for value in result)


def test_factors_at_phi_three() -> None:
    # 1.2**3, 1.1**3, 1.15**3 by hand.
    factors = multipliers(PAPER, 3)
    assert (factors.depth, factors.width, factors.resolution) == pytest.approx((1.728, 1.331, 1.520875), rel=1e-14)


def test_other_constants_take_the_place_of_the_papers() -> None:
    assert efficientnet_scaling(10, 64, 224, 1, alpha=2, beta=1, gamma=1) == (20, 64, 224)
    assert efficientnet_scaling(10, 64, 224, 1, alpha=1, beta=2, gamma=1) == (10, 128, 224)
    assert efficientnet_scaling(10, 64, 224, 1, alpha=1, beta=1, gamma=2) == (10, 64, 448)


def test_negative_and_fractional_phi() -> None:
    # 10 / 1.2 = 8.33, 64 / 1.1 = 58.2, 224 / 1.15 = 194.8; square roots: 10.95, 67.1, 240.2.
    assert efficientnet_scaling(10, 64, 224, -1) == (8, 58, 194)
    assert efficientnet_scaling(10, 64, 224, 0.5) == (10, 67, 240)


def test_nothing_shrinks_below_one() -> None:
    assert efficientnet_scaling(1, 1, 1, -5) == (1, 1, 1)
    assert efficientnet_scaling(0.2, 64, 224, 0) == (1, 64, 224)


@given(strategies.constants(), st.floats(-8, 8), st.floats(-8, 8))
def test_growth_steps_add_up(constants: ScalingConstants, first: float, second: float) -> None:
    a, b, both = multipliers(constants, first), multipliers(constants, second), multipliers(constants, first + second)
    assert a.depth * b.depth == pytest.approx(both.depth, rel=1e-9)
    assert a.width * b.width == pytest.approx(both.width, rel=1e-9)
    assert a.resolution * b.resolution == pytest.approx(both.resolution, rel=1e-9)


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 10_000), st.floats(-4, 8), strategies.constants())
def test_sizes_are_the_truncated_products(
    depth: int, width: int, resolution: int, phi: float, constants: ScalingConstants
) -> None:
    factors = multipliers(constants, phi)
    ideal = (depth * factors.depth, width * factors.width, resolution * factors.resolution)
    sizes = efficientnet_scaling(depth, width, resolution, phi, *constants.as_tuple())
    assert sizes == tuple(max(1, math.floor(size)) for size in ideal)


ANYTHING = st.floats() | st.integers() | st.sampled_from([10**400, -(10**400), 1e308, 5e-324, True, None, "1", [1]])


@given(st.tuples(*[ANYTHING] * 7))
def test_anything_at_all_gives_sizes_or_one_clear_error(values: tuple[object, ...]) -> None:
    try:
        sizes = efficientnet_scaling(*values)  # type: ignore[arg-type]
    except ConstraintError as error:
        fine = str(error).startswith("expected ")
    else:
        fine = all(type(size) is int and size >= 1 for size in sizes)
    assert fine


@pytest.mark.parametrize("phi", [1e9, -1e9, math.nan, math.inf, -math.inf, "1", None, True])
def test_bad_phi(phi: object) -> None:
    with pytest.raises(ConstraintError, match="phi"):
        multipliers(PAPER, phi)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["base_depth", "base_width", "base_resolution"])
@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_bad_bases(name: str, bad: float) -> None:
    sizes = {"base_depth": 10, "base_width": 64, "base_resolution": 224, name: bad}
    with pytest.raises(ConstraintError, match=name):
        efficientnet_scaling(**sizes, phi=1)  # type: ignore[arg-type]


def test_a_base_that_outgrows_a_float() -> None:
    with pytest.raises(ConstraintError, match="smaller base or phi"):
        efficientnet_scaling(1e308, 64, 224, 10)
