"""Trainings of networks under several settings, stored rung by rung in a table, so that a killed command can resume.

Not a command: ``phiscale check`` uses it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.training.rungs import Rung, plan_rungs, total_steps
from objectives.training.settings import TrainSettings
from phiscale.errors import StudyError, TrialError
from phiscale.score_text import score_text
from scripts.shared.console import minutes_left
from scripts.shared.executors import ExecutorSettings, make_executor
from scripts.shared.tables import read_rows, write_rows
from scripts.shared.training import Training
from search.executors.contract import Done, Raised, run_all

if TYPE_CHECKING:
    from objectives.data.imageset import ImageSet
    from objectives.growth import TrainableNetwork
    from objectives.training.train import ProxyRun

_COLUMNS = ("setting", "images", "learning_rate", "fingerprint", "seed", "rung", "score", "seconds")


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """One way of training: distinct images, learning rate and length."""

    data: ImageSet
    train: TrainSettings
    """With its length in images seen."""

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """Shortest first."""
        return plan_rungs(self.train, len(self.data.train_labels))

    @cached_property
    def key(self) -> str:
        """Equal for settings whose scores are equal."""
        facts = [self.data.fingerprint, self.train.describe()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def name(self, rung: Rung) -> str:
        """For tables."""
        return f"{rung.images:,} images seen, {len(self.data.train_labels):,} distinct"

    def at_rate(self, factor: float) -> Setting:
        """The same at another learning rate."""
        rate = factor * self.train.learning_rate
        return Setting(data=self.data, train=dataclasses.replace(self.train, learning_rate=rate))


class ScoreTable:
    """Score and seconds of every training at every rung: in memory and in fidelity.csv."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = read_rows(path, _COLUMNS, ("seed", "rung", "score", "seconds"))

    def get(self, setting: Setting, network: TrainableNetwork, seed: int) -> list[tuple[float, float]] | None:
        """(score, seconds) at each rung, NaN where the training diverged; None where a rung is missing."""
        place = setting.key, network.fingerprint, str(seed)
        found = {
            str(row["rung"]): (math.nan if row["score"] == "" else float(row["score"]), float(row["seconds"]))
            for row in self._rows
            if _place(row) == place
        }
        wanted = [str(rung.images) for rung in setting.rungs]
        return [found[images] for images in wanted] if set(wanted) <= set(found) else None

    def add(self, setting: Setting, network: TrainableNetwork, seed: int, scores: list[tuple[Any, float]]) -> None:
        """Store a training, also in the file, and replace rows that hold a part of it. Raises ``FileError``."""
        place = setting.key, network.fingerprint, str(seed)
        self._rows = [row for row in self._rows if _place(row) != place]
        facts = (setting.key, len(setting.data.train_labels), setting.train.learning_rate, network.fingerprint, seed)
        for rung, score in zip(setting.rungs, scores, strict=True):
            self._rows.append(dict(zip(_COLUMNS, (*facts, rung.images, *score), strict=True)))
        write_rows(self._path, _COLUMNS, self._rows)


def _place(row: dict[str, Any]) -> tuple[str, str, str]:
    """Setting, network and seed of a row."""
    return row["setting"], row["fingerprint"], str(row["seed"])


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a setting for some networks."""

    setting: Setting
    scores: list[list[list[float]]]
    """By rung, seed and network; NaN where a training diverged."""
    seconds: list[float]
    """Mean time of a training that ends at each rung, estimated by its steps."""


def measure(
    setting: Setting,
    networks: Sequence[TrainableNetwork],
    seeds: int,
    table: ScoreTable,
    run: ExecutorSettings,
    *,
    may_diverge: bool = False,
) -> Scores:
    """The scores of every network with every seed; trains what the table lacks."""
    places = [(seed, index) for seed in range(seeds) for index in range(len(networks))]
    missing = [(seed, at) for seed, at in places if table.get(setting, networks[at], seed) is None]
    calls = [(networks[at].spec, seed, setting.train.learning_rate) for seed, at in missing]
    outcomes = run_all(make_executor(run), Training(setting.data, setting.train), calls) if calls else iter(())
    start = time.monotonic()
    for index, (place, outcome) in enumerate(outcomes, 1):
        seed, at = missing[place]
        found = _scored(setting, networks[at], seed, outcome, may_diverge=may_diverge)
        table.add(setting, networks[at], seed, [("" if math.isnan(s) else s, seconds) for s, seconds in found])
        left = minutes_left(index, len(missing), time.monotonic() - start)
        state = f"[{index}/{len(missing)}{left}]"
        print(f"{_progress(setting, found, seed, f'{at + 1}/{len(networks)}')}   {state}", flush=True)
    runs = [[table.get(setting, network, seed) or [] for network in networks] for seed in range(seeds)]
    rungs = range(len(setting.rungs))
    times = [[found[rung][1] for row in runs for found in row] for rung in rungs]
    scores = [[[found[rung][0] for found in row] for row in runs] for rung in rungs]
    return Scores(setting, scores, [sum(column) / len(column) for column in times])


def _scored(
    setting: Setting, network: TrainableNetwork, seed: int, outcome: Done | Raised, *, may_diverge: bool
) -> list[tuple[float, float]]:
    """(score, seconds) at each rung. Raises ``StudyError`` for a training that failed."""
    rungs = setting.rungs
    if isinstance(outcome, Raised):
        if may_diverge and isinstance(outcome.error, TrialError) and outcome.error.kind == "diverged":
            return [(math.nan, 0.0)] * len(rungs)
        raise StudyError(f"{network.fingerprint} with seed {seed}: {outcome.error or outcome.what}")
    trained: ProxyRun = outcome.value
    parts = [total_steps(rungs[: index + 1]) / total_steps(rungs) for index in range(len(rungs))]
    return [(score, round(part * trained.seconds, 3)) for score, part in zip(trained.scores, parts, strict=True)]


def _progress(setting: Setting, found: list[tuple[float, float]], seed: int, place: str) -> str:
    scores = " ".join(score_text(score) for score, _ in found)
    images, rate = len(setting.data.train_labels), setting.train.learning_rate
    return f"{images:,} distinct images, learning rate {rate:g}, seed {seed}, network {place}: {scores}"
