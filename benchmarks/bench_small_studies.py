"""Does the expected interval of a small study hold the mean of fresh seeds, on real images?

Each study has 9 to 20 trials of one seed on CIFAR-10, 3,000 images seen, scored on 1,000; its recommendation is then
trained with five seeds that the study did not have. Rows that the CSV file holds are not measured again.

Run: python -m benchmarks.bench_small_studies --data /path/to/cifar-10 --studies 20
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import warnings
from pathlib import Path

from objectives.data.load import load_data
from objectives.proxy import ProxyObjective
from objectives.training.settings import TrainSettings
from phiscale import PROXY_BASE
from phiscale.files import write_text
from phiscale.triangle import FLOPS
from search.aim import aim_of
from search.driver import StudyPlace, run_study
from search.executors.in_process import InProcess
from search.measurements import measurements
from search.progress import Silent
from search.recommendation import recommend
from search.settings import SearchSettings
from search.trial import trials_of

RESULTS = Path(__file__).parents[1] / "results" / "evidence" / "small-studies.csv"
COLUMNS = ("study", "trials", "expected", "low", "high", "noise", "fresh_mean", "fresh_deviation", "claims")
_FRESH = 5
"""Trainings of the recommendation, with seeds below 0, which no search has; others for every study."""


def main() -> None:
    """Measure the studies that are missing, and print in how many the interval holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    settings = TrainSettings(images_seen=3000, validation_images=1000)
    data = load_data(options.data, validation_images=settings.validation_images, train_images=12_000)
    objective = ProxyObjective(PROXY_BASE, data, settings, phi=2.0)
    rows = _read(options.output)
    for study in range(len(rows), options.studies):
        rows.append(_measure(objective, study))
        _write(options.output, rows)
        print(rows[-1], flush=True)
    held = [float(row["low"]) <= float(row["fresh_mean"]) <= float(row["high"]) for row in rows]
    print(f"{sum(held)} of {len(held)} intervals hold the mean of {_FRESH} fresh seeds")
    print(f"{sum(int(row['claims']) for row in rows)} claims of a lead")


def _measure(objective: ProxyObjective, study: int) -> dict[str, str]:
    trials = 9 + study % 12
    settings = SearchSettings(trials=trials, seed=study)
    with tempfile.TemporaryDirectory() as folder:
        place = StudyPlace(name="small", folder=Path(folder), storage=f"{folder}/study.journal")
        done = run_study(place, objective, FLOPS, settings, Silent(), InProcess())
        rows = measurements(trials_of(done.get_trials(deepcopy=False), FLOPS), FLOPS)
    found = recommend(rows, FLOPS, aim_of(settings, objective.describe(), "maximize"))
    if found.expected is None:
        raise RuntimeError(f"expected a surface after {trials} trials, got none")
    seeds = range(-_FRESH * (study + 1), -_FRESH * study)
    fresh = [objective.evaluate(found.constants, seed=seed).score for seed in seeds]
    values = (found.expected.score, found.expected.low, found.expected.high, found.noise or 0.0)
    measured = (statistics.fmean(fresh), statistics.stdev(fresh))
    claims = sum(lead.result in ("ahead", "behind") for lead in found.leads)
    words = (str(study), str(trials), *(f"{value:.5f}" for value in (*values, *measured)), str(claims))
    return dict(zip(COLUMNS, words, strict=True))


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    lines = [",".join(COLUMNS), *(",".join(row[name] for name in COLUMNS) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
