"""What a trial is. Only this file knows the names under which a study stores it.

A trial is a plan (which constants, why these), the network that they stand for, and a result or a failure. Its
parameters are alpha, beta and gamma; its intermediate values are the scores at the rungs (step: images seen);
everything else is stored in user attributes, flat and as JSON values.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from objectives.contract import AnyNetwork
from phiscale.cost import Cost
from phiscale.network import ScaledNetwork
from phiscale.triangle import (
    CostModel,
    Multipliers,
    ScalingConstants,
    Shares,
    constants_from_shares,
    shares_of_direction,
)

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import FrozenTrial

PARAMETERS = ("alpha", "beta", "gamma")
"""Parameters of a study, in the order of ``ScalingConstants``."""
LARGEST_SCORE = 1e50
"""Larger scores have diverged: their fourth power would overflow."""
POSSIBLE = {"accuracy": (0.0, 1.0), "log_loss": (0.0, math.inf), "train_loss": (0.0, math.inf)}
"""The least and the largest score by the names that have a meaning."""
NEAR_SURFACE = 0.1
"""Trials of other programs measure another cost if their log product differs from the target by this part of it or
more."""
_FAILURE, _KIND = "failure", "failure_kind"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which constants a trial measures, and why these."""

    constants: ScalingConstants
    """On the surface; those of the paper's grid only within its tolerance."""
    names: tuple[str, ...] = ()
    """Rules and grid points that stand for this network, e.g. ``paper`` or ``grid:1.2/1.1/1.15``."""
    place: int | None = None
    """Position in the even spread of the study; None for other points."""
    repeats: int | None = None
    """Number of the trial whose network is measured again."""
    redo_of: int | None = None
    """Number of the interrupted trial that this one does again."""
    lost: int = 0
    """Evaluations of this trial that were lost so far (worker killed, node lost, out of time)."""
    raised: int = 0
    """How often a user's code has ended this trial by an exception other than ``TrialError``."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The network of a trial."""

    asked: Multipliers
    realised: Multipliers
    resolution: int
    """Pixels."""
    cost: Cost
    growth: float
    """Cost as a multiple of the baseline's."""
    cost_ratio: float
    """Growth over the growth asked for."""
    blocks: int | None = None
    """Blocks of all stages; None for a network without a spec."""

    @classmethod
    def of(cls, network: AnyNetwork, cost_model: CostModel, target: float) -> Sizes:
        """Of a network whose cost should grow by ``target``."""
        growth = network.growth(cost_model)
        return cls(
            asked=network.asked,
            realised=network.realised,
            resolution=network.resolution,
            cost=network.cost,
            growth=growth,
            cost_ratio=growth / target,
            blocks=network.spec.total_repeats if isinstance(network, ScaledNetwork) else None,
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """The results of a trial's evaluations, one for each seed."""

    scores: tuple[float, ...]
    """Per seed; at the longest rung where there are rungs."""
    rungs: tuple[int, ...] = ()
    """Images seen at each rung, shortest first."""
    rung_scores: tuple[tuple[float, ...], ...] = ()
    """Per seed: the score at each rung."""
    seconds: float = 0.0
    """Of all evaluations together."""
    device: str | None = None
    peak_memory: int = 0
    """Bytes."""
    curves: tuple[Mapping[str, tuple[float, ...]], ...] = ()
    """Per seed: value at each rung of each part of the score."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a trial failed. An interrupted trial has no reason."""

    kind: str
    """That of ``TrialError``, or ``lost`` or ``exception``."""
    reason: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A trial of a study."""

    number: int
    state: str
    """``COMPLETE``, ``PRUNED``, ``FAIL``, ``RUNNING`` or ``WAITING``, as Optuna's ``TrialState``."""
    value: float | None
    plan: Plan
    shares: Shares
    """Of the constants."""
    seeds: tuple[int, ...] = ()
    fingerprint: str = ""
    """Equal for trials of one network; the constants where there is no network."""
    sizes: Sizes | None = None
    result: Result | None = None
    failure: Failure | None = None

    @property
    def is_attempt(self) -> bool:
        """Whether it counts: finished, pruned, or failed with a reason (not interrupted)."""
        return self.state in ("COMPLETE", "PRUNED") or (self.state == "FAIL" and self.failure is not None)

    @property
    def is_running(self) -> bool:
        """Whether it is running."""
        return self.state == "RUNNING"

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, in any way."""
        return self.state not in ("RUNNING", "WAITING")

    @property
    def constants(self) -> ScalingConstants:
        """Of its plan."""
        return self.plan.constants


def distributions_of(cost_model: CostModel) -> dict[str, FloatDistribution]:
    """Range of each parameter: from 1 to the value at which it alone reaches the target; 1 if it does not enter the
    cost."""
    from optuna.distributions import FloatDistribution

    highest = (cost_model.target ** (1 / exponent) if exponent else 1.0 for exponent in cost_model.exponents)
    return {name: FloatDistribution(1.0, high) for name, high in zip(PARAMETERS, highest, strict=True)}


def parameters_of(constants: ScalingConstants, cost_model: CostModel) -> dict[str, float]:
    """The parameters of a trial: the point of the surface in the direction of the constants, exactly in range."""
    exact = constants_from_shares(shares_of_constants(constants, cost_model), cost_model).as_tuple()
    ranges = distributions_of(cost_model)
    return {name: min(max(value, 1.0), ranges[name].high) for name, value in zip(PARAMETERS, exact, strict=True)}


def point_key(shares: Shares) -> tuple[float, ...]:
    """Equal for shares that differ only by rounding."""
    return tuple(round(share, 9) for share in shares.as_tuple())


def running_trial(number: int, plan: Plan, cost_model: CostModel, **known: Any) -> Trial:
    """A trial that has begun; ``known`` are further fields."""
    shares = shares_of_constants(plan.constants, cost_model)
    return Trial(number=number, state="RUNNING", value=None, plan=plan, shares=shares, **known)


def plan_attributes(plan: Plan) -> dict[str, Any]:
    """A plan as user attributes."""
    plain: dict[str, Any] = {"constants": list(plan.constants.as_tuple())}
    plain |= {"names": list(plan.names)} if plan.names else {}
    optional = {"spread": plan.place, "repeats": plan.repeats, "redo_of": plan.redo_of}
    plain |= {name: value for name, value in optional.items() if value is not None}
    return plain | {name: count for name, count in (("lost", plan.lost), ("raised", plan.raised)) if count}


def point_attributes(
    constants: ScalingConstants, cost_model: CostModel, fingerprint: str, seeds: Iterable[int], sizes: Sizes | None
) -> dict[str, Any]:
    """What is known of a trial before its evaluation, as user attributes."""
    plain: dict[str, Any] = {"fingerprint": fingerprint, "seeds": list(seeds), "product": constants.product(cost_model)}
    plain |= {f"share_{axis}": share for axis, share in asdict(shares_of_constants(constants, cost_model)).items()}
    if sizes is not None:
        found = asdict(sizes)
        plain |= found.pop("cost")
        plain |= {name: value for name, value in found.items() if value is not None}
    return plain


def result_attributes(result: Result) -> dict[str, Any]:
    """A result as user attributes."""
    plain = asdict(result)
    plain["curves"] = [{name: list(values) for name, values in curves.items()} for curves in result.curves]
    return plain


def failure_attributes(failure: Failure) -> dict[str, Any]:
    """A failure as user attributes."""
    return {_KIND: failure.kind, _FAILURE: failure.reason, "seconds": failure.seconds}


def trial_of(frozen: FrozenTrial, cost_model: CostModel, *, ours: bool = True) -> Trial | None:
    """A stored trial; None for one without alpha, beta and gamma, such as a trial of an old study. None also if a user
    gave it attributes of these names with values of another kind. ``ours`` tells whether phiscale's driver made the
    study. The attributes of any other study belong to the user and are not read. There None also stands for trials off
    the surface, and a value that is not finite for a failed measurement.
    """
    stored = frozen.user_attrs if ours else {}
    constants = _constants(frozen, stored)
    if constants is None or not (ours or _is_near_surface(constants, cost_model)):
        return None
    try:
        return _read(frozen, stored, constants, shares_of_constants(constants, cost_model))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _read(frozen: FrozenTrial, stored: Mapping[str, Any], constants: ScalingConstants, shares: Shares) -> Trial:
    state, failure = frozen.state.name, _failure(stored)
    value = frozen.value if state == "COMPLETE" else None
    if value is not None and abs(value) > LARGEST_SCORE:
        state, failure = "FAIL", Failure(kind="diverged", reason=f"expected a finite score, got {value!r}")
        value = None
    return Trial(
        number=frozen.number,
        state=state,
        value=value,
        plan=Plan(
            constants=constants,
            names=tuple(stored.get("names", ())),
            place=stored.get("spread"),
            redo_of=_number(stored.get("redo_of")),
            **{name: stored[name] for name in ("repeats", "lost", "raised") if name in stored},
        ),
        shares=shares,
        seeds=tuple(stored.get("seeds", ())),
        fingerprint=stored.get("fingerprint") or repr(constants.as_tuple()),
        sizes=_sizes(stored),
        result=None if value is None else _result(value, stored),
        failure=failure,
    )


def trials_of(frozen: Iterable[FrozenTrial], cost_model: CostModel, *, ours: bool = True) -> list[Trial]:
    """All trials that hold constants, in their order; see ``trial_of``."""
    return [trial for trial in (trial_of(each, cost_model, ours=ours) for each in frozen) if trial is not None]


def enqueued_parameters(frozen: FrozenTrial) -> dict[str, Any]:
    """The constants that a user enqueued, of a trial that has not failed with a reason."""
    held: dict[str, Any] = frozen.system_attrs.get("fixed_params", {})
    return {} if _failure(frozen.user_attrs) else held


def redone_by(trial: FrozenTrial | optuna.Trial) -> int | None:
    """Number of the interrupted trial that this one does again."""
    return _number(trial.user_attrs.get("redo_of"))


def _number(given: object) -> int | None:
    return given if isinstance(given, int) else None


def redo_attributes(number: int) -> dict[str, Any]:
    """Of a trial that does the one of this number again."""
    return {"redo_of": number}


def _constants(frozen: FrozenTrial, stored: Mapping[str, Any]) -> ScalingConstants | None:
    """The requested ones if they are stated, else the parameters; for a waiting trial those it will have."""
    stated = stored.get("constants")
    held = {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}
    if not stated and not all(isinstance(held.get(name), (int, float)) for name in PARAMETERS):
        return None
    try:
        return ScalingConstants(*(stated or (float(held[name]) for name in PARAMETERS)))
    except (ArithmeticError, TypeError, ValueError):
        return None


def shares_of_constants(constants: ScalingConstants, cost_model: CostModel) -> Shares:
    """Shares of the direction of the constants."""
    return shares_of_direction(Multipliers(*constants.as_tuple()), cost_model)


def _is_near_surface(constants: ScalingConstants, cost_model: CostModel) -> bool:
    unit = math.log(cost_model.target)
    shares = [e * math.log(c) / unit for e, c in zip(cost_model.exponents, constants.as_tuple(), strict=True)]
    return min(shares) > -NEAR_SURFACE and abs(math.fsum(shares) - 1) < NEAR_SURFACE


def _sizes(stored: Mapping[str, Any]) -> Sizes | None:
    if "realised" not in stored:
        return None
    return Sizes(
        asked=Multipliers(**stored["asked"]),
        realised=Multipliers(**stored["realised"]),
        cost=Cost(**{field.name: stored[field.name] for field in dataclasses.fields(Cost)}),
        **{name: stored[name] for name in ("resolution", "growth", "cost_ratio", "blocks") if name in stored},
    )


def _result(value: float, stored: Mapping[str, Any]) -> Result:
    """The result of a finished trial. One from another program has its value as its only score."""
    return Result(
        scores=tuple(stored.get("scores", (value,))),
        rungs=tuple(stored.get("rungs", ())),
        rung_scores=tuple(map(tuple, stored.get("rung_scores", ()))),
        curves=tuple({name: tuple(values) for name, values in each.items()} for each in stored.get("curves", ())),
        **{name: stored[name] for name in ("seconds", "device", "peak_memory") if name in stored},
    )


def _failure(stored: Mapping[str, Any]) -> Failure | None:
    if _FAILURE not in stored:
        return None
    return Failure(kind=stored.get(_KIND, ""), reason=stored[_FAILURE], seconds=stored.get("seconds", 0.0))


def row(trial: Trial) -> dict[str, Any]:
    """A trial as one flat row of plain values, by ``COLUMNS``; a failed one says why."""
    plan, result = trial.plan, trial.result
    plain: dict[str, Any] = {"number": trial.number, "state": trial.state, "value": trial.value}
    plain |= {"names": list(plan.names)} if plan.names else {}
    plain |= dict(zip(PARAMETERS, plan.constants.as_tuple(), strict=True))
    plain |= {f"share_{axis}": share for axis, share in asdict(trial.shares).items()}
    plain |= {"seeds": list(trial.seeds), "fingerprint": trial.fingerprint, "redo_of": plan.redo_of, "lost": plan.lost}
    if trial.sizes is not None:
        sizes = asdict(trial.sizes)
        plain |= {f"{group}_{axis}": v for group in ("asked", "realised") for axis, v in sizes.pop(group).items()}
        plain |= {**sizes.pop("cost"), **sizes}
    if result is not None:
        plain |= {name: value for name, value in asdict(result).items() if name != "curves"}
    failure = trial.failure
    if failure is None and trial.state == "FAIL":
        failure = Failure(kind="interrupted", reason="the run ended before the trial did")
    if failure is not None:
        plain |= failure_attributes(failure)
    return plain


COLUMNS = (
    *("number", "state", "value", "names", *PARAMETERS, "share_depth", "share_width", "share_resolution"),
    *("asked_depth", "asked_width", "asked_resolution", "realised_depth", "realised_width", "realised_resolution"),
    *("resolution", "blocks", *(field.name for field in dataclasses.fields(Cost)), "growth", "cost_ratio", "seeds"),
    *("scores", "rungs", "rung_scores", "seconds", "device", "peak_memory", "fingerprint"),
    *(_KIND, _FAILURE, "redo_of", "lost"),
)
"""Columns of ``trials.csv``."""
RESERVED = {*COLUMNS, "asked", "constants", "curves", "product", "raised", "realised", "repeats", "spread"} - {
    "redo_of"
}
"""User attributes with which a user cannot enqueue a trial."""
