"""Check that a cheap training orders networks as a longer one does, and that one learning rate is fair to all shapes.

Run: phiscale check --study check --data images/ --train.epochs 8
     phiscale check --study check-small --images 1500,3000 --no-rates

Networks of a lattice on the triangle, all of one cost, are trained with several seeds to the longest rung. The score at
every shorter rung of the same training is a cheaper setting. A rank correlation compares it with the longest rung,
corrected for the noise of the seeds. Networks grown in depth, width or resolution alone, and in all three equally, are
also trained at half and twice the learning rate. Scores go to results/STUDY/fidelity.csv after every training, so the
same command resumes; the answers go to fidelity.json, and into the report if the study has one. If the best learning
rates differ, results/STUDY/rate-plane.json holds them for phiscale search --rate-plane.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from objectives.training.settings import TrainSettings
from phiscale.errors import BudgetError, DataError, SettingsError, StudyError
from phiscale.family import align_columns
from phiscale.files import write_text
from phiscale.rounding import rounding_by_name
from phiscale.triangle import Shares, constants_from_shares
from scripts.report import renew_report
from scripts.shared.config import refuse_both
from scripts.shared.console import run_command
from scripts.shared.executors import ExecutorSettings
from scripts.shared.rung_scores import Scores, ScoreTable, Setting, measure
from scripts.shared.setup import ObjectiveSettings, choose_baseline, make_data
from search.study import check_study_name

if TYPE_CHECKING:
    from objectives.data.imageset import ImageSet
    from objectives.growth import Baseline, TrainableNetwork
    from objectives.training.rate_plane import BestRates, RatePlane

_AXES = ("depth", "width", "resolution")
_FEWEST = 6
"""Smallest number of networks to order."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of ``phiscale check``."""

    study: str
    """Name of the check, and of its folder under --results."""
    points: int = 15
    """About how many networks to order: the largest lattice on the triangle with at most so many points."""
    seeds: int = 4
    """Trainings of each network, at least 2: their noise is measured, and the correlations are corrected for it."""
    images: str = ""
    """Further numbers of distinct training images to compare, with commas between. Default: none."""
    keep: float = 0.5
    """A setting keeps the order if the 90 % interval of its Spearman correlation lies above this."""
    rates: bool = True
    """Also train four shapes at half and twice the learning rate, to see whether one rate suits all of them."""
    measure: Annotated[ObjectiveSettings, tyro.conf.arg(name="")] = field(default_factory=ObjectiveSettings)
    """What is measured."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """How a proxy network is trained; its longest rung is the reference."""
    run: Annotated[ExecutorSettings, tyro.conf.arg(name="")] = field(default_factory=ExecutorSettings)
    """Where trainings run."""
    results: Path = Path("results")
    """Folder of all studies."""

    def __post_init__(self) -> None:
        check_study_name(self.study)
        if self.points < _FEWEST:
            raise SettingsError(f"expected at least {_FEWEST} points to order, got {self.points}")
        if self.seeds < 2:
            raise SettingsError(
                f"expected at least 2 seeds, got {self.seeds}: noise is measured between trainings of one network"
            )
        if not -1 <= self.keep < 1:
            raise SettingsError(f"expected keep in [-1, 1), got {self.keep!r}")
        if self.measure.objective or self.measure.own.command is not None:
            raise SettingsError(
                "expected proxy training, got --objective or --command, for which no cheaper setting is known"
            )
        if self.measure.rate_plane:
            raise SettingsError(
                "expected no --rate-plane: this command finds one, at the rate of --train.learning-rate"
            )
        if not _whole_numbers("images", self.images) and self.train.rungs == 1:
            raise SettingsError("expected at least 2 rungs (--train.rungs) or numbers of --images to compare, got none")


def main() -> int:
    """The command."""
    return run_command(CheckOptions, check, __doc__ or "", "check")


def check(options: CheckOptions) -> None:
    """Train what is missing, then print how each setting orders the networks and which learning rates are best."""
    refuse_both()
    settings = _settings(options)
    base = _base(options, settings[0].data)
    networks = _networks(options, base)
    shapes = _shapes(options, base) if options.rates else {}
    folder = options.results / options.study
    table = ScoreTable(folder / "fidelity.csv")
    print("\n".join([*settings[0].data.describe(), _plan(options, settings, networks, shapes)]), flush=True)
    result = _order(options, [measure(setting, networks, options.seeds, table, options.run) for setting in settings])
    if options.rates:
        result["rates"] = _rates(options, base, settings[0], shapes, table)
    write_text(folder / "fidelity.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
    renew_report(folder)


def _settings(options: CheckOptions) -> list[Setting]:
    """The study's own setting first, then the other numbers of images at the same length."""
    from objectives.proxy import with_length

    data = make_data(options.measure, options.train, 0)
    train = with_length(options.train, data)
    found = {len(data.train_labels): Setting(data=data, train=train)}
    for count in _whole_numbers("images", options.images):
        if count not in found:
            fewer = dataclasses.replace(train, train_images=count)
            found[count] = Setting(data=make_data(options.measure, fewer, 0), train=fewer)
    for setting in found.values():
        _ = setting.rungs  # raises for a length that is too short, before anything is trained
    return list(found.values())


def _base(options: CheckOptions, data: ImageSet) -> Baseline:
    return dataclasses.replace(choose_baseline(options.measure, data.resolution), classes=len(data.classes))


def _networks(options: CheckOptions, base: Baseline) -> list[TrainableNetwork]:
    """Distinct networks of the lattice at one cost. Raises ``StudyError`` for too few."""
    from phiscale.triangle import lattice

    model = options.measure.cost_model
    steps = max(n for n in range(2, 60) if len(lattice(n, model)) <= options.points)
    found = {network.fingerprint: network for network in _matched(options, base, lattice(steps, model)) if network}
    if len(found) < _FEWEST:
        raise StudyError(
            f"expected at least {_FEWEST} different networks at this cost, got {len(found)}; "
            "use more --points, another --phi or a larger baseline"
        )
    return list(found.values())


def _shapes(options: CheckOptions, base: Baseline) -> dict[str, TrainableNetwork]:
    """Networks grown along one axis alone, and along all equally; raises ``StudyError`` where fewer than two differ."""
    from objectives.training.rate_plane import shape_shares

    points = shape_shares(options.measure.cost_model)
    found: dict[str, tuple[str, TrainableNetwork]] = {}
    for name, network in zip(points, _matched(options, base, points.values()), strict=True):
        if network is not None:
            found.setdefault(network.fingerprint, (name, network))
    if len(found) < 2:
        raise StudyError("expected two different shapes to compare learning rates, got fewer; use --no-rates")
    return dict(found.values())


def _matched(options: CheckOptions, base: Baseline, points: Iterable[Shares]) -> list[TrainableNetwork | None]:
    """The network of each point at the cost asked for; None, and a line, where there is none."""
    from objectives.growth import matched_network

    measure = options.measure
    found: list[TrainableNetwork | None] = []
    model, rounding = measure.cost_model, rounding_by_name(measure.rounding)
    for shares in points:
        constants = constants_from_shares(shares, model)
        try:
            found.append(matched_network(base, constants, phi=measure.phi, cost_model=model, rounding=rounding))
        except BudgetError as error:
            print(f"left out: {error}")
            found.append(None)
    return found


def _plan(
    options: CheckOptions,
    settings: list[Setting],
    networks: list[TrainableNetwork],
    shapes: dict[str, TrainableNetwork],
) -> str:
    rungs = ", ".join(f"{rung.images:,}" for rung in settings[0].rungs)
    count = len(networks) * len(settings) * options.seeds
    known = {network.fingerprint for network in networks}
    more = sum(2 + (network.fingerprint not in known) for network in shapes.values()) * options.seeds
    rates = f", and {more} of {len(shapes)} shapes at other learning rates" if shapes else ""
    return f"{len(networks)} networks, {count} trainings scored at {rungs} images seen{rates}"


def _order(options: CheckOptions, measured: list[Scores]) -> dict[str, Any]:
    """Compare every rung of every setting with the longest rung of the study's own; print and return the answer."""
    from search.fidelity import fidelity

    own = measured[0]
    reference = own.setting.name(own.setting.rungs[-1])
    rows: list[dict[str, Any]] = []
    for scores in measured:
        for index, rung in enumerate(scores.setting.rungs):
            if scores is not own or rung is not own.setting.rungs[-1]:
                found = fidelity(scores.scores[index], own.scores[-1])
                facts = {"setting": scores.setting.name(rung), "seconds": scores.seconds[index]}
                rows.append(facts | dataclasses.asdict(found))
    conclusion = _conclusion(rows, own.seconds[-1], options.keep)
    print(f"\n{_order_table(rows, reference, own.seconds[-1])}\n\n{conclusion}", flush=True)
    return {
        "reference": reference,
        "reference_seconds": own.seconds[-1],
        "settings": rows,
        "conclusion": conclusion,
    }


def _conclusion(rows: list[dict[str, Any]], reference_seconds: float, keep: float) -> str:
    if any(row["undetermined"] == "reference" for row in rows):
        return "undetermined: the order of the reference cannot be told from noise; use more --seeds, or train longer"
    keeping = [row for row in rows if row["spearman"] and row["spearman"]["low"] > keep]
    if not keeping:
        return f"none of these keeps the order (Spearman above {keep:g} at 90 %); train longer, or use more --seeds"
    cheapest = min(keeping, key=lambda row: float(row["seconds"]))
    ratio = reference_seconds / max(cheapest["seconds"], 1e-9)
    return f"cheapest that keeps the order: {cheapest['setting']} ({ratio:.1f} times cheaper)"


def _order_table(rows: list[dict[str, Any]], reference: str, seconds: float) -> str:
    cells = [["setting", "seconds", "Spearman, corrected for noise (90 %)"]]
    for row in rows:
        found = row["spearman"]
        shown = f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})" if found else "undetermined"
        cells.append([row["setting"], f"{row['seconds']:.1f}", shown])
    return align_columns([*cells, [f"reference: {reference}", f"{seconds:.1f}", ""]])


def _rates(
    options: CheckOptions, base: Baseline, own: Setting, shapes: dict[str, TrainableNetwork], table: ScoreTable
) -> dict[str, Any]:
    """Train the shapes at three learning rates; print and return the best, and write the plane where they differ."""
    from objectives.training.rate_plane import FACTORS

    networks = list(shapes.values())
    settings = [own.at_rate(factor) for factor in FACTORS]
    measured = [measure(setting, networks, options.seeds, table, options.run, may_diverge=True) for setting in settings]
    rates = [setting.train.learning_rate for setting in settings]
    result: dict[str, Any] = {"rates": rates, "shapes": list(shapes)}
    diverged = _diverged(measured, list(shapes))
    if diverged:
        conclusion = f"learning rates: undetermined: {diverged}; use a lower --train.learning-rate"
    else:
        found = _best_rates(measured, own)
        result["rungs"] = [{"images": images, **dataclasses.asdict(best)} for images, best in found.items()]
        print(f"\n{_rate_table(found, list(shapes))}", flush=True)
        conclusion = _conclude_rates(options, base, own, shapes, list(found.values())[-1])
    print(f"\n{conclusion}")
    return result | {"conclusion": conclusion}


def _diverged(measured: list[Scores], names: list[str]) -> str:
    """Which trainings diverged, empty if none."""
    found = dict.fromkeys(
        f"{names[index]} diverged at {scores.setting.train.learning_rate:g}"
        for scores in measured
        for row in scores.scores[-1]
        for index, score in enumerate(row)
        if math.isnan(score)
    )
    return ", ".join(found)


def _best_rates(measured: list[Scores], own: Setting) -> dict[int, BestRates]:
    """The best rates at the shortest and the longest rung, by images seen."""
    import numpy as np

    from objectives.training.rate_plane import best_rates

    found = {}
    for index in dict.fromkeys((0, len(own.rungs) - 1)):
        scores = np.array([setting.scores[index] for setting in measured])  # (rates, seeds, shapes)
        maximize = own.train.direction == "maximize"
        best = best_rates(scores.transpose(2, 0, 1), own.train.learning_rate, maximize=maximize)
        found[own.rungs[index].images] = best
    return found


def _rate_table(found: dict[int, BestRates], names: list[str]) -> str:
    """Best rates by shape and rung; a rate at the edge of those tried is marked."""
    heads = [f"{images:,} images seen" for images in found]
    cells = [["best learning rate", *heads]]
    for index, name in enumerate(names):
        rates = (f"{b.rates[index]:.3g}{'' if b.enclosed[index] else ' or beyond'}" for b in found.values())
        gains = (best.gains[index] for best in found.values())
        cells.append([name, *(f"{rate} (gains {gain:.4f})" for rate, gain in zip(rates, gains, strict=True))])
    cells.append(["all together", *(f"{best.common:.3g}" for best in found.values())])
    cells.append(["p of one best rate", *(f"{best.probability:.3f}" for best in found.values())])
    note = "Best: top of the quadratic through mean scores in log rate. Gain: over the best rate of all. p: F test."
    return f"{align_columns(cells)}\n{note}"


def _conclude_rates(
    options: CheckOptions, base: Baseline, own: Setting, shapes: dict[str, TrainableNetwork], best: BestRates
) -> str:
    """The answer in a sentence; writes the plane where the best rates differ."""
    path = options.results / options.study / "rate-plane.json"
    if not best.differ:
        stale = f"; {path} is of an earlier check and does not count" if path.exists() else ""
        return f"one rate serves all shapes: best about {best.common:.3g}, differences within noise{stale}"
    try:
        plane = _plane(options, base, own, shapes, best)
    except DataError as error:
        return f"learning rates differ between shapes, but there is no plane of rates: {error}"
    plane.save(path)
    corners = ", ".join(f"{name} {rate:.3g}" for name, rate in zip(_AXES, plane.rates, strict=True))
    edge = "" if all(best.enclosed) else "; some lie at the edge of the rates tried: check again around them"
    return (
        f"learning rates differ between shapes ({corners}){edge}; written: {path}, use it by "
        f"phiscale search --rate-plane {path}"
    )


def _plane(
    options: CheckOptions, base: Baseline, own: Setting, shapes: dict[str, TrainableNetwork], best: BestRates
) -> RatePlane:
    from objectives.training.rate_plane import fit_plane, shares_of_network

    model = options.measure.cost_model
    found = {
        "network": base.name,
        "data": {"name": own.data.name, "fingerprint": own.data.fingerprint},
        "train": own.train.describe(),
        "phi": options.measure.phi,
        "cost_model": dataclasses.asdict(model),
        "seeds": options.seeds,
        "p": best.probability,
    }
    shares = [shares_of_network(network.realised, model) for network in shapes.values()]
    return fit_plane(shares, best.rates, found)


def _whole_numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = (0,)
    if any(number < 1 for number in numbers):
        raise SettingsError(f"expected {name} as whole numbers above 0 with commas between, got {text!r}")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
