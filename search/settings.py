"""Settings of a search; each docstring is also the help text of its option. Imports neither torch nor Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from phiscale import checks
from phiscale.errors import SettingsError
from phiscale.published import MEASURED_RULES
from search.methods import method_names

Replicate = Literal["none", "auto"]
DEFAULT_TRIALS = 40
SPREAD_FIRST = 12
"""Evaluations of published rules and an even spread before the method gp uses its model."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Which constants a study measures, and how often."""

    method: str = "gp"
    """How points are chosen. gp: where a fitted surface expects to learn most, alternating with an even spread. tpe,
    cmaes: by the scores of the longest rung, whatever the horizon. qmc: an even spread. random: at random. grid: the
    paper's steps. lattice: even shares."""
    trials: int | None = None
    """Trials in total, including earlier runs and published rules. Default: 40, or all points of a grid."""
    seeds: int = 1
    """Trainings per trial, with seeds that all trials share; the score is their mean."""
    replicate: Replicate = "none"
    """auto: every fourth trial after the first 12 measures a promising network again, with fresh seeds."""
    until_region: float | None = None
    """Stop when the 90 % region is at most this part of the triangle, e.g. 0.05."""
    until_gain: float | None = None
    """Stop when more trials are expected to add at most this to the score, e.g. 0.002."""
    seed: int = 0
    """Seed of the search and of the trainings."""
    baselines: str = "all"
    """Published rules to measure first: all, none, or names with commas between, e.g. paper,equal. A wrong name lists
    them."""
    step: float = 0.05
    """Spacing of --method grid (in alpha, beta, gamma) and lattice (in shares; must divide 1)."""
    tolerance: float = 0.05
    """Largest distance of a grid point's product from the target (--method grid only)."""
    horizon_epochs: float | None = None
    """Length for which constants are recommended, in epochs of your whole training set: the training you will really
    run. Default: the longest rung. At most 4 times the longest rung."""
    horizon_images: int | None = None
    """The same length as a number of images seen."""

    def __post_init__(self) -> None:
        if self.method not in method_names():
            raise SettingsError(f"expected a method of {', '.join(method_names())}, got {self.method!r}")
        if self.replicate not in get_args(Replicate):
            raise SettingsError(f"expected a replicate of none or auto, got {self.replicate!r}")
        for name, limit in (("until_region", self.until_region), ("until_gain", self.until_gain)):
            if limit is not None:
                checks.positive(name, limit, SettingsError)
        if self.horizon_epochs is not None and self.horizon_images is not None:
            raise SettingsError("expected a horizon in epochs or in images seen, got both")
        if self.horizon_epochs is not None:
            checks.positive("the horizon in epochs", self.horizon_epochs, SettingsError)
        whole = (("trials", self.trials), ("seeds", self.seeds), ("horizon_images", self.horizon_images))
        for name, value in whole:
            if value is not None:
                checks.whole(name, value, SettingsError)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**31:
            raise SettingsError(f"expected a seed of 0 to {2**31 - 1}, got {self.seed!r}")
        for name, number in (("step", self.step), ("tolerance", self.tolerance)):
            if checks.real(name, number, SettingsError) < 0:
                raise SettingsError(f"expected {name} to be 0 or more, got {number!r}")
        checks.text("baselines", self.baselines, SettingsError)
        _ = self.baseline_names

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """The baselines to measure. Raises ``SettingsError`` for unknown names."""
        if self.baselines in ("all", "none"):
            return tuple(MEASURED_RULES) if self.baselines == "all" else ()
        names = tuple(dict.fromkeys(name.strip() for name in self.baselines.split(",")))
        unknown = [name for name in names if name not in MEASURED_RULES]
        if unknown:
            raise SettingsError(
                f"expected baselines of all, none, or {', '.join(MEASURED_RULES)}, got {', '.join(map(repr, unknown))}"
            )
        return names

    @property
    def is_grid(self) -> bool:
        """Whether all points are known before the run."""
        return self.method in ("grid", "lattice")

    def total(self, points: int) -> int:
        """Trials of a study that has ``points`` to measure: a grid has no more, unless they are repeated."""
        if not self.is_grid:
            return self.trials or DEFAULT_TRIALS
        if self.trials is None:
            return points
        return self.trials if self.replicate == "auto" else min(self.trials, points)
