"""The triangle of shares as a picture: what was measured, the fitted surface, the region, and the recommendation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phiscale.constants import Shares
from phiscale.files import write_bytes
from report.ink import PRINTED, Ink, style
from report.series import rules_of
from report.view import StudyView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_HEIGHT = 3**0.5 / 2
_CORNERS = {"depth": (0.0, 0.0), "width": (1.0, 0.0), "resolution": (0.5, _HEIGHT)}
_LEVELS = 14
_MARK, _EDGE = "#d4351c", "#ffffff"
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
            figure.suptitle(f"{view.name}: alpha {a:.3f}, beta {b:.3f}, gamma {c:.3f}", fontsize=10)
        out = io.BytesIO()
        figure.savefig(out, format=path.suffix.lstrip("."), dpi=200)
    write_bytes(path, out.getvalue())


def triangle(view: StudyView, ink: Ink) -> Figure:
    """The triangle; without enough networks for a surface the measured scores stand alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.7, 4.9), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    _draw_frame(axes, ink)
    colours = _draw_scores(axes, view)
    _draw_region(axes, view)
    _draw_baselines(axes, view, ink)
    if view.record:
        (x, y), *_ = plane([view.record.shares])
        axes.scatter(x, y, marker="*", s=260, color=_MARK, edgecolors=_EDGE, zorder=6, label="recommended")
    if view.rows:
        phi = view.record.phi if view.record else 1.0
        label = f"{view.score_name} at phi {phi:g}"
        bar = figure.colorbar(colours, ax=axes, orientation="horizontal", shrink=0.75, pad=0.02, aspect=34, label=label)
        bar.outline.set_visible(False)
        low, high = map(float, colours.get_clim())
        ends = [float(value) for value in np.linspace(low, high, 5)]
        bar.set_ticks(ends, labels=[f"{value:.3g}" for value in ends])
        figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3, columnspacing=1.2)
    return figure


def score_limits(scores: Sequence[float], direction: str) -> tuple[float, float] | tuple[None, None]:
    """Ends of the colours: the poorest tenth would take them all."""
    ends = (0.1, 1.0) if direction == "maximize" else (0.0, 0.9)
    low, high = map(float, np.quantile(scores, ends)) if len(scores) > 2 else (0.0, 0.0)
    return (low, high) if low < high else (None, None)


def _draw_scores(axes: Axes, view: StudyView) -> Any:
    scores = np.array([row.score for row in view.rows])
    low, high = score_limits(list(scores), view.direction)
    limits: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high}
    drawn, prediction = None, view.prediction
    if prediction is not None:
        x, y = plane(prediction.shares).T
        if prediction.shares.all(axis=1).any():
            drawn = _draw_surface(axes, x, y, prediction.mean, limits)
        else:  # an axis does not enter the cost: the triangle is one of its sides
            drawn = axes.scatter(x, y, c=prediction.mean, s=90, marker="s", zorder=1, **limits)
    x, y = plane([row.shares for row in view.rows]).T
    sizes = [16 + 9 * len(row.scores) for row in view.rows]
    dots = axes.scatter(x, y, c=scores, s=sizes, edgecolors=_EDGE, linewidths=0.8, zorder=4, **limits)
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


def _draw_baselines(axes: Axes, view: StudyView, ink: Ink) -> None:
    box = {"boxstyle": "round,pad=0.15", "facecolor": ink.paper, "edgecolor": "none", "alpha": 0.8}
    for row in view.rows:
        rules = rules_of([name for name in row.names if name not in _CORNERS])
        if rules:
            (x, y), *_ = plane([row.shares])
            where = {"textcoords": "offset points", "fontsize": 7.5, "color": ink.text, "bbox": box, "zorder": 7}
            axes.annotate(rules, (x, y), (6, -3), **where)  # type: ignore[arg-type]
