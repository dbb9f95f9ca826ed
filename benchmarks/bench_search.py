"""Regret of searches against trials: phiscale's methods, and what a person would use in their place.

Run: python -m benchmarks.bench_search --seeds 30
     python -m benchmarks.bench_search --competitors phiscale-gp,optuna-tpe-triangle --landscapes interior --seeds 30
     python -m benchmarks.bench_search --table        # tables and figure of what results/evidence/search.csv holds

Landscapes have a range of 1 over the triangle, so regret and noise are parts of the range. Every run is one row group
in the CSV file; what is there is not run again. Competitors that are not installed are left out by name.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import itertools
import math
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.closed_forms import ClosedForm, all_landscapes, fine_lattice
from phiscale.triangle import FLOPS, Multipliers, ScalingConstants, Shares, shares_of_direction

CHECKPOINTS = (20, 40, 80)
NOISES = (0.005, 0.05)
OUTPUT = Path("results/evidence/search.csv")
_COLUMNS = (
    *("competitor", "landscape", "noise", "seed", "trials", "regret", "seconds_per_trial"),
    *("region_holds", "region_part", "expected", "true"),
)


@dataclass
class Answer:
    """What a competitor would pick after a number of trials."""

    shares: tuple[float, float, float]
    seconds: float
    """Time of the searching itself up to here: the measured function costs nothing."""
    region: tuple[Shares, ...] = ()
    expected: float = math.nan


@dataclass
class Noisy:
    """A landscape as a competitor sees it: one noisy score per call, and what was measured so far."""

    form: ClosedForm
    noise: float
    generator: np.random.Generator
    shares: list[tuple[float, float, float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    feasible: list[bool] = field(default_factory=list)

    def measure(self, shares: Shares, *, feasible: bool = True) -> float:
        """One noisy score."""
        point = shares.as_tuple()
        score = float(self.form.scores(np.array([point]))[0]) + self.noise * float(self.generator.standard_normal())
        self.shares.append(point)
        self.scores.append(score)
        self.feasible.append(feasible)
        return score

    def best(self) -> tuple[float, float, float]:
        """Shares of the best feasible score; of the best of all where none is feasible."""
        chosen = [i for i, good in enumerate(self.feasible) if good] or list(range(len(self.scores)))
        return self.shares[max(chosen, key=lambda index: self.scores[index])]


Competitor = Callable[[Noisy, int, int], dict[int, Answer]]


def phiscale_method(method: str) -> Competitor:
    """A method of phiscale through ``run_study``, its recommendation by ``recommend``."""

    def run(noisy: Noisy, seed: int, trials: int) -> dict[int, Answer]:
        import tempfile

        from objectives.contract import Evaluation
        from search.aim import Aim
        from search.driver import StudyPlace, run_study
        from search.executors.in_process import InProcess
        from search.measurements import measurements
        from search.progress import Silent
        from search.recommendation import recommend
        from search.settings import SearchSettings
        from search.trial import trials_of

        class Objective:
            direction = "maximize"

            def describe(self) -> dict[str, object]:
                return {"objective": noisy.form.name}

            def network(self, constants: ScalingConstants) -> None:
                pass

            def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
                shares = shares_of_direction(Multipliers(*constants.as_tuple()), FLOPS)
                return Evaluation(score=noisy.measure(shares), seconds=0.0, device="none")

        settings = SearchSettings(method=method, trials=trials, seed=seed, step=0.125 if method == "lattice" else 0.05)
        with tempfile.TemporaryDirectory() as folder:
            place = StudyPlace(name="bench", folder=Path(folder), storage=f"{folder}/study.journal")
            started = time.perf_counter()
            study = run_study(place, Objective(), FLOPS, settings, Silent(), InProcess())
            seconds = time.perf_counter() - started
            done = trials_of(study.get_trials(deepcopy=False), FLOPS)
        answers = {}
        for count in (c for c in CHECKPOINTS if c <= trials):
            started = time.perf_counter()
            found = recommend(measurements(done[:count], FLOPS), FLOPS, Aim("maximize"))
            spent = seconds * count / len(done) + time.perf_counter() - started
            expected = found.expected.score if found.expected else math.nan
            answers[count] = Answer(found.shares.as_tuple(), spent, found.region, expected)
        return answers

    return run


def nni_grid(noisy: Noisy, seed: int, trials: int) -> dict[int, Answer]:
    """The grid of NNI's EfficientNet example (step 0.05, product within 0.1 of 2), in random order, best observed."""
    from phiscale.triangle import paper_grid

    points = paper_grid(0.05, 0.1, FLOPS)
    order = np.random.default_rng(seed).permutation(len(points))[:trials]
    answers = {}
    for count, index in enumerate(order, 1):
        noisy.measure(shares_of_direction(Multipliers(*points[index].as_tuple()), FLOPS))
        if count in CHECKPOINTS:
            answers[count] = Answer(noisy.best(), 0.0)
    return answers


def optuna_boxes(noisy: Noisy, seed: int, trials: int) -> dict[int, Answer]:
    """Optuna with three boxes, ``set_constraint`` for |product - 2| <= 0.05, GPSampler, best observed."""
    import optuna

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.GPSampler(seed=seed))

    def objective(trial: optuna.Trial) -> float:
        constants = ScalingConstants(
            trial.suggest_float("alpha", 1.0, 2.0),
            trial.suggest_float("beta", 1.0, math.sqrt(2)),
            trial.suggest_float("gamma", 1.0, math.sqrt(2)),
        )
        off = abs(constants.product() - 2) - 0.05
        trial.set_constraint("product", off)
        grown = constants if max(constants.as_tuple()) > 1 else ScalingConstants(2.0, 1.0, 1.0)
        return noisy.measure(shares_of_direction(Multipliers(*grown.as_tuple()), FLOPS), feasible=off <= 0)

    return _optimize(study, objective, noisy, trials)


def optuna_triangle(sampler: str) -> Competitor:
    """Plain Optuna on two unit parameters mapped to the triangle, best observed."""

    def run(noisy: Noisy, seed: int, trials: int) -> dict[int, Answer]:
        import optuna

        from phiscale.triangle import shares_at

        made = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[sampler](seed=seed)
        study = optuna.create_study(direction="maximize", sampler=made)

        def objective(trial: optuna.Trial) -> float:
            return noisy.measure(shares_at({name: trial.suggest_float(name, 0, 1) for name in "uv"}, FLOPS))

        return _optimize(study, objective, noisy, trials)

    return run


def _optimize(study: Any, objective: Callable[[Any], float], noisy: Noisy, trials: int) -> dict[int, Answer]:
    answers, seconds = {}, 0.0
    for before, after in itertools.pairwise((0, *(c for c in CHECKPOINTS if c <= trials))):
        started = time.perf_counter()
        study.optimize(objective, n_trials=after - before)
        seconds += time.perf_counter() - started
        answers[after] = Answer(noisy.best(), seconds)
    return answers


COMPETITORS: dict[str, tuple[Competitor, str | None]] = {
    "phiscale-gp": (phiscale_method("gp"), None),
    "phiscale-tpe": (phiscale_method("tpe"), None),
    "phiscale-qmc": (phiscale_method("qmc"), None),
    "phiscale-random": (phiscale_method("random"), None),
    "nni-grid": (nni_grid, None),
    "optuna-boxes-gp": (optuna_boxes, None),
    "optuna-triangle-tpe": (optuna_triangle("tpe"), None),
    "optuna-triangle-gp": (optuna_triangle("gp"), None),
}
"""Name to (competitor, package it needs beyond phiscale's own)."""


@dataclass(frozen=True)
class Job:
    """One run of the benchmark."""

    competitor: str
    landscape: str
    noise: float
    seed: int
    trials: int

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies it in the CSV file."""
        return self.competitor, self.landscape, f"{self.noise:g}", str(self.seed)


def run_job(job: Job) -> list[dict[str, Any]]:
    """All rows of one run."""
    _quiet()
    form = all_landscapes()[job.landscape]
    generator = np.random.default_rng([job.seed, 12345])
    answers = COMPETITORS[job.competitor][0](Noisy(form, job.noise, generator), job.seed, job.trials)
    best = form.scores(fine_lattice(200))
    rows = []
    for count, answer in answers.items():
        true = float(form.scores(np.array([answer.shares]))[0])
        rows.append(
            {
                **dict(zip(_COLUMNS, job.key, strict=False)),
                "trials": count,
                "regret": f"{max(0.0, float(best.max()) - true):.6f}",
                "seconds_per_trial": f"{answer.seconds / count:.5f}",
                **_region_columns(form, answer),
                "expected": f"{answer.expected:.5f}",
                "true": f"{true:.5f}",
            }
        )
    return rows


def _region_columns(form: ClosedForm, answer: Answer) -> dict[str, Any]:
    """Whether the region holds the best point of its own lattice, and how large it is."""
    if not answer.region:
        return {}
    from search.recommendation import REGION_STEPS

    points = fine_lattice(REGION_STEPS)
    best = points[int(np.argmax(form.scores(points)))]
    holds = any(np.abs(np.array(shares.as_tuple()) - best).max() < 1e-6 for shares in answer.region)
    return {"region_holds": int(holds), "region_part": f"{len(answer.region) / len(points):.4f}"}


def _quiet() -> None:
    import logging

    import optuna
    import torch

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)


def main() -> None:
    """Run what is missing, then print the tables."""
    options = _options()
    if not options.table:
        _run(options)
    from benchmarks.search_tables import print_tables

    print_tables(options.output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--competitors", default=",".join(COMPETITORS))
    parser.add_argument("--landscapes", default="all")
    parser.add_argument("--noises", default=",".join(map(str, NOISES)))
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=80, choices=CHECKPOINTS)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1)))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--table", action="store_true", help="print the tables only")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    names = list(all_landscapes()) if options.landscapes == "all" else options.landscapes.split(",")
    chosen = [name for name in options.competitors.split(",") if _installed(name)]
    jobs = [
        Job(name, landscape, float(noise), seed, options.trials)
        for seed, landscape, noise, name in itertools.product(
            range(options.seeds), names, options.noises.split(","), chosen
        )
    ]
    done = _done(options.output)
    missing = [job for job in jobs if job.key not in done]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for index, rows in enumerate(pool.imap_unordered(run_job, missing), 1):
            _append(options.output, rows)
            if index % 20 == 0:
                print(f"{index} of {len(missing)}", flush=True)


def _installed(name: str) -> bool:
    package = COMPETITORS[name][1]
    if package is None or importlib.util.find_spec(package) is not None:
        return True
    print(f"{name} is left out: {package} is not installed", file=sys.stderr)
    return False


def _done(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {tuple(row[name] for name in _COLUMNS[:4]) for row in csv.DictReader(file)}


def _append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
