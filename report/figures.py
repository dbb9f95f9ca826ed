"""All figures of the report except the triangle, each as wide as a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phiscale.cost import COUNTED
from phiscale.leads import leads
from phiscale.matching import MATCH_TOLERANCE
from phiscale.published import MEASURED_RULES
from phiscale.training_length import is_measured
from report import series
from report.style import VARIABLE, Ink, inline_svg, style, tip
from report.triangle import Limits, triangle
from report.view import StudyView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 4.7
_LABELLED = {"recommended": "the recommendation", **MEASURED_RULES}


@dataclass(frozen=True)
class Drawing:
    """A figure of the page."""

    svg: str
    caption: str


def drawings(view: StudyView) -> dict[str, Drawing]:
    """Every figure that the study has data for, by its name."""
    found = {}
    with style(VARIABLE):
        for name, (draw, title, caption) in _FIGURES.items():
            figure = draw(view, VARIABLE)
            if figure is not None:
                found[name] = Drawing(inline_svg(figure, name, title, caption), caption)
    return found


def compared_triangle(view: StudyView, number: int, limits: Limits) -> Drawing | None:
    """The triangle of one of several studies on a page; ``limits`` are the ends of the colour scale for all of them."""
    if not view.rows:
        return None
    _, title, caption = _FIGURES["triangle"]
    with style(VARIABLE):
        svg = inline_svg(triangle(view, VARIABLE, limits), f"triangle-{number}", f"{title}: {view.name}", caption)
    return Drawing(svg, caption)


def _axes(height: float, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.35, linewidth=0.6)
    axes.set_xlabel(x)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_ylabel(y)
    return figure, axes


def draw_triangle(view: StudyView, ink: Ink) -> Figure | None:
    """The triangle of shares; None without a finished trial."""
    return triangle(view, ink) if view.rows else None


def draw_baselines(view: StudyView, ink: Ink) -> Figure | None:
    """Scores of the published rules and the expected score of the recommendation, with their 90 % intervals."""
    record = view.record
    if record is None or not record.baselines:
        return None
    expected = record.expected if is_measured(record) else None
    rules = sorted(leads(record), key=lambda lead: view.sign * lead.score)
    figure, axes = _axes(0.9 + 0.3 * (len(rules) + 1), series.score_label(view, measured=True), "")
    for place, lead in enumerate(rules):
        drawn = axes.errorbar(
            lead.score, place, xerr=lead.error or 0, fmt="D", color=ink.second, capsize=2.5, markersize=5
        )
        drawn[0].set_gid(tip(f"{lead.name}: {view.score(lead.score)}; {series.constants_text(lead.constants)}"))
    names = [lead.name for lead in rules]
    if expected:
        e, top = expected, len(rules)
        names.append("recommended (expected)")
        error = [[e.score - e.low], [e.high - e.score]]
        axes.errorbar(e.score, top, xerr=error, fmt="*", color=ink.accent, capsize=2.5, markersize=11)
        axes.axvspan(e.low, e.high, color=ink.accent, alpha=0.12, linewidth=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="y")
    return figure


def draw_lengths(view: StudyView, ink: Ink) -> Figure | None:
    """Score against training length: a line for every finished trial, and the recommendation at its length."""
    curves = series.curves(view)
    if not curves:
        return None
    figure, axes = _axes(2.9, "images seen", view.score_name)
    shown: set[str] = set()
    for curve in curves:
        colour = {"": ink.muted, MEASURED_RULES["paper"]: ink.second}.get(curve.label, ink.accent)
        label = curve.label or "other trials"
        axes.plot(
            curve.lengths,
            curve.values,
            color=colour,
            alpha=1.0 if curve.label else 0.45,
            linewidth=2.0 if curve.label else 0.8,
            marker="o",
            markersize=4 if curve.label else 2,
            zorder=3 if curve.label else 2,
            label=None if label in shown else label,
            gid=tip(series.curve_text(view, curve)),
        )
        shown.add(label)
    lengths = {length for curve in curves for length in curve.lengths} | _draw_expected(axes, view, ink)
    _length_axis(axes, sorted(lengths))
    _legend_above(figure, columns=2)
    return figure


def _draw_expected(axes: Axes, view: StudyView, ink: Ink) -> set[int]:
    """Draw the expected score of the recommendation at its length, and return that length."""
    record = view.record
    if record is None or record.length is None or record.expected is None:
        return set()
    e, images = record.expected, record.length.images
    error = [[e.score - e.low], [e.high - e.score]]
    axes.errorbar(
        images, e.score, yerr=error, fmt="*", color=ink.accent, capsize=2.5, markersize=11, zorder=4,
        markeredgecolor=ink.paper, label="recommended (expected)",
    )  # fmt: skip
    return {images}


def _length_axis(axes: Axes, lengths: Sequence[int]) -> None:
    """A logarithmic axis of images seen, with a tick at each length unless labels would touch."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log", base=2)
    axes.set_xlim(lengths[0] / 1.3, lengths[-1] * 1.3)
    ticks = [lengths[-1]]
    for length in reversed(lengths):
        if ticks[-1] / length >= (lengths[-1] / lengths[0]) ** 0.1 * 1.2:
            ticks.append(length)
    axes.set_xticks(ticks[::-1], [series.short_length(length) for length in ticks[::-1]])
    axes.xaxis.set_minor_locator(NullLocator())


def draw_costs(view: StudyView, ink: Ink) -> Figure | None:
    """Score against realised cost over the cost asked for; None where all networks cost what was asked for."""
    points = series.costs(view)
    if not points or series.costs_are_equal(view):
        return None
    figure, axes = _axes(2.9, "counted cost / cost asked for", view.score_name)
    axes.axvspan(1 - MATCH_TOLERANCE, 1 + MATCH_TOLERANCE, color=ink.muted, alpha=0.18, linewidth=0, label="within 2 %")
    for point in points:
        colour, mark = (ink.second, "D") if point.rule else (ink.third, "o")
        said = f"trial {point.trial} {point.rule}: {view.score(point.score)}, {point.ratio:.3f} of the cost asked for"
        axes.plot(point.ratio, point.score, marker=mark, markersize=5, color=colour, linestyle="none", gid=tip(said))
    axes.plot([], [], marker="o", markersize=5, color=ink.third, linestyle="none", label="searched")
    axes.plot([], [], marker="D", markersize=5, color=ink.second, linestyle="none", label="published rules")
    _legend_above(figure)
    return figure


def draw_growth(view: StudyView, ink: Ink) -> Figure | None:
    """Counted growth of the family against ``target ** phi``."""
    growth = series.growth(view)
    if not growth:
        return None
    figure, axes = _axes(2.9, "phi", "cost / baseline's cost")
    phis = [phi for phi, _ in next(iter(growth.values()))]
    target = view.cost_model.target
    axes.plot(
        phis,
        [target**phi for phi in phis],
        color=ink.muted,
        linewidth=1.2,
        label=f"asked for: {target:g} to the power phi",
    )
    marks = {"nominal": ("s", ink.second, "by the formula"), "matched": ("o", ink.accent, "matched cost")}
    for budget, points in growth.items():
        mark, colour, label = marks[budget]
        axes.plot(*zip(*points, strict=True), marker=mark, markersize=4.5, color=colour, linestyle=":", label=label)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.locator_params(axis="x", integer=True)
    _legend_above(figure)
    return figure


def draw_confirmed(view: StudyView, ink: Ink) -> Figure | None:
    """Score on unseen images against cost, for the family of every rule."""
    families = series.confirmed(view)
    if not families:
        return None
    cost = f"{_metric(view)} of the networks (counted)"
    figure, axes = _axes(3.3, cost, f"{view.score_name} on unseen images")
    ordered = sorted(families.items(), key=lambda item: (item[0] == "recommended", item[0] == "paper"))
    for name, points in ordered:
        colour = {"recommended": ink.accent, "paper": ink.second}.get(name, ink.muted)
        strong = colour != ink.muted
        x, y, error = zip(*points, strict=True)
        label = _LABELLED.get(name, name) if strong else ("other rules" if name == ordered[0][0] else None)
        drawn = axes.errorbar(
            x, y, yerr=error if strong and any(error) else None, color=colour, marker="o", markersize=4, capsize=2.5,
            linewidth=1.8 if strong else 0.8, alpha=1.0 if strong else 0.6, label=label,
        )  # fmt: skip
        drawn[0].set_gid(tip(f"{_LABELLED.get(name, name)}: {', '.join(view.score(score) for score in y)}"))
    axes.set_xscale("log", base=2)
    costs = sorted({cost for points in families.values() for cost, _, _ in points})
    _cost_axis(axes, costs)
    _legend_above(figure)
    return figure


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    """Ticks at whole doublings from the smallest cost, which need not be powers of two."""
    from matplotlib.ticker import NullLocator

    ticks = [costs[0]]
    while ticks[-1] * 2 <= costs[-1] * 1.05:
        ticks.append(ticks[-1] * 2)
    axes.set_xticks(ticks, [_short(value) for value in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _metric(view: StudyView) -> str:
    return COUNTED[view.cost_model.shown].words


def _short(value: float) -> str:
    from phiscale.family import short_number

    return short_number(float(f"{value:.2g}")).replace(" ", "\u202f")


def _legend_above(figure: Figure, columns: int = 3) -> None:
    figure.legend(loc="outside upper center", ncols=columns, handletextpad=0.4, columnspacing=1.2)


_FIGURES = {
    "triangle": (
        draw_triangle,
        "The triangle of shares",
        (
            "Each place is one way to share a growth step; at a corner one axis takes all of it. Red outline: the "
            "best constants lie inside with 90 % probability. Larger dots: more trainings. Colours show the fitted "
            "score; steps smaller than its error are not drawn."
        ),
    ),
    "baselines": (
        draw_baselines,
        "Published rules and the recommendation",
        "Scores at the same counted cost, with 90 % intervals; the band is the interval of the recommendation.",
    ),
    "confirmed": (
        draw_confirmed,
        "Score on unseen images against cost",
        "Families grown by each rule, trained with fresh seeds; bars are one standard deviation over the seeds.",
    ),
    "lengths": (
        draw_lengths,
        "Score against training length",
        "One line per finished trial, scored after cooldowns of the learning rate; bar of the star: 90 % interval.",
    ),
    "costs": (
        draw_costs,
        "Score against realised cost",
        "One mark per finished trial: what its network really costs, counted, over what was asked for.",
    ),
    "growth": (
        draw_growth,
        "Growth of the family",
        "Counted cost of the family's members over the baseline's, against the growth that was asked for.",
    ),
}
FIGURES: Sequence[str] = tuple(_FIGURES)
"""Names of all figures, in the order of the page."""
