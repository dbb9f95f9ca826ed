"""The training that a person would write inside an Optuna objective: what the proxy engine is measured against.

Same network, weights, order of images, augmentation, optimiser, learning rates and loss as
``objectives.training.train``, in the way of Optuna's own PyTorch example (examples/pytorch/pytorch_simple.py): a
``Dataset`` that turns one image at a time into a tensor, a ``DataLoader``, float32, torch's memory layout and threads
as they come. ``TUNED`` is the same after the usual advice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, Dataset, Subset

from objectives.data.imageset import Images, ImageSet, Labels
from objectives.networks.build import build_network
from objectives.training.device_images import EpochPlan
from objectives.training.settings import TrainSettings
from objectives.training.train import settling_images, stream_seed
from phiscale.spec import NetworkSpec


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How the loop runs; the defaults are torch's."""

    threads: int | None = None
    """CPU threads of torch; None for torch's default, the number of cores."""
    channels_last: bool = False
    """Memory layout of images and weights."""
    autocast: bool = False
    """bfloat16 (automatic mixed precision)."""
    loader_workers: int = 0
    """Processes that load images."""
    prefetch: int | None = None
    """Batches that each of them loads ahead."""
    settle: bool = False
    """Recompute batch normalisation before scoring (``torch.optim.swa_utils.update_bn``), as the engine does."""


PLAIN = LoopSettings()
SINGLE = LoopSettings(threads=1)
TUNED = LoopSettings(channels_last=True, loader_workers=1, prefetch=8)
"""The usual advice on a CPU, where bfloat16 is left out because its convolutions are slower in the backward pass."""


def tuned(device: str) -> LoopSettings:
    """The usual advice on this device; on a GPU also mixed precision and more loading processes."""
    if device == "cpu" or not torch.cuda.is_available():
        return TUNED
    return dataclasses.replace(TUNED, autocast=True, loader_workers=8)


@dataclass(frozen=True)
class LoopRun:
    """What one training gave."""

    accuracy: float
    seconds: float
    images: int
    """Training images processed."""


class _Pictures(Dataset[tuple[Tensor, Tensor]]):
    """One image at a time: resized as a picture, mirrored and shifted, turned into a float tensor, normalised."""

    def __init__(
        self, images: Images, labels: Labels, resolution: int, shades: tuple[Sequence[float], Sequence[float]]
    ) -> None:
        self._images, self._labels, self._resolution = images, torch.from_numpy(labels), resolution
        mean, std = (torch.tensor(part)[:, None, None] for part in shades)
        self._mean, self._std = mean, std.clamp(min=1)
        self._moves: dict[int, tuple[bool, int, int]] = {}

    def move(self, plan: EpochPlan) -> None:
        """Mirror and shift every image as the plan says for its place in the epoch."""
        moves = (plan.shifts * self._resolution).round().int().tolist()
        pairs = zip(plan.order.tolist(), plan.mirrored.tolist(), moves, strict=True)
        self._moves = {image: (mirrored, *move) for image, mirrored, move in pairs if mirrored or any(move)}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = self._images[index]
        if pixels.shape[-1] != self._resolution:
            picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            picture = picture.resize((self._resolution, self._resolution), Image.Resampling.BILINEAR)
            pixels = np.asarray(picture).transpose(2, 0, 1)
        if index in self._moves:
            pixels = _moved(pixels, *self._moves[index])
        return (torch.from_numpy(np.ascontiguousarray(pixels)).float() - self._mean) / self._std, self._labels[index]


def _moved(pixels: Images, mirrored: bool, down: int, right: int) -> Images:
    """One image, (3, side, side), shifted over its reflected border."""
    side, room = pixels.shape[-1], max(abs(down), abs(right))
    wide = np.pad(pixels[..., ::-1] if mirrored else pixels, ((0, 0), (room, room), (room, room)), "reflect")
    return wide[:, room + down : room + down + side, room + right : room + right + side]


def train_reference(
    spec: NetworkSpec,
    data: ImageSet,
    settings: TrainSettings,
    loop: LoopSettings,
    *,
    seed: int,
    on_step: Callable[[Tensor], None] = lambda _: None,
) -> LoopRun:
    """Train up to the longest rung and score there; ``on_step`` gets the loss of every step."""
    started = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() and settings.device != "cpu" else "cpu")
    with _threads(loop.threads):
        network: nn.Module = build_network(spec, stream_seed(seed, "weights"))
        layout = torch.channels_last if loop.channels_last else torch.contiguous_format
        network = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        rates = learning_rates(settings, len(data.train_labels))
        optimiser, schedule = _optimiser(network, settings, rates)
        train = _Pictures(data.train_images, data.train_labels, spec.resolution, data.channel_statistics)
        validation = _Pictures(data.validation_images, data.validation_labels, spec.resolution, data.channel_statistics)
        cast = torch.autocast(device.type, torch.bfloat16, enabled=loop.autocast)
        batch, left, seen = min(settings.batch_size, len(train)), len(rates), 0
        network.train()
        for epoch in itertools.count(1):
            generator = torch.Generator().manual_seed(stream_seed(seed, f"epoch {epoch}"))
            plan = EpochPlan.draw(len(train), data.augmentations & settings.augmentations, generator)
            train.move(plan)
            order = plan.order[: left * batch].tolist()
            for images, labels in _loader(train, loop, batch, order=order):
                images = images.to(device, memory_format=layout, non_blocking=True)
                labels = labels.to(device, non_blocking=True)
                optimiser.zero_grad()
                with cast:
                    logits = network(images)
                loss = functional.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                on_step(loss.detach())
                seen += len(labels)
            left -= len(order) // batch
            if left == 0:
                break
        if loop.settle:
            train.move(EpochPlan.empty(len(train), torch.device("cpu")))
            some = Subset(train, settling_images(len(train), seed).tolist())
            update_bn(_loader(some, loop, 250), network, device)
        accuracy = _accuracy(network, _loader(validation, loop, settings.batch_size), device, cast)
    return LoopRun(accuracy, time.perf_counter() - started, seen)


def learning_rates(settings: TrainSettings, images: int) -> list[float]:
    """The rate of every step on so many images: a linear warm-up, constant, down to 0 by one minus a square root."""
    if settings.images_seen is None:
        raise ValueError("expected settings with a length in images seen")
    steps = round(settings.images_seen / min(settings.batch_size, images))
    falling = max(1, round(settings.cooldown * steps))
    rising = max(1.0, settings.warmup * steps)
    rates = [settings.learning_rate * min(1.0, (step + 1) / rising) for step in range(steps - falling + 1)]
    return rates + [rates[-1] * (1 - math.sqrt(step / falling)) for step in range(1, falling)]


def _loader(
    pictures: Dataset[tuple[Tensor, Tensor]], loop: LoopSettings, batch: int, order: list[int] | None = None
) -> DataLoader[tuple[Tensor, Tensor]]:
    return DataLoader(
        pictures,
        batch,
        sampler=order,
        drop_last=order is not None,
        num_workers=loop.loader_workers,
        prefetch_factor=loop.prefetch,
        pin_memory=torch.cuda.is_available() and loop.loader_workers > 0,
    )


def _optimiser(
    network: nn.Module, settings: TrainSettings, rates: list[float]
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=1.0, momentum=settings.momentum, nesterov=True)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rates[min(step, len(rates) - 1)])


@torch.no_grad()
def _accuracy(
    network: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]], device: torch.device, cast: torch.autocast
) -> float:
    network.eval()
    right = count = 0
    for images, labels in loader:
        with cast:
            logits = network(images.to(device))
        right += int((logits.argmax(1).cpu() == labels).sum())
        count += len(labels)
    return right / count


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
