"""A record in a few lines for a terminal: the answer, then what it rests on."""

from __future__ import annotations

from functools import partial

from phiscale.answer import answer, as_text, is_confirmed
from phiscale.leads import confirmation
from phiscale.record import SearchRecord
from phiscale.score_text import record_spread, score_text
from phiscale.text import joined
from phiscale.training_length import evidence_lines, is_measured, longest_rung

LONGEST_LINE = 1000
"""Characters of a line of a summary."""


def summarize(record: SearchRecord, results: str | None = None) -> str:
    """The record in a few lines. ``results`` is the folder of all studies, where that is not ``results``."""
    return joined([*as_text(answer(record, results)), "", *evidence(record)], longest=LONGEST_LINE)


def evidence(record: SearchRecord) -> list[str]:
    """What the answer rests on, as lines."""
    a, b, c = record.constants.as_tuple()
    s, model = record.shares, record.cost_model
    of = partial(score_text, spread=record_spread(record))
    lines = [
        f"study {record.study}, {record.created}, {record.device}",
        f"exactly: alpha {a:.4f}  beta {b:.4f}  gamma {c:.4f}   on {model.describe()} ({model.metric})",
        f"shares of a growth step: depth {s.depth:.1%}, width {s.width:.1%}, resolution {s.resolution:.1%}",
    ]
    if record.noise is not None:
        lines.append(f"noise of one evaluation: {of(record.noise)} (standard deviation)")
    lines += evidence_lines(record)
    if not is_measured(record):
        lines.append(f"scores of trials and rules are of {longest_rung(record):,} images seen")
    best = record.best_observed
    seen = ", ".join(f"{value:.4f}" for value in best.constants.as_tuple())
    caution = "; the luckiest of many is optimistic" if record.expected else ""
    lines.append(f"best observed ({best.name}): {of(best.score)} at {seen}{caution}")
    if record.baselines and is_confirmed(record):
        lines.append("rules as the search measured them, on other images than the confirmed score:")
    lines += [f"  {row.name:<12} {of(row.score)} over {row.evaluations}" for row in record.baselines]
    if confirmation(record):
        lines.append(f"confirmed with fresh seeds on unseen images: {confirmation(record)['verdict']}")
    return [*lines, *(f"note: {note}" for note in record.notes)]
