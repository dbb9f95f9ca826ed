"""What pruning saves and costs: tpe with no pruner, the median pruner and Hyperband, on recorded learning curves.

Run: python -m scripts.run_search --study cifar-curves --data DIR --method lattice --step 0.2 --seeds 2
         --baselines none --train.epochs 4
     python -m benchmarks.record_landscape --study cifar-curves --name cifar10-curves --curves
     python -m benchmarks.bench_pruning --curves cifar10-curves --seeds 30

A trial's curve is the smoothed mean curve at its shares plus the deviations of one recorded training, so that a poor
start foretells a poor end as far as it does in real trainings. Epochs cost the same for all networks of a study.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.closed_forms import fine_lattice
from objectives.contract import Evaluation, Report
from phiscale.constants import FLOPS, Multipliers, ScalingConstants, shares_of_direction
from search.settings import Pruning, SearchSettings

Array = NDArray[np.float64]
PRUNINGS: tuple[tuple[str, Pruning], ...] = (("tpe", "none"), ("tpe", "median"), ("tpe", "hyperband"), ("gp", "none"))


class RecordedCurves:
    """An objective that replays learning curves; counts the epochs that it was asked for."""

    direction = "maximize"

    def __init__(self, path: Path, seed: int) -> None:
        rows = json.loads(path.read_text())
        self.shares = np.array([row["shares"] for row in rows])
        curves = np.array([row["curves"] for row in rows])
        self.means = curves.mean(axis=1)
        count = curves.shape[1]
        deviations = (curves - self.means[:, None]) * (count / (count - 1)) ** 0.5
        self.deviations = deviations.reshape(-1, curves.shape[2])
        self.generator = np.random.default_rng([seed, 99])
        self.epochs = 0

    def describe(self) -> dict[str, object]:
        """What the study stores."""
        return {"objective": "recorded curves", "score": "accuracy"}

    def network(self, constants: ScalingConstants) -> None:
        """None: the shares are all there is."""

    def mean_curve(self, shares: Array) -> Array:
        """Expected accuracy after every epoch at ``shares`` (n, 3): (n, epochs)."""
        from scipy.interpolate import RBFInterpolator

        spline = RBFInterpolator(self.shares[:, :2], self.means, kernel="thin_plate_spline", smoothing=0.03)
        return np.asarray(spline(np.atleast_2d(shares)[:, :2]))

    def evaluate(self, constants: ScalingConstants, *, seed: int, report: Report) -> Evaluation:
        """Report the curve epoch by epoch; its end is the score."""
        shares = shares_of_direction(Multipliers(*constants.as_tuple()), FLOPS).as_tuple()
        deviation = self.deviations[int(self.generator.integers(len(self.deviations)))]
        curve = self.mean_curve(np.array(shares))[0] + deviation
        for epoch, score in enumerate(curve, 1):
            self.epochs += 1
            report(epoch, float(score))
        return Evaluation(score=float(curve[-1]), seconds=0.0, device="none")


class _Silent:
    def begin(self, study: Any, total: int, notes: list[str]) -> None: ...
    def trial_ended(self, trial: Any) -> None: ...


def run(path: Path, method: Any, pruning: Pruning, seed: int, trials: int) -> tuple[float, float, int]:
    """Regret in % of the landscape's range, part of the epochs that were trained, and trials that were pruned."""
    from search.measurements import measurements
    from search.recommend import recommend
    from search.run import StudyPlace, run_study

    objective = RecordedCurves(path, seed)
    settings = SearchSettings(method=method, pruning=pruning, trials=trials, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        place = StudyPlace(name="bench", folder=Path(folder), storage=f"{folder}/study.journal")
        done = run_study(place, objective, FLOPS, settings, _Silent()).get_trials(deepcopy=False)
    found = recommend(measurements(done, FLOPS), FLOPS, "maximize").shares.as_tuple()
    ends = objective.mean_curve(fine_lattice(100))[:, -1]
    lost = float(ends.max() - objective.mean_curve(np.array(found))[0, -1])
    pruned = sum(trial.state.name == "PRUNED" for trial in done)
    whole = len(done) * objective.means.shape[1]
    return 100 * max(0.0, lost) / float(np.ptp(ends)), objective.epochs / whole, pruned


def main() -> None:
    """Measure and print one table."""
    import optuna

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", default="cifar10-curves", help="benchmarks/curves/NAME.json")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = Path(__file__).parent / "curves" / f"{options.curves}.json"
    print("| method | pruning | regret, median (quartiles) | mean | epochs trained | pruned |")
    print("|---|---|---|---|---|---|")
    for method, pruning in PRUNINGS:
        rows = [run(path, method, pruning, seed, options.trials) for seed in range(options.seeds)]
        regret, epochs, pruned = (np.array(column) for column in zip(*rows, strict=True))
        low, middle, high = np.percentile(regret, (25, 50, 75))
        cells = f"{middle:.2f} ({low:.2f}-{high:.2f}) | {regret.mean():.2f} | {epochs.mean():.0%} | {pruned.mean():.1f}"
        print(f"| {method} | {pruning} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
