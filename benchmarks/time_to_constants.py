"""Core-seconds until a search recommends constants near the best at the horizon, and goes on doing so.

Run: python -m benchmarks.time_to_constants                     # what is missing of 30 seeds, table and figure
     python -m benchmarks.time_to_constants --ways tpe,phiscale-rungs --seeds 3 --output build/look.csv
     python -m benchmarks.time_to_constants --table             # table and figure of what the CSV files hold
     python -m benchmarks.time_to_constants --seeds 0 --price-rounds 5   # only the prices, anew, on a quiet machine

The searches run on landscapes recorded from real trainings (``benchmarks.recorded_landscapes``). The horizon is the
longest recorded rung. Every way is tried with trainings of that length and with trainings of a quarter of it; the truth
is always the horizon's. A training is drawn as the surface of its rungs and the recorded residuals of one training, so
rungs are correlated as they were. The price of one training is measured in core-seconds with the loops in turn, on the
embedded images with the networks of the landscapes. The time of asking is left out: it is under a second.

Writes results/evidence/time-to-constants.csv (a row a run; the same command resumes), -prices.csv, .md and .png.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import math
import multiprocessing
import os
import statistics
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import search_rivals
from benchmarks.contestants import ONE, PLAIN, RUNGS, SINGLE, Contestant
from benchmarks.random_landscapes import Array, RandomLandscape
from benchmarks.recorded_landscapes import RungLandscape, recorded_rungs
from benchmarks.search_rivals import Answer, Competitor, Noisy, phiscale_method
from objectives.training.settings import TrainSettings
from phiscale import PROXY_BASE, PUBLISHED_RULES, match_budget
from scripts.shared.tables import read_rows, write_rows
from search.aim import Aim

OUTPUT = Path(__file__).parents[1] / "results" / "evidence" / "time-to-constants.csv"
LANDSCAPES = {"cifar10": ("cifar10-rungs", "cifar10-short"), "tiny50": ("tiny50-rungs",)}
"""Name to files of recorded rungs."""
TOLERANCES = (0.05, 0.02)
"""Parts of the range within which a recommendation is to be."""
_MOST = 60
"""Trainings of a run. TPE in boxes gets more, since most of its runs are nowhere near by then, and the grid all."""
LOOPS = (PLAIN, SINGLE, ONE, RUNGS)
SHAPES = ("equal", "depth", "width", "resolution")
"""Rules whose networks are priced; a training costs their mean."""
COLUMNS = ("landscape", "way", "length", "seed", "within_5", "within_2", "last_regret", "determined")
PRICE_COLUMNS = ("loop", "shape", "round", "images", "core_seconds")
Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """One way of finding constants."""

    words: str
    loop: str
    """What trains, a name of ``benchmarks.contestants``."""
    package: str | None = None
    """What it needs beyond phiscale's own."""
    rungs: int = 1
    """Rungs of a training."""
    baselines: str = "all"
    trainings: int = _MOST
    """Of a run."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of trainings after which it answers."""
        return (*range(1, 24), *range(24, self.trainings + 1, 4))


WAYS = {
    "tpe": Way("Optuna TPE, three boxes and a constraint, plain loop", PLAIN, trainings=400),
    "nni-grid": Way("NNI's grid, plain loop", PLAIN, trainings=100),
    "gp-boxes": Way("Optuna GPSampler, three boxes and a constraint, plain loop", PLAIN),
    "botorch": Way("BoTorch, plain loop", PLAIN, "botorch"),
    "phiscale": Way("phiscale, one length", ONE),
    "phiscale-rungs": Way("phiscale with 4 rungs", RUNGS, rungs=4),
    "phiscale-free": Way("phiscale, one length, no rules first", ONE, baselines="none"),
    "phiscale-rungs-free": Way("phiscale with 4 rungs, no rules first", RUNGS, rungs=4, baselines="none"),
}


@dataclass
class RungNoisy(Noisy):
    """A recorded landscape as a search sees it: trainings with their rungs."""

    recorded: RungLandscape | None = None
    chosen: Sequence[int] = field(default_factory=list)
    """Indices of the rungs of a training, shortest first."""

    def measure_rungs(self, shares: Sequence[float] | Array) -> tuple[float, ...]:
        """One noisy score of each rung; the noise of a training is one recorded training's, whole."""
        if self.recorded is None:
            raise ValueError("expected a recorded landscape")
        point = np.asarray(shares, dtype=float)[None]
        left = self.recorded.residuals[self.generator.integers(len(self.recorded.residuals))]
        scores = tuple(float(self.recorded.heights[index](point)[0] + left[index]) for index in self.chosen)
        self.shares.append(point[0])
        self.scores.append(scores[-1])
        return scores

    def measure(self, shares: Sequence[float] | Array) -> float:
        """The score at the longest rung."""
        return self.measure_rungs(shares)[-1]


@dataclass(frozen=True)
class Job:
    """One run of the benchmark."""

    landscape: str
    way: str
    length: int
    """Images seen in a training."""
    seed: int


@cache
def landscape(name: str) -> RungLandscape:
    """A recorded landscape by its short name."""
    return recorded_rungs(LANDSCAPES[name])


def run_job(job: Job) -> Row:
    """Search once."""
    warnings.simplefilter("ignore")
    recorded, way = landscape(job.landscape), WAYS[job.way]
    lengths, horizon = recorded.lengths, recorded.lengths[-1]
    last = lengths.index(job.length)
    chosen = [index for index, length in enumerate(lengths[: last + 1]) if length * 2 ** (way.rungs - 1) >= job.length]
    heights = recorded.heights[last]
    plain = RandomLandscape(job.landscape, heights, lambda shares, _: np.zeros(len(shares)))
    noisy = RungNoisy(
        plain, 0.0, np.random.default_rng([job.seed, 4321]), recorded=recorded, chosen=chosen,
        rungs=tuple(lengths[index] for index in chosen),
    )  # fmt: skip
    answers = _competitor(job, horizon)(noisy, job.seed, way.counts)
    best, spread = recorded.best()
    regrets = {
        count: (best - float(recorded.heights[-1](answer.shares[None])[0])) / spread
        for count, answer in sorted(answers.items())
    }
    within = [stays_within(regrets, tolerance) for tolerance in TOLERANCES]
    values = job.landscape, job.way, job.length, job.seed, *("" if count is None else count for count in within)
    return dict(zip(COLUMNS, (*values, f"{list(regrets.values())[-1]:.4f}", _determined(answers)), strict=True))


def _competitor(job: Job, horizon: int) -> Competitor:
    way = WAYS[job.way]
    if job.way.startswith("phiscale"):
        aim = Aim("maximize", "accuracy", horizon if way.rungs > 1 else None)
        return phiscale_method("gp", aim, baselines=way.baselines)
    others = {
        "tpe": search_rivals.optuna_boxes("tpe"),
        "gp-boxes": search_rivals.optuna_boxes("gp"),
        "nni-grid": search_rivals.nni_grid,
        "botorch": search_rivals.botorch,
    }
    return others[job.way]


def stays_within(regrets: Mapping[int, float], tolerance: float) -> int | None:
    """The first of the counts from which on no regret is larger; None where the last one is."""
    found = None
    for count in sorted(regrets, reverse=True):
        if regrets[count] > tolerance:
            break
        found = count
    return found


def _determined(answers: Mapping[int, Answer]) -> str:
    """Whether the last answer says that it holds for the horizon; empty where none was asked for."""
    found = answers[max(answers)].found
    return "" if found is None or found.outlook is None else str(int(not found.outlook.reason))


def measure_prices(images: int, rounds: int, loops: Sequence[str]) -> list[Row]:
    """Core-seconds of trainings of the loops, in turn, in processes that stay."""
    contestants = [Contestant(name, 1) for name in loops]
    rows = []
    try:
        for turn, shape in itertools.product(range(rounds), SHAPES):
            constants = PUBLISHED_RULES[shape].constants
            spec = match_budget(dataclasses.replace(PROXY_BASE, classes=14, resolution=16), constants, phi=2.0).spec
            for contestant in contestants:
                settings = TrainSettings(
                    train_images=1500, validation_images=max(1, images // 32), images_seen=images, device="cpu",
                    rungs=4 if contestant.name == RUNGS else 1,
                )  # fmt: skip
                _, (trial,) = contestant.run(spec, settings, turn)
                values = contestant.name, shape, turn, trial.images, f"{trial.core_seconds:.3f}"
                rows.append(dict(zip(PRICE_COLUMNS, values, strict=True)))
                print(*values, flush=True)
    finally:
        for contestant in contestants:
            contestant.close()
    return rows


def main() -> None:
    """Measure prices and run what is missing, then write the table and the figure."""
    options = _options()
    prices_path = options.output.with_name(f"{options.output.stem}-prices.csv")
    prices = read_rows(prices_path, PRICE_COLUMNS, ("images", "core_seconds"))
    rounds = 0 if options.table else options.price_rounds
    if rounds is None:
        rounds = 0 if prices else 5
    if rounds:
        prices = measure_prices(options.price_images, rounds, options.price_loops.split(","))
        write_rows(prices_path, PRICE_COLUMNS, prices)
    rows = read_rows(options.output, COLUMNS, COLUMNS[2:])
    if not options.table:
        _run(options, rows)
    from benchmarks.time_tables import write_evidence

    print(write_evidence(options.output, rows, prices))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default=",".join(WAYS), help="comma-separated names")
    parser.add_argument("--landscapes", default=",".join(LANDSCAPES), help="comma-separated names")
    parser.add_argument("--seeds", type=int, default=30, help="runs of each way")
    parser.add_argument("--price-rounds", type=int, help="measure prices so often; 5 where there are none yet, else 0")
    parser.add_argument("--price-images", type=int, default=8000, help="images seen in a training that is priced")
    parser.add_argument(
        "--price-loops",
        default=",".join(LOOPS),
        help=f"comma-separated; {PLAIN!r}, on torch's default threads, needs a machine of its own",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--table", action="store_true", help="write the table and the figure only")
    return parser.parse_args()


def _run(options: argparse.Namespace, rows: list[Row]) -> None:
    done = {(row["landscape"], row["way"], int(row["length"]), int(row["seed"])) for row in rows}
    missing = [job for job in _jobs(options) if dataclasses.astuple(job) not in done]
    print(f"{len(missing)} runs to do", flush=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A fresh process now and then: BoTorch's do not give memory back.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=10) as pool:
        for row in pool.imap(run_job, missing):
            rows.append(row)
            write_rows(options.output, COLUMNS, rows)
            print(*row.values(), flush=True)


def _jobs(options: argparse.Namespace) -> list[Job]:
    ways = [name for name in options.ways.split(",") if _installed(name)]
    jobs = []
    for name in options.landscapes.split(","):
        horizon = landscape(name).lengths[-1]
        jobs += [
            Job(name, way, length, seed)
            for way, length, seed in itertools.product(ways, (horizon, horizon // 4), range(options.seeds))
        ]
    return jobs


def _installed(name: str) -> bool:
    package = WAYS[name].package
    if package is None or importlib.util.find_spec(package) is not None:
        return True
    print(f"{name} is left out: {package} is not installed", file=sys.stderr)
    return False


def price(prices: Sequence[Row], loop: str, length: int) -> float:
    """Core-seconds of one training of ``length`` images seen: mean over the shapes of the medians over rounds.

    Infinite where they were not measured.
    """
    rates = {
        shape: [
            float(row["core_seconds"]) / float(row["images"])
            for row in prices
            if (row["loop"], row["shape"]) == (loop, shape)
        ]
        for shape in SHAPES
    }
    return length * statistics.fmean(statistics.median(found) if found else math.inf for found in rates.values())


if __name__ == "__main__":
    main()
