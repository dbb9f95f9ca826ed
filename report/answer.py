"""The answer of a study in words and numbers: what is recommended, how sure that is, and ahead of what by how much."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from phiscale.answer import Line, answer, as_text, ranges
from phiscale.errors import one_line
from phiscale.leads import leads
from phiscale.record import SearchRecord
from phiscale.summary import LONGEST_LINE, evidence
from phiscale.text import capital, joined
from phiscale.training_length import drift_line, hindcast_line, is_measured
from report.series import cost_range
from report.view import StudyView

_LONGEST_REASON = 300
"""Characters of the reason of a failure that are shown; trials.csv has the whole."""


def five_lines(view: StudyView) -> list[Line]:
    """The answer of a study; empty before a trial has finished. While it runs, the next step is to wait."""
    if view.record is None:
        return []
    given = view.config.get("results")
    lines = answer(view.record, given if isinstance(given, str) and given != "results" else None)
    if view.state != "running":
        return lines
    return [
        dataclasses.replace(line, headline=_wait(view), command=None) if line.key == "next" else line for line in lines
    ]


def _wait(view: StudyView) -> str:
    search = view.config.get("search")
    asked = search.get("trials") if isinstance(search, Mapping) else None
    of = f" of {asked}" if isinstance(asked, int) else ""
    return f"Wait: the search runs, {sum(trial.is_attempt for trial in view.trials)}{of} trials have ended"


def further(view: StudyView) -> list[str]:
    """Sentences on what the answer rests on: noise, and how the constants move with training length."""
    record = view.record
    if record is None:
        return []
    noise = (
        [] if record.noise is None else [f"one evaluation varies by {view.score(record.noise)} (standard deviation)"]
    )
    lines = (*noise, drift_line(record), None if is_measured(record) else hindcast_line(record))
    return [f"{capital(line)}." for line in lines if line]


def failures(view: StudyView) -> list[str]:
    """Why trials failed, each reason once with the number of trials, the commonest first."""
    reasons: dict[str, int] = {}
    for trial in view.trials:
        if trial.state == "FAIL" and trial.failure is not None:
            reason = one_line(trial.failure.reason, _LONGEST_REASON)
            reasons[reason] = reasons.get(reason, 0) + 1
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    return [f"{count} trial{'s' if count > 1 else ''} failed: {reason}" for reason, count in ordered]


def interrupted(view: StudyView) -> list[str]:
    """A sentence on the trials that a killed run left behind; none where there are none."""
    count = len(view.interrupted)
    if not count:
        return []
    what = "1 trial was interrupted and" if count == 1 else f"{count} trials were interrupted and"
    return [f"{what} will be done again by the same command"]


def summary(view: StudyView) -> str:
    """A study in a few lines for a terminal; a running or failed one too."""
    counts = ", ".join(f"{count} {name}" for name, count in view.counts.items() if count) or "none"
    lines = [f"study {view.name} ({view.state}); trials: {counts}"]
    lines += [*failures(view), *interrupted(view)]
    record, cost = view.record, cost_range(view)
    if record is None:
        return joined([*lines, "nothing can be recommended yet"], longest=LONGEST_LINE)
    if cost:
        asked = record.cost_model.target_growth(record.phi)
        lines.append(f"counted cost of the trials: {cost[0]:.3f} to {cost[1]:.3f} of the {asked:g}x asked for")
    return joined([*as_text(five_lines(view)), "", *lines, *evidence(record)], longest=LONGEST_LINE)


def as_json(view: StudyView) -> dict[str, Any]:
    """A study for machines; docs/output.md explains the keys."""
    record = view.record
    return {
        "study": view.name,
        "state": view.state,
        "trials": {name.replace(" ", "_"): count for name, count in view.counts.items()},
        "failures": failures(view),
        "score": view.score_name,
        "direction": view.direction,
        "cost_model": asdict(view.cost_model),
        "cost_ratio": cost_range(view),
        "answer": {line.key: line.text for line in five_lines(view)},
        "recommendation": _recommendation(record) if record else None,
        "length": asdict(record.length) if record and record.length else None,
        "horizon": asdict(record.horizon) if record and record.horizon else None,
        "drift": _detail(record, "drift", dict, None),
        "hindcast": _detail(record, "hindcast", dict, None),
        "rungs": _detail(record, "rungs", list, []),
        "best_observed": asdict(record.best_observed) if record else None,
        "baselines": [asdict(lead) for lead in leads(record)] if record else [],
        "confirmation": dict(view.confirmation) if view.confirmation else None,
        "notes": list(record.notes) if record else [],
    }


def _recommendation(record: SearchRecord) -> dict[str, Any]:
    return {
        **asdict(record.constants),
        "ranges": ranges(record),
        "shares": asdict(record.shares),
        "phi": record.phi,
        "expected": asdict(record.expected) if record.expected else None,
        "noise": record.noise,
        "region_part": record.details.get("region_part"),
    }


def _detail(record: SearchRecord | None, name: str, kind: type, absent: Any) -> Any:
    """A part of the record's details; ``absent`` where it is not there or of another kind."""
    found = record.details.get(name) if record else None
    return found if isinstance(found, kind) else absent


def in_print(text: str) -> str:
    """A sentence made for terminals with the signs of a page."""
    return text.replace("+-", "±")
