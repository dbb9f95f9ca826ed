"""Trials that a person enqueued, by ``Study.enqueue_trial`` or the dashboard: taken once, and never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phiscale.triangle import CostModel
from search.sampler import ConstantsSampler, room_beside, suggest_constants
from search.trial import (
    PARAMETERS,
    Failure,
    Plan,
    enqueued_parameters,
    failure_attributes,
    redo_attributes,
    redone_by,
    trial_of,
)

if TYPE_CHECKING:
    from optuna import Study, Trial


def take_enqueued(study: Study, cost_model: CostModel, seed: int, count: int) -> list[tuple[Trial, Plan]]:
    """Begin at most ``count`` of the waiting trials; constants that were not given are drawn by the seed.

    Those whose constants leave no room on the surface fail with that reason.
    """
    from optuna.trial import TrialState

    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))[:count]
    if waiting:
        study.sampler = ConstantsSampler(cost_model, seed=seed, method="random")
    found = []
    for _ in waiting:
        begun = study.ask()
        given = enqueued_parameters(study.get_trials(deepcopy=False)[begun.number])
        try:
            room_beside({name: float(given[name]) for name in PARAMETERS if name in given}, cost_model)
            constants = suggest_constants(begun, cost_model)
        except (TypeError, ValueError) as error:  # no room, or no numbers
            for name, value in failure_attributes(Failure(kind="constants", reason=str(error))).items():
                begun.set_user_attr(name, value)
            study.tell(begun, state=TrialState.FAIL)
            continue
        found.append((begun, Plan(constants=constants, redo_of=redone_by(begun))))
    return found


def enqueue_again(study: Study, cost_model: CostModel) -> None:
    """Enqueue again the trials whose driver ended before it had drawn all of their constants."""
    trials = study.get_trials(deepcopy=False)
    redone = {redone_by(trial) for trial in trials}
    for trial in trials:
        ended = trial.state.name == "FAIL" and trial.number not in redone and trial_of(trial, cost_model) is None
        parameters = enqueued_parameters(trial)
        if ended and parameters:
            study.enqueue_trial(parameters, redo_attributes(trial.number))
