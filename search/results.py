"""What a study leaves behind in its folder: trials as a table, the recommendation as a record, the family."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import phiscale
from phiscale.errors import BudgetError, RecordError, StudyError
from phiscale.family import family_rows, generate_family
from phiscale.files import write_text
from phiscale.published import MEASURED_RULES
from phiscale.record import Estimate, Horizon, Length, Observed, SearchRecord
from phiscale.spec import NetworkSpec
from phiscale.triangle import CostModel
from search.aim import aim_of
from search.measurements import Measurement, measurements, trials_csv
from search.recommendation import Recommendation, recommend
from search.settings import SearchSettings
from search.study import SETTINGS_KEY, STOPPED, cost_model_of
from search.trial import POSSIBLE, Trial, trials_of

if TYPE_CHECKING:
    from optuna import Study

FAMILY_PHIS = tuple(float(phi) for phi in range(8))
_PROGRAMS = ("optuna", "torch", "numpy", "scipy")


def write_trials(study: Study, folder: Path) -> None:
    """Write ``trials.csv``: every trial of the study, failed ones too. Raises ``FileError``."""
    write_text(folder / "trials.csv", trials_csv(_trials(study)))


def write_results(study: Study, folder: Path, cost_model: CostModel, settings: SearchSettings) -> SearchRecord:
    """Write ``trials.csv``, ``constants.json`` and ``family.json``, and return the record.

    Raises ``StudyError`` where no trial has finished, ``FileError`` where a file cannot be written.
    """
    write_trials(study, folder)
    record = _as_confirmed(record_of(study, cost_model, settings), folder)
    record.save(folder / "constants.json")
    if record.network:
        write_text(folder / "family.json", json.dumps(families(record, record.network), indent=2) + "\n")
    return record


def check_finished(study: Study) -> None:
    """Raise ``StudyError`` where no trial has finished, with the reason of the last that failed."""
    trials = _trials(study)
    if not any(trial.state == "COMPLETE" for trial in trials):
        reasons = [trial.failure.reason for trial in trials if trial.failure]
        last = f"; the last failed because: {reasons[-1]}" if reasons else ""
        raise StudyError(f"no trial of study {study.study_name!r} has finished{last}")


def record_of(study: Study, cost_model: CostModel, settings: SearchSettings) -> SearchRecord:
    """The record of a study as it is now. Raises ``StudyError`` where no trial has finished."""
    check_finished(study)
    rows = measurements(_trials(study), cost_model)
    recommendation = recommend(rows, cost_model, aim_of(settings, study.user_attrs[SETTINGS_KEY], _direction(study)))
    return make_record(study, rows, recommendation, cost_model, settings)


def _trials(study: Study) -> list[Trial]:
    return trials_of(study.get_trials(deepcopy=False), cost_model_of(study))


def _direction(study: Study) -> str:
    return study.direction.name.lower()


def _as_confirmed(record: SearchRecord, folder: Path) -> SearchRecord:
    """The record with the confirmation of an earlier one by ``phiscale confirm``, if that said the same."""
    try:
        earlier = SearchRecord.load(folder / "constants.json")
    except RecordError:
        return record
    found = earlier.details.get("confirmation")
    return with_confirmation(record, found) if isinstance(found, dict) and say_the_same(earlier, record) else record


def with_confirmation(record: SearchRecord, confirmation: Mapping[str, Any]) -> SearchRecord:
    """The record with what ``phiscale confirm`` found.

    Its expected score replaces that of the search, which the confirmation keeps as ``searched``.
    """
    searched = searched_estimate(record)
    confirmed = _possible(_estimate(confirmation.get("expected")), record.score_name)
    kept = {**confirmation, "searched": dataclasses.asdict(searched) if searched else None}
    return dataclasses.replace(record, expected=confirmed or searched, details={**record.details, "confirmation": kept})


def searched_estimate(record: SearchRecord) -> Estimate | None:
    """The score that the search expects, whether it was confirmed or not."""
    found = record.details.get("confirmation")
    return _estimate(found["searched"]) if isinstance(found, dict) and "searched" in found else record.expected


def _estimate(value: object) -> Estimate | None:
    """An estimate from the free part of a record; None if there is none, or if it has another form."""
    try:
        return Estimate(**value) if isinstance(value, dict) else None
    except (TypeError, RecordError):
        return None


def say_the_same(one: SearchRecord, other: SearchRecord) -> bool:
    """Whether two records recommend the same constants for the same purpose, so that one confirmation is valid for
    both."""
    return _said(one) == _said(other)


def _said(record: SearchRecord) -> tuple[Any, ...]:
    question = record.network, record.cost_model, record.data, record.budget.get("train"), record.length
    return record.study, record.constants, record.score_name, record.direction, *question


def families(record: SearchRecord, base: NetworkSpec) -> dict[str, Any]:
    """The family at phi 0 to 7, by the formula and at matched real cost, as JSON values.

    ``matched`` is a sentence instead of rows if a member cannot be reached.
    """
    result: dict[str, Any] = {}
    for budget in ("nominal", "matched"):
        try:
            members = generate_family(base, record.constants, FAMILY_PHIS, budget=budget, cost_model=record.cost_model)
            result[budget] = family_rows(members, record)
        except BudgetError as error:
            result[budget] = str(error)
    return {"study": record.study, "constants": vars(record.constants), "base": base.to_dict(), **result}


def make_record(
    study: Study,
    rows: Sequence[Measurement],
    recommendation: Recommendation,
    cost_model: CostModel,
    settings: SearchSettings | None,
) -> SearchRecord:
    """The record of a study from its measured rows and the recommendation.

    ``settings`` are those of the latest run, None where they are not known.
    """
    stored: Mapping[str, Any] = study.user_attrs[SETTINGS_KEY]
    trials = [trial for trial in _trials(study) if trial.is_attempt]
    devices = {trial.result.device: None for trial in trials if trial.result and trial.result.device}
    score_name = aim_of(None, stored, _direction(study)).score_name
    counts = {name.lower(): sum(trial.state == name for trial in trials) for name in ("COMPLETE", "PRUNED", "FAIL")}
    ended = (trial.result or trial.failure for trial in trials)
    return SearchRecord(
        study=study.study_name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        constants=recommendation.constants,
        cost_model=cost_model,
        phi=float(stored.get("phi", 1.0)),
        network=NetworkSpec.from_dict(stored["network"]) if stored.get("network") else None,
        score_name=score_name,
        direction=_direction(study),
        expected=_possible(recommendation.expected, score_name),
        noise=recommendation.noise,
        length=_length(recommendation, stored),
        horizon=_horizon(recommendation),
        best_observed=recommendation.best_observed,
        region=recommendation.region,
        baselines=_baselines(rows),
        notes=recommendation.notes,
        data=dict(stored.get("data") or {}),
        budget={
            "trials": counts,
            "evaluations": sum(len(row.scores) for row in rows),
            "seconds": sum(end.seconds for end in ended if end),
            "stopped": study.user_attrs.get(STOPPED),
            "search": None if settings is None else vars(settings),
            "train": stored.get("train"),
            "budget": stored.get("budget"),
            "objective": stored.get("objective"),
        },
        versions=_versions(),
        device=", ".join(devices) or "unknown",
        details=recommendation.details | _leads(recommendation),
    )


def _leads(recommendation: Recommendation) -> dict[str, Any]:
    found = [dataclasses.asdict(lead) for lead in recommendation.leads]
    return {"leads": found} if found else {}


def _length(recommendation: Recommendation, stored: Mapping[str, Any]) -> Length | None:
    if recommendation.length is None:
        return None
    data = stored.get("data") or {}
    epoch, name = data.get("epoch_images"), data.get("name")
    whole = epoch if type(epoch) is int and epoch > 0 else None
    return Length(recommendation.length, whole, name if isinstance(name, str) and name else None)


def _horizon(recommendation: Recommendation) -> Horizon | None:
    outlook = recommendation.outlook
    return None if outlook is None else Horizon(outlook.images, not outlook.reason, outlook.reason)


def _possible(estimate: Estimate | None, score_name: str) -> Estimate | None:
    """The estimate limited to possible scores: an accuracy lies in 0 to 1, a loss is not negative."""
    if estimate is None or score_name not in POSSIBLE:
        return estimate
    least, most = POSSIBLE[score_name]
    return Estimate(*(min(max(value, least), most) for value in (estimate.score, estimate.low, estimate.high)))


def _baselines(rows: Sequence[Measurement]) -> tuple[Observed, ...]:
    found = {
        name: Observed(name, row.constants, row.score, len(row.scores))
        for row in rows
        for name in row.names
        if name in MEASURED_RULES
    }
    return tuple(found[name] for name in MEASURED_RULES if name in found)


def _versions() -> dict[str, Any]:
    versions: dict[str, Any] = {"phiscale": phiscale.__version__, "python": platform.python_version()}
    for name in _PROGRAMS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
