"""Which trials come next: those to repeat, the planned points, replicates, and what the method proposes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from objectives.contract import AnyNetwork
from phiscale.errors import BudgetError, ConstraintError, TrialError
from phiscale.published import PUBLISHED_RULES
from phiscale.triangle import CostModel, ScalingConstants
from search import methods
from search.history import History
from search.replicates import repeat
from search.settings import SearchSettings
from search.trial import Plan, Trial

NetworkAt = Callable[[ScalingConstants], AnyNetwork | None]


@dataclass(frozen=True)
class Planned:
    """What a study measures whatever its method proposes: the rules, and the points of a grid."""

    plans: tuple[Plan, ...]
    named: int
    """How many points were named; some of them are one network."""


def planned(settings: SearchSettings, cost_model: CostModel, network_at: NetworkAt) -> Planned:
    """The planned points. Those that stand for no network stay in the plan, and fail with their reason."""
    rules = [(name, PUBLISHED_RULES[name].on(cost_model)) for name in settings.baseline_names]
    stated = [(name, constants) for name, constants in rules if constants is not None]
    stated += methods.known_points(settings, cost_model) or []
    return Planned(tuple(_distinct(stated, network_at)), len(stated))


def _distinct(stated: Iterable[tuple[str, ScalingConstants]], network_at: NetworkAt) -> Iterable[Plan]:
    """One plan for each network, with all of its names."""
    by_key: dict[object, Plan] = {}
    for name, constants in stated:
        try:
            built = network_at(constants)
            key: object = constants if built is None else built.fingerprint
        except (BudgetError, ConstraintError, TrialError):
            key = constants
        plan = by_key.get(key) or Plan(constants=constants)
        by_key[key] = replace(plan, names=(*plan.names, name))
    return by_key.values()


def still_to_do(plans: Iterable[Plan], trials: Sequence[Trial]) -> list[Plan]:
    """The planned points that the study does not hold; an interrupted trial does not hold its point."""
    held = {name for trial in trials if not is_interrupted(trial) for name in trial.plan.names}
    held |= {name for plan in to_redo(trials) for name in plan.names}
    return [plan for plan in plans if not held.intersection(plan.names)]


def to_redo(trials: Sequence[Trial]) -> list[Plan]:
    """The interrupted trials that no other trial has repeated."""
    redone = {trial.plan.redo_of for trial in trials}
    waiting = (trial for trial in trials if is_interrupted(trial) and trial.number not in redone)
    return [replace(trial.plan, redo_of=trial.number) for trial in waiting]


def is_interrupted(trial: Trial) -> bool:
    """Whether its run ended before it did."""
    return trial.state == "FAIL" and trial.failure is None


def next_plans(history: History, plans: Sequence[Plan], count: int) -> list[Plan]:
    """The next ``count`` trials, fewer where there are no more; ``plans`` are the planned points."""
    chosen = [*to_redo(history.trials), *still_to_do(plans, history.trials)][:count]
    taken = history.taken
    while len(chosen) < count:
        again = repeat(history, taken + len(chosen))
        if again is not None:
            chosen.append(again)
        elif history.settings.is_grid:
            break
        else:
            chosen += _proposed(history, chosen, count)
    return chosen


def _proposed(history: History, chosen: Sequence[Plan], count: int) -> list[Plan]:
    """Points of the method up to the next replicate, given those that are already chosen."""
    taken = history.taken
    turns = range(taken + len(chosen) + 1, taken + count)
    free = 1 + next((at for at, turn in enumerate(turns) if repeat(history, turn)), len(turns))
    return methods.propose(history.with_running(chosen), free)
