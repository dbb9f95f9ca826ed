"""Everything to show of a study, gathered once for report, summary and dashboard."""

from __future__ import annotations

import csv
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phiscale.cost import COUNTED
from phiscale.errors import PhiscaleError, RecordError, StudyError
from phiscale.files import read_json as read_json_file
from phiscale.leads import confirmation
from phiscale.next_step import region_part
from phiscale.record import SearchRecord
from phiscale.score_text import record_spread, score_text
from phiscale.triangle import CostModel
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
_MEMBER = {"name", "depth", "width", "resolution_multiplier", "resolution", "repeats", *FAMILY_COSTS, "growth"}
_SETTING = {"setting", "seconds"}
_CONFIRMED = {"name", *COUNTED, "mean", "sd"}
"""Columns that a file in the study's folder must have to be shown; files of other programs are not."""
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
        if isinstance(written, dict) and written.get("constants") == vars(self.record.constants):
            return written
        return families(self.record, self.record.network)

    @cached_property
    def other_families(self) -> dict[str, list[dict[str, Any]]]:
        """Families in files ``family-*.json`` of the folder (``phiscale family --output``), by the file's name."""
        found = {path.name: read_json(path) for path in sorted(self.folder.glob("family-*.json"))}
        return {name: rows for name, rows in found.items() if _are_rows(rows, _MEMBER)}

    @property
    def confirmation(self) -> Mapping[str, Any] | None:
        """What ``phiscale confirm`` found; None where it has not run for these constants."""
        return confirmation(self.record) or None if self.record else None

    @cached_property
    def confirmed_families(self) -> list[dict[str, str]]:
        """Score against cost of every rule, from ``confirm-families.csv``; empty without a confirmation."""
        path = self.folder / "confirm-families.csv"
        if self.confirmation is None or not path.is_file():
            return []
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        return rows if _are_rows(rows, _CONFIRMED) else []

    @cached_property
    def fidelity(self) -> Mapping[str, Any] | None:
        """What ``phiscale check`` found in this folder; None where it has not run."""
        found = read_json(self.folder / "fidelity.json")
        whole = isinstance(found, dict) and "reference" in found and _are_rows(found.get("settings"), _SETTING)
        return found if whole else None


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


def _are_rows(found: Any, keys: set[str]) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(r, dict) and keys <= r.keys() for r in found)


def read_json(path: Path) -> Any:
    """The JSON value of a file; None where there is none that can be read."""
    try:
        return read_json_file(path, "file", StudyError)
    except StudyError:
        return None
