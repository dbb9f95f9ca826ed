"""When a study has learnt enough to stop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from search.history import History
from search.settings import SearchSettings

if TYPE_CHECKING:
    from search.recommendation import Recommendation

FEWEST = 16
"""With fewer evaluations a study continues whatever its surface says, because the model is hardly tested."""


CHECKS = 4
"""The rule has to hold after so many trials in a row, because one lucky trial narrows the region for a moment."""


def reason_to_stop(history: History) -> str | None:
    """Why the study has learnt enough, as a phrase; None if it has not, or if no rule was given."""
    settings = history.settings
    if settings.until_region is None and settings.until_gain is None:
        return None
    finished = [trial for trial in history.trials if trial.result is not None]
    reason = None
    for back in range(CHECKS):
        earlier = history if not back else replace(history, trials=finished[: len(finished) - back])
        found = _enough_at(earlier)
        if found is None:
            return None
        reason = reason or found
    return reason


def _enough_at(history: History) -> str | None:
    """Why these trials alone would be enough."""
    from search.aim import out_of_reach
    from search.recommendation import recommend

    rows = history.rows
    if sum(len(row.scores) for row in rows) < FEWEST:
        return None
    found = recommend(rows, history.cost_model, history.aim, with_drift=False)
    if found.outlook and found.outlook.reason and not out_of_reach(found.outlook.images, rows[0].rungs):
        return None  # more trials may still determine the horizon
    return enough(found, history.settings)


def enough(found: Recommendation, settings: SearchSettings) -> str | None:
    """Why this recommendation is as sure as was asked for, as a phrase; None where it is not."""
    part, gain = found.details.get("region_part"), found.details.get("expected_gain")
    if part is None or gain is None:
        return None
    if settings.until_region is not None and part <= settings.until_region:
        return f"the region is {part:.1%} of the triangle, at most the {settings.until_region:.1%} asked for"
    if settings.until_gain is not None and gain <= settings.until_gain:
        return f"a gain of {gain:.2g} is to be expected, at most the {settings.until_gain:.2g} asked for"
    return None
