"""Where a command runs its evaluations: options, and the executor that they ask for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from phiscale.errors import SettingsError

if TYPE_CHECKING:
    from search.executors.contract import Executor

_MOST_WORKERS, _ENDLESS = 4096, 1e15
_OF_RAY = ("address", "gpus_per_worker", "memory_per_worker")


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings:
    """Where evaluations run."""

    workers: int = 1
    """Number of evaluations at the same time. As many as CPU cores is fastest. With one worker a seed repeats a study
    exactly."""
    executor: Literal["processes", "ray"] = "processes"
    """Where workers run: processes of this machine, which get its GPUs in turn, or a Ray cluster (pip install ray)."""
    address: str = "auto"
    """Address of the Ray cluster: auto for the one that this machine belongs to, or ray://HOST:10001."""
    gpus_per_worker: float | None = None
    """GPUs that each worker of the Ray cluster reserves; fractions are allowed. Default: 1 if the cluster has any."""
    memory_per_worker: float | None = None
    """GiB of memory that each worker of the Ray cluster reserves. Default: none."""
    trial_timeout: float | None = None
    """Seconds after which an evaluation is stopped and repeated, up to 3 times."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= _MOST_WORKERS:
            raise SettingsError(f"expected 1 to {_MOST_WORKERS} workers, got {self.workers}")
        limits = {"trial_timeout": self.trial_timeout, "memory_per_worker": self.memory_per_worker}
        for name, value in limits.items():
            if value is not None and not 0 < value <= _ENDLESS:
                raise SettingsError(f"expected {name} to be above 0 and at most {_ENDLESS:g}, got {value!r}")
        for name in _OF_RAY:
            if self.executor != "ray" and getattr(self, name) != getattr(type(self), name):
                raise SettingsError(
                    f"expected --{name.replace('_', '-')} with --executor ray, got it without; add that"
                )
        gpus = self.gpus_per_worker
        if gpus is not None and not (math.isfinite(gpus) and gpus >= 0):
            raise SettingsError(f"expected gpus_per_worker to be finite and not negative, got {gpus!r}")


def as_words(settings: ExecutorSettings) -> list[str]:
    """The same settings as options of another command: the number of workers, and everything that is not the
    default."""
    plain = ExecutorSettings()
    names = [name for name in vars(plain) if name == "workers" or getattr(settings, name) != getattr(plain, name)]
    return [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(settings, name)))]


def make_executor(settings: ExecutorSettings) -> Executor:
    """The executor. Raises ``SettingsError`` where Ray is not installed."""
    if settings.executor == "ray":
        from search.executors.ray_cluster import RayCluster

        return RayCluster(
            settings.workers,
            address=settings.address,
            gpus=settings.gpus_per_worker,
            memory=None if settings.memory_per_worker is None else int(settings.memory_per_worker * 2**30),
            timeout=settings.trial_timeout,
        )
    if settings.workers == 1 and settings.trial_timeout is None:
        from search.executors.in_process import InProcess

        return InProcess()
    from search.executors.processes import Processes

    return Processes(settings.workers, timeout=settings.trial_timeout)
