"""Opening a study, new or resumed, and refusing to mix trials that cannot be compared."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from phiscale.errors import SettingsError, StudyError
from phiscale.triangle import CostModel
from search.storage import open_storage, redact, storage_errors, storage_url

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

SETTINGS_KEY = "settings"
"""User attribute of a study: the settings that make its trials comparable."""
STOPPED = "stopped"
"""User attribute of a study: why its last run ended."""
_OLD_PARAMETERS = {"u", "v"}
_UNREADABLE = "free the disk or allow writing if that is why, restore it from a copy, or choose another --study"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_study_name(name: str) -> str:
    """``name`` if it can be a folder. Raises ``SettingsError``."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            "expected a study name of letters, digits, '.', '_' and '-' that starts with a letter or digit, "
            f"got {name!r}"
        )
    return name


def open_study(
    name: str, folder: Path | None, storage: str | None, direction: str, comparable: Mapping[str, Any]
) -> Study:
    """The study, created or resumed; in memory where it has neither folder nor storage.

    ``comparable`` holds the settings under which scores can be compared, as JSON values. Raises ``StudyError`` where
    the study exists with other ones (it names each difference), with another direction, or was not made by phiscale.
    """
    import optuna

    opened = open_storage(storage, folder, to_write=True)
    where = redact(storage_url(storage, folder))
    with storage_errors(storage, folder, _UNREADABLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=opened, study_name=name, load_if_exists=True, direction=_direction(direction)
        )
        stored = study.user_attrs.get(SETTINGS_KEY)
        trials = study.get_trials(deepcopy=False)
        is_new = stored is None and not trials
    _refuse_old(name, trials)
    if is_new:
        study.set_user_attr(SETTINGS_KEY, dict(comparable))
    elif stored is None:
        raise StudyError(f"the study {name!r} in {where} was not made by phiscale; choose another --study")
    else:
        _refuse_differences(name, stored, comparable)
    if study.direction.name.lower() != direction:
        raise StudyError(f"the study {name!r} optimises to {study.direction.name.lower()}, not {direction}")
    return study


def load_study(name: str, folder: Path, storage: str | None) -> Study:
    """An existing study, for looking at. Raises ``StudyError`` where there is none."""
    import optuna

    where = redact(storage_url(storage, folder))
    if storage is None and not (folder / "study.db").is_file():
        raise StudyError(f"expected a study in {folder / 'study.db'}, which is not there; check --study and --results")
    opened = open_storage(storage, folder)
    try:
        with storage_errors(storage, folder, _UNREADABLE):
            study = optuna.load_study(study_name=name, storage=opened)
            trials = study.get_trials(deepcopy=False)
    except KeyError:
        raise StudyError(f"the storage {where} holds no study {name!r}; check --study") from None
    _refuse_old(name, trials)
    return study


def cost_model_of(study: Study) -> CostModel:
    """The surface on which the study searches."""
    stored = study.user_attrs.get(SETTINGS_KEY, {})
    return CostModel(**stored["cost_model"]) if "cost_model" in stored else CostModel()


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
