"""How often holds what a search says when it ends by ``--until-region`` or ``--until-gain``?

Each search runs on a landscape that was not used to choose the method (``benchmarks.random_landscapes``), up to 80
trials. ``--until-region`` claims that the region holds the optimum in 90 %; ``--until-gain`` claims that perfect
knowledge would add no more than so much on average, so the mean regret is compared with it.

Run: python -m benchmarks.bench_stopping --seeds 6
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.random_landscapes import KINDS, draw_landscape, fine_lattice
from benchmarks.search_rivals import ONE_STEP, Noisy, distance_to_region, growing_search
from phiscale.triangle import FLOPS
from search.aim import Aim
from search.measurements import measurements
from search.recommendation import REGION_STEPS, recommend
from search.settings import SearchSettings
from search.stopping import CHECKS, FEWEST, enough

_TRIALS = 80
_LIMITS = {
    "region 0.05": SearchSettings(until_region=0.05),
    "region 0.1": SearchSettings(until_region=0.1),
    "gain 0.02": SearchSettings(until_gain=0.02),
    "gain 0.05": SearchSettings(until_gain=0.05),
}
"""Gains are parts of the range of the landscape, which is 1."""


@dataclass(frozen=True)
class Stop:
    """The state of a search when it ended."""

    limit: str
    trials: int
    near: bool
    """Whether the optimum lies within one lattice step of the region."""
    regret: float
    gain: float
    """What the search expected perfect knowledge to add."""


def main() -> None:
    """Measure, and print one row for each noise and limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="landscapes of each kind")
    parser.add_argument("--noises", default="0.05,0.15,0.25")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1)))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(
        "| noise | limit | ended by 80 | median trials | optimum in or next to region | mean regret | expected gain |"
    )
    print("|" + "---|" * 7)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for noise in map(float, options.noises.split(",")):
            jobs = [(noise, kind, seed) for kind, seed in itertools.product(KINDS, range(options.seeds))]
            stops = list(itertools.chain.from_iterable(pool.imap_unordered(_search, jobs)))
            for limit in _LIMITS:
                _print_row(noise, limit, [stop for stop in stops if stop.limit == limit], len(jobs))


def _print_row(noise: float, limit: str, stops: Sequence[Stop], searches: int) -> None:
    if not stops:
        print(f"| {noise:.0%} | {limit} | 0 of {searches} | | | | |", flush=True)
        return
    near = statistics.fmean(stop.near for stop in stops)
    regret, gain = (statistics.fmean(values) for values in zip(*((s.regret, s.gain) for s in stops), strict=True))
    trials = statistics.median(stop.trials for stop in stops)
    print(
        f"| {noise:.0%} | {limit} | {len(stops)} of {searches} | {trials:g} | {near:.2f} | {regret:.4f} | {gain:.4f} |",
        flush=True,
    )


def _search(job: tuple[float, str, int]) -> list[Stop]:
    """Where each limit would have ended one search."""
    warnings.simplefilter("ignore")
    noise, kind, seed = job
    landscape = draw_landscape("report", kind, seed)
    points = fine_lattice(REGION_STEPS)
    heights = landscape.heights(points)
    top, best = points[int(np.argmax(heights))], float(landscape.heights(fine_lattice(200)).max())
    stops: dict[str, Stop] = {}
    in_a_row = dict.fromkeys(_LIMITS, 0)
    noisy = Noisy(landscape, noise, np.random.default_rng([seed, 12345]))
    for done, _ in growing_search(noisy, SearchSettings(trials=_TRIALS, seed=seed)):
        if len(done) < FEWEST:
            continue
        found = recommend(measurements(done, FLOPS), FLOPS, Aim("maximize"))
        for limit, settings in _LIMITS.items():
            in_a_row[limit] = in_a_row[limit] + 1 if enough(found, settings) else 0
            if in_a_row[limit] >= CHECKS and limit not in stops:
                regret = max(0.0, best - float(landscape.heights(np.array(found.shares.as_tuple())[None])[0]))
                stops[limit] = Stop(
                    limit,
                    len(done),
                    distance_to_region(found, top) < ONE_STEP,
                    regret,
                    float(found.details["expected_gain"]),
                )
        if len(stops) == len(_LIMITS):
            break
    return list(stops.values())


if __name__ == "__main__":
    main()
