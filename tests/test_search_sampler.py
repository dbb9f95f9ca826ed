"""``ConstantsSampler`` in a study of a person's own."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import search
from objectives.landscape import INTERIOR
from phiscale import FLOPS, PARAMETERS, CostModel, ScalingConstants, SettingsError, constants_from_shares
from phiscale.triangle import lattice_from_step, paper_grid
from search import ConstantsSampler, methods, suggest_constants
from search.sampler import fit_to
from search.trial import distributions_of, parameters_of
from tests.strategies import cost_models, shares

MODELS = (FLOPS, PARAMETERS, CostModel(0, 2, 2), CostModel(1, 0, 3, 3.0), CostModel(1, 1.5, 2, 2.5))
optuna.logging.set_verbosity(optuna.logging.ERROR)


def score(trial: optuna.Trial, model: CostModel = FLOPS) -> float:
    constants = suggest_constants(trial, model)
    return 0.9 - sum((value - 1.2) ** 2 for value in constants.as_tuple())


def study_of(sampler: ConstantsSampler, count: int = 0, objective: Any = score, **options: Any) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=sampler, **options)
    if count:
        study.optimize(objective, n_trials=count)
    return study


def points(study: optuna.Study) -> list[tuple[float, ...]]:
    return [tuple(trial.params[name] for name in ("alpha", "beta", "gamma")) for trial in study.trials]


def product(parameters: dict[str, float], model: CostModel = FLOPS) -> float:
    return ScalingConstants(*(parameters[name] for name in ("alpha", "beta", "gamma"))).product(model)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", methods.method_names())
def test_every_method_draws_exactly_on_the_surface(method: str, model: CostModel) -> None:
    if method == "cmaes" and 0 in model.exponents:
        with pytest.raises(SettingsError, match="another method than cmaes"):
            ConstantsSampler(model, method=method)
        return
    study = study_of(ConstantsSampler(model, method=method, step=0.125, tolerance=0.1))
    study.optimize(lambda trial: score(trial, model), n_trials=15)
    for trial in study.trials:
        assert product(trial.params, model) == pytest.approx(model.target, rel=1e-12)
        for value, exponent in zip(trial.params.values(), model.exponents, strict=True):
            assert value >= 1
            assert exponent or value == 1
    assert len(set(points(study))) >= min(13, len(study.trials))


def test_gp_learns_where_the_score_is_high() -> None:
    study = study_of(ConstantsSampler(), 24, lambda trial: INTERIOR.true_score(suggest_constants(trial)))
    found = search.recommend(study)
    assert found.shares.as_tuple() == pytest.approx(INTERIOR.optimum.as_tuple(), abs=0.06)
    assert study.best_value > INTERIOR.top - 0.01


def test_threads_draw_different_points() -> None:
    meeting = threading.Barrier(4, timeout=60)

    def objective(trial: optuna.Trial) -> float:
        meeting.wait()  # all four run at once
        value = score(trial)
        meeting.wait()
        return value

    for method in ("gp", "tpe", "qmc", "random"):
        study = study_of(ConstantsSampler(method=method))
        study.optimize(objective, n_trials=20, n_jobs=4)
        assert len(set(points(study))) >= 19, method
        assert all(product(trial.params) == pytest.approx(2, rel=1e-12) for trial in study.trials)


def test_ask_gives_many_workers_different_points_before_any_has_said_its_parameters() -> None:
    study = study_of(ConstantsSampler(), 13)
    asked = [study.ask() for _ in range(6)]
    drawn = [tuple(trial.relative_params.values()) for trial in asked]
    assert len(set(drawn)) == 6
    assert [suggest_constants(trial).as_tuple() for trial in asked] == drawn


# further parameters


def test_a_person_s_own_parameters_are_drawn_by_the_inner_sampler() -> None:
    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return score(trial) - abs(math.log10(rate) + 2) / 10 - (kind == "b")

    inner = optuna.samplers.TPESampler(seed=1, n_startup_trials=5)
    study = study_of(ConstantsSampler(inner=inner), 40, objective)
    assert all(product(trial.params) == pytest.approx(2, rel=1e-12) for trial in study.trials)
    later = [trial.params["kind"] for trial in study.trials[20:]]
    assert later.count("a") > 14  # the inner sampler learns
    assert len({trial.params["rate"] for trial in study_of(ConstantsSampler(), 5, objective).trials}) == 5


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_an_inner_sampler_that_draws_all_together_never_gets_the_constants() -> None:
    def objective(trial: optuna.Trial) -> float:
        return score(trial) - trial.suggest_float("rate", 0, 1) - trial.suggest_float("decay", 0, 1)

    inner = optuna.samplers.TPESampler(seed=0, multivariate=True, n_startup_trials=3)
    study = study_of(ConstantsSampler(inner=inner), 12, objective)
    assert all(product(trial.params) == pytest.approx(2, rel=1e-12) for trial in study.trials)


def test_a_wider_range_is_taken_and_a_narrower_one_refused() -> None:
    study = study_of(ConstantsSampler())
    trial = study.ask()
    wide = {name: trial.suggest_float(name, 1, 9) for name in ("alpha", "beta", "gamma")}
    assert product(wide) == pytest.approx(2, rel=1e-12)
    with pytest.raises(
        SettingsError, match=r"expected trial.suggest_float\('alpha', 1, 2\) or a wider range, got Float"
    ):
        study.ask().suggest_float("alpha", 1.9999, 2)


# what a person enqueued


@pytest.mark.parametrize(
    "fixed",
    [{"alpha": 1.2}, {"gamma": 1.0}, {"beta": 2**0.5}, {"alpha": 1.3, "gamma": 1.1}, {"alpha": 1.0, "beta": 1.0}],
)
def test_constants_that_were_not_enqueued_are_chosen_to_fit(fixed: dict[str, float]) -> None:
    study = study_of(ConstantsSampler())
    study.enqueue_trial(fixed)
    study.optimize(score, n_trials=1)
    found = study.trials[0].params
    assert {name: found[name] for name in fixed} == fixed
    assert product(found) == pytest.approx(2, rel=1e-9)


def test_three_enqueued_constants_stay_as_they_are() -> None:
    study = study_of(ConstantsSampler())
    study.enqueue_trial({"alpha": 1.2, "beta": 1.1, "gamma": 1.15})
    study.optimize(score, n_trials=2)
    assert points(study)[0] == (1.2, 1.1, 1.15)


@pytest.mark.parametrize("fixed", [{"beta": 1.4, "gamma": 1.4}, {"beta": 2.0}, {"alpha": 0.5}])
@pytest.mark.filterwarnings("ignore:Fixed parameter:UserWarning")
def test_enqueued_constants_without_room_are_measured_as_they_are_and_left_out(fixed: dict[str, float]) -> None:
    study = study_of(ConstantsSampler())
    study.enqueue_trial(fixed)
    with pytest.warns(UserWarning, match="off the surface: expected enqueued constants of 1 or more that leave room"):
        study.optimize(lambda trial: 99 + score(trial), n_trials=1)
    assert fixed.items() <= study.trials[0].params.items()
    study.optimize(score, n_trials=9)
    found = search.recommend(study)
    assert found.best_observed.score < 1
    assert any("1 of 10 finished trials left out" in note for note in found.notes)


@settings(max_examples=300)
@given(cost_models(), shares(), shares(), st.sets(st.sampled_from(["alpha", "beta", "gamma"]), min_size=1, max_size=2))
def test_what_fits_stays_in_the_range_of_its_parameter(
    model: CostModel, point: Any, other: Any, names: set[str]
) -> None:
    whole = parameters_of(constants_from_shares(point, model), model)
    fixed = {name: whole[name] for name in names}
    found = fixed | fit_to(fixed, parameters_of(constants_from_shares(other, model), model), model)
    assert product(found, model) == pytest.approx(model.target, rel=1e-6)
    for name, value in found.items():
        assert distributions_of(model)[name].low <= value <= distributions_of(model)[name].high


# trials without a score


def test_pruned_trials_are_left_out_of_the_surface() -> None:
    def objective(trial: optuna.Trial) -> float:
        constants = suggest_constants(trial)
        for step in range(3):
            trial.report(-100.0 if constants.alpha > 1.5 else 0.5, step)
        if constants.alpha > 1.5:
            raise optuna.TrialPruned
        return INTERIOR.true_score(constants)

    study = study_of(ConstantsSampler(), 24, objective, pruner=optuna.pruners.MedianPruner())
    pruned = [trial for trial in study.trials if trial.state.name == "PRUNED"]
    assert pruned
    found = search.recommend(study)
    assert found.expected is not None
    assert found.expected.score > 0.7
    assert found.shares.as_tuple() == pytest.approx(INTERIOR.optimum.as_tuple(), abs=0.1)
    assert len(set(points(study))) == 24  # none of them is tried again


def test_a_point_that_failed_is_not_asked_for_again() -> None:
    def objective(trial: optuna.Trial) -> float:
        if suggest_constants(trial).gamma > 1.1:
            raise ValueError
        return score(trial)

    study = study_of(ConstantsSampler())
    study.optimize(objective, n_trials=30, catch=ValueError)
    failed = [point for point, trial in zip(points(study), study.trials, strict=True) if trial.state.name == "FAIL"]
    assert len(failed) > 5
    assert len(set(failed)) == len(failed)
    now = study.sampler._history(study)
    assert [now.is_open(ScalingConstants(*point)) for point in (failed[0], points(study)[0])] == [False, True]


# ends, and the same again


@pytest.mark.parametrize("method", ["grid", "lattice"])
def test_a_grid_ends_the_study(method: str) -> None:
    options = {"step": 0.25, "tolerance": 0.1}
    study = study_of(ConstantsSampler(method=method, **options), 999)
    every = lattice_from_step(0.25, FLOPS) if method == "lattice" else paper_grid(**options, cost_model=FLOPS)
    assert len(study.trials) == len(every) == len(set(points(study)))
    trial = study.ask()  # outside of optimize nothing can be ended: the grid begins again
    assert suggest_constants(trial).as_tuple() == points(study)[0]
    study.tell(trial, 0.5)


@pytest.mark.parametrize("method", ["gp", "tpe", "cmaes", "qmc", "random"])
def test_a_resumed_study_asks_for_the_same_points(tmp_path: Path, method: str) -> None:
    whole = study_of(ConstantsSampler(method=method, seed=3), 18)
    place = {"storage": f"sqlite:///{tmp_path}/s.db", "study_name": "s"}
    study_of(ConstantsSampler(method=method, seed=3), 7, **place)
    resumed = study_of(ConstantsSampler(method=method, seed=3), 11, load_if_exists=True, **place)
    assert points(resumed) == points(whole)
    other = study_of(ConstantsSampler(method=method, seed=4), 3)
    assert points(other) != points(whole)[:3]


# what others make of its study


@pytest.fixture(scope="module")
def finished() -> optuna.Study:
    return study_of(ConstantsSampler(), 24, lambda trial: INTERIOR.true_score(suggest_constants(trial)))


@pytest.mark.parametrize(
    "name",
    ["plot_contour", "plot_parallel_coordinate", "plot_param_importances", "plot_slice", "plot_optimization_history"],
)
def test_plots_of_optuna_show_alpha_beta_and_gamma(finished: optuna.Study, name: str) -> None:
    pytest.importorskip("plotly")
    figure = getattr(optuna.visualization, name)(finished)
    drawn = figure.to_json()
    assert figure.data
    if name != "plot_optimization_history":
        assert all(parameter in drawn for parameter in ("alpha", "beta", "gamma"))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "annealing"}, SettingsError),
        ({"step": math.nan}, SettingsError),
        ({"seed": -1}, SettingsError),
        ({"cost_model": "flops"}, SettingsError),
        ({"inner": 3}, SettingsError),
        *(({name: 1}, TypeError) for name in ("trials", "seeds", "baselines", "replicate", "horizon_images")),
    ],
)
def test_impossible_samplers_say_why(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        ConstantsSampler(**options)
    with pytest.raises(SettingsError, match="two axes"):
        ConstantsSampler(CostModel(1, 0, 0))


def test_a_study_of_several_objectives_has_no_recommendation_and_no_constants() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=ConstantsSampler())
    with pytest.raises(SettingsError, match="expected a study of one objective, got 2"):
        search.recommend(study)
    with pytest.raises(SettingsError, match="a study of one objective for ConstantsSampler, got one of 2"):
        study.ask()


@pytest.mark.parametrize("names", [("alpha", "beta"), ("gamma",), ()])
def test_an_objective_that_leaves_constants_out_is_refused_at_once(names: tuple[str, ...]) -> None:
    study = study_of(ConstantsSampler())
    with pytest.raises(SettingsError, match=f"got one that suggests {', '.join(names) or 'none of them'}; use search"):
        study.optimize(lambda trial: sum(trial.suggest_float(name, 1, 2) for name in names), n_trials=9)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]


@pytest.mark.parametrize("copy", [copy.deepcopy, lambda sampler: pickle.loads(pickle.dumps(sampler))])  # noqa: S301
def test_a_copy_of_a_sampler_goes_on_as_the_sampler_does(copy: Any) -> None:
    study, other = study_of(ConstantsSampler(method="gp"), 10), study_of(ConstantsSampler(method="gp"), 10)
    other.sampler = copy(other.sampler)
    for each in (study, other):
        each.optimize(score, n_trials=3)
    assert points(study) == points(other)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e308, -1e308])
@pytest.mark.parametrize("method", ["gp", "tpe", "cmaes"])
def test_values_without_bounds_count_as_failed(method: str, value: float) -> None:
    study = study_of(ConstantsSampler(method=method))
    study.optimize(lambda trial: value if score(trial) and trial.number in (3, 14) else score(trial), n_trials=16)
    assert len(set(points(study))) >= 14
    assert search.recommend(study).best_observed.score < 1


def test_threads_never_leave_a_grid() -> None:
    study = study_of(ConstantsSampler(method="lattice", step=0.25))
    study.sampler.after_trial = lambda *_: None  # as if all threads had begun before one could end the study
    study.optimize(score, n_trials=32, n_jobs=4)
    counts = Counter(points(study))
    assert len(counts) == len(lattice_from_step(0.25, FLOPS)) == 15
    assert set(counts.values()) == {2, 3}


def test_a_sampler_works_with_brackets_of_hyperband() -> None:
    study = study_of(ConstantsSampler(), 12, pruner=optuna.pruners.HyperbandPruner(1, 9))
    assert len(set(points(study))) == 12
