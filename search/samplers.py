"""The points of a method before scores count, and Optuna's samplers by its name."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from phiscale.errors import SettingsError
from search.settings import SearchSettings

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_SKLEARN = {"scipy": "scipy", "sklearn": "scikit-learn"}
_NEEDS: dict[str, dict[str, str]] = {"gp": _SKLEARN, "qmc": {"scipy": "scipy"}, "cmaes": {"cmaes": "cmaes"}}
"""Modules that a method needs, with the names under which they are installed."""


def check_method(settings: SearchSettings, parameters: int) -> None:
    """Raise ``SettingsError`` where the method lacks a package, or cannot search so few parameters."""
    needed = _NEEDS.get(settings.method, {})
    missing = [package for module, package in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SettingsError(
            f"the method {settings.method} needs {', '.join(missing)}, which is not installed; "
            f"pip install {' '.join(missing)}, or use --method tpe"
        )
    if settings.method == "cmaes" and parameters < 2:
        raise SettingsError("expected another method than cmaes, which cannot search a single parameter; use gp")


SPREADING = ("gp", "qmc", "random")
"""Methods whose points are spread without regard to scores; of gp the first ones and every other later one."""
SPREAD = "spread"
"""User attribute of a spread trial: its place in the sequence, which a trial that is redone keeps."""


def spread_point(settings: SearchSettings, place: int, names: Sequence[str]) -> dict[str, float]:
    """The unit parameters at a place of the study's sequence: scrambled Sobol, or uniform for the method random."""
    import numpy as np
    from scipy.stats import qmc

    if settings.method == "random":
        values = np.random.default_rng([settings.seed, place]).random(len(names))
    else:
        sequence = qmc.Sobol(len(names), scramble=True, rng=settings.seed)
        if place:
            sequence.fast_forward(place)
        values = sequence.random(1)[0]
    return dict(zip(names, map(float, values), strict=True))


def make_sampler(settings: SearchSettings, existing: int) -> BaseSampler:
    """Optuna's sampler for the next trial of a study that has ``existing`` ones (those that were cut off do not count).

    It is of no effect where the point of the trial is known.

    Made afresh for every trial: a resumed study then asks for the same point as an uninterrupted one, where a sampler
    resumed with its first seed would repeat its points.
    """
    from optuna import samplers
    from optuna.exceptions import ExperimentalWarning

    seed = (settings.seed * 1_000_003 + existing) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if settings.method == "tpe":
            return samplers.TPESampler(seed=seed, multivariate=True)
        if settings.method == "cmaes":
            return samplers.CmaEsSampler(seed=seed)
    return samplers.RandomSampler(seed=seed)
