"""What the figures of a study show, as plain numbers: report and dashboard draw the same."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from report.answer import RULES
from report.view import StudyView
from search.measurements import Measurement
from search.settings import BASELINE_RULES

NEAREST = "recommended (nearest)"
"""Label of the measured network that is nearest to the recommendation."""


@dataclass(frozen=True)
class Point:
    """One finished trial against its counted cost."""

    trial: int
    cost: float
    """By the metric of the cost model, e.g. multiply-accumulates; the growth where the cost is a formula."""
    ratio: float
    """Counted cost over the cost asked for."""
    score: float
    rule: str
    """A published rule it stands for, or nothing."""


@dataclass(frozen=True)
class Curve:
    """Score per epoch of one trial, the mean over its seeds."""

    trial: int
    values: tuple[float, ...]
    label: str
    """Why it stands out; nothing for the others."""


def costs(view: StudyView) -> list[Point]:
    """Every finished trial whose network was counted."""
    metric, found = view.cost_model.metric, []
    for trial in view.trials:
        a = trial.user_attrs
        if trial.state.name == "COMPLETE" and trial.value is not None and "cost_ratio" in a:
            rule = rules_of(a.get("names", ()))
            cost = float(a.get(metric, a["growth"]))
            found.append(Point(trial.number, cost, float(a["cost_ratio"]), float(trial.value), rule))
    return found


def curves(view: StudyView) -> list[Curve]:
    """The learning curves, those that stand out last: the paper's, and the network nearest to the recommendation."""
    nearest, found = _nearest(view), []
    for trial in view.trials:
        if trial.state.name != "COMPLETE":
            continue
        values = _curve(trial.user_attrs.get("curves", []), view.score_name)
        if values:
            label = NEAREST if nearest and trial.number in nearest.trials else ""
            label = label or (RULES["paper"] if "paper" in trial.user_attrs.get("names", ()) else "")
            found.append(Curve(trial.number, values, label))
    order = ["", RULES["paper"]]
    return sorted(found, key=lambda curve: order.index(curve.label) if curve.label in order else len(order))


def _nearest(view: StudyView) -> Measurement | None:
    if view.record is None:
        return None
    place = view.record.shares.as_tuple()
    return min(view.rows, key=lambda row: math.dist(row.shares.as_tuple(), place), default=None)


def _curve(seeds: Sequence[dict[str, Sequence[float]]], name: str) -> tuple[float, ...]:
    chosen = [parts.get(name) or next(iter(parts.values()), ()) for parts in seeds]
    return tuple(map(statistics.fmean, zip(*chosen, strict=False))) if chosen else ()


def rules_of(names: Sequence[str]) -> str:
    """The published rules among the names of a trial."""
    return ", ".join(name for name in names if name in BASELINE_RULES)


def growth(view: StudyView) -> dict[str, list[tuple[float, float]]]:
    """(phi, counted growth) of the family by the formula and at matched cost; empty without a family."""
    family: dict[str, Any] = view.family or {}
    return {
        budget: [(row["phi"], row["growth"]) for row in family[budget]]
        for budget in ("nominal", "matched")
        if isinstance(family.get(budget), list)
    }


def confirmed(view: StudyView) -> dict[str, list[tuple[float, float, float]]]:
    """(cost, mean score, standard deviation) by rule at every confirmed phi, by rising cost."""
    metric = view.cost_model.metric if view.cost_model.metric != "formula" else "macs"
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in view.confirmed_families:
        point = float(row[metric]), float(row["mean"]), float(row["sd"] or 0)
        found.setdefault(row["name"], []).append(point)
    return {name: sorted(points) for name, points in found.items()}
