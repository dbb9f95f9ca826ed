"""Optuna's samplers and pruners by the name of a method."""

from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING

from phiscale.errors import SettingsError
from search.settings import SearchSettings

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
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


def make_sampler(settings: SearchSettings, existing: int) -> BaseSampler:
    """The sampler for the next trial of a study that has ``existing`` ones.

    Made afresh for every trial: a resumed study then asks for the same point as an uninterrupted one, where a sampler
    resumed with its first seed would repeat its points. For the method gp it is the even spread with which a study
    begins; what follows is chosen by ``search.acquisition``.
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
        if settings.method in ("gp", "qmc"):
            return samplers.QMCSampler(scramble=True, seed=settings.seed, warn_independent_sampling=False)
    return samplers.RandomSampler(seed=seed)


def make_pruner(settings: SearchSettings) -> BasePruner:
    """The pruner of the study."""
    from optuna import pruners

    if settings.pruning == "median":
        return pruners.MedianPruner(n_startup_trials=8)
    if settings.pruning == "hyperband":
        return pruners.HyperbandPruner(min_resource=1)
    return pruners.NopPruner()
