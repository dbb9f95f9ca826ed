"""What a study has measured: its trials as one row per network, and as a table for other programs."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from phiscale.triangle import CostModel, Multipliers, ScalingConstants, Shares, shares_of_direction
from search.trial import COLUMNS, Trial, row

_NAMED = 8
"""How many trials the name of a network lists."""


@dataclass(frozen=True)
class Measurement:
    """One network (or point) of a study with all its evaluations."""

    names: tuple[str, ...]
    """Rules and grid points it stands for; empty for a sampled point."""
    constants: ScalingConstants
    """The constants asked for."""
    shares: Shares
    """Shares of the network as realised."""
    scores: tuple[float, ...]
    """One score per seed, at the longest rung where there are rungs."""
    trials: tuple[int, ...]
    """Numbers of its trials."""
    rungs: tuple[int, ...] = ()
    """Images seen at each rung, shortest first; empty where training length plays no part."""
    rung_scores: tuple[tuple[float, ...], ...] = ()
    """Per seed, in the order of ``scores``: the score at each rung."""
    seeds: tuple[int, ...] = ()
    """Of the scores."""

    @property
    def score(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.scores)

    @property
    def name(self) -> str:
        """A name for display: its trials, and the rules it stands for."""
        numbers = ", ".join(str(number) for number in self.trials[:_NAMED])
        if len(self.trials) > _NAMED:
            numbers += f" and {len(self.trials) - _NAMED} more"
        names = f" ({', '.join(self.names)})" if self.names else ""
        return f"trial{'s' if len(self.trials) > 1 else ''} {numbers}{names}"


def measurements(trials: Iterable[Trial], cost_model: CostModel) -> list[Measurement]:
    """The finished trials by network, in an order that does not depend on when they were run."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.result is not None:
            groups.setdefault(trial.fingerprint, []).append(trial)
    rows = [_merge(group, cost_model) for _, group in sorted(groups.items())]
    return sorted(rows, key=lambda row: (row.shares.as_tuple(), row.constants.as_tuple()))


def _merge(group: list[Trial], cost_model: CostModel) -> Measurement:
    group = sorted(group, key=lambda trial: trial.seeds)
    results = [trial.result for trial in group if trial.result is not None]
    first = next((trial for trial in group if trial.plan.names), group[0])
    realised = first.sizes.realised if first.sizes else None
    return Measurement(
        names=tuple(name for trial in group for name in trial.plan.names),
        constants=first.constants,
        shares=_realised_shares(realised, first.constants, cost_model),
        scores=tuple(score for result in results for score in result.scores),
        trials=tuple(sorted(trial.number for trial in group)),
        seeds=tuple(seed for trial in group for seed in trial.seeds),
        rungs=results[0].rungs,
        rung_scores=tuple(scores for result in results for scores in result.rung_scores),
    )


def _realised_shares(realised: Multipliers | None, constants: ScalingConstants, cost_model: CostModel) -> Shares:
    """Shares of the growth, or of the shrinking where phi is negative; those of the constants if there is neither."""
    if realised is not None and cost_model.growth(realised) < 1:
        realised = Multipliers(1 / realised.depth, 1 / realised.width, 1 / realised.resolution)
    if realised is None or cost_model.growth(realised) <= 1:
        realised = Multipliers(*constants.as_tuple())
    return shares_of_direction(realised, cost_model)


def trials_csv(trials: Iterable[Trial]) -> str:
    """Every trial as one row of comma-separated values; lists are JSON."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        writer.writerow({name: _cell(value) for name, value in row(trial).items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else value
