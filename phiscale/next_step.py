"""What to do next with a record, and about how long that takes, from the times that its search measured."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phiscale.errors import ConstraintError
from phiscale.family import parse_phis
from phiscale.leads import against_paper, confirmation
from phiscale.published import MEASURED_RULES, PUBLISHED_RULES
from phiscale.record import SearchRecord
from phiscale.text import duration
from phiscale.training_length import FARTHEST, longest_rung, number

CONFIRM_PHIS = "1,1.2,1.4,1.6,1.8,2,2.2,2.4,2.5,2.7,2.8,3"
"""Sizes at which ``phiscale confirm`` compares by default."""
CONFIRM_SEEDS = 2
"""Trainings of every network in a confirmation by default."""
UNSURE = 0.5
"""If more than this part of all constants could be the best, more trials are worth more than a confirmation."""

_LONG = 10
"""If a confirmation with all rules takes more than this many times as long as the search, one rule comes first."""


@dataclass(frozen=True)
class Step:
    """Something to do."""

    what: str
    command: str | None
    seconds: float | None = None
    """About how long it takes; None where that is not known."""

    @property
    def text(self) -> str:
        """``confirm on unseen images: phiscale confirm --study mine, about 10 minutes``."""
        about = f", about {duration(self.seconds)}" if self.seconds else ""
        return f"{self.what}{f': {self.command}' if self.command else ''}{about}"


def next_step(record: SearchRecord, results: str | None = None) -> Step:
    """What to do next. ``results`` is the folder of all studies, where that is not ``results``."""
    part = region_part(record)
    if confirmation(record):
        return _after_confirmation(record, results)
    if record.horizon and not record.horizon.determined:
        return _longer(record)
    lead = against_paper(record)
    if part is None or (part > UNSURE and (lead is None or lead.result != "ahead")):
        return _more_trials(record)
    if not _can_be_confirmed(record):
        what = "train with these constants and with the paper's, with fresh seeds"
        return Step(what, _family(record, results) if record.network else None)
    return _first_confirmation(record, results)


def region_part(record: SearchRecord) -> float | None:
    """The part of all constants that could still be the best, with 90 % probability; None where it is not known."""
    part = number(record.details.get("region_part"))
    return part if part is not None and 0 <= part <= 1 else None


def _first_confirmation(record: SearchRecord, results: str | None) -> Step:
    """With all rules, or with the paper's alone where all would take much longer than the search."""
    command, seconds = _confirm(record, results), _confirm_seconds(record, CONFIRM_SEEDS)
    searched = number(record.budget.get("seconds"))
    if seconds is None or not searched or seconds <= _LONG * searched:
        return Step("confirm on unseen images", command, seconds)
    alone = seconds * 2 / (1 + _rivals(record))
    return Step("confirm on unseen images, against the paper's constants alone", f"{command} --rivals paper", alone)


def _after_confirmation(record: SearchRecord, results: str | None) -> Step:
    lead = against_paper(record)
    result = lead.result if lead and lead.confirmed else "unknown"
    if result == "ahead":
        return Step("use these constants", _family(record, results))
    if result == "behind" and lead:
        if lead.rule in PUBLISHED_RULES:
            of = f"{_folder(record.study, results)} --rule {lead.rule}"
            return Step(f"use {lead.name} instead", _family(record, results, of) if record.network else None)
        return Step(f"use those of {lead.name} instead", _family(record, results, _folder(lead.rule, results)))
    sizes = confirmation(record).get("phis")
    if isinstance(sizes, list) and len(sizes) < len(parse_phis(CONFIRM_PHIS)):
        return Step("confirm at more sizes", _confirm(record, results), _confirm_seconds(record, CONFIRM_SEEDS))
    done = _count(confirmation(record).get("seeds"), CONFIRM_SEEDS)
    return Step(
        f"confirm with {2 * done} seeds in place of {done}",
        f"{_confirm(record, results)} --seeds {2 * done}",
        _confirm_seconds(record, done),
    )


def _longer(record: SearchRecord) -> Step:
    """A study whose longest rung reaches the horizon, or is the horizon if the extrapolation failed within reach."""
    longest, horizon = longest_rung(record) or 0, record.horizon.images if record.horizon else 0
    images = math.ceil(horizon / FARTHEST) if horizon > FARTHEST * longest else horizon
    seconds = _search_seconds(record, _trials(record))
    if isinstance(record.budget.get("objective"), Mapping):
        how = f"scores up to {images:,} images seen"
    elif _trains_proxies(record):
        how = f"the same command with a length of --train.images-seen {images}"
    else:
        how = f"rungs of your objective up to {images:,} images seen"
    what = f"search with longer trainings: {how} and another --study"
    return Step(what, None, seconds * images / longest if seconds and longest else None)


def _more_trials(record: SearchRecord) -> Step:
    done, search = _trials(record), record.budget.get("search")
    if isinstance(search, Mapping) and search.get("method") in ("grid", "lattice"):
        return Step("search on a finer grid: the same command with a smaller --step and another --study", None)
    total = max(2 * done, 16)
    return Step(f"search on: the same command with --trials {total}", None, _search_seconds(record, total - done))


def _trials(record: SearchRecord) -> int:
    """Trials that have ended; 0 where that is not known."""
    trials = record.budget.get("trials")
    return _count(sum(number(count) or 0 for count in trials.values()) if isinstance(trials, Mapping) else trials, 0)


def _search_seconds(record: SearchRecord, trials: float) -> float | None:
    """Seconds that this number of trials takes in sequence, at the mean time of the search's trials."""
    seconds, done = number(record.budget.get("seconds")), _trials(record)
    return seconds / done * trials if seconds and done else None


def _confirm_seconds(record: SearchRecord, seeds: float) -> float | None:
    """Seconds in which ``phiscale confirm`` trains all rules at all sizes: a training takes as long as it costs."""
    seconds, evaluations = number(record.budget.get("seconds")), number(record.budget.get("evaluations"))
    longest = longest_rung(record)
    if not seconds or not evaluations:
        return None
    rules = 1 + _rivals(record)
    longer = record.length.images / longest if record.length and longest else 1.0
    try:
        growth = sum(record.cost_model.target_growth(phi - record.phi) for phi in parse_phis(CONFIRM_PHIS))
    except ConstraintError:
        return None
    return seconds / evaluations * longer * growth * rules * seeds


def _rivals(record: SearchRecord) -> int:
    """Published rules that hold for the record's cost model."""
    return sum(PUBLISHED_RULES[name].on(record.cost_model) is not None for name in MEASURED_RULES)


def _trains_proxies(record: SearchRecord) -> bool:
    train: Any = record.budget.get("train")
    return record.budget.get("objective") in (None, "proxy") and isinstance(train, Mapping) and bool(train)


def _can_be_confirmed(record: SearchRecord) -> bool:
    """Whether the study's networks can be scored on images that the search never saw: proxies, or a command with
    ``{split}`` whose networks are counted.
    """
    objective = record.budget.get("objective")
    if isinstance(objective, Mapping) and "{split}" not in str(objective.get("command")):
        return False
    known = isinstance(objective, Mapping) or _trains_proxies(record)
    return known and isinstance(record.budget.get("budget"), str)


def _confirm(record: SearchRecord, results: str | None) -> str:
    where = f" --results {shlex.quote(results)}" if results else ""
    return f"phiscale confirm --study {shlex.quote(record.study)}{where}"


def _folder(study: str, results: str | None) -> str:
    return shlex.quote(f"{results or 'results'}/{study}")


def _family(record: SearchRecord, results: str | None, of: str | None = None) -> str:
    return f"phiscale family {of or _folder(record.study, results)} --phi 0:7 --budget matched"


def _count(value: object, absent: int) -> int:
    known = number(value)
    return round(known) if known and known >= 1 else absent
