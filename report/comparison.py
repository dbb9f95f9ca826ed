"""The answers of several studies next to each other, and the differences between their settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from phiscale.answer import LETTERS, ranges
from phiscale.cost import COUNTED
from report.answer import five_lines
from report.tables import Table
from report.view import StudyView

_MOST_NAMED = 8
"""Settings that a sentence names."""


def sentences(views: Sequence[StudyView]) -> list[str]:
    """What differs in the settings, and whether the answers contradict each other."""
    return [_differences(views), *_overlap(views)]


def _differences(views: Sequence[StudyView]) -> str:
    every = [_flat(_settings(view)) for view in views]
    names = list(dict.fromkeys(itertools.chain.from_iterable(every)))
    found = []
    for name in names:
        values = [settings.get(name) for settings in every]
        if any(value != values[0] for value in values):
            found.append(f"{name} ({' and '.join('none' if value is None else str(value) for value in values)})")
    if not found:
        return "Their settings are the same."
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"Their settings differ in {', '.join(found[:_MOST_NAMED])}{more}."


def _settings(view: StudyView) -> dict[str, Any]:
    """Settings that decide whether scores can be compared, the most important first."""
    network, data, train = (view.settings.get(name) or {} for name in ("network", "data", "train"))
    known = {"baseline": _some(network, ("name", "resolution")), "data": _some(data, ("name", "epoch_images"))}
    lengths = ("images_seen", "epochs")  # which follow from the length
    other = {name: value for name, value in train.items() if name not in lengths}
    rest = {name: view.settings.get(name) for name in ("phi", "budget", "score", "objective")}
    return {"length": _length(view), **known, "cost": view.cost_model.metric, **rest, "training": other}


def _some(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: settings.get(name) for name in names}


def _length(view: StudyView) -> str | None:
    record = view.record
    return f"{record.length.images:,} images seen" if record and record.length else None


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name} ")
        elif value is not None:
            found[f"{before}{name}"] = value
    return found


def _overlap(views: Sequence[StudyView]) -> list[str]:
    """Whether one set of constants could be the best of all; nothing where a study has no region."""
    regions = [set(view.record.region) if view.record else set() for view in views]
    if not all(regions) or len({view.cost_model for view in views}) > 1:
        return []
    if set.intersection(*regions):
        return ["Some constants could be the best in every study: they do not contradict each other."]
    return [
        "No constants could be the best in every study (their 90 % regions share nothing): they contradict each other."
    ]


def table(views: Sequence[StudyView]) -> Table:
    """One row a study: constants with ranges, and the lines of the answer."""
    rows = []
    for view in views:
        lines = {line.key: line for line in five_lines(view)}
        values = view.record.constants.as_tuple() if view.record else ()
        ends = (ranges(view.record) if view.record else None) or (None,) * len(values)
        cells = [_constant(value, end) for value, end in zip(values, ends, strict=True)] or [""] * len(LETTERS)
        said = [lines[key].headline if key in lines else "" for key in ("sure", "paper")]
        data = (view.settings.get("data") or {}).get("name") or ""
        model = view.cost_model
        growth = f"{model.target_growth(view.record.phi):.3g} x " if view.record else ""
        cost = f"{growth}{COUNTED[model.shown].label}"
        rows.append((view.name, *cells, _length(view) or "not stated", str(data), cost, *said, view.state))
    head = ("study", *LETTERS, "length", "data", "cost", "how sure", "against the paper", "state")
    return Table("The answers; in brackets the ranges that hold the best constants with 90 % probability", head, rows)


def _constant(value: float, ends: tuple[float, float] | None) -> str:
    return f"{value:.2f}" if ends is None else f"{value:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"
