"""Scores of cooldown branches against those of separate trainings of the same length, for all rules.

Run: python -m benchmarks.bench_rungs --data images/ --longest 40000 --seeds 2 --workers 2
     python -m benchmarks.bench_rungs --data embedded

A separate training has its own warm-up and a linear decay to 0 over all the rest, from twice the trunk's rate. Scores
go to results/bench-rungs/NAME.csv as they come, so the same command resumes. Printed are, for every length: the mean
over rules of branch minus separate, the largest difference of a rule, and the correlation over rules of their means.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import correlation, fmean, stdev
from typing import Any
from unittest import mock

from objectives.training import rungs
from objectives.training import train as training
from objectives.training.settings import TrainSettings
from phiscale.baselines import PROXY_BASE
from phiscale.matching import match_budget
from phiscale.published import MEASURED_RULES, PUBLISHED_RULES
from phiscale.triangle import FLOPS
from scripts.shared.console import run_command
from scripts.shared.tables import read_rows, write_rows

_COLUMNS = ("recipe", "rule", "seed", "images", "accuracy", "log_loss", "seconds")
_PEAK, _WARMUP = 2.0, 0.15


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of the benchmark."""

    data: str
    """A folder of images, or embedded."""
    longest: int = 12_000
    """Images seen at the longest rung."""
    resolution: int = 16
    """Of the baseline, in pixels; the embedded set keeps its own."""
    validation_images: int = 5000
    """Images to score on."""
    seeds: int = 2
    """Trainings of every network and recipe."""
    recipes: str = "separate,linear-0.2,linear-0.3,sqrt-0.2"
    """separate; or the shape of the cooldown and its part of the rung."""
    rates: str = "1"
    """Trunk rates over the default, for every branch recipe."""
    workers: int = 1
    """Processes."""
    name: str | None = None
    """Name of the table. Default: that of the data."""


Job = tuple[BenchOptions, str, float, str, int]


def main() -> int:
    """The command."""
    return run_command(BenchOptions, bench, __doc__ or "", "benchmarks.bench_rungs")


def bench(options: BenchOptions) -> None:
    """Train what the table lacks, then print the comparison."""
    path = Path("results/bench-rungs") / f"{options.name or Path(options.data).name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = read_rows(path, _COLUMNS, ("seed", "images", "accuracy", "log_loss", "seconds"))
    done = {(row["recipe"], row["rule"], int(row["seed"])) for row in rows}
    jobs = [job for job in _jobs(options) if (_recipe_name(job), job[3], job[4]) not in done]
    print(f"{len(jobs)} trainings or sets of trainings to do", flush=True)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for found in pool.map(_train, jobs):
            rows += found
            write_rows(path, _COLUMNS, rows)
            print(f"{found[-1]['recipe']} {found[-1]['rule']} {found[-1]['accuracy']}", flush=True)
    _compare(rows)


def _jobs(options: BenchOptions) -> Iterator[Job]:
    recipes, rates = options.recipes.split(","), [float(rate) for rate in options.rates.split(",")]
    for seed, rule in itertools.product(range(options.seeds), MEASURED_RULES):
        for recipe in recipes:
            for rate in rates[:1] if recipe == "separate" else rates:
                yield options, recipe, rate, rule, seed


def _recipe_name(job: Job) -> str:
    return job[1] if job[2] == 1 else f"{job[1]} rate x{job[2]:g}"


@cache
def _data(options: BenchOptions) -> Any:
    from objectives.data.load import load_data

    return load_data(options.data, validation_images=options.validation_images)


def _train(job: Job) -> list[dict[str, Any]]:
    options, recipe, rate, rule, seed = job
    data = _data(options)
    base = dataclasses.replace(PROXY_BASE, classes=len(data.classes))
    if options.data != "embedded":
        base = dataclasses.replace(base, resolution=options.resolution)
    constants = PUBLISHED_RULES[rule].on(FLOPS)
    if constants is None:
        raise ValueError(rule)
    spec = match_budget(base, constants, phi=2.0).spec
    plain = TrainSettings(images_seen=options.longest, device="cpu")
    plain = dataclasses.replace(plain, learning_rate=rate * plain.learning_rate)
    if recipe == "separate":
        lengths = rungs.rung_lengths(options.longest, plain.rungs)
        settings = [
            dataclasses.replace(
                plain, images_seen=length, rungs=1, warmup=_WARMUP, cooldown=1 - _WARMUP,
                learning_rate=_PEAK * plain.learning_rate,
            )
            for length in lengths
        ]  # fmt: skip
    else:
        settings = [dataclasses.replace(plain, cooldown=float(recipe.split("-")[1]))]
    found = []
    for setting in settings:
        with mock.patch.object(training, "cooldown_rates", _SHAPES[recipe.split("-")[0]]):
            run = training.train_proxy(spec, data, setting, seed=seed)
        for index, length in enumerate(run.lengths):
            parts = {name: repr(run.curves[name][index]) for name in ("accuracy", "log_loss")}
            row = {"recipe": _recipe_name(job), "rule": rule, "seed": seed, "images": length, **parts}
            found.append({**row, "seconds": round(run.seconds, 2)})
    return found


_ROOT = rungs.cooldown_rates


def _linear(settings: TrainSettings, planned: tuple[rungs.Rung, ...], rung: rungs.Rung) -> list[float]:
    """Down to 0 in equal steps, in place of one minus a square root."""
    rates = _ROOT(settings, planned, rung)
    return [rates[0] * (1 - step / len(rates)) for step in range(len(rates))]


_SHAPES: dict[str, Callable[..., list[float]]] = {"separate": _linear, "linear": _linear, "sqrt": _ROOT}


def _compare(rows: list[dict[str, Any]]) -> None:
    scores: dict[tuple[str, int, str], list[float]] = {}
    for row in rows:
        scores.setdefault((row["recipe"], int(row["images"]), row["rule"]), []).append(float(row["accuracy"]))
    names = list(dict.fromkeys(recipe for recipe, _, _ in scores))
    for length in sorted({images for _, images, _ in scores}):
        apart = {rule: fmean(scores["separate", length, rule]) for rule in MEASURED_RULES}
        noise = [stdev(values) for (_, images, _), values in scores.items() if images == length and len(values) > 1]
        seeds = f", deviation of a seed {math.sqrt(fmean(n**2 for n in noise)):.4f}" if noise else ""
        print(f"\n{length} images seen, separate {fmean(apart.values()):.4f}{seeds}")
        for name in names[1:] if names[0] == "separate" else names:
            branch = {rule: fmean(scores[name, length, rule]) for rule in MEASURED_RULES}
            differences = {rule: branch[rule] - apart[rule] for rule in MEASURED_RULES}
            worst = max(differences, key=lambda rule: abs(differences[rule]))
            together = correlation(list(branch.values()), list(apart.values()))
            print(
                f"  {name:22} {fmean(differences.values()):+.4f}, largest {worst} {differences[worst]:+.4f}, "
                f"correlation over rules {together:.2f}"
            )


if __name__ == "__main__":
    sys.exit(main())
