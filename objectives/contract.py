"""What an objective is: constants in, one measured evaluation out. Imports neither torch nor Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from phiscale.cost import Cost
from phiscale.network import ScaledNetwork
from phiscale.triangle import CostModel, Multipliers, ScalingConstants


@dataclass(frozen=True)
class CountedNetwork:
    """Sizes and counted cost of a network without a spec, such as one of a user's own factory."""

    source: str
    """What made it, e.g. ``package.module:attribute``."""
    asked: Multipliers
    """Multipliers before any walk to a budget."""
    realised: Multipliers
    """Multipliers it was made with; that of the resolution is of whole pixels."""
    resolution: int
    """Side of the input, in pixels."""
    cost: Cost
    """Counted cost of the network."""
    base_cost: Cost
    """Counted cost of the baseline."""
    fingerprint: str
    """Equal for networks that count as the same network."""

    def growth(self, cost_model: CostModel) -> float:
        """Cost as a multiple of the baseline's, by the metric of the cost model."""
        if cost_model.metric == "formula":
            return cost_model.growth(self.realised)
        return self.cost.over(self.base_cost, cost_model.metric)


AnyNetwork = ScaledNetwork | CountedNetwork
"""What an objective may name as the network that it trains."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One measured score of one set of constants with one seed."""

    score: float
    """The value that the study optimises, in the unit of the objective; with rungs that of the longest."""
    seconds: float
    """Wall-clock time of the evaluation."""
    device: str
    """What it ran on, e.g. ``cpu`` or the name of a GPU."""
    peak_memory: int = 0
    """Largest memory in use, in bytes: the device's on CUDA, the process's on a CPU; 0 if unknown."""
    network: AnyNetwork | None = None
    """The network that was trained; None where the objective trains none."""
    rungs: Mapping[int, float] = field(default_factory=dict)
    """Score at each rung by its length in images seen, shortest first; empty where training length plays no part."""
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Value per rung of each part of the score, e.g. ``accuracy``, ``log_loss``, ``train_loss``."""


@runtime_checkable
class Objective(Protocol):
    """Scores scaling constants; what ``--objective package.module:attribute`` must name.

    ``direction`` is ``maximize`` or ``minimize``. ``describe`` returns plain JSON values, which must differ between
    settings whose scores cannot be compared. The record takes ``network`` (a spec as ``NetworkSpec.to_dict`` makes it),
    ``data`` and ``train`` (objects), ``phi`` (a number) and ``score`` (a name) from them, if they are given.
    ``rungs`` there is the list of lengths, in images seen, at which every evaluation has a score; ``epoch_images`` in
    ``data`` is the number of images in one epoch, by which lengths in epochs are read. ``network`` returns the network
    that constants stand for (None if the objective has none) and raises ``BudgetError`` where there is none.
    ``evaluate`` raises ``TrialError`` for an evaluation that failed while the search can go on.
    """

    @property
    def direction(self) -> str: ...

    def describe(self) -> dict[str, object]: ...

    def network(self, constants: ScalingConstants) -> AnyNetwork | None: ...

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation: ...
