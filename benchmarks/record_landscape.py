"""Turn a measured lattice study into a recorded landscape for the benchmarks: mean scores by realised shares.

Run: phiscale search --study cifar-lattice --data DIR --method lattice --step 0.16667 --seeds 3
         --baselines none
     python -m benchmarks.record_landscape --study cifar-lattice --name cifar10-cpu
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
from pathlib import Path

from phiscale.files import write_text
from phiscale.triangle import Multipliers, shares_of_direction

_COLUMNS = ("share_depth", "share_width", "share_resolution", "mean", "sd", "evaluations", "macs", "seconds")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True)
    parser.add_argument("--name", required=True, help="landscape is written to benchmarks/landscapes/NAME.csv")
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args()
    with (options.results / options.study / "trials.csv").open(newline="") as file:
        rows = [_row(trial) for trial in csv.DictReader(file) if trial["state"] == "COMPLETE"]
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: (row["share_depth"], row["share_width"])))
    path = Path(__file__).parent / "landscapes" / f"{options.name}.csv"
    write_text(path, out.getvalue())
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
