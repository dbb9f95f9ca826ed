"""Equal real cost: every point of the triangle within two per cent of the cost asked for, or one clear error."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phiscale import (
    ACTIVATIONS,
    EFFICIENTNET_B0,
    FLOPS,
    PARAMETERS,
    PROXY_BASE,
    PUBLISHED_RULES,
    ROUNDINGS,
    BudgetError,
    ConstraintError,
    CostModel,
    NetworkSpec,
    PhiscaleError,
    ScalingConstants,
    Shares,
    constants_from_shares,
    match_budget,
    multipliers,
    scale_network,
    shares_of_direction,
)
from tests import strategies

PAPER = PUBLISHED_RULES["paper"].constants


def lattice(steps: int) -> list[Shares]:
    """The triangle with its edges and corners, in steps of 1/steps."""
    whole = [(d, w, steps - d - w) for d in range(steps + 1) for w in range(steps + 1 - d)]
    return [Shares(*(part / steps for part in parts)) for parts in whole]


def unmatched(base: NetworkSpec, phi: float, steps: int) -> list[tuple[float, float, float]]:
    """The lattice points without a network; all others are checked to be within two per cent."""
    missing = []
    for shares in lattice(steps):
        try:
            network = match_budget(base, constants_from_shares(shares), phi=phi)
        except BudgetError:
            missing.append(shares.as_tuple())
        else:
            assert network.growth(FLOPS) == pytest.approx(2**phi, rel=0.02), shares
    return missing


@pytest.mark.parametrize("phi", [-1, 0, 1, 2, 3, 4, 5, 6, 7])
def test_b0_matches_everywhere(phi: int) -> None:
    assert unmatched(EFFICIENTNET_B0, phi, 10) == []


def test_b0_at_a_quarter_matches_but_for_depth_alone() -> None:
    # Depth alone cannot shrink seven stages of one block or more from 16 blocks to 4.
    assert unmatched(EFFICIENTNET_B0, -2, 10) == [(0.9, 0.1, 0.0), (1.0, 0.0, 0.0)]


@pytest.mark.parametrize("phi", [0, 0.5, 1, 2, 3, 4, 5, 6, 7])
def test_the_proxy_matches_everywhere_it_grows(phi: float) -> None:
    assert unmatched(PROXY_BASE, phi, 10) == []


@pytest.mark.parametrize("phi", [-2, -1])
def test_the_proxy_matches_where_width_helps_to_shrink(phi: int) -> None:
    # Five blocks of 12 to 24 channels leave few whole sizes below.
    missing = unmatched(PROXY_BASE, phi, 10)
    assert len(missing) < len(lattice(10)) / 3
    assert (0.0, 1.0, 0.0) not in missing


@pytest.mark.parametrize("base", [EFFICIENTNET_B0, PROXY_BASE], ids=lambda base: base.name)
@pytest.mark.parametrize("phi", [1, 2])
def test_a_finer_lattice(base: NetworkSpec, phi: int) -> None:
    assert unmatched(base, phi, 20) == []


@settings(max_examples=60)
@given(strategies.networks(), strategies.shares(), strategies.cost_models(), strategies.reals(-2, 4))
def test_any_network_matches_or_says_why(base: NetworkSpec, shares: Shares, cost_model: CostModel, phi: float) -> None:
    constants = constants_from_shares(shares, cost_model)
    assume(max(abs(math.log(value)) * abs(phi) for value in constants.as_tuple()) < 4)
    try:
        network = match_budget(base, constants, phi=phi, cost_model=cost_model)
    except (BudgetError, ConstraintError) as error:
        reason = str(error)
    else:
        reason = ""
        assert network.growth(cost_model) == pytest.approx(cost_model.target**phi, rel=0.02 + 1e-9)
    # A metric that does not follow the exponents may need sizes that no program can hold.
    assert reason == "" or "use a larger baseline" in reason or "after scaling" in reason


@pytest.mark.parametrize(
    "cost_model",
    [PARAMETERS, ACTIVATIONS, CostModel(1, 2, 2, 2, "formula"), CostModel(1, 1.5, 2, 2.5), CostModel(0.8, 1.3, 1.9, 3)],
    ids=lambda model: f"{model.metric}-{model.describe()}",
)
@pytest.mark.parametrize("phi", [-1, 0.5, 1, 3])
def test_other_costs_are_held_equal_too(cost_model: CostModel, phi: float) -> None:
    third = (0.5, 0.5, 0) if cost_model.resolution == 0 else (1 / 3, 1 / 3, 1 / 3)
    constants = constants_from_shares(Shares(*third), cost_model)
    network = match_budget(EFFICIENTNET_B0, constants, phi=phi, cost_model=cost_model)
    assert network.growth(cost_model) == pytest.approx(cost_model.target**phi, rel=0.02)


@pytest.mark.parametrize("phi", [-1, 0.5, 1, 2, 4])
@pytest.mark.parametrize("multiple", [8, 32])
def test_resolutions_are_multiples_and_the_cost_is_met(multiple: int, phi: float) -> None:
    base = dataclasses.replace(EFFICIENTNET_B0, resolution_multiple=multiple)
    for shares in lattice(5):
        network = match_budget(base, constants_from_shares(shares), phi=phi)
        assert network.resolution % multiple == 0
        assert network.growth(FLOPS) == pytest.approx(2**phi, rel=0.02)


def test_a_cap_between_two_multiples_is_the_one_below() -> None:
    base = dataclasses.replace(EFFICIENTNET_B0, resolution_multiple=32)
    assert match_budget(base, PAPER, phi=4, max_resolution=300).resolution == 288
    with pytest.raises(ConstraintError, match="max_resolution to be at least 32, got 31"):
        match_budget(base, PAPER, phi=4, max_resolution=31)


@pytest.mark.parametrize("name", sorted(PUBLISHED_RULES))
def test_every_published_rule_can_be_compared_at_equal_cost(name: str) -> None:
    network = match_budget(PROXY_BASE, PUBLISHED_RULES[name].constants, phi=2)
    assert network.growth(FLOPS) == pytest.approx(4, rel=0.02)


def test_constants_are_a_direction() -> None:
    # The paper's 1.92 and the same direction at a product of 2 end at the same network.
    longer = multipliers(PAPER, math.log(2) / math.log(PAPER.product()))
    on_surface = ScalingConstants(longer.depth, longer.width, longer.resolution)
    assert match_budget(EFFICIENTNET_B0, PAPER).spec == match_budget(EFFICIENTNET_B0, on_surface).spec


@pytest.mark.parametrize(
    ("base", "phi", "furthest"),
    [
        (EFFICIENTNET_B0, 1, 0.08),
        (EFFICIENTNET_B0, 2, 0.03),
        (EFFICIENTNET_B0, 5, 0.01),
        (PROXY_BASE, 1, 0.18),
        (PROXY_BASE, 2, 0.08),
        (PROXY_BASE, 5, 0.02),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_realised_shares_are_near_the_shares_asked_for(base: NetworkSpec, phi: int, furthest: float) -> None:
    # Whole layers and pixels matter less the larger the network; bounds measured with this package, a little above.
    for shares in lattice(5):
        realised = shares_of_direction(match_budget(base, constants_from_shares(shares), phi=phi).realised)
        assert realised.as_tuple() == pytest.approx(shares.as_tuple(), abs=furthest)


def test_asked_are_the_literal_multipliers() -> None:
    assert match_budget(PROXY_BASE, PAPER, phi=2).asked == multipliers(PAPER, 2)


@pytest.mark.parametrize("rounding", ["tf", "effnetv2", "timm-round", "pycls", "exact"])
def test_every_rounding_matches_a_large_network(rounding: str) -> None:
    network = match_budget(EFFICIENTNET_B0, PAPER, phi=3, rounding=ROUNDINGS[rounding])
    assert network.growth(FLOPS) == pytest.approx(8, rel=0.02)
    divisor = ROUNDINGS[rounding].divisor
    assert all(stage.channels % divisor == 0 for stage in network.spec.stages)
    assert network.resolution % ROUNDINGS[rounding].pixel_step == 0


def test_phi_zero_is_the_baseline() -> None:
    assert match_budget(PROXY_BASE, PAPER, phi=0).spec == PROXY_BASE


def test_a_tighter_tolerance_is_kept() -> None:
    network = match_budget(EFFICIENTNET_B0, PAPER, phi=2, tolerance=1e-3)
    assert network.growth(FLOPS) == pytest.approx(4, rel=1e-3)
    with pytest.raises(BudgetError, match="within 1e-09 of 4 times"):
        match_budget(PROXY_BASE, PAPER, phi=2, tolerance=1e-9)


@pytest.mark.parametrize("phi", [-1, 0, 1, 3])
@pytest.mark.parametrize("cap", [96, 160, 185, 224])
def test_under_a_cap_depth_and_width_take_up_the_rest(cap: int, phi: int) -> None:
    network = match_budget(EFFICIENTNET_B0, PAPER, phi=phi, max_resolution=cap)
    assert network.resolution <= cap
    assert network.growth(FLOPS) == pytest.approx(2**phi, rel=0.02)
    if phi > 0:
        assert network.resolution == cap


@pytest.mark.parametrize("rounding", ["tf", "pycls", "exact"])
@pytest.mark.parametrize("cap", [225, 230, 250])
def test_where_the_cap_is_reached_the_resolution_stays_there(cap: int, rounding: str) -> None:
    network = match_budget(EFFICIENTNET_B0, PAPER, phi=3, rounding=ROUNDINGS[rounding], max_resolution=cap)
    assert network.resolution == cap
    assert network.growth(FLOPS) == pytest.approx(8, rel=0.02)


def test_a_cap_just_below_the_ray_is_reached() -> None:
    # Without a cap the ray ends at 241 pixels.
    for cap in range(232, 241):
        assert match_budget(EFFICIENTNET_B0, PAPER, phi=1, max_resolution=cap).resolution == cap


def test_a_small_share_of_depth_carries_on_alone_under_a_cap() -> None:
    constants = constants_from_shares(Shares(0.05, 0, 0.95))
    network = match_budget(EFFICIENTNET_B0, constants, phi=3, max_resolution=224)
    assert network.growth(FLOPS) == pytest.approx(8, rel=0.02)
    assert (network.resolution, network.realised.depth) == (224, pytest.approx(8, rel=0.2))


def test_a_cap_that_is_not_reached_changes_nothing() -> None:
    assert match_budget(PROXY_BASE, PAPER, phi=1, max_resolution=999) == match_budget(PROXY_BASE, PAPER, phi=1)


def test_resolution_alone_cannot_grow_under_a_cap() -> None:
    with pytest.raises(BudgetError, match="4 times the cost of efficientnet-b0"):
        match_budget(EFFICIENTNET_B0, ScalingConstants(1, 1, math.sqrt(2)), phi=2, max_resolution=224)


def test_a_direction_that_the_counted_cost_does_not_feel() -> None:
    with pytest.raises(BudgetError, match=r"cost 1\.\d+ times"):
        match_budget(
            PROXY_BASE, ScalingConstants(1, 1, 2), phi=1, cost_model=CostModel(1, 1, 1, 2, "params"), tolerance=1e-6
        )


@pytest.mark.parametrize("phi", [-30, -62])
def test_a_phi_below_any_network(phi: int) -> None:
    with pytest.raises(BudgetError, match="use a larger baseline"):
        match_budget(EFFICIENTNET_B0, PUBLISHED_RULES["cmt"].constants, phi=phi)


def test_the_error_names_the_goal_the_direction_and_the_nearest() -> None:
    with pytest.raises(BudgetError) as caught:
        match_budget(EFFICIENTNET_B0, ScalingConstants(2, 1, 1), phi=-2)
    message = str(caught.value)
    assert "within 0.02 of 0.25 times the cost of efficientnet-b0" in message
    assert "alpha=2, beta=1, gamma=1" in message
    assert "nearest whole layers, channels and pixels cost 0.3" in message


@pytest.mark.parametrize(
    "constants", [ScalingConstants(1, 1, 1), ScalingConstants(4, 0.5, 1)], ids=["nothing", "cancels"]
)
def test_constants_that_do_not_change_the_cost(constants: ScalingConstants) -> None:
    with pytest.raises(ConstraintError, match="constants that change"):
        match_budget(PROXY_BASE, constants, phi=1)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("phi", math.nan),
        ("phi", "1"),
        ("phi", 1e9),
        ("tolerance", 0),
        ("tolerance", math.inf),
        ("max_resolution", 0),
        ("max_resolution", 22.5),
    ],
)
def test_bad_settings(name: str, bad: object) -> None:
    with pytest.raises(ConstraintError, match=name):
        match_budget(PROXY_BASE, PAPER, **{name: bad})  # type: ignore[arg-type]


@settings(max_examples=50)
@given(strategies.reals(-1e4, 1e4), st.sampled_from(sorted(PUBLISHED_RULES)), st.none() | st.integers(1, 64))
def test_any_phi_ends_in_a_network_or_one_clear_error(phi: float, rule: str, cap: int | None) -> None:
    try:
        match_budget(PROXY_BASE, PUBLISHED_RULES[rule].constants, phi=phi, max_resolution=cap)
    except PhiscaleError as error:
        clear = str(error).startswith("expected ")
    else:
        clear = True
    assert clear


def test_realised_multipliers_are_relative_to_the_baseline() -> None:
    # tf at depth 1.2, width 1.1: 23 of 16 blocks; 16 24 48 88 120 208 352 of 16 24 40 80 112 192 320 channels.
    network = scale_network(EFFICIENTNET_B0, multipliers(PAPER, 1), ROUNDINGS["tf"])
    assert network.realised.depth == 23 / 16
    assert network.realised.width == (16 + 24 + 48 + 88 + 120 + 208 + 352) / (16 + 24 + 40 + 80 + 112 + 192 + 320)
    assert network.realised.resolution == 257 / 224
    assert network.growth(CostModel(metric="formula")) == pytest.approx(
        23 / 16 * (network.realised.width * 257 / 224) ** 2
    )


def test_scale_network_takes_another_resolution() -> None:
    network = scale_network(EFFICIENTNET_B0, multipliers(PAPER, 1), ROUNDINGS["tf"], resolution=240)
    assert (network.resolution, network.asked.resolution) == (240, 1.15)
