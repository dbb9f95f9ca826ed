"""Covariance matrix adaptation on the unit square, by the scores of the longest rung.

All finished trials are told in the order of their numbers, generation by generation; the trials that do not fill a
generation wait for it. Source: Hansen 2016, "The CMA evolution strategy: a tutorial" (the package ``cmaes``).
"""

from __future__ import annotations

from typing import Any

from phiscale.triangle import constants_at, parameter_names, parameters_at
from search.history import History
from search.trial import Plan

NEEDS = {"cmaes": "cmaes", "numpy": "numpy"}
FEWEST_AXES = 3
_SPREAD = 1 / 6
"""First standard deviation of a unit parameter, as Optuna's sampler takes it."""


def propose(history: History, count: int) -> list[Plan]:
    """The next points of the current generation."""
    import numpy as np
    from cmaes import CMA

    names = parameter_names(history.cost_model)
    bounds = np.tile([0.0, 1.0], (len(names), 1))
    optimizer = CMA(mean=np.full(len(names), 0.5), sigma=_SPREAD, bounds=bounds, seed=history.next_seed)
    told = _told(history)
    size = optimizer.population_size
    for first in range(0, len(told) - size + 1, size):
        optimizer.tell(told[first : first + size])
    asked = ([float(value) for value in optimizer.ask()] for _ in range(count))
    return [Plan(constants=constants_at(dict(zip(names, x, strict=True)), history.cost_model)) for x in asked]


def _told(history: History) -> list[tuple[Any, float]]:
    """Unit parameters and value to minimise of every finished trial."""
    import numpy as np

    sign = 1.0 if history.aim.direction == "minimize" else -1.0
    finished = [trial for trial in history.trials if trial.state == "COMPLETE" and trial.value is not None]
    units = [parameters_at(trial.shares, history.cost_model).values() for trial in finished]
    return [(np.array([*unit]), sign * float(trial.value or 0.0)) for unit, trial in zip(units, finished, strict=True)]
