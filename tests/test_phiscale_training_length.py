"""What a record says about training length: each sentence, when it is said, and that no details can break it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale import FLOPS, Horizon, Length, Observed, SearchRecord, Shares, constants_from_shares
from phiscale.training_length import (
    drift_line,
    evidence_lines,
    heading,
    hindcast_line,
    is_measured,
    length_lines,
    longest_rung,
    noise_line,
    rungs_of,
)
from tests import strategies


def shift(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def rung(images: int, noise: float, optimum: tuple[float, float, float] = (0.2, 0.6, 0.2)) -> dict[str, Any]:
    shares = dict(zip(("depth", "width", "resolution"), optimum, strict=True))
    return {"images": images, "optimum": shares, "noise": noise, "range": 0.1, "noise_part": noise / 0.1}


DETAILS: dict[str, Any] = {
    "rungs": [rung(20_000, 0.045), rung(40_000, 0.03), rung(160_000, 0.012, (0.2, 0.36, 0.44))],
    "drift": {
        "depth": shift(0.001, -0.01, 0.012),
        "width": shift(-0.08, -0.1, -0.06),
        "resolution": shift(0.08, 0.065, 0.1),
    },
    "hindcast": {
        "rungs": [20_000, 40_000], "longest": 160_000, "bias": -0.003, "coverage": 0.91, "rank": 0.88, "regret": 0.004,
        "least_rank": 0.5, "repeats": 0.1, "networks": 20, "holds": True,
    },
}  # fmt: skip
RECORD = SearchRecord(
    study="demo",
    created="2025-01-02T03:04:05Z",
    constants=constants_from_shares(Shares(0.2, 0.36, 0.44)),
    cost_model=FLOPS,
    phi=1.0,
    network=None,
    score_name="accuracy",
    direction="maximize",
    expected=None,
    noise=None,
    length=Length(160_000, 50_000, "cifar-10"),
    best_observed=Observed("trial 7", constants_from_shares(Shares(0.2, 0.4, 0.4)), 0.83, 2),
    details=DETAILS,
)


def with_details(**details: Any) -> SearchRecord:
    return dataclasses.replace(RECORD, details={**DETAILS, **details})


def test_the_length_of_the_constants() -> None:
    assert length_lines(RECORD) == ["for a training of 160,000 images seen (3.2 epochs of cifar-10)"]
    assert heading(RECORD) == "constants for a training of 160,000 images seen (3.2 epochs of cifar-10)"


def test_a_horizon_that_is_not_determined_says_why() -> None:
    asked = dataclasses.replace(RECORD, horizon=Horizon(1_000_000, determined=False, reason="too far"))
    assert length_lines(asked)[1:] == ["not determined at 1,000,000 images seen (20 epochs of cifar-10): too far"]
    determined = dataclasses.replace(RECORD, horizon=Horizon(160_000, determined=True))
    assert length_lines(determined) == length_lines(RECORD)


def test_an_objective_without_lengths() -> None:
    record = dataclasses.replace(RECORD, length=None)
    assert length_lines(record) == ["training length: not stated by the objective"]
    assert evidence_lines(record) == []
    assert heading(record) == "constants for a training of unstated length"
    assert is_measured(record)


def test_drift_in_points_of_a_share() -> None:
    assert drift_line(RECORD) == (
        "per doubling of the training length the share of width falls by 8 points (90 % interval 6 to 10) and that of "
        "resolution rises by 8 points (6.5 to 10)"
    )


def test_no_drift_where_every_interval_holds_zero() -> None:
    still = {axis: shift(0.001, -0.01, 0.0) for axis in ("depth", "width", "resolution")}
    assert drift_line(with_details(drift=still)) == "no drift seen between 20,000 and 160,000 images seen"
    assert drift_line(with_details(drift=None)) is None


def test_the_check_of_the_prediction() -> None:
    assert hindcast_line(RECORD) == (
        "check: from the rungs up to 40,000 images seen, the scores at 160,000 were predicted with a bias of -0.003; "
        "90 % intervals of differences between networks held in 91 %; rank correlation 0.88; constants chosen from the "
        "short rungs would lose 0.004; so lengths up to 4 times the longest rung can be predicted"
    )


def test_a_check_that_failed_predicts_nothing() -> None:
    failed = with_details(hindcast={**DETAILS["hindcast"], "holds": False, "rank": None, "regret": 0.0})
    line = hindcast_line(failed) or ""
    assert line.endswith("so nothing is said beyond the longest rung")
    assert "the order of the networks cannot be told from noise; " in line
    assert "would lose less than 0.001" in line


def test_noise_and_what_helps_against_it() -> None:
    line = noise_line(RECORD) or ""
    assert line.startswith(
        "noise of one training over the range of the networks: 45 % at 20,000 images seen, 30 % at 40,000, 12 % at "
        "160,000; "
    )
    # 12 % times the root of 8 is 34 %, below 45 %: one long training tells more than eight short ones.
    assert line.endswith("longer trainings tell networks apart better than more short ones")
    repeat = with_details(rungs=[rung(20_000, 0.045), rung(160_000, 0.02)])
    assert (noise_line(repeat) or "").endswith("more short trainings tell networks apart better than longer ones")
    assert ";" not in (noise_line(with_details(rungs=[rung(20_000, 0.045)])) or ";")


def test_where_scores_were_measured() -> None:
    assert (longest_rung(RECORD), is_measured(RECORD)) == (160_000, True)
    beyond = dataclasses.replace(RECORD, length=Length(320_000))
    assert (longest_rung(beyond), is_measured(beyond)) == (160_000, False)
    bare = dataclasses.replace(RECORD, details={})
    assert (longest_rung(bare), is_measured(bare)) == (160_000, True)


BAD: tuple[Any, ...] = (None, 3, "x", [], {}, True, -1, 0, 1e300, 10**400, float("nan"), [[]], [{}], {"value": "x"})


@pytest.mark.parametrize("name", ["rungs", "drift", "hindcast"])
def test_other_shapes_are_left_out(name: str) -> None:
    whole = DETAILS[name]
    inner = whole[0] if isinstance(whole, list) else whole
    for bad, key in itertools.product(BAD, [None, *inner]):
        part = bad if key is None else {**inner, key: bad}
        details = [part] if isinstance(whole, list) and key is not None else part
        record = with_details(**{name: details})
        assert all(isinstance(line, str) and "nan" not in line for line in evidence_lines(record))
        assert all(one.images < two.images for one, two in itertools.pairwise(rungs_of(record)))


@pytest.mark.parametrize("images", [0, -1, True, 2.5, 10**30])
def test_a_length_is_a_number_of_images(images: object) -> None:
    record = with_details(rungs=[rung(20_000, 0.04), rung(images, 0.04)], hindcast={"longest": images})  # type: ignore[arg-type]
    assert [found.images for found in rungs_of(record)] == [20_000]
    assert longest_rung(record) == 20_000


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(DETAILS, strategies.json_values())))
def test_any_details_are_read(details: dict[str, Any]) -> None:
    record = dataclasses.replace(RECORD, details=details)
    assert length_lines(record)
    assert all(evidence_lines(record))
    assert longest_rung(record)
