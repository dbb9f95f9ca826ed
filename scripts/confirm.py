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
import math
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from phiscale import checks
from phiscale.cost import COUNTED
from phiscale.errors import SettingsError, StudyError, TrialError
from phiscale.family import parse_phis
from phiscale.next_step import CONFIRM_PHIS, CONFIRM_SEEDS
from phiscale.published import MEASURED_RULES
from phiscale.record import SearchRecord
from phiscale.score_text import score_text
from scripts.report import renew_report
from scripts.shared.confirming import Trainings, trainings_of
from scripts.shared.console import minutes_left, run_command
from scripts.shared.executors import ExecutorSettings, make_executor
from scripts.shared.rivals import OURS, Entry, fresh_seed, plan, rules
from scripts.shared.tables import read_rows, write_rows
from search.executors.contract import Done, Raised, run_all
from search.settings import SearchSettings
from search.study import check_study_name

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
    """Largest number of unseen images to score on. A command of your own decides by itself."""
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
        return tuple(dict.fromkeys(checks.phi("a phi", phi, SettingsError) for phi in parse_phis(self.phis)))

    @property
    def rival_names(self) -> tuple[str, ...]:
        """Published rules to compare with. Raises ``SettingsError`` for unknown ones."""
        return SearchSettings(baselines=self.rivals).baseline_names

    @property
    def other_studies(self) -> tuple[str, ...]:
        """Names of the studies to compare with."""
        return tuple(name.strip() for name in self.against.split(",") if name.strip())


def main() -> int:
    """The command."""
    return run_command(ConfirmOptions, confirm, __doc__ or "", "confirm")


def confirm(options: ConfirmOptions) -> None:
    """Train what is missing, then write and print the verdict."""
    record = SearchRecord.load(options.folder / "constants.json")
    trainings = trainings_of(options.folder, record, images=options.images, epochs=options.epochs, data=options.data)
    constants = rules(record, options.rival_names, options.other_studies, options.results)
    entries = plan(trainings.base, record.cost_model, constants, options.sizes, trainings.rounding)
    rows = _train_missing(options, trainings, entries)
    _conclude(options, record, trainings, entries, [row for row in rows if row["setting"] == trainings.key])


def _train_missing(options: ConfirmOptions, trainings: Trainings, entries: list[Entry]) -> list[dict[str, Any]]:
    """All rows of ``confirm.csv``, once every network has a score with every seed."""
    path = options.folder / "confirm.csv"
    rows = read_rows(path, _COLUMNS, ("phi", "seed", "score"))
    networks: dict[tuple[float, str], Entry] = {}
    for entry in entries:
        networks.setdefault((entry.phi, entry.network.fingerprint), entry)
    wanted = [(*place, fresh_seed(place[0], number)) for number in range(options.seeds) for place in networks]
    done = {(float(r["phi"]), r["fingerprint"], int(r["seed"])) for r in rows if r["setting"] == trainings.key}
    missing = [item for item in wanted if item not in done]
    print("\n".join(trainings.describe()))
    print(f"{len(networks)} networks, {len(wanted) - len(missing)} of {len(wanted)} trainings done")
    calls = [trainings.call(networks[phi, key], seed) for phi, key, seed in missing]
    work = [networks[phi, key].network.cost.macs for phi, key, _ in missing]
    outcomes = run_all(make_executor(options.run), trainings.work(), calls) if calls else ()
    start, worked = time.monotonic(), 0
    for index, (place, outcome) in enumerate(outcomes, 1):
        phi, key, seed = missing[place]
        row = {**dataclasses.asdict(networks[phi, key].network.cost), **_row(trainings, outcome)}
        rows.append({"setting": trainings.key, "phi": phi, "fingerprint": key, "seed": seed, **row})
        write_rows(path, _COLUMNS, rows)
        worked += work[place]
        names = "=".join(entry.name for entry in entries if (entry.phi, entry.network.fingerprint) == (phi, key))
        state = f"{index}/{len(missing)}{minutes_left(worked, sum(work), time.monotonic() - start)}"
        shown = score_text(float(row["score"])) if row["score"] else row["failure"]
        print(f"phi {phi:g} {names}: {shown}   [{state}]", flush=True)
    return rows


def _row(trainings: Trainings, outcome: Done | Raised) -> dict[str, Any]:
    """Score, seconds and failure of a training. Raises what it raised, unless that is a failed training."""
    if isinstance(outcome, Raised):
        if isinstance(outcome.error, TrialError):
            return {"score": "", "failure": str(outcome.error), "seconds": 0.0}
        raise outcome.as_error("a training")
    value = outcome.value
    return {"score": repr(trainings.score(value)), "failure": "", "seconds": round(value.seconds, 2)}


def _conclude(
    options: ConfirmOptions,
    record: SearchRecord,
    trainings: Trainings,
    entries: list[Entry],
    rows: list[dict[str, Any]],
) -> None:
    """Compare, print, and write the verdict into the current record."""
    from search.confirm import as_json, compare, expectation, verdict
    from search.hold import writing

    counted = trainings.images if record.score_name == "accuracy" else None
    by_name = _scores(entries, rows, options.seeds)
    rivals = {name: scores for name, scores in by_name.items() if name != OURS}
    comparisons = compare(by_name[OURS], rivals, record.direction, images=counted)
    for item in comparisons:
        print(item.sentence())
    length = trainings.length
    same = record.length is None or (length is not None and record.length.images == length.images)
    confirmation = {
        "verdict": f"{verdict(comparisons)}, after {length.describe()}" if length else verdict(comparisons),
        "length": dataclasses.asdict(length) if length else None,
        "phis": sorted({entry.phi for entry in entries}),
        "seeds": options.seeds,
        "images": trainings.images,
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
