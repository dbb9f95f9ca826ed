"""What a network costs on this machine: inference latency, time of a training step, and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from objectives.cpu import fit_to_device
from objectives.networks.build import build_network
from objectives.training.device import autocast, memory_errors, reserved
from objectives.training.settings import TrainSettings
from phiscale.spec import NetworkSpec

UNITS = {"latency": "seconds", "train-step": "seconds", "memory": "bytes"}


def measure(
    spec: NetworkSpec, metric: str, settings: TrainSettings, device: torch.device, *, batch: int, repeats: int
) -> float:
    """The cost of one batch of random images, in ``UNITS[metric]``: the median time of ``repeats``, or peak memory.

    Latency is inference without gradients; a training step is forward, backward and update; memory is the training
    step's: the allocator's peak on a GPU, on a CPU the bytes of all tensors that the backward pass keeps, with weights,
    gradients and momenta. Raises ``TrialError`` where memory runs out.
    """
    with reserved(device, settings, 0), memory_errors(f"{spec.name} at {spec.resolution} pixels", device):
        network = build_network(spec, 0).to(device)
        images = torch.rand(batch, spec.in_channels, spec.resolution, spec.resolution, device=device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.arange(batch, device=device) % spec.classes
        if metric == "latency":
            run = _inference(network, images, settings)
        else:
            fit_to_device(network, device, settings)
            run = _step(network, images, labels, settings)
        if metric == "memory":
            return _memory(network, run, device)
        return _median_seconds(run, device, repeats)


def _inference(network: nn.Module, images: torch.Tensor, settings: TrainSettings) -> Callable[[], None]:
    network.eval()
    cast = autocast(images.device, settings)

    @torch.no_grad()
    def run() -> None:
        with cast:
            network(images)

    return run


def _step(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: TrainSettings
) -> Callable[[], None]:
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, nesterov=True)
    cast = autocast(images.device, settings)

    def run() -> None:
        optimiser.zero_grad()
        with cast:
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return run


def _median_seconds(run: Callable[[], None], device: torch.device, repeats: int) -> float:
    seconds = []
    for index in range(repeats + 2):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        if index >= 2:
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _memory(network: nn.Module, run: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        run()
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return float(torch.cuda.max_memory_allocated(device))
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    weights = {parameter.data_ptr(): parameter.nbytes for parameter in network.parameters()}
    return float(sum(size for pointer, size in kept.items() if pointer not in weights) + 3 * sum(weights.values()))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
