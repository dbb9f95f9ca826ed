"""Families: which networks they hold, nominal and matched, and how they are printed."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale import (
    BASELINES,
    EFFICIENTNET_B0,
    EFFICIENTNET_TABLE,
    FLOPS,
    PARAMETERS,
    PROXY_BASE,
    PUBLISHED_RULES,
    ROUNDINGS,
    BudgetError,
    ConstraintError,
    ScalingConstants,
    SearchRecord,
    SettingsError,
    efficientnet_scaling,
    format_family,
    generate_family,
    multipliers,
    parse_phis,
    published_family,
)
from phiscale.family import align_columns, family_rows, interpolate_dropout, short_number, suited_rounding
from phiscale.training_length import heading
from tests import strategies

PAPER = PUBLISHED_RULES["paper"].constants
ROWS = json.loads((Path(__file__).parent / "golden" / "efficientnet.json").read_text())["rows"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_the_published_family_is_the_published_table(row: dict[str, object]) -> None:
    member = next(member for member in published_family() if member.name == row["name"])
    asked, spec = member.network.asked, member.network.spec
    assert (asked.width, asked.depth, spec.resolution) == (row["width"], row["depth"], row["resolution"])
    assert (spec.dropout, [stage.repeats for stage in spec.stages]) == (row["dropout"], row["repeats"])
    published = EFFICIENTNET_TABLE[member.name]
    assert (published.width, published.depth, published.resolution) == (row["width"], row["depth"], row["resolution"])


def test_the_published_family_runs_from_b0_to_l2() -> None:
    members = published_family()
    assert [member.name for member in members] == [row["name"] for row in ROWS]
    assert members[0].network.spec.fingerprint == EFFICIENTNET_B0.fingerprint
    assert [member.phi for member in members] == [0, 0.5, 1, 2, 3.5, 5, 6, 7, None, None]
    assert members[-1].target_growth is None
    assert members[3].target_growth == 4


def test_b7_widths_by_hand() -> None:
    # Twice the channels of B0, all multiples of 8 already.
    b7 = published_family()[7].network.spec
    assert [stage.channels for stage in b7.stages] == [32, 48, 80, 160, 224, 384, 640]
    assert (b7.stem_channels, b7.head_channels) == (64, 2560)


def test_nominal_is_the_shared_function_then_rounding() -> None:
    (member,) = generate_family(EFFICIENTNET_B0, PAPER, [1])
    assert member.network.asked == multipliers(PAPER, 1)
    assert member.network.resolution == efficientnet_scaling(16, 32, 224, 1)[2] == 257
    # ceil(1.2 r); round_filters(1.1 c): 17.6 26.4 44 88 123.2 211.2 352 and 35.2, 1408.
    assert [stage.repeats for stage in member.network.spec.stages] == [2, 3, 3, 4, 4, 5, 2]
    assert [stage.channels for stage in member.network.spec.stages] == [16, 24, 48, 88, 120, 208, 352]
    assert (member.network.spec.stem_channels, member.network.spec.head_channels) == (32, 1408)


def test_nominal_does_not_hold_the_budget() -> None:
    # The product 1.92 becomes 2.57 after rounding.
    (member,) = generate_family(EFFICIENTNET_B0, PAPER, [1])
    assert member.growth == pytest.approx(2.57, abs=0.005)
    assert member.target_growth == 2


def test_matched_holds_the_budget() -> None:
    phis = [-2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5, 6, 7]
    members = generate_family(EFFICIENTNET_B0, PAPER, phis, budget="matched")
    assert [member.phi for member in members] == phis
    for member in members:
        assert member.target_growth == 2**member.phi
        assert member.growth == pytest.approx(member.target_growth, rel=0.02)
        assert member.growth == member.network.cost.macs / EFFICIENTNET_MACS


EFFICIENTNET_MACS = published_family()[0].network.cost.macs


def test_members_come_in_the_order_given_from_any_iterable() -> None:
    members = generate_family(PROXY_BASE, PAPER, iter([2, 0, 0.5]))
    assert [member.name for member in members] == ["phi=2", "phi=0", "phi=0.5"]
    assert generate_family(PROXY_BASE, PAPER, []) == ()


def test_negative_phi_shrinks() -> None:
    small, same = generate_family(EFFICIENTNET_B0, PAPER, [-2, 0])
    assert small.network.resolution == int(224 / 1.15**2)
    assert small.growth < 0.5 < same.growth == 1
    assert same.network.spec.fingerprint == EFFICIENTNET_B0.fingerprint


def test_specs_are_named_after_baseline_and_member() -> None:
    (member,) = generate_family(PROXY_BASE, PAPER, [1.5])
    assert member.network.spec.name == "proxy-base phi=1.5"
    assert published_family()[9].network.spec.name == "efficientnet-b0 l2"


def test_the_cap_holds_in_both_budgets() -> None:
    for budget in ("nominal", "matched"):
        members = generate_family(EFFICIENTNET_B0, PAPER, [0, 1, 3], budget=budget, max_resolution=230)
        assert [member.network.resolution for member in members] == [224, 230, 230]
    nominal = generate_family(EFFICIENTNET_B0, PAPER, [3], max_resolution=230)[0]
    assert nominal.network.asked.resolution == pytest.approx(1.520875)
    assert nominal.network.realised.resolution == 230 / 224


def test_another_cost_model_sets_the_target_and_the_metric() -> None:
    constants = ScalingConstants(math.sqrt(2), 2**0.25, 1)
    (member,) = generate_family(EFFICIENTNET_B0, constants, [2], budget="matched", cost_model=PARAMETERS)
    assert member.growth == member.network.cost.params / 5_288_548
    assert member.growth == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(("phi", "rate"), [(-2, 0.2), (0, 0.2), (1, 0.2 + 0.3 / 7), (3.5, 0.35), (7, 0.5), (9, 0.5)])
def test_dropout_runs_from_the_baselines_to_the_top(phi: float, rate: float) -> None:
    # Tan & Le 2019, section 5.2: linearly from 0.2 for B0 to 0.5 for B7.
    (member,) = generate_family(EFFICIENTNET_B0, PAPER, [phi])
    assert member.network.spec.dropout == pytest.approx(rate)


def test_dropout_can_be_kept_or_changed() -> None:
    def rates(**settings: float | None) -> list[float]:
        members = generate_family(EFFICIENTNET_B0, PAPER, [0, 7], **settings)  # type: ignore[arg-type]
        return [round(member.network.spec.dropout, 9) for member in members]

    assert rates(dropout=None) == [0.2, 0.2]
    assert rates(dropout=0.1) == [0.2, 0.1]
    assert [m.network.spec.dropout for m in generate_family(PROXY_BASE, PAPER, [0, 7])] == [0, 0]


@pytest.mark.parametrize("bad", [1, -0.1, math.nan, "half", True])
def test_bad_dropout(bad: object) -> None:
    with pytest.raises(SettingsError, match="top dropout"):
        interpolate_dropout(0.2, bad, 1)  # type: ignore[arg-type]


def test_the_rounding_suits_the_baseline() -> None:
    assert suited_rounding(EFFICIENTNET_B0) is ROUNDINGS["tf"]
    assert suited_rounding(PROXY_BASE) is ROUNDINGS["exact"]
    odd_head = dataclasses.replace(EFFICIENTNET_B0, head_channels=1281)
    assert suited_rounding(odd_head) is ROUNDINGS["exact"]
    pycls = generate_family(EFFICIENTNET_B0, PAPER, [1], rounding=ROUNDINGS["pycls"])[0]
    assert pycls.network.resolution == 256


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"budget": "exact"}, SettingsError),
        ({"dropout": 2}, SettingsError),
        ({"max_resolution": 0}, ConstraintError),
        ({"phis": [math.nan]}, ConstraintError),
        ({"phis": [1e9]}, ConstraintError),
        ({"phis": [200]}, ConstraintError),
        ({"constants": ScalingConstants(1, 1, 1), "phis": [1e9]}, ConstraintError),
        ({"constants": ScalingConstants(2, 1, 1), "phis": [-2], "budget": "matched"}, BudgetError),
    ],
)
def test_bad_settings(settings: dict[str, object], error: type[Exception]) -> None:
    arguments = {"base": EFFICIENTNET_B0, "constants": PAPER, "phis": [1], **settings}
    with pytest.raises(error, match="expected"):
        generate_family(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "phis"),
    [
        ("0:7", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("-2:2", [-2, -1, 0, 1, 2]),
        ("-1:1:0.5", [-1, -0.5, 0, 0.5, 1]),
        ("0:1:0.1", [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        ("0:1:0.4", [0, 0.4, 0.8]),
        ("0:0.3:0.1", [0, 0.1, 0.2, 0.3]),  # 0.3 / 0.1 is a little below 3
        ("3:3", [3]),
        ("0.5", [0.5]),
        ("7,0,-0.5", [7, 0, -0.5]),
        (" 1 , 2 ", [1, 2]),
    ],
)
def test_parse_phis(text: str, phis: list[float]) -> None:
    assert parse_phis(text) == pytest.approx(phis)


@pytest.mark.parametrize(
    "text",
    ["", ":", "a", "0:", ":7", "7:0", "0:7:0", "0:7:-1", "0:1:2:3", "nan", "0:inf", "1,,2", "0:7,8", "0:1e9",
     "0:1:1e-320", "-1e308:1e308", ",".join(["1"] * 1001)],
)  # fmt: skip
def test_bad_phis(text: str) -> None:
    with pytest.raises(SettingsError, match="expected"):
        parse_phis(text)


@given(st.text(alphabet="0123456789.:,-+einfa ", max_size=12))
def test_any_text_is_some_phis_or_one_clear_error(text: str) -> None:
    try:
        phis = parse_phis(text)
    except SettingsError as error:
        fine = str(error).startswith("expected ")
    else:
        fine = 1 <= len(phis) <= 1000 and all(map(math.isfinite, phis))
    assert fine


FAMILY = generate_family(EFFICIENTNET_B0, PAPER, [0, 1.5])


def test_row_has_what_was_asked_and_what_came() -> None:
    row = FAMILY[1].row()
    assert row == {
        "name": "phi=1.5",
        "phi": 1.5,
        "depth_asked": 1.2**1.5,
        "depth": 24 / 16,
        "width_asked": 1.1**1.5,
        "width": FAMILY[1].network.realised.width,
        "resolution_asked": 1.15**1.5,
        "resolution_multiplier": 276 / 224,
        "resolution": 276,
        "repeats": [2, 3, 3, 4, 4, 6, 2],
        "channels": [stage.channels for stage in FAMILY[1].network.spec.stages],
        "dropout": pytest.approx(0.2 + 0.3 * 1.5 / 7),
        "macs": FAMILY[1].network.cost.macs,
        "params": FAMILY[1].network.cost.params,
        "activations": FAMILY[1].network.cost.activations,
        "growth": FAMILY[1].growth,
        "target_growth": 2**1.5,
        "fingerprint": FAMILY[1].network.fingerprint,
    }


def test_json_holds_every_row() -> None:
    assert json.loads(format_family(FAMILY, "json")) == family_rows(FAMILY, None)


@given(strategies.records())
def test_every_row_has_the_length_that_its_constants_are_for(record: SearchRecord) -> None:
    length = record.length.images if record.length else None
    assert family_rows(FAMILY, record) == [{**member.row(), "length_images": length} for member in FAMILY]
    assert {row["length_images"] for row in json.loads(format_family(FAMILY, "json", record))} == {length}
    (first, *_) = csv.DictReader(io.StringIO(format_family(FAMILY, "csv", record)))
    assert first["length_images"] == str(length or "")
    assert format_family(FAMILY, "table", record) == f"{heading(record)}\n{format_family(FAMILY, 'table')}"


def test_csv_holds_every_column() -> None:
    table = list(csv.DictReader(io.StringIO(format_family(FAMILY, "csv"))))
    assert [list(row) for row in table] == [[*FAMILY[0].row(), "length_images"]] * 2
    assert table[0]["length_images"] == ""
    assert table[0]["repeats"] == "1 2 2 3 3 4 1"
    assert [int(row["macs"]) for row in table] == [member.network.cost.macs for member in FAMILY]
    assert [float(row["growth"]) for row in table] == [member.growth for member in FAMILY]


def test_table_is_aligned_and_readable() -> None:
    *lines, _, _ = format_family(FAMILY, "table").splitlines()
    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "depth width resolution pixels blocks dropout MACs parameters activations growth asked off"
    assert words[1] == "phi=0 1.000 1.000 1.000 224 16 0.20 385.8 M 5.289 M 6.748 M 1.000 1.000 +0%"
    assert len(set(map(len, lines))) == 1


def test_the_table_of_the_published_family_has_no_number_where_none_was_asked() -> None:
    assert format_family(published_family(), "table").splitlines()[-3].split()[-2:] == ["-", "-"]


def test_a_table_marks_members_that_cost_something_else_and_says_what_holds_the_cost() -> None:
    lines = format_family(generate_family(EFFICIENTNET_B0, PAPER, [0, 1, 4, 6]), "table").splitlines()
    # 2.573 for 2, 16.380 for 16, 52.082 for 64
    assert [line.split()[-1] for line in lines[1:5]] == ["+0%", "+29%*", "+2%", "-19%*"]
    assert lines[5].startswith("* costs more than 10% more or less than asked")
    assert lines[6] == "  --budget matched stays within 2%"
    matched = format_family(generate_family(EFFICIENTNET_B0, PAPER, [0, 1, 6], budget="matched"), "table")
    assert "*" not in matched
    for base in BASELINES.values():
        table = format_family(generate_family(base, PAPER, [-1.5, 0, 7.5]), "table")
        assert max(map(len, table.splitlines())) < 120


def test_empty_families_can_be_printed() -> None:
    assert format_family((), "json") == "[]"
    assert format_family((), "csv") == "name"
    assert "MACs" in format_family((), "table")


def test_unknown_format() -> None:
    with pytest.raises(SettingsError, match="table, json or csv, got 'yaml'"):
        format_family(FAMILY, "yaml")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (385_814_752, "385.8 M"), (5.1e9, "5.1 G"), (2e13, "20 T"),
     (-1500, "-1.5 k")],
)  # fmt: skip
def test_short_number(value: float, text: str) -> None:
    assert short_number(value) == text


def test_align_columns() -> None:
    assert align_columns([["", "b"], ["long", "1"]]) == "      b\nlong  1"


@given(strategies.networks(), strategies.shares(), st.floats(-1, 2))
def test_every_family_can_be_printed_in_every_format(base: object, shares: object, phi: float) -> None:
    from phiscale import constants_from_shares

    members = generate_family(base, constants_from_shares(shares), [phi])  # type: ignore[arg-type]
    assert members[0].growth == pytest.approx(members[0].network.growth(FLOPS))
    for style in ("table", "json", "csv"):
        assert format_family(members, style)
