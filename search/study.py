"""Opening a study, new or resumed, and refusing to mix trials that cannot be compared."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phiscale.errors import RecordError, SettingsError, StudyError
from phiscale.record import SearchRecord
from phiscale.triangle import FLOPS, CostModel
from search.storage import (
    collector_paused,
    open_storage,
    redact,
    set_system_attribute,
    storage_errors,
    storage_url,
    system_attributes,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

SETTINGS_KEY = "settings"
"""User attribute of a study: the settings that make its trials comparable."""
STOPPED = "stopped"
"""User attribute of a study: why its last run ended."""
_MODEL = "phiscale:cost_model"
"""System attribute of a user's own study: the surface on which ``ConstantsSampler`` draws."""
_OLD_PARAMETERS = {"u", "v"}
_UNREADABLE = "free the disk or allow writing if that is why, restore it from a copy, or choose another --study"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_study_name(name: str) -> str:
    """``name`` if it can be a folder. Raises ``SettingsError``."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SettingsError(
            "expected a study name of letters, digits, '.', '_' and '-' that starts with a letter or digit, "
            f"got {name!r}"
        )
    return name


def open_study(
    name: str, folder: Path | None, storage: str | None, direction: str, comparable: Mapping[str, Any]
) -> Study:
    """The study, created or resumed; in memory where it has neither folder nor storage.

    ``comparable`` holds the settings under which scores can be compared, as JSON values. Raises ``StudyError`` if the
    study exists with other settings (it names each difference), has another direction, or was not made by phiscale, and
    if the folder has another study.
    """
    import optuna

    opened = open_storage(storage, folder, to_write=True)
    where = redact(storage_url(storage, folder))
    with storage_errors(storage, folder, _UNREADABLE), warnings.catch_warnings(), collector_paused():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if folder is not None:
            _refuse_another(name, folder, optuna.get_all_study_names(opened) if storage is None else [])
        study = optuna.create_study(
            storage=opened, study_name=name, load_if_exists=True, direction=_direction(direction)
        )
        stored = study.user_attrs.get(SETTINGS_KEY)
        trials = study.get_trials(deepcopy=False)
    found = [each.name.lower() for each in study.directions]
    _refuse_old(name, trials)
    if stored is None and all(trial.state.name == "WAITING" for trial in trials):  # a user may enqueue trials before
        _refuse_direction(name, found, direction)
        study.set_user_attr(SETTINGS_KEY, dict(comparable))
    elif stored is None or not is_ours(study):
        raise StudyError(
            f"the study {name!r} in {where} was not made by phiscale; choose another --study, or give that one "
            "ConstantsSampler"
        )
    else:
        _refuse_differences(name, stored, comparable)
        _refuse_direction(name, found, direction)
    return study


def _refuse_direction(name: str, found: list[str], direction: str) -> None:
    if found != [direction]:
        raise StudyError(
            f"the study {name!r} optimises to {' and '.join(found)}, not {direction}; choose another --study, or its "
            "direction"
        )


def _refuse_another(name: str, folder: Path, held: Iterable[str]) -> None:
    """Raise ``StudyError`` if the folder has another study, whose results would be overwritten."""
    try:
        recorded = [SearchRecord.load(folder / "constants.json").study]
    except RecordError:  # none, or not of a search
        recorded = []
    others = {*held, *recorded} - {name}
    if others:
        raise StudyError(
            f"the folder {folder} holds the study {min(others)!r}, whose results {name!r} would overwrite; give every "
            "study a folder of its own"
        )


def load_study(name: str, folder: Path, storage: str | None) -> Study:
    """An existing study, for reading. Raises ``StudyError`` if there is none."""
    import optuna

    where = redact(storage_url(storage, folder))
    opened = open_storage(storage, folder)
    try:
        with storage_errors(storage, folder, _UNREADABLE), collector_paused():
            study = optuna.load_study(study_name=name, storage=opened)
            trials = study.get_trials(deepcopy=False)
    except KeyError:
        raise StudyError(f"the storage {where} holds no study {name!r}; check --study") from None
    _refuse_old(name, trials)
    return study


def is_ours(study: Study) -> bool:
    """Whether phiscale's driver made the study; in any other study, attributes of the same names belong to the user."""
    return _stated_cost_model(study) is not None


def cost_model_of(study: Study, default: CostModel = FLOPS) -> CostModel:
    """The surface on which the study searches."""
    stated = _stated_cost_model(study) or system_attributes(study).get(_MODEL)
    return default if stated is None else CostModel(**stated)


def agreed_cost_model(study: Study, asked: CostModel | None) -> CostModel:
    """The surface on which the study searches; raises ``SettingsError`` where another one is asked for."""
    stored = cost_model_of(study, asked or FLOPS)
    if asked is not None and asked != stored:
        raise SettingsError(
            f"expected the cost model of the study {study.study_name!r}, {stored.describe()} ({stored.metric}), got "
            f"{asked.describe()} ({asked.metric}); leave it out, or use another study"
        )
    return stored


def keep_cost_model(study: Study, cost_model: CostModel) -> None:
    """Store the surface on which a user's own study searches. Raises ``SettingsError`` if it has another one."""
    agreed_cost_model(study, cost_model)
    if not is_ours(study) and _MODEL not in system_attributes(study):
        set_system_attribute(study, _MODEL, dataclasses.asdict(cost_model))


def _stated_cost_model(study: Study) -> Mapping[str, Any] | None:
    """Of the settings that the driver stored with the study; a bracket of Optuna's has no ``user_attrs``."""
    settings = study._storage.get_study_user_attrs(study._study_id).get(SETTINGS_KEY)
    stated = settings.get("cost_model") if isinstance(settings, Mapping) else None
    names = {field.name for field in dataclasses.fields(CostModel)}
    return stated if isinstance(stated, Mapping) and stated.keys() == names else None


def _refuse_old(name: str, trials: Iterable[FrozenTrial]) -> None:
    """Raise ``StudyError`` for a study of an older version, whose parameters were those of the unit square."""
    if any(trial.params and trial.params.keys() <= _OLD_PARAMETERS for trial in trials):
        raise StudyError(
            f"the study {name!r} was made by an older version: its parameters are u and v, not alpha, beta and gamma; "
            "search again under another --study (its constants.json can still be used)"
        )


def _direction(name: str) -> Literal["minimize", "maximize"]:
    if name not in ("minimize", "maximize"):
        raise SettingsError(f"expected an objective whose direction is maximize or minimize, got {name!r}")
    return "minimize" if name == "minimize" else "maximize"


def _refuse_differences(name: str, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    before, after = dict(_flat(stored)), dict(_flat(asked))
    for prefix in [key.removesuffix("fingerprint") for key in before if key.rpartition(".")[2] == "fingerprint"]:
        if before[f"{prefix}fingerprint"] == after.get(f"{prefix}fingerprint"):  # the same content under another name
            before.pop(f"{prefix}name", None)
            after.pop(f"{prefix}name", None)
    changed = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    if changed:
        shown = [
            f"{key}: {before.get(key, 'absent')!r} before, {after.get(key, 'absent')!r} asked" for key in changed[:8]
        ]
        more = f" (and {len(changed) - 8} more)" if len(changed) > 8 else ""
        raise StudyError(
            f"the trials of study {name!r} cannot be compared with what is asked: {'; '.join(shown)}{more}; "
            "use the earlier settings, or another --study"
        )


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested JSON values as dotted names and leaves."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{prefix}[{index}]")
    else:
        yield prefix, [] if isinstance(value, tuple) else value
