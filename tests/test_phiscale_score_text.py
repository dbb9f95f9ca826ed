"""Scores as text: the digits in which they differ, no more and no fewer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale.score_text import decimals, score_text


@pytest.mark.parametrize(
    ("value", "spread", "sign", "shown"),
    [
        (0.73105, 0.02, "", "0.7310"),
        (0.73105, 0.002, "+", "+0.7310"),
        (0.73105, None, "", "0.7310"),
        (0.0, None, "", "0.0000"),
        (-12.5, 3.0, "", "-12.5000"),
        (0.731054321, 2e-6, "", "0.7310543"),
        (1.2346e-7, None, "", "1.235e-07"),
        (1.2346e-7, 3e-9, "", "1.235e-07"),
        (1.2345e-7, 3e-8, "+", "+1.23e-07"),
        (-3e-9, 3e-8, "", "-3.0e-09"),
        (0.0, 3e-8, "", "0.000000000"),
        (3e-8, 3e-8, "", "3.0e-08"),
        (0.00042, 0.02, "", "0.0004"),
        (0.5, math.inf, "", "0.5000"),
        (-0.00001, 0.02, "+", "+0.0000"),
        (math.inf, math.inf, "", "inf"),
        (1.0, 1e-30, "", "1.000000000000000"),
    ],
)
def test_scores_have_the_digits_in_which_they_differ(value: float, spread: float | None, sign: str, shown: str) -> None:
    assert score_text(value, spread, sign) == shown


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e3), st.sampled_from((1.0, -1.0)))
def test_scores_that_differ_by_their_spread_are_told_apart(value: float, spread: float, way: float) -> None:
    other = value + way * spread
    assert score_text(value, spread) != score_text(other, spread)
    assert float(score_text(value, spread)) == pytest.approx(value, abs=0.5 * spread + 1e-12)


def test_nothing_is_lost_where_no_spread_is_known() -> None:
    assert (decimals(None), decimals(0.0), decimals(None, least=5), decimals(1e-7)) == (4, 4, 5, 8)
