"""The methods: which points each proposes, and how gp values a further evaluation (the knowledge gradient)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from objectives.landscape import CORNER, EDGE
from phiscale import FLOPS, PARAMETERS, CostModel, ScalingConstants, SettingsError, Shares, constants_from_shares
from phiscale.triangle import lattice
from search import methods, recommendation
from search.aim import Aim
from search.history import History
from search.methods.gp import knowledge_gradient
from search.recommendation import as_array
from search.results import write_results
from search.settings import SPREAD_FIRST, SearchSettings
from search.surface import Array, Surface
from search.trial import Failure, Plan, Result, Trial, point_key, shares_of_constants
from tests.objectives_for_tests import NetworkObjective
from tests.search_for_tests import complete, run
from tests.test_search_recommend import DOWN, INTERIOR, UP

POINTS = as_array(lattice(4, FLOPS))
FAILED = Failure(kind="diverged", reason="")
MODELS = (FLOPS, PARAMETERS, CostModel(0, 2, 2), CostModel(1, 1.5, 2, 2.5))


def history(trials: Sequence[Trial] = (), model: CostModel = FLOPS, aim: Aim = UP, **settings: Any) -> History:
    return History(list(trials), model, SearchSettings(**settings), aim)


def trial(number: int, shares: Shares, value: float | None, state: str = "COMPLETE", model: CostModel = FLOPS) -> Trial:
    """A trial of no network, in the place of the even spread that its number says."""
    plan = Plan(constants=constants_from_shares(shares, model), place=number)
    result = None if value is None else Result(scores=(value,))
    return Trial(
        number=number, state=state, value=value, plan=plan, shares=shares, fingerprint=str(number), result=result
    )


def measured(count: int, sign: float = 1.0, model: CostModel = FLOPS) -> list[Trial]:
    """Trials at the places of an even spread, with scores of a hill."""
    plans = methods.propose(history(model=model, method="qmc"), count)
    scores = [sign * INTERIOR.true_score(plan.constants) for plan in plans]
    return [
        trial(number, shares_of_constants(plan.constants, model), score, model=model)
        for number, (plan, score) in enumerate(zip(plans, scores, strict=True))
    ]


def keys(plans: Sequence[Plan], model: CostModel = FLOPS) -> list[tuple[float, ...]]:
    return [point_key(shares_of_constants(plan.constants, model)) for plan in plans]


# what all of them do


def test_a_file_is_a_method() -> None:
    assert methods.method_names() == ("cmaes", "gp", "grid", "lattice", "qmc", "random", "tpe")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", methods.method_names())
@pytest.mark.parametrize("known", [0, 14])
def test_every_proposal_lies_on_the_surface_and_follows_from_the_trials(
    method: str, model: CostModel, known: int
) -> None:
    if method == "cmaes" and 0 in model.exponents:
        with pytest.raises(SettingsError, match="another method than cmaes, which needs 3 axes"):
            methods.check_method(SearchSettings(method=method), model)
        return
    past = history(measured(known, model=model), model, method=method, step=0.125, tolerance=0.1, seed=3)
    plans = methods.propose(past, 5)
    assert plans == methods.propose(dataclasses.replace(past), 5)
    assert len(set(keys(plans, model))) == len(plans) == 5 or method == "grid"
    assert not set(keys(plans, model)) & {point_key(t.shares) for t in past.trials}
    for plan in plans:
        off = 0.1 if method == "grid" else 1e-9
        assert plan.constants.product(model) == pytest.approx(model.target, abs=off)
        assert min(plan.constants.as_tuple()) >= 1
        assert all(c == 1 for c, e in zip(plan.constants.as_tuple(), model.exponents, strict=True) if e == 0)


@pytest.mark.parametrize("method", ["qmc", "random"])
def test_places_are_taken_in_order_however_many_are_asked_for(method: str) -> None:
    at_once = methods.propose(history(method=method), 6)
    assert [plan.place for plan in at_once] == list(range(6))
    past = history(measured(4), method=method)
    assert methods.propose(past, 2) == at_once[4:]


@pytest.mark.parametrize("method", ["tpe", "cmaes"])
@pytest.mark.parametrize("aim", [UP, DOWN])
def test_samplers_of_scores_go_where_the_scores_are_better(method: str, aim: Aim) -> None:
    sign = 1.0 if aim == UP else -1.0
    trials = measured(60, sign)
    plans = [methods.propose(history(trials, aim=aim, method=method, seed=seed), 1)[0] for seed in range(12)]
    found = np.mean([sign * sign * INTERIOR.true_score(plan.constants) for plan in plans])
    assert found > np.mean([sign * t.value for t in trials if t.value is not None]) + 0.02


def test_a_grid_ends_and_passes_over_what_the_study_holds() -> None:
    every = methods.propose(history(method="lattice", step=0.25), 99)
    assert len(every) == 15
    held = [
        trial(number, shares_of_constants(every[number].constants, FLOPS), *how)
        for number, how in enumerate([(0.5,), (None, "RUNNING"), (None, "FAIL")])
    ]
    # an interrupted trial (the third) does not hold its point
    assert methods.propose(history(held, method="lattice", step=0.25), 99) == every[2:]


@pytest.mark.parametrize("method", methods.method_names())
def test_every_method_measures_feasible_networks_only(tmp_path: Path, method: str) -> None:
    step = 0.25 if method == "lattice" else 0.1
    study, _ = run(tmp_path, NetworkObjective(), method=method, trials=14, step=step, tolerance=0.1, baselines="paper")
    assert len(complete(study)) == len(study.trials) == 14 or method in ("grid", "lattice")
    for done in complete(study):
        a = done.user_attrs
        on_surface = 0.1 if any(name.startswith("grid") for name in a.get("names", ())) else 1e-9
        assert abs(a["product"] - 2) <= on_surface
        assert ScalingConstants(*done.params.values()).product() == pytest.approx(2, abs=1e-12)
        assert abs(a["cost_ratio"] - 1) <= 0.02


def test_a_method_without_its_package_is_refused_before_the_first_trial(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("search.methods.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="needs scipy.*pip install scipy"):
        run(tmp_path, INTERIOR, trials=3)
    assert not (tmp_path / "s" / "study.db").exists()


# gp


def test_gp_spreads_first_and_every_other_later_point() -> None:
    """A model that alone decided where to look would not see that it is wrong where it does not look."""
    places = [plan.place for plan in methods.propose(history(measured(SPREAD_FIRST)), 6)]
    assert places == [12, None, 13, None, 14, None]
    assert [plan.place for plan in methods.propose(history(), 20)] == list(range(20))


def test_gp_fits_once_for_many_points(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, fit = [], recommendation.surface_at
    monkeypatch.setattr(recommendation, "surface_at", lambda *given, each: fits.append(1) or fit(*given, each=each))
    plans = methods.propose(history(measured(SPREAD_FIRST)), 16)
    assert len(plans) == 16
    assert len(set(keys(plans))) >= 14  # a point may be worth a second evaluation
    assert len(fits) == 1


def test_gp_looks_for_another_place_where_a_network_cannot_be_built() -> None:
    past = history(measured(SPREAD_FIRST))
    closed = {tuple(key) for key in keys(methods.propose(past, 2))}
    some = dataclasses.replace(
        past, is_open=lambda constants: point_key(shares_of_constants(constants, FLOPS)) not in closed
    )
    plans = methods.propose(some, 2)
    assert [plan.place for plan in plans] == [13, None]
    assert not closed & set(keys(plans))
    # where nothing can be built the next place is tried, and fails with its reason
    none = dataclasses.replace(past, is_open=lambda _: False)
    assert [plan.place for plan in methods.propose(none, 2)] == [12, 13]


@pytest.mark.parametrize("change", ["runs", "failed", "was pruned"])
def test_a_point_that_gives_no_score_is_worth_less(change: str) -> None:
    trials = measured(SPREAD_FIRST + 1)
    first = methods.propose(history(trials), 1)[0]
    shares = shares_of_constants(first.constants, FLOPS)
    state = {"runs": "RUNNING", "failed": "FAIL", "was pruned": "PRUNED"}[change]
    known = [trial(100 + at, shares, None, state) for at in range(2)]
    known = [dataclasses.replace(t, failure=FAILED if change == "failed" else None) for t in known]
    known = [dataclasses.replace(t, plan=dataclasses.replace(t.plan, place=None)) for t in known]
    assert keys(methods.propose(history([*trials, *known]), 1)) != keys([first])


def test_a_minimised_score_is_the_mirror_of_a_maximised_one() -> None:
    def chosen(sign: float, aim: Aim) -> list[tuple[float, ...]]:
        return keys(methods.propose(history(measured(SPREAD_FIRST + 1, sign), aim=aim), 1))

    assert chosen(1, UP) == chosen(-1, DOWN)
    assert chosen(1, DOWN) != chosen(1, UP)


def test_the_best_constants_are_found(tmp_path: Path) -> None:
    for objective in (INTERIOR, EDGE, CORNER):
        objective = dataclasses.replace(objective, noise=0.01)
        folder = tmp_path / str(objective.optimum.as_tuple())
        study, _ = run(folder, objective, trials=24)
        record = write_results(study, folder / "s", FLOPS, SearchSettings(trials=24))
        regret = objective.true_score(objective.best_constants) - objective.true_score(record.constants)
        assert regret < 0.01 * objective.drop * 2
        assert record.noise == pytest.approx(0.01, rel=0.8)


# the knowledge gradient


class Independent(Surface):
    """A surface whose points have nothing to do with each other, so that the answer is known in closed form."""

    def __init__(self, mean: Array, deviation: Array, noise: float) -> None:
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "belief", (mean, deviation))

    def moments(self, shares: Array) -> tuple[Array, Array]:
        mean, deviation = self.belief
        same = (np.abs(shares[:, None] - shares[None]).max(axis=2) < 1e-12).astype(float)
        index = [int(np.argmin(np.abs(POINTS - point).sum(axis=1))) for point in shares]
        return mean[index], same * np.outer(deviation[index], deviation[index])


def expected_rise(mean: Array, deviation: Array, noise: float, index: int) -> float:
    """Source: Frazier, Powell & Dayanik 2008, "A knowledge-gradient policy", equations 14 to 16."""
    change = deviation[index] ** 2 / math.hypot(deviation[index], noise)
    others = np.delete(mean, index).max()
    z = -abs(mean[index] - others) / change
    return float(change * (norm.pdf(z) + z * norm.cdf(z)))


def test_it_is_the_closed_form_for_independent_points() -> None:
    generator = np.random.default_rng(1)
    mean, deviation = generator.normal(0, 0.02, len(POINTS)), generator.uniform(0.02, 0.05, len(POINTS))
    found = knowledge_gradient(Independent(mean, deviation, 0.03), POINTS, np.empty((0, 3)))
    exact = [expected_rise(mean, deviation, 0.03, index) for index in range(len(POINTS))]
    assert found == pytest.approx(exact, rel=0.1, abs=2e-4)
    assert np.argmax(found) == np.argmax(exact)


def test_a_point_that_another_worker_evaluates_is_worth_less() -> None:
    mean, deviation = np.linspace(0, 0.02, len(POINTS)), np.full(len(POINTS), 0.04)
    surface = Independent(mean, deviation, 0.02)
    alone = knowledge_gradient(surface, POINTS, np.empty((0, 3)))
    best = int(np.argmax(alone))
    beside = knowledge_gradient(surface, POINTS, POINTS[[best]])
    assert beside[best] < 0.5 * alone[best]
    others = np.arange(len(POINTS)) != best
    assert beside[others] == pytest.approx(alone[others], abs=1e-12)
