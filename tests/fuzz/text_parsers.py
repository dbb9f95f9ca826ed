"""The readers of JSON files, names of storages and options of commands."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import tyro
from hypothesis import strategies as st

from objectives.command.output import read_scores
from objectives.command.template import PLACEHOLDERS, Template
from objectives.training.rate_plane import RatePlane
from phiscale import FLOPS, PROXY_BASE, NetworkSpec, ScalingConstants, SearchRecord
from phiscale.calibration import Calibration
from phiscale.cli import main
from phiscale.family import generate_family
from phiscale.record import Horizon, Length, Observed
from phiscale.spec import load_network
from phiscale.summary import summarize
from scripts.run_search import SearchOptions
from search.storage import open_storage, redact, secrets_in
from tests.fuzz.mutation import json_inputs
from tests.fuzz.running import LONGEST, Parser, check_line

_PAPER = ScalingConstants(1.2, 2**0.5 / 1.2**0.5 / 1.1, 1.1)
RECORD = SearchRecord(
    study="s",
    created="2026-01-01T00:00:00+00:00",
    constants=_PAPER,
    cost_model=FLOPS,
    phi=1.0,
    network=PROXY_BASE,
    score_name="accuracy",
    direction="maximize",
    expected=None,
    noise=0.01,
    best_observed=Observed("trial 3", _PAPER, 0.7, 1),
    length=Length(1000, 100, "data"),
    horizon=Horizon(4000, True),
    notes=("a note",),
    data={"name": "data", "fingerprint": "0123"},
    budget={"trials": 3},
)
CALIBRATION = Calibration(
    cost_model=FLOPS,
    measured="latency",
    unit="ms",
    estimates=(1.0, 2.0, 2.0),
    half_widths=(0.1, 0.1, 0.1),
    r_squared=0.99,
    points=9,
    network="proxy-base",
    device="cpu",
)


def _written(content: bytes, folder: Path) -> Path:
    file = folder / "x.json"
    file.write_bytes(content)
    return file


def _read_record(content: bytes, folder: Path) -> None:
    record = SearchRecord.load(_written(content, folder))
    record.save(folder / "again.json")
    assert SearchRecord.load(folder / "again.json") == record
    assert summarize(record)


def _read_network(content: bytes, folder: Path) -> None:
    spec = load_network(_written(content, folder))
    assert NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    if spec.resolution < 10_000 and spec.total_repeats < 100:
        generate_family(spec, _PAPER, (0.0, 1.0), cost_model=FLOPS)


def _read_measured(given: tuple[type[Calibration | RatePlane], bytes], folder: Path) -> None:
    kind, content = given
    found = kind.load(_written(content, folder))
    found.save(folder / "again.json")
    assert kind.load(folder / "again.json") == found


def _saved(value: Calibration | RatePlane) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        value.save(Path(folder) / "x.json")
        return json.loads((Path(folder) / "x.json").read_text())


_measured = [CALIBRATION, RatePlane(rates=(0.1, 0.2, 0.1), found={"network": "proxy-base"})]
RECORDS = Parser("records", json_inputs(RECORD.to_dict()), _read_record)
NETWORKS = Parser("networks", json_inputs(PROXY_BASE.to_dict()), _read_network)
MEASURED = Parser(
    "cost models and rate planes",
    st.one_of([st.tuples(st.just(type(value)), json_inputs(_saved(value))) for value in _measured]),
    _read_measured,
)

_SECRET = "hunter"  # noqa: S105
_SCHEMES = (
    "mysql+pymysql",
    "mssql+pyodbc",
    "oracle",
    "nonsense",
    "",
    "redis",
    "postgresql+none",
    "MYSQL",
    "a b",
    "sqlite+x",
)


@st.composite
def _storages(draw: st.DrawFn) -> str:
    special = draw(st.text(st.sampled_from("@/?#%:&=;{} \n\t\x1b'\"\\"), max_size=3))
    password = draw(st.permutations([_SECRET, special, draw(st.sampled_from(["", _SECRET]))]).map("".join))
    if draw(st.booleans()):
        password = quote(password, safe="")
    scheme = draw(st.sampled_from(_SCHEMES))
    start = f"{scheme}://" if scheme or draw(st.booleans()) else ""
    where = draw(st.sampled_from(["127.0.0.1:1", "", "[::1]:1", "127.0.0.1:port"]))
    if draw(st.booleans()):
        return f"{start}{draw(st.sampled_from(['me', '', 'm.e']))}:{password}@{where}/db"
    name = draw(st.sampled_from(["password", "odbc_connect", "Token", "sslpassword"]))
    return f"{start or 'mysql://'}{where}/db?x=1&{name}={'PWD%3D' * draw(st.booleans())}{password}"


def _read_storage(name: str, folder: Path) -> None:
    assert _SECRET not in redact(name), redact(name)
    assert any(_SECRET in secret for secret in secrets_in(name))
    option = f"--storage={name}"
    assert _SECRET not in redact(option), redact(option)
    try:
        open_storage(name, folder)
    except Exception as error:
        if _SECRET in str(error):
            raise AssertionError(f"a secret in {error}") from error
        raise
    raise AssertionError("a storage that is not there was opened")


STORAGES = Parser("storages", _storages(), _read_storage)

_VALUES = st.sampled_from(
    ["", "1", "-1", "0", "1e400", "nan", "inf", "0:7", "0:1:1e-9", "x", "paper", "\x1b[31m", "é", "../x"]
)
_VALUES |= st.sampled_from(
    ["10" * 300, "0:99", "-2:2:0.5", "efficientnet-b0", "proxy-base", "none", "True", "a,b", "/", "="]
)
_VALUES |= st.text(max_size=6) | st.floats().map(str) | st.integers().map(str)
_FAMILY = (
    "--phi",
    "--constants",
    "--network",
    "--format",
    "--rounding",
    "--cost",
    "--budget",
    "--published",
    "--to",
    "--json",
)
_FAMILY += ("--alpha", "--beta", "--gamma", "--resolution", "--paper", "--help", "--version")


@st.composite
def _words(draw: st.DrawFn, names: tuple[str, ...]) -> list[str]:
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), st.none() | _VALUES), max_size=4))
    return [word for name, value in pairs for word in (name, value) if word is not None]


def _run_phiscale(words: list[str], folder: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as ended:
            status = int(ended.code or 0)
    assert status in (0, 1, 2)
    if status:
        message = err.getvalue().removesuffix("\n")
        assert message.startswith("phiscale: ")
        check_line(message[: LONGEST + 10].removeprefix("phiscale: ") if len(message) > LONGEST else message)
    else:
        assert all(line.isprintable() for line in out.getvalue().split("\n"))


_FIELDS = [
    *(f"--{field.name}" for field in dataclasses.fields(SearchOptions)),
    *("--trials", "--seeds", "--method", "--baselines", "--step", "--tolerance", "--horizon-epochs", "--seed"),
    *(
        "--train.epochs",
        "--train.rungs",
        "--train.batch-size",
        "--train.learning-rate",
        "--train.no-flip",
        "--train.device",
    ),
    *(
        "--data",
        "--side",
        "--network",
        "--phi",
        "--cost",
        "--budget",
        "--rounding",
        "--objective",
        "--command",
        "--command-rungs",
        "--command-timeout",
        "--workers",
        "--executor",
    ),
]


def _read_options(words: list[str], folder: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            options = tyro.cli(SearchOptions, prog="x", args=["--study", "s", *words])
        except SystemExit as ended:
            if ended.code in (0, 2):
                return
            raise
    assert options.folder == (options.results / options.study).absolute()


_HALVES = ['{"score": 0.5}', '{"scores": {"10": 0.5, "20": -1e3}}', '{"score": NaN}', "epoch 3", "{'a': 1}", "0.7", ""]
_outputs = st.lists(st.sampled_from(_HALVES), max_size=3).map("\n".join)
_outputs |= json_inputs({"scores": {"10": 0.5, "20": 0.75}, "epoch": 3}).map(lambda text: text.decode(errors="replace"))


def _read_output(said: str, _: Path) -> None:
    found = read_scores(said)
    scores = found if isinstance(found, dict) else {1: found}
    assert scores
    assert all(type(score) is float and math.isfinite(score) for score in scores.values())
    assert [*scores] == sorted(scores)
    assert min(scores) >= 1


_pieces = st.sampled_from(["x", " ", "'", '"', "{", "}", "{{", "}}", "\\", ":", "!r", "\0", "é", "\x1b", "[0]", ".a"])
_pieces |= st.sampled_from([f"{{{name}}}" for name in PLACEHOLDERS])
_templates = st.lists(_pieces, max_size=8).map("".join)


def _read_template(command: str, _: Path) -> None:
    made = Template.parse(command, available=PLACEHOLDERS, axes=())
    words = made.fill(dict.fromkeys(PLACEHOLDERS, "7 ;$(x)"))
    assert len(words) == len(made.words)
    assert any("7 ;$(x)" in word for word in words) == bool(made.names)
    assert made.names <= PLACEHOLDERS.keys()
    if not set(command) & {*"{}"}:
        assert words == shlex.split(command)


_commands = st.sampled_from([["family"], ["export"], ["scale"], ["show"], []])
COMMANDS = Parser("commands", st.builds(list.__add__, _commands, _words(_FAMILY)), _run_phiscale)
OPTIONS = Parser("options", _words(tuple(name.replace("_", "-") for name in _FIELDS)), _read_options)
OUTPUTS = Parser("outputs of a command", _outputs, _read_output)
TEMPLATES = Parser("placeholders of a command", _templates, _read_template)
