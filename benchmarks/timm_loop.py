"""The training of ``benchmarks.reference_loop`` with timm's parts and the defaults of timm's ``train.py``.

Its loader (four processes, its prefetcher, images through torchvision's transforms), its optimiser, float32, torch's
memory layout and threads, and the loss read after every step. Source: timm, ``train.py`` (``train_one_epoch``).
"""

from __future__ import annotations

import importlib
import itertools
import time
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import Dataset

from benchmarks.reference_loop import LoopRun, learning_rates
from benchmarks.torchvision_operators import declare_operators
from objectives.data.imageset import Images, ImageSet, Labels
from objectives.networks.build import build_network
from objectives.training.settings import TrainSettings
from objectives.training.train import stream_seed
from phiscale.spec import NetworkSpec

_WORKERS = 4


class _Pictures(Dataset[tuple[Any, int]]):
    """PIL images for timm's transforms."""

    transform: Any = None
    target_transform: Any = None

    def __init__(self, images: Images, labels: Labels) -> None:
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = Image.fromarray(np.ascontiguousarray(self._images[index].transpose(1, 2, 0)))
        return self.transform(picture), int(self._labels[index])


def train_timm(spec: NetworkSpec, data: ImageSet, settings: TrainSettings, *, seed: int) -> LoopRun:
    """Train to the longest rung and score. Raises ``ImportError`` where timm or torchvision is not installed."""
    declare_operators()
    create_optimizer_v2 = importlib.import_module("timm.optim").create_optimizer_v2
    started = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() and settings.device != "cpu" else "cpu")
    network = build_network(spec, stream_seed(seed, "weights")).to(device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimiser = create_optimizer_v2(
        network, opt="sgd", lr=settings.learning_rate, weight_decay=settings.weight_decay, momentum=settings.momentum
    )
    train = _loader(_Pictures(data.train_images, data.train_labels), spec, settings, device, training=True)
    validation = _loader(_Pictures(data.validation_images, data.validation_labels), spec, settings, device)
    seen = 0
    network.train()
    batches = itertools.chain.from_iterable(itertools.repeat(train))
    for rate, (images, labels) in zip(learning_rates(settings, len(data.train_labels)), batches, strict=False):
        images, labels = images.to(device), labels.to(device)
        loss = functional.cross_entropy(network(images), labels, label_smoothing=settings.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        optimiser.zero_grad()
        loss.item()
        seen += len(labels)
    accuracy = _accuracy(network, validation, device)
    return LoopRun(accuracy, time.perf_counter() - started, seen)


def _loader(
    pictures: _Pictures, spec: NetworkSpec, settings: TrainSettings, device: torch.device, *, training: bool = False
) -> Any:
    return importlib.import_module("timm.data").create_loader(
        pictures,
        input_size=(3, spec.resolution, spec.resolution),
        batch_size=settings.batch_size,
        is_training=training,
        no_aug=True,
        crop_pct=1.0,
        num_workers=_WORKERS,
        device=device,
    )


@torch.no_grad()
def _accuracy(network: torch.nn.Module, loader: Any, device: torch.device) -> float:
    network.eval()
    right = count = 0
    for images, labels in loader:
        right += int((network(images.to(device)).argmax(1) == labels.to(device)).sum())
        count += len(labels)
    return right / count
