"""What the rungs of a study predicted for its horizon, against trainings of that length, as Markdown and a figure.

Run: phiscale search --study cifar10-lattice --data cifar-10 --method lattice --step 0.16667 --seeds 3 \
         --baselines none --workers 2 --train.images-seen 160000 --train.validation-images 5000 --horizon-images 640000
     phiscale confirm --study cifar10-lattice --phis 2 --seeds 3 --workers 2
     python -m benchmarks.length_evidence --study cifar10-lattice

The study is resumed with its horizon, confirmed there, and summed up in results/evidence/STUDY.md and .png: the optimum
and the noise at every rung, the hindcast, predicted and measured scores of every rule at the horizon, and the same for
the differences between rules.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from phiscale.errors import StudyError
from phiscale.files import write_text
from phiscale.published import MEASURED_RULES, PUBLISHED_RULES
from phiscale.record import SearchRecord
from phiscale.training_length import training
from phiscale.triangle import Multipliers, ScalingConstants, shares_of_direction
from report.view import StudyView
from scripts.shared.console import run_command
from scripts.shared.rivals import OURS
from scripts.shared.studies import StudyOptions
from search.aim import aim_of
from search.horizon import Scale
from search.recommendation import as_array, surface_at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Z90 = 1.6449
_OLD = "width"
"""The rule that the study of 12,000 images seen recommended."""


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """Options of the benchmark."""

    place: Annotated[StudyOptions, tyro.conf.arg(name="")]
    """Which study: confirmed at its horizon."""


@dataclass(frozen=True)
class Rule:
    """A rule at the horizon."""

    name: str
    note: str
    predicted: float
    low: float
    high: float
    mean: float
    deviation: float
    seeds: int


def main() -> int:
    """The command."""
    return run_command(EvidenceOptions, evidence, __doc__ or "", "benchmarks.length_evidence")


def evidence(options: EvidenceOptions) -> None:
    """Write the page and the figure."""
    view = options.place.look()
    record = view.record
    if record is None or record.length is None or view.confirmation is None:
        raise StudyError("expected a confirmed study with rungs; run phiscale confirm first")
    length = int(view.confirmation["length"]["images"])
    rules, covered = _rules(view, record, length)
    pairs = len(rules) * (len(rules) - 1) // 2
    differences = (
        f"Of the {pairs} differences between two rules, {covered:.0%} lie inside the 90 % interval predicted for them, "
        "with the noise of the measured means included."
    )
    title = f"# {view.name}: what the rungs predicted for {length:,} images seen, and what was measured there"
    parts = [title, _setting(view, record), _rungs(record), _hindcast(record), _table(rules, length), differences]
    text = "\n\n".join(parts)
    folder = Path("results/evidence")
    write_text(folder / f"{view.name}.md", text + "\n")
    _figure(view, record, rules, length).savefig(folder / f"{view.name}.png", dpi=130)
    print(text)


def _setting(view: StudyView, record: SearchRecord) -> str:
    a, b, c = record.constants.as_tuple()
    evaluations, rungs = record.budget["evaluations"], view.rows[0].rungs
    part = record.details.get("region_part", 1.0)
    return (
        f"{len(view.rows)} networks of one cost, {evaluations} trainings of {rungs[-1]:,} images seen with rungs at "
        f"{', '.join(f'{n:,}' for n in rungs)}. Recommended for {training(record)}: alpha "
        f"{a:.3f}, beta {b:.3f}, gamma {c:.3f}; the 90 % region is {part:.0%} of the triangle. Measured at the "
        "horizon: fresh seeds, images that no search saw."
    )


def _rungs(record: SearchRecord) -> str:
    lines = ["| images seen | best shares (depth, width, resolution) | noise of one training | range | noise / range |"]
    lines.append("|---|---|---|---|---|")
    for row in record.details["rungs"]:
        best = ", ".join(f"{share:.2f}" for share in row["optimum"].values())
        cells = f"{row['noise']:.4f} | {row['range']:.4f} | {row['noise_part']:.0%}"
        lines.append(f"| {row['images']:,} | {best} | {cells} |")
    drift = record.details["drift"] or {}
    moves = [f"{axis} {s['value']:+.3f} ({s['low']:+.3f} to {s['high']:+.3f})" for axis, s in drift.items()]
    return "\n".join(lines) + f"\n\nDrift of the best shares per doubling, with 90 % intervals: {', '.join(moves)}."


def _hindcast(record: SearchRecord) -> str:
    h = record.details["hindcast"]
    rank = "not told from noise" if h["rank"] is None else f"{h['rank']:.2f}"
    return (
        f"Hindcast: rungs up to {h['rungs'][-1]:,} images seen predict {h['longest']:,} with a bias of "
        f"{h['bias']:+.4f}; {h['coverage']:.0%} of the 90 % intervals of contrasts between {h['networks']} networks "
        f"hold; rank correlation {rank}; constants chosen from the short rungs lose {h['regret']:.4f}."
    )


def _rules(view: StudyView, record: SearchRecord, length: int) -> tuple[list[Rule], float]:
    """Every rule, best measured first, and the part of differences inside their predicted intervals."""
    aim = aim_of(None, view.settings, view.direction)
    surface, scale = surface_at(view.rows, type(aim)(aim.direction, aim.score_name, length))
    measured = {row["name"]: row for row in view.confirmed_families}
    names = [name for name in MEASURED_RULES if name in measured]
    same = [name for name in names if measured[name]["mean"] == measured[OURS]["mean"]]  # one network, trained once
    names = names if same else [OURS, *names]
    notes = dict.fromkeys(same, "recommended for this length") | {_OLD: "recommended after 12,000 images seen"}
    places = as_array([_shares(name, record) for name in names])
    mean, covariance = surface.moments(places)
    rules = [
        _rule(name, notes.get(name, ""), measured[name], float(m), math.sqrt(float(v)), scale)
        for name, m, v in zip(names, mean, np.diag(covariance), strict=True)
    ]
    covered = _covered(rules, mean, covariance, scale)
    return sorted(rules, key=lambda rule: -rule.mean), covered


def _shares(name: str, record: SearchRecord) -> Any:
    constants: ScalingConstants | None = record.constants
    if name != OURS:
        constants = PUBLISHED_RULES[name].on(record.cost_model)
    if constants is None:
        raise StudyError(f"expected constants of {name}")
    return shares_of_direction(Multipliers(*constants.as_tuple()), record.cost_model)


def _rule(name: str, note: str, row: dict[str, str], mean: float, deviation: float, scale: Scale) -> Rule:
    middle, low, high = scale.to_scores(np.array([mean, mean - _Z90 * deviation, mean + _Z90 * deviation])).tolist()
    return Rule(name, note, middle, low, high, float(row["mean"]), float(row["sd"] or 0), int(row["n"]))


def _covered(rules: Sequence[Rule], mean: Any, covariance: Any, scale: Scale) -> float:
    """Part of the measured differences inside their predicted 90 % intervals, the noise of the measured means added."""
    pooled = math.sqrt(statistics.fmean(rule.deviation**2 for rule in rules))
    found = []
    for i, j in itertools.combinations(range(len(rules)), 2):
        measured = scale.to_values(np.array([rules[i].mean, rules[j].mean]))
        noise = sum(
            (pooled / float(scale.slope(scale.to_values(np.array(rules[k].mean))))) ** 2 / rules[k].seeds
            for k in (i, j)
        )
        variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j] + noise
        error = (mean[i] - mean[j]) - (measured[0] - measured[1])
        found.append(abs(error) <= _Z90 * math.sqrt(variance))
    return statistics.fmean(found)


def _table(rules: Sequence[Rule], length: int) -> str:
    lines = [
        f"| at {length:,} images seen | predicted (90 %) | measured | deviation of a seed | seeds |",
        "|---|---|---|---|---|",
    ]
    for rule in rules:
        note = f" ({rule.note})" if rule.note else ""
        predicted = f"{rule.predicted:.4f} ({rule.low:.4f} to {rule.high:.4f})"
        lines.append(f"| {rule.name}{note} | {predicted} | {rule.mean:.4f} | {rule.deviation:.4f} | {rule.seeds} |")
    return "\n".join(lines)


def _figure(view: StudyView, record: SearchRecord, rules: Sequence[Rule], length: int) -> Figure:
    """Score against length: the surface of every rung at each rule, and prediction and measurement at the horizon."""
    from matplotlib.figure import Figure

    from report.style import PRINTED, style

    aim = aim_of(None, view.settings, view.direction)
    with style(PRINTED):
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for index, rule in enumerate(rules):
            place = as_array([_shares(rule.name, record)])
            scores = []
            for rung in view.rows[0].rungs:
                surface, scale = surface_at(view.rows, type(aim)(aim.direction, aim.score_name, rung))
                scores.append(float(scale.to_scores(surface.means(place))[0]))
            colour = f"C{index}"
            axes.plot(view.rows[0].rungs, scores, marker="o", color=colour, label=rule.name)
            axes.plot([view.rows[0].rungs[-1], length], [scores[-1], rule.predicted], linestyle=":", color=colour)
            error = [[rule.predicted - rule.low], [rule.high - rule.predicted]]
            offset = length * 2 ** (0.035 * (index - len(rules) / 2))
            axes.errorbar(offset, rule.predicted, yerr=error, color=colour, capsize=2)
            axes.plot(offset, rule.mean, marker="*", markersize=11, color=colour, linestyle="none")
        axes.set_xscale("log", base=2)
        ticks = [*view.rows[0].rungs, length]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xlabel("images seen (bars: predicted from the rungs, 90 %; stars: measured)")
        axes.set_ylabel(view.score_name)
        axes.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit(main())
