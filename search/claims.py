"""Claiming the next trial of a study: which constants, which network, which seeds; and redoing what was cut off.

All functions that change the study are called with its lock held (``Worker.deciding``), so that no two workers take the
same trial and no trial is lost or measured twice, whatever ends a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.alive import seems_held
from objectives.contract import AnyNetwork, Objective
from phiscale.errors import BudgetError, ConstraintError, SettingsError
from phiscale.network import ScaledNetwork
from phiscale.triangle import (
    CostModel,
    Multipliers,
    ScalingConstants,
    Shares,
    constants_at,
    parameter_names,
    parameters_at,
    shares_at,
    shares_of_direction,
)
from search.acquisition import next_point
from search.horizon import Aim
from search.measurements import FAILURE
from search.plan import PlannedPoint, point_parameters
from search.racing import worth_repeating
from search.samplers import SPREAD, SPREADING, make_sampler, spread_point
from search.settings import SPREAD_EVERY, SPREAD_FIRST, SearchSettings
from search.workers import Worker, is_dead, one_thread

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

CARRIED = ("names", "constants", SPREAD)
"""User attributes that a trial shares with the one that redoes it."""
_PLACES = 20
"""Places of an even spread that are looked at for one whose network can be built."""


@dataclass(frozen=True)
class Claim:
    """A trial that this worker is to evaluate."""

    trial: Trial
    constants: ScalingConstants
    seeds: tuple[int, ...]
    problem: str | None
    """Why the constants stand for no network; None if they do."""


def is_attempt(trial: FrozenTrial) -> bool:
    """Whether a trial counts: finished, pruned, or failed for a reason of its own (not cut off)."""
    state = trial.state.name
    return state in ("COMPLETE", "PRUNED") or (state == "FAIL" and FAILURE in trial.user_attrs)


def enqueue_plan(study: Study, points: Iterable[PlannedPoint], cost_model: CostModel) -> None:
    """Enqueue the planned points that the study does not hold yet, in their order."""
    held = {name for trial in study.get_trials(deepcopy=False) for name in trial.user_attrs.get("names", [])}
    for point in points:
        if not held.intersection(point.names):
            attributes = {"names": list(point.names), "constants": list(point.constants.as_tuple())}
            study.enqueue_trial(point_parameters(point, cost_model), user_attrs=attributes)


def requeue_dead(study: Study, worker: Worker, trials: Sequence[FrozenTrial]) -> tuple[int, list[str]]:
    """Enqueue again the running ones of ``trials`` whose worker is dead: how many; names of workers elsewhere."""
    running = [trial for trial in trials if trial.state.name == "RUNNING"]
    redone = {trial.user_attrs.get("redo_of") for trial in trials} if running else set()
    elsewhere, count = [], 0
    for trial in running:
        owner = trial.user_attrs.get("worker")
        if owner == worker.name:
            continue
        if owner is None or is_dead(worker.folder, owner):
            if trial.number not in redone and FAILURE not in trial.user_attrs:  # with a reason it had failed already
                enqueue_again(study, trial)
            _end_as_cut_off(study, trial)
            count += 1
        elif not (worker.folder / "workers" / f"{owner}.lock").exists():
            elsewhere.append(owner)
    return count, elsewhere


def is_cut_off(trial: FrozenTrial, folder: Path) -> bool:
    """Whether a trial that counts as running can be seen to have lost its worker; a look that changes no file.

    It needs no lock. ``is_dead`` is not asked about a worker whose file is there: it removes the file of a dead one,
    which then is known by its process alone, and the trial of a worker of another machine would never be done again.
    """
    owner = trial.user_attrs.get("worker")
    if trial.state.name != "RUNNING" or owner is None:
        return False
    path = folder / "workers" / f"{owner}.lock"
    return not seems_held(path) if path.exists() else is_dead(folder, owner)


def enqueue_again(study: Study, trial: FrozenTrial) -> None:
    """Enqueue a trial that was cut off once more, before it is marked as failed: a kill in between loses nothing."""
    carried = {name: trial.user_attrs[name] for name in CARRIED if name in trial.user_attrs}
    parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if parameters:
        study.enqueue_trial(parameters, user_attrs={**carried, "redo_of": trial.number})


def _end_as_cut_off(study: Study, trial: FrozenTrial) -> None:
    import optuna

    study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def claim(
    study: Study,
    objective: Objective,
    settings: SearchSettings,
    cost_model: CostModel,
    aim: Aim,
    total: int,
    worker: Worker,
) -> Claim | None:
    """The next trial to evaluate; None where the study has, or is about to have, ``total`` of them.

    Trials whose worker has died since the run began are enqueued again first.
    """
    trials = study.get_trials(deepcopy=False)
    if requeue_dead(study, worker, trials)[0]:
        trials = study.get_trials(deepcopy=False)
    taken = sum(is_attempt(trial) or trial.state.name == "RUNNING" for trial in trials)
    if taken >= total:
        return None

    def described(parameters: dict[str, float], stated: Sequence[float] | None) -> _Point:
        return _describe(parameters, stated, trials, objective, settings, cost_model, worker)

    if not any(trial.state.name == "WAITING" for trial in trials):
        chosen = _chosen(trials, taken, objective, settings, cost_model, aim)
        if chosen is None and settings.is_grid:
            return None
        if chosen is not None:
            parameters, stated = chosen
            point = described(parameters, stated.get("constants"))
            return point.claimed(_begin(study, parameters, {**stated, **point.attributes}))
    study.sampler = make_sampler(settings, taken)
    with one_thread():
        trial = study.ask()
        parameters = {name: trial.suggest_float(name, 0.0, 1.0) for name in parameter_names(cost_model)}
    held = trial.user_attrs
    point = described(parameters, held.get("constants"))
    for name, value in point.attributes.items():
        if name not in held or held[name] != value:
            trial.set_user_attr(name, value)
    return point.claimed(trial)


def _begin(study: Study, parameters: dict[str, float], attributes: dict[str, Any]) -> Trial:
    """A running trial of a point that is known, written as a whole in one transaction.

    It does what ``Study.add_trial`` does, which does not say which trial it made.
    """
    import optuna

    whole = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=parameters,
        distributions=dict.fromkeys(parameters, optuna.distributions.FloatDistribution(0.0, 1.0)),
        user_attrs=attributes,
    )
    return optuna.Trial(study, study._storage.create_new_trial(study._study_id, whole))


def _chosen(
    trials: Sequence[FrozenTrial],
    taken: int,
    objective: Objective,
    settings: SearchSettings,
    cost_model: CostModel,
    aim: Aim,
) -> tuple[dict[str, float], dict[str, Any]] | None:
    """Parameters and attributes of the next trial, where they are known before it is asked for.

    ``taken`` is the number of trials before it without those that were cut off, so that a kill changes no turn.
    """
    chosen = worth_repeating(trials, taken, settings, cost_model, aim)
    if chosen is not None or settings.method not in SPREADING:
        return chosen
    place = 1 + max((trial.user_attrs.get(SPREAD, -1) for trial in trials), default=-1)
    if settings.method == "gp":
        is_open = _never_failed(trials, objective, cost_model)
        modelled = next_point(trials, cost_model, aim, is_open) if taken % SPREAD_EVERY else None
        if modelled is not None:
            return modelled
        if taken >= SPREAD_FIRST:
            place = _open_place(place, settings, cost_model, is_open)
    return spread_point(settings, place, parameter_names(cost_model)), {SPREAD: place}


def _open_place(first: int, settings: SearchSettings, cost_model: CostModel, is_open: Callable[[Shares], bool]) -> int:
    """The first place of the even spread, from ``first`` on, that is open; ``first`` where none of the next ones is."""
    names = parameter_names(cost_model)
    places = range(first, first + _PLACES)
    return next((at for at in places if is_open(shares_at(spread_point(settings, at, names), cost_model))), first)


def _never_failed(
    trials: Iterable[FrozenTrial], objective: Objective, cost_model: CostModel
) -> Callable[[Shares], bool]:
    """Whether shares stand for a network with which no trial has failed."""
    failed = {trial.user_attrs.get("fingerprint") for trial in trials if FAILURE in trial.user_attrs}

    def is_open(shares: Shares) -> bool:
        constants = constants_at(parameters_at(shares, cost_model), cost_model)
        network, problem = _network_or_problem(objective, constants)
        return problem is None and _key(network, constants) not in failed

    return is_open


@dataclass(frozen=True)
class _Point:
    """What is known of a trial before it is evaluated."""

    constants: ScalingConstants
    attributes: dict[str, Any]
    problem: str | None

    def claimed(self, trial: Trial) -> Claim:
        return Claim(trial, self.constants, tuple(self.attributes["seeds"]), self.problem)


def _describe(
    parameters: dict[str, float],
    stated: Sequence[float] | None,
    trials: Iterable[FrozenTrial],
    objective: Objective,
    settings: SearchSettings,
    cost_model: CostModel,
    worker: Worker,
) -> _Point:
    constants = ScalingConstants(*stated) if stated else constants_at(parameters, cost_model)
    network, problem = _network_or_problem(objective, constants)
    key = _key(network, constants)
    seeds = _unused_seeds(trials, key, settings)
    attributes = {"worker": worker.name, "fingerprint": key, "seeds": list(seeds)}
    attributes |= describe_point(constants, network, cost_model, objective_target(objective, cost_model))
    return _Point(constants, attributes, problem)


def _network_or_problem(objective: Objective, constants: ScalingConstants) -> tuple[AnyNetwork | None, str | None]:
    """The objective's network, and why there is none where it cannot be reached."""
    try:
        return network_at(objective, constants), None
    except (BudgetError, ConstraintError) as error:
        return None, str(error)


def _key(network: AnyNetwork | None, constants: ScalingConstants) -> str:
    """What tells points apart: the fingerprint of the network, the constants where there is none."""
    return network.fingerprint if network else repr(constants.as_tuple())


def network_at(objective: Objective, constants: ScalingConstants) -> AnyNetwork | None:
    """The objective's network. Raises ``SettingsError`` where it returns something else."""
    network = objective.network(constants)
    if network is not None and not isinstance(network, AnyNetwork):
        raise SettingsError(
            f"expected the objective's network() to return a ScaledNetwork, a CountedNetwork or None, got {network!r}"
        )
    return network


def objective_target(objective: Objective, cost_model: CostModel) -> float:
    """The growth of cost that the objective's networks are held to: ``target ** phi`` (phi is 1 if it has none)."""
    phi = objective.describe().get("phi", 1.0)
    return cost_model.target ** (phi if isinstance(phi, (int, float)) else 1.0)


def _unused_seeds(trials: Iterable[FrozenTrial], fingerprint: str, settings: SearchSettings) -> tuple[int, ...]:
    """The first seeds with which this network has not been trained: common to all trials, none used twice for one."""
    used = {
        seed
        for trial in trials
        if trial.user_attrs.get("fingerprint") == fingerprint and (is_attempt(trial) or trial.state.name == "RUNNING")
        for seed in trial.user_attrs.get("seeds", [])
    }
    first = settings.seed * 1000
    free = (seed for seed in range(first, first + len(used) + settings.seeds) if seed not in used)
    return tuple(next(free) for _ in range(settings.seeds))


def describe_point(
    constants: ScalingConstants, network: AnyNetwork | None, cost_model: CostModel, target: float
) -> dict[str, Any]:
    """What a study shows of a point: constants, shares, product, and the network's asked and realised sizes."""
    shares = shares_of_direction(Multipliers(*constants.as_tuple()), cost_model)
    plain: dict[str, Any] = dict(zip(("alpha", "beta", "gamma"), constants.as_tuple(), strict=True))
    plain |= {f"share_{name}": value for name, value in asdict(shares).items()}
    plain["product"] = constants.product(cost_model)
    if network:
        growth = network.growth(cost_model)
        plain |= {"asked": asdict(network.asked), "realised": asdict(network.realised)}
        plain |= {"resolution": network.resolution, **asdict(network.cost)}
        if isinstance(network, ScaledNetwork):
            plain["blocks"] = network.spec.total_repeats
        plain |= {"growth": growth, "cost_ratio": growth / target}
    return plain
