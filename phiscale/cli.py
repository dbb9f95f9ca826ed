"""The command line: make a family from a record, export a member, show a record, scale; and start what a checkout has.

Run: phiscale search --study demo --trials 20
     phiscale family results/demo/constants.json --phi 0:7
     phiscale family --rule paper --network efficientnet-b0 --phi 0:7 --budget matched
     phiscale export results/demo/constants.json --network efficientnet-b0 --phi 3 --to timm
     phiscale show results/demo/constants.json
     phiscale scale --depth 10 --width 64 --resolution 224 --phi 1
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import phiscale
from phiscale.baselines import BASELINES, find_network
from phiscale.commands import COMMANDS, SCRIPTS, overview, start
from phiscale.errors import ConstraintError, PhiscaleError, SettingsError
from phiscale.export import EXPORTS, export_member
from phiscale.factory import export_factory, factory_name, format_multipliers, multiplier_family
from phiscale.family import (
    BUDGETS,
    FamilyMember,
    enlarged_images,
    format_family,
    generate_family,
    parse_phis,
    published_family,
)
from phiscale.files import write_text
from phiscale.matching import MATCH_TOLERANCE
from phiscale.published import EFFICIENTNET_TABLE, PUBLISHED_RULES
from phiscale.record import SearchRecord
from phiscale.rounding import ROUNDINGS
from phiscale.scaling import efficientnet_scaling
from phiscale.summary import summarize
from phiscale.text import printable, printable_lines
from phiscale.triangle import CostModel, ScalingConstants


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for a failure, 2 for wrong usage."""
    words = _join_negative_phi(list(sys.argv[1:] if arguments is None else arguments))
    try:
        if words and words[0] in SCRIPTS:
            return start(words[0], words[1:])
        options = _parser().parse_args(words)
        text = options.run(options)
    except PhiscaleError as error:
        print(f"phiscale: {printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, (SettingsError, ConstraintError)) else 1
    return _print(text)


def _print(text: str) -> int:
    """Print and return the exit status; characters that the terminal lacks are written as escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(printable_lines(text).encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # What is left in the buffer must not fail again when the interpreter flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        print(f"phiscale: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _join_negative_phi(words: list[str]) -> list[str]:
    """``--phi -2:2`` as ``--phi=-2:2``, which argparse would take for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--phi" and word[:1] == "-" and word[1:2] in tuple("0123456789."):
            joined[-1] = f"--phi={word}"
        else:
            joined.append(word)
    return joined


class _Parser(argparse.ArgumentParser):
    """A parser that explains wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"phiscale: {printable(message, longest=300)}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="phiscale",
        usage="phiscale COMMAND ...",
        description=f"Find by how much your network should grow in depth, width and resolution.\n\n{overview()}",
        epilog="phiscale COMMAND --help explains one of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"phiscale {phiscale.__version__}")
    commands = parser.add_subparsers(required=True, prog="phiscale", metavar="COMMAND", help=argparse.SUPPRESS)
    add_options = {"family": _add_family, "export": _add_export, "show": _add_show, "scale": _add_scale}
    for name in (name for group in COMMANDS.values() for name in group):
        command = commands.add_parser(name)
        if name in add_options:
            add_options[name](command)
    return parser


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("record", help="constants.json or folder of a study")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
    parser.set_defaults(run=_show)


def _add_family(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--published", action="store_true", help="the published EfficientNet table B0 to L2")
    parser.add_argument("--phi", help="0:7, -2:2:0.5 or 0,0.5,3 (default: 0:7)")
    _add_source(parser)
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument("--output", help="a .json or .csv file to write too")
    parser.set_defaults(run=_family, default_phi="0:7")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--published", choices=list(EFFICIENTNET_TABLE), help="a published EfficientNet")
    parser.add_argument("--phi", help="compound coefficient (default: 1)")
    _add_source(parser)
    parser.add_argument("--to", choices=EXPORTS, required=True, help="runnable Python for a library, or plain data")
    parser.set_defaults(run=_export, default_phi="1")


def _add_source(parser: argparse.ArgumentParser) -> None:
    """Where constants come from, and how they scale which network."""
    parser.add_argument("record", nargs="?", help="constants.json or folder of a study; or use --rule, or --published")
    parser.add_argument(
        "--rule", choices=sorted(PUBLISHED_RULES), help="a published rule; with a record, on its network"
    )
    parser.add_argument(
        "--network",
        help=f"baseline: {', '.join(BASELINES)} or a JSON file (default: the record's; efficientnet-b0 with a rule)",
    )
    parser.add_argument(
        "--budget",
        choices=BUDGETS,
        help="nominal: the formula, then rounding; matched: counted cost equal to target**phi within 2 %% "
        "(default: nominal)",
    )
    parser.add_argument("--rounding", choices=list(ROUNDINGS), help="default: tf, or exact for small networks")
    parser.add_argument("--max-resolution", type=int, help="largest resolution in pixels")
    parser.add_argument("--resolution-multiple", type=int, help="every resolution is a multiple of it, in pixels")
    parser.add_argument("--dropout", type=float, help="rate at phi 7 (default: 0.5)")


def _add_scale(parser: argparse.ArgumentParser) -> None:
    for axis in ("depth", "width", "resolution"):
        parser.add_argument(f"--{axis}", type=float, required=True, help=f"{axis} of the baseline")
    parser.add_argument("--phi", type=float, required=True, help="compound coefficient")
    parser.add_argument("--record", help="constants from a record in place of alpha, beta and gamma")
    for name, value in vars(PUBLISHED_RULES["paper"].constants).items():
        parser.add_argument(f"--{name}", type=float, help=f"default: {value}, the paper's")
    parser.set_defaults(run=_scale)


def _phis(options: argparse.Namespace) -> tuple[float, ...]:
    return parse_phis(options.default_phi if options.phi is None else options.phi)


def _refuse(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raise ``SettingsError`` where options were given that would change nothing."""
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
    if given:
        raise SettingsError(f"expected no {', '.join(given)} {why}")


@dataclasses.dataclass(frozen=True)
class _Asked:
    """The networks that a command line asks for, and where their constants come from."""

    members: tuple[FamilyMember, ...]
    constants: ScalingConstants | None = None
    """None for the published table, which comes from none."""
    record: SearchRecord | None = None
    """None for published constants."""


def _members(options: argparse.Namespace) -> _Asked:
    if bool(options.published) == (options.record is not None or options.rule is not None):
        raise SettingsError("expected a record, --rule or both (the record's network), or --published alone")
    base = BASELINES["efficientnet-b0"]
    if options.published:
        fixed = ("phi", "network", "budget", "rounding", "max_resolution", "resolution_multiple", "dropout")
        _refuse(options, fixed, "with --published, a table as it stands; --rule paper gives the formula")
        return _Asked(published_family(base))
    record = SearchRecord.load(options.record) if options.record is not None else None
    constants, cost_model = _constants(options.rule, record)
    base = record.network or base if record else base
    if record and record.network is None and not options.network:
        print(f"phiscale: the record holds no network, so {base.name} is scaled; see --network", file=sys.stderr)
    base = find_network(options.network) if options.network else base
    if options.resolution_multiple is not None:
        base = dataclasses.replace(base, resolution_multiple=options.resolution_multiple)
    members = generate_family(
        base,
        constants,
        _phis(options),
        budget=options.budget or "nominal",
        rounding=ROUNDINGS[options.rounding] if options.rounding else None,
        cost_model=cost_model,
        max_resolution=options.max_resolution,
        dropout=0.5 if options.dropout is None else options.dropout,
    )
    return _Asked(members, constants, None if options.rule else record)


def _constants(rule: str | None, record: SearchRecord | None) -> tuple[ScalingConstants, CostModel]:
    """Those of the record, or of a published rule, which is taken to the surface of the record if there is one.

    Raises ``SettingsError`` for a rule that grows nothing there.
    """
    if rule is None:
        assert record is not None  # noqa: S101 - one of the two is given
        return record.constants, record.cost_model
    published = PUBLISHED_RULES[rule]
    if record is None:
        return published.constants, published.cost_model
    constants = published.on(record.cost_model)
    if constants is None:
        raise SettingsError(f"expected a rule that grows something that enters the cost of the record, got {rule}")
    return constants, record.cost_model


def _warn_of_growth(member: FamilyMember) -> None:
    """Say where a network costs something else than what was asked for: the formula and rounding hold no cost."""
    if member.target_growth and abs(member.growth / member.target_growth - 1) > MATCH_TOLERANCE:
        print(
            f"phiscale: {printable(member.name)} costs {member.growth:.3f} times the baseline, asked were "
            f"{member.target_growth:.3f}; --budget matched stays within {MATCH_TOLERANCE:.0%}",
            file=sys.stderr,
        )


def _family(options: argparse.Namespace) -> str:
    output = options.output and Path(options.output)
    if output and output.suffix not in (".json", ".csv"):
        raise SettingsError(f"expected --output to end in .json or .csv, got {output}")
    text = _format_of(options)
    if not output:
        return text(options.format)
    write_text(output, text(output.suffix[1:]) + "\n")
    return text(options.format) + (f"\n\nwritten: {output}" if options.format == "table" else "")


def _factory_record(options: argparse.Namespace) -> SearchRecord | None:
    """The record that is asked for, where it is of a factory and nothing else is to be scaled."""
    if not options.record or options.network or options.rule or options.published:
        return None
    record = SearchRecord.load(options.record)
    return record if factory_name(record) else None


def _format_of(options: argparse.Namespace) -> Callable[[str], str]:
    """The family that is asked for, in any format."""
    record = _factory_record(options)
    if record:
        _refuse(
            options,
            ("rounding", "resolution_multiple", "dropout"),
            f"for a record of {factory_name(record)}, which sees to both itself",
        )
        phis, cap = _phis(options), options.max_resolution
        rows = multiplier_family(record, phis, budget=options.budget or "nominal", max_resolution=cap)
        return lambda style: format_multipliers(rows, style, record)
    asked = _members(options)
    return lambda style: format_family(asked.members, style, asked.record)


def _export(options: argparse.Namespace) -> str:
    record = _factory_record(options)
    if record:
        fixed = ("rounding", "dropout", "max_resolution", "resolution_multiple")
        _refuse(
            options, fixed, f"for a record of {factory_name(record)}: its networks are those that the search counted"
        )
        return export_factory(record, _one_phi(options), options.to, budget=options.budget or "nominal")
    asked = _members(options)
    members = asked.members
    if options.published:
        members = tuple(member for member in members if member.name == options.published)
    else:
        _one_phi(options)
        _warn_of_growth(members[0])
        enlarged = enlarged_images([(members[0].phi, members[0].network.spec.resolution)], asked.record)
        if enlarged:
            print(f"phiscale: {enlarged}", file=sys.stderr)
    return export_member(members[0], options.to, asked.constants, asked.record)


def _one_phi(options: argparse.Namespace) -> float:
    phis = _phis(options)
    if len(phis) != 1:
        raise SettingsError(f"expected one phi to export, got {options.phi!r}; phiscale family shows many")
    return phis[0]


def _scale(options: argparse.Namespace) -> str:
    given = {name: getattr(options, name) for name in ("alpha", "beta", "gamma") if getattr(options, name) is not None}
    if options.record:
        _refuse(options, tuple(given), "with --record, which holds them")
        constants = SearchRecord.load(options.record).constants
    else:
        constants = dataclasses.replace(PUBLISHED_RULES["paper"].constants, **given)
    sizes = efficientnet_scaling(options.depth, options.width, options.resolution, options.phi, *constants.as_tuple())
    return "depth {}  width {}  resolution {}".format(*sizes)


def _show(options: argparse.Namespace) -> str:
    record, given = SearchRecord.load(options.record), Path(options.record).absolute()
    if options.json:
        return json.dumps(record.to_dict(), indent=2)
    folder = given if given.is_dir() else given.parent
    elsewhere = folder.name == record.study and folder.parent != Path("results").absolute()
    return summarize(record, str(folder.parent) if elsewhere else None)
