"""What ``benchmarks.bench_search`` compares: phiscale's methods, and what a person would use in their place.

Every competitor measures noisy scores at points of the triangle and answers after certain numbers of trials. All but
phiscale and ``optuna_boxes`` search two shares, the third being the rest; so they never ask for an infeasible point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.random_landscapes import Array, RandomLandscape, fine_lattice
from phiscale.triangle import FLOPS, ScalingConstants, Shares
from search.aim import Aim
from search.history import History
from search.measurements import measurements
from search.proposals import next_plans, planned
from search.recommendation import REGION_STEPS, Recommendation, as_array, recommend
from search.settings import SPREAD_FIRST, SearchSettings
from search.trial import PARAMETERS, Result, Trial, distributions_of, running_trial, shares_of_constants

_BOTORCH_STEPS = 40
"""Lattice on which BoTorch's acquisition function is maximised: finer than phiscale's own of 20."""
_PLAIN_AIM = Aim("maximize")
_TOLERANCE = 0.1
"""Distance of the product from 2 within which a proposal in boxes is trained, and a point is one of NNI's grid."""


ONE_STEP = 1 / REGION_STEPS + 1e-6
"""A distance below this is at most one step of the lattice of regions."""


@dataclass(frozen=True)
class Answer:
    """What a competitor would pick after a number of trials."""

    shares: Array
    """(3,)"""
    seconds: float
    """Time of asking, all trials up to here together; the measured function costs nothing."""
    found: Recommendation | None = None


@dataclass
class Noisy:
    """A landscape as a competitor sees it: one noisy score per call, and what was measured so far."""

    landscape: RandomLandscape
    noise: float
    generator: np.random.Generator
    shares: list[Array] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    rungs: tuple[int, ...] = ()
    """Images seen at each rung; empty where training length plays no part."""

    def measure_rungs(self, shares: Sequence[float] | Array) -> tuple[float, ...]:
        """One noisy score, or one of each rung."""
        return (self.measure(shares),)

    def measure(self, shares: Sequence[float] | Array) -> float:
        """One noisy score."""
        point = np.asarray(shares, dtype=float)[None]
        noise = self.noise * self.landscape.noise(point, self.generator)
        self.shares.append(point[0])
        self.scores.append(float((self.landscape.heights(point) + noise)[0]))
        return self.scores[-1]

    def best(self) -> Array:
        """Shares of the best score."""
        return self.shares[int(np.argmax(self.scores))]


Competitor = Callable[[Noisy, int, Sequence[int]], dict[int, Answer]]
"""Takes the landscape, a seed, and the numbers of trials after which to answer."""


def phiscale_method(method: str, aim: Aim = _PLAIN_AIM, *, baselines: str = "all") -> Competitor:
    """A method of phiscale with its baselines, and the recommendation."""

    def run(noisy: Noisy, seed: int, counts: Sequence[int]) -> dict[int, Answer]:
        answers = {}
        settings = SearchSettings(method=method, trials=max(counts), seed=seed, baselines=baselines)
        for done, seconds in growing_search(noisy, settings, aim):
            if len(done) in counts:
                found = recommend(measurements(done, FLOPS), FLOPS, aim, with_drift=False)
                answers[len(done)] = Answer(np.array(found.shares.as_tuple()), seconds, found)
        return answers

    return run


def growing_search(
    noisy: Noisy, settings: SearchSettings, aim: Aim = _PLAIN_AIM
) -> Iterator[tuple[list[Trial], float]]:
    """The trials of a search after each one, and the seconds that asking took so far."""
    plans = planned(settings, FLOPS, lambda _: None).plans
    done: list[Trial] = []
    seconds = 0.0
    for number in range(settings.trials or 0):
        started = time.perf_counter()
        plan = next_plans(History(done, FLOPS, settings, aim), plans, 1)[0]
        seconds += time.perf_counter() - started
        key = repr(plan.constants.as_tuple())
        asked = running_trial(number, plan, FLOPS, fingerprint=key, seeds=(number,))
        scores = noisy.measure_rungs(asked.shares.as_tuple())
        result = Result(scores=scores[-1:], rungs=noisy.rungs, rung_scores=(scores,) if noisy.rungs else ())
        done.append(replace(asked, state="COMPLETE", value=scores[-1], result=result))
        yield done, seconds


def distance_to_region(found: Recommendation, point: Array) -> float:
    """From a point, shares (3,), to the nearest one of the region: the largest difference of a share."""
    return float(np.abs(as_array(found.region) - point).max(axis=1).min())


def nni_grid(noisy: Noisy, seed: int, counts: Sequence[int]) -> dict[int, Answer]:
    """The grid of NNI's EfficientNet example (step 0.05, product within 0.1 of 2), in random order, best observed."""
    from phiscale.triangle import paper_grid

    points = paper_grid(0.05, _TOLERANCE, FLOPS)
    order = np.random.default_rng(seed).permutation(len(points))[: max(counts)]
    answers = {}
    for count, index in enumerate(order, 1):
        noisy.measure(shares_of_constants(ScalingConstants(*points[index].as_tuple()), FLOPS).as_tuple())
        if count in counts:
            answers[count] = Answer(noisy.best(), 0.0)
    return answers


def optuna_triangle(sampler: str) -> Competitor:
    """Plain Optuna on two unit parameters mapped to the triangle, best observed."""

    def run(noisy: Noisy, seed: int, counts: Sequence[int]) -> dict[int, Answer]:
        import optuna

        from phiscale.triangle import shares_at

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[sampler](seed=seed)
        study = optuna.create_study(direction="maximize", sampler=made)

        def objective(trial: optuna.Trial) -> float:
            shares: Shares = shares_at({name: trial.suggest_float(name, 0, 1) for name in "uv"}, FLOPS)
            return noisy.measure(shares.as_tuple())

        answers, seconds, before = {}, 0.0, 0
        for count in sorted(counts):
            started = time.perf_counter()
            study.optimize(objective, n_trials=count - before)
            seconds, before = seconds + time.perf_counter() - started, count
            answers[count] = Answer(noisy.best(), seconds)
        return answers

    return run


def optuna_boxes(sampler: str) -> Competitor:
    """Plain Optuna on alpha, beta and gamma in boxes with the constraint that the product is near 2, best observed.

    A proposal outside is never trained and costs nothing. TPE is told that it was pruned, and how far outside it is.
    GPSampler ignores pruned trials: it is told the lowest score so far once there is one.
    """

    def run(noisy: Noisy, seed: int, counts: Sequence[int]) -> dict[int, Answer]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[sampler](seed=seed)
        study = optuna.create_study(direction="maximize", sampler=made)
        answers, seconds = {}, 0.0
        while len(noisy.scores) < max(counts):
            started = time.perf_counter()
            trial = study.ask(dict(distributions_of(FLOPS)))
            seconds += time.perf_counter() - started
            constants = ScalingConstants(*(trial.params[name] for name in PARAMETERS))
            outside = abs(constants.product(FLOPS) - FLOPS.target) - _TOLERANCE
            trial.set_constraint("product", outside)
            if outside <= 0:
                study.tell(trial, noisy.measure(shares_of_constants(constants, FLOPS).as_tuple()))
                if len(noisy.scores) in counts:
                    answers[len(noisy.scores)] = Answer(noisy.best(), seconds)
            elif sampler == "gp" and noisy.scores:
                study.tell(trial, min(noisy.scores))
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return answers

    return run


def botorch(noisy: Noisy, seed: int, counts: Sequence[int]) -> dict[int, Answer]:
    """BoTorch as its tutorials show it: SingleTaskGP, qLogNEI, maximum of the posterior mean."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from botorch.optim import optimize_acqf_discrete
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    choices, fine = fine_lattice(_BOTORCH_STEPS), fine_lattice(100)

    def fit() -> Any:
        seen = torch.tensor(np.array(noisy.shares)[:, :2]), torch.tensor(noisy.scores)[:, None]
        model = SingleTaskGP(*seen, outcome_transform=Standardize(1))
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model

    for shares in _spread(seed, SPREAD_FIRST):
        noisy.measure(shares)
    answers, seconds = {}, 0.0
    while len(noisy.scores) <= max(counts):
        started = time.perf_counter()
        model = fit()
        if len(noisy.scores) in counts:
            with torch.no_grad():
                means = model.posterior(torch.tensor(fine[:, :2])).mean.numpy().ravel()
            answers[len(noisy.scores)] = Answer(fine[int(np.argmax(means))], seconds)
        acquisition = qLogNoisyExpectedImprovement(model, torch.tensor(np.array(noisy.shares)[:, :2]))
        chosen, _ = optimize_acqf_discrete(acquisition, 1, torch.tensor(choices[:, :2]))
        seconds += time.perf_counter() - started
        depth, width = map(float, chosen[0])
        noisy.measure((depth, width, max(0.0, 1 - depth - width)))
    return answers


def ax(noisy: Noisy, seed: int, counts: Sequence[int]) -> dict[int, Answer]:
    """Ax's service interface with its defaults on two shares whose sum is at most 1; its best by the model."""
    import logging

    from ax.service.ax_client import AxClient
    from ax.service.utils.instantiation import ObjectiveProperties

    logging.getLogger("ax").setLevel(logging.ERROR)
    client = AxClient(random_seed=seed, verbose_logging=False)
    client.create_experiment(
        parameters=[{"name": name, "type": "range", "bounds": [0.0, 1.0]} for name in ("depth", "width")],
        objectives={"score": ObjectiveProperties(minimize=False)},
        parameter_constraints=["depth + width <= 1"],
    )
    answers, seconds = {}, 0.0
    for count in range(1, max(counts) + 1):
        started = time.perf_counter()
        point, index = client.get_next_trial()
        seconds += time.perf_counter() - started
        depth, width = float(point["depth"]), float(point["width"])
        client.complete_trial(index, noisy.measure((depth, width, max(0.0, 1 - depth - width))))
        if count in counts:
            best, _ = client.get_best_parameters()
            depth, width = float(best["depth"]), float(best["width"])
            answers[count] = Answer(np.array([depth, width, max(0.0, 1 - depth - width)]), seconds)
    return answers


def _spread(seed: int, count: int) -> Array:
    """An even spread over the triangle, (count, 3)."""
    from scipy.stats import qmc

    square = qmc.Sobol(2, rng=seed).random_base2(math.ceil(math.log2(count)))[:count]
    root = np.sqrt(square[:, :1])
    return np.hstack([1 - root, root * (1 - square[:, 1:]), root * square[:, 1:]])


COMPETITORS: dict[str, tuple[Competitor, str | None]] = {
    "phiscale-gp": (phiscale_method("gp"), None),
    "phiscale-qmc": (phiscale_method("qmc"), None),
    "nni-grid": (nni_grid, None),
    "optuna-tpe": (optuna_triangle("tpe"), None),
    "optuna-gp": (optuna_triangle("gp"), None),
    "botorch": (botorch, "botorch"),
    "ax": (ax, "ax"),
}
"""Name to (competitor, package it needs beyond phiscale's own)."""
