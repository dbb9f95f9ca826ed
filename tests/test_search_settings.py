"""Settings of a search that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from phiscale import SettingsError
from search.settings import SearchSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "annealing"}, "method of cmaes, gp, grid, lattice, qmc, random, tpe, got 'annealing'"),
        ({"method": "_finite"}, "method of cmaes"),
        ({"replicate": "always"}, "replicate of none or auto"),
        ({"trials": 0}, "trials to be at least 1"),
        ({"trials": "40"}, "trials to be a whole number, got '40'"),
        ({"horizon_epochs": "90"}, "the horizon in epochs to be a number, got '90'"),
        ({"step": "0.1"}, "step to be a number, got '0.1'"),
        ({"baselines": 3}, "baselines to be a non-empty text, got 3"),
        ({"until_gain": [1]}, "until_gain to be a number"),
        ({"trials": True}, "trials to be a whole number"),
        ({"seeds": -1}, "seeds to be at least 1"),
        ({"seed": -1}, "seed of 0"),
        ({"step": float("nan")}, "step to be finite"),
        ({"tolerance": float("inf")}, "tolerance to be finite"),
        ({"until_region": 0}, "until_region to be above 0"),
        ({"baselines": "papper"}, "'papper'"),
    ],
)
def test_impossible_settings_say_why(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SearchSettings(**settings)
