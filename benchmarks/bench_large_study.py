"""Seconds and memory to look at a large study, and seconds to choose its next trial.

Run: OMP_NUM_THREADS=1 python -m benchmarks.bench_large_study       # 2,000 and 10,000 trials, some minutes
     OMP_NUM_THREADS=1 python -m benchmarks.bench_large_study --trials 2000 --networks 150

The trials are stored with their scores, nothing is trained: four rungs, one seed, and a network for each trial, or
``--networks`` that are trained again and again. Each step runs in a process of its own: the summary and the report of
a study whose record is up to date, both where the record has to be made anew, and the next
trial.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from objectives.landscape import INTERIOR
from phiscale import FLOPS
from phiscale.baselines import PROXY_BASE
from phiscale.cost import Cost
from phiscale.triangle import Multipliers, constants_from_shares, shares_at
from search.settings import SearchSettings
from search.study import load_study, open_study
from search.trial import (
    Plan,
    Result,
    Sizes,
    distributions_of,
    parameters_of,
    plan_attributes,
    point_attributes,
    result_attributes,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from search.history import History

NAME = "large"
LENGTHS = (7500, 15_000, 30_000, 60_000)
_PHI, _NOISE = 2.0, 0.02
_SETTINGS = SearchSettings(method="gp")


def make_study(folder: Path, trials: int, networks: int) -> None:
    """Store that many trials of that many networks."""
    described = {
        "objective": "large",
        "phi": _PHI,
        "network": PROXY_BASE.to_dict(),
        "score": "accuracy",
        "rungs": list(LENGTHS),
        "data": {"name": "none", "fingerprint": "none", "epoch_images": 60_000},
        "cost_model": vars(FLOPS),
    }
    study = open_study(NAME, folder, None, "maximize", described)
    generator = np.random.default_rng(0)
    places = generator.random((networks, 2))
    study.add_trials([_trial(number % networks, number // networks, places, generator) for number in range(trials)])


def _trial(network: int, seed: int, places: np.ndarray, generator: np.random.Generator) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    shares = shares_at(dict(zip("uv", map(float, places[network]), strict=True)), FLOPS)
    constants = constants_from_shares(shares, FLOPS)
    asked = Multipliers(*(value**_PHI for value in constants.as_tuple()))
    ratio = 1 + 0.01 * float(places[network, 0])
    macs = round(400_000 * ratio * 4)
    sizes = Sizes(
        asked=asked, realised=asked, resolution=32, blocks=6,
        cost=Cost(macs, 50_000, 200_000), growth=4 * ratio, cost_ratio=ratio,
    )  # fmt: skip
    error = 1 - INTERIOR.true_score(constants)
    rungs = 1 - error * (LENGTHS[-1] / np.array(LENGTHS)) ** 0.25 + _NOISE * generator.standard_normal(len(LENGTHS))
    scores = tuple(map(float, rungs))
    result = Result(scores=scores[-1:], rungs=LENGTHS, rung_scores=(scores,), seconds=12.5, device="cpu")
    known = point_attributes(constants, FLOPS, f"network-{network}", (seed,), sizes)
    return create_trial(
        state=TrialState.COMPLETE,
        value=scores[-1],
        params=parameters_of(constants, FLOPS),
        distributions=dict(distributions_of(FLOPS)),
        user_attrs=plan_attributes(Plan(constants=constants)) | known | result_attributes(result),
        intermediate_values=dict(zip(LENGTHS, scores, strict=True)),
    )


def make_record(folder: Path) -> None:
    """What a search writes at its end."""
    from search.results import write_results

    write_results(load_study(NAME, folder, None), folder, FLOPS, _SETTINGS)


def summarise(folder: Path) -> None:
    """``phiscale report --print text``."""
    from report.answer import summary
    from report.view import look

    summary(look(load_study(NAME, folder, None), folder))


def write_page(folder: Path) -> None:
    """``phiscale report``."""
    from report.page import write_report
    from report.view import look

    write_report(look(load_study(NAME, folder, None), folder), folder)


def ask(folder: Path) -> None:
    """Choose the next trials, a surface point among them, once a trial has ended."""
    from search.proposals import next_plans

    history = _history(folder)
    for step in range(3):
        trials = [*history.trials, replace(history.trials[-1], number=len(history.trials), fingerprint="")]
        started = time.perf_counter()
        history = replace(history, trials=trials)
        next_plans(history, (), 2)
        print(f"  ask {step + 1}: {time.perf_counter() - started:.2f} s")


def _history(folder: Path) -> History:
    from search.aim import aim_of
    from search.history import History
    from search.study import SETTINGS_KEY
    from search.trial import trials_of

    study = load_study(NAME, folder, None)
    trials = trials_of(study.get_trials(deepcopy=False), FLOPS)
    return History(trials, FLOPS, _SETTINGS, aim_of(_SETTINGS, study.user_attrs[SETTINGS_KEY], "maximize"))


STEPS = {
    "summary, record made": summarise,
    "write the results": make_record,
    "summary": summarise,
    "report": write_page,
    "ask": ask,
}


def main() -> None:
    """Make the studies, and measure each step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[2000, 10_000])
    parser.add_argument("--networks", type=int, help="networks that the trials share (default: one for each trial)")
    parser.add_argument("--folder", type=Path, help="keep the studies here, and use those that are there")
    parser.add_argument("--step", choices=STEPS, help="one step alone, in this process, of the first study")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for trials in options.trials:
            networks = options.networks or trials
            folder = (options.folder or Path(made)) / f"{trials}-{networks}"
            if not (folder / "study.db").exists():
                folder.mkdir(parents=True, exist_ok=True)
                make_study(folder, trials, networks)
            if options.step:
                STEPS[options.step](folder)
                return
            print(f"{trials} trials of {networks} networks", flush=True)
            words = ["--trials", str(trials), "--networks", str(networks), "--folder", str(folder.parent)]
            for step in STEPS:
                _measure([sys.executable, "-m", "benchmarks.bench_large_study", *words, "--step", step], step)
            if (folder / "report.html").is_file():
                print(f"  report.html: {(folder / 'report.html').stat().st_size / 1e6:.2f} MB", flush=True)


def _measure(words: list[str], step: str) -> None:
    started = time.perf_counter()
    with subprocess.Popen(words) as child:
        _, status, used = _wait(child.pid)
    seconds, peak = time.perf_counter() - started, used.ru_maxrss / 1024
    print(f"{step}: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor, {peak:.0f} MiB, exit {status}")


def _wait(pid: int) -> tuple[int, int, resource.struct_rusage]:
    import os

    return os.wait4(pid, 0)


if __name__ == "__main__":
    main()
