"""Optuna's tree-structured Parzen estimator on the unit square, by the scores of the longest rung.

It samples two unit parameters (``phiscale/triangle.py``) in a study of its own: no sampler of Optuna knows the surface.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from phiscale.triangle import constants_at, parameter_names, parameters_at
from search.history import History
from search.trial import Plan, Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def propose(history: History, count: int) -> list[Plan]:
    """The next points; running trials count as poor ones, so that workers do not ask for the same point."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=history.next_seed, multivariate=True, constant_liar=True)
        minimises = history.aim.direction == "minimize"
        study = optuna.create_study(direction="minimize" if minimises else "maximize", sampler=sampler)
        study.add_trials([_as_unit(trial, history) for trial in history.trials if trial.is_attempt or trial.is_running])
        asked = [study.ask() for _ in range(count)]
    names = parameter_names(history.cost_model)
    units = [{name: trial.suggest_float(name, 0.0, 1.0) for name in names} for trial in asked]
    return [Plan(constants=constants_at(unit, history.cost_model)) for unit in units]


def _as_unit(trial: Trial, history: History) -> FrozenTrial:
    """The trial with unit parameters."""
    import optuna

    unit = parameters_at(trial.shares, history.cost_model)
    finished = trial.state == "COMPLETE"
    state = optuna.trial.TrialState[trial.state if finished or trial.is_running else "FAIL"]
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    value = trial.value if finished else None
    return optuna.trial.create_trial(
        state=state, value=value, params=unit, distributions=dict.fromkeys(unit, distribution)
    )
