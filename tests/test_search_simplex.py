"""The triangle as a search space."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale import ACTIVATIONS, FLOPS, PARAMETERS, CostModel, SettingsError, Shares
from search.simplex import (
    constants_at,
    lattice,
    lattice_from_step,
    paper_grid,
    parameter_names,
    parameters_at,
    shares_at,
)

UNIT = st.floats(0, 1)


@given(u=UNIT, v=UNIT)
def test_every_unit_point_is_feasible(u: float, v: float) -> None:
    for model in (FLOPS, ACTIVATIONS, CostModel(1, 1.5, 2, 2.5)):
        constants = constants_at({"u": u, "v": v}, model)
        assert min(constants.as_tuple()) >= 1
        assert constants.product(model) == pytest.approx(model.target, abs=1e-9)


@given(u=UNIT)
def test_a_cost_that_ignores_resolution_is_searched_on_a_line(u: float) -> None:
    assert parameter_names(PARAMETERS) == ("u",)
    constants = constants_at({"u": u}, PARAMETERS)
    assert constants.gamma == 1
    assert constants.product(PARAMETERS) == pytest.approx(2, abs=1e-9)


@given(a=UNIT, b=UNIT)
def test_parameters_and_shares_invert_each_other(a: float, b: float) -> None:
    depth, width = min(a, b), abs(a - b)
    shares = Shares(depth, width, max(0.0, 1 - depth - width))
    there_and_back = shares_at(parameters_at(shares, FLOPS), FLOPS)
    assert there_and_back.as_tuple() == pytest.approx(shares.as_tuple(), abs=1e-7)


@pytest.mark.parametrize("corner", [Shares(1, 0, 0), Shares(0, 1, 0), Shares(0, 0, 1), Shares(0.5, 0.5, 0)])
def test_corners_and_edges_are_reached_exactly(corner: Shares) -> None:
    assert shares_at(parameters_at(corner, FLOPS), FLOPS).as_tuple() == pytest.approx(corner.as_tuple(), abs=1e-12)


def test_uniform_parameters_are_uniform_on_the_triangle() -> None:
    steps = 200
    inside = [
        shares_at({"u": (i + 0.5) / steps, "v": (j + 0.5) / steps}, FLOPS) for i in range(steps) for j in range(steps)
    ]
    for axis in ("depth", "width", "resolution"):
        values = [getattr(shares, axis) for shares in inside]
        assert sum(values) / len(values) == pytest.approx(1 / 3, abs=0.01)
        assert sum(value > 0.5 for value in values) / len(values) == pytest.approx(0.25, abs=0.01)


def test_lattice_sizes() -> None:
    assert len(lattice(6, FLOPS)) == 28
    assert len(lattice_from_step(0.05, FLOPS)) == 231
    assert len(lattice_from_step(0.05, PARAMETERS)) == 21
    assert len({shares.as_tuple() for shares in lattice(30, FLOPS)}) == 496


def test_paper_grid_keeps_the_tolerance_and_holds_the_paper_s_neighbours() -> None:
    points = paper_grid(0.05, 0.1, FLOPS)
    assert all(abs(point.product() - 2) <= 0.1 + 1e-9 for point in points)
    assert (1.2, 1.1, 1.15) in {point.as_tuple() for point in points}
    assert len(points) == sum(
        abs(a / 20 * (b / 20) ** 2 * (c / 20) ** 2 - 2) <= 0.1 + 1e-12
        for a in range(20, 43)
        for b in range(20, 30)
        for c in range(20, 30)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paper_grid(0.0, 0.1, FLOPS), "grid step in"),
        (lambda: paper_grid(math.nan, 0.1, FLOPS), "grid step in"),
        (lambda: paper_grid(0.05, -1, FLOPS), "tolerance of 0 or more"),
        (lambda: paper_grid(0.7, 0.001, FLOPS), "no grid point"),
        (lambda: paper_grid(1e-4, 0.1, FLOPS), "larger one"),
        (lambda: lattice_from_step(0.3, FLOPS), "divides 1"),
        (lambda: lattice(0, FLOPS), "1 to 440"),
        (lambda: lattice(10**6, FLOPS), "1 to 440"),
        (lambda: parameter_names(CostModel(1, 0, 0)), "two axes"),
    ],
)
def test_impossible_grids_say_why(call, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        call()
