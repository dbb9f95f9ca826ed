"""What a search and its confirmation on one data set showed and did not show, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from phiscale.family import short_number
from phiscale.record import Length, SearchRecord
from phiscale.score_text import percent, score_text
from phiscale.training_length import evidence_lines, length_lines, training
from report.view import StudyView

Row = Mapping[str, Any]


def evidence_markdown(title: str, view: StudyView, grid: SearchRecord | None, commands: Sequence[str]) -> str:
    """The whole text. ``view`` is the confirmed search, ``grid`` the record of the paper's procedure if it was run."""
    record, confirmation = view.record, view.confirmation
    if record is None or confirmation is None:
        raise ValueError("expected a confirmed study")
    overall = [row for row in view.comparisons if row["phi"] is None]
    length = _confirmed_length(confirmation, record)
    setting = (
        f"Device: {record.device}. {_spent('Search', record)}{_spent('Grid', grid) if grid else ''}"
        f"Confirmation: phi {', '.join(f'{phi:g}' for phi in confirmation['phis'])}, {confirmation['seeds']} seeds, "
        f"{length}, images that no search saw."
    )
    found = [_constants("search recommends", record), *length_lines(record)[1:], *evidence_lines(record)]
    found += [_constants("grid's best observed", grid, best=True)] if grid else []
    parts = [
        f"# {title}",
        setting,
        "\n".join(f"- {line}" for line in found),
        _shown(overall, _at_sizes(view.comparisons, overall), length),
        _comparisons(overall),
        _accuracies(view.confirmed_families),
        "Repeat:\n\n" + "\n".join(f"    {command}" for command in commands),
    ]
    return "\n\n".join(parts) + "\n"


def _spent(what: str, record: SearchRecord) -> str:
    return f"{what}: {record.budget['trials']['complete']} trials, {record.budget['seconds']:.0f} s of training. "


def _constants(what: str, record: SearchRecord, *, best: bool = False) -> str:
    constants = record.best_observed.constants if best else record.constants
    alpha, beta, gamma = constants.as_tuple()
    part = record.details.get("region_part")
    region = "" if best or part is None else f"; the 90 % region is {part:.1%} of the triangle"
    return f"{what}: alpha {alpha:.3f}, beta {beta:.3f}, gamma {gamma:.3f}, for {training(record)}{region}"


def _confirmed_length(confirmation: Row, record: SearchRecord) -> str:
    """The trainings of the confirmation; those that the constants are for, where it does not say."""
    length = confirmation.get("length")
    return Length(**length).describe() if length else training(record)


def _shown(overall: Sequence[Row], at_sizes: str, length: str) -> str:
    """The statement: ahead of what, behind what, and what could not be told apart, with what single sizes show."""
    named = {
        verdict: [str(row["rival"]) for row in overall if row["result"] == verdict]
        for verdict in ("ahead", "behind", "not distinguishable")
    }
    shown = [f"ahead of {', '.join(named['ahead'])}"] if named["ahead"] else []
    shown += [f"behind {', '.join(named['behind'])}"] if named["behind"] else []
    where = "over all sizes" if any(row.get("about_rule") for row in overall) else "for these networks alone"
    what = f"{where} the recommendation is {' and '.join(shown)}" if shown else f"no difference {where}"
    text = f"Shown for {length}: {what}."
    if named["not distinguishable"]:
        text += f" Not shown: any difference from {', '.join(named['not distinguishable'])}.{at_sizes}"
    return f"{text} Nothing is shown for larger networks, other training lengths, or other data."


def _at_sizes(comparisons: Sequence[Row], overall: Sequence[Row]) -> str:
    """Of the rules that are not told apart over all sizes: the single sizes at which they are."""
    open_ = {row["rival"] for row in overall if row["result"] == "not distinguishable"}
    phis: dict[tuple[str, str], list[str]] = {}
    for row in comparisons:
        if row["phi"] is not None and row["rival"] in open_ and row["result"] != "not distinguishable":
            phis.setdefault((row["result"], row["rival"]), []).append(f"{row['phi']:g}")
    named = [
        f"{result} {'of ' if result == 'ahead' else ''}{rival} at phi {', '.join(at)}"
        for (result, rival), at in phis.items()
    ]
    return f" At single sizes, of these networks alone: {'; '.join(named)}." if named else ""


def _comparisons(overall: Sequence[Row]) -> str:
    lines = ["| against | difference | interval | level | p | pairs | result |", "|---|---|---|---|---|---|---|"]
    for row in sorted(overall, key=lambda row: row["difference"]):
        error = row["half_width"]
        width = "-" if error is None else f"+- {score_text(error, error)}"
        difference = score_text(row["difference"], error, "+")
        measured = difference, width, percent(row.get("level") or 0.95), f"{row['p']:.2g}"
        cells = (row["rival"], *measured, row["pairs"], row["result"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _accuracies(rows: Sequence[Row]) -> str:
    """Score and counted cost of every rule at every phi."""
    phis = sorted({float(row["phi"]) for row in rows})
    found = {(str(row["name"]), float(row["phi"])): row for row in rows}
    lines = ["| | " + " | ".join(f"phi {phi:g}" for phi in phis) + " |", "|---|" + "---|" * len(phis)]
    for name in dict.fromkeys(str(row["name"]) for row in rows):
        cells = [_cell(found.get((name, phi))) for phi in phis]
        lines += ["| " + " | ".join([name, *cells]) + " |"]
    return "Score (standard deviation over seeds) at counted multiply-accumulates:\n\n" + "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    spread = f" ({float(row['sd']):.3f})" if row["sd"] else ""
    return f"{float(row['mean']):.3f}{spread}, {short_number(float(row['macs']))}"
