"""The data of a study's figures as plain values: report and dashboard draw the same."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from phiscale.answer import LETTERS
from phiscale.family import short_number
from phiscale.matching import MATCH_TOLERANCE
from phiscale.published import MEASURED_RULES
from phiscale.training_length import drift_is_seen, longest_rung, rungs_of
from phiscale.triangle import ScalingConstants, Shares
from report.view import StudyView
from search.evaluation import mean_scores
from search.measurements import Measurement
from search.trial import Sizes

NEAREST = "recommended (nearest)"
"""Label of the measured network that is nearest to the recommendation."""
MOST_SHOWN = 300
"""Largest number of points or lines of one kind in a figure: more hide each other, and make pages of many megabytes."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Point:
    """One finished trial against its counted cost."""

    trial: int
    cost: float
    """By the metric of the cost model, e.g. multiply-accumulates; the growth where the cost is a formula."""
    ratio: float
    """Counted cost over the cost asked for."""
    score: float
    rule: str
    """A published rule it stands for, or nothing."""


@dataclass(frozen=True)
class Curve:
    """Score at each rung of one trial, the mean over its seeds."""

    trial: int
    lengths: tuple[int, ...]
    """Images seen, shortest first."""
    values: tuple[float, ...]
    label: str
    """Why it is highlighted; empty for the others."""


def spread(items: Sequence[Item], value: Callable[[Item], float], stands_out: Callable[[Item], object]) -> list[Item]:
    """All items; if they are many, the highlighted ones and others spread evenly over their values; in their order."""
    if len(items) <= MOST_SHOWN:
        return list(items)
    kept = {at for at, item in enumerate(items) if stands_out(item)}
    rest = sorted((at for at in range(len(items)) if at not in kept), key=lambda at: value(items[at]))
    ends = max(MOST_SHOWN - len(kept), 2) - 1
    kept |= {rest[round(step * (len(rest) - 1) / ends)] for step in range(ends + 1)} if rest else set()
    return [items[at] for at in sorted(kept)]


def part(shown: int, of: int, what: str) -> str:
    """``300 of 10,000 networks are drawn, ...``; nothing where all are."""
    return "" if shown == of else f"{shown:,} of {of:,} {what} are drawn, spread evenly over their scores"


def networks(view: StudyView) -> list[Measurement]:
    """The measured networks that a figure shows."""
    return spread(view.rows, lambda row: row.score, lambda row: rules_of(row.names))


def networks_part(view: StudyView) -> str:
    """A phrase if not all networks are shown; otherwise empty."""
    return part(len(networks(view)), len(view.rows), "networks")


def network_text(view: StudyView, row: Measurement) -> str:
    """A measured network for a tooltip: its name, score, sizes and constants."""
    trial = next((trial for trial in view.trials if trial.number == row.trials[0]), None)
    rules = ", ".join(MEASURED_RULES[name] for name in row.names if name in MEASURED_RULES)
    sizes = sizes_text(trial.sizes) if trial and trial.sizes else ""
    score = f"{view.score_name} {view.score(row.score)}"
    score += f" over {len(row.scores)} trainings" if len(row.scores) > 1 else ""
    parts = (rules, score, sizes, constants_text(row.constants), row.name.partition(" (")[0])
    return "; ".join(part for part in parts if part)


def sizes_text(sizes: Sizes) -> str:
    """``11 blocks, 1.12 times the channels, 29 x 29 pixels``."""
    depth = f"{sizes.realised.depth:.2f} times the depth" if sizes.blocks is None else f"{sizes.blocks} blocks"
    return f"{depth}, {sizes.realised.width:.2f} times the channels, {sizes.resolution} x {sizes.resolution} pixels"


def constants_text(constants: ScalingConstants) -> str:
    """``alpha 1.20, beta 1.10, gamma 1.15``."""
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(LETTERS, constants.as_tuple(), strict=True))


def costs(view: StudyView) -> list[Point]:
    """The finished trials whose network was counted, as far as a figure shows them."""
    metric, found = view.cost_model.metric, []
    for trial in view.trials:
        if trial.value is not None and trial.sizes is not None:
            sizes, rule = trial.sizes, rules_of(trial.plan.names)
            cost = sizes.growth if metric == "formula" else float(sizes.cost.by_metric(metric))
            found.append(Point(trial.number, cost, sizes.cost_ratio, trial.value, rule))
    return spread(found, lambda point: point.score, lambda point: point.rule)


def cost_range(view: StudyView) -> tuple[float, float] | None:
    """Smallest and largest counted cost of a finished trial over the cost asked for; None without networks."""
    ratios = [trial.sizes.cost_ratio for trial in view.trials if trial.value is not None and trial.sizes]
    return (min(ratios), max(ratios)) if ratios else None


def costs_are_equal(view: StudyView) -> bool:
    """Whether all networks cost what was asked for, within the tolerance of matching."""
    ends = cost_range(view)
    return ends is not None and all(abs(end - 1) <= MATCH_TOLERANCE + 1e-9 for end in ends)


def trials_part(view: StudyView) -> str:
    """A phrase if not all finished trials are shown; otherwise empty."""
    finished = sum(trial.value is not None for trial in view.trials)
    return part(min(finished, MOST_SHOWN), finished, "trials")


@dataclass(frozen=True)
class Stop:
    """A place on the path of the best shares over training length."""

    lengths: tuple[int, ...]
    """Images seen; several where the best shares stay at this place."""
    shares: Shares
    is_recommended: bool

    @property
    def label(self) -> str:
        """``20k``, or ``20k to 80k`` for several lengths."""
        first, *more = map(short_length, self.lengths)
        return f"{first} to {more[-1]}" if more else first


def short_length(images: float) -> str:
    """``160k``: a number of images for a figure."""
    return short_number(images).replace(" ", "")


def drift_path(view: StudyView) -> list[Stop]:
    """The best shares at each rung and those recommended, by rising length; nothing with fewer than two lengths.

    The recommendation takes the place of the rung that it is for. Nothing where the study sees no drift: the path
    would show noise.
    """
    record = view.record
    if record is None or record.length is None or drift_is_seen(record) is False:
        return []
    places = {rung.images: rung.optimum for rung in rungs_of(record) if rung.optimum}
    places[record.length.images] = record.shares
    stops: list[Stop] = []
    for images, shares in sorted(places.items()):
        ours = images == record.length.images
        if stops and not ours and not stops[-1].is_recommended and shares == stops[-1].shares:
            stops[-1] = Stop((*stops[-1].lengths, images), shares, is_recommended=False)
        else:
            stops.append(Stop((images,), shares, ours))
    return stops if len(places) > 1 else []


def scores_at_length(view: StudyView) -> list[float] | None:
    """The mean score of each of ``networks`` at the length that the constants are for; None where none was measured.

    They can then be compared with the fitted surface.
    """
    length = view.record.length if view.record else None
    rows = networks(view)
    if length is None or not rows or not rows[0].rungs:
        return [row.score for row in rows]
    if length.images not in rows[0].rungs:
        return None
    index = rows[0].rungs.index(length.images)
    return [statistics.fmean(scores[index] for scores in row.rung_scores) for row in rows]


def score_label(view: StudyView, *, measured: bool = False) -> str:
    """Name of the score with its length: that of the constants, or ``measured``, that of the longest rung."""
    record = view.record
    if record is None or record.length is None:
        return view.score_name
    images = longest_rung(record) if measured else record.length.images
    return f"{view.score_name} at {images:,} images seen"


def curves(view: StudyView) -> list[Curve]:
    """Scores over training length, those that stand out last: the paper's, and the one nearest to the recommendation.

    Nothing where training length plays no part.
    """
    nearest, found = _nearest(view), []
    for trial in view.trials:
        if trial.result is not None and trial.result.rungs:
            label = NEAREST if nearest and trial.number in nearest.trials else ""
            label = label or (MEASURED_RULES["paper"] if "paper" in trial.plan.names else "")
            _, by_rung = mean_scores(trial.result)
            found.append(Curve(trial.number, tuple(by_rung), tuple(by_rung.values()), label))
    found = spread(found, lambda curve: curve.values[-1], lambda curve: curve.label)
    order = ["", MEASURED_RULES["paper"]]
    return sorted(found, key=lambda curve: order.index(curve.label) if curve.label in order else len(order))


def curve_text(view: StudyView, curve: Curve) -> str:
    """A trial's scores over length for a tooltip."""
    scores = (
        f"{view.score(value)} at {short_length(at)}" for at, value in zip(curve.lengths, curve.values, strict=True)
    )
    return f"trial {curve.trial}{f', {curve.label}' if curve.label else ''}: {', '.join(scores)}"


def _nearest(view: StudyView) -> Measurement | None:
    if view.record is None:
        return None
    place = view.record.shares.as_tuple()
    return min(view.rows, key=lambda row: math.dist(row.shares.as_tuple(), place), default=None)


def rules_of(names: Sequence[str]) -> str:
    """The published rules among the names of a trial."""
    return ", ".join(name for name in names if name in MEASURED_RULES)


def growth(view: StudyView) -> dict[str, list[tuple[float, float]]]:
    """(phi, counted growth) of the family by the formula and at matched cost; empty without a family."""
    family: dict[str, Any] = view.family or {}
    return {
        budget: [(row["phi"], row["growth"]) for row in family[budget]]
        for budget in ("nominal", "matched")
        if isinstance(family.get(budget), list)
    }


def confirmed(view: StudyView) -> dict[str, list[tuple[float, float, float]]]:
    """(cost, mean score, standard deviation) by rule at every confirmed phi, by rising cost."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in view.confirmed_families:
        point = float(row[view.cost_model.shown]), float(row["mean"]), float(row["sd"] or 0)
        found.setdefault(row["name"], []).append(point)
    return {name: sorted(points) for name, points in found.items()}
