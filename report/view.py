"""Everything to show of a study, gathered once for report, summary and dashboard."""

from __future__ import annotations

import csv
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from phiscale.errors import PhiscaleError, RecordError, StudyError
from phiscale.files import read_json as read_json_file
from phiscale.leads import comparisons, confirmation
from phiscale.next_step import region_part
from phiscale.record import SearchRecord
from phiscale.score_text import record_spread, score_text
from phiscale.triangle import CostModel
from report.rows import (
    Kinds,
    are_counts,
    is_number,
    is_number_or_none,
    is_number_text,
    is_row,
    is_text,
    rows_of,
)
from search.aim import aim_of
from search.hold import is_driven
from search.measurements import Measurement, measurements
from search.recommendation import Prediction, predict, recommend
from search.results import families, make_record
from search.settings import SearchSettings
from search.study import SETTINGS_KEY, STOPPED, cost_model_of, is_ours
from search.trial import Trial, trials_of

if TYPE_CHECKING:
    from optuna import Study

RECORD = "constants.json"
FAMILY_COSTS = ("macs", "params")
"""Counted costs that tables of families show."""
_SIZES = ("depth", "width", "resolution_multiplier", "resolution", *FAMILY_COSTS, "growth")
_MEMBER = {
    "name": is_text,
    "repeats": are_counts,
    **dict.fromkeys(_SIZES, is_number),
    "target_growth": is_number_or_none,
}
_INTERVAL = dict.fromkeys(("value", "low", "high"), is_number)
_SETTING: Kinds = {
    "setting": is_text,
    "seconds": is_number,
    "spearman": lambda found: found is None or is_row(found, _INTERVAL),
}
_CONFIRMED: Kinds = {
    "name": is_text,
    "phi": is_number_text,
    "mean": is_number_text,
    "sd": lambda value: value == "" or is_number_text(value),
}
_COMPARISON = {
    **dict.fromkeys(("phi", "difference", "half_width", "level"), is_number_or_none),
    **dict.fromkeys(("p", "pairs"), is_number),
    "result": is_text,
}
"""What rows of files in the study's folder must hold to be shown; files of other programs are not."""
_STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"}


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study at one moment."""

    name: str
    direction: str
    """``maximize`` or ``minimize``."""
    settings: Mapping[str, Any]
    """What the study stored of its objective: network, data, train, phi."""
    cost_model: CostModel
    trials: tuple[Trial, ...]
    interrupted: frozenset[int]
    """Numbers of the trials that count as running although no driver is at work: the next run repeats them."""
    driven: bool
    """Whether a driver is at work on the study, as far as can be known."""
    rows: tuple[Measurement, ...]
    """One per measured network."""
    record: SearchRecord | None
    """The recommendation; None where no trial has finished."""
    stopped: str | None
    """Why the last run ended."""
    config: Mapping[str, Any]
    """``config.json`` of the latest run; empty where there is none."""
    folder: Path

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state: finished, pruned, failed, interrupted, running, waiting."""
        found = Counter("interrupted" if trial.number in self.interrupted else _state(trial) for trial in self.trials)
        return {name: found[name] for name in ("finished", "pruned", "failed", "interrupted", "running", "waiting")}

    @property
    def state(self) -> str:
        """The state of the study, as a phrase."""
        counts = self.counts
        if counts["running"] or self.driven:
            return "running"
        if not any(trial.is_attempt for trial in self.trials):
            return "no trial has ended"
        if not counts["finished"]:
            return "no trial has finished"
        return f"ended: {self.stopped}" if self.stopped else "ended before its last trial"

    @property
    def score_name(self) -> str:
        """What is measured, e.g. ``accuracy``."""
        return aim_of(None, self.settings, self.direction).score_name

    @property
    def sign(self) -> float:
        """1 where larger scores are better, -1 where smaller ones are."""
        return 1.0 if self.direction == "maximize" else -1.0

    @cached_property
    def spread(self) -> float | None:
        """A typical difference between two scores, for the digits that are shown; None where they do not differ."""
        known = record_spread(self.record) if self.record else None
        scores = [row.score for row in self.rows]
        return known or (statistics.pstdev(scores) if scores else None) or None

    @property
    def region_part(self) -> str:
        """The part of all constants that could be the best, e.g. ``33 %``; ``?`` where it is not known."""
        part = region_part(self.record) if self.record else None
        return "?" if part is None else f"{100 * part:.0f} %"

    def score(self, value: float) -> str:
        """A score of the study as text."""
        return score_text(value, self.spread)

    @property
    def ended(self) -> list[Trial]:
        """The trials that have ended, in any way."""
        return [trial for trial in self.trials if trial.is_finished]

    @cached_property
    def prediction(self) -> Prediction | None:
        """The fitted surface on a lattice; None where too few networks or equal scores show none."""
        aim = aim_of(None, self.settings, self.direction)
        length = self.record.length if self.record else None
        return predict(self.rows, self.cost_model, replace(aim, horizon=length.images if length else None))

    @cached_property
    def family(self) -> dict[str, Any] | None:
        """The family at phi 0 to 7, see ``search.results.families``; None without a record or a network."""
        if self.record is None or self.record.network is None:
            return None
        written = read_json(self.folder / "family.json")
        if _is_family(written) and written.get("constants") == vars(self.record.constants):
            return cast("dict[str, Any]", written)
        return families(self.record, self.record.network)

    @cached_property
    def other_families(self) -> dict[str, list[dict[str, Any]]]:
        """Families in files ``family-*.json`` of the folder (``phiscale family --output``), by the file's name."""
        found = {path.name: rows_of(read_json(path), _MEMBER) for path in sorted(self.folder.glob("family-*.json"))}
        return {name: rows for name, rows in found.items() if rows}

    @property
    def confirmation(self) -> Mapping[str, Any] | None:
        """What ``phiscale confirm`` found; None where it has not run for these constants."""
        return confirmation(self.record) or None if self.record else None

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """The rows of the confirmation's table; empty without one."""
        return rows_of(list(comparisons(self.record)), _COMPARISON) if self.record else []

    @cached_property
    def confirmed_families(self) -> list[dict[str, str]]:
        """Score against cost of every rule, from ``confirm-families.csv``; empty without a confirmation."""
        path = self.folder / "confirm-families.csv"
        if self.confirmation is None:
            return []
        try:
            rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError, csv.Error):
            return []
        return rows_of(rows, {**_CONFIRMED, self.cost_model.shown: is_number_text})

    @cached_property
    def fidelity(self) -> Mapping[str, Any] | None:
        """What ``phiscale check`` found in this folder; None where it has not run."""
        found = read_json(self.folder / "fidelity.json")
        settings = rows_of(found.get("settings"), _SETTING) if isinstance(found, dict) and "reference" in found else []
        return {**found, "settings": settings} if settings else None


def look(study: Study, folder: Path) -> StudyView:
    """The study at this moment; ``folder`` is the folder of its results.

    Raises ``StudyError`` for a study that another program made.
    """
    attributes = study.user_attrs
    if not is_ours(study):
        raise StudyError(f"the study {study.study_name!r} was not made by phiscale; choose another --study")
    settings = attributes[SETTINGS_KEY]
    cost_model = cost_model_of(study)
    trials = tuple(trials_of(study.get_trials(deepcopy=False), cost_model))
    running = [trial.number for trial in trials if trial.is_running]
    driven = is_driven(study)
    rows = measurements(trials, cost_model)
    config = read_json(folder / "config.json")
    return StudyView(
        name=study.study_name,
        direction=study.direction.name.lower(),
        settings=settings,
        cost_model=cost_model,
        trials=trials,
        interrupted=frozenset(() if driven else running),
        driven=driven,
        rows=tuple(rows),
        record=_record(study, trials, rows, cost_model, folder, config),
        stopped=attributes.get(STOPPED),
        config=config if isinstance(config, dict) else {},
        folder=folder,
    )


def _record(
    study: Study,
    trials: Sequence[Trial],
    rows: Sequence[Measurement],
    cost_model: CostModel,
    folder: Path,
    config: Any,
) -> SearchRecord | None:
    """The written record if it covers the same trials, else one made from the current trials."""
    if not rows:
        return None
    ended = sum(trial.is_attempt for trial in trials)
    try:
        written = SearchRecord.load(folder / RECORD)
        same = written.study == study.study_name and sum(written.budget["trials"].values()) == ended
        asked = config.get("search") if isinstance(config, dict) else None
        if same and (asked is None or _horizon_of(written.budget["search"]) == _horizon_of(asked)):
            return written
    except (RecordError, KeyError, AttributeError, TypeError):
        pass
    search = _search_settings(config)
    aim = aim_of(search, study.user_attrs[SETTINGS_KEY], study.direction.name.lower())
    return make_record(study, rows, recommend(rows, cost_model, aim), cost_model, search)


def _horizon_of(search: Any) -> tuple[Any, ...]:
    """The horizon that the settings of a search ask for."""
    return tuple(search.get(name) for name in ("horizon_epochs", "horizon_images")) if isinstance(search, dict) else ()


def _search_settings(config: Any) -> SearchSettings | None:
    try:
        return SearchSettings(**config["search"])
    except (KeyError, TypeError, PhiscaleError):
        return None


def _state(trial: Trial) -> str:
    if trial.state == "FAIL":
        return "failed" if trial.is_attempt else "interrupted"
    return _STATES[trial.state]


def _is_family(found: Any) -> bool:
    """Whether a file has the shape of ``search.results.families``; a sentence may stand in place of rows."""
    if not is_row(found, {"base": lambda base: is_row(base, {"name": is_text})}):
        return False
    kinds = {**_MEMBER, "phi": is_number}
    members = (found.get(budget) for budget in ("nominal", "matched"))
    return all(is_text(rows) or (isinstance(rows, list) and rows == rows_of(rows, kinds)) for rows in members)


def read_json(path: Path) -> Any:
    """The JSON value of a file; None where there is none that can be read."""
    try:
        return read_json_file(path, "file", StudyError)
    except StudyError:
        return None
