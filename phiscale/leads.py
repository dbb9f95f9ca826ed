"""The recommendation of a record against every published rule: as a confirmation measured it, else as estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phiscale.published import MEASURED_RULES
from phiscale.record import SearchRecord
from phiscale.score_text import percent, score_text
from phiscale.training_length import number
from phiscale.triangle import ScalingConstants

_Z90 = 1.6449
_VERDICTS = {"ahead": "better than", "behind": "not as good as", "not distinguishable": "not distinguishable from"}
_RESULTS = (*_VERDICTS, "unknown")


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The recommendation's lead over a rival."""

    rule: str
    """Key of ``MEASURED_RULES``; or a study that a confirmation compared with."""
    ahead: float | None
    """Lead of the recommendation, positive if it is better; None where none is known."""
    half_width: float | None
    """Half of its interval; that of a search holds for all rules together."""
    result: str
    """``ahead``, ``behind``, ``not distinguishable`` or ``unknown``."""
    level: float = 0.9
    """Of the interval."""
    confirmed: bool = False
    """Whether a confirmation measured the lead; if not, the search estimates it from its surface."""

    @property
    def name(self) -> str:
        """Name of the rule for display."""
        return MEASURED_RULES.get(self.rule, self.rule)

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.ahead is None:
            return f"no estimate of a difference from {self.name}"
        if self.result == "unknown":
            return f"not known whether ahead of {self.name}: hardly any network was trained twice"
        how = "" if self.confirmed else ", as the search estimates"
        return f"{_VERDICTS[self.result]} {self.name}{how}"

    @property
    def size(self) -> str:
        """``+0.0210 ± 0.0080 (95 % interval)``, without an interval that says nothing; empty if no lead is known."""
        if self.ahead is None:
            return ""
        if self.half_width is None or self.result == "unknown":
            why = "a guess" if self.half_width is not None else "too few pairs for an interval"
            return f"{score_text(self.ahead, self.half_width, '+')} ({why})"
        together = "" if self.confirmed else " for all rules together"
        half = score_text(self.half_width, self.half_width)
        return f"{score_text(self.ahead, self.half_width, '+')} ± {half} ({percent(self.level)} interval{together})"


@dataclass(frozen=True, kw_only=True)
class RuleLead(Lead):
    """The lead over a published rule that the search measured."""

    constants: ScalingConstants
    score: float
    """Mean over its evaluations."""
    evaluations: int
    error: float | None
    """Half of the 90 % interval of the score; None where the noise is not known."""


def leads(record: SearchRecord) -> list[RuleLead]:
    """The recommendation against every rule of the study, in the order of ``record.baselines``."""
    confirmed = {lead.rule: lead for lead in _confirmed(record)}
    stored = record.details.get("leads")
    searched = {row.get("rule"): row for row in stored if isinstance(row, Mapping)} if isinstance(stored, list) else {}
    found = []
    for row in record.baselines:
        lead = confirmed.get(row.name) or _lead(row.name, searched.get(row.name, {}))
        error = None if record.noise is None else _Z90 * record.noise / math.sqrt(row.evaluations)
        measured: dict[str, Any] = {
            "constants": row.constants,
            "score": row.score,
            "evaluations": row.evaluations,
            "error": error,
        }
        found.append(RuleLead(**vars(lead), **measured))
    return found


def against_paper(record: SearchRecord) -> Lead | None:
    """The lead over the paper's constants; where they were not compared, over the rival that is closest, or ahead.

    A confirmed lead is preferred to the search's estimate. None if no rival was measured.
    """
    rivals: Sequence[Lead] = _confirmed(record) or leads(record)
    paper = next((lead for lead in rivals if lead.rule == "paper"), None)
    return paper or min(rivals, key=lambda lead: math.inf if lead.ahead is None else lead.ahead, default=None)


def _confirmed(record: SearchRecord) -> list[Lead]:
    """The leads over all sizes that a confirmation measured."""
    rows = [row for row in comparisons(record) if row.get("phi") is None]
    found = [_lead(row["rival"], row, level=number(row.get("level")) or 0.95, confirmed=True) for row in rows]
    return [lead for lead in found if lead.ahead is not None]


def _lead(rule: str, row: Mapping[str, Any], *, level: float = 0.9, confirmed: bool = False) -> Lead:
    """The lead of a row of JSON; unknown if it has another shape. A confirmation of few pairs has no interval."""
    ahead, half, result = number(row.get("difference")), number(row.get("half_width")), row.get("result")
    if ahead is None or (half is None and not confirmed) or result not in _RESULTS:
        ahead, half, result = None, None, "unknown"
    return Lead(rule=rule, ahead=ahead, half_width=half, result=result, level=level, confirmed=confirmed)


def comparisons(record: SearchRecord) -> Sequence[Mapping[str, Any]]:
    """Rows of the confirmation's table, see ``search.confirm.as_json``; those of another shape are left out."""
    found = confirmation(record).get("comparisons")
    rows = found if isinstance(found, list) else []
    return [row for row in rows if isinstance(row, Mapping) and isinstance(row.get("rival"), str)]


def confirmation(record: SearchRecord) -> Mapping[str, Any]:
    """What a confirmation of these constants found; empty where there was none."""
    found = record.details.get("confirmation")
    return found if isinstance(found, Mapping) and "verdict" in found else {}
