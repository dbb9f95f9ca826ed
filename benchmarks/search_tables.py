"""Tables from the rows that ``benchmarks.bench_search`` wrote."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

Row = dict[str, str]
OURS = "phiscale-gp"


def print_tables(path: Path) -> None:
    """Regret compared with phiscale's, how often phiscale's statements are true, and time, as Markdown."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    print(
        "\n### Mean regret, % of the range, without flat landscapes; difference to phiscale-gp with its 95 % interval\n"
    )
    _print_regret(rows)
    print("\n### phiscale-gp: parts of runs in which its 90 % interval and region hold, and with a false claim\n")
    _print_truth(rows, lambda row: f"{float(row['noise']):.0%}")
    print("\n### The same by kind of landscape\n")
    _print_truth(rows, lambda row: row["kind"])
    print("\n### Milliseconds per trial of asking: median\n")
    _print_times(rows)


def _by(rows: Iterable[Row], key: Callable[[Row], tuple[str, ...]]) -> dict[tuple[str, ...], list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _print_regret(rows: list[Row]) -> None:
    runs = {(r["competitor"], r["noise"], r["trials"], r["kind"], r["seed"]): 100 * float(r["regret"]) for r in rows}
    competitors = list(dict.fromkeys(row["competitor"] for row in rows))
    print("| noise | trials | competitor | regret | phiscale-gp on the same | difference | runs |\n|" + "---|" * 7)
    for (noise, trials), _ in sorted(_by(rows, lambda row: (row["noise"], row["trials"])).items()):
        for name in competitors:
            keys = [key for key in runs if key[:3] == (name, noise, trials) and key[3] != "flat"]
            pairs = np.array([(runs[key], runs[OURS, *key[1:]]) for key in keys if (OURS, *key[1:]) in runs])
            if not len(pairs):
                continue
            less = pairs[:, 1] - pairs[:, 0]
            reach = 1.96 * float(less.std()) / math.sqrt(len(less))
            difference = "" if name == OURS else f"{less.mean():+.2f} +- {reach:.2f}"
            means = f"{pairs[:, 0].mean():.2f} | {pairs[:, 1].mean():.2f}"
            print(f"| {float(noise):.0%} | {trials} | {name} | {means} | {difference} | {len(pairs)} |")


def _print_truth(rows: list[Row], group: Callable[[Row], str]) -> None:
    print("| | trials | interval | half width | region | within one step | its part | claims | any false | runs |")
    print("|" + "---|" * 10)
    said = [row for row in rows if row["competitor"] == OURS and row["holds"]]
    for (name, _), chosen in sorted(_by(said, lambda row: (group(row), f"{int(row['trials']):4d}")).items()):
        columns = ("holds", "half_width", "region_holds", "region_near", "region_part", "claims")
        means = [f"{np.mean([float(row[column]) for row in chosen]):.2f}" for column in columns]
        false = np.mean([float(row["false_claims"]) > 0 for row in chosen])
        print(f"| {name} | {chosen[0]['trials']} | " + " | ".join(means) + f" | {false:.2f} | {len(chosen)} |")


def _print_times(rows: list[Row]) -> None:
    print("| competitor | trials | ms |\n|---|---|---|")
    for (name, _), chosen in sorted(_by(rows, lambda row: (row["competitor"], f"{int(row['trials']):4d}")).items()):
        times = [1000 * float(row["seconds_per_trial"]) for row in chosen]
        print(f"| {name} | {chosen[0]['trials']} | {np.median(times):.1f} |")
