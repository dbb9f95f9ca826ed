"""Search records: the round trip, the schema, every kind of damage, and writing that never leaves half a file."""

from __future__ import annotations

import copy
import dataclasses
import errno
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Self

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phiscale import (
    EFFICIENTNET_B0,
    FLOPS,
    PARAMETERS,
    CostModel,
    Estimate,
    FileError,
    Horizon,
    Length,
    Observed,
    RecordError,
    ScalingConstants,
    SearchRecord,
    Shares,
    constants_from_shares,
)
from phiscale.files import write_text
from phiscale.summary import summarize
from tests import strategies

SCHEMA = json.loads(resources.files("phiscale").joinpath("record.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
RECORD = SearchRecord(
    study="demo",
    created="2025-01-02T03:04:05Z",
    constants=constants_from_shares(Shares(0.25, 0.5, 0.25)),
    cost_model=FLOPS,
    phi=2.0,
    network=EFFICIENTNET_B0,
    score_name="accuracy",
    direction="maximize",
    expected=Estimate(0.81, 0.8, 0.82),
    noise=0.01,
    length=Length(160_000, 50_000, "cifar-10"),
    horizon=Horizon(1_000_000, determined=False, reason="too far"),
    best_observed=Observed("trial 7", ScalingConstants(1.3, 1.2, 1.03), 0.83, 2),
    region=(Shares(0.25, 0.5, 0.25), Shares(0.3, 0.4, 0.3)),
    baselines=(Observed("paper", ScalingConstants(1.2, 1.1, 1.15), 0.79, 3),),
    notes=("One proxy, one data set.",),
    data={"name": "embedded", "fingerprint": "abc"},
    budget={"trials": 30, "seeds": [0, 1]},
    versions={"phiscale": "0.1.0"},
    device="one CPU core",
    details={"models": {"gp": {"length": [0.3, 0.4]}}},
)
PLAIN = RECORD.to_dict()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_knows_exactly_the_fields_of_a_record() -> None:
    assert sorted(SCHEMA["properties"]) == sorted(SCHEMA["required"]) == sorted(PLAIN)


@given(strategies.records())
def test_round_trip_through_json_and_schema(record: SearchRecord) -> None:
    plain = json.loads(json.dumps(record.to_dict(), allow_nan=False))
    VALIDATOR.validate(plain)
    back = SearchRecord.from_dict(plain)
    assert back == record
    assert back.to_dict() == record.to_dict()


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "constants.json"
    RECORD.save(path)
    assert SearchRecord.load(path) == RECORD
    assert SearchRecord.load(str(path)).constants.as_tuple() == RECORD.constants.as_tuple()
    text = path.read_text()
    assert text.endswith("}\n")
    VALIDATOR.validate(json.loads(text))


def test_a_saved_record_says_what_it_is() -> None:
    assert (PLAIN["format"], PLAIN["version"]) == ("phiscale-search-record", 2)
    assert PLAIN["shares"] == pytest.approx({"depth": 0.25, "width": 0.5, "resolution": 0.25})


def test_summary() -> None:
    answer, _, rest = summarize(RECORD).partition("\n\n")
    assert [text[:19].rstrip() for text in answer.splitlines()] == [
        "Constants", "Made for", "How sure", "Against the paper", "Next",
    ]  # fmt: skip
    assert rest.splitlines() == [
        "study demo, 2025-01-02T03:04:05Z, one CPU core",
        "exactly: alpha 1.1892  beta 1.1892  gamma 1.0905   on alpha * beta**2 * gamma**2 = 2 (macs)",
        "shares of a growth step: depth 25.0%, width 50.0%, resolution 25.0%",
        "noise of one evaluation: 0.0100 (standard deviation)",
        "best observed (trial 7): 0.8300 at 1.3000, 1.2000, 1.0300; the luckiest of many is optimistic",
        "  paper        0.7900 over 3",
        "note: One proxy, one data set.",
    ]
    short = dataclasses.replace(RECORD, expected=None, noise=None, baselines=(), notes=(), length=None, horizon=None)
    answer, _, rest = summarize(short).partition("\n\n")
    assert len(rest.splitlines()) == 4
    assert "A training of unstated length" in answer


def test_the_summary_says_where_scores_were_measured_and_how_constants_move() -> None:
    check = {"rungs": [20_000, 40_000], "longest": 80_000, "bias": 0.0, "coverage": 0.9, "rank": 0.9, "regret": 0.0}
    shifts = {axis: {"value": 0.0, "low": -0.1, "high": 0.1} for axis in ("depth", "width", "resolution")}
    details = {"hindcast": {**check, "holds": True}, "drift": shifts}
    text = summarize(dataclasses.replace(RECORD, details=details))
    assert "\nno drift seen between the rungs\ncheck: from the rungs up to 40,000 images seen, " in text
    assert "\nscores of trials and rules are of 80,000 images seen\nbest observed" in text


OLD = json.loads((Path(__file__).parent / "golden" / "old_record.json").read_text(encoding="utf-8"))["record"]


@pytest.mark.parametrize(
    ("train", "length"),
    [
        ({"epochs": 8, "train_images": 6000}, Length(48_000, None, "embedded")),
        ({"epochs": 8, "train_images": None}, None),  # all images, and their number is not in the record
        ({"epochs": 8}, None),
        ({"epochs": True, "train_images": 6000}, None),
        ({"epochs": 0, "train_images": 6000}, None),
        ({"epochs": 8.5, "train_images": 6000}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_record_of_version_1_has_the_length_of_its_training(train: object, length: Length | None) -> None:
    record = SearchRecord.from_dict({**OLD, "budget": {**OLD["budget"], "train": train}})
    assert (record.length, record.horizon) == (length, None)
    assert record.to_dict()["version"] == 2
    words = "A training of 48,000 images seen" if length else "A training of unstated length"
    assert words in summarize(record)
    assert SearchRecord.from_dict(record.to_dict()) == record


def test_a_record_of_version_1_stays_as_it_was_written() -> None:
    assert "train" not in OLD["budget"]
    record = SearchRecord.from_dict(OLD)
    assert record.length is None
    assert record.constants.as_tuple() == tuple(OLD["constants"].values())
    with pytest.raises(RecordError, match="length"):
        SearchRecord.from_dict({**OLD, "version": 2})


def test_a_length_in_epochs() -> None:
    assert Length(160_000, 50_000, "cifar-10").describe() == "160,000 images seen (3.2 epochs of cifar-10)"
    assert Length(50_000, 50_000).describe() == "50,000 images seen (1 epoch)"
    assert Length(50_000, None, "cifar-10").describe() == "50,000 images seen"
    assert RECORD.horizon_length == Length(1_000_000, 50_000, "cifar-10")
    assert dataclasses.replace(RECORD, horizon=None).horizon_length == RECORD.length


# Damage


def paths(value: object, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in JSON values, the whole first."""
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from paths(child, (*above, key))


PATHS = list(paths(PLAIN))
FREE = ("data", "budget", "versions", "details")
HARD_VALUES = [
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**400),
    1e308,
    -1e308,
    5e-324,
    "\ud800",
    "\x00",
    True,
    -1,
    0,
    1,
]


def changed(path: tuple[str | int, ...], value: object) -> Any:
    """The plain record with another value in one place."""
    if not path:
        return value
    whole = copy.deepcopy(PLAIN)
    place: Any = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return whole


def without(path: tuple[str | int, ...]) -> Any:
    whole = copy.deepcopy(PLAIN)
    place: Any = whole
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return whole


def read(plain: object) -> SearchRecord | None:
    """The record, or None after one clear error; any other exception fails the test."""
    try:
        record = SearchRecord.from_dict(plain)
    except RecordError:
        return None
    assert SearchRecord.from_dict(record.to_dict()) == record
    assert summarize(record)
    return record


def schema_accepts(plain: object) -> bool:
    return bool(VALIDATOR.is_valid(plain))


@settings(max_examples=600)
@given(st.sampled_from(PATHS), strategies.json_values() | st.sampled_from(HARD_VALUES))
def test_any_value_in_any_place_is_read_or_refused(path: tuple[str | int, ...], value: object) -> None:
    plain = changed(path, value)
    if read(plain) is not None:
        assert schema_accepts(plain), "the reader took what the schema refuses"


@settings(max_examples=200)
@given(st.sampled_from(PATHS), st.sampled_from(PATHS))
def test_parts_put_in_other_places_are_read_or_refused(
    to: tuple[str | int, ...], source: tuple[str | int, ...]
) -> None:
    value: Any = PLAIN
    for key in source:
        value = value[key]
    plain = changed(to, copy.deepcopy(value))
    if read(plain) is not None:
        assert schema_accepts(plain)


@pytest.mark.parametrize("path", [path for path in PATHS if path], ids=lambda path: ".".join(map(str, path)))
def test_any_part_left_out(path: tuple[str | int, ...]) -> None:
    plain = without(path)
    in_list = isinstance(path[-1], int)
    if (path[0] in FREE and len(path) > 1) or in_list or path[-1] in ("se_ratio", *OPTIONAL_IN_NETWORK):
        record = read(plain)
        assert record is None or schema_accepts(plain)
    else:
        assert read(plain) is None
        assert not schema_accepts(plain)


OPTIONAL_IN_NETWORK = ("classes", "stem_kernel", "stem_stride", "in_channels", "activation", "dropout", "drop_path")


@given(
    st.sampled_from([path for path in PATHS if not path or path[0] not in FREE]), st.text(), strategies.json_values()
)
def test_any_field_too_many(path: tuple[str | int, ...], name: str, value: object) -> None:
    plain = copy.deepcopy(PLAIN)
    place: Any = plain
    for key in path:
        place = place[key]
    if isinstance(place, dict) and name not in place:
        place[name] = value
        assert read(plain) is None
        assert not schema_accepts(plain)


@settings(max_examples=300)
@given(strategies.json_values())
def test_any_other_json_is_refused(value: object) -> None:
    assert read(value) is None
    assert not schema_accepts(value)


DAMAGE = [
    (("format",), "another"),
    (("version",), 0),
    (("version",), 3),
    (("version",), "1"),
    (("version",), True),
    (("version",), None),
    (("study",), ""),
    (("created",), 3),
    (("constants",), None),
    (("constants", "alpha"), 0.9),
    (("constants", "beta"), "1.1"),
    (("constants", "gamma"), -1),
    (("shares", "depth"), -0.1),
    (("shares", "width"), 2),
    (("cost_model", "depth"), -1),
    (("cost_model", "width"), 1e308),
    (("cost_model", "target"), 1),
    (("cost_model", "metric"), ""),
    (("phi",), "2"),
    (("phi",), False),
    (("phi",), 0),
    (("phi",), 1e6),
    (("phi",), -1e6),
    (("network",), []),
    (("network", "name"), ""),
    (("network", "resolution"), 0),
    (("network", "resolution"), 2**31),
    (("network", "stem_kernel"), 2),
    (("network", "head_channels"), -1),
    (("network", "stem"), "pool"),
    (("network", "head_norm"), 1),
    (("network", "stages", 0, "block"), ""),
    (("network", "stages", 0, "layer_scale"), 2),
    (("network", "activation"), "tanh"),
    (("network", "dropout"), 1),
    (("network", "stages"), []),
    (("network", "stages"), {}),
    (("network", "stages", 0), 1),
    (("network", "stages", 0, "kernel"), 4),
    (("network", "stages", 0, "repeats"), 0),
    (("network", "stages", 0, "expansion"), 0.5),
    (("network", "stages", 0, "expansion"), 1e308),
    (("network", "stages", 0, "se_ratio"), 2),
    (("direction",), "up"),
    (("expected",), 0.8),
    (("expected", "low"), None),
    (("noise",), -0.1),
    (("noise",), "small"),
    (("length",), 160_000),
    (("length", "images"), 0),
    (("length", "images"), 1.5),
    (("length", "epoch_images"), 0),
    (("length", "epoch_images"), "all"),
    (("length", "data"), ""),
    (("length", "data"), 3),
    (("horizon",), 160_000),
    (("horizon", "images"), 0),
    (("horizon", "determined"), "no"),
    (("horizon", "determined"), 0),
    (("horizon", "reason"), None),
    (("best_observed",), None),
    (("best_observed", "evaluations"), 0),
    (("best_observed", "evaluations"), 1.5),
    (("best_observed", "constants", "alpha"), 0),
    (("region",), None),
    (("region", 0), [0.2, 0.3, 0.5]),
    (("region", 0, "depth"), "all"),
    (("baselines",), {}),
    (("baselines", 0, "name"), 7),
    (("notes",), "a note"),
    (("notes", 0), ""),
    (("data",), None),
    (("budget",), []),
    (("versions",), "1"),
    (("device",), None),
    (("details",), 3),
]


@pytest.mark.parametrize(("path", "value"), DAMAGE, ids=lambda part: str(part))
def test_damage_that_reader_and_schema_both_refuse(path: tuple[str | int, ...], value: object) -> None:
    plain = changed(path, value)
    assert read(plain) is None
    assert not schema_accepts(plain)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("constants", "alpha"), 1.5, r"expected alpha \* beta\*\*2 \* gamma\*\*2 within 1e-09 of 2, got 2.52"),
        (("cost_model", "target"), 3, "within 1e-09 of 3, got 2"),
        (("shares", "depth"), 0.5, "sum to 1"),
        (("shares",), {"depth": 1, "width": 0, "resolution": 0}, "do not belong to the constants"),
        (("expected", "low"), 0.9, "low <= score <= high"),
        (("version",), 3, "newer phiscale; upgrade"),
        (("version",), 0, "expected a version of 1 to 2, got 0; take the record from the study again"),
        (("length", "images"), -1, "images of a length"),
        (("horizon", "reason"), 1, "expected a horizon with determined"),
        (("format",), "x", "is it another file"),
        (("network", "stages", 3), {}, "stage 3 lacks channels, expansion, kernel, repeats, stride"),
        (("baselines", 0, "score"), None, "observed score"),
        (("region", 1, "width"), None, "share of width"),
        (("network", "resolution"), 224.5, "resolution to be a whole number"),
    ],
)
def test_the_error_says_what_is_wrong(path: tuple[str | int, ...], value: object, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        SearchRecord.from_dict(changed(path, value))


def test_a_target_so_near_one_that_nothing_grows() -> None:
    still = {"alpha": 1, "beta": 1, "gamma": 1}
    plain = changed(("constants",), still) | {"cost_model": {**PLAIN["cost_model"], "target": 1 + 1e-10}}
    with pytest.raises(RecordError, match="above 1"):
        SearchRecord.from_dict(plain)


def test_growth_outside_the_cost_is_refused() -> None:
    with pytest.raises(RecordError, match="gamma does not enter"):
        dataclasses.replace(RECORD, cost_model=PARAMETERS, constants=ScalingConstants(2, 1, 1.5))


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_record_of_an_objective_without_a_network() -> None:
    record = dataclasses.replace(RECORD, network=None)
    VALIDATOR.validate(record.to_dict())
    assert SearchRecord.from_dict(record.to_dict()) == record


def test_free_parts_may_be_deep_but_not_bottomless() -> None:
    record = dataclasses.replace(RECORD, details={"deep": deep(45)})
    assert SearchRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    for levels in (60, 400, 900):
        with pytest.raises(RecordError, match="details to be nested at most 50"):
            SearchRecord.from_dict({**PLAIN, "details": {"deep": deep(levels)}})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved record."""
    path = tmp_path_factory.mktemp("record") / "constants.json"
    RECORD.save(path)
    return path


def load(path: Path, content: bytes) -> SearchRecord | None:
    path.write_bytes(content)
    try:
        return SearchRecord.load(path)
    except RecordError:
        return None


def test_truncated_at_any_byte(file: Path) -> None:
    RECORD.save(file)
    whole = file.read_bytes()
    for length in range(len(whole) - 1):
        assert load(file, whole[:length]) is None, length
    assert load(file, whole[:-1]) == RECORD


@settings(max_examples=300)
@given(st.data())
def test_any_bytes_changed(file: Path, data: st.DataObject) -> None:
    whole = (json.dumps(PLAIN) + "\n").encode()
    start = data.draw(st.integers(0, len(whole)))
    end = start + data.draw(st.integers(0, 20))
    load(file, whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:])


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_at_all(file: Path, content: bytes) -> None:
    assert load(file, content) is None


def test_a_byte_order_mark_is_accepted(file: Path) -> None:
    RECORD.save(file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert SearchRecord.load(file) == RECORD


def test_what_a_message_quotes_is_escaped_and_its_middle_left_out() -> None:
    message = str(RecordError("expected one line, got \x1b[31m\n" + 1000 * "x" + "; what to do"))
    assert message.startswith(r"expected one line, got \x1b[31m xxx")
    assert message.endswith("xxx; what to do")
    assert " ... " in message
    assert len(message) == 400
    assert message.isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "one whole JSON record, got text that is not JSON"),
        (b"   \n", "not JSON"),
        (b"\xff\xfe", "bytes that are not text"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"format": ' * 10_000, "nested too deep"),
        (b"1" * 5_000, "digits"),
        (b"NaN", "NaN, which is no finite number"),
        (b"-Infinity", "-Infinity, which is no finite number"),
        (b"1e999", "finite"),
        (b'{"constants": 1, "constants": 2}', "'constants' twice in one object"),
        (b'{"details": {"a": [{"b": 1, "b": 1}]}}', "'b' twice in one object"),
        (b" " * (2**24 + 1), "more than 16 MiB"),
        (b"{}", "is it another file"),
        (b"[]", "is it another file"),
        (b"null", "is it another file"),
    ],
)
def test_files_that_hold_no_record(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(RecordError, match=message) as caught:
        SearchRecord.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("path", [("phi",), ("details",), ("noise",)])
def test_numbers_that_are_not_finite_are_refused_in_every_place(file: Path, path: tuple[str], number: str) -> None:
    text = json.dumps(changed(path, "HERE" if path != ("details",) else {"x": "HERE"}))
    assert load(file, text.replace('"HERE"', number).encode()) is None


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_paths_that_no_file_can_have(path: str) -> None:
    with pytest.raises(RecordError, match="cannot read the record"):
        SearchRecord.load(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"cannot read the record .*missing.json: No such file"):
        SearchRecord.load(tmp_path / "missing.json")
    with pytest.raises(RecordError, match=r"cannot read the record .*constants.json: No such file"):
        SearchRecord.load(tmp_path)


def test_the_folder_of_a_study_stands_for_its_record(tmp_path: Path) -> None:
    RECORD.save(tmp_path / "constants.json")
    assert SearchRecord.load(tmp_path) == RECORD


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "constants.json"
    RECORD.save(path)
    path.chmod(0)
    with pytest.raises(RecordError, match="Permission denied"):
        SearchRecord.load(path)


# Values


@pytest.mark.parametrize("name", ["study", "created", "score_name", "device"])
@pytest.mark.parametrize("bad", ["", None, 3])
def test_texts_are_texts(name: str, bad: object) -> None:
    with pytest.raises(RecordError, match=name):
        dataclasses.replace(RECORD, **{name: bad})  # type: ignore[arg-type]


def test_estimates_and_observations_are_checked() -> None:
    with pytest.raises(RecordError, match="low of an estimate"):
        Estimate(0.5, math.nan, 0.6)
    with pytest.raises(RecordError, match="low <= score <= high"):
        Estimate(0.5, 0.6, 0.7)
    with pytest.raises(RecordError, match="evaluations"):
        Observed("a", RECORD.constants, 0.5, 0)
    with pytest.raises(RecordError, match="score"):
        Observed("a", RECORD.constants, math.inf, 1)


def test_off_the_surface_is_no_record() -> None:
    with pytest.raises(RecordError, match="within 1e-09 of 2"):
        dataclasses.replace(RECORD, constants=ScalingConstants(1.2, 1.1, 1.15))
    with pytest.raises(RecordError, match=r"within 1e-09 of 2\.5"):
        dataclasses.replace(RECORD, cost_model=CostModel(target=2.5))


@pytest.mark.parametrize("bad", [object(), {1, 2}, math.nan, math.inf])
def test_values_that_json_lacks_are_not_saved(tmp_path: Path, bad: object) -> None:
    path = tmp_path / "constants.json"
    record = dataclasses.replace(RECORD, details={"bad": bad})
    with pytest.raises(RecordError, match="JSON cannot hold"):
        record.save(path)
    assert list(tmp_path.iterdir()) == []


# Writing


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class FullFile:
    """A file on a full disk: it opens, and fails at the first byte."""

    def __init__(self, handle: int, *_: object, **__: object) -> None:
        self.handle = handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)

    write = full_disk


def break_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdopen", FullFile)


def break_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)


def break_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", full_disk)


def break_chmod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "chmod", full_disk)


def break_create(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "mkstemp", full_disk)


BREAKS = [break_write, break_sync, break_rename, break_chmod, break_create]


@pytest.mark.parametrize("break_", BREAKS)
@pytest.mark.parametrize("old", ["the old text", None])
def test_a_failing_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_: Any, old: str | None
) -> None:
    path = tmp_path / "constants.json"
    if old is not None:
        path.write_text(old)
    before = list(tmp_path.iterdir())
    break_(monkeypatch)
    with pytest.raises(FileError, match=r"cannot write .*constants.json: No space left on device") as caught:
        RECORD.save(path)
    monkeypatch.undo()
    assert isinstance(caught.value, OSError)
    assert list(tmp_path.iterdir()) == before
    if old is not None:
        assert path.read_text() == old


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "constants.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        RECORD.save(path)
    assert (list(tmp_path.iterdir()), path.read_text()) == ([path], "old")


def test_text_is_on_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        steps.append(("sync", os.fstat(handle).st_size))
        real_sync(handle)

    def replace(self: Path, target: Path) -> Path:
        steps.append(("replace", self.stat().st_size))
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    write_text(tmp_path / "a", "12345")
    assert steps == [("sync", 5), ("replace", 5)]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.json", tmp_path / "folder", Path("/proc/no/such/place.json")):
        with pytest.raises(FileError, match="cannot write"):
            RECORD.save(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="Permission denied"):
        RECORD.save(tmp_path / "constants.json")
    assert list(tmp_path.iterdir()) == []


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "text")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "α\r\nb\n")
    assert (tmp_path / "a").read_bytes() == "α\r\nb\n".encode()


def test_a_reader_finds_the_old_text_or_the_new(tmp_path: Path) -> None:
    path, texts = tmp_path / "a", ["a" * 100_000, "b" * 100_000]
    write_text(path, texts[0])
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=watch)
    reader.start()
    for turn in range(1, 101):
        write_text(path, texts[turn % 2])
    done.set()
    reader.join()
    assert seen <= set(texts)


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    for name, age in ((".a.json.abcdefgh", 100), (".a.json.ijklmnop", 0), (".b.json.abcdefgh", 100)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    write_text(tmp_path / "a.json", "{}")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", ".a.json.ijklmnop", ".b.json.abcdefgh"}
