"""What a study has measured: its trials as one row per network, and as a table for other programs."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phiscale.cost import COUNTED
from phiscale.triangle import CostModel, Multipliers, ScalingConstants, Shares, shares_of_direction

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FAILURE = "failure"
"""User attribute of a trial that failed for a reason of its own: the reason, a sentence. One cut off has none."""

RUNGS, RUNG_SCORES = "rungs", "rung_scores"
"""User attributes of a finished trial: lengths of its rungs in images seen, and per seed its scores there."""


@dataclass(frozen=True)
class Measurement:
    """One network (or point) of a study with all its evaluations."""

    names: tuple[str, ...]
    """Baselines and grid points it stands for; empty for a sampled point."""
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

    @property
    def score(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.scores)

    @property
    def name(self) -> str:
        """A name for people: its trials, and the baselines it stands for."""
        numbers = ", ".join(str(number) for number in self.trials)
        names = f" ({', '.join(self.names)})" if self.names else ""
        return f"trial{'s' if len(self.trials) > 1 else ''} {numbers}{names}"


def measurements(trials: Iterable[FrozenTrial], cost_model: CostModel) -> list[Measurement]:
    """The finished trials by network, in an order that does not depend on when they were run."""
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        if trial.state.name == "COMPLETE":
            groups.setdefault(trial.user_attrs["fingerprint"], []).append(trial)
    rows = [_merge(group, cost_model) for _, group in sorted(groups.items())]
    return sorted(rows, key=lambda row: (row.shares.as_tuple(), row.constants.as_tuple()))


def _merge(group: list[FrozenTrial], cost_model: CostModel) -> Measurement:
    group = sorted(group, key=lambda trial: trial.user_attrs["seeds"])
    first = next((trial for trial in group if "names" in trial.user_attrs), group[0])
    attributes = first.user_attrs
    constants = ScalingConstants(*(attributes[name] for name in ("alpha", "beta", "gamma")))
    realised = Multipliers(**attributes["realised"]) if "realised" in attributes else None
    return Measurement(
        names=tuple(name for trial in group for name in trial.user_attrs.get("names", ())),
        constants=constants,
        shares=_realised_shares(realised, constants, cost_model),
        scores=tuple(score for trial in group for score in trial.user_attrs["scores"]),
        trials=tuple(sorted(trial.number for trial in group)),
        rungs=tuple(attributes.get(RUNGS, ())),
        rung_scores=tuple(tuple(scores) for trial in group for scores in trial.user_attrs.get(RUNG_SCORES, ())),
    )


def _realised_shares(realised: Multipliers | None, constants: ScalingConstants, cost_model: CostModel) -> Shares:
    """Shares of the growth, or of the shrinking where phi is negative; those of the constants if there is neither."""
    if realised is not None and cost_model.growth(realised) < 1:
        realised = Multipliers(1 / realised.depth, 1 / realised.width, 1 / realised.resolution)
    if realised is None or cost_model.growth(realised) <= 1:
        realised = Multipliers(*constants.as_tuple())
    return shares_of_direction(realised, cost_model)


_COLUMNS = (
    *("number", "state", "value", "names", "alpha", "beta", "gamma", "share_depth", "share_width", "share_resolution"),
    *("product", "asked_depth", "asked_width", "asked_resolution", "realised_depth", "realised_width"),
    *("realised_resolution", "resolution", "blocks", *COUNTED, "growth", "cost_ratio", "seeds"),
    *(
        "scores",
        RUNGS,
        RUNG_SCORES,
        "seconds",
        "device",
        "peak_memory",
        "fingerprint",
        "failure_kind",
        "failure",
        "redo_of",
        "worker",
    ),
)


def trials_csv(trials: Iterable[FrozenTrial]) -> str:
    """Every trial as one row of comma-separated values; lists are JSON."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for trial in trials:
        writer.writerow({name: _cell(value) for name, value in trial_row(trial).items()})
    return out.getvalue()


def trial_row(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as one flat row of plain values, by the columns of ``trials.csv``; a failed one says why."""
    attributes = dict(trial.user_attrs)
    row: dict[str, Any] = {"number": trial.number, "state": trial.state.name, "value": trial.value}
    for group in ("asked", "realised"):
        row |= {f"{group}_{axis}": value for axis, value in attributes.pop(group, {}).items()}
    if trial.state.name == "FAIL" and FAILURE not in attributes:
        attributes |= {"failure_kind": "cut-off", FAILURE: "the run ended before the trial did"}
    return row | attributes


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value
