"""Measuring a promising network again, with fresh seeds."""

from __future__ import annotations

from search.history import History
from search.settings import SPREAD_FIRST
from search.trial import Plan

_EVERY = 4
_SURE = 1.6449


def repeat(history: History, turn: int) -> Plan | None:
    """The network to measure again in this trial; None if this trial is not a replicate. Candidates are networks that
    may be the best: their upper 90 % bound reaches the highest expected score. The one with the fewest evaluations is
    taken, and among equals the one with the highest expected score. A grid is repeated when it is done.
    """
    import numpy as np

    from search.aggregation import merge_places
    from search.recommendation import FEWEST, as_array

    settings = history.settings
    if settings.replicate == "none" or len(history.rows) < FEWEST:
        return None
    if not settings.is_grid and (turn < SPREAD_FIRST or turn % _EVERY):
        return None
    surface, _ = history.surface
    places, index = np.unique(merge_places(as_array([row.shares for row in history.rows])), axis=0, return_inverse=True)
    mean, deviation = (values[index.ravel()] for values in surface.predict(places))
    may_be_best = [at for at in range(len(mean)) if mean[at] + _SURE * deviation[at] >= mean.max()]
    chosen = history.rows[min(may_be_best, key=lambda at: (len(history.rows[at].scores), -mean[at]))]
    return Plan(constants=chosen.constants, repeats=chosen.trials[0])
