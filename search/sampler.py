"""``ConstantsSampler``: alpha, beta and gamma for any Optuna study, exactly on the surface of a cost model.

study = optuna.create_study(direction="maximize", sampler=ConstantsSampler())
study.optimize(lambda trial: score(suggest_constants(trial)), n_trials=40)
"""

from __future__ import annotations

import contextlib
import math
import threading
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, RandomSampler

from phiscale.errors import SettingsError
from phiscale.triangle import FLOPS, CostModel, ScalingConstants
from search import methods
from search.aim import Aim
from search.history import History
from search.optuna_trial import check_suggested, range_error
from search.settings import SearchSettings
from search.study import is_ours, keep_cost_model
from search.trial import (
    PARAMETERS,
    Failure,
    Plan,
    distributions_of,
    parameters_of,
    point_key,
    running_trial,
    shares_of_constants,
    trials_of,
)

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial, FrozenTrial, TrialState

_ROUNDING = 1e-9


class ConstantsSampler(BaseSampler):
    """Draws ``alpha``, ``beta`` and ``gamma`` with ``alpha * beta**2 * gamma**2 == 2``, or on another cost model.

    ``method`` is gp (default), qmc, random, tpe, cmaes, grid or lattice, and ``step`` and ``tolerance`` are those of a
    grid, see ``search.settings.SearchSettings``. Running trials count as pending; pruned or failed ones count as tried
    without a score. ``inner`` draws further parameters of the user, by default at random. If a trial was enqueued with
    one or two of the three constants, the others are chosen to fit. The study ends once all points of a grid or lattice
    have been tried. The cost model is stored with the study. Raises ``SettingsError``.
    """

    def __init__(
        self,
        cost_model: CostModel = FLOPS,
        *,
        method: str = "gp",
        seed: int = 0,
        inner: BaseSampler | None = None,
        step: float = SearchSettings.step,
        tolerance: float = SearchSettings.tolerance,
    ) -> None:
        if not isinstance(cost_model, CostModel):
            raise SettingsError(f"expected a cost model such as phiscale.FLOPS, got {cost_model!r}")
        if inner is not None and not isinstance(inner, BaseSampler):
            raise SettingsError(f"expected a sampler of Optuna as inner, got {inner!r}")
        self._model = cost_model
        self._settings = SearchSettings(method=method, seed=seed, step=step, tolerance=tolerance)
        methods.check_method(self._settings, cost_model)
        self._inner = inner or RandomSampler(seed=seed)
        self._lock = threading.Lock()
        self._proposed: dict[tuple[str, int], Plan] = {}
        """Points of trials whose parameters are not yet stored, by study and number."""

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes, which have their own lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _proposed=dict(state["_proposed"]), _lock=threading.Lock())

    def reseed_rng(self) -> None:
        """Only the inner sampler has a random state: the constants follow from the seed and the trials."""
        self._inner.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The three constants, and what the inner sampler draws together."""
        further = self._inner.infer_relative_search_space(study, trial)
        return {**_without_constants(further), **distributions_of(self._model)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A point of the surface, and the inner sampler's parameters."""
        further = self._inner.sample_relative(study, trial, _without_constants(search_space))
        with self._lock:
            plan = self._plan(study, trial)
            self._proposed[study.study_name, trial.number] = plan
        return {**further, **self._fitted(trial, parameters_of(plan.constants, self._model))}

    def _fitted(self, trial: FrozenTrial, proposed: dict[str, float]) -> dict[str, float]:
        """The proposal for the constants that were not enqueued. If they leave no room it is unchanged, which is
        Optuna's rule."""
        given = {name: trial.system_attrs.get("fixed_params", {}).get(name) for name in PARAMETERS}
        fixed = {name: value for name, value in given.items() if isinstance(value, (int, float)) and value > 0}
        try:
            return fit_to(fixed, proposed, self._model) if fixed else proposed
        except SettingsError as error:
            warnings.warn(f"trial {trial.number} is measured off the surface: {error}", UserWarning, stacklevel=2)
            return proposed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A further parameter of the user. Raises ``SettingsError`` for a constant, which has another range."""
        if param_name in PARAMETERS:
            raise range_error(param_name, param_distribution, distributions_of(self._model)[param_name])
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Store the cost model with the study. Raises ``SettingsError`` if it has another one, or several values."""
        if len(study.directions) > 1:
            raise SettingsError(
                f"expected a study of one objective for ConstantsSampler, got one of {len(study.directions)}"
            )
        keep_cost_model(study, self._model)
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """For the inner sampler; ends ``Study.optimize`` after the last point of a grid.

        Raises ``SettingsError`` for a finished trial without its three constants: it teaches nothing, and the next one
        would get the same point.
        """
        self._inner.after_trial(study, trial, state, values)
        with self._lock:
            self._proposed.pop((study.study_name, trial.number), None)
            if state.name == "COMPLETE":
                check_suggested(trial.params)
            is_done = self._settings.is_grid and not methods.propose(self._history(study), 1)
        if is_done:
            with contextlib.suppress(RuntimeError):  # outside optimize there is nothing to stop
                study.stop()

    def _plan(self, study: Study, trial: FrozenTrial) -> Plan:
        """The next point; if a grid has none left, the one that was tried least often."""
        history = self._history(study, trial.number)
        plans = methods.propose(history, 1)
        if plans:
            return plans[0]
        tried = Counter(point_key(trial.shares) for trial in history.trials)
        points = [constants for _, constants in methods.known_points(self._settings, self._model) or ()]
        return Plan(constants=min(points, key=lambda c: tried[point_key(shares_of_constants(c, self._model))]))

    def _history(self, study: Study, number: int | None = None) -> History:
        """All trials except ``number``; each takes one position of the even spread."""
        stored = trials_of(study.get_trials(deepcopy=False), self._model, ours=is_ours(study))
        known = {trial.number for trial in stored}
        asked = {n: plan for (name, n), plan in self._proposed.items() if name == study.study_name and n not in known}
        trials = [*stored, *(running_trial(n, plan, self._model) for n, plan in asked.items())]
        others = [trial for trial in trials if trial.number != number and trial.state != "WAITING"]
        placed = [replace(trial, plan=replace(trial.plan, place=place)) for place, trial in enumerate(others)]
        useless = {point_key(trial.shares) for trial in placed if trial.state in ("FAIL", "PRUNED")}
        return History(
            [replace(t, failure=_FAILED) if t.state == "FAIL" else t for t in placed],
            self._model,
            self._settings,
            Aim(study.direction.name.lower()),
            lambda constants: point_key(shares_of_constants(constants, self._model)) not in useless,
        )


_FAILED = Failure(kind="", reason="")
"""The error for a trial that another program marked as failed."""


def suggest_constants(trial: BaseTrial, cost_model: CostModel = FLOPS) -> ScalingConstants:
    """The constants of a trial of Optuna, as its parameters alpha, beta and gamma."""
    ranges = distributions_of(cost_model)
    values = (trial.suggest_float(name, ranges[name].low, ranges[name].high) for name in PARAMETERS)
    return ScalingConstants(*values)


def fit_to(fixed: Mapping[str, float], proposed: Mapping[str, float], cost_model: CostModel) -> dict[str, float]:
    """Constants of which some are fixed: the others share the rest in the ratio of the proposal. Raises
    ``SettingsError`` if the fixed ones leave nothing, or are below 1.
    """
    exponents = dict(zip(PARAMETERS, cost_model.exponents, strict=True))
    left = room_left(fixed, cost_model)
    free = {name: _log_share(proposed[name], exponents[name], cost_model) for name in PARAMETERS if name not in fixed}
    entering = [name for name in free if exponents[name]]
    total = math.fsum(free[name] for name in entering)
    parts = {name: free[name] / total if total > 0 else 1 / len(entering) for name in entering}
    powers = {name: max(left, 0.0) * parts[name] / exponents[name] for name in entering}
    return {name: cost_model.target ** powers.get(name, 0.0) for name in free}


def room_left(fixed: Mapping[str, float], cost_model: CostModel) -> float:
    """The part of the growth that fixed constants leave to the others, at most 1. Raises ``SettingsError`` if nothing
    is left."""
    exponents = zip(PARAMETERS, cost_model.exponents, strict=True)
    left = 1 - math.fsum(_log_share(fixed[name], power, cost_model) for name, power in exponents if name in fixed)
    if len(fixed) < len(PARAMETERS) and not -_ROUNDING <= left <= 1 + _ROUNDING:
        raise SettingsError(
            f"expected enqueued constants of 1 or more that leave room on {cost_model.describe()}, got "
            f"{', '.join(f'{name} = {value:g}' for name, value in fixed.items())}"
        )
    return left


def _log_share(constant: float, exponent: float, cost_model: CostModel) -> float:
    return exponent * (math.log(constant) if constant > 0 else -math.inf) / math.log(cost_model.target)


def _without_constants(space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    return {name: distribution for name, distribution in space.items() if name not in PARAMETERS}
