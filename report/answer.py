"""The answer of a study in words and numbers: what is recommended, how sure that is, and ahead of what by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from phiscale.cli import LONGEST_LINE, is_confirmed, summarize
from phiscale.errors import one_line
from phiscale.published import MEASURED_RULES
from phiscale.record import SearchRecord
from phiscale.score_text import record_spread, score_text
from phiscale.text import joined
from phiscale.training_length import drift_line, hindcast_line, is_measured
from phiscale.triangle import ScalingConstants
from report.view import StudyView
from search.confirm import percent
from search.results import searched_estimate

_Z90 = 1.6449
_LONGEST_REASON = 300
"""Characters of the reason of a failure that are shown; trials.csv has the whole."""
_CONFIRM = (
    "That is an estimate of the search itself; scripts.confirm tests it with fresh seeds on images that the "
    "search never saw."
)
_RESULTS = ("ahead", "behind", "not distinguishable", "unknown")


@dataclass(frozen=True)
class Lead:
    """A published rule as the search measured it, and the recommendation's estimated lead over it."""

    rule: str
    """Key of ``MEASURED_RULES``."""
    constants: ScalingConstants
    score: float
    """Mean over its evaluations."""
    evaluations: int
    error: float | None
    """Half of the 90 % interval of the score; None where the noise is not known."""
    ahead: float | None
    """Lead of the recommendation by the surface at both points, positive if it is better; None where none is known."""
    half_width: float | None
    """Half of its interval; that of a search holds for all rules together."""
    result: str
    """``ahead``, ``behind``, ``not distinguishable`` or ``unknown``."""
    level: float = 0.9
    """Of the interval."""
    confirmed: bool = False
    """Whether the lead is that of ``scripts.confirm``, in place of the search's."""

    @property
    def name(self) -> str:
        """The rule for people."""
        return MEASURED_RULES.get(self.rule, self.rule)

    def sentence(self) -> str:
        """The lead in words."""
        if self.ahead is None or self.half_width is None:
            return f"{self.name}: {score_text(self.score, self.error)} measured, no estimate of a difference"
        together = "" if self.confirmed else " for all rules together"
        half = score_text(self.half_width, self.half_width)
        interval = f"{percent(self.level)} interval{together}"
        size = f"{score_text(self.ahead, self.half_width, '+')} ± {half} ({interval})"
        if self.result == "unknown":
            return f"lead over {self.name} {size}: a guess, since hardly any network was trained twice"
        if self.result == "not distinguishable":
            return f"not distinguishable from {self.name} in this search: {size}"
        return f"estimated {self.result} of {self.name} by {size}"


def leads(record: SearchRecord) -> list[Lead]:
    """The recommendation against every rule of the study: as confirmed, else as the search estimates it."""
    confirmed = {row["rival"]: row for row in comparisons(record.details.get("confirmation")) if row["phi"] is None}
    stored = record.details.get("leads")
    searched = {row.get("rule"): row for row in stored if isinstance(row, Mapping)} if isinstance(stored, list) else {}
    found = []
    for row in record.baselines:
        error = None if record.noise is None else _Z90 * record.noise / math.sqrt(row.evaluations)
        seen = confirmed.get(row.name)
        lead: Mapping[str, Any] = seen or searched.get(row.name, {})
        ahead, half, result = lead.get("difference"), lead.get("half_width"), lead.get("result")
        if not (isinstance(ahead, float) and isinstance(half, float) and result in _RESULTS):
            ahead, half, result = None, None, "unknown"
        level = seen.get("level", 0.95) if seen else 0.9
        found.append(
            Lead(row.name, row.constants, row.score, row.evaluations, error, ahead, half, result, level, bool(seen))
        )
    return found


def how_sure(view: StudyView) -> list[str]:
    """Sentences on how far the recommendation can be trusted, the most important first."""
    record = view.record
    if record is None:
        return []
    said = []
    of = partial(score_text, spread=record_spread(record))
    if view.confirmation:
        said.append(
            f"Confirmed with fresh seeds on images the search never saw: {in_print(view.confirmation['verdict'])}."
        )
    else:
        said += _against_rules(record)
    if record.expected:
        e = record.expected
        where = f" at {record.length.images:,} images seen" if record.length else ""
        said.append(
            f"Expected {record.score_name}{where}: {of(e.score)} (90 % interval {of(e.low)} to {of(e.high)})"
            f"{_instead(record)}."
        )
    part = record.details.get("region_part")
    if isinstance(part, float):
        said.append(f"The best constants lie, with 90 % probability, in {part:.0%} of the triangle.")
    if record.noise is not None:
        said.append(f"One evaluation varies by {of(record.noise)} (standard deviation).")
    return said + _over_length(record)


def _instead(record: SearchRecord) -> str:
    """That the expected score is confirmed, and what the search expected."""
    searched = searched_estimate(record)
    if not is_confirmed(record):
        return ""
    before = (
        f"; the search expected {score_text(searched.score, record_spread(record))} on its own images"
        if searched
        else ""
    )
    return f", confirmed on images the search never saw{before}"


def _against_rules(record: SearchRecord) -> list[str]:
    """The lead over the paper's constants, or over the first rule."""
    rivals = leads(record)
    against = next((lead for lead in rivals if lead.rule == "paper"), rivals[0] if rivals else None)
    if against is None:
        return []
    return [f"{capital(against.sentence())}.", *([_CONFIRM] if against.half_width is not None else [])]


def _over_length(record: SearchRecord) -> list[str]:
    """How the constants move with training length, and where they are predicted, how well that worked before."""
    lines = (drift_line(record), None if is_measured(record) else hindcast_line(record))
    return [f"{capital(line)}." for line in lines if line]


def cost_range(view: StudyView) -> tuple[float, float] | None:
    """Smallest and largest counted cost of a finished trial over the cost asked for; None without networks."""
    ratios = [trial.sizes.cost_ratio for trial in view.trials if trial.value is not None and trial.sizes]
    return (min(ratios), max(ratios)) if ratios else None


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
    lines += summarize(record).splitlines()
    if not view.confirmation:
        lines += [f"  {lead.sentence()}" for lead in leads(record) if lead.rule == "paper"]
    if cost:
        asked = record.cost_model.target_growth(record.phi)
        lines.append(f"counted cost of the trials: {cost[0]:.3f} to {cost[1]:.3f} of the {asked:g}x asked for")
    return joined(lines, longest=LONGEST_LINE)


def as_json(view: StudyView) -> dict[str, Any]:
    """A study for machines; the keys are those of ``scripts.report --print json``."""
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


def comparisons(confirmation: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """Rows of a confirmation's table, see ``search.confirm.as_json``."""
    found = confirmation.get("comparisons") if isinstance(confirmation, Mapping) else None
    return found if isinstance(found, list) else []


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def in_print(text: str) -> str:
    """A sentence made for terminals with the signs of a page."""
    return text.replace("+-", "±")
