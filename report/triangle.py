"""The triangle of shares as a picture: what was measured, the fitted surface, the region, and the recommendation."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phiscale.files import write_bytes
from phiscale.training_length import training
from phiscale.triangle import Shares
from report import series
from report.labels import Box, place_labels
from report.style import PRINTED, Ink, style
from report.view import StudyView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_HEIGHT = 3**0.5 / 2
_CORNERS = {"depth": (0.0, 0.0), "width": (1.0, 0.0), "resolution": (0.5, _HEIGHT)}
_LEVELS = 14
_LARGEST_DOT = 10
"""Evaluations of a network beyond which its dot grows no more."""
_UNIT = 264.0
"""Points (1/72 inch) of a side of the triangle, about."""
_LETTERS = 7.5
"""Size of the labels in points."""
_MARK, _EDGE, _PATH = "#d4351c", "#ffffff", "#1c1c22"
"""What lies on the coloured surface keeps its colours in the dark."""


def plane(shares: Sequence[Shares] | Array) -> Array:
    """Shares (n, 3) as points in the plane (n, 2): depth lower left, width lower right, resolution at the top."""
    array = np.array([item.as_tuple() if isinstance(item, Shares) else item for item in shares]).reshape(-1, 3)
    corners: Array = np.array([_CORNERS["depth"], _CORNERS["width"], _CORNERS["resolution"]])
    return np.asarray(array @ corners)


def write_triangle(path: Path, view: StudyView) -> None:
    """Draw the triangle of a study as PNG or SVG, by the ending of ``path``. Raises ``FileError``."""
    with style(PRINTED):
        figure = triangle(view, PRINTED)
        if view.record:
            a, b, c = view.record.constants.as_tuple()
            constants = f"{view.name}: alpha {a:.3f}, beta {b:.3f}, gamma {c:.3f}"
            figure.suptitle(f"{constants}\n{textwrap.fill(f'for {training(view.record)}', 62)}", fontsize=10)
        out = io.BytesIO()
        figure.savefig(out, format=path.suffix.lstrip("."), dpi=200)
    write_bytes(path, out.getvalue())


def triangle(view: StudyView, ink: Ink) -> Figure:
    """The triangle; without enough networks for a surface the measured scores stand alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.7, 5.1), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    _draw_frame(axes, ink)
    colours = _draw_scores(axes, view)
    _draw_region(axes, view)
    path = series.drift_path(view)
    _draw_path(axes, path)
    _draw_labels(axes, view, path, ink)
    if view.record:
        (x, y), *_ = plane([view.record.shares])
        axes.scatter(x, y, marker="*", s=260, color=_MARK, edgecolors=_EDGE, zorder=6, label="recommended")
    if view.rows:
        phi = view.record.phi if view.record else 1.0
        label = f"{series.score_label(view)}, phi {phi:g}"
        bar = figure.colorbar(colours, ax=axes, orientation="horizontal", shrink=0.75, pad=0.02, aspect=34, label=label)
        bar.outline.set_visible(False)
        low, high = map(float, colours.get_clim())
        ends = [float(value) for value in np.linspace(low, high, 5)]
        bar.set_ticks(ends, labels=[f"{value:.3g}" for value in ends])
        figure.legend(loc="outside lower center", ncols=2 if path else 3, handletextpad=0.3, columnspacing=1.2)
    return figure


def score_limits(scores: Sequence[float], direction: str) -> tuple[float, float] | tuple[None, None]:
    """Ends of the colours: the poorest tenth would take them all."""
    ends = (0.1, 1.0) if direction == "maximize" else (0.0, 0.9)
    low, high = map(float, np.quantile(scores, ends)) if len(scores) > 2 else (0.0, 0.0)
    return (low, high) if low < high else (None, None)


def _draw_scores(axes: Axes, view: StudyView) -> Any:
    scores, prediction = series.scores_at_length(view), view.prediction
    shown = scores or ([] if prediction is None else prediction.mean.tolist())
    low, high = score_limits(shown, view.direction)
    limits: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high}
    drawn = None
    if prediction is not None:
        x, y = plane(prediction.shares).T
        if prediction.shares.all(axis=1).any():
            drawn = _draw_surface(axes, x, y, prediction.mean, limits)
        else:  # an axis does not enter the cost: the triangle is one of its sides
            drawn = axes.scatter(x, y, c=prediction.mean, s=90, marker="s", zorder=1, **limits)
    rows = series.networks(view)
    x, y = plane([row.shares for row in rows]).T
    sizes = [16 + 9 * min(len(row.scores), _LARGEST_DOT) for row in rows]
    fill: dict[str, Any] = {"c": scores, "edgecolors": _EDGE, **limits}
    if scores is None:  # of another length than the surface
        fill = {"color": _EDGE, "edgecolors": _PATH}
    dots = axes.scatter(x, y, s=sizes, linewidths=0.8, zorder=4, **fill)
    dots.set_clip_on(False)
    dots.set_label("measured")
    return drawn or dots


def _draw_surface(axes: Axes, x: Array, y: Array, mean: Array, limits: dict[str, Any]) -> Any:
    low, high = limits["vmin"], limits["vmax"]
    low, high = (float(mean.min()), float(mean.max())) if low is None else (low, high)
    if not low < high:
        low, high = low - 0.5, low + 0.5
    levels = np.linspace(low, high, _LEVELS)
    return axes.tricontourf(x, y, mean, levels=levels, cmap="viridis", extend="both", zorder=1)


def _draw_frame(axes: Axes, ink: Ink) -> None:
    corners = np.array([*_CORNERS.values(), _CORNERS["depth"]])
    axes.plot(*corners.T, color=ink.text, linewidth=1.0, zorder=3)
    for name, (x, y) in _CORNERS.items():
        place = (0, -13 if y == 0 else 5)
        align = {"depth": "left", "width": "right"}.get(name, "center")
        axes.annotate(f"all {name}", (x, y), place, textcoords="offset points", ha=align)


def _draw_region(axes: Axes, view: StudyView) -> None:
    if view.record and view.record.region:
        x, y = plane(view.record.region).T
        axes.scatter(x, y, s=26, marker="h", facecolors="none", edgecolors=_MARK, zorder=5, label="90 % region")


def _draw_path(axes: Axes, path: Sequence[series.Stop]) -> None:
    """The best shares at each length, connected, with marks that grow with the length."""
    if not path:
        return
    x, y = plane([stop.shares for stop in path]).T
    axes.plot(x, y, color=_EDGE, linewidth=3.2, zorder=5, solid_capstyle="round")
    axes.plot(x, y, color=_PATH, linewidth=1.4, zorder=5, solid_capstyle="round")
    sizes = [0 if stop.is_recommended else 16 + 10 * place for place, stop in enumerate(path)]
    label = "best at each length"
    axes.scatter(x, y, s=sizes, color=_PATH, edgecolors=_EDGE, linewidths=0.9, zorder=5.5)
    axes.plot([], [], color=_PATH, linewidth=1.4, marker="o", markersize=4.5, label=label)


def _draw_labels(axes: Axes, view: StudyView, path: Sequence[series.Stop], ink: Ink) -> None:
    """Names of the published rules, and lengths along the path, where none covers another."""
    wanted = [(stop.shares, stop.label, True) for stop in path]
    for row in series.networks(view):
        rules = series.rules_of([name for name in row.names if name not in _CORNERS])
        wanted += [(row.shares, rules, False)] if rules else []
    if not wanted:
        return
    places = plane([shares for shares, _, _ in wanted])
    points = [(float(x), float(y)) for x, y in places * _UNIT]
    boxes = place_labels(points, [text for _, text, _ in wanted], _LETTERS, _marks(view, path))
    paper = {"boxstyle": "round,pad=0.12", "edgecolor": "none", "alpha": 0.85}
    for (x, y), point, box, (_, text, is_length) in zip(places, points, boxes, wanted, strict=True):
        axes.annotate(
            text, (x, y), (box.x - point[0], box.y - point[1]), textcoords="offset points", ha="center", va="center",
            fontsize=_LETTERS, zorder=7, annotation_clip=False, weight="bold" if is_length else "normal",
            color=_PATH if is_length else ink.text,
            bbox={**paper, "facecolor": _EDGE if is_length else ink.paper},
            arrowprops={"arrowstyle": "-", "color": _PATH, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def _marks(view: StudyView, path: Sequence[series.Stop]) -> list[Box]:
    """What no label should cover: measured networks, the star, and the path."""
    marks = [_square(place, 6) for place in plane([row.shares for row in series.networks(view)])]
    marks += [_square(place, 16) for place in plane([view.record.shares])] if view.record else []
    for start, end in itertools.pairwise(plane([stop.shares for stop in path])):
        marks += [_square(start + part * (end - start), 7) for part in np.linspace(0, 1, 9)]
    return marks


def _square(place: Array, side: float) -> Box:
    return Box(float(place[0]) * _UNIT, float(place[1]) * _UNIT, side, side)
