"""A trial as a study stores it, there and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phiscale import FLOPS, PROXY_BASE, CostModel, ScalingConstants, constants_from_shares, match_budget
from search.storage import begin_trial
from search.trial import (
    COLUMNS,
    Failure,
    Plan,
    Result,
    Sizes,
    Trial,
    distributions_of,
    failure_attributes,
    parameters_of,
    plan_attributes,
    point_attributes,
    result_attributes,
    row,
    running_trial,
    trial_of,
    trials_of,
)
from tests.strategies import cost_models, reals, shares

COUNT = st.integers(0, 99)
LENGTHS = st.lists(st.integers(1, 10**9), max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
SCORES = st.lists(reals(-1e9, 1e9), min_size=1, max_size=3).map(tuple)
NETWORK = match_budget(PROXY_BASE, ScalingConstants(1.2, 1.1, 1.15), phi=1)


@st.composite
def models(draw: st.DrawFn) -> CostModel:
    """Surfaces that two or three axes enter."""
    model = draw(cost_models())
    left_out = draw(st.none() | st.sampled_from(["depth", "width", "resolution"]))
    return model if left_out is None else dataclasses.replace(model, **{left_out: 0})


@st.composite
def plans(draw: st.DrawFn, model: CostModel) -> Plan:
    place = draw(shares())
    weights = [share if exponent else 0 for share, exponent in zip(place.as_tuple(), model.exponents, strict=True)]
    total = sum(weights) or 1
    if not any(weights):
        weights = [float(exponent > 0) for exponent in model.exponents]
        total = sum(weights)
    return Plan(
        constants=constants_from_shares(type(place)(*(weight / total for weight in weights)), model),
        names=tuple(draw(st.lists(st.text(min_size=1, max_size=5), max_size=2))),
        place=draw(st.none() | COUNT),
        repeats=draw(st.none() | COUNT),
        redo_of=draw(st.none() | COUNT),
        lost=draw(st.integers(0, 3)),
        raised=draw(st.integers(0, 1)),
    )


@st.composite
def results(draw: st.DrawFn) -> Result:
    scores, rungs = draw(SCORES), draw(LENGTHS)
    curves = st.dictionaries(st.text(max_size=4), SCORES, max_size=2)
    return Result(
        scores=scores,
        rungs=rungs,
        rung_scores=tuple(tuple(score + at for at in range(len(rungs))) for score in scores) if rungs else (),
        seconds=draw(reals(0, 1e6)),
        device=draw(st.text(max_size=5)),
        peak_memory=draw(st.integers(0, 2**50)),
        curves=tuple(draw(st.lists(curves, max_size=2))),
    )


def stored(trial: Trial, model: CostModel) -> Trial | None:
    """The trial as a study gives it back, which a driver has written in its usual steps."""
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    point = point_attributes(trial.constants, model, trial.fingerprint, trial.seeds, trial.sizes)
    begun = begin_trial(study, trial.plan, model, plan_attributes(trial.plan) | point)
    assert trial_of(study.trials[0], model) == dataclasses.replace(
        trial, number=0, state="RUNNING", value=None, result=None, failure=None
    )
    attributes = result_attributes(trial.result) if trial.result else {}
    attributes |= failure_attributes(trial.failure) if trial.failure else {}
    for name, value in attributes.items():
        begun.set_user_attr(name, value)
    study.tell(begun, trial.value, state=optuna.trial.TrialState[trial.state])
    return trial_of(study.trials[0], model)


@given(st.data(), models(), st.none() | st.just(Sizes.of(NETWORK, FLOPS, 2)), st.text(min_size=1, max_size=5))
def test_a_trial_comes_back_from_a_study_as_it_was(
    data: st.DataObject, model: CostModel, sizes: Sizes | None, fingerprint: str
) -> None:
    plan, seeds = data.draw(plans(model)), tuple(data.draw(st.lists(COUNT, max_size=3)))
    running = running_trial(0, plan, model, seeds=seeds, fingerprint=fingerprint, sizes=sizes)
    assert all(
        distributions_of(model)[name].low <= value <= distributions_of(model)[name].high
        for name, value in parameters_of(plan.constants, model).items()
    )
    failure = Failure(kind=data.draw(st.text(max_size=5)), reason=data.draw(st.text(max_size=9)), seconds=1.5)
    result = data.draw(results())
    ended = data.draw(
        st.sampled_from(
            [
                dataclasses.replace(running, state="COMPLETE", value=result.scores[0], result=result),
                dataclasses.replace(running, state="FAIL", failure=failure),
                dataclasses.replace(running, state="FAIL"),
            ]
        )
    )
    assert stored(ended, model) == ended
    assert set(row(ended)) <= set(COLUMNS)
    assert ended.is_attempt == (ended.state == "COMPLETE" or ended.failure is not None)


def foreign(parameters: dict[str, Any], **known: Any) -> optuna.trial.FrozenTrial:
    """A trial that another program made."""
    ranges = {
        name: optuna.distributions.FloatDistribution(0, 9)
        if isinstance(value, float)
        else optuna.distributions.CategoricalDistribution([value])
        for name, value in parameters.items()
    }
    return optuna.trial.create_trial(params=parameters, distributions=ranges, **known)


optuna.logging.set_verbosity(optuna.logging.ERROR)
PAPER = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15}


def test_a_trial_that_another_program_told_has_its_value_as_its_only_score() -> None:
    trial = trial_of(foreign({**PAPER, "rate": 0.1}, value=0.7), FLOPS)
    assert trial is not None
    assert trial.plan == Plan(constants=ScalingConstants(1.2, 1.1, 1.15))
    assert trial.result == Result(scores=(0.7,))
    assert trial.fingerprint == "(1.2, 1.1, 1.15)"
    assert sum(trial.shares.as_tuple()) == pytest.approx(1)
    assert (trial.is_attempt, trial.sizes, trial.failure) == (True, None, None)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"u": 0.5, "v": 0.5},
        {"alpha": 1.2, "beta": 1.1},
        {**PAPER, "gamma": 0.0},
        {**PAPER, "gamma": "large"},
        {"alpha": 1.0, "beta": 1.0, "gamma": 1.0},
    ],
)
def test_a_trial_without_usable_constants_is_passed_over(parameters: dict[str, Any]) -> None:
    frozen = foreign(parameters, value=0.7)
    assert trial_of(frozen, FLOPS) is None
    assert trials_of([frozen, foreign(PAPER, value=0.7), frozen], FLOPS) == [trial_of(foreign(PAPER, value=0.7), FLOPS)]


def test_what_a_person_enqueued_waits_with_its_constants() -> None:
    study = optuna.create_study()
    study.enqueue_trial(PAPER)
    study.enqueue_trial({"alpha": 1.2})
    first, second = (trial_of(frozen, FLOPS) for frozen in study.trials)
    assert first is not None
    assert first.constants.as_tuple() == (1.2, 1.1, 1.15)
    assert (first.state, first.is_attempt, first.is_running, first.is_finished) == ("WAITING", False, False, False)
    assert second is None


@pytest.mark.parametrize("state", ["PRUNED", "FAIL", "RUNNING"])
def test_only_finished_trials_have_a_result(state: str) -> None:
    trial = trial_of(foreign(PAPER, state=optuna.trial.TrialState[state]), FLOPS)
    assert trial is not None
    assert (trial.result, trial.value) == (None, None)
    assert trial.is_attempt is (state == "PRUNED")


def test_an_interrupted_trial_says_so_in_its_row() -> None:
    trial = trial_of(foreign(PAPER, state=optuna.trial.TrialState.FAIL), FLOPS)
    assert trial is not None
    assert row(trial)["failure_kind"] == "interrupted"
    assert row(trial)["failure"] == "the run ended before the trial did"
