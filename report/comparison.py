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
_LONGEST = 40
"""Letters of a value that a sentence quotes; of longer ones it names the setting alone."""
_EFFORT = ("trials", "until_region", "until_gain", "seed", "baselines")
"""Settings of a search that change how sure its answer is, not what it is about."""
_OF_LENGTH = ("epochs", "images_seen", "horizon_epochs", "horizon_images")
"""Settings that the length of the record states."""
_NAMES = {"network": "baseline", "train": "training"}


def sentences(views: Sequence[StudyView]) -> list[str]:
    """What differs in the settings, and whether the answers contradict each other."""
    found = _differences(views)
    return [_named(found), *_overlap(views, same=not found)]


def _differences(views: Sequence[StudyView]) -> dict[str, list[Any]]:
    """The values of every study, by the name of each setting that differs."""
    every = [_flat(_settings(view)) for view in views]
    names = dict.fromkeys(itertools.chain.from_iterable(every))
    if not all(map(_search, views)):  # not known, rather than different
        names = {name: None for name in names if not name.startswith("search ")}
    found = {name: [settings.get(name) for settings in every] for name in names}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}


def _named(found: Mapping[str, Sequence[Any]]) -> str:
    if not found:
        return "Their settings are the same."
    named = [_quoted(name, values) for name, values in found.items()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"Their settings differ in {', '.join(named[:_MOST_NAMED])}{more}."


def _quoted(name: str, values: Sequence[Any]) -> str:
    texts = ["none" if value is None else str(value) for value in values]
    return name if max(map(len, texts)) > _LONGEST else f"{name} ({' and '.join(texts)})"


def _settings(view: StudyView) -> dict[str, Any]:
    """All that the study stored and that decides its answer, the most important first."""
    model, length = view.cost_model, _length(view)
    cost = {"cost": model.metric, "cost exponents": list(model.exponents), "cost growth": model.target}
    stored = {_NAMES.get(name, name): value for name, value in view.settings.items() if name != "cost_model"}
    first: dict[str, Any] = {name: stored[name] for name in ("factory", "baseline", "data") if name in stored}
    search = {name: value for name, value in _search(view).items() if name not in _EFFORT}
    every: dict[str, Any] = {"length": length, "direction": view.direction, **first, **cost, **stored, "search": search}
    return _without_length(every) if length else every


def _search(view: StudyView) -> Mapping[str, Any]:
    """The settings of the latest search; empty where they are not known."""
    found = view.record.budget.get("search") if view.record else None
    return found if isinstance(found, Mapping) else {}


def _without_length(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(settings)
    for name in ("training", "search"):
        if isinstance(kept.get(name), Mapping):
            kept[name] = {key: value for key, value in kept[name].items() if key not in _OF_LENGTH}
    return kept


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


def _overlap(views: Sequence[StudyView], *, same: bool) -> list[str]:
    """Whether one set of constants could be the best of all; nothing where a study has no region.

    Only studies of the ``same`` settings can contradict each other.
    """
    regions = [set(view.record.region) if view.record else set() for view in views]
    if not all(regions) or len({view.cost_model for view in views}) > 1:
        return []
    if set.intersection(*regions):
        return ["Some constants could be the best in every study: they do not contradict each other."]
    why = "they contradict each other" if same else "the best constants differ between these settings"
    return [f"No constants could be the best in every study (their 90 % regions share nothing): {why}."]


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
