"""What the study dashboard does not have by itself, stored on the study under fixed names: figures, note, record.

Refreshed by the process that serves the dashboard, not by the search: so a search pays nothing and needs none of the
dashboard's packages, and a study of any age, on any storage, from any machine, can be looked at. Nothing is written
where nothing changed; two dashboards of one study write the same.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from phiscale.published import MEASURED_RULES
from phiscale.score_text import decimals
from phiscale.training_length import training
from phiscale.triangle import Shares
from report import series
from report.page import note
from report.triangle import score_limits
from report.view import StudyView
from search.storage import set_system_attribute, system_attributes

if TYPE_CHECKING:
    from optuna import Study
    from optuna.artifacts import FileSystemArtifactStore
    from plotly.graph_objects import Figure

NOTE_END = "*Above: written by phiscale as trials finish. What you write below this line stays.*"
_INK, _ACCENT, _SECOND, _THIRD, _MUTED = "#1c1c22", "#d4351c", "#1f5fa8", "#2b7a3d", "#9a9aa4"
_COARSE = 20
"""Steps of the lattice on which the dashboard shows the surface."""


def refresh(study: Study, view: StudyView, artifacts: FileSystemArtifactStore) -> None:
    """Store the figures, the note and the record of a study as it stands."""
    from optuna_dashboard import get_note, save_note, save_plotly_graph_object

    stored = _stored_figures(study)
    for name, draw in FIGURES.items():
        figure = draw(view)
        if figure.to_json() != stored.get(name):
            save_plotly_graph_object(study, figure, graph_object_id=name)
    before = get_note(study)
    text = with_own_words(note(view), before)
    if text != before:
        save_note(study, text)
    if view.record:
        _store_record(study, view.record.to_dict(), artifacts)


def _stored_figures(study: Study) -> dict[str, str]:
    from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

    return dict(get_plotly_graph_objects(system_attributes(study)))


def with_own_words(text: str, before: str) -> str:
    """The note, with what a person wrote: all of an older note that is not ours, or what stands below ours."""
    _, ours, own = before.partition(NOTE_END)
    own = own if ours else before
    return f"{text.rstrip()}\n\n{NOTE_END}\n" + (f"\n{own.strip()}\n" if own.strip() else "")


def artifact_id(study_name: str) -> str:
    """The fixed name of the record's artifact: letters a to f, digits and hyphens, whatever the study is called."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"phiscale:{study_name}"))


def _store_record(study: Study, record: dict[str, Any], artifacts: FileSystemArtifactStore) -> None:
    name = artifact_id(study.study_name)
    artifacts.write(name, io.BytesIO(json.dumps(record, indent=2).encode()))
    about = {"artifact_id": name, "filename": "constants.json", "mimetype": "application/json", "encoding": None}
    key = f"artifacts:{name}"
    if key not in system_attributes(study):
        set_system_attribute(study, key, json.dumps(about))


def triangle(view: StudyView) -> Figure:
    """Trials by score, posterior mean, region, baselines and recommendation on the triangle of shares."""
    import plotly.graph_objects as go

    scores = series.scores_at_length(view)
    shown = scores or ([] if view.prediction is None else _plain(view, view.prediction.mean))
    low, high = score_limits(shown, view.direction)
    colours: dict[str, Any] = {"colorscale": "Viridis", "cmin": low, "cmax": high}
    bar = {"colorbar": {"title": series.score_label(view), "thickness": 12}}
    figure = go.Figure()
    if view.prediction is not None:
        grid = view.prediction.shares * _COARSE
        chosen = np.abs(grid - np.round(grid)).max(axis=1) < 1e-6
        marker: dict[str, Any] = {
            "symbol": "hexagon",
            "size": 15,
            "color": _plain(view, view.prediction.mean[chosen]),
            **colours,
            **({} if scores else bar),
        }
        places = [Shares(*map(float, shares)) for shares in view.prediction.shares[chosen]]
        figure.add_trace(_ternary(places, "posterior mean", marker, [""] * len(places), opacity=0.55))
    rows = series.networks(view)
    if rows:
        marker = {"size": [8 + 2 * min(len(row.scores), 10) for row in rows], "line": {"color": "white", "width": 1.5}}
        if scores:
            marker |= {"color": _plain(view, scores), **colours, **bar}
        else:  # of another length than the surface
            marker |= {"color": "white", "line": {"color": _INK, "width": 1.5}}
        figure.add_trace(_ternary([row.shares for row in rows], "trials", marker, [row.name for row in rows]))
    if view.record:
        marker = {"symbol": "hexagon-open", "size": 15, "color": _ACCENT}
        region = view.record.region
        figure.add_trace(_ternary(region, "90 % region", marker, [""] * len(region)))
        _add_rules(figure, view)
        _add_path(figure, view)
        marker = {"symbol": "star", "size": 20, "color": _ACCENT, "line": {"color": "white", "width": 1}}
        figure.add_trace(_ternary([view.record.shares], "recommended", marker, ["recommended"]))
    axes = {name: {"title": {"text": text}, "min": 0} for name, text in zip("abc", _AXES, strict=True)}
    figure.update_layout(ternary={"sum": 1, **{f"{key}axis": value for key, value in axes.items()}})
    of = f" for {training(view.record)}" if view.record and view.record.length else ""
    return _finish(figure, f"Triangle of shares{of}", series.networks_part(view))


_AXES = ("resolution", "depth", "width")


def _ternary(places: Iterable[Shares], name: str, marker: dict[str, Any], text: list[str], **more: Any) -> Any:
    import plotly.graph_objects as go

    shares = list(places)
    sides = {
        side: [round(getattr(place, axis), 4) for place in shares] for side, axis in zip("abc", _AXES, strict=True)
    }
    hover = "%{text}<br>depth %{b:.3f}, width %{c:.3f}, resolution %{a:.3f}<extra>" + name + "</extra>"
    plain = {"mode": "markers", "name": name, "text": text, "hovertemplate": hover, "cliponaxis": False}
    return go.Scatterternary(marker=marker, **{**sides, **plain, **more})


def _add_rules(figure: Figure, view: StudyView) -> None:
    rows = [(row, series.rules_of(row.names)) for row in series.networks(view)]
    rules = [(row, names) for row, names in rows if names]
    marker = {"symbol": "diamond-open", "size": 12, "color": _INK}
    places = [row.shares for row, _ in rules]
    names = ["" if names in _AXES else names for _, names in rules]  # the corners say which axis they are
    more = {"mode": "markers+text", "textposition": "bottom center", "textfont": {"size": 10}}
    figure.add_trace(_ternary(places, "published rules", marker, names, **more))


def _add_path(figure: Figure, view: StudyView) -> None:
    """The best shares at each training length, with marks that grow with it."""
    path = series.drift_path(view)
    if not path:
        return
    marker = {"size": [6 + 2 * place for place in range(len(path))], "color": _INK, "line": {"color": "white"}}
    sides = ["middle right" if place % 2 == 0 else "middle left" for place in range(len(path))]
    more = {"mode": "lines+markers+text", "line": {"color": _INK, "width": 2}, "textposition": sides}
    labels = [f"<b>{stop.label}</b>" for stop in path]
    figure.add_trace(_ternary([stop.shares for stop in path], "best at each length", marker, labels, **more))


def cost(view: StudyView) -> Figure:
    """Score against the counted cost of every finished trial."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for rules, colour, name in ((False, _THIRD, "searched"), (True, _SECOND, "published rules")):
        points = [point for point in series.costs(view) if bool(point.rule) == rules]
        text = [f"trial {point.trial} {point.rule}: {point.ratio:.3f} of the cost asked for" for point in points]
        x, y = [point.cost for point in points], _plain(view, (point.score for point in points))
        figure.add_trace(
            go.Scatter(x=x, y=y, text=text, mode="markers", name=name, marker={"color": colour, "size": 9})
        )
    metric = view.cost_model.metric
    figure.update_layout(xaxis={"title": f"realised cost ({metric})"}, yaxis={"title": view.score_name})
    return _finish(figure, f"{view.score_name} against realised cost", series.trials_part(view))


def growth(view: StudyView) -> Figure:
    """Counted growth of the family against ``target ** phi``."""
    import plotly.graph_objects as go

    figure, families, target = go.Figure(), series.growth(view), view.cost_model.target
    phis = [phi for phi, _ in next(iter(families.values()), [])]
    asked = [target**phi for phi in phis]
    figure.add_trace(go.Scatter(x=asked, y=asked, mode="lines", name="asked for", line={"color": _MUTED}))
    for budget, points in families.items():
        text = [f"phi {phi:g}" for phi, _ in points]
        colour = {"nominal": _SECOND, "matched": _ACCENT}[budget]
        line = {"color": colour, "dash": "dot"}
        y = [round(value, 4) for _, value in points]
        figure.add_trace(go.Scatter(x=asked, y=y, text=text, mode="lines+markers", name=budget, line=line))
    x_axis = {"title": f"{target:g}^phi", "type": "log", "tickvals": asked}
    figure.update_layout(xaxis=x_axis, yaxis={"title": "counted cost / baseline's", "type": "log"})
    return _finish(figure, f"Growth of the family against {target:g}^phi")


def curves(view: StudyView) -> Figure:
    """Score against training length: a line for every finished trial."""
    import plotly.graph_objects as go

    figure, shown, lines = go.Figure(), set(), series.curves(view)
    for curve in lines:
        name = curve.label or "other trials"
        colour = {"": _MUTED, MEASURED_RULES["paper"]: _SECOND}.get(curve.label, _ACCENT)
        figure.add_trace(
            go.Scatter(
                x=list(curve.lengths), y=_plain(view, curve.values),
                name=name, legendgroup=name, showlegend=name not in shown, mode="lines+markers",
                line={"color": colour, "width": 3 if curve.label else 1}, text=f"trial {curve.trial}",
                opacity=1.0 if curve.label else 0.5,
            )
        )  # fmt: skip
        shown.add(name)
    lengths = sorted({length for curve in lines for length in curve.lengths})
    ticks = {"tickvals": lengths, "ticktext": [series.short_length(length) for length in lengths]}
    figure.update_layout(xaxis={"title": "images seen", "type": "log", **ticks}, yaxis={"title": view.score_name})
    return _finish(figure, "Score against training length", series.trials_part(view))


FIGURES: dict[str, Callable[[StudyView], Figure]] = {
    "phiscale-triangle": triangle,
    "phiscale-cost": cost,
    "phiscale-growth": growth,
    "phiscale-curves": curves,
}
"""Fixed names under which the figures are stored, and who draws them."""


def _finish(figure: Figure, title: str, part: str = "") -> Figure:
    """Readable on the light and on the dark dashboard; without plotly's template, which is larger than the figure."""
    title += f"<br><sub>{part}</sub>" if part else ""
    figure.update_layout(
        title={"text": title}, template="none", paper_bgcolor="white", plot_bgcolor="white", font={"color": _INK},
        legend={"orientation": "h", "y": -0.22}, margin={"l": 60, "r": 30, "t": 75, "b": 40},
    )  # fmt: skip
    return figure


def _plain(view: StudyView, scores: Iterable[float]) -> list[float]:
    """Scores as short numbers: figures are stored as text in the database of the study."""
    places = decimals(view.spread, least=5)
    return [round(float(score), places) for score in scores]
