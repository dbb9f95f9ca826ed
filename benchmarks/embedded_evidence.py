"""Is the inside of the triangle ahead of its corners on the embedded set, at equal counted cost?

Trains the proxy baseline at four times its cost at nine places of the triangle, five seeds each. A killed run goes on
where it stopped; rows of other settings are left out.

Run: python -m benchmarks.embedded_evidence
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import statistics
import time
from pathlib import Path
from typing import cast

from objectives.data.load import load_data
from objectives.proxy import ProxyObjective
from objectives.training.settings import TrainSettings
from phiscale import PROXY_BASE, PUBLISHED_RULES, ScaledNetwork, ScalingConstants, Shares, constants_from_shares
from phiscale.files import write_text

SEEDS = range(5)
PHI = 2.0
RESULTS = Path(__file__).parents[1] / "results" / "evidence" / "embedded.csv"
POINTS = {
    "centre d1.4 w1.40 r1.33": ScalingConstants(1.4, 1.40, 32 / 24),
    "equal shares": PUBLISHED_RULES["equal"].constants,
    "paper's constants": PUBLISHED_RULES["paper"].constants,
    "depth": PUBLISHED_RULES["depth"].constants,
    "width": PUBLISHED_RULES["width"].constants,
    "resolution": PUBLISHED_RULES["resolution"].constants,
    "depth and width": constants_from_shares(Shares(0.5, 0.5, 0.0)),
    "depth and resolution": constants_from_shares(Shares(0.5, 0.0, 0.5)),
    "width and resolution": constants_from_shares(Shares(0.0, 0.5, 0.5)),
}
"""Directions by name."""
COLUMNS = (
    "settings",
    "point",
    "seed",
    "accuracy",
    "log_loss",
    "train_loss",
    "cpu_seconds",
    "macs",
    "cost",
    "blocks",
    "channels",
    "resolution",
)

Row = dict[str, str]


def main() -> None:
    """Measure what is missing, one row at a time, and print the table."""
    settings = TrainSettings()
    data = load_data(train_images=settings.train_images, validation_images=settings.validation_images)
    objective = ProxyObjective(PROXY_BASE, data, settings, phi=PHI)
    key = hashlib.sha256(json.dumps(objective.describe(), sort_keys=True).encode()).hexdigest()[:16]
    rows = [row for row in _read() if row["settings"] == key]
    done = {(row["point"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for point, constants in POINTS.items():
            if (point, str(seed)) not in done:
                rows.append({"settings": key, "point": point, **_measure(objective, constants, seed)})
                _write(rows)
                print(
                    f"{point:24} seed {seed}: {rows[-1]['accuracy']} in {rows[-1]['cpu_seconds']} CPU seconds",
                    flush=True,
                )
    print(_table(rows))


def _measure(objective: ProxyObjective, constants: ScalingConstants, seed: int) -> Row:
    started = time.process_time()
    run = objective.evaluate(constants, seed=seed)
    network = cast("ScaledNetwork", objective.network(constants))
    values = {
        "seed": seed,
        **{name: f"{run.curves[name][-1]:.4f}" for name in ("accuracy", "log_loss", "train_loss")},
        "cpu_seconds": f"{time.process_time() - started:.2f}",
        "macs": network.cost.macs,
        "cost": f"{network.growth(objective.growth.cost_model):.4f}",
        "blocks": network.spec.total_repeats,
        "channels": "-".join(str(stage.channels) for stage in network.spec.stages),
        "resolution": network.resolution,
    }
    return {name: str(value) for name, value in values.items()}


def _read() -> list[Row]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(rows: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(RESULTS, text.getvalue())


def _table(rows: list[Row]) -> str:
    """Mean and standard deviation over seeds, in Markdown, in the order of ``POINTS``."""
    lines = [
        "| direction | blocks | channels | pixels | cost | accuracy | sd | log-loss | CPU seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for point in POINTS:
        of_point = [row for row in rows if row["point"] == point]
        scores = [float(row["accuracy"]) for row in of_point]
        log_loss, seconds = (
            statistics.mean(float(row[name]) for row in of_point) for name in ("log_loss", "cpu_seconds")
        )
        size = " | ".join(of_point[0][name] for name in ("blocks", "channels", "resolution", "cost"))
        lines.append(
            f"| {point} | {size} | {statistics.mean(scores):.3f} | {statistics.stdev(scores):.3f} "
            f"| {log_loss:.3f} | {seconds:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
