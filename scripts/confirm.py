"""Train the recommendation and its rivals with fresh seeds, at several sizes, on images that the search never saw.

Run: phiscale confirm --study demo
     phiscale confirm --study mine --phis 1:3:0.5 --seeds 5
     phiscale confirm --study mine --epochs 30

Every training is as long as the one that the constants are for, or --epochs long, and the verdict names that length.
All networks of one phi cost the same, rounded by the study's --rounding. This holds for a study with --budget
nominal too, because networks of unequal cost would show what cost buys, not which constants are better. A statement
about a rule rests on how its lead varies over sizes; with fewer than 3 sizes, only these networks are compared. Scores
go to results/STUDY/confirm.csv at once, so the same command resumes. The verdict goes into constants.json, where the
confirmed score replaces the expected one. Score against cost of every rule goes to confirm-families.csv. If the search
has continued meanwhile and recommends other constants, its record stays unchanged, and the same command has to be run
again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from objectives.training.rungs import plan_rungs
from objectives.training.settings import TrainSettings
from phiscale.cost import COUNTED
from phiscale.errors import PhiscaleError, SettingsError, StudyError, TrialError
from phiscale.family import parse_phis
from phiscale.files import read_json
from phiscale.next_step import CONFIRM_PHIS, CONFIRM_SEEDS
from phiscale.published import MEASURED_RULES
from phiscale.record import Length, SearchRecord
from phiscale.rounding import Rounding, rounding_by_name
from phiscale.score_text import score_text
from phiscale.triangle import CostModel
from scripts.report import renew_report
from scripts.shared.config import from_plain
from scripts.shared.console import minutes_left, run_command
from scripts.shared.executors import ExecutorSettings, make_executor
from scripts.shared.rivals import OURS, Entry, fresh_seed, plan, rules
from scripts.shared.searched import searched_baseline
from scripts.shared.setup import ObjectiveSettings, load_rate_plane, make_data
from scripts.shared.tables import read_rows, write_rows
from scripts.shared.training import Training
from search.executors.contract import Done, Raised, run_all
from search.settings import SearchSettings
from search.study import check_study_name

if TYPE_CHECKING:
    from objectives.data.imageset import ImageSet
    from objectives.growth import Baseline, TrainableNetwork
    from objectives.training.rate_plane import RatePlane
    from objectives.training.train import ProxyRun

_COLUMNS = ("setting", "phi", "fingerprint", "seed", "score", *COUNTED, "seconds", "failure")

_FAMILY = ("phi", "name", "alpha", "beta", "gamma", *COUNTED, "mean", "sd", "n")


@dataclass(frozen=True, kw_only=True)
class ConfirmOptions:
    """Options of ``phiscale confirm``."""

    study: str
    """A study with a record, under --results."""
    phis: str = CONFIRM_PHIS
    """Sizes to compare at: 1,2,3 or 1:3:0.5. With fewer than 3 the verdict is about these networks alone."""
    seeds: int = CONFIRM_SEEDS
    """Trainings of every network, with seeds that no search uses. More sizes tell more than more seeds."""
    epochs: float | None = None
    """Length of every training, in epochs of the whole training set. Default: the length that the constants are for."""
    images: int = 5000
    """Largest number of unseen images to score on."""
    rivals: str = "all"
    """Published rules to compare with: all, or names with commas between, e.g. paper,equal. A wrong name lists them."""
    against: str = ""
    """Other studies, with commas between, whose best observed constants are also compared, such as a grid search."""
    run: Annotated[ExecutorSettings, tyro.conf.arg(name="")] = field(default_factory=ExecutorSettings)
    """Where trainings run; the scores do not depend on it."""
    data: str | None = None
    """Where the images of the study are, if they were moved."""
    results: Path = Path("results")
    """Folder of all studies."""

    def __post_init__(self) -> None:
        check_study_name(self.study)
        for name, value in (("seeds", self.seeds), ("images", self.images)):
            if value < 1:
                raise SettingsError(f"expected {name} of at least 1, got {value}")
        if self.epochs is not None and not (math.isfinite(self.epochs) and self.epochs > 0):
            raise SettingsError(f"expected more than 0 epochs, got {self.epochs!r}")
        _ = self.sizes
        for study in self.other_studies:
            if check_study_name(study) in (OURS, *MEASURED_RULES):
                raise SettingsError(f"expected --against to name studies, got {study}, which stands for a rule here")
        if self.rivals == "none" and not self.other_studies:
            raise SettingsError("expected rivals to compare with, got none; use --rivals all or some of their names")
        _ = self.rival_names

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.results / self.study

    @property
    def sizes(self) -> tuple[float, ...]:
        """Values of phi, each once. Raises ``SettingsError`` for others."""
        return tuple(dict.fromkeys(parse_phis(self.phis)))

    @property
    def rival_names(self) -> tuple[str, ...]:
        """Published rules to compare with. Raises ``SettingsError`` for unknown ones."""
        return SearchSettings(baselines=self.rivals).baseline_names

    @property
    def other_studies(self) -> tuple[str, ...]:
        """Names of the studies to compare with."""
        return tuple(name.strip() for name in self.against.split(",") if name.strip())


@dataclass(frozen=True)
class Setting:
    """How the networks of a study are rounded, trained and scored."""

    train: TrainSettings
    images: ImageSet
    """The training images of the study, with unseen ones to score on."""
    base: Baseline
    """What was scaled."""
    rounding: Rounding
    searched_name: str
    """Name of the data that was searched."""

    rate_plane: RatePlane | None

    def rate(self, network: TrainableNetwork, cost_model: CostModel) -> float:
        """The learning rate of a network."""
        plane = self.rate_plane
        return plane.rate_of(network.realised, cost_model) if plane else self.train.learning_rate

    @property
    def length(self) -> Length:
        """How long every training is."""
        return Length(self.train.images_seen or 1, self.images.epoch_images, self.searched_name)

    @property
    def key(self) -> str:
        """Different for scores that cannot be compared."""
        plain = [self.images.fingerprint, self.train.describe(), *(self.rate_plane.rates if self.rate_plane else ())]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def main() -> int:
    """The command."""
    return run_command(ConfirmOptions, confirm, __doc__ or "", "confirm")


def confirm(options: ConfirmOptions) -> None:
    """Train what is missing, then write and print the verdict."""
    record = SearchRecord.load(options.folder / "constants.json")
    setting = _setting(options, record)
    constants = rules(record, options.rival_names, options.other_studies, options.results)
    entries = plan(setting.base, record.cost_model, constants, options.sizes, setting.rounding)
    rows = _train_missing(options, setting, entries, record.cost_model)
    _conclude(options, record, setting, entries, [row for row in rows if row["setting"] == setting.key])


def _train_missing(
    options: ConfirmOptions, setting: Setting, entries: list[Entry], model: CostModel
) -> list[dict[str, Any]]:
    """All rows of ``confirm.csv``, once every network has a score with every seed."""
    path = options.folder / "confirm.csv"
    rows = read_rows(path, _COLUMNS, ("phi", "seed", "score"))
    networks = {(entry.phi, entry.network.fingerprint): entry.network for entry in entries}
    wanted = [(*place, fresh_seed(place[0], number)) for number in range(options.seeds) for place in networks]
    done = {(float(r["phi"]), r["fingerprint"], int(r["seed"])) for r in rows if r["setting"] == setting.key}
    missing = [item for item in wanted if item not in done]
    print("\n".join([*setting.images.describe(), f"each training: {setting.length.describe()}"]))
    print(f"{len(networks)} networks, {len(wanted) - len(missing)} of {len(wanted)} trainings done")
    rates = {place: setting.rate(network, model) for place, network in networks.items()}
    calls = [(networks[phi, key].spec, seed, rates[phi, key]) for phi, key, seed in missing]
    work = [networks[phi, key].cost.macs for phi, key, _ in missing]
    outcomes = run_all(make_executor(options.run), Training(setting.images, setting.train), calls) if calls else ()
    start, worked = time.monotonic(), 0
    for index, (place, outcome) in enumerate(outcomes, 1):
        phi, key, seed = missing[place]
        row = {**dataclasses.asdict(networks[phi, key].cost), **_row(outcome)}
        rows.append({"setting": setting.key, "phi": phi, "fingerprint": key, "seed": seed, **row})
        write_rows(path, _COLUMNS, rows)
        worked += work[place]
        names = "=".join(entry.name for entry in entries if (entry.phi, entry.network.fingerprint) == (phi, key))
        state = f"{index}/{len(missing)}{minutes_left(worked, sum(work), time.monotonic() - start)}"
        shown = score_text(float(row["score"])) if row["score"] else row["failure"]
        print(f"phi {phi:g} {names}: {shown}   [{state}]", flush=True)
    return rows


def _row(outcome: Done | Raised) -> dict[str, Any]:
    """Score, seconds and failure of a training. Raises what it raised, unless that is a failed training."""
    if isinstance(outcome, Raised):
        if isinstance(outcome.error, TrialError):
            return {"score": "", "failure": str(outcome.error), "seconds": 0.0}
        raise outcome.as_error("a training")
    run: ProxyRun = outcome.value
    return {"score": repr(run.scores[-1]), "failure": "", "seconds": round(run.seconds, 2)}


def _setting(options: ConfirmOptions, record: SearchRecord) -> Setting:
    """The settings of the study, with unseen images. Raises ``StudyError`` if they are not available."""
    from objectives.data.load import load_test_part
    from objectives.proxy import with_length

    path = options.folder / "config.json"
    try:
        config = read_json(path, "configuration", StudyError)
        if "rungs" not in config["train"]:
            raise StudyError(
                f"expected a study with rungs in {path}, got one of an older version; run the search again"
            )
        train = from_plain(TrainSettings, config["train"], f"train of {path}")
        measure = from_plain(ObjectiveSettings, config["measure"], f"measure of {path}")
        measure = dataclasses.replace(measure, data=options.data or measure.data)
        seed = config["search"]["seed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PhiscaleError):
            raise
        raise StudyError(f"expected the settings of the study in {path}, got {error}; run the search again") from None
    if measure.objective or measure.own.command is not None:
        what = "--objective" if measure.objective else "--command"
        raise StudyError(
            f"expected a study of proxy trainings, got one of {what}, whose unseen images phiscale does not know; "
            "train the recommendation and its rivals with fresh seeds and your own test images"
        )
    searched = make_data(measure, train, seed)
    base = searched_baseline(measure, record, searched)
    unseen = load_test_part(
        measure.data,
        searched,
        images=options.images,
        train_images=train.train_images,
        validation_images=train.validation_images,
        seed=seed,
        cache=measure.cache,
    )
    if options.epochs is not None:
        train = dataclasses.replace(train, epochs=options.epochs, images_seen=None)
    elif record.length is not None:
        train = dataclasses.replace(train, epochs=None, images_seen=record.length.images)
    train = dataclasses.replace(with_length(train, searched), rungs=1)
    plan_rungs(train, len(searched.train_labels))  # so that a length that is too short fails now
    rounding = rounding_by_name(measure.rounding)
    return Setting(train, unseen, base, rounding, searched.name, load_rate_plane(measure))


def _conclude(
    options: ConfirmOptions, record: SearchRecord, setting: Setting, entries: list[Entry], rows: list[dict[str, Any]]
) -> None:
    """Compare, print, and write the verdict into the current record."""
    from search.confirm import as_json, compare, expectation, verdict
    from search.hold import writing

    images = len(setting.images.validation_labels)
    counted = images if record.score_name == "accuracy" else None
    by_name = _scores(entries, rows, options.seeds)
    rivals = {name: scores for name, scores in by_name.items() if name != OURS}
    comparisons = compare(by_name[OURS], rivals, record.direction, images=counted)
    for item in comparisons:
        print(item.sentence())
    same = record.length is None or record.length.images == setting.length.images
    confirmation = {
        "verdict": f"{verdict(comparisons)}, after {setting.length.describe()}",
        "length": dataclasses.asdict(setting.length),
        "phis": sorted({entry.phi for entry in entries}),
        "seeds": options.seeds,
        "images": images,
        "expected": expectation(by_name[OURS], record.phi, counted) if same else None,
        "comparisons": as_json(comparisons),
    }
    with writing(options.folder):  # a search that ends meanwhile writes the same files
        _keep(confirmation, record, options.folder / "constants.json")
        write_rows(options.folder / "confirm-families.csv", _FAMILY, _families(entries, by_name))
        renew_report(options.folder)
    print(f"\n{record.study}: {confirmation['verdict']}")


def _scores(entries: list[Entry], rows: list[dict[str, Any]], seeds: int) -> dict[str, dict[tuple[float, int], float]]:
    """Scores of every rule by (phi, number of the training); trainings that failed have none."""
    scores = {(float(r["phi"]), r["fingerprint"], int(r["seed"])): float(r["score"]) for r in rows if r["score"]}
    by_name: dict[str, dict[tuple[float, int], float]] = {}
    for entry in entries:
        of_rule = by_name.setdefault(entry.name, {})
        for number in range(seeds):
            key = entry.phi, entry.network.fingerprint, fresh_seed(entry.phi, number)
            if key in scores:
                of_rule[entry.phi, number] = scores[key]
    return by_name


def _keep(confirmation: dict[str, Any], confirmed: SearchRecord, path: Path) -> None:
    """Put the confirmation into the record at ``path``.

    Raises ``StudyError``, and leaves that record alone, where it recommends something else than ``confirmed``.
    """
    from search.results import say_the_same, with_confirmation

    record = SearchRecord.load(path)
    if not say_the_same(record, confirmed):
        ours, theirs = (
            ", ".join(f"{value:.4f}" for value in each.constants.as_tuple()) for each in (confirmed, record)
        )
        other = f"now recommends {theirs}, not the {ours}" if theirs != ours else "now has other settings than those"
        raise StudyError(f"the search {record.study!r} {other} compared here; run the same again to confirm that")
    with_confirmation(record, confirmation).save(path)


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
