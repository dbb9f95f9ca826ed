"""What a method of the search may use when it proposes the next points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from phiscale.triangle import CostModel, ScalingConstants, Shares
from search.aim import Aim
from search.horizon import Fitted, Scale
from search.measurements import Measurement, measurements
from search.settings import SearchSettings
from search.trial import Plan, Trial, running_trial


@dataclass(frozen=True, eq=False)
class History:
    """The trials of a study so far, and its settings."""

    trials: Sequence[Trial]
    """All of them, running ones too."""
    cost_model: CostModel
    settings: SearchSettings
    aim: Aim
    is_open: Callable[[ScalingConstants], bool] = lambda _: True
    """Whether constants stand for a network with which no trial has failed."""

    @property
    def taken(self) -> int:
        """Trials that count or run. Interrupted ones do not count, so that a kill does not change the order of
        proposals."""
        return sum(trial.is_attempt or trial.is_running for trial in self.trials)

    @property
    def places(self) -> int:
        """Positions of the even spread that are taken."""
        return 1 + max((trial.plan.place for trial in self.trials if trial.plan.place is not None), default=-1)

    @property
    def next_seed(self) -> int:
        """A different seed for every trial, so that a resumed study asks for the same points as an uninterrupted
        one."""
        return (self.settings.seed * 1_000_003 + self.taken) % 2**32

    @cached_property
    def rows(self) -> list[Measurement]:
        """One per measured network."""
        return measurements(self.trials, self.cost_model)

    @cached_property
    def pending(self) -> list[Shares]:
        """Points without a score: those that run, and those that failed or were pruned."""
        return [trial.shares for trial in self.trials if trial.state in ("RUNNING", "PRUNED") or trial.failure]

    @cached_property
    def surface(self) -> tuple[Fitted, Scale]:
        """The surface at the horizon and its scale, fitted once to every training."""
        from search.recommendation import surface_at
        from search.threads import one_thread

        with one_thread():
            return surface_at(self.rows, self.aim, each=True)

    def with_running(self, plans: Sequence[Plan]) -> History:
        """The history when these run too; they do not change the surface, which is not fitted again."""
        if not plans:
            return self
        running = [running_trial(-1, plan, self.cost_model) for plan in plans]
        following = replace(self, trials=[*self.trials, *running])
        for name in ("rows", "surface"):
            if name in vars(self):
                vars(following)[name] = vars(self)[name]
        return following
