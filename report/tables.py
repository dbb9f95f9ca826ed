"""The tables of the report, as text ready to be shown."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from phiscale.cost import COUNTED
from phiscale.family import short_number
from phiscale.leads import leads
from phiscale.published import MEASURED_RULES
from phiscale.score_text import percent, score_text
from phiscale.training_length import is_measured, longest_rung, rungs_of
from report.rows import Kinds, is_number, is_row, numbers, rows_of
from report.view import FAMILY_COSTS, StudyView
from search.trial import Trial
from search.trial import row as flat


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row names it."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    kept: int = 1
    """How many columns stay in sight on a phone."""


_RESULTS = {"not distinguishable": "no difference shown", "unknown": "not known"}


def baselines(view: StudyView) -> Table | None:
    """The published rules of the study, best first."""
    if view.record is None or not view.record.baselines:
        return None
    rules = sorted(leads(view.record), key=lambda lead: -view.sign * lead.score)
    rows = [
        (
            lead.name,
            _difference(lead.ahead, lead.half_width, lead.level) + (", confirmed" if lead.confirmed else ""),
            _RESULTS.get(lead.result, lead.result),
            _with_error(lead.score, lead.error, view.spread),
            str(lead.evaluations),
            *_constants(lead.constants.as_tuple()),
        )
        for lead in rules
    ]
    head = ("rule", "lead of the recommendation", "it is", view.score_name, "seeds", "alpha", "beta", "gamma")
    length = longest_rung(view.record)
    where = f" at {length:,} images seen" if length else ""
    asked = "" if view.record.length is None or is_measured(view.record) else f" at {view.record.length.images:,}"
    title = f"Published rules measured in this study{where}, and the lead of the recommendation{asked}: 90 % intervals"
    return Table(title, head, rows, kept=3)


def rungs(view: StudyView) -> Table | None:
    """What was measured at each rung: noise, range, and where the best constants were."""
    record = view.record
    found = rungs_of(record) if record else ()
    if record is None or not found:
        return None
    epoch = record.length.epoch_images if record.length else None
    rows = [
        (
            f"{rung.images:,}",
            *([f"{rung.images / epoch:.3g}"] if epoch else []),
            *("" if value is None else score_text(value, rung.noise) for value in (rung.noise, rung.range)),
            _number(rung.noise_part, ".0%"),
            *(_number(share, ".0%") for share in (rung.optimum.as_tuple() if rung.optimum else (None,) * 3)),
        )
        for rung in found
    ]
    shares = ("best share of depth", "of width", "of resolution")
    head = ("images seen", *(["epochs"] if epoch else []), "noise of one training", "range", "noise / range", *shares)
    return Table(
        "Scores at each length: range is the best network's score minus the poorest's, by the surface", head, rows
    )


def confirmation(view: StudyView) -> Table | None:
    """Paired comparisons with every rule."""
    rows = [
        (
            MEASURED_RULES.get(row["rival"], row["rival"])
            + ("" if row.get("phi") is None else f" at phi {row['phi']:g}"),
            _difference(row.get("difference"), row.get("half_width"), row.get("level") or 0.95),
            _RESULTS.get(row["result"], str(row["result"])),
            f"{row['p']:.2g}",
            str(row["pairs"]),
            "the rule" if row.get("about_rule") else "these networks",
        )
        for row in view.comparisons
        if row.get("phi") is None or row["rival"] == "paper" or row["result"] != "not distinguishable"
    ]
    head = ("against", "lead of the recommendation", "it is", "p", "pairs", "said of")
    caption = (
        "Over all sizes, then at single ones. Differences are paired by seed. The paper's constants are tested first "
        "and alone, the other rules and the sizes by Holm's procedure; every interval has the level at which its p "
        "was judged"
    )
    return Table(caption, head, rows, kept=3) if rows else None


def _difference(value: float | None, half_width: float | None, level: float) -> str:
    """``+0.0123 ± 0.0100 (95 %)``; empty where it is not known."""
    if value is None:
        return ""
    return _with_error(value, half_width, sign="+") + ("" if half_width is None else f" ({percent(level)})")


def ledger(view: StudyView) -> Table | None:
    """The trials that ended, of many the best: constants, network, cost asked and realised, score."""
    metric = view.cost_model.shown
    sizes = ("blocks", "width", "pixels", COUNTED[metric].label, "of asked")
    head = ("trial", "rule", view.score_name, "alpha", "beta", "gamma", *sizes)
    ended = view.ended
    listed = sorted(ended, key=partial(_merit, view))[:_LONGEST]
    rows = [_ledger_row(view, flat(trial), metric) for trial in sorted(listed, key=lambda trial: trial.number)]
    caption = "Trials: constants asked for, network and cost realised"
    if len(rows) < len(ended):
        caption += f"; the {len(rows)} best of {len(ended):,} that have ended, trials.csv has all"
    return Table(caption, (*head, "seconds"), rows, kept=3) if rows else None


def _merit(view: StudyView, trial: Trial) -> tuple[bool, float]:
    """Sorts trials: the best first, those without a score last."""
    return trial.value is None, -view.sign * (trial.value or 0.0)


def _ledger_row(view: StudyView, row: Mapping[str, Any], metric: str) -> tuple[str, ...]:
    cost = row.get(metric)
    value = row["value"]
    result = {"FAIL": "interrupted" if row.get("failure_kind") == "interrupted" else "failed", "PRUNED": "pruned"}
    return (
        str(row["number"]),
        ", ".join(name for name in row.get("names", ()) if name in MEASURED_RULES),
        result.get(row["state"]) or ("" if value is None else view.score(value)),
        *(_number(row.get(name), ".3f") for name in ("alpha", "beta", "gamma")),
        _number(row.get("blocks"), "d"),
        _number(row.get("realised_width"), ".3f"),
        _number(row.get("resolution"), "d"),
        "" if cost is None else short_number(cost),
        _number(row.get("cost_ratio"), ".3f"),
        _number(row.get("seconds"), ".1f"),
    )


_LONGEST = 200
"""Trials that the table shows."""
_REALISED = dict.fromkeys(("depth", "width"), is_number)
_FACTORY_MEMBER: Kinds = {
    **dict.fromkeys(("resolution", *FAMILY_COSTS, "growth", "target_growth"), is_number),
    "realised": lambda found: is_row(found, _REALISED),
}
_COSTS = tuple(COUNTED[name].label for name in FAMILY_COSTS)


def families(view: StudyView) -> list[Table]:
    """The family by the formula, at matched cost, and the family files in the folder; or a factory's."""
    family, found = view.family or {}, _factory_families(view)
    for budget, name in (("nominal", "by the formula"), ("matched", "at matched cost")):
        members = family.get(budget)
        if isinstance(members, list):
            found.append(_family(f"{family['base']['name']} {name}", members))
    for file, members in view.other_families.items():
        found.append(_family(f"From {file}", members))
    return found


def _factory_families(view: StudyView) -> list[Table]:
    """The arguments for a user's own factory, and the network that it makes with them, as the search counted it."""
    factory = view.record.details.get("factory") if view.record else None
    if not isinstance(factory, Mapping):
        return []
    head = ("member", "depth", "width", "pixels", *_COSTS, "growth", "asked")
    found = []
    for budget, name in (("nominal", "by the formula"), ("matched", "at matched cost")):
        members = rows_of(factory.get(budget), {"phi": is_number})
        rows = [_factory_row(row) for row in members if "problem" in row or is_row(row, _FACTORY_MEMBER)]
        if rows:
            found.append(Table(f"{factory.get('name')} {name}: depth, width and pixels to call it with", head, rows))
    return found


def _factory_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "problem" in row:
        return f"phi={row['phi']:g}", *[""] * 5, "none", ""
    return (
        f"phi={row['phi']:g}",
        *(f"{row['realised'][axis]:.4f}" for axis in ("depth", "width")),
        str(row["resolution"]),
        *(short_number(row[name]) for name in FAMILY_COSTS),
        f"{row['growth']:.3f}",
        f"{row['target_growth']:.3f}",
    )


def _family(caption: str, members: Sequence[Mapping[str, Any]]) -> Table:
    head = ("member", "depth", "width", "resolution", "pixels", "blocks", *_COSTS, "growth", "asked")
    rows = [
        (
            str(row["name"]),
            *(f"{row[name]:.3f}" for name in ("depth", "width", "resolution_multiplier")),
            str(row["resolution"]),
            str(sum(row["repeats"])),
            *(short_number(row[name]) for name in FAMILY_COSTS),
            f"{row['growth']:.3f}",
            _number(row.get("target_growth"), ".3f"),
        )
        for row in members
    ]
    return Table(caption, head, rows)


def fidelity(view: StudyView) -> Table | None:
    """How cheap settings order the networks, compared with a longer training."""
    settings = view.fidelity.get("settings") if view.fidelity else None
    if not settings or not view.fidelity:
        return None
    rows = [
        (str(row["setting"]), f"{row['seconds']:.1f}", _interval(row.get("spearman")) or "undetermined")
        for row in settings
    ]
    caption = f"Rank correlation with {view.fidelity['reference']}, corrected for noise, with 90 % intervals"
    return Table(caption, ("setting", "seconds", "Spearman"), rows)


def surface(view: StudyView) -> Table | None:
    """The models of the response surface, and how well it predicts."""
    details = view.record.details if view.record else {}
    known, models, calibration = map(numbers, (details, details.get("models"), details.get("calibration")))
    if not models:
        return None
    rows = [(f"weight of {name}", f"{weight:.3f}") for name, weight in models.items() if weight >= 0.001]
    if {"coverage", "spread"} <= calibration.keys():
        rows.append(("left-out evaluations inside their 90 % interval", f"{calibration['coverage']:.0%}"))
        rows.append(("their error over the predicted one (1 is calibrated)", f"{calibration['spread']:.2f}"))
    if "optimism" in known:
        rows.append(("optimism of the best observed trial", score_text(known["optimism"], view.spread, "+")))
    if "expected_gain" in known:
        rows.append(("gain to be expected from knowing the surface exactly", view.score(known["expected_gain"])))
    return Table("Response surface: models by their posterior probability, calibration", ("what", "value"), rows)


def environment(view: StudyView) -> Table:
    """Data, training, device and versions."""
    record, settings = view.record, view.settings
    data, train = settings.get("data") or {}, settings.get("train") or {}
    rows = [("cost model", f"{view.cost_model.describe()} ({view.cost_model.metric})")]
    if settings.get("network"):
        rows.append(("baseline network", f"{settings['network']['name']}, {settings['network']['resolution']} px"))
    rows += [(f"data: {key}", str(value)) for key, value in data.items()]
    rows += [(f"training: {key}", str(value)) for key, value in train.items() if value is not None]
    if record:
        seconds = record.budget.get("seconds")
        rows += [("written", record.created), ("device", record.device)]
        rows += [("time in trials", f"{seconds / 60:.1f} min")] if isinstance(seconds, (int, float)) else []
        rows += [(name, str(version)) for name, version in record.versions.items()]
    rows.append(("system of this report", f"{platform.system()} {platform.machine()}"))
    return Table("What the study ran on", ("what", "value"), rows)


def _constants(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.3f}" for value in values)


def _with_error(value: float, error: float | None, spread: float | None = None, sign: str = "") -> str:
    """A score or a difference with its error, with the digits of the error, or of ``spread`` if there is none."""
    shown = score_text(value, error or spread, sign)
    return shown if error is None else f"{shown} ± {score_text(error, error)}"


def _interval(found: Mapping[str, float] | None) -> str:
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})" if found else ""


def _number(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
