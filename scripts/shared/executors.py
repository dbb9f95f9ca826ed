"""Where a command runs its evaluations: options, and the executor that they ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from phiscale.errors import SettingsError

if TYPE_CHECKING:
    from search.executors.contract import Executor

_MOST_WORKERS = 4096


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings:
    """Where evaluations run."""

    workers: int = 1
    """Evaluations side by side: as many as CPU cores is fastest. With one worker a seed repeats a study exactly."""
    executor: Literal["processes", "ray"] = "processes"
    """processes: of this machine, GPUs given in turn; ray: a Ray cluster (pip install 'phiscale[cluster]')."""
    address: str = "auto"
    """Of the Ray cluster: auto for the one that this machine belongs to, or ray://HOST:10001."""
    gpus_per_worker: float | None = None
    """GPUs that each worker of the Ray cluster reserves, fractions allowed. Default: 1 where the cluster has any."""
    trial_timeout: float | None = None
    """Seconds after which an evaluation is stopped and tried again, up to 3 times."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= _MOST_WORKERS:
            raise SettingsError(f"expected 1 to {_MOST_WORKERS} workers, got {self.workers}")
        for name in ("trial_timeout", "gpus_per_worker"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0 and (value or name != "trial_timeout")):
                raise SettingsError(f"expected {name} to be finite and above 0, got {value!r}")


def make_executor(settings: ExecutorSettings) -> Executor:
    """The executor. Raises ``SettingsError`` where Ray is not installed."""
    if settings.executor == "ray":
        from search.executors.ray_cluster import RayCluster

        return RayCluster(
            settings.workers,
            address=settings.address,
            gpus=settings.gpus_per_worker,
            timeout=settings.trial_timeout,
        )
    if settings.workers == 1 and settings.trial_timeout is None:
        from search.executors.in_process import InProcess

        return InProcess()
    from search.executors.processes import Processes

    return Processes(settings.workers, timeout=settings.trial_timeout)
