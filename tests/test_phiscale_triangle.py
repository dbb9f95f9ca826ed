"""The geometry: published constants, cost models, shares and constants, unit parameters and grids."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale import (
    ACTIVATIONS,
    FLOPS,
    PARAMETERS,
    PUBLISHED_RULES,
    ConstraintError,
    CostModel,
    Multipliers,
    ScalingConstants,
    SettingsError,
    Shares,
    check_on_surface,
    constants_from_shares,
    shares_from_constants,
    shares_of_direction,
)
from phiscale.triangle import (
    constants_at,
    lattice,
    lattice_from_step,
    paper_grid,
    parameter_names,
    parameters_at,
    shares_at,
)
from tests import strategies

UNIT = st.floats(0, 1)
RULES = json.loads((Path(__file__).parent / "golden" / "published_rules.json").read_text())["rules"]


@pytest.mark.parametrize("name", sorted(RULES))
def test_published_rules_are_the_published_ones(name: str) -> None:
    rule, row = PUBLISHED_RULES[name], RULES[name]
    assert rule.constants.as_tuple() == pytest.approx(row["constants"], abs=1e-15)
    assert (*rule.cost_model.exponents, rule.cost_model.target) == tuple(row["surface"])
    assert rule.source


def test_every_rule_says_where_it_is_from_and_how_it_is_called() -> None:
    assert set(RULES) <= set(PUBLISHED_RULES)
    assert all(rule.source and rule.label for rule in PUBLISHED_RULES.values())


def test_rules_on_another_surface() -> None:
    # A place on the triangle stays that place, a direction grows to the target: by hand.
    equal = PUBLISHED_RULES["equal"].on(PARAMETERS)
    assert equal is not None
    assert equal.as_tuple() == pytest.approx((2**0.5, 2**0.25, 1))
    assert PUBLISHED_RULES["resolution"].on(PARAMETERS) is None
    for rule in PUBLISHED_RULES.values():
        if min(rule.constants.as_tuple()) >= 1:
            grown = rule.on(FLOPS)
            assert grown is not None
            check_on_surface(grown)


def test_published_rules_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PUBLISHED_RULES["paper"] = PUBLISHED_RULES["equal"]  # type: ignore[index]


def test_the_papers_product_is_not_two() -> None:
    # 1.2 * 1.21 * 1.3225, by hand.
    assert PUBLISHED_RULES["paper"].constants.product() == pytest.approx(1.92027, abs=1e-9)


def test_the_rule_of_dollar_is_shares_one_eight_one() -> None:
    # pycls scaling_factors("d1_w8_r1", 2): d = 2**(1/10), w = 2**(8/20), r = 2**(1/20).
    shares = shares_from_constants(PUBLISHED_RULES["dollar"].constants, tolerance=1e-3)
    assert shares.as_tuple() == pytest.approx((0.1, 0.8, 0.1), abs=1e-3)


def test_cmt_stands_on_its_own_surface() -> None:
    # 1.2 * 1.3**1.5 * 1.15**2 = 1.2 * 1.482228 * 1.3225, by hand: near 2.5, as the paper says.
    rule = PUBLISHED_RULES["cmt"]
    assert rule.constants.product(rule.cost_model) == pytest.approx(2.35230, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "exponents", "metric"),
    [(FLOPS, (1, 2, 2), "macs"), (PARAMETERS, (1, 2, 0), "params"), (ACTIVATIONS, (1, 1, 2), "activations")],
)
def test_known_cost_models(model: CostModel, exponents: tuple[float, ...], metric: str) -> None:
    assert (model.exponents, model.target, model.metric) == (exponents, 2, metric)


def test_the_default_cost_model_counts_flops() -> None:
    assert CostModel() == FLOPS


def test_growth_follows_the_formula() -> None:
    model = CostModel(1, 1.5, 2, 2.5)
    assert model.growth(Multipliers(2, 4, 3)) == pytest.approx(2 * 8 * 9)
    assert model.growth(Multipliers(0.5, 1, 1)) == pytest.approx(0.5)
    assert model.growth(Multipliers(1, 1, 1)) == 1


@pytest.mark.parametrize(("phi", "growth"), [(0, 1), (1, 2), (3, 8), (-2, 0.25), (0.5, math.sqrt(2))])
def test_target_growth(phi: float, growth: float) -> None:
    assert FLOPS.target_growth(phi) == growth


def test_growth_beyond_any_count_is_an_error() -> None:
    for phi in (64, 2000, 1e6, -64, -2000, -1e6):
        with pytest.raises(ConstraintError, match=r"between 1e-19 and 9e\+18, got .*; use a phi nearer to 0"):
            FLOPS.target_growth(phi)
    with pytest.raises(ConstraintError, match="outside what a float holds"):
        CostModel(100, 100, 100).growth(Multipliers(1e200, 1e200, 1e200))


def test_describe_leaves_out_what_does_not_enter() -> None:
    assert FLOPS.describe() == "alpha * beta**2 * gamma**2 = 2"
    assert PARAMETERS.describe() == "alpha * beta**2 = 2"
    assert CostModel(1, 1.5, 2, 2.5).describe() == "alpha * beta**1.5 * gamma**2 = 2.5"


BAD_NUMBERS = [math.nan, math.inf, -math.inf, "2", None, True, 10**400]


@pytest.mark.parametrize("bad", [*BAD_NUMBERS, -1, 101])
@pytest.mark.parametrize("axis", ["depth", "width", "resolution"])
def test_bad_exponents(axis: str, bad: object) -> None:
    with pytest.raises(ConstraintError, match=axis):
        CostModel(**{axis: bad})  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [*BAD_NUMBERS, 1, 0.5, 0, -2, 1e7, 1e300])
def test_bad_targets(bad: object) -> None:
    with pytest.raises(ConstraintError, match="target"):
        CostModel(target=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["flops", "", None, ["macs"]])
def test_bad_metrics(bad: object) -> None:
    with pytest.raises(ConstraintError, match="macs, params, activations, formula"):
        CostModel(metric=bad)  # type: ignore[arg-type]


def test_a_cost_that_nothing_enters() -> None:
    with pytest.raises(ConstraintError, match="at least one exponent"):
        CostModel(0, 0, 0)


@pytest.mark.parametrize("bad", [*BAD_NUMBERS, 0, -1.2])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_bad_constants_and_multipliers(position: int, bad: object) -> None:
    values: list[object] = [1.2, 1.1, 1.15]
    values[position] = bad
    with pytest.raises(ConstraintError, match=("alpha", "beta", "gamma")[position]):
        ScalingConstants(*values)  # type: ignore[arg-type]
    with pytest.raises(ConstraintError, match=("depth", "width", "resolution")[position]):
        Multipliers(*values)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [*BAD_NUMBERS, -0.1])
def test_bad_shares(bad: object) -> None:
    with pytest.raises(ConstraintError, match="share of width"):
        Shares(0.5, bad, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [(0.5, 0.5, 0.5), (0, 0, 0), (1, 1, 1), (0.3, 0.3, 0.3)])
def test_shares_that_do_not_sum_to_one(values: tuple[float, float, float]) -> None:
    with pytest.raises(ConstraintError, match="sum to 1"):
        Shares(*values)


def test_whole_numbers_become_floats() -> None:
    assert all(type(value) is float for value in ScalingConstants(2, 1, 1).as_tuple())
    assert all(type(value) is float for value in Shares(1, 0, 0).as_tuple())


@given(strategies.shares(), strategies.cost_models())
def test_shares_to_constants_and_back(shares: Shares, model: CostModel) -> None:
    constants = constants_from_shares(shares, model)
    check_on_surface(constants, model)
    back = shares_from_constants(constants, model)
    assert back.as_tuple() == pytest.approx(shares.as_tuple(), abs=1e-12, rel=0)


@given(strategies.shares(), strategies.cost_models())
def test_constants_to_shares_and_back(shares: Shares, model: CostModel) -> None:
    constants = constants_from_shares(shares, model)
    back = constants_from_shares(shares_from_constants(constants, model), model)
    assert back.as_tuple() == pytest.approx(constants.as_tuple(), rel=1e-12, abs=0)


@given(strategies.shares(), st.floats(0.1, 5))
def test_shares_of_a_direction_do_not_depend_on_its_length(shares: Shares, length: float) -> None:
    constants = constants_from_shares(shares)
    point = Multipliers(*(value**length for value in constants.as_tuple()))
    assert shares_of_direction(point).as_tuple() == pytest.approx(shares.as_tuple(), abs=1e-9)


def test_the_corners_are_the_single_axes() -> None:
    corners = [Shares(1, 0, 0), Shares(0, 1, 0), Shares(0, 0, 1)]
    rules = [PUBLISHED_RULES[name].constants for name in ("depth", "width", "resolution")]
    assert [constants_from_shares(corner) for corner in corners] == rules


def test_a_shrinking_axis_has_no_share() -> None:
    assert shares_of_direction(Multipliers(2, 0.5, 1)).as_tuple() == (1, 0, 0)


def test_a_direction_that_does_not_grow() -> None:
    with pytest.raises(ConstraintError, match="above 1"):
        shares_of_direction(Multipliers(1, 0.5, 1))
    with pytest.raises(ConstraintError, match="above 1"):
        shares_of_direction(Multipliers(1, 1, 4), PARAMETERS)


def test_an_axis_outside_the_cost_has_no_share_and_does_not_grow() -> None:
    assert constants_from_shares(Shares(0.5, 0.5, 0), PARAMETERS).gamma == 1
    with pytest.raises(ConstraintError, match="resolution does not enter"):
        constants_from_shares(Shares(0.5, 0, 0.5), PARAMETERS)
    with pytest.raises(ConstraintError, match="gamma does not enter"):
        shares_from_constants(ScalingConstants(2, 1, 1.1), PARAMETERS)


def test_off_the_surface_the_error_names_the_formula_the_product_and_the_constants() -> None:
    with pytest.raises(ConstraintError) as caught:
        check_on_surface(ScalingConstants(1.1, 1.1, 1.1), tolerance=0.1)
    message = str(caught.value)
    assert "expected alpha * beta**2 * gamma**2 within 0.1 of 2, got 1.6105" in message
    assert "alpha=1.1, beta=1.1, gamma=1.1" in message


def test_the_tolerance_is_a_distance_of_the_product() -> None:
    paper = PUBLISHED_RULES["paper"].constants
    check_on_surface(paper, tolerance=0.08)
    with pytest.raises(ConstraintError):
        check_on_surface(paper, tolerance=0.079)


def test_below_one_is_off_the_surface() -> None:
    with pytest.raises(ConstraintError, match="at least 1"):
        check_on_surface(ScalingConstants(4, math.sqrt(0.5), 1))


@pytest.mark.parametrize("axis", ["depth", "width", "resolution"])
def test_an_exponent_that_would_take_numbers_of_hundreds_of_digits_is_refused(axis: str) -> None:
    for bad in (1e-300, 1e-4, 1e-3, 0.033):
        with pytest.raises(ConstraintError, match=rf"a {axis} exponent of 0, or of at least 0\.0334 .* give 0 for"):
            CostModel(**{axis: bad})
    corner = Shares(*(float(name == axis) for name in ("depth", "width", "resolution")))
    assert max(constants_from_shares(corner, CostModel(**{axis: 0.0335})).as_tuple()) < 1e9
    assert CostModel(**{axis: 0}).exponents.count(0) == 1


@pytest.mark.parametrize("step", [1e-5, 1e-9, 5e-324])
def test_the_size_of_a_grid_is_known_before_it_is_made(step: float) -> None:
    with pytest.raises(SettingsError, match="a size that can be searched"):
        paper_grid(step, 0.05, FLOPS)


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
        (lambda: paper_grid(0.05, 1.0, FLOPS), "tolerance of 0 or more and below 1"),
        (lambda: paper_grid(0.05, 1e300, FLOPS), "tolerance of 0 or more and below 1"),
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
