"""Check that the cheap training of a search orders networks as a longer one does, and find the cheapest that does.

Run: python -m scripts.check_proxy --study check --data images/ --reference-epochs 8 --epochs 1,2,4
     python -m scripts.check_proxy --study check-small --images 1500,3000 --reference-epochs 4

Networks of a lattice on the triangle, all of one cost, are trained under every cheap setting and under the reference.
Scores go to results/STUDY/fidelity.csv as they come, so the same command resumes; the correlations go to fidelity.json,
and into the report where the study has one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from objectives.settings import TrainSettings
from phiscale.constants import constants_from_shares
from phiscale.errors import BudgetError, DataError, SettingsError, StudyError, TrialError
from phiscale.family import align_columns
from phiscale.files import write_text
from phiscale.matching import match_budget
from phiscale.network import ScaledNetwork
from phiscale.rounding import rounding_by_name
from scripts.console import run_command
from scripts.report import renew_report
from scripts.setup import ObjectiveSettings, choose_baseline, make_data
from scripts.tables import read_rows, write_rows
from search.study import check_study_name

_COLUMNS = ("setting", "epochs", "images", "fingerprint", "seed", "score", "seconds")


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of ``scripts.check_proxy``."""

    study: str
    """Name of the check, and of its folder under --results."""
    points: int = 15
    """Networks to order, about: the largest lattice on the triangle with at most so many."""
    epochs: str = "1,2,4"
    """Cheap settings: passes over the images."""
    images: str = ""
    """Cheap settings: training images. Default: --train.train-images alone."""
    reference_epochs: int = 8
    """Passes of the reference, over --train.train-images."""
    reference_seeds: int = 1
    """Trainings of each network under the reference; the order is that of their mean."""
    keep: float = 0.5
    """A setting keeps the order if the 90 % interval of its Spearman correlation lies above this."""
    measure: Annotated[ObjectiveSettings, tyro.conf.arg(name="")] = field(default_factory=ObjectiveSettings)
    """What is measured."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """How a proxy network is trained."""
    results: Path = Path("results")
    """Folder of all studies."""

    def __post_init__(self) -> None:
        check_study_name(self.study)
        if self.points < 6:
            raise SettingsError(f"expected at least 6 points to order, got {self.points}")
        if self.reference_epochs < 1 or self.reference_seeds < 1:
            raise SettingsError("expected reference-epochs and reference-seeds of at least 1")
        if not -1 <= self.keep < 1:
            raise SettingsError(f"expected keep in [-1, 1), got {self.keep!r}")
        if self.measure.objective:
            raise SettingsError("expected proxy training, got --objective: only trainings have a cheaper setting")
        _whole_numbers("epochs", self.epochs)
        _whole_numbers("images", self.images)


@dataclass(frozen=True)
class Setting:
    """One way of training."""

    epochs: int
    images: int | None
    seeds: int = 1

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.epochs} epochs, {self.images or 'all'} images"


def main() -> int:
    """The command."""
    return run_command(CheckOptions, check, __doc__ or "", "scripts.check_proxy")


def check(options: CheckOptions) -> None:
    """Train what is missing, then print how each setting orders the networks."""
    images = _whole_numbers("images", options.images) or (options.train.train_images,)
    cheap = [Setting(epochs, count) for epochs in _whole_numbers("epochs", options.epochs) for count in images]
    reference = Setting(options.reference_epochs, options.train.train_images, options.reference_seeds)
    path = options.results / options.study / "fidelity.csv"
    rows = read_rows(path, _COLUMNS, ("seed", "score", "seconds"))
    table: dict[Setting, list[tuple[float, float]]] = {}
    networks = _networks(options)
    print(f"{len(networks)} networks, {len(cheap)} cheap settings and the reference of {reference.name}")
    for setting in dict.fromkeys([*cheap, reference]):
        table[setting] = _measure(options, setting, networks, rows, path)
    _conclude(options, table, cheap, reference)


def _networks(options: CheckOptions) -> list[ScaledNetwork]:
    """Distinct networks of the lattice at one cost."""
    from search.simplex import lattice

    data = make_data(options.measure, options.train, 0)
    base = dataclasses.replace(choose_baseline(options.measure, data.resolution), classes=len(data.classes))
    model = options.measure.cost_model
    steps = max(n for n in range(2, 60) if len(lattice(n, model)) <= max(6, options.points))
    found: dict[str, ScaledNetwork] = {}
    for shares in lattice(steps, model):
        try:
            network = match_budget(
                base,
                constants_from_shares(shares, model),
                phi=options.measure.phi,
                cost_model=model,
                rounding=rounding_by_name(options.measure.rounding),
            )
        except BudgetError as error:
            print(f"left out: {error}")
            continue
        found.setdefault(network.fingerprint, network)
    return list(found.values())


def _measure(
    options: CheckOptions, setting: Setting, networks: list[ScaledNetwork], rows: list[dict[str, Any]], path: Path
) -> list[tuple[float, float]]:
    """(mean score, seconds of one training) of every network under a setting; trains what the table lacks."""
    from objectives.training import train_proxy

    train = dataclasses.replace(options.train, epochs=setting.epochs, train_images=setting.images)
    data = make_data(options.measure, train, 0)
    facts = [data.fingerprint, train.describe()]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    done = {(r["setting"], r["fingerprint"], int(r["seed"])): (float(r["score"]), float(r["seconds"])) for r in rows}
    result = []
    for index, network in enumerate(networks, 1):
        values = []
        for seed in range(setting.seeds):
            place = key, network.fingerprint, seed
            if place not in done:
                try:
                    run = train_proxy(network.spec, data, train, seed=seed, report=lambda *_: None)
                    done[place] = run.score, run.seconds
                except TrialError as error:
                    raise StudyError(f"{setting.name}, {network.fingerprint}: {error}") from None
                rows.append(
                    dict(zip(_COLUMNS, (key, setting.epochs, setting.images, *place[1:], *done[place]), strict=True))
                )
                write_rows(path, _COLUMNS, rows)
                print(f"{setting.name}: {index}/{len(networks)} seed {seed}: {run.score:.4f}", flush=True)
            values.append(done[place])
        result.append((sum(v[0] for v in values) / len(values), sum(v[1] for v in values) / len(values)))
    return result


def _conclude(
    options: CheckOptions, table: dict[Setting, list[tuple[float, float]]], cheap: list[Setting], reference: Setting
) -> None:
    from search.fidelity import fidelity

    rows: list[dict[str, Any]] = []
    keeping: list[tuple[float, Setting]] = []
    dear = [score for score, _ in table[reference]]
    for setting in cheap:
        try:
            found = fidelity([score for score, _ in table[setting]], dear)
        except DataError as error:
            raise StudyError(f"{setting.name}: {error}") from None
        seconds = _seconds(table[setting])
        rows.append({"setting": setting.name, "seconds": seconds, **dataclasses.asdict(found)})
        if found.spearman.low > options.keep:
            keeping.append((seconds, setting))
    dear_seconds = _seconds(table[reference])
    conclusion = (
        f"none of these keeps the order (Spearman above {options.keep:g} at 90 %); train longer, or more points"
    )
    if keeping:
        seconds, setting = min(keeping, key=lambda item: item[0])
        conclusion = f"cheapest that keeps the order: {setting.name} ({dear_seconds / seconds:.1f} times cheaper)"
    print(f"\n{_table(rows, reference, dear_seconds)}\n\n{conclusion}")
    result = {
        "reference": reference.name,
        "reference_seconds": dear_seconds,
        "settings": rows,
        "conclusion": conclusion,
    }
    folder = options.results / options.study
    write_text(folder / "fidelity.json", json.dumps(result, indent=2) + "\n")
    renew_report(folder)


def _seconds(measured: list[tuple[float, float]]) -> float:
    return sum(seconds for _, seconds in measured) / len(measured)


def _table(rows: list[dict[str, Any]], reference: Setting, seconds: float) -> str:
    cells = [["setting", "seconds", "Spearman (90 %)", "Kendall (90 %)"]]
    for row in rows:
        intervals = (row[name] for name in ("spearman", "kendall"))
        shown = [f"{i['value']:.2f} ({i['low']:.2f} to {i['high']:.2f})" for i in intervals]
        cells.append([row["setting"], f"{row['seconds']:.1f}", *shown])
    cells.append([f"reference: {reference.name}", f"{seconds:.1f}", "", ""])
    return align_columns(cells)


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
