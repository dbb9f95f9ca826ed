"""Train one proxy network from scratch and score it after every epoch.

Everything random comes from the seed, and the order of the images and their augmentation from nothing else, so trials
with one seed differ by their network alone. An evaluation that cannot be finished raises ``TrialError`` of the kind
``diverged``, ``out-of-memory`` or ``shape``.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from objectives.contract import Report
from objectives.cpu_layers import fit_to_device
from objectives.factory import FactoryMember
from objectives.imageset import ImageSet
from objectives.machine import autocast, choose_device, device_name, is_halved, memory_errors, peak_memory, reserved
from objectives.needs import needed_bytes, scoring_batch
from objectives.network import build_network, folded
from objectives.pixels import DeviceImages, EpochPlan
from objectives.room import room
from objectives.settings import TrainSettings
from objectives.steps import TrainingSteps
from phiscale.errors import TrialError
from phiscale.spec import NetworkSpec

_SETTLED_PART = 6
_SETTLED_RANGE = 250, 1000


@dataclass(frozen=True, kw_only=True)
class ProxyRun:
    """What one training gave."""

    score: float
    """The value of ``TrainSettings.score`` after the last epoch."""
    curves: dict[str, tuple[float, ...]]
    """Per epoch: ``accuracy`` and ``log_loss`` (nats) on the validation images, mean ``train_loss`` (nats)."""
    seconds: float
    """Wall-clock time."""
    device: str
    """``cpu`` or the name of the GPU."""
    peak_memory: int
    """Bytes: the largest allocation on a GPU, the largest resident size of the process on a CPU."""


def train_proxy(
    spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings, *, seed: int, report: Report
) -> ProxyRun:
    """Train the network of ``spec`` on ``data`` and score it; ``report(epoch, score)`` follows every epoch.

    Waits until there is room for it on the device (``objectives/room.py``). The same seed on the same machine gives the
    same score to the last bit. Raises ``TrialError``, and ``SettingsError`` for a device that is not there.
    """
    device = choose_device(settings.device)
    _check_shapes(spec, data, settings)
    what = f"{spec.name} at {spec.resolution} pixels"
    with memory_errors(what), room(device, needed_bytes(spec, settings, data, device)):
        return _train(spec, data, settings, device, seed, report)


def _train(
    spec: NetworkSpec | FactoryMember,
    data: ImageSet,
    settings: TrainSettings,
    device: torch.device,
    seed: int,
    report: Report,
) -> ProxyRun:
    """Train where there is room. What it took is free again when it returns."""
    started = time.perf_counter()
    curves: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "train_loss": []}
    with reserved(device, settings, stream_seed(seed, "global")):
        trainer = _Trainer(spec, data, settings, device, seed)
        for epoch in range(1, settings.epochs + 1):
            parts = trainer.run_epoch(epoch)
            _check_finite(parts, epoch, settings)
            for name, value in parts.items():
                curves[name].append(value)
            report(epoch, _score(settings, curves))
        memory = peak_memory(device)
    return ProxyRun(
        score=_score(settings, curves),
        curves={name: tuple(values) for name, values in curves.items()},
        seconds=time.perf_counter() - started,
        device=device_name(device),
        peak_memory=memory,
    )


class _Trainer:
    """Network, optimiser and images of one training."""

    def __init__(
        self,
        spec: NetworkSpec | FactoryMember,
        data: ImageSet,
        settings: TrainSettings,
        device: torch.device,
        seed: int,
    ) -> None:
        self._settings, self._device, self._seed = settings, device, seed
        self._network = build_network(spec, stream_seed(seed, "weights")).to(device)
        fit_to_device(self._network, device, settings)
        self._autocast = autocast(device, settings)
        size = spec.resolution, device, data.shades
        self._train = DeviceImages(data.train_images, data.train_labels, *size)
        self._validation = DeviceImages(data.validation_images, data.validation_labels, *size)
        self._augmentations = data.augmentations & settings.augmentations
        some = settling_images(len(self._train), seed)
        self._settling = _batches(some.to(device), spec.resolution)
        self._scoring = _batches(torch.arange(len(self._validation), device=device), spec.resolution)
        self._steps = TrainingSteps(self._network, self._train, settings, device)

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train for one epoch, then score: the parts of the score by name."""
        plan = EpochPlan.draw(len(self._train), self._augmentations, self._generator(f"epoch {epoch}"))
        self._network.train()
        train_loss = self._steps.run_epoch(plan, epoch)
        self._settle()
        accuracy, log_loss = self._evaluate()
        return {"accuracy": accuracy, "log_loss": log_loss, "train_loss": train_loss}

    @torch.no_grad()
    def _settle(self) -> None:
        """Set the statistics of batch normalisation to those of the weights as they are.

        The moving averages lag behind weights that change quickly, and would score another network.
        """
        self._network.eval()
        norms = [module for module in self._network.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        for index, chosen in enumerate(self._settling):
            for norm in norms:
                norm.momentum = 1 / (index + 1)  # the plain mean so far; torch's own way to it waits for the device
            with self._autocast:
                self._network(self._train.batch(chosen)[0])
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def _evaluate(self) -> tuple[float, float]:
        """Accuracy and mean log-loss (nats) on the validation images."""
        network = self._network.eval()
        if not is_halved(self._device, self._settings):  # of halved weights, those that were scaled first are others
            network = folded(network)
        totals = torch.zeros(2, dtype=torch.float64, device=self._device)
        for chosen in self._scoring:
            images, labels = self._validation.batch(chosen)
            with self._autocast:
                logits = network(images).float()
            right = (logits.argmax(1) == labels).sum()
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            totals += torch.stack((right.double(), loss.double()))
        right_sum, loss_sum = totals.tolist()
        return right_sum / len(self._validation), loss_sum / len(self._validation)

    def _generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(stream_seed(self._seed, name))


def settling_images(count: int, seed: int) -> torch.Tensor:
    """The images, of ``count``, on which batch normalisation settles: a sixth, but at least 250 and at most 1,000.

    More would take up to a quarter of a short epoch's time: with 250 instead of 1,000 after epochs of 1,500 images the
    accuracy is lower by half a percent for all, and spreads no further over seeds.
    """
    least, most = _SETTLED_RANGE
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(stream_seed(seed, "settling")))
    return shuffled[: min(most, max(least, count // _SETTLED_PART))]


def stream_seed(seed: int, name: str) -> int:
    """A seed of its own for each use of randomness."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _batches(indices: torch.Tensor, resolution: int) -> tuple[torch.Tensor, ...]:
    """Batches of nearly equal size: one of a single image could not be normalised."""
    return torch.tensor_split(indices, math.ceil(len(indices) / scoring_batch(resolution)))


def _score(settings: TrainSettings, curves: dict[str, list[float]]) -> float:
    """The value after the last epoch; of the training loss the mean so far, known as training speed."""
    values = curves[settings.score]
    return math.fsum(values) / len(values) if settings.score == "train_loss" else values[-1]


def _check_finite(parts: dict[str, float], epoch: int, settings: TrainSettings) -> None:
    for name, value in parts.items():
        if not math.isfinite(value):
            raise TrialError(
                "diverged",
                f"expected a finite {name}, got {value} in epoch {epoch}; use a learning rate below "
                f"{settings.learning_rate:g}",
            )


def _check_shapes(spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings) -> None:
    """Raise ``TrialError`` of the kind ``shape`` where the network cannot be trained on these images."""
    if (spec.in_channels, spec.classes) != (3, len(data.classes)):
        raise TrialError(
            "shape",
            f"expected a network of 3 input channels and {len(data.classes)} classes for {data.name}, "
            f"got {spec.in_channels} and {spec.classes}",
        )
    side = math.ceil(spec.resolution / spec.total_stride)
    if side * min(settings.batch_size, len(data.train_labels)) == 1:
        raise TrialError(
            "shape",
            f"batch normalisation cannot train on one image of 1 x 1 features: {spec.name} at "
            f"{spec.resolution} pixels; use a larger batch or resolution",
        )
