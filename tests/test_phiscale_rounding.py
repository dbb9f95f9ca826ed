"""Rounding presets against the formulas of the code they are named after, and what every rounding must keep."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from phiscale import ROUNDINGS, ConstraintError, Rounding, SettingsError
from phiscale.rounding import rounding_by_name
from tests import strategies

B0_REPEATS = (1, 2, 2, 3, 3, 4, 1)

# Worked by hand from the sources:
#   tf (efficientnet_builder.py) and timm (make_divisible): max(8, int(x + 4) // 8 * 8), plus 8 where below 0.9 x;
#   effnetv2 (effnetv2_model.py): the same without the last step;
#   pycls (models/scaler.py): max(1, round(x / 8)) * 8, where round takes the even one of two.
CHANNELS = [
    # 16 * 1.12 = 17.92 -> 16, which is below 0.9 * 17.92 = 16.128 -> 24.
    (16, 1.12, {"tf": 24, "timm": 24, "timm-round": 24, "effnetv2": 16, "pycls": 16, "exact": 18}),
    # 16 * 1.1 = 17.6 -> 16, which is above 0.9 * 17.6 = 15.84.
    (16, 1.1, {"tf": 16, "timm": 16, "timm-round": 16, "effnetv2": 16, "pycls": 16, "exact": 18}),
    # 16 * 1.25 = 20 -> int(24) -> 24; round(2.5) = 2 -> 16.
    (16, 1.25, {"tf": 24, "timm": 24, "timm-round": 24, "effnetv2": 24, "pycls": 16, "exact": 20}),
    # 80 * 1.25 = 100 -> int(104) -> 104; round(12.5) = 12 -> 96.
    (80, 1.25, {"tf": 104, "timm": 104, "timm-round": 104, "effnetv2": 104, "pycls": 96, "exact": 100}),
    # 32 * 1.4 = 44.8 -> int(48.8) -> 48; round(5.6) = 6 -> 48.
    (32, 1.4, {"tf": 48, "timm": 48, "timm-round": 48, "effnetv2": 48, "pycls": 48, "exact": 45}),
    # 24 * 0.5 = 12 -> int(16) -> 16; round(1.5) = 2 -> 16.
    (24, 0.5, {"tf": 16, "timm": 16, "timm-round": 16, "effnetv2": 16, "pycls": 16, "exact": 12}),
    # 4 * 0.5 = 2 -> at least 8.
    (4, 0.5, {"tf": 8, "timm": 8, "timm-round": 8, "effnetv2": 8, "pycls": 8, "exact": 2}),
    (1, 0.1, {"tf": 8, "timm": 8, "timm-round": 8, "effnetv2": 8, "pycls": 8, "exact": 1}),
    # A multiplier of 1 leaves a baseline as it is.
    (12, 1, {"tf": 12, "timm": 12, "timm-round": 12, "effnetv2": 12, "pycls": 12, "exact": 12}),
]


@pytest.mark.parametrize(("base", "scale", "expected"), CHANNELS)
def test_channels(base: int, scale: float, expected: dict[str, int]) -> None:
    assert {name: rounding.channels(base, scale) for name, rounding in ROUNDINGS.items()} == expected


# Repeats: tf, timm and effnetv2 ceil(r * scale); timm-round and pycls max(1, round(r * scale)), round half to even;
# exact: the sum rounded (half up), the whole parts kept, the rest to the largest remainders.
UP = ("tf", "effnetv2", "timm")
NEAREST = ("timm-round", "pycls")
REPEATS = [
    # 1.2, 2.4, 2.4, 3.6, 3.6, 4.8, 1.2; exact: 19.2 -> 19 = 16 whole + stages six (.8), four and five (.6).
    (B0_REPEATS, 1.2, (2, 3, 3, 4, 4, 5, 2), (1, 2, 2, 4, 4, 5, 1), (1, 2, 2, 4, 4, 5, 1)),
    # 2.5 and 7.5: round gives 2 and 8; exact: 10 = 2 + 7 and one more to the earlier of two equal remainders.
    ((1, 3), 2.5, (3, 8), (2, 8), (3, 7)),
    # 0.5 and 1.5: round gives 0, kept at 1, and 2; exact: 2 stages need 2 blocks.
    ((1, 3), 0.5, (1, 2), (1, 2), (1, 1)),
    # 1.5, 3, 3: exact: 7.5 -> 8 = 7 whole + the first.
    ((1, 2, 2), 1.5, (2, 3, 3), (2, 3, 3), (2, 3, 3)),
    # 0.6, 5.4: exact: 6, and the 1 that the first stage keeps is taken from the second.
    ((1, 9), 0.6, (1, 6), (1, 5), (1, 5)),
    ((1, 2, 2), 1, (1, 2, 2), (1, 2, 2), (1, 2, 2)),
]


@pytest.mark.parametrize(("base", "scale", "up", "nearest", "exact"), REPEATS)
def test_repeats(base: tuple[int, ...], scale: float, up: object, nearest: object, exact: object) -> None:
    expected = {**dict.fromkeys(UP, up), **dict.fromkeys(NEAREST, nearest), "exact": exact}
    assert {name: rounding.stage_repeats(base, scale) for name, rounding in ROUNDINGS.items()} == expected


# Resolution: truncated as the shared function does and as the TinyNets of timm are (int(224 * r));
# pycls round(r * scale / 4) * 4; exact the nearest pixel.
PIXELS = [
    # 257.6; 64.4 steps of 4.
    (224, 1.15, {"pycls": 256, "exact": 258}, 257),
    # 192.64; 48.16 steps.
    (224, 0.86, {"pycls": 192, "exact": 193}, 192),
    # 210; 52.5 steps, the even 52.
    (200, 1.05, {"pycls": 208, "exact": 210}, 210),
    (224, 1, {"pycls": 224, "exact": 224}, 224),
    (2, 0.1, {"pycls": 4, "exact": 1}, 1),
]


@pytest.mark.parametrize(("base", "scale", "others", "truncated"), PIXELS)
def test_pixels(base: int, scale: float, others: dict[str, int], truncated: int) -> None:
    expected = {**dict.fromkeys((*UP, "timm-round"), truncated), **others}
    assert {name: rounding.resolution(base, scale) for name, rounding in ROUNDINGS.items()} == expected


def test_ceil_plateau() -> None:
    # Every depth multiplier in (1, 1.25] makes B0 the same 23 blocks: alpha cannot be told apart there.
    depths = [1 + step / 400 for step in range(1, 101)]
    assert depths[-1] == 1.25
    assert {ROUNDINGS["tf"].stage_repeats(B0_REPEATS, depth) for depth in depths} == {(2, 3, 3, 4, 4, 5, 2)}
    assert sum(ROUNDINGS["tf"].stage_repeats(B0_REPEATS, 1.26)) > 23


def test_exact_depth_has_no_plateau() -> None:
    totals = [sum(ROUNDINGS["exact"].stage_repeats(B0_REPEATS, 1 + step / 16)) for step in range(17)]
    assert totals == list(range(16, 33))


SCALES = strategies.reals(0.01, 50)
PRESETS = st.sampled_from(sorted(ROUNDINGS))


@given(PRESETS, st.integers(1, 2000), SCALES)
def test_channels_are_multiples_near_the_ideal(name: str, base: int, scale: float) -> None:
    rounding = ROUNDINGS[name]
    channels, ideal = rounding.channels(base, scale), base * scale
    assert channels % rounding.divisor == 0 or scale == 1
    assert channels >= max(1, math.floor(rounding.keep * ideal))
    if ideal >= rounding.divisor:
        assert abs(channels - ideal) <= rounding.divisor * (1.5 if rounding.keep else 0.5)


@given(PRESETS, st.integers(1, 2000), st.tuples(SCALES, SCALES))
def test_larger_multipliers_never_give_less(name: str, base: int, scales: tuple[float, float]) -> None:
    rounding, (low, high) = ROUNDINGS[name], sorted(scales)
    assume(1 not in scales)
    assert rounding.resolution(base, low) <= rounding.resolution(base, high)
    if not rounding.keep:
        assert rounding.channels(base, low) <= rounding.channels(base, high)
    assert sum(rounding.stage_repeats((1, 3, base), low)) <= sum(rounding.stage_repeats((1, 3, base), high))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8).map(tuple), SCALES)
def test_largest_remainder(base: tuple[int, ...], scale: float) -> None:
    repeats = ROUNDINGS["exact"].stage_repeats(base, scale)
    ideal = sum(base) * scale
    assert min(repeats) >= 1
    assert sum(repeats) == max(len(base), math.floor(ideal + 0.5))
    if min(base) * scale >= 1:
        assert all(abs(count - part * scale) < 1 for count, part in zip(repeats, base, strict=True))


@given(st.sampled_from(UP + NEAREST), st.lists(st.integers(1, 30), min_size=1, max_size=8).map(tuple), SCALES)
def test_repeats_stay_within_one_of_the_ideal_or_at_one(name: str, base: tuple[int, ...], scale: float) -> None:
    for count, part in zip(ROUNDINGS[name].stage_repeats(base, scale), base, strict=True):
        assert count == 1 or abs(count - part * scale) < 1


@pytest.mark.parametrize("name", sorted(ROUNDINGS))
@pytest.mark.parametrize("scale", [1e12, 1e200, 1e300, math.inf])
def test_huge_multipliers_end_at_once(name: str, scale: float) -> None:
    rounding = ROUNDINGS[name]
    with pytest.raises(ConstraintError, match="smaller phi"):
        rounding.channels(32, scale)
    with pytest.raises(ConstraintError, match="smaller phi"):
        rounding.resolution(224, scale)
    with pytest.raises(ConstraintError, match="smaller phi"):
        rounding.stage_repeats(B0_REPEATS, scale)


@pytest.mark.parametrize(
    "bad",
    [
        {"repeats": "floor"},
        {"divisor": 0},
        {"divisor": 8.0},
        {"keep": 1.5},
        {"keep": math.nan},
        {"pixels": "ceil"},
        {"pixel_step": -4},
        {"ties": "down"},
    ],
)
def test_bad_roundings(bad: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(bad))):
        Rounding(**{"repeats": "ceil", "divisor": 8, **bad})  # type: ignore[arg-type]


def test_presets_by_name() -> None:
    assert rounding_by_name("pycls") is ROUNDINGS["pycls"]
    with pytest.raises(SettingsError, match="tf, effnetv2, timm, timm-round, pycls, exact, got 'tF'"):
        rounding_by_name("tF")
