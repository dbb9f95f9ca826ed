"""Tables and a figure from the rows that ``benchmarks.bench_search`` wrote."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

Rows = dict[tuple[str, float, int, str], list[dict[str, str]]]
"""(landscape, noise, trials, competitor) -> rows, one per seed."""


def read_rows(path: Path) -> Rows:
    """The rows by landscape, noise, trials and competitor."""
    groups: Rows = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            groups[row["landscape"], float(row["noise"]), int(row["trials"]), row["competitor"]].append(row)
    return groups


def print_tables(path: Path) -> None:
    """Median regret (in % of the range, with quartiles), region, and time, as Markdown; draws the figure beside it."""
    groups = read_rows(path)
    noises = sorted({key[1] for key in groups})
    for noise in noises:
        print(f"\n### Regret, % of the range, at noise {noise:.1%}: median (quartiles), seeds\n")
        _print_regret(groups, noise)
    print("\n### phiscale's 90 % region: part of runs in which it holds the optimum, and its part of the triangle\n")
    _print_regions(groups)
    print("\n### Milliseconds per trial: asking, storing, and the recommendation's part\n")
    _print_times(groups)
    draw(groups, path.with_suffix(".png"))


def _print_regret(groups: Rows, noise: float) -> None:
    competitors = list(dict.fromkeys(key[3] for key in groups if key[1] == noise))
    print("| landscape | trials | " + " | ".join(competitors) + " |")
    print("|---|---|" + "---|" * len(competitors))
    for landscape, trials in sorted({(key[0], key[2]) for key in groups if key[1] == noise}):
        cells = [_cell(groups.get((landscape, noise, trials, name), [])) for name in competitors]
        print(f"| {landscape} | {trials} | " + " | ".join(cells) + " |")


def _cell(rows: list[dict[str, str]]) -> str:
    if not rows:
        return "-"
    low, middle, high = np.percentile([100 * float(row["regret"]) for row in rows], (25, 50, 75))
    return f"{middle:.2f} ({low:.2f}-{high:.2f}), {len(rows)}"


def _print_regions(groups: Rows) -> None:
    print("| landscape | noise | trials | competitor | holds | part | seeds |\n|---|---|---|---|---|---|---|")
    for (landscape, noise, trials, competitor), rows in sorted(groups.items()):
        known = [row for row in rows if row["region_holds"]]
        if known:
            holds = np.mean([int(row["region_holds"]) for row in known])
            part = np.median([float(row["region_part"]) for row in known])
            print(f"| {landscape} | {noise:.1%} | {trials} | {competitor} | {holds:.2f} | {part:.3f} | {len(known)} |")


def _print_times(groups: Rows) -> None:
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    for (_, _, trials, competitor), rows in groups.items():
        times[competitor, trials] += [1000 * float(row["seconds_per_trial"]) for row in rows]
    print("| competitor | trials | median ms |\n|---|---|---|")
    for (competitor, trials), values in sorted(times.items()):
        print(f"| {competitor} | {trials} | {np.median(values):.1f} |")


def draw(groups: Rows, path: Path) -> None:
    """Median regret against trials, one panel per landscape and noise."""
    from matplotlib.figure import Figure

    landscapes, noises = sorted({key[0] for key in groups}), sorted({key[1] for key in groups})
    competitors = sorted({key[3] for key in groups})
    figure = Figure(figsize=(3.4 * len(landscapes), 3.2 * len(noises)), layout="constrained")
    panels: Any = figure.subplots(len(noises), len(landscapes), squeeze=False, sharex=True)
    for row, noise in enumerate(noises):
        for column, landscape in enumerate(landscapes):
            axes = panels[row][column]
            for index, competitor in enumerate(competitors):
                points = [
                    (trials, max(1e-3, 100 * float(np.median([float(r["regret"]) for r in rows]))))
                    for (place, level, trials, name), rows in sorted(groups.items())
                    if (place, level, name) == (landscape, noise, competitor)
                ]
                if points:
                    axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=f"C{index}", label=competitor)
            axes.set_yscale("log")
            axes.set_title(f"{landscape}, noise {noise:.1%}", fontsize=9)
    panels[0][0].set_ylabel("median regret, % of the range")
    shown = {line.get_label(): line for axes in panels.flat for line in axes.get_lines()}  # no panel has them all
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown), fontsize=8)
    figure.savefig(path, dpi=110)
