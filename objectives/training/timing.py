"""What a network costs on this machine: inference latency, time of a training step, and memory."""

from __future__ import annotations

import dataclasses
import statistics
import time

import numpy as np
import torch

from objectives.data.imageset import ImageSet
from objectives.networks.build import build_network
from objectives.training.device import (
    autocast,
    choose_device,
    device_name,
    is_halved,
    memory_errors,
    peak_memory,
    reserved,
)
from objectives.training.settings import TrainSettings
from objectives.training.train import STEPS_AT_ONCE, Trainer, unscored_trainer
from phiscale.spec import NetworkSpec

UNITS = {"latency": "seconds", "train-step": "seconds", "memory": "bytes"}


def measure(
    spec: NetworkSpec, metric: str, settings: TrainSettings, *, batch: int | None, repeats: int
) -> tuple[float, str]:
    """The cost of one batch of random images, in ``UNITS[metric]``, and a description of how it was measured.

    Latency is inference without gradients, the median of ``repeats``. A training step is that of a trial: the steps of
    a training with these settings are timed, ``repeats`` times. Memory is the training step's: the allocator's peak on
    a GPU, on a CPU the bytes of all tensors that the backward pass keeps, with weights, gradients and momenta.
    ``batch`` is by default the batch size of the settings. Raises what ``train_proxy`` raises.
    """
    settings = dataclasses.replace(settings, batch_size=batch or settings.batch_size)
    if metric == "latency":
        return _latency(spec, settings, repeats)
    at_once = STEPS_AT_ONCE[choose_device(settings.device).type]
    short = dataclasses.replace(settings, epochs=None, images_seen=max(2, at_once) * settings.batch_size, rungs=1)
    batches = at_once if metric == "train-step" else 1  # so that no order of images is drawn while steps are timed
    with unscored_trainer(spec, _noise(spec, batches * settings.batch_size), short) as trainer:
        cost = _memory(trainer, at_once) if metric == "memory" else statistics.median(trainer.step_seconds(repeats))
        return cost, f"{_circumstances(trainer.device, settings)}, training step {trainer.kind_of_step}"


def _noise(spec: NetworkSpec, count: int) -> ImageSet:
    """So many images of the network's resolution, and one to score on."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count + 1, 3, spec.resolution, spec.resolution), np.uint8)
    labels = np.arange(count + 1, dtype=np.int64) % spec.classes
    return ImageSet(
        name="random images",
        train_images=images[:count],
        train_labels=labels[:count],
        validation_images=images[count:],
        validation_labels=labels[count:],
        classes=tuple(f"class {index}" for index in range(spec.classes)),
    )


def _circumstances(device: torch.device, settings: TrainSettings) -> str:
    """The device, its threads, the precision and the batch of a measurement that still runs."""
    threads = [f"threads {torch.get_num_threads()}"] if device.type == "cpu" else []
    precision = "bfloat16" if is_halved(device, settings) else "float32"
    return ", ".join([device_name(device), *threads, precision, f"batch {settings.batch_size}"])


def _latency(spec: NetworkSpec, settings: TrainSettings, repeats: int) -> tuple[float, str]:
    device = choose_device(settings.device)
    with memory_errors(f"{spec.name} at {spec.resolution} pixels", device), reserved(device, settings, 0):
        network = build_network(spec, 0).to(device).eval()
        shape = settings.batch_size, spec.in_channels, spec.resolution, spec.resolution
        images = torch.rand(shape, device=device).contiguous(memory_format=torch.channels_last)
        seconds = []
        with torch.no_grad(), autocast(device, settings):
            for _ in range(repeats + 2):
                _wait(device)
                started = time.perf_counter()
                network(images)
                _wait(device)
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[2:]), _circumstances(device, settings)


def _memory(trainer: Trainer, steps: int) -> float:
    if trainer.device.type == "cuda":
        trainer.idle_steps(steps)
        return float(peak_memory(trainer.device))
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trainer.idle_steps(steps)
    weights = {parameter.data_ptr(): parameter.nbytes for parameter in trainer.network.parameters()}
    return float(sum(size for pointer, size in kept.items() if pointer not in weights) + 3 * sum(weights.values()))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
