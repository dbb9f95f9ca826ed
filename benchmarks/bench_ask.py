"""Milliseconds to choose the next trial and to recommend, by the number of measured networks.

Run: OMP_NUM_THREADS=1 python -m benchmarks.bench_ask

Both on the same trials, as at the end of a run: the surface is fitted once for the two. Processor time, one thread.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace

import numpy as np

from benchmarks.random_landscapes import draw_landscape
from phiscale.triangle import FLOPS, constants_from_shares, shares_at
from search import horizon, methods
from search.aim import Aim
from search.history import History
from search.recommendation import recommend
from search.settings import SearchSettings
from search.trial import Plan, Result, running_trial


def history_of(count: int, seed: int) -> History:
    """Noisy scores of that many random networks on a landscape of power laws."""
    landscape, generator = draw_landscape("choose", "power", 0), np.random.default_rng(seed)
    trials = []
    for number, (u, v) in enumerate(generator.random((count, 2))):
        shares = shares_at({"u": u, "v": v}, FLOPS)
        score = float(landscape.heights(np.array([shares.as_tuple()]))[0] + 0.05 * generator.standard_normal())
        begun = running_trial(
            number, Plan(constants=constants_from_shares(shares, FLOPS)), FLOPS, fingerprint=str(number)
        )
        trials.append(replace(begun, state="COMPLETE", value=score, result=Result(scores=(score,))))
    return History(trials, FLOPS, SearchSettings(method="gp"), Aim("maximize"))


def measure(count: int, seed: int) -> tuple[float, float]:
    """Milliseconds of choosing, and of choosing and recommending."""
    history = history_of(count, seed)
    horizon._kept.cache_clear()
    started = time.process_time()
    (plan,) = methods.propose(history, 1)
    chosen = time.process_time()
    if plan.place is not None:
        raise ValueError(f"expected a point of the surface after {count} networks, got one of the even spread")
    recommend(history.rows, FLOPS, history.aim)
    return 1000 * (chosen - started), 1000 * (time.process_time() - started)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    measure(41, 0)
    print("| networks | ask, ms | ask and recommend, ms: median (lowest to highest) |\n|---|---|---|")
    for count in (41, 101, 301, 1001):  # every other trial is of the even spread
        found = np.array([measure(count, seed) for seed in range(options.repeats)])
        ask, both = np.median(found[:, 0]), found[:, 1]
        print(f"| {count} | {ask:.0f} | {np.median(both):.0f} ({both.min():.0f} to {both.max():.0f}) |", flush=True)


if __name__ == "__main__":
    main()
