"""Turn a measured lattice study into a recorded landscape for the benchmarks: mean scores by realised shares.

Run: python -m scripts.run_search --study cifar-lattice --data DIR --method lattice --step 0.16667 --seeds 3
         --baselines none
     python -m benchmarks.record_landscape --study cifar-lattice --name cifar10-cpu
     python -m benchmarks.record_landscape --study cifar-curves --name cifar10-curves --curves

With --curves every seed's accuracy after every epoch is kept too, for ``benchmarks.bench_pruning``; such a file goes to
benchmarks/curves/.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
from pathlib import Path

from phiscale.constants import Multipliers, shares_of_direction
from phiscale.files import write_text

_COLUMNS = ("share_depth", "share_width", "share_resolution", "mean", "sd", "evaluations", "macs", "seconds")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True)
    parser.add_argument("--name", required=True, help="landscape is written to benchmarks/landscapes/NAME.csv")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--curves", action="store_true")
    options = parser.parse_args()
    if options.curves:
        _record_curves(options)
        return
    with (options.results / options.study / "trials.csv").open(newline="") as file:
        rows = [_row(trial) for trial in csv.DictReader(file) if trial["state"] == "COMPLETE"]
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: (row["share_depth"], row["share_width"])))
    path = Path(__file__).parent / "landscapes" / f"{options.name}.csv"
    write_text(path, out.getvalue())
    print(f"{len(rows)} networks written to {path}")


def _record_curves(options: argparse.Namespace) -> None:
    from search.study import load_study

    folder = options.results / options.study
    rows = []
    for trial in load_study(options.study, folder, None).get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE":
            shares = shares_of_direction(Multipliers(**trial.user_attrs["realised"])).as_tuple()
            curves = [[round(value, 6) for value in curve["accuracy"]] for curve in trial.user_attrs["curves"]]
            rows.append({"shares": [round(share, 6) for share in shares], "curves": curves})
    path = Path(__file__).parent / "curves" / f"{options.name}.json"
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(sorted(rows, key=lambda row: row["shares"]), indent=None) + "\n")
    print(f"{len(rows)} networks written to {path}")


def _row(trial: dict[str, str]) -> dict[str, float]:
    scores = json.loads(trial["scores"])
    realised = (float(trial[f"realised_{axis}"]) for axis in ("depth", "width", "resolution"))
    shares = shares_of_direction(Multipliers(*realised))
    return {
        "share_depth": round(shares.depth, 6),
        "share_width": round(shares.width, 6),
        "share_resolution": round(shares.resolution, 6),
        "mean": round(statistics.fmean(scores), 6),
        "sd": round(statistics.stdev(scores), 6) if len(scores) > 1 else 0.0,
        "evaluations": len(scores),
        "macs": int(trial["macs"]),
        "seconds": round(float(trial["seconds"]), 2),
    }


if __name__ == "__main__":
    main()
