"""What an ``objective(trial)`` of Optuna may suggest, and the trial that it gets in a search.

A point of the paper's grid lies off the surface by up to its tolerance, and may lie out of the range of a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FixedTrial

from phiscale.errors import SettingsError
from phiscale.triangle import CostModel, ScalingConstants
from search.trial import PARAMETERS, distributions_of

_OWN_STUDY = "use search.ConstantsSampler in an Optuna study of your own (docs/howto/python.md)"


class ConstantsTrial(FixedTrial):
    """Suggests the constants of a plan unchanged. Raises ``SettingsError`` for any other parameter."""

    def __init__(self, constants: ScalingConstants, cost_model: CostModel) -> None:
        super().__init__(dict(zip(PARAMETERS, constants.as_tuple(), strict=True)))
        self._ranges = distributions_of(cost_model)

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in PARAMETERS:
            raise SettingsError(
                f"expected an objective that suggests {', '.join(PARAMETERS)} alone, got one that suggests {name!r} "
                f"too; give it a fixed value, or {_OWN_STUDY}"
            )
        whole = self._ranges[name]
        if not (
            isinstance(distribution, FloatDistribution)
            and distribution.step is None
            and distribution.low <= whole.low
            and distribution.high >= whole.high
        ):
            raise range_error(name, distribution, whole)
        self._suggested_params[name] = self._params[name]
        self._distributions[name] = distribution
        return self._params[name]


def check_suggested(suggested: Iterable[str]) -> None:
    """Raise ``SettingsError`` unless all three constants are among the parameters that an objective suggested."""
    found = [name for name in PARAMETERS if name in set(suggested)]
    if len(found) < len(PARAMETERS):
        raise SettingsError(
            f"expected an objective that suggests {', '.join(PARAMETERS)}, got one that suggests "
            f"{', '.join(found) or 'none of them'}; use search.suggest_constants(trial)"
        )


def range_error(name: str, asked: BaseDistribution, whole: FloatDistribution) -> SettingsError:
    """Why a constant cannot be suggested in the range that is asked for."""
    return SettingsError(
        f"expected trial.suggest_float({name!r}, {whole.low:g}, {whole.high:g}) or a wider range, got {asked}; "
        "or use search.suggest_constants(trial)"
    )


def pruned_error() -> SettingsError:
    """The error of an objective that prunes its trial."""
    return SettingsError(
        f"expected an objective that returns a score, got TrialPruned; {_OWN_STUDY}, where pruners work"
    )
