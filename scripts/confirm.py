"""Train the recommendation and its rivals with fresh seeds, at several sizes, on images that the search never saw.

Run: python -m scripts.confirm --study demo
     python -m scripts.confirm --study mine --phis 1,2,3 --seeds 5

All networks of one phi cost the same. Scores go to results/STUDY/confirm.csv as they come, so the same command resumes;
the verdict goes into constants.json, and accuracy against cost for every rule to confirm-families.csv.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.settings import TrainSettings
from phiscale.constants import ScalingConstants
from phiscale.errors import BudgetError, ConstraintError, PhiscaleError, SettingsError, StudyError, TrialError
from phiscale.family import parse_phis
from phiscale.matching import match_budget
from phiscale.network import ScaledNetwork
from phiscale.record import SearchRecord
from scripts.console import run_command
from scripts.report import renew_report
from scripts.setup import ObjectiveSettings, make_data
from scripts.tables import read_rows, write_rows
from search.settings import BASELINE_RULES
from search.study import check_study_name

if TYPE_CHECKING:
    from objectives.imageset import ImageSet

OURS = "recommended"
_COLUMNS = ("setting", "phi", "fingerprint", "seed", "score", "macs", "params", "activations", "seconds", "failure")

_FAMILY = ("phi", "name", "alpha", "beta", "gamma", "macs", "params", "activations", "mean", "sd", "n")


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions:
    """Options of ``scripts.confirm``."""

    study: str
    """A study with a record, under --results."""
    phis: str = "1,2,3"
    """Sizes to compare at: 1,2,3 or 1:3. A family is for sizes beyond the search's own."""
    seeds: int = 5
    """Trainings of every network, with seeds that no search uses."""
    images: int = 5000
    """Unseen images to score on, at most."""
    data: str | None = None
    """Where the images of the study are, if they have moved."""
    results: Path = Path("results")
    """Folder of all studies."""

    def __post_init__(self) -> None:
        check_study_name(self.study)
        for name, value in (("seeds", self.seeds), ("images", self.images)):
            if value < 1:
                raise SettingsError(f"expected {name} of at least 1, got {value}")
        parse_phis(self.phis)

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.results / self.study


@dataclass(frozen=True)
class Entry:
    """One network to train: a rule at one size."""

    phi: float
    name: str
    constants: ScalingConstants
    network: ScaledNetwork


def main() -> int:
    """The command."""
    return run_command(ConfirmOptions, confirm, __doc__ or "", "scripts.confirm")


def confirm(options: ConfirmOptions) -> None:
    """Train what is missing, then write and print the verdict."""
    record = SearchRecord.load(options.folder / "constants.json")
    train, images = _setting(options)
    entries = list(plan(record, parse_phis(options.phis)))
    setting = hashlib.sha256(json.dumps([images.fingerprint, train.describe()], sort_keys=True).encode()).hexdigest()[
        :12
    ]
    path = options.folder / "confirm.csv"
    rows = read_rows(path, _COLUMNS, ("phi", "seed", "score"))
    networks = {(entry.phi, entry.network.fingerprint): entry.network for entry in entries}
    seeds = [-1 - index for index in range(options.seeds)]
    wanted = [(phi, key, seed) for seed in seeds for phi, key in networks]
    done = {(float(r["phi"]), r["fingerprint"], int(r["seed"])) for r in rows if r["setting"] == setting}
    missing = [item for item in wanted if item not in done]
    print(f"{len(networks)} networks, {len(wanted) - len(missing)} of {len(wanted)} trainings done")
    for index, (phi, key, seed) in enumerate(missing, 1):
        row = _train(networks[phi, key], images, train, seed)
        rows.append({"setting": setting, "phi": phi, "fingerprint": key, "seed": seed, **row})
        write_rows(path, _COLUMNS, rows)
        print(f"{index}/{len(missing)} phi {phi:g} {key} seed {seed}: {row['score'] or row['failure']}", flush=True)
    _conclude(options, record, entries, [row for row in rows if row["setting"] == setting], seeds)


def plan(record: SearchRecord, phis: tuple[float, ...]) -> Iterator[Entry]:
    """The recommendation and its rivals at every phi; a rule that reaches no network there is left out."""
    from search.plan import baseline_constants

    if record.network is None:
        raise StudyError("expected a record of a network, got one of another objective; nothing can be trained")
    rules = {OURS: record.constants}
    for name in BASELINE_RULES:
        constants = baseline_constants(name, record.cost_model)
        if constants is not None:
            rules[name] = constants
    for phi in phis:
        for name, constants in rules.items():
            try:
                network = match_budget(record.network, constants, phi=phi, cost_model=record.cost_model)
            except (BudgetError, ConstraintError) as error:
                print(f"left out at phi {phi:g}: {name}: {error}")
                continue
            yield Entry(phi, name, constants, network)


def _setting(options: ConfirmOptions) -> tuple[TrainSettings, ImageSet]:
    """The training settings of the study, and its training images with unseen ones to score on."""
    from objectives.data import load_test_part

    path = options.folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        train = TrainSettings(**config["train"])
        measure = ObjectiveSettings(**{**config["measure"], "data": options.data or config["measure"]["data"]})
        seed = config["search"]["seed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PhiscaleError):
            raise
        raise StudyError(f"expected the settings of the study in {path}, got {error}; run the search again") from None
    if measure.objective:
        raise StudyError(
            "expected a study of proxy trainings, got one of another objective; confirm it with its own tools"
        )
    searched = make_data(measure, train, seed)
    unseen = load_test_part(
        measure.data,
        searched,
        images=options.images,
        train_images=train.train_images,
        validation_images=train.validation_images,
        seed=seed,
        cache=measure.cache,
    )
    return train, unseen


def _train(network: ScaledNetwork, images: ImageSet, train: TrainSettings, seed: int) -> dict[str, Any]:
    from objectives.training import train_proxy

    row: dict[str, Any] = {**dataclasses.asdict(network.cost), "score": "", "failure": "", "seconds": 0.0}
    try:
        run = train_proxy(network.spec, images, train, seed=seed, report=lambda *_: None)
    except TrialError as error:
        return row | {"failure": str(error)}
    return row | {"score": repr(run.score), "seconds": round(run.seconds, 2)}


def _conclude(
    options: ConfirmOptions, record: SearchRecord, entries: list[Entry], rows: list[dict[str, Any]], seeds: list[int]
) -> None:
    """Compare, write the verdict into the record, and print it."""
    from search.confirm import as_json, compare, verdict

    scores = {(float(r["phi"]), r["fingerprint"], int(r["seed"])): float(r["score"]) for r in rows if r["score"]}
    by_name: dict[str, dict[tuple[float, int], float]] = {}
    for entry in entries:
        of_rule = by_name.setdefault(entry.name, {})
        for seed in seeds:
            key = entry.phi, entry.network.fingerprint, seed
            if key in scores:
                of_rule[entry.phi, seed] = scores[key]
    ours = by_name.pop(OURS, {})
    comparisons = compare(ours, by_name, record.direction)
    answer = verdict(comparisons)
    confirmation = {
        "verdict": answer,
        "phis": sorted({entry.phi for entry in entries}),
        "seeds": len(seeds),
        "comparisons": as_json(comparisons),
    }
    details = {**record.details, "confirmation": confirmation}
    dataclasses.replace(record, details=details).save(options.folder / "constants.json")
    write_rows(options.folder / "confirm-families.csv", _FAMILY, _families(entries, {OURS: ours, **by_name}))
    for item in comparisons:
        print(item.sentence())
    print(f"\n{record.study}: {answer}")
    renew_report(options.folder)


def _families(entries: list[Entry], by_name: dict[str, dict[tuple[float, int], float]]) -> list[dict[str, Any]]:
    """Score against counted cost of every rule at every phi."""
    rows = []
    for entry in entries:
        values = [score for (phi, _), score in by_name[entry.name].items() if phi == entry.phi]
        if values:
            rows.append(
                {
                    "phi": entry.phi,
                    "name": entry.name,
                    **dataclasses.asdict(entry.constants),
                    **dataclasses.asdict(entry.network.cost),
                    "mean": statistics.fmean(values),
                    "sd": statistics.stdev(values) if len(values) > 1 else "",
                    "n": len(values),
                }
            )
    return rows


if __name__ == "__main__":
    sys.exit(main())
