"""What the methods share whose points are all known in advance."""

from __future__ import annotations

from collections.abc import Iterable

from phiscale.triangle import ScalingConstants
from search.history import History
from search.trial import Plan, point_key, shares_of_constants


def next_of(points: Iterable[tuple[str, ScalingConstants]], history: History, count: int) -> list[Plan]:
    """The first ``count`` points that the study does not hold."""
    tried = [trial for trial in history.trials if trial.is_attempt or trial.is_running]
    held = {point_key(trial.shares) for trial in tried}
    found: list[Plan] = []
    for name, constants in points:
        if len(found) < count and point_key(shares_of_constants(constants, history.cost_model)) not in held:
            found.append(Plan(constants=constants, names=(name,)))
    return found


def point_name(method: str, values: Iterable[float]) -> str:
    """Name of a point by its position on the grid, which does not depend on step or tolerance."""
    return f"{method}:{'/'.join(f'{value:.6g}' for value in values)}"
