"""The machine under one training: device, threads, precision, random state, memory."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

import torch

from objectives.training.memory import give_back
from objectives.training.settings import TrainSettings
from phiscale.errors import SettingsError, TrialError

_THREADS = 1
"""Threads of one trial on a CPU, unless a number is given.

Small layers gain nothing from a second thread, and lose much if another process needs the core: at four times the proxy
baseline a trial took 6.2 s on one thread and 9.5 s on two, by depth alone 9.0 s and 22.8 s (two cores, shared).
"""
_OUT_OF_MEMORY = (
    *("can't allocate memory", "not enough memory", "bad_alloc", "out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "HOST_ALLOCATION_FAILED", "DEVICE_ALLOCATION_FAILED"),
)
"""Texts of torch's RuntimeErrors for memory that is used up, on a CPU or inside the libraries of a GPU."""


def choose_device(name: str) -> torch.device:
    """The device of this name; ``auto`` is the GPU if there is one. Raises ``SettingsError``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"expected a device of auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"expected a device that is there, got {name!r} of {torch.cuda.device_count()} GPUs; use auto"
        )
    return device


def device_name(device: torch.device) -> str:
    """``cpu`` or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def is_halved(device: torch.device, settings: TrainSettings) -> bool:
    """Whether the network runs in bfloat16."""
    if settings.precision != "auto" or device.type != "cuda":
        return settings.precision == "bfloat16"
    with torch.cuda.device(device):  # of which torch asks; another GPU of the machine may be older
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def autocast(device: torch.device, settings: TrainSettings) -> torch.autocast:
    """The context in which the network runs in the precision of the settings."""
    halved = is_halved(device, settings)
    return torch.autocast(device.type, torch.bfloat16, enabled=halved, cache_enabled=False)  # no weight is used twice


@contextlib.contextmanager
def reserved(device: torch.device, settings: TrainSettings, seed: int) -> Iterator[None]:
    """Set the current GPU, threads, deterministic kernels and a seeded global random state; restore all of them at the
    end."""
    threads = torch.get_num_threads()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    devices = [device] if device.type == "cuda" else []
    # a graph that is captured opens the current GPU, too
    current = torch.cuda.device(device) if devices else contextlib.nullcontext()
    with current, torch.random.fork_rng(devices):
        try:
            torch.set_num_threads(settings.threads or _THREADS)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed all GPUs, for good
            if device.type == "cuda":
                torch.cuda.manual_seed(seed)
                torch.cuda.reset_peak_memory_stats(device)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


@contextlib.contextmanager
def memory_errors(what: str, device: torch.device) -> Iterator[None]:
    """Turn running out of memory into ``TrialError`` of the kind ``out-of-memory``.

    Tracebacks of this error, and of a diverged training, keep no local variables, because these would keep the memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        out_of_memory = known or any(text in str(error) for text in _OUT_OF_MEMORY)
        if out_of_memory or (isinstance(error, TrialError) and error.kind == "diverged"):
            traceback.clear_frames(error.__traceback__)
        if not out_of_memory:
            raise
        give_back(device)
        raise TrialError(
            "out-of-memory",
            f"{what} does not fit the memory; use smaller batches, a smaller phi, fewer workers, or on a GPU "
            "--train.no-cuda-graph",
        ) from None


def peak_memory(device: torch.device) -> int:
    """Bytes: the largest allocation on a GPU; on a CPU the largest resident size of the process; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
