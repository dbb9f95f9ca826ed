"""What the user sees of a run; that of the commands is in ``scripts/shared/console.py``."""

from __future__ import annotations

from typing import Protocol

from search.trial import Trial


class Progress(Protocol):
    """Called at the beginning of a run, and for every trial that ends."""

    def begin(self, trials: list[Trial], total: int, notes: list[str]) -> None: ...

    def trial_ended(self, trial: Trial) -> None: ...


class Silent:
    """Says nothing."""

    def begin(self, trials: list[Trial], total: int, notes: list[str]) -> None:
        """Nothing."""

    def trial_ended(self, trial: Trial) -> None:
        """Nothing."""
