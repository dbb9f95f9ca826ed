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
from phiscale.record import SearchRecord
from search.measurements import Measurement
from search.recommend import Prediction
from search.settings import BASELINE_RULES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_HEIGHT = 3**0.5 / 2
_CORNERS = {"depth": (0.0, 0.0), "width": (1.0, 0.0), "resolution": (0.5, _HEIGHT)}


def plane(shares: Sequence[Shares] | Array) -> Array:
    """Shares (n, 3) as points in the plane (n, 2): depth lower left, width lower right, resolution at the top."""
    array = np.array([item.as_tuple() if isinstance(item, Shares) else item for item in shares]).reshape(-1, 3)
    corners: Array = np.array([_CORNERS["depth"], _CORNERS["width"], _CORNERS["resolution"]])
    return np.asarray(array @ corners)


def write_triangle(
    path: Path, record: SearchRecord, rows: Sequence[Measurement], prediction: Prediction | None
) -> None:
    """Draw the triangle of a study as PNG or SVG, by the ending of ``path``.

    ``prediction`` is the surface on a lattice; without it the measured scores stand alone. Raises ``FileError``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    colours = _draw_scores(axes, rows, prediction, record.direction)
    _draw_frame(axes)
    _draw_region(axes, record)
    _draw_baselines(axes, rows)
    (x, y), *_ = plane([record.shares])
    axes.scatter(x, y, marker="*", s=400, color="#d4351c", edgecolors="white", zorder=6, label="recommended")
    a, b, c = record.constants.as_tuple()
    axes.set_title(f"{record.study}: alpha {a:.3f}, beta {b:.3f}, gamma {c:.3f}", fontsize=12)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    figure.colorbar(colours, ax=axes, shrink=0.6, label=f"{record.score_name} at phi {record.phi:g}")
    out = io.BytesIO()
    figure.savefig(out, format=path.suffix.lstrip("."), dpi=140)
    write_bytes(path, out.getvalue())


def _draw_scores(axes: Axes, rows: Sequence[Measurement], prediction: Prediction | None, direction: str) -> Any:
    scores = np.array([row.score for row in rows])
    ends = (0.1, 1.0) if direction == "maximize" else (0.0, 0.9)  # the poorest scores would take all the colours
    low, high = map(float, np.quantile(scores, ends)) if len(rows) > 2 else (None, None)
    points = plane([row.shares for row in rows])
    drawn: Any = None
    if prediction is not None:
        x, y = plane(prediction.shares).T
        limits: dict[str, Any] = {"cmap": "viridis", "vmin": low, "vmax": high, "zorder": 1}
        if prediction.shares.all(axis=1).any():
            drawn = axes.tripcolor(x, y, prediction.mean, shading="gouraud", **limits)
        else:  # an axis does not enter the cost: the triangle is one of its sides
            drawn = axes.scatter(x, y, c=prediction.mean, s=120, marker="s", **limits)
    dots = axes.scatter(
        points[:, 0],
        points[:, 1],
        c=scores,
        s=[26 + 14 * len(row.scores) for row in rows],
        cmap="viridis",
        vmin=low,
        vmax=high,
        edgecolors="white",
        linewidths=0.8,
        zorder=4,
        label="measured",
    )
    return drawn or dots


def _draw_frame(axes: Axes) -> None:
    corners = np.array([*_CORNERS.values(), _CORNERS["depth"]])
    axes.plot(*corners.T, color="#333333", linewidth=1.2, zorder=3)
    for name, (x, y) in _CORNERS.items():
        below = y == 0
        axes.annotate(
            f"all {name}", (x, y), (0, -14 if below else 8), textcoords="offset points", ha="center", fontsize=10
        )


def _draw_region(axes: Axes, record: SearchRecord) -> None:
    if record.region:
        x, y = plane(record.region).T
        axes.scatter(
            x,
            y,
            s=42,
            marker="h",
            facecolors="none",
            edgecolors="#d4351c",
            linewidths=1.0,
            zorder=5,
            label="90 % region",
        )


def _draw_baselines(axes: Axes, rows: Sequence[Measurement]) -> None:
    for row in rows:
        names = [name for name in row.names if name in BASELINE_RULES and name not in _CORNERS]
        if names:
            (x, y), *_ = plane([row.shares])
            axes.annotate(
                ", ".join(names), (x, y), (6, -3), textcoords="offset points", fontsize=8, color="white", zorder=7
            )
