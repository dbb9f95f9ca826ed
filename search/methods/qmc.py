"""An even spread of points: scrambled Sobol numbers on the triangle."""

from __future__ import annotations

from phiscale.triangle import ScalingConstants, constants_at, parameter_names
from search.history import History
from search.trial import Plan

NEEDS = {"scipy": "scipy"}


def propose(history: History, count: int) -> list[Plan]:
    """The next places of the sequence."""
    first = history.places
    return [Plan(constants=point(history, place), place=place) for place in range(first, first + count)]


def point(history: History, place: int) -> ScalingConstants:
    """The constants at a place of the study's sequence."""
    from scipy.stats import qmc

    names = parameter_names(history.cost_model)
    sequence = qmc.Sobol(len(names), scramble=True, rng=history.settings.seed)
    if place:
        sequence.fast_forward(place)
    return constants_at(dict(zip(names, map(float, sequence.random(1)[0]), strict=True)), history.cost_model)
