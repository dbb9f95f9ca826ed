"""Regret, intervals, regions and claims of searches on landscapes that were not used to choose the method.

Run: python -m benchmarks.bench_search --seeds 30
     python -m benchmarks.bench_search --competitors phiscale-gp,botorch --kinds smooth,cliff --seeds 3
     python -m benchmarks.bench_search --table        # tables of what results/evidence/search.csv holds
     python -m benchmarks.bench_search --part choose --output build/choose.csv   # to choose a method by

A run searches one landscape (``benchmarks.random_landscapes``, or recorded from real trainings) and answers after 20,
40 and 80 trials. Runs that the CSV file holds are not done again. Competitors that are not installed are left out.
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
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.random_landscapes import KINDS, RandomLandscape, draw_landscape, fine_lattice
from benchmarks.recorded_landscapes import recorded_landscape
from benchmarks.search_rivals import COMPETITORS, ONE_STEP, Answer, Noisy, distance_to_region
from phiscale.published import PUBLISHED_RULES
from phiscale.triangle import FLOPS
from search.recommendation import REGION_STEPS, as_array
from search.trial import shares_of_constants

COUNTS = (20, 40, 80)
NOISES = (0.05, 0.15, 0.25)
RECORDED = ("cifar10-cpu", "tiny50-cpu")
OUTPUT = Path("results/evidence/search.csv")
_COLUMNS = (
    *("competitor", "kind", "noise", "seed", "trials", "regret", "seconds_per_trial"),
    *("holds", "half_width", "error", "region_holds", "region_near", "region_part", "claims", "false_claims"),
)


@dataclass(frozen=True)
class Job:
    """One run of the benchmark."""

    part: Literal["choose", "report"]
    competitor: str
    kind: str
    noise: float
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        """What identifies it in the CSV file."""
        return self.competitor, self.kind, f"{self.noise:g}", str(self.seed)


def run_job(job: Job) -> list[dict[str, Any]]:
    """All rows of one run."""
    warnings.simplefilter("ignore")
    recorded = job.kind in RECORDED
    landscape = recorded_landscape(job.kind) if recorded else draw_landscape(job.part, job.kind, job.seed)
    generator = np.random.default_rng([job.seed, 12345])
    answers = COMPETITORS[job.competitor][0](Noisy(landscape, job.noise, generator), job.seed, COUNTS)
    best = float(landscape.heights(fine_lattice(200)).max())
    rows = []
    for count, answer in answers.items():
        true = float(landscape.heights(answer.shares[None])[0])
        row = dict(zip(_COLUMNS, job.key, strict=False)) | {
            "trials": count,
            "regret": f"{max(0.0, best - true):.6f}",
            "seconds_per_trial": f"{answer.seconds / count:.5f}",
        }
        rows.append(row | _judged(landscape, answer, true))
    return rows


def _judged(landscape: RandomLandscape, answer: Answer, true: float) -> dict[str, Any]:
    """Whether phiscale's interval, region and leads are true; empty for the other competitors."""
    found = answer.found
    if found is None or found.expected is None:
        return {}
    points = fine_lattice(REGION_STEPS)
    best = points[int(np.argmax(landscape.heights(points)))]
    away = distance_to_region(found, best)
    claims = [
        (lead, true - _height(landscape, lead.rule)) for lead in found.leads if lead.result in ("ahead", "behind")
    ]
    false = [lead for lead, lead_in_truth in claims if lead.difference * lead_in_truth <= 0]
    return {
        "holds": int(found.expected.low <= true <= found.expected.high),
        "half_width": f"{(found.expected.high - found.expected.low) / 2:.5f}",
        "error": f"{found.expected.score - true:.5f}",
        "region_holds": int(away < 1e-6),
        "region_near": int(away < ONE_STEP),
        "region_part": f"{len(found.region) / len(points):.4f}",
        "claims": len(claims),
        "false_claims": len(false),
    }


def _height(landscape: RandomLandscape, rule: str) -> float:
    constants = PUBLISHED_RULES[rule].on(FLOPS)
    return (
        math.nan
        if constants is None
        else float(landscape.heights(as_array([shares_of_constants(constants, FLOPS)]))[0])
    )


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
    parser.add_argument("--kinds", default=",".join((*KINDS, *RECORDED)))
    parser.add_argument("--noises", default=",".join(map(str, NOISES)))
    parser.add_argument("--seeds", type=int, default=30, help="landscapes of each kind")
    parser.add_argument("--part", choices=("choose", "report"), default="report")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1)))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--table", action="store_true", help="print the tables only")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    chosen = [name for name in options.competitors.split(",") if _installed(name)]
    jobs = [
        Job(options.part, name, kind, float(noise), seed)
        for seed, kind, noise, name in itertools.product(
            range(options.seeds), options.kinds.split(","), options.noises.split(","), chosen
        )
    ]
    done = _done(options.output)
    missing = [job for job in jobs if job.key not in done]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for index, rows in enumerate(pool.imap_unordered(run_job, missing), 1):
            _append(options.output, rows)
            if index % 100 == 0:
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
