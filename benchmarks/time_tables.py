"""Table and figure from the rows that ``benchmarks.time_to_constants`` wrote."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.contestants import PLAIN, SINGLE
from benchmarks.time_to_constants import LANDSCAPES, SHAPES, TOLERANCES, WAYS, price
from phiscale.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
_QUARTILES = (0.5, 0.25, 0.75)
_SOURCE = (
    "Made by `python -m benchmarks.time_to_constants` from `{runs}` and `{prices}`; what it means and what it does not "
    "is in [docs/evidence.md](../../docs/evidence.md)."
)
_CELLS = (
    *("way", "images seen in a training", "trainings to 5 %", "core-seconds to 5 %", "got there"),
    *("core-seconds to 2 %", "got there", "runs of trainings"),
)


def write_evidence(path: Path, rows: Sequence[Row], prices: Sequence[Row]) -> str:
    """Write the page and the figure next to the CSV file, and give the text of the page."""
    parts = [
        "# Core-seconds until the recommendation is good, and stays good",
        _SOURCE.format(runs=path.name, prices=f"{path.stem}-prices.csv"),
        f"![Core-seconds to 5 % and 2 %]({path.stem}.png)",
        _price_table(prices),
    ]
    for name in _present(rows):
        chosen = [row for row in rows if row["landscape"] == name]
        parts += [f"## {name}, judged at {_horizon(chosen):,} images seen", _table(chosen, prices)]
        parts += [_horizons(chosen), _goals(chosen, prices)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_text(path.with_suffix(".md"), text)
    _figure(rows, prices).savefig(path.with_suffix(".png"), dpi=130)
    return text


def seconds_within(
    rows: Sequence[Row], prices: Sequence[Row], column: str, loop: str | None = None
) -> tuple[float, float, float]:
    """Core-seconds until within the tolerance of the column, for runs of one way and length: median and quartiles.

    A run that does not get there counts as infinite. ``loop`` is what trains, in place of the cheaper of the way's own.
    """
    way, length = WAYS[rows[0]["way"]], int(rows[0]["length"])
    each = price(prices, loop or _cheapest(prices, way.loop), length)
    median, low, high = _quartiles(rows, column)
    return each * median, each * low, each * high


def _cheapest(prices: Sequence[Row], loop: str) -> str:
    """A person's loop runs with torch's default threads or with one, whichever needs fewer core-seconds."""
    return min((PLAIN, SINGLE), key=lambda name: price(prices, name, 1)) if loop == PLAIN else loop


def _quartiles(rows: Sequence[Row], column: str) -> list[float]:
    """Median and quartiles of the numbers of trainings, each the number of a run."""
    trainings = np.array([float(row[column] or math.inf) for row in rows])
    return [float(np.quantile(trainings, part, method="inverted_cdf")) for part in _QUARTILES]


def _present(rows: Sequence[Row]) -> list[str]:
    return [name for name in LANDSCAPES if any(row["landscape"] == name for row in rows)]


def _horizon(rows: Sequence[Row]) -> int:
    return max(int(row["length"]) for row in rows)


def _runs(rows: Sequence[Row], way: str, length: int) -> list[Row]:
    return [row for row in rows if row["way"] == way and int(row["length"]) == length]


def _price_table(prices: Sequence[Row]) -> str:
    if not prices:
        return ""
    images = int(prices[0]["images"])
    rounds = len({row["round"] for row in prices})
    caption = (
        f"Core-seconds of a training of {images:,} images seen: median (lowest to highest) over {rounds} rounds. A way "
        "that trains by the plain loop pays the cheaper setting of threads. Cost grows with the length."
    )
    lines = [caption, "", f"| loop | {' | '.join(SHAPES)} |", "|---" * (1 + len(SHAPES)) + "|"]
    for loop in dict.fromkeys(row["loop"] for row in prices):
        cells = []
        for shape in SHAPES:
            found = [float(row["core_seconds"]) for row in prices if (row["loop"], row["shape"]) == (loop, shape)]
            cells.append(f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
        lines.append(f"| {loop} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _table(rows: Sequence[Row], prices: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(_CELLS)} |", "|---" * len(_CELLS) + "|"]
    for length in (_horizon(rows), _horizon(rows) // 4):
        for name, way in WAYS.items():
            runs = _runs(rows, name, length)
            if not runs:
                continue
            cells = [way.words, f"{length:,}", _spread(_quartiles(runs, "within_5"))]
            for column in ("within_5", "within_2"):
                reached = sum(bool(row[column]) for row in runs)
                cells += [_spread(seconds_within(runs, prices, column)), f"{reached / len(runs):.0%}"]
            lines.append(f"| {' | '.join(cells)} | {len(runs)} of {way.trainings} |")
    note = "Median (quartiles); a dash: not within the trainings of a run. The grid of NNI ends after its points."
    return "\n".join([*lines, "", note])


def _spread(values: Sequence[float]) -> str:
    median, low, high = (f"{value:,.0f}" if math.isfinite(value) else "-" for value in values)
    return f"{median} ({low} to {high})"


def _horizons(rows: Sequence[Row]) -> str:
    """How often the rungs up to a quarter of the horizon are said to determine it."""
    length = _horizon(rows) // 4
    lines = []
    for name, way in WAYS.items():
        said = [int(row["determined"]) for row in _runs(rows, name, length) if row["determined"] != ""]
        if said:
            lines.append(
                f"{way.words}, up to {length:,}: after {way.trainings} trainings the horizon is called determined in "
                f"{statistics.fmean(said):.0%} of {len(said)} runs; else the constants are those of the longest rung."
            )
    return "\n\n".join(lines)


def _goals(rows: Sequence[Row], prices: Sequence[Row]) -> str:
    """Ratios of median core-seconds to 5 %, with their goals."""
    far, near = _horizon(rows), _horizon(rows) // 4
    compared = (
        ("phiscale-rungs", far, "tpe", far, " (goal: 1/15)"),
        ("phiscale-rungs", near, "tpe", far, " (goal: 1/15)"),
        ("phiscale-rungs", near, "phiscale", far, " (goal: 1/3)"),
        ("phiscale-rungs", near, "phiscale", near, ""),
        ("phiscale-rungs-free", far, "tpe", far, ""),
        ("phiscale-rungs-free", near, "phiscale-free", far, ""),
        ("phiscale-rungs-free", near, "botorch", far, ""),
        ("phiscale-rungs-free", near, "gp-boxes", far, ""),
    )
    lines = ["To 5 %, ratios of median core-seconds:", ""]
    for ours, length, theirs, their_length, goal in compared:
        mine, other = _runs(rows, ours, length), _runs(rows, theirs, their_length)
        if not (mine and other):
            continue
        needed = seconds_within(mine, prices, "within_5")[0]
        words = f"- {WAYS[ours].words} up to {length:,} over {WAYS[theirs].words} at {their_length:,}"
        ratios = [_ratio(needed, seconds_within(other, prices, "within_5")[0]) + goal]
        if WAYS[theirs].loop == PLAIN and math.isfinite(price(prices, PLAIN, 1)):
            default = seconds_within(other, prices, "within_5", PLAIN)[0]
            ratios.append(f"{_ratio(needed, default)} with torch's default threads")
        lines.append(f"{words}: {'; '.join(ratios)}")
    return "\n".join(lines)


def _ratio(mine: float, theirs: float) -> str:
    if not math.isfinite(mine):
        return "none, half of its runs do not stay there"
    if not math.isfinite(theirs):
        return "0, half of the other's runs do not stay there"
    return f"1/{theirs / mine:.1f}" if mine < theirs else f"{mine / theirs:.1f}"


def _figure(rows: Sequence[Row], prices: Sequence[Row]) -> Figure:
    """Median core-seconds with quartiles of every way, an axis a landscape."""
    from matplotlib.figure import Figure

    from report.style import PRINTED, style

    with style(PRINTED):
        names = _present(rows)
        figure = Figure(figsize=(8.2, 4.6 * max(1, len(names))), layout="constrained")
        for axes, name in zip(np.atleast_1d(figure.subplots(max(1, len(names)), squeeze=True)), names, strict=False):
            chosen = [row for row in rows if row["landscape"] == name]
            far = _horizon(chosen)
            bars = [(way, length) for length in (far // 4, far) for way in reversed(WAYS) if _runs(chosen, way, length)]
            for column, tolerance, colour, shift in zip(
                ("within_5", "within_2"), TOLERANCES, (PRINTED.accent, PRINTED.second), (0.13, -0.13), strict=True
            ):
                for at, (way, length) in enumerate(bars):
                    median, low, high = seconds_within(_runs(chosen, way, length), prices, column)
                    if math.isfinite(low):
                        end = (
                            high
                            if math.isfinite(high)
                            else WAYS[way].trainings * price(prices, _cheapest(prices, WAYS[way].loop), length)
                        )
                        axes.plot([low, end], [at + shift] * 2, color=colour, linewidth=2)
                    if math.isfinite(median):
                        axes.plot(median, at + shift, "o", color=colour)
                axes.plot([], [], "o-", color=colour, label=f"to {tolerance:.0%} of the range")
            axes.set_yticks(range(len(bars)), [f"{WAYS[way].words}; {length:,}" for way, length in bars], fontsize=7)
            axes.set_xscale("log")
            axes.set_xlabel("core-seconds, median and quartiles (no dot: reached by less than half)", fontsize=8)
            axes.set_title(f"{name}, judged at {far:,} images seen", fontsize=9)
            axes.legend(fontsize=7)
    return figure
