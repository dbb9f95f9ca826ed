"""What a trial costs besides its training: phiscale's studies against raw Optuna, with an objective that does nothing.

The same number of trials with the same sampler and storage, in turn, several times:

- phiscale: ``search.driver.run_study`` with an objective that returns at once: constants, one rung, curves, and
  all that makes a killed run resumable;
- raw Optuna with attributes: ``study.optimize`` of two parameters, one report, and the same user attributes, one
  ``set_user_attr`` each, as a careful person would keep them; in the storage as phiscale opens it;
- raw Optuna bare: two parameters and a value, nothing else; in the storage as phiscale opens it;
- raw Optuna bare, as it comes: the same in the storage as Optuna opens it (SQLite then waits for the disk).

Run: python -m benchmarks.bench_overhead                                       # 1,000 trials, a few minutes
     python -m benchmarks.bench_overhead --trials 200 --repeats 3 --storages sqlite --methods random

Prints a table in Markdown and writes results/evidence/overhead.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from objectives.contract import Evaluation
from phiscale import FLOPS, ScalingConstants
from phiscale.files import write_text

EVIDENCE = Path(__file__).parents[1] / "results" / "evidence" / "overhead.csv"
COLUMNS = ("storage", "method", "round", "contestant", "trials", "seconds", "cpu_seconds")
_ATTRIBUTES: dict[str, Any] = {
    **{f"share_{name}": 0.3333333333333333 for name in ("depth", "width", "resolution")},
    "constants": [1.2599210498948732, 1.1224620483093730, 1.1224620483093730],
    "product": 2.0,
    "fingerprint": "(1.2599210498948732, 1.1224620483093730, 1.1224620483093730)",
    "seeds": [0],
    "scores": [0.5],
    "rungs": [1],
    "rung_scores": [[0.5]],
    "seconds": 0.0,
    "device": "cpu",
    "peak_memory": 0,
    "curves": [{"score": [0.5]}],
}
"""What phiscale stores for each trial of ``Nothing``; one of a spread method has its place as well."""
Run = Callable[[str, str, int, Path], None]


class Nothing:
    """An objective that costs no time and builds no network."""

    direction = "maximize"

    def describe(self) -> dict[str, object]:
        """Nothing that a record would need."""
        return {"objective": "nothing", "phi": 1.0}

    def network(self, constants: ScalingConstants) -> None:
        """None: the point itself is what is measured."""

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        """A score at one rung."""
        return Evaluation(score=0.5, seconds=0.0, device="cpu", rungs={1: 0.5}, curves={"score": (0.5,)})


def main() -> None:
    """The command."""
    options = _options()
    rows: list[dict[str, Any]] = []
    for storage, method, run in itertools.product(options.storages, options.methods, CONTESTANTS.values()):
        _timed(run, storage, method, 2)  # what is imported once a process is no cost of a trial
    for turn in range(options.repeats):
        for storage in options.storages:
            for method in options.methods:
                for name, run in CONTESTANTS.items():
                    seconds, cpu = _timed(run, storage, method, options.trials)
                    values = (storage, method, turn, name, options.trials, round(seconds, 3), round(cpu, 3))
                    rows.append(dict(zip(COLUMNS, values, strict=True)))
                    print(
                        f"{storage}, {method}, round {turn}, {name}: {options.trials / seconds:.1f} trials/s",
                        flush=True,
                    )
    print(f"\n{table(rows)}")
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(options.output, out.getvalue())
    print(f"\nrows: {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="of every study (1000)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (3)")
    parser.add_argument("--storages", nargs="+", choices=("sqlite", "journal"), default=["sqlite", "journal"])
    parser.add_argument("--methods", nargs="+", choices=("random", "tpe"), default=["random", "tpe"])
    parser.add_argument("--output", type=Path, default=EVIDENCE, help="the CSV file")
    return parser.parse_args()


def _phiscale(storage: str, method: str, trials: int, folder: Path) -> None:
    from search.driver import StudyPlace, run_study
    from search.executors.in_process import InProcess
    from search.progress import Silent
    from search.settings import SearchSettings

    place = StudyPlace(name="s", folder=folder, storage=str(folder / "s.journal") if storage == "journal" else None)
    settings = SearchSettings(method=method, trials=trials, baselines="none")
    study = run_study(place, Nothing(), FLOPS, settings, Silent(), InProcess())
    assert len(study.trials) == trials  # noqa: S101
    assert set(study.trials[-1].user_attrs) - {"spread"} == set(_ATTRIBUTES)  # noqa: S101


def _optuna(
    storage: str, method: str, trials: int, folder: Path, with_attributes: bool = False, as_it_comes: bool = False
) -> None:
    import optuna

    from search.storage import open_storage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=0)
    if method == "tpe":
        sampler = optuna.samplers.TPESampler(seed=0, multivariate=True)
    backend: Any = open_storage(str(folder / "s.journal") if storage == "journal" else None, folder, to_write=True)
    if as_it_comes and storage == "sqlite":
        backend = f"sqlite:///{folder / 'plain.db'}"
    study = optuna.create_study(storage=backend, sampler=sampler, direction="maximize")
    attributes = _ATTRIBUTES if with_attributes else {}

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("u", 0.0, 1.0)
        trial.suggest_float("v", 0.0, 1.0)
        if attributes:
            trial.report(0.5, 1)
        for name, value in attributes.items():
            trial.set_user_attr(name, value)
        return 0.5

    study.optimize(objective, n_trials=trials)
    assert len(study.trials) == trials  # noqa: S101


CONTESTANTS: dict[str, Run] = {
    "phiscale": _phiscale,
    "raw Optuna with attributes": partial(_optuna, with_attributes=True),
    "raw Optuna bare": _optuna,
    "raw Optuna bare, as it comes": partial(_optuna, as_it_comes=True),
}
"""By name: what runs (storage, method, trials, folder)."""


def _timed(run: Run, storage: str, method: str, trials: int) -> tuple[float, float]:
    """Wall-clock and processor seconds."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started, processor = time.perf_counter(), time.process_time()
        run(storage, method, trials, Path(folder))
        return time.perf_counter() - started, time.process_time() - processor


def table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds a trial and phiscale's rate over each other's, by storage and method: median (lowest to highest)."""
    lines = [
        "| storage | sampler | contestant | ms a trial | CPU ms a trial | phiscale's rate over it |",
        "|---|---|---|---|---|---|",
    ]
    for storage, method in dict.fromkeys((row["storage"], row["method"]) for row in rows):
        for name in CONTESTANTS:
            mine, ours = _chosen(rows, storage, method, name), _chosen(rows, storage, method, "phiscale")
            cells = [
                _spread([1000 * row["seconds"] / row["trials"] for row in mine], ".1f"),
                _spread([1000 * row["cpu_seconds"] / row["trials"] for row in mine], ".1f"),
                _spread([row["seconds"] / our["seconds"] for row, our in zip(mine, ours, strict=True)], ".2f"),
            ]
            lines.append(f"| {storage} | {method} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _chosen(rows: list[dict[str, Any]], *wanted: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["storage"], row["method"], row["contestant"]) == wanted]


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
