"""What the device can do at most, measured: multiply-adds of a large matrix product, and bytes copied."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from phiscale.cost import count_cost
from phiscale.spec import NetworkSpec

_TRAINING_PASSES = 3
"""Forward, gradient of the inputs, gradient of the weights: each costs the same multiply-accumulates."""
_TRANSFERS = 12
"""Times that an element of a convolution's output is at least read or written in one training step.

Forward: written, read for its statistics, read and written by the normalisation, read by the next convolution (5).
Backward: the gradient is written and read by both gradients of the next convolution, and with the stored output read
for the sums and read and written by the normalisation's own gradient (7). Activation functions are not counted.
"""


@dataclass(frozen=True)
class Rates:
    """Measured on this device with the number of threads given."""

    flops: float
    """Operations per second of a matrix product (a multiply-add is two)."""
    bytes: float
    """Bytes per second, read and written, of a copy much larger than any cache."""
    what: str


def measure_rates(device: torch.device, threads: int) -> Rates:
    """The median of several runs: bfloat16 on a GPU, float32 on a CPU, as the engine trains."""
    is_gpu = device.type == "cuda"
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        side, dtype = (8192, torch.bfloat16) if is_gpu else (1024, torch.float32)
        left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        flops = 2 * side**3 / _median(lambda: left @ right, device)
        source = torch.ones(2**30 if is_gpu else 2**26, device=device, dtype=torch.uint8)
        target = torch.empty_like(source)
        copied = 2 * source.numel() / _median(lambda: target.copy_(source), device)
    finally:
        torch.set_num_threads(before)
    return Rates(flops, copied, f"{str(dtype).removeprefix('torch.')}, {threads} threads" if not is_gpu else str(dtype))


def training_work(spec: NetworkSpec, *, element_bytes: int) -> tuple[float, float]:
    """Operations, and bytes moved at least, for training on one image."""
    cost = count_cost(spec)
    return 2.0 * _TRAINING_PASSES * cost.macs, float(_TRANSFERS * element_bytes * cost.activations)


def _median(run: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
