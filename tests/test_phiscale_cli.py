"""The command line: what it prints, and that bad input ends in one sentence and the right exit status."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phiscale import (
    EFFICIENTNET_B0,
    FLOPS,
    PARAMETERS,
    PROXY_BASE,
    PUBLISHED_RULES,
    Length,
    Observed,
    SearchRecord,
    Shares,
    constants_from_shares,
    count_cost,
    format_family,
    generate_family,
    published_family,
)
from phiscale.cli import main
from phiscale.summary import summarize

ROOT = Path(__file__).parent.parent
RECORD = SearchRecord(
    study="demo",
    created="2025-01-02T03:04:05Z",
    constants=constants_from_shares(Shares(0.25, 0.5, 0.25)),
    cost_model=FLOPS,
    phi=2.0,
    network=PROXY_BASE,
    score_name="accuracy",
    direction="maximize",
    expected=None,
    noise=None,
    length=Length(160_000, 50_000, "cifar-10"),
    best_observed=Observed("trial 7", PUBLISHED_RULES["equal"].constants, 0.83, 2),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved record."""
    place = tmp_path_factory.mktemp("study") / "constants.json"
    RECORD.save(place)
    return str(place)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """One command in this process: (exit status, standard output, standard error)."""

    def run_(*words: str) -> tuple[int, str, str]:
        try:
            status = main(words)
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return run_


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command line in bash, with its pipes; ``phiscale`` stands for the program."""
    script = f'set -o pipefail; phiscale() {{ "{sys.executable}" -W error -m phiscale "$@"; }}; {command}'
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_family_of_a_record(run, path: str, style: str) -> None:
    members = generate_family(PROXY_BASE, RECORD.constants, range(8))
    assert run("family", path, "--phi", "0:7", "--format", style) == (
        0,
        format_family(members, style, RECORD) + "\n",
        "",
    )


def test_a_rule_scales_the_network_of_a_record(run, path: str) -> None:
    status, out, err = run("family", path, "--rule", "paper", "--budget", "matched")
    constants = PUBLISHED_RULES["paper"].on(RECORD.cost_model)
    assert constants is not None
    members = generate_family(PROXY_BASE, constants, range(8), budget="matched")  # without the length of the record
    assert (status, out, err) == (0, format_family(members, "table") + "\n", "")


def test_a_record_without_a_network_says_what_is_scaled(run, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps(dataclasses.replace(RECORD, network=None).to_dict()))
    status, out, err = run("family", str(tmp_path / "own.json"))
    assert (status, " 224 " in out) == (0, True)
    assert "holds no network, so efficientnet-b0 is scaled" in err


def test_the_length_stands_over_constants_of_a_record_and_never_over_published_ones(run, path: str) -> None:
    first = "constants for a training of 160,000 images seen (3.2 epochs of cifar-10)"
    assert run("family", path)[1].splitlines()[0] == first
    assert run("family", path, "--network", "efficientnet-b0")[1].splitlines()[0] == first
    for words in (("--rule", "paper"), ("--published",)):
        assert "training" not in run("family", *words)[1]
        assert {row["length_images"] for row in json.loads(run("family", *words, "--format", "json")[1])} == {None}
    exported = ("export", path, "--phi", "1", "--network", "efficientnet-b0", "--to")
    assert f"# {first}\n" in run(*exported, "timm")[1]
    assert json.loads(run(*exported, "json")[1])["length"]["images"] == 160_000
    published = ("export", "--rule", "paper", "--phi", "1", "--to")
    assert "training" not in run(*published, "timm")[1]
    assert json.loads(run(*published, "json")[1])["length"] is None


def test_the_length_stands_over_the_multipliers_of_a_factory(run, tmp_path: Path) -> None:
    path = str(tmp_path / "constants.json")
    details = {"factory": {"name": "mynet:build", "resolution": 32}}
    dataclasses.replace(RECORD, network=None, details=details).save(path)
    assert run("family", path)[1].startswith("constants for a training of 160,000 images seen")
    assert json.loads(run("family", path, "--format", "json")[1])[0]["length_images"] == 160_000
    table = list(csv.DictReader(io.StringIO(run("family", path, "--format", "csv")[1])))
    assert table[0]["length_images"] == "160000"


def test_a_family_is_written_beside_what_is_printed(run, path: str, tmp_path: Path) -> None:
    shown = run("family", path)[1]
    for name, style in (("f.json", "json"), ("f.csv", "csv")):
        output = str(tmp_path / name)
        assert run("family", path, "--output", output) == (0, f"{shown}\nwritten: {output}\n", "")
        assert (tmp_path / name).read_text() == run("family", path, "--format", style)[1]
    assert run("family", path, "--format", "csv", "--output", output)[1] == (tmp_path / "f.csv").read_text()
    assert run("family", path, "--output", "f.txt")[0] == 2


def test_the_defaults_are_a_table_from_zero_to_seven(run, path: str) -> None:
    assert run("family", path) == run("family", path, "--phi", "0:7", "--format", "table", "--budget", "nominal")


@pytest.mark.parametrize(
    ("phi", "count"), [("-2:2", 5), ("-2:2:0.5", 9), ("-1", 1), ("-.5:.5", 2), ("-2,0,2", 3), ("-1e0:1", 3)]
)
def test_negative_phi_is_no_option(run, path: str, phi: str, count: int) -> None:
    status, out, err = run("family", path, "--phi", phi, "--format", "json")
    assert (status, err, len(json.loads(out))) == (0, "", count)
    assert run("family", path, f"--phi={phi}", "--format", "json")[1] == out


def test_matched_family(run) -> None:
    status, out, _ = run("family", "--rule", "paper", "--budget", "matched", "--phi", "-1:3", "--format", "json")
    rows = json.loads(out)
    assert status == 0
    assert [row["phi"] for row in rows] == [-1, 0, 1, 2, 3]
    base = count_cost(EFFICIENTNET_B0).macs
    assert [row["macs"] / base for row in rows] == pytest.approx([0.5, 1, 2, 4, 8], rel=0.02)
    assert [row["target_growth"] for row in rows] == [0.5, 1, 2, 4, 8]


def test_an_export_by_the_formula_that_costs_something_else_is_warned_about(run) -> None:
    words = ("export", "--rule", "paper", "--phi", "2", "--to", "timm")
    asked = "phi=2 costs 4.693 times the baseline, asked were 4.000; --budget matched stays within 2%"
    status, _, error = run(*words)
    assert status == 0
    assert error == f"phiscale: {asked}\n"
    assert run(*words, "--budget", "matched")[2] == ""


def test_networks_of_more_pixels_than_the_searched_images_are_named(run, tmp_path: Path) -> None:
    """Resolution alone doubles the 16 pixels of the proxy at phi 2, so phi 3 is the first beyond images of 32."""
    path = str(tmp_path / "r.json")
    small = dataclasses.replace(PROXY_BASE, resolution=16)
    alone = dataclasses.replace(RECORD, constants=PUBLISHED_RULES["resolution"].constants, network=small)
    dataclasses.replace(alone, data={"resolution": 32}).save(path)
    why = "would take more pixels than the images of the search have (32 x 32), where resolution may gain less"
    tells = f"{why}: phiscale confirm --study demo --phis 3 tells"
    assert run("family", path, "--phi", "0:7")[1].splitlines()[-1] == f"note: phi=3 and 4 more {tells}"
    assert "note:" not in run("family", path, "--phi", "0:2")[1]
    to_python = "--budget", "matched", "--to", "python"
    assert run("export", path, "--phi", "3", *to_python)[2] == f"phiscale: phi=3 {tells}\n"
    assert run("export", path, "--phi", "2", *to_python)[2] == ""
    for unknown in ({}, {"resolution": None}, {"resolution": "32"}, {"resolution": True}, {"resolution": -1}):
        dataclasses.replace(alone, data=unknown).save(path)
        assert "note:" not in run("family", path, "--phi", "0:7")[1]


def test_published_family(run) -> None:
    assert run("family", "--published") == (0, format_family(published_family(), "table") + "\n", "")
    table = list(csv.DictReader(io.StringIO(run("family", "--published", "--format", "csv")[1])))
    assert [row["params"] for row in table][:2] == ["5288548", "7794184"]


def test_options_of_family(run, path: str, tmp_path: Path) -> None:
    def row(*words: str) -> dict[str, object]:
        status, out, err = run("family", *words, "--phi", "2", "--format", "json")
        assert (status, err) == (0, "")
        return json.loads(out)[0]

    assert row(path, "--max-resolution", "25")["resolution"] == 25
    assert row("--rule", "paper", "--rounding", "pycls")["resolution"] == 296
    assert row("--rule", "paper", "--dropout", "0.9")["dropout"] == pytest.approx(0.4)
    assert row("--rule", "paper")["dropout"] == pytest.approx(0.2 + 0.3 * 2 / 7)
    assert row(path, "--network", "efficientnet-b0")["repeats"] == [2, 3, 3, 5, 5, 6, 2]
    other = tmp_path / "net.json"
    other.write_text(json.dumps(dataclasses.replace(PROXY_BASE, resolution=100).to_dict()))
    assert row(path, "--network", str(other))["resolution_asked"] == pytest.approx(2**0.25)
    assert row(path, "--network", str(other))["resolution"] == 119


def test_a_rule_brings_its_own_target(run) -> None:
    out = run("family", "--rule", "cmt", "--phi", "1", "--format", "json")[1]
    assert json.loads(out)[0]["target_growth"] == 2.5


def test_a_record_brings_its_own_cost_model(run, tmp_path: Path) -> None:
    record = dataclasses.replace(
        RECORD, cost_model=PARAMETERS, constants=constants_from_shares(Shares(0.5, 0.5, 0), PARAMETERS)
    )
    record.save(tmp_path / "constants.json")
    out = run("family", str(tmp_path / "constants.json"), "--phi", "2", "--budget", "matched", "--format", "json")[1]
    assert json.loads(out)[0]["params"] / count_cost(PROXY_BASE).params == pytest.approx(4, rel=0.02)


def test_a_record_without_a_network_scales_b0(run, tmp_path: Path) -> None:
    dataclasses.replace(RECORD, network=None).save(tmp_path / "constants.json")
    out = run("family", str(tmp_path / "constants.json"), "--phi", "0", "--format", "json")[1]
    assert json.loads(out)[0]["fingerprint"] == EFFICIENTNET_B0.fingerprint


def test_a_record_of_a_factory_is_not_taken_for_b0(run, tmp_path: Path) -> None:
    path = str(tmp_path / "constants.json")
    details = {"factory": {"name": "mynet:build", "resolution": 32}}
    dataclasses.replace(RECORD, network=None, details=details).save(path)
    for target, message in (
        ("json", "expected --to python for a record of mynet:build, got json"),
        ("python", "a phi of none"),
    ):
        status, _, err = run("export", path, "--phi", "1", "--to", target)
        assert (status, message in err) == (2, True), err
    assert run("export", path, "--phi", "1", "--to", "json", "--network", "efficientnet-b0")[0] == 0


def test_show(run, path: str) -> None:
    assert run("show", path) == (0, summarize(RECORD) + "\n", "")
    status, out, _ = run("show", path, "--json")
    assert (status, json.loads(out)) == (0, RECORD.to_dict())


def test_scale(run, path: str) -> None:
    sizes = ("--depth", "10", "--width", "64", "--resolution", "224")
    assert run("scale", *sizes, "--phi", "1") == (0, "depth 12  width 70  resolution 257\n", "")
    assert run("scale", *sizes, "--phi", "2")[1] == "depth 14  width 77  resolution 296\n"
    assert run("scale", *sizes, "--phi", "-1")[1] == "depth 8  width 58  resolution 194\n"
    doubled = run("scale", *sizes, "--phi", "1", "--alpha", "2", "--beta", "1", "--gamma", "1")
    assert doubled[1] == "depth 20  width 64  resolution 224\n"
    assert run("scale", *sizes, "--phi", "1", "--alpha", "2")[1] == "depth 20  width 70  resolution 257\n"
    # 2**(1/4), 2**(1/4) and 2**(1/8): 11.89, 76.1, 244.3.
    assert run("scale", *sizes, "--phi", "1", "--record", path)[1] == "depth 11  width 76  resolution 244\n"


@pytest.mark.parametrize("words", [["--help"], ["family", "--help"], ["show", "--help"], ["scale", "--help"]])
def test_help(run, words: list[str]) -> None:
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    assert out.startswith("usage: phiscale ")


def test_version(run) -> None:
    assert run("--version") == (0, "phiscale 0.1.0\n", "")


def sentence(err: str) -> str:
    """The one line of standard error."""
    assert err.startswith("phiscale: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


SIZES = ["--depth", "10", "--width", "64", "--resolution", "224"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "COMMAND"),
        (["grow"], "invalid choice: 'grow'"),
        (["show"], "record"),
        (["family"], "expected a record, --rule or both"),
        (["family", "RECORD", "--published"], "or --published alone"),
        (["family", "--rule", "paper", "--published"], "or --published alone"),
        (["family", "--published", "--phi", "2"], "expected no --phi with --published"),
        (["family", "--published", "--budget", "nominal"], "expected no --budget with --published"),
        (["family", "--published", "--network", "resnet-18", "--dropout", "0.2"], "expected no --network, --dropout"),
        (["family", "--published", "--rounding", "tf", "--max-resolution", "9"], "no --rounding, --max-resolution"),
        (["export", "--published", "b1", "--phi", "1", "--to", "json"], "expected no --phi with --published"),
        (["family", "--rule", "nosuch"], "invalid choice: 'nosuch'"),
        (["family", "RECORD", "--budget", "free"], "invalid choice"),
        (["family", "RECORD", "--rounding", "none"], "invalid choice"),
        (["family", "RECORD", "--format", "xml"], "invalid choice"),
        (["family", "RECORD", "--phi"], "expected one argument"),
        (["family", "RECORD", "--phi", "many"], "expected phi as 0:7"),
        (["family", "RECORD", "--phi", "nan"], "finite"),
        (["family", "RECORD", "--phi", "0:inf"], "finite"),
        (["family", "RECORD", "--phi", "7:0"], "first value not above the last"),
        (["family", "RECORD", "--phi", "0:1e9"], "at most 1000"),
        (["family", "RECORD", "--phi", "1e9"], "phi"),
        (["family", "RECORD", "--phi", "-1e9"], "phi"),
        (["family", "RECORD", "--phi", "1e6"], "use a phi nearer to 0"),
        (["family", "RECORD", "--phi", "-1500"], "use a phi nearer to 0"),
        (["family", "RECORD", "--phi", "-1500", "--budget", "matched"], "use a phi nearer to 0"),
        (["export", "RECORD", "--phi", "-1500", "--to", "json"], "use a phi nearer to 0"),
        (["family", "RECORD", "--phi", "300"], "smaller phi"),
        (["family", "RECORD", "--phi", "300", "--budget", "matched"], "smaller phi"),
        (["family", "RECORD", "--max-resolution", "0"], "max_resolution"),
        (["family", "RECORD", "--max-resolution", "-5"], "max_resolution"),
        (["family", "RECORD", "--max-resolution", "big"], "invalid int"),
        (["family", "RECORD", "--max-resolution", "9" * 5000], "invalid int"),
        (["family", "--rule", "paper", "--dropout", "1"], "dropout"),
        (["family", "--rule", "paper", "--dropout", "nan"], "dropout"),
        (["scale", "--depth", "10"], "required"),
        (["scale", *SIZES, "--phi", "nan"], "phi"),
        (["scale", *SIZES, "--phi", "inf"], "phi"),
        (["scale", *SIZES, "--phi", "1e9"], "phi"),
        (["scale", *SIZES, "--phi", "1000"], "at most 2147483647 after scaling"),
        (["scale", *SIZES, "--phi", "x"], "invalid float"),
        (["scale", *SIZES, "--phi", "1", "--depth", "-1"], "base_depth"),
        (["scale", *SIZES, "--phi", "1", "--width", "nan"], "base_width"),
        (["scale", *SIZES, "--phi", "1", "--resolution", "inf"], "base_resolution"),
        (["scale", *SIZES, "--phi", "100", "--depth", "1e308"], "smaller base or phi"),
        (["scale", *SIZES, "--phi", "1", "--alpha", "0"], "alpha"),
        (["scale", *SIZES, "--phi", "1", "--record", "RECORD", "--beta", "1.1"], "expected no --beta with --record"),
    ],
)
def test_wrong_usage(run, path: str, words: list[str], message: str) -> None:
    status, out, err = run(*[path if word == "RECORD" else word for word in words])
    assert (status, out) == (2, "")
    assert message in sentence(err)


BAD_FILES = {
    "empty": b"",
    "half": json.dumps(RECORD.to_dict()).encode()[:700],
    "bytes": b"\xff\x00\xfe",
    "nan": json.dumps(RECORD.to_dict() | {"phi": float("nan")}).encode(),
    "inf": json.dumps(RECORD.to_dict()).replace('"phi": 2.0', '"phi": 1e999').encode(),
    "digits": json.dumps(RECORD.to_dict()).replace('"phi": 2.0', f'"phi": {"9" * 5000}').encode(),
    "newer": json.dumps(RECORD.to_dict() | {"version": 3}).encode(),
    "older": json.dumps(RECORD.to_dict() | {"version": 0}).encode(),
    "other": b'{"alpha": 1.2}',
    "deep": b"[" * 100_000,
    "edited": json.dumps(RECORD.to_dict() | {"constants": {"alpha": 2, "beta": 2, "gamma": 2}}).encode(),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_records(run, tmp_path: Path, name: str) -> None:
    place = tmp_path / "constants.json"
    place.write_bytes(BAD_FILES[name])
    for words in (["show"], ["family"], ["scale", *SIZES, "--phi", "1", "--record"]):
        status, out, err = run(*words, str(place))
        assert (status, out) == (1, "")
        assert str(place) in sentence(err)


def test_places_that_hold_no_record(run, tmp_path: Path) -> None:
    for place, reason in ((tmp_path / "missing.json", "No such file"), (tmp_path, "No such file"), ("", "directory")):
        for command in ("show", "family"):
            status, out, err = run(command, str(place))
            assert (status, out) == (1, "")
            assert reason in sentence(err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_record_without_permission(run, tmp_path: Path) -> None:
    place = tmp_path / "constants.json"
    RECORD.save(place)
    place.chmod(0)
    status, _, err = run("show", str(place))
    assert status == 1
    assert "Permission denied" in sentence(err)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("", "not JSON"),
        ('{"name": "x"}', "lacks"),
        (json.dumps(PROXY_BASE.to_dict() | {"resolution": 10**20}), "resolution to be at most 2147483647"),
        (json.dumps(PROXY_BASE.to_dict() | {"resolution": -1}), "resolution to be at least 1"),
    ],
)
def test_bad_networks(run, path: str, tmp_path: Path, content: str | None, reason: str) -> None:
    place = tmp_path / "net.json"
    if content is not None:
        place.write_text(content)
    status, out, err = run("family", path, "--network", str(place))
    assert (status, out) == (1, "")
    assert reason in sentence(err)


def test_a_budget_that_cannot_be_matched(run) -> None:
    status, out, err = run("family", "--rule", "depth", "--phi", "-2", "--budget", "matched")
    assert (status, out) == (1, "")
    assert "within 0.02 of 0.25 times the cost of efficientnet-b0" in sentence(err)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["family", "show", "scale", "--phi", "--rule", "paper", "--depth", "--published", "--json"])
        | st.sampled_from(["--width", "--resolution", "1", "-2:2", "nan", "1e9", "-5", "--network", "proxy-base"])
        | st.text(alphabet="a0-.:,é\ud800", max_size=5),
        max_size=8,
    )
)
def test_any_words_end_in_an_exit_status(words: list[str]) -> None:
    try:
        status = main(words)
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status in (0, 1, 2)


# As a program


def test_as_a_program(path: str) -> None:
    done = shell(f"phiscale family '{path}' --phi -2:2 --format csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout == format_family(generate_family(PROXY_BASE, RECORD.constants, range(-2, 3)), "csv", RECORD) + "\n"
    )


@pytest.mark.parametrize(
    ("command", "status"),
    [("show no/such/file.json", 1), ("show .", 1), ("family --rule paper --phi 1e9", 2), ("grow", 2), ("", 2)],
)
def test_exit_status_and_one_sentence_of_the_program(command: str, status: int) -> None:
    done = shell(f"phiscale {command}")
    assert (done.returncode, done.stdout) == (status, "")
    sentence(done.stderr)


def test_a_reader_that_leaves_early() -> None:
    done = shell("phiscale family --rule paper --phi 0:7:0.01 --format json | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_the_output() -> None:
    done = shell("phiscale family --published > /dev/full")
    assert done.returncode == 1
    assert "cannot write the output: No space left on device" in sentence(done.stderr)


def test_closed_output() -> None:
    done = shell("phiscale family --published >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    place = tmp_path / "constants.json"
    for name in ("β study", "half \ud800 a pair"):
        dataclasses.replace(RECORD, study=name).save(place)
        for encoding in ("ascii", "utf-8"):
            done = shell(f"phiscale show '{place}'", PYTHONIOENCODING=encoding)
            assert (done.returncode, done.stderr) == (0, "")
            assert "\nstudy " in done.stdout


def test_a_record_cannot_move_the_cursor_or_begin_a_line(run, tmp_path: Path) -> None:
    """A record may come from anybody, and a terminal obeys what is printed on it."""
    evil = "\x1b[2J\r\u202e\x9b\nnote: all is well" + "y" * 10_000
    best = dataclasses.replace(RECORD.best_observed, name=evil)
    details = {"confirmation": {"verdict": evil}}
    record = dataclasses.replace(RECORD, study=evil, notes=(evil,), best_observed=best, details=details)
    record.save(tmp_path / "constants.json")
    plain = len(summarize(RECORD).splitlines())
    for words in (["show"], ["family", "--phi", "0"], ["export", "--phi", "1", "--to", "python"], ["show", "--json"]):
        status, out, _ = run(words[0], str(tmp_path), *words[1:])
        assert status == 0
        assert not {sign for sign in out if not sign.isprintable()} - {"\n"}
    shown = run("show", str(tmp_path))[1]
    assert shown.count("\n") == plain + 2  # a verdict and a note
    assert max(map(len, shown.splitlines())) < 1100
    assert r"\x1b[2J" in shown
    assert not any(line.startswith("note: all is well") for line in shown.splitlines())
