"""The triangle of shares as a picture: what was measured, the fitted surface, the region, and the recommendation."""

from __future__ import annotations

import io
import itertools
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phiscale.answer import LETTERS
from phiscale.files import write_bytes
from phiscale.training_length import training
from phiscale.triangle import CostModel, Shares, active_axes, constants_from_shares, lattice
from report import series
from report.labels import Box, place_labels
from report.style import PRINTED, Ink, style, tip
from report.view import StudyView
from search.recommendation import REGION_STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Limits = tuple[float, float] | None
"""Lowest and highest score of the colour scale."""

_HEIGHT = 3**0.5 / 2
_CORNERS = {"depth": (0.0, 0.0), "width": (1.0, 0.0), "resolution": (0.5, _HEIGHT)}
_MOST_BANDS = 10
"""Bands of colour on the surface."""
_FINE = 80
"""Steps of the lattice on which the outline of the region is drawn."""
_BLUR = 0.75 / REGION_STEPS
"""Width (of a side) over which the points of the region run into each other."""
_LARGEST_DOT = 10
"""With more evaluations of a network, its dot does not grow."""
_UNIT = 264.0
"""Points (1/72 inch) of a side of the triangle, about."""
_LETTERS = 8.0
"""Size of the labels in points."""
_MARK, _EDGE, _PATH = "#c2271c", "#ffffff", "#1c1c22"
"""Marks on the coloured surface keep their colours in dark mode."""
_SHADES = ("#eef3fa", "#c3d6ee", "#8db3de", "#5489c4", "#2a5d9c")
"""Of the surface, from the poorest to the best."""


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


def triangle(view: StudyView, ink: Ink, limits: Limits = None) -> Figure:
    """The triangle; without enough networks for a surface the measured scores stand alone.

    ``limits`` are the ends of the colour scale; those of the study where None.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.7, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    _draw_frame(axes, view, ink)
    path = series.drift_path(view)
    if view.rows:
        _draw_scores(figure, axes, view, limits)
    _draw_region(axes, view)
    _draw_path(axes, path)
    _draw_labels(axes, view, path)
    if view.record:
        (x, y), *_ = plane([view.record.shares])
        star = axes.scatter(x, y, marker="*", s=230, color=_MARK, edgecolors=_EDGE, zorder=6, label="recommended")
        star.set_clip_on(False)
        star.set_gid(tip(f"recommended: {series.constants_text(view.record.constants)}"))
    figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3, columnspacing=1.2)
    return figure


def score_limits(scores: Sequence[float], direction: str) -> Limits:
    """Ends of the colour scale: the poorest tenth would take them all. None where scores are too few or equal."""
    ends = (0.1, 1.0) if direction == "maximize" else (0.0, 0.9)
    low, high = map(float, np.quantile(scores, ends)) if len(scores) > 2 else (0.0, 0.0)
    return (low, high) if low < high else None


def _draw_scores(figure: Figure, axes: Axes, view: StudyView, limits: Limits) -> None:
    """The surface, the measured networks, and the bar that says what the colours mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    scores, prediction = series.scores_at_length(view), view.prediction
    edges = _bands(view, limits or _limits(view))
    shades = _SHADES if view.direction == "maximize" else _SHADES[::-1]
    cmap = LinearSegmentedColormap.from_list("shades", shades)
    norm = BoundaryNorm(edges, cmap.N, extend="both")
    if prediction is not None:
        x, y = plane(prediction.shares).T
        if prediction.shares.all(axis=1).any():
            bands = axes.tricontourf(x, y, prediction.mean, levels=edges, cmap=cmap, norm=norm, extend="both", zorder=1)
            bands.set(edgecolor="face", linewidth=0.6)  # or the page shows through between them
        else:  # an axis does not enter the cost: the triangle is one of its sides
            axes.scatter(x, y, c=prediction.mean, s=90, marker="s", zorder=1, cmap=cmap, norm=norm)
    rows = series.networks(view)
    for at, (row, (x, y)) in enumerate(zip(rows, plane([row.shares for row in rows]), strict=True)):
        colour = _EDGE if scores is None else cmap(norm(scores[at]))  # white where of another length than the surface
        mark, size = ("D", 5.0) if series.rules_of(row.names) else ("o", 4.5 + 0.5 * min(len(row.scores), _LARGEST_DOT))
        axes.plot(
            x, y, marker=mark, markersize=size, color=colour, markeredgecolor=_PATH, markeredgewidth=0.7, zorder=4,
            clip_on=False, gid=tip(series.network_text(view, row)), linestyle="none",
        )  # fmt: skip
    _say_colours(figure, axes, view, ScalarMappable(norm, cmap), edges)


def _say_colours(figure: Figure, axes: Axes, view: StudyView, colours: ScalarMappable, edges: Array) -> None:
    label = f"{series.score_label(view)} (dark: better)"
    bar = figure.colorbar(
        colours,
        ax=axes,
        orientation="horizontal",
        shrink=0.75,
        pad=0.02,
        aspect=34,
        label=label,
        spacing="proportional",
    )
    bar.outline.set_visible(False)
    bar.ax.minorticks_off()
    ticks = edges[:: -(-len(edges) // 5)]
    bar.set_ticks(ticks.tolist(), labels=[f"{value:.3g}" for value in ticks])
    fill: dict[str, Any] = {"color": _SHADES[2], "markeredgecolor": _PATH, "markeredgewidth": 0.7, "linestyle": "none"}
    axes.plot([], [], marker="o", markersize=5.5, label="measured network", **fill)
    if any(series.rules_of(row.names) for row in series.networks(view)):
        axes.plot([], [], marker="D", markersize=5.0, label="published rule", **fill)


def _limits(view: StudyView) -> Limits:
    """Ends of the colour scale of a study; None where its scores do not differ."""
    prediction = view.prediction
    shown = series.scores_at_length(view) or ([] if prediction is None else prediction.mean.tolist())
    return score_limits(shown, view.direction)


def shared_limits(views: Sequence[StudyView]) -> Limits:
    """Ends of the colour scale for several studies; None where they measure different scores or different lengths."""
    ends = [limits for view in views if (limits := _limits(view))]
    if len({(series.score_label(view), view.direction) for view in views}) > 1 or not ends:
        return None
    return min(low for low, _ in ends), max(high for _, high in ends)


def _bands(view: StudyView, limits: Limits) -> Array:
    """Edges of the bands of colour: none is narrower than the surface's error, or it would show single trials."""
    prediction = view.prediction
    middle = statistics.fmean(row.score for row in view.rows)
    low, high = limits or (middle - 0.5, middle + 0.5)
    error = 0.0 if prediction is None else float(np.median(prediction.deviation))
    count = _MOST_BANDS if error <= 0 else int(min(max((high - low) / error, 2), _MOST_BANDS))
    return np.linspace(low, high, count + 1)


def _draw_frame(axes: Axes, view: StudyView, ink: Ink) -> None:
    """The three sides, and what each corner means."""
    corners = np.array([*_CORNERS.values(), _CORNERS["depth"]])
    axes.plot(*corners.T, color=ink.text, linewidth=1.0, zorder=3)
    ends = corner_constants(view.cost_model)
    for (name, (x, y)), (letter, end) in zip(_CORNERS.items(), ends.items(), strict=True):
        align = {"depth": "left", "width": "right"}.get(name, "center")
        text = f"{name} alone" + ("" if end is None else f"\n{letter} {end:.2f}")
        place, side = ((0, -6), "top") if y == 0 else ((0, 6), "bottom")
        axes.annotate(text, (x, y), place, textcoords="offset points", ha=align, va=side)


def corner_constants(model: CostModel) -> dict[str, float | None]:
    """The largest alpha, beta and gamma, by letter: all growth by one axis; None where it does not enter the cost."""
    found: dict[str, float | None] = {}
    for at, letter in enumerate(LETTERS):
        corner = Shares(*(1.0 if axis == at else 0.0 for axis in range(3)))
        inside = at in active_axes(model)
        found[letter] = constants_from_shares(corner, model).as_tuple()[at] if inside else None
    return found


def _draw_region(axes: Axes, view: StudyView) -> None:
    """An outline of where the best constants lie, through the middle between lattice points inside and outside."""
    if not view.record or not view.record.region:
        return
    inside = plane(view.record.region)
    points = plane(lattice(REGION_STEPS, view.cost_model))
    said = tip(f"the best constants lie inside with 90 % probability: {view.region_part} of all that are possible")
    if np.ptp(points[:, 1]) < 1e-9 or np.ptp(points @ (-_HEIGHT, 0.5)) < 1e-9:  # the triangle is one of its sides
        axes.scatter(
            inside[:, 0], inside[:, 1], s=60, marker="s", facecolors="none", edgecolors=_MARK, zorder=5, gid=said
        )
    else:
        fine = plane(lattice(_FINE, view.cost_model))
        near = np.exp(-0.5 * (np.linalg.norm(fine[:, None] - points[None], axis=2) / _BLUR) ** 2)
        among = np.exp(-0.5 * (np.linalg.norm(fine[:, None] - inside[None], axis=2) / _BLUR) ** 2)
        part = among.sum(axis=1) / near.sum(axis=1)
        levels = [min(0.5, 0.5 * float(part.max())), 2.0]
        for colour, width in ((_EDGE, 3.6), (_MARK, 1.8)):
            drawn = axes.tricontourf(fine[:, 0], fine[:, 1], part, levels=levels, colors=["none"], zorder=3.5)
            drawn.set(edgecolor=colour, linewidth=width, gid=said)
    axes.plot([], [], color=_MARK, linewidth=1.8, label="best inside (90 %)")


def _draw_path(axes: Axes, path: Sequence[series.Stop]) -> None:
    """The best shares at each length, connected, with marks that grow with the length."""
    if not path:
        return
    x, y = plane([stop.shares for stop in path]).T
    axes.plot(x, y, color=_EDGE, linewidth=3.2, zorder=5, solid_capstyle="round")
    axes.plot(x, y, color=_PATH, linewidth=1.4, zorder=5, solid_capstyle="round")
    sizes = [0 if stop.is_recommended else 16 + 10 * place for place, stop in enumerate(path)]
    label = "best at each length (images)"
    axes.scatter(x, y, s=sizes, color=_PATH, edgecolors=_EDGE, linewidths=0.9, zorder=5.5)
    axes.plot([], [], color=_PATH, linewidth=1.4, marker="o", markersize=4.5, label=label)


def _draw_labels(axes: Axes, view: StudyView, path: Sequence[series.Stop]) -> None:
    """Names of the published rules and lengths along the path, placed so that none covers another."""
    wanted = [(stop.shares, stop.label, True) for stop in path]
    for row in series.networks(view):
        rules = series.rules_of([name for name in row.names if name not in _CORNERS])
        wanted += [(row.shares, rules, False)] if rules else []
    if not wanted:
        return
    places = plane([shares for shares, _, _ in wanted])
    points = [(float(x), float(y)) for x, y in places * _UNIT]
    boxes = place_labels(points, [text for _, text, _ in wanted], _LETTERS, _marks(view, path))
    for (x, y), point, box, (_, text, is_length) in zip(places, points, boxes, wanted, strict=True):
        axes.annotate(
            text, (x, y), (box.x - point[0], box.y - point[1]), textcoords="offset points", ha="center", va="center",
            fontsize=_LETTERS, zorder=7, annotation_clip=False, weight="bold" if is_length else "normal", color=_PATH,
            bbox={"boxstyle": "round,pad=0.12", "edgecolor": "none", "alpha": 0.8, "facecolor": _EDGE},
            arrowprops={"arrowstyle": "-", "color": _PATH, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def _marks(view: StudyView, path: Sequence[series.Stop]) -> list[Box]:
    """Marks that no label should cover: measured networks, the star, and the path."""
    marks = [_square(place, 6) for place in plane([row.shares for row in series.networks(view)])]
    marks += [_square(place, 16) for place in plane([view.record.shares])] if view.record else []
    for start, end in itertools.pairwise(plane([stop.shares for stop in path])):
        marks += [_square(start + part * (end - start), 7) for part in np.linspace(0, 1, 9)]
    return marks


def _square(place: Array, side: float) -> Box:
    return Box(float(place[0]) * _UNIT, float(place[1]) * _UNIT, side, side)
