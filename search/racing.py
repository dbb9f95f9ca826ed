"""Where the next trial is worth its cost: measuring a promising network again, or ending the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phiscale.triangle import CostModel
from search.horizon import Aim, out_of_reach
from search.measurements import Measurement, measurements
from search.recommend import FEWEST, as_array, recommend, surface_at
from search.settings import SPREAD_FIRST, SearchSettings
from search.workers import one_thread

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STOPPED = "stopped"
"""User attribute of a study: why its last run ended."""
_EVERY = 4
_SURE = 1.6449
_ENOUGH_TO_STOP = 16
"""Evaluations below which a study goes on whatever its surface says: the model has hardly been put to the test."""


def worth_repeating(
    trials: Sequence[FrozenTrial], taken: int, settings: SearchSettings, cost_model: CostModel, aim: Aim
) -> tuple[dict[str, float], dict[str, Any]] | None:
    """Unit parameters and attributes of the trial to measure again, or None where it is not the turn of one.

    ``taken`` is the number of trials without those that were cut off.

    Of the networks that may be the best (their upper 90 % bound reaches the highest expected score) it is the one with
    the fewest evaluations, and of these the one that is expected to score highest. A grid is repeated when it is done.
    """
    if settings.replicate == "none":
        return None
    if not settings.is_grid and (taken < SPREAD_FIRST or taken % _EVERY):
        return None
    rows = measurements(trials, cost_model)
    if len(rows) < FEWEST:
        return None
    with one_thread():
        chosen = _contender(rows, aim)
    first = trials[chosen.trials[0]]
    attributes = {"repeats": chosen.trials[0], "constants": list(chosen.constants.as_tuple())}
    return dict(first.params), attributes


def _contender(rows: Sequence[Measurement], aim: Aim) -> Measurement:
    surface, _ = surface_at(rows, aim)
    mean, deviation = surface.predict(as_array([row.shares for row in rows]))
    open_rows = [index for index in range(len(rows)) if mean[index] + _SURE * deviation[index] >= mean.max()]
    return rows[min(open_rows, key=lambda index: (len(rows[index].scores), -mean[index]))]


def reason_to_stop(study: Study, settings: SearchSettings, cost_model: CostModel, aim: Aim) -> str | None:
    """Why the study has learnt enough, as a phrase; None where it has not, or where nothing was asked for."""
    if settings.until_region is None and settings.until_gain is None:
        return None
    rows = measurements(study.get_trials(deepcopy=False), cost_model)
    if sum(len(row.scores) for row in rows) < _ENOUGH_TO_STOP:
        return None
    found = recommend(rows, cost_model, aim)
    if found.outlook and found.outlook.reason and not out_of_reach(found.outlook.images, rows[0].rungs):
        return None  # more trials may still determine the horizon
    details = found.details
    part, gain = details.get("region_part"), details.get("expected_gain")
    if part is None or gain is None:
        return None
    if settings.until_region is not None and part <= settings.until_region:
        return f"the region is {part:.1%} of the triangle, at most the {settings.until_region:.1%} asked for"
    if settings.until_gain is not None and gain <= settings.until_gain:
        return f"a gain of {gain:.2g} is to be expected, at most the {settings.until_gain:.2g} asked for"
    return None
