"""``config.json``: the options of a study come back from it as they were, and ``--config`` takes them."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scripts.check_proxy
import scripts.run_search
from objectives.command.objective import CommandSettings
from objectives.training.settings import TrainSettings
from phiscale import SettingsError
from scripts.run_search import SearchOptions, write_config
from scripts.shared import console
from scripts.shared.config import as_plain, earlier_options, from_plain
from scripts.shared.executors import ExecutorSettings
from scripts.shared.setup import ObjectiveSettings
from search.settings import SearchSettings

TEXTS = ("qmc", "timm", "params", "paper", "cuda:1", "resnet-18", "mine:build", "elsewhere.journal")
"""Of these, each option of a text takes one that is not its default."""
TOGETHER = {"direction": {"objective": "mine:score"}, "address": {"executor": "ray"}}
TOGETHER |= {"gpus_per_worker": {"executor": "ray"}, "memory_per_worker": {"executor": "ray"}}
"""Options that are refused without these."""
ELSEWHERE = ("config", "dry_run", "storage_file", "take_over")
"""Options of one run alone, and one with a test of its own."""


def others(hint: Any, default: Any) -> list[Any]:
    """Values of an option that may be set in place of its default."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    known = {bool: [not default], int: [7, 64], float: [0.25, 7.0], str: list(TEXTS), Path: [Path("some/where")]}
    found = [
        value for kind in kinds for value in (get_args(kind) if get_origin(kind) is Literal else known.get(kind, ()))
    ]
    return [value for value in found if value != default]


def one_changed(kind: type, **needed: Any) -> list[Any]:
    """Settings that differ from the defaults in one option, one each."""
    made, hints = [], get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]) or field.name in ELSEWHERE:
            continue
        for value in others(hints[field.name], field.default):
            try:
                made.append(kind(**{**needed, **TOGETHER.get(field.name, {}), field.name: value}))
                break
            except SettingsError:
                continue
        else:
            raise AssertionError(f"no other value of {field.name} is accepted")
    return made


def as_read(options: SearchOptions) -> SearchOptions:
    plain = json.loads(json.dumps(as_plain(options, options.storage_name, "phiscale search"), default=str))
    kept = {name: value for name, value in plain.items() if name not in ("command", "config")}
    return from_plain(SearchOptions, kept, "a file")


def test_every_option_comes_back_as_it_was() -> None:
    sections = {"search": SearchSettings, "measure": ObjectiveSettings, "train": TrainSettings, "run": ExecutorSettings}
    held = {name for name, hint in get_type_hints(SearchOptions).items() if dataclasses.is_dataclass(hint)}
    assert held == set(sections)
    for name, kind in sections.items():
        for settings in one_changed(kind):
            options = SearchOptions(study="s", **{name: settings})
            assert settings != kind()
            assert as_read(options) == options
    for options in one_changed(SearchOptions, study="s"):
        assert as_read(options) == dataclasses.replace(options, storage=options.storage_name)


ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
"""What a command line can hold."""


@given(
    st.builds(
        SearchOptions,
        study=st.just("s"),
        results=ANY_TEXT.map(Path),
        storage_patience=st.floats(0, 1e300),
        search=st.builds(SearchSettings, step=st.floats(0, 1), seed=st.integers(0, 2**31 - 1)),
        train=st.builds(TrainSettings, learning_rate=st.floats(1e-300, 1e300), weight_decay=st.floats(0, 1)),
        measure=st.builds(ObjectiveSettings, data=st.none() | st.just("") | ANY_TEXT),
    )
)
def test_numbers_and_names_come_back_to_the_last_digit(options: SearchOptions) -> None:
    assert as_read(options) == options


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchOptions:
    """Options whose config.json is written, in a folder of their own that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PHISCALE_STORAGE", raising=False)
    search = SearchSettings(method="qmc", trials=9, horizon_epochs=90)
    measure = ObjectiveSettings(data="images", phi=1, cache=Path("cache"))
    options = SearchOptions(
        study="first", search=search, measure=measure, train=TrainSettings(epochs=8), take_over=True
    )
    write_config(options)
    return options


def read(monkeypatch: pytest.MonkeyPatch, *words: str, status: int = 0) -> SearchOptions | None:
    """What a command line comes to."""
    found: list[SearchOptions] = []
    monkeypatch.setattr(sys, "argv", ["phiscale", *words])
    assert console.run_command(SearchOptions, found.append, "", "search", earlier_options) == status
    return found[0] if found else None


def test_the_command_line_takes_an_earlier_study_and_its_own_options_count_more(
    earlier: SearchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("results/first/config.json")
    same = read(monkeypatch, "--config", str(file))
    assert same == dataclasses.replace(earlier, config=file, take_over=False)
    found = read(
        monkeypatch, f"--config={file}", "--study", "other", "--trials", "12", "--phi", "2", "--train.rungs", "2"
    )
    assert found == dataclasses.replace(
        earlier,
        config=file,
        take_over=False,
        study="other",
        search=dataclasses.replace(earlier.search, trials=12),
        measure=dataclasses.replace(earlier.measure, phi=2.0),
        train=dataclasses.replace(earlier.train, rungs=2),
    )


def test_an_option_replaces_the_one_that_excludes_it(earlier: SearchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path("results/first/config.json")
    write_config(dataclasses.replace(earlier, storage="here.journal"))
    Path("storage.txt").write_text("there.journal")
    words = ("--horizon-images", "5000", "--train.images_seen=4000", "--storage-file", "storage.txt")
    found = read(monkeypatch, "--config", str(file), *words)
    assert found is not None
    assert (found.search.horizon_epochs, found.search.horizon_images) == (None, 5000)
    assert (found.train.epochs, found.train.images_seen) == (None, 4000)
    assert (found.storage, found.storage_name) == (None, str(Path("there.journal").absolute()))


@pytest.mark.parametrize(
    ("before", "words", "after"),
    [
        ({"cost": "params"}, ["--cost-model", "cm.json"], {"cost_file": Path("cm.json")}),
        ({"cost_file": Path("cm.json")}, ["--cost", "params"], {"cost": "params"}),
        ({"network": "resnet-18"}, ["--factory", "mine:build"], {"factory": "mine:build"}),
        ({"factory": "mine:build"}, ["--network=resnet-18"], {"network": "resnet-18"}),
        ({"data": "images"}, ["--objective", "mine:score"], {"objective": "mine:score"}),
        ({"data": "images"}, ["--command", "train {depth}"], {"own": CommandSettings(command="train {depth}")}),
        (
            {"own": CommandSettings(command="train {depth}", command_timeout=9.0), "direction": "minimize"},
            ["--objective", "mine:score", "--direction", "minimize"],
            {"objective": "mine:score", "direction": "minimize"},
        ),
        (
            {"own": CommandSettings(command="train {depth}", command_timeout=9.0)},
            ["--command", "run {depth}"],
            {"own": CommandSettings(command="run {depth}", command_timeout=9.0)},
        ),
        ({"objective": "mine:score", "direction": "minimize"}, ["--data", "images"], {"data": "images"}),
        ({"rate_plane": Path("rates.json")}, ["--train.learning-rate", "0.25"], {}),
    ],
)
def test_what_is_measured_is_replaced_as_a_whole(
    earlier: SearchOptions,
    monkeypatch: pytest.MonkeyPatch,
    before: dict[str, Any],
    words: list[str],
    after: dict[str, Any],
) -> None:
    write_config(dataclasses.replace(earlier, measure=ObjectiveSettings(**before)))
    found = read(monkeypatch, "--config", "results/first/config.json", *words)
    assert found is not None
    assert found.measure == ObjectiveSettings(**after)


@pytest.mark.parametrize(
    ("before", "words", "left", "said"),
    [
        (
            {"network": "resnet-18", "phi": 1.0, "resolution": 64},
            ["--objective", "mine:score"],
            ({}, {}),
            "--resolution, --network, --phi, --train.epochs, --train.flip, which --objective does not use",
        ),
        (
            {"network": "resnet-18", "phi": 1.0, "resolution": 64, "side": 32},
            ["--command", "train {depth}"],
            ({"network": "resnet-18", "phi": 1.0, "resolution": 64}, {"epochs": 8}),
            "--side, --train.flip, which --command does not use",
        ),
        (
            {"phi": 1.0, "rounding": "tf"},
            ["--command", "train {depth}"],
            ({"phi": 1.0}, {"epochs": 8}),
            "--rounding, --train.flip, which --command does not use",
        ),
        (
            {"rounding": "tf"},
            ["--command", "train {depth}", "--network", "resnet-18"],
            ({"network": "resnet-18", "rounding": "tf"}, {"epochs": 8}),
            "--train.flip, which --command does not use",
        ),
    ],
)
def test_what_a_new_objective_cannot_use_is_not_taken_over_and_said(
    earlier: SearchOptions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: dict[str, Any],
    words: list[str],
    left: tuple[dict[str, Any], dict[str, Any]],
    said: str,
) -> None:
    train = TrainSettings(epochs=8, flip=False)
    write_config(dataclasses.replace(earlier, measure=ObjectiveSettings(**before), train=train))
    found = read(monkeypatch, "--config", "results/first/config.json", *words)
    assert found is not None
    new = {"own": CommandSettings(command=words[1])} if words[0] == "--command" else {"objective": words[1]}
    assert found.measure == ObjectiveSettings(**left[0], **new)
    assert found.train == TrainSettings(**left[1])
    assert capsys.readouterr().err == f"not taken from results/first/config.json: {said}\n"


def test_the_direction_of_another_objective_is_not_taken_over(
    earlier: SearchOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = "results/first/config.json"
    measure = ObjectiveSettings(own=CommandSettings(command="train {depth}"), direction="minimize")
    write_config(dataclasses.replace(earlier, measure=measure))
    assert read(monkeypatch, "--config", file, "--objective", "mine:score", status=2) is None
    said = f"error: expected --direction of the new objective: that in {file} is minimize, for another one\n"
    assert capsys.readouterr().err == said
    same = read(monkeypatch, "--config", file, "--command", "run {depth}")
    assert same is not None
    assert same.measure.direction == "minimize"


def test_learning_rates_by_shape_replace_the_one_of_a_file(
    earlier: SearchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(dataclasses.replace(earlier, train=TrainSettings(epochs=8, learning_rate=0.25)))
    found = read(monkeypatch, "--config", "results/first/config.json", "--rate-plane", "rates.json")
    assert found is not None
    assert found.train == TrainSettings(epochs=8)


def test_a_counted_and_a_measured_cost_together_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read(monkeypatch, "--study", "s", "--cost", "params", "--cost-model", "cm.json", status=2) is None
    err = capsys.readouterr().err
    assert err == "error: expected either --cost or --cost-model, which states its own cost, got both\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (scripts.run_search, ("--cost", "macs", "--cost-model", "cm.json")),
        (scripts.check_proxy, ("--cost", "macs", "--cost-model", "cm.json")),
        (scripts.run_search, ("--train.learning_rate=0.15", "--rate-plane", "rates.json")),
    ],
)
def test_two_of_which_one_has_its_default_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: ModuleType,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["phiscale", "--study", "s", *words])
    assert command.main() == 2
    one, other = (word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--"))
    err = capsys.readouterr().err
    assert err == f"error: expected either {one} or {other}, got both; leave one out\n"


def test_a_file_with_the_storage_is_read_again(earlier: SearchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("storage.txt").write_text("there.journal")
    write_config(dataclasses.replace(earlier, storage_file=Path("storage.txt")))
    Path("storage.txt").write_text("elsewhere.journal")
    found = read(monkeypatch, "--config", "results/first/config.json")
    assert found is not None
    assert found.storage_name == str(Path("elsewhere.journal").absolute())


def test_a_storage_without_its_password_is_asked_for(
    earlier: SearchOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, url = "results/first/config.json", "postgresql://u:hunter2@host/db"
    write_config(dataclasses.replace(earlier, storage=url))
    assert read(monkeypatch, "--config", file, status=2) is None
    err = capsys.readouterr().err
    assert err == (
        f"error: expected --storage-file or PHISCALE_STORAGE: the storage of {file} has a password, which that file "
        "does not hold\n"
    )
    other = read(monkeypatch, "--config", file, "--storage", "x.journal")
    assert other is not None
    assert other.storage == "x.journal"
    monkeypatch.setenv("PHISCALE_STORAGE", url)
    again = read(monkeypatch, "--config", file)
    assert again is not None
    assert (again.storage, again.storage_name) == (None, url)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "config.json has unknown fields: colour"),
        ({"search": {"trails": 3}}, "search of config.json has unknown fields: trails"),
        ({"search": {"trials": "many"}}, "trials of search of config.json to be a whole number or null, got 'many'"),
        ({"search": {"trials": 2.5}}, "trials of search of config.json to be a whole number or null, got 2.5"),
        ({"train": {"flip": 1}}, "flip of train of config.json to be true or false, got 1"),
        ({"run": {"executor": "cloud"}}, "executor of run of config.json to be 'processes' or 'ray', got 'cloud'"),
        ({"search": {"trials": 0}}, "search of config.json: expected trials to be at least 1, got 0"),
        ({"measure": []}, "measure of config.json to be an object with named fields, got list"),
        ({"study": None}, "study of config.json to be a text, got None"),
        ([], "expected config.json to hold the options of a study, got list"),
        (
            {"measure": {"phi": 10**400}},
            "phi of measure of config.json to be a finite number, got an integer too large",
        ),
        (
            {"search": {"trials": 10**400}},
            "trials of search of config.json to be at most 9223372036854775807, got more",
        ),
        ({"results": "a\0b"}, r"results of config.json to be a text without null characters, got 'a\x00b'"),
        ({"measure": {"data": "a\0b"}}, "data of measure of config.json to be a text without null characters"),
        ({"results": "a\ud800"}, r"results of config.json to be a text of whole characters, got 'a\ud800'"),
        ({"measure": {"data": "\udfff"}}, "data of measure of config.json to be a text of whole characters"),
    ],
)
def test_a_file_with_other_contents_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.json").write_text(json.dumps({"study": "s"} | change if isinstance(change, dict) else change))
    assert read(monkeypatch, "--config", "config.json", status=2) is None
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read the configuration config.json: No such file"),
        ('{"study": ', "expected config.json to hold one whole JSON configuration"),
        ('{"search": {}}', "config.json lacks study"),
    ],
)
def test_a_file_that_holds_no_options_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("config.json").write_text(text)
    assert read(monkeypatch, "--config", "config.json", status=2) is None
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
