"""Which way of extrapolating predicts longer trainings best, on recorded scores of real networks at several rungs.

Run: python -m benchmarks.bench_horizon
     python -m benchmarks.bench_horizon --record results/cifar10-lattice --name cifar10-rungs

With --record the rungs of a finished study are first written to benchmarks/landscapes/NAME.csv. For every landscape,
the rungs up to a quarter (and up to a half) of the longest predict the longest by each way. Printed are the root mean
square of the errors of contrasts between networks, after the noise of the measured means is taken off, in accuracy; the
bias; and the regret of the constants chosen by the prediction. "A line a training" continues the bend of curves too.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from phiscale.family import align_columns
from phiscale.files import write_text
from scripts.shared.console import run_command
from scripts.shared.studies import StudyOptions
from search.horizon import Scale, fit, fit_lines, plain_scale, rung_noise, slope_weights
from search.scaling import Array

FOLDER = Path(__file__).parent / "landscapes"
_AXES = ("depth", "width", "resolution")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Options of the benchmark."""

    record: Path | None = None
    """Folder of a study whose rungs are recorded first."""
    name: str = "rungs"
    """Name of the recorded landscape."""


class Rungs(NamedTuple):
    """Recorded scores."""

    lengths: list[int]
    shares: Array
    """(n, 3), one row a training."""
    accuracy: Array
    """(n, k)"""
    log_loss: Array
    """(n, k)"""


def main() -> int:
    """The command."""
    return run_command(BenchOptions, bench, __doc__ or "", "benchmarks.bench_horizon")


def bench(options: BenchOptions) -> None:
    """Record if asked, then compare on every landscape of rungs."""
    if options.record is not None:
        record(options.record, FOLDER / f"{options.name}.csv")
    for path in sorted(FOLDER.glob("*-rungs.csv")):
        rungs = read(path)
        print(f"\n{path.stem}: {len(rungs.shares)} trainings, {rungs.lengths} images seen")
        for parts in (4, 2):
            short = [index for index, length in enumerate(rungs.lengths) if parts * length <= rungs.lengths[-1]]
            if len(short) > 1:
                print(f"\nrungs up to {rungs.lengths[short[-1]]:,} predict {rungs.lengths[-1]:,}")
                print(_table(rungs, short))


def record(folder: Path, path: Path) -> None:
    """Write the rungs of a study: shares of the realised network, seed, and per rung accuracy and log loss."""
    view = StudyOptions(study=folder.name, results=folder.parent).look()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    lengths = view.rows[0].rungs
    writer.writerow([*_AXES, "seed", *(f"{part} {n}" for part in ("accuracy", "log_loss") for n in lengths)])
    for row in view.rows:
        trials = [trial for trial in view.trials if trial.number in row.trials]
        for trial in trials:
            for seed, curves in zip(trial.seeds, trial.result.curves if trial.result else (), strict=True):
                values = [*curves["accuracy"], *curves["log_loss"]]
                writer.writerow([*(f"{share:.6f}" for share in row.shares.as_tuple()), seed, *values])
    write_text(path, out.getvalue())


def read(path: Path) -> Rungs:
    """A recorded landscape."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lengths = [int(name.split()[1]) for name in rows[0] if name.startswith("accuracy")]
    parts = (
        np.array([[float(row[f"{part} {length}"]) for length in lengths] for row in rows])
        for part in ("accuracy", "log_loss")
    )
    shares = np.array([[float(row[axis]) for axis in _AXES] for row in rows])
    return Rungs(lengths, shares, *parts)


Way = Callable[[Rungs, list[int]], Array]
"""From the rungs and the indices of the short ones to the predicted accuracy of every network's mean, (N,)."""


def _on(scale: Scale, part: str, how: Callable[[Array, Array, list[int], int, Array], Array]) -> Way:
    def way(rungs: Rungs, short: list[int]) -> Array:
        values = scale.to_values(rungs.accuracy if part == "accuracy" else rungs.log_loss)[:, short]
        lengths = [rungs.lengths[index] for index in short]
        places = np.unique(rungs.shares, axis=0)
        predicted = how(rungs.shares, values, lengths, rungs.lengths[-1], places)
        if part == "accuracy":
            return scale.to_scores(predicted)
        at_short = scale.to_values(rungs.log_loss[:, short[-1]])  # accuracy by its line against the loss
        slope, shift = np.polyfit(at_short, rungs.accuracy[:, short[-1]], 1)
        return np.asarray(slope * predicted + shift)

    return way


def _two_surfaces(shares: Array, values: Array, lengths: list[int], longest: int, places: Array) -> Array:
    slopes = fit(shares, values @ slope_weights(rung_noise(shares, values), lengths)).means(places)
    return fit(shares, values[:, -1]).means(places) + math.log2(longest / lengths[-1]) * slopes


def _common_slope(shares: Array, values: Array, lengths: list[int], longest: int, places: Array) -> Array:
    slope = float((values @ slope_weights(rung_noise(shares, values), lengths)).mean())
    return fit(shares, values[:, -1]).means(places) + math.log2(longest / lengths[-1]) * slope


def _lines(shares: Array, values: Array, lengths: list[int], longest: int, places: Array) -> Array:
    return fit_lines(shares, values, lengths, longest).means(places)


def _last_rung(shares: Array, values: Array, _lengths: list[int], _longest: int, places: Array) -> Array:
    return fit(shares, values[:, -1]).means(places)


_ERROR, _LOSS = Scale("log error", 1.0), Scale("log loss", -1.0)
WAYS: dict[str, Way] = {
    "a line a training, then one surface, log error": _on(_ERROR, "accuracy", _lines),
    "surfaces of last rung and slope, log error": _on(_ERROR, "accuracy", _two_surfaces),
    "one slope for all, log error": _on(_ERROR, "accuracy", _common_slope),
    "a line a training, then one surface, accuracy itself": _on(plain_scale("maximize"), "accuracy", _lines),
    "a line a training, then one surface, log loss": _on(_LOSS, "log_loss", _lines),
    "no extrapolation: the longest short rung": _on(_ERROR, "accuracy", _last_rung),
}


def _table(rungs: Rungs, short: list[int]) -> str:
    places, inverse = np.unique(rungs.shares, axis=0, return_inverse=True)
    counts = np.bincount(inverse)
    measured = np.bincount(inverse, rungs.accuracy[:, -1]) / counts
    left = rungs.accuracy[:, -1] - measured[inverse]
    freedom = len(left) - len(places)
    noise = float((left**2).sum()) / freedom if freedom > 0 else 0.0
    known = fit(rungs.shares, rungs.accuracy[:, -1]).means(places)
    rows = [["", "error of contrasts", "bias", "correlation", "regret"]]
    for name, way in WAYS.items():
        predicted = way(rungs, short)
        errors = predicted - measured
        spread = float(errors.var(ddof=1)) - noise * float((1 / counts).mean())
        together = float(np.corrcoef(predicted, measured)[0, 1])
        regret = float(known.max() - known[int(np.argmax(predicted))])
        cells = [f"{math.sqrt(max(0.0, 2 * spread)):.4f}", f"{errors.mean():+.4f}", f"{together:.2f}", f"{regret:.4f}"]
        rows.append([name, *cells])
    return align_columns(rows)


if __name__ == "__main__":
    sys.exit(main())
