"""How much memory a training takes, estimated before it begins.

The factors are fitted to measured peaks on a CPU, as an upper bound in most cases: the table is in
docs/performance.md, ``benchmarks/bench_memory.py`` measures it again.
"""

from __future__ import annotations

import math
import os

import torch

from objectives.data.imageset import ImageSet
from objectives.networks.own_module import FactoryMember, count_member
from objectives.training.device import choose_device, is_halved
from objectives.training.memory import free_memory, total_memory
from objectives.training.settings import TrainSettings
from phiscale.cost import count_cost
from phiscale.spec import NetworkSpec

_ALWAYS = {"cpu": 11 * 2**25, "cuda": 2**29}
"""Bytes of any training: code that libraries load or compile with the first one; on a GPU a guess of context and
workspaces."""
_TRAINED = 4.5
"""Values in memory at the peak of a training step, per counted activation and pixel of the batch."""
_SCORED = 0.5
"""The same while a batch is scored without gradients, in addition to what the allocator keeps of the training step."""
_STATE = 24
"""Bytes per parameter: weight, gradient, momentum, a copy while they are made or rounded, and the trunk's state (weight
and momentum) while a cooldown runs."""
_RESIZED = {"cpu": 4, "cuda": 12}
"""Bytes per value of the images that are resized at a time: before, between and after; on a GPU as floats."""
_RESIZED_AT_A_TIME = 2**24
_SCORING_BATCH, _SCORING_PIXELS = 250, 2**22


def scoring_batch(resolution: int) -> int:
    """Images that are scored at a time, at most."""
    return min(_SCORING_BATCH, max(16, _SCORING_PIXELS // resolution**2))


def needed_bytes(
    spec: NetworkSpec | FactoryMember, settings: TrainSettings, data: ImageSet, device: torch.device
) -> int:
    """Bytes of the device that training and scoring the network take, in addition to what the process already holds.

    Raises ``BudgetError`` for a factory's network that cannot be counted.
    """
    cost = count_member(spec)[0] if isinstance(spec, FactoryMember) else count_cost(spec)
    trained, validated = len(data.train_labels), len(data.validation_labels)
    values = (cost.activations + 3 * spec.resolution**2) * _bytes_per_value(device, settings)
    batches = _TRAINED * min(settings.batch_size, trained)
    batches += _SCORED * min(scoring_batch(spec.resolution), max(trained, validated))
    resident, loading = _image_bytes(spec.resolution, data, device)
    return int(_ALWAYS[device.type] + _STATE * cost.params + max(resident + batches * values, loading))


def memory_of_device(settings: TrainSettings) -> tuple[str, int, int]:
    """The device on which this process trains: a name for it, bytes in all, bytes free; 0 where they are not known."""
    device = choose_device(settings.device)
    total, free = total_memory(device), free_memory(device)
    if math.isinf(total) or math.isinf(free):
        return str(device), 0, 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "") if device.type == "cuda" else ""
    return f"{device} {visible}", int(total), int(free)


def _bytes_per_value(device: torch.device, settings: TrainSettings) -> int:
    """4, or 2 in bfloat16 on a GPU; a CPU widens bfloat16 for so much of the work that nothing is saved."""
    return 2 if device.type == "cuda" and is_halved(device, settings) else 4


def _image_bytes(resolution: int, data: ImageSet, device: torch.device) -> tuple[float, float]:
    """Bytes of the images on the device: while they are trained on, and at the peak of resizing (0 if they fit)."""
    trained, validated = len(data.train_labels), len(data.validation_labels)
    stored = 3 * data.resolution**2
    if resolution == data.resolution:
        return (trained + validated) * stored, 0
    most = max(trained * stored, total_memory(device) / 4)  # larger images are resized batch by batch
    parts = [min(count * 3 * resolution**2, most) for count in (trained, validated)]
    at_a_time = min(_RESIZED_AT_A_TIME, trained * max(stored, 3 * resolution**2))
    return sum(parts), sum(parts) + _RESIZED[device.type] * at_a_time
