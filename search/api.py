"""The search from scripts and notebooks: one call, or the recommendation of a study of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.contract import Evaluation, Objective
from phiscale.errors import SettingsError
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
from search.study import check_study_name
from search.trial import trials_of

if TYPE_CHECKING:
    from optuna import Study


def search(
    objective: Objective | Callable[..., Evaluation | float],
    *,
    trials: int | None = None,
    direction: str = "maximize",
    study: str = "search",
    folder: str | Path | None = None,
    storage: str | None = None,
    cost_model: CostModel = FLOPS,
    executor: Executor | None = None,
    **settings: Any,
) -> SearchRecord:
    """Search the constants of an objective and return the record.

    ``objective`` is a function ``score(alpha, beta, gamma, seed)``, an ``objective(trial)`` of Optuna, or an
    ``objectives.contract.Objective``; ``direction`` is that of a function. With a ``folder`` the study and its results
    are kept there and the same call resumes; without one nothing is written. ``executor`` says where evaluations run
    (``search.executors``), by default in this process. ``settings`` are further fields of ``SearchSettings``
    (``method``, ``seed``, ``seeds``, ``horizon_images`` ...). Raises ``SettingsError`` and ``StudyError``.
    """
    asked = SearchSettings(trials=trials, **settings)
    chosen = as_objective(objective, cost_model, direction)
    home = None if folder is None else Path(folder)
    place = StudyPlace(name=check_study_name(study), folder=home, storage=storage)
    found = run_study(place, chosen, cost_model, asked, Silent(), executor or InProcess())
    return record_of(found, cost_model, asked) if home is None else write_results(found, home, cost_model, asked)


def recommend(study: Study, cost_model: CostModel = FLOPS) -> Recommendation:
    """The recommendation of any study that holds alpha, beta, gamma and values.

    Raises ``StudyError`` where no trial has finished, ``SettingsError`` for a study of several objectives.
    """
    from search.recommendation import recommend as recommend_from

    if len(study.directions) > 1:
        raise SettingsError(f"expected a study of one objective, got {len(study.directions)}")
    rows = measurements(trials_of(study.get_trials(deepcopy=False), cost_model), cost_model)
    return recommend_from(rows, cost_model, Aim(study.direction.name.lower()))
