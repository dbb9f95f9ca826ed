"""The search from scripts and notebooks: one call, or the recommendation of a study of one's own."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.contract import Evaluation, Objective
from phiscale import checks
from phiscale.errors import PhiscaleError, SettingsError, StudyError
from phiscale.record import SearchRecord
from phiscale.triangle import FLOPS, CostModel
from search.aim import Aim
from search.driver import StudyPlace, run_study
from search.executors.contract import Executor
from search.executors.in_process import InProcess
from search.functions import as_objective
from search.measurements import measurements
from search.progress import Silent
from search.recommendation import Recommendation
from search.results import record_of, write_results
from search.settings import SearchSettings
from search.study import agreed_cost_model, check_study_name, is_ours
from search.trial import trials_of

if TYPE_CHECKING:
    from optuna import Study

_DRAW = "draw them with search.ConstantsSampler"
_ARGUMENTS = {
    "--horizon-epochs": "horizon_epochs",
    "--horizon-images": "horizon_images",
    "--method tpe": "method='tpe'",
    "--results": "folder",
    "--seeds": "seeds",
    "--study": "study",
    "--take-over": "take_over=True",
    "--train.rungs 4": "rungs in describe()",
    "--train.rungs": "rungs in describe()",
    "--workers 1": "executor=InProcess()",
    "--workers": "workers",
}
"""The Python name of each command option."""


def search(
    objective: Objective | Callable[..., Evaluation | float],
    *,
    trials: int | None = None,
    direction: str = "maximize",
    study: str = "search",
    folder: str | Path | None = None,
    storage: str | None = None,
    take_over: bool = False,
    cost_model: CostModel = FLOPS,
    executor: Executor | None = None,
    **settings: Any,
) -> SearchRecord:
    """Search the constants of an objective and return the record.

    ``objective`` is a function ``score(alpha, beta, gamma, seed)``, an ``objective(trial)`` of Optuna, or an
    ``objectives.contract.Objective``; ``direction`` is that of a function. With a ``folder`` the study and its results
    are kept there and the same call resumes; without one nothing is written. ``take_over`` works on a study although
    another driver holds it: use it if that one has ended. ``executor`` says where evaluations run
    (``search.executors``), by default in this process. ``settings`` are further fields of ``SearchSettings``
    (``method``, ``seed``, ``seeds``,
    ``horizon_images`` ...). Raises ``SettingsError`` and ``StudyError``.
    """
    with _advice_for_python(), _verbosity_kept():
        known = {field.name for field in dataclasses.fields(SearchSettings)}
        if not settings.keys() <= known:
            raise SettingsError(f"expected settings of {', '.join(sorted(known))}, got {', '.join(settings)}")
        asked = SearchSettings(trials=trials, **settings)
        _check_type("cost_model", cost_model, CostModel, "a CostModel, such as phiscale.FLOPS")
        if storage is not None:
            checks.text("storage", storage, SettingsError)
        work = InProcess() if executor is None else executor
        if not all(hasattr(work, name) for name in ("workers", "start", "submit", "withdraw", "wait", "close")):
            raise SettingsError(f"expected an executor, such as Processes(4) of search.executors, got {executor!r}")
        chosen = as_objective(objective, cost_model, direction)
        home = _home(folder)
        place = StudyPlace(name=check_study_name(study), folder=home, storage=storage, take_over=take_over)
        found = run_study(place, chosen, cost_model, asked, Silent(), work)
        return record_of(found, cost_model, asked) if home is None else write_results(found, home, cost_model, asked)


def recommend(study: Study, cost_model: CostModel | None = None) -> Recommendation:
    """The recommendation of any study that holds alpha, beta, gamma and values.

    ``cost_model`` is needed for a study that does not store it; those of phiscale and of a ``ConstantsSampler`` do.
    Finished trials that lack constants or lie off the surface are left out, and counted in a note. Raises
    ``StudyError`` where no trial is left, ``SettingsError`` for a study of several objectives or another cost model.
    """
    import optuna

    from search.recommendation import recommend as recommend_from

    with _advice_for_python():
        _check_type("study", study, optuna.Study, "a study of Optuna")
        if cost_model is not None:
            _check_type("cost_model", cost_model, CostModel, "a CostModel, such as phiscale.FLOPS")
        if len(study.directions) > 1:
            raise SettingsError(f"expected a study of one objective, got {len(study.directions)}")
        model = agreed_cost_model(study, cost_model)
        finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        trials = [trial for trial in trials_of(finished, model, ours=is_ours(study)) if trial.result]
        left_out = len(finished) - len(trials)
        why = f"they lack alpha, beta, gamma or a finite value, or lie off {model.describe()}"
        if left_out and not trials:
            raise StudyError(f"expected trials to recommend from, got {left_out} finished ones: {why}; {_DRAW}")
        found = recommend_from(measurements(trials, model), model, Aim(study.direction.name.lower()))
    note = f"{left_out} of {len(finished)} finished trials left out: {why}"
    return dataclasses.replace(found, notes=(*found.notes, note)) if left_out else found


def _home(folder: str | Path | None) -> Path | None:
    if folder is None:
        return None
    if not isinstance(folder, (str, Path)) or not str(folder):
        raise SettingsError(f"expected folder to be a path, got {folder!r}; leave it out to keep nothing")
    try:
        return Path(folder).expanduser().absolute()  # the objective may change the current folder
    except RuntimeError as error:
        raise SettingsError(f"cannot expand the folder {str(folder)!r}: {error}") from None


def _check_type(name: str, value: object, kind: type, what: str) -> None:
    if not isinstance(value, kind):
        raise SettingsError(f"expected {name} to be {what}, got {value!r}")


@contextlib.contextmanager
def _advice_for_python() -> Iterator[None]:
    """Name arguments of Python in errors, in place of the options of commands."""
    try:
        yield
    except PhiscaleError as error:
        message = str(error).replace("the same command", "the same call")
        for option, argument in _ARGUMENTS.items():
            message = re.sub(rf"(?<![\w-]){re.escape(option)}(?![\w-])", argument, message)
        error.args = (message,)
        raise


@contextlib.contextmanager
def _verbosity_kept() -> Iterator[None]:
    """Restore Optuna's verbosity at the end, because the driver silences it."""
    import optuna

    before = optuna.logging.get_verbosity()
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
