"""Trials that a user enqueued, by ``Study.enqueue_trial`` or the dashboard: each is taken once, and never lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phiscale.errors import SettingsError, one_line
from phiscale.triangle import CostModel
from search.sampler import ConstantsSampler, room_left, suggest_constants
from search.storage import fail_trial
from search.trial import (
    PARAMETERS,
    RESERVED,
    Failure,
    Plan,
    enqueued_parameters,
    failure_attributes,
    redo_attributes,
    redone_by,
    shares_of_constants,
    trial_of,
)

if TYPE_CHECKING:
    from optuna import Study, Trial


def take_enqueued(study: Study, cost_model: CostModel, seed: int, count: int) -> list[tuple[Trial, Plan]]:
    """Begin at most ``count`` of the waiting trials; constants that were not given are drawn by the seed.

    Those with impossible constants, or that leave no room on the surface, fail with that reason.
    """
    from optuna.trial import TrialState

    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[:count]
    if waiting:
        study.sampler = ConstantsSampler(cost_model, seed=seed, method="random")
    found = []
    for frozen in waiting:
        given = enqueued_parameters(frozen)
        try:
            _refuse_reserved(frozen.user_attrs)
            room_left({name: float(given[name]) for name in PARAMETERS if name in given}, cost_model)
            begun = study.ask()
            constants = suggest_constants(begun, cost_model)
            shares_of_constants(constants, cost_model)
        except (ArithmeticError, TypeError, ValueError) as error:  # a user can enqueue anything
            reason = one_line(f"{error}; enqueued with {given}")
            failure = Failure(kind="constants", reason=reason)
            fail_trial(study, frozen, failure_attributes(failure))
            continue
        found.append((begun, Plan(constants=constants, redo_of=redone_by(begun))))
    return found


def _refuse_reserved(attributes: Mapping[str, Any]) -> None:
    taken = sorted(RESERVED & attributes.keys())
    if taken:
        raise SettingsError(f"expected no user attributes of the names {', '.join(taken)}, which the search uses")


def enqueue_again(study: Study, cost_model: CostModel) -> None:
    """Enqueue again the trials whose driver ended before it had drawn all of their constants."""
    trials = study.get_trials(deepcopy=False)
    redone = {redone_by(trial) for trial in trials}
    for trial in trials:
        ended = trial.state.name == "FAIL" and trial.number not in redone and trial_of(trial, cost_model) is None
        parameters = enqueued_parameters(trial)
        if ended and parameters:
            study.enqueue_trial(parameters, redo_attributes(trial.number))
