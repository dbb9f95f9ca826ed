"""Train one proxy network from scratch and score it at every rung.

Everything random comes from the seed. The order of the images and their augmentation depend on nothing else, so trials
with one seed differ by their network alone. An evaluation that cannot be finished raises ``TrialError`` of the kind
``diverged``, ``out-of-memory`` or ``shape``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from objectives.cpu import fit_to_device
from objectives.data.imageset import ImageSet
from objectives.networks.build import build_network, folded
from objectives.networks.own_module import FactoryMember, count_member
from objectives.training.device import (
    autocast,
    choose_device,
    device_name,
    is_halved,
    memory_errors,
    peak_memory,
    reserved,
)
from objectives.training.device_images import DeviceImages, EpochPlan
from objectives.training.memory import give_back, total_memory
from objectives.training.memory_needed import needed_bytes, scoring_batch
from objectives.training.rungs import Rung, cooldown_rates, plan_rungs, total_steps, trunk_rates
from objectives.training.settings import TrainSettings
from objectives.training.steps import TrainingSteps
from phiscale.cost import count_cost
from phiscale.errors import TrialError
from phiscale.spec import NetworkSpec

_SETTLED_PART = 6
_SETTLED_RANGE = 250, 1000
STEPS_AT_ONCE = {"cpu": 1, "cuda": 12}
"""Steps that are timed together, because a training waits for a GPU at the end of many steps only."""
_TIMED_STEPS = 12
_TIMED_SECONDS = 2.0
"""After which no further step is timed."""
_TIMED_MACS = 1e9
"""Multiply-accumulates of forward passes that are timed on a CPU at a time: below a second on one core, for most."""
_LARGE = 0.1
"""A training that took more than this part of a device's memory gives it back at its end."""


@dataclass(frozen=True, kw_only=True)
class ProxyRun:
    """The result of one training."""

    lengths: tuple[int, ...]
    """Images seen at each rung, shortest first."""
    scores: tuple[float, ...]
    """The value of ``TrainSettings.score`` at each rung."""
    curves: dict[str, tuple[float, ...]]
    """Per rung: ``accuracy`` and ``log_loss`` (nats) on the validation images; ``train_loss`` (nats), mean so far."""
    seconds: float
    """Wall-clock time."""
    device: str
    """``cpu`` or the name of the GPU."""
    peak_memory: int
    """Bytes: the largest allocation on a GPU, the largest resident size of the process on a CPU."""


def train_proxy(spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings, *, seed: int) -> ProxyRun:
    """Train the network of ``spec`` on ``data`` and score it at every rung of the settings.

    The same seed on the same machine gives the same scores to the last bit. Raises ``TrialError``, and
    ``SettingsError`` for a device that is not there.
    """
    device = choose_device(settings.device)
    _check_shapes(spec, data, settings)
    with _memory_of(spec, data, settings, device):
        return _train(spec, data, settings, device, seed)


def estimate_seconds(spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings) -> float:
    """About how long one training takes on this machine: timed are a few steps, and scoring once.

    Of a network that is costly for a CPU few images are timed, and the time of the others is taken as equal. So an
    estimate takes some seconds whatever the network. Raises what ``train_proxy`` raises.
    """
    steps = total_steps(plan_rungs(settings, len(data.train_labels)))
    batch = min(settings.batch_size, len(data.train_labels))
    scored = len(data.validation_labels) + _settling_count(len(data.train_labels))
    most = len(data.train_labels) + len(data.validation_labels)
    if choose_device(settings.device).type == "cpu":
        cost = count_member(spec)[0] if isinstance(spec, FactoryMember) else count_cost(spec)
        most = max(2, int(_TIMED_MACS / cost.macs))
    few = dataclasses.replace(
        data,
        train_images=data.train_images[:most],
        train_labels=data.train_labels[:most],
        validation_images=data.validation_images[:most],
        validation_labels=data.validation_labels[:most],
    )
    timed = min(batch, most)
    short = dataclasses.replace(settings, epochs=None, images_seen=2 * _TIMED_STEPS * timed, batch_size=timed, rungs=1)
    with unscored_trainer(spec, few, short) as trainer:
        step, scoring = trainer.time_parts()
    timed_scored = len(few.validation_labels) + _settling_count(len(few.train_labels))
    rungs = len(plan_rungs(settings, len(data.train_labels)))
    return step * steps * batch / timed + rungs * scoring * scored / timed_scored


def try_training(spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings) -> None:
    """Build the network on the device, train a step and score a batch. Raises what ``train_proxy`` raises."""
    with unscored_trainer(spec, data, settings) as trainer:
        trainer.try_out()


@contextlib.contextmanager
def unscored_trainer(spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings) -> Iterator[Trainer]:
    """The trainer of a training whose steps are tried, timed or weighed. Raises what ``train_proxy`` raises."""
    device = choose_device(settings.device)
    _check_shapes(spec, data, settings)
    rungs = plan_rungs(settings, len(data.train_labels))
    with _memory_of(spec, data, settings, device), reserved(device, settings, stream_seed(0, "global")):
        yield Trainer(spec, data, settings, device, 0, rungs)


@contextlib.contextmanager
def _memory_of(
    spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings, device: torch.device
) -> Iterator[None]:
    """Give a large training's memory back to the device. Raises ``TrialError`` where it does not fit."""
    try:
        with memory_errors(f"{spec.name} at {spec.resolution} pixels", device):  # so that an error keeps no memory
            yield
    finally:
        if needed_bytes(spec, settings, data, device) > _LARGE * total_memory(device):
            give_back(device)


def _train(
    spec: NetworkSpec | FactoryMember, data: ImageSet, settings: TrainSettings, device: torch.device, seed: int
) -> ProxyRun:
    """Train, and free all memory it took."""
    started = time.perf_counter()
    rungs = plan_rungs(settings, len(data.train_labels))
    curves: dict[str, list[float]] = {"accuracy": [], "log_loss": [], "train_loss": []}
    with reserved(device, settings, stream_seed(seed, "global")):
        trainer = Trainer(spec, data, settings, device, seed, rungs)
        for parts in trainer.rungs():
            for name, value in parts.items():
                curves[name].append(value)
        memory = peak_memory(device)
    return ProxyRun(
        lengths=tuple(rung.images for rung in rungs),
        scores=tuple(curves[settings.score]),
        curves={name: tuple(values) for name, values in curves.items()},
        seconds=time.perf_counter() - started,
        device=device_name(device),
        peak_memory=memory,
    )


class Trainer:
    """Network, optimiser and images of one training."""

    def __init__(
        self,
        spec: NetworkSpec | FactoryMember,
        data: ImageSet,
        settings: TrainSettings,
        device: torch.device,
        seed: int,
        rungs: tuple[Rung, ...],
    ) -> None:
        self._settings, self.device, self._rungs = settings, device, rungs
        self.network = build_network(spec, stream_seed(seed, "weights")).to(device)
        fit_to_device(self.network, device, settings)
        self._autocast = autocast(device, settings)
        size = spec.resolution, device, data.channel_statistics
        self._train = DeviceImages(data.train_images, data.train_labels, *size)
        self._validation = DeviceImages(data.validation_images, data.validation_labels, *size)
        some = settling_images(len(self._train), seed)
        self._settling = _batches(some.to(device), spec.resolution)
        self._scoring = _batches(torch.arange(len(self._validation), device=device), spec.resolution)
        draw = partial(_draw, len(self._train), data.augmentations & settings.augmentations, seed)
        self._steps = TrainingSteps(self.network, self._train, settings, device, rungs[-1].steps, draw)

    def rungs(self) -> Iterator[dict[str, float]]:
        """Train from rung to rung: at each the parts of the score by name. Raises ``TrialError``."""
        done = 0
        for rung in self._rungs:
            self.network.train()
            self._steps.run(done, trunk_rates(self._settings, self._rungs, done, rung.trunk_steps))
            done = rung.trunk_steps
            trunk = self._steps.snapshot() if rung is not self._rungs[-1] else None
            self._steps.run(done, cooldown_rates(self._settings, self._rungs, rung))
            yield self._scored(rung)
            if trunk is not None:
                self._steps.restore(trunk)
                trunk = None  # before the next one is taken

    def time_parts(self) -> tuple[float, float]:
        """Seconds of one step and of scoring once; the network is of no use afterwards."""
        repeats = _TIMED_STEPS // STEPS_AT_ONCE[self.device.type]
        step = statistics.fmean(self.step_seconds(repeats, _TIMED_SECONDS))
        self._scored(self._rungs[-1])  # a GPU loads each kernel when it is first used
        started = time.perf_counter()
        self._scored(self._rungs[-1])
        return step, time.perf_counter() - started

    def step_seconds(self, repeats: int, within: float = math.inf) -> list[float]:
        """Seconds of a step in each of ``repeats`` measurements; none begins after so many seconds of them.

        The steps before them are not timed: in these, libraries choose their kernels, and a GPU captures the step.
        """
        at_once = STEPS_AT_ONCE[self.device.type]
        self.idle_steps(at_once)
        found: list[float] = []
        while len(found) < repeats and sum(found) * at_once < within:
            started = time.perf_counter()
            self.idle_steps(at_once)
            found.append((time.perf_counter() - started) / at_once)
        return found

    def idle_steps(self, count: int) -> None:
        """Do the work of ``count`` training steps at a learning rate of 0, and wait for the device.

        Momenta and statistics change, so the network is of no use for scores afterwards.
        """
        self.network.train()
        self._steps.run(0, [0.0] * count)
        self._steps.mean_loss()  # waits; a GPU reports errors when it is waited for

    @property
    def kind_of_step(self) -> str:
        """How the last step ran, as a person reads it."""
        return self._steps.kind

    @torch.no_grad()
    def try_out(self) -> None:
        """One training step and one batch of scoring; the network cannot be used afterwards."""
        with torch.enable_grad():
            self.idle_steps(1)
        with self._autocast:
            self.network.eval()(self._validation.batch(self._scoring[0])[0])

    def _scored(self, rung: Rung) -> dict[str, float]:
        train_loss = self._steps.mean_loss()
        self._settle()
        accuracy, log_loss = self._evaluate()
        parts = {"accuracy": accuracy, "log_loss": log_loss, "train_loss": train_loss}
        _check_finite(parts, rung, self._settings)
        return parts

    @torch.no_grad()
    def _settle(self) -> None:
        """Set the statistics of batch normalisation to those of the current weights.

        The moving averages lag behind weights that change quickly, and would score another network.
        """
        self.network.eval()
        norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        for index, chosen in enumerate(self._settling):
            for norm in norms:
                norm.momentum = 1 / (index + 1)  # the plain mean so far; torch's own option for it waits for the device
            with self._autocast:
                self.network(self._train.batch(chosen)[0])
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def _evaluate(self) -> tuple[float, float]:
        """Accuracy and mean log-loss (nats) on the validation images."""
        network = self.network.eval()
        if not is_halved(self.device, self._settings):  # folding before rounding to bfloat16 changes the weights
            network = folded(network)
        totals = torch.zeros(2, dtype=torch.float64, device=self.device)
        for chosen in self._scoring:
            images, labels = self._validation.batch(chosen)
            with self._autocast:
                logits = network(images).float()
            right = (logits.argmax(1) == labels).sum()
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            totals += torch.stack((right.double(), loss.double()))
        right_sum, loss_sum = totals.tolist()
        return right_sum / len(self._validation), loss_sum / len(self._validation)


def _draw(images: int, augmentations: frozenset[str], seed: int, epoch: int) -> EpochPlan:
    """The order of the images of an epoch, from 0, and what is done to them.

    Not a method of the trainer, because a reference cycle with its steps would keep the memory until the next garbage
    collection.
    """
    generator = torch.Generator().manual_seed(stream_seed(seed, f"epoch {epoch + 1}"))
    return EpochPlan.draw(images, augmentations, generator)


def settling_images(count: int, seed: int) -> torch.Tensor:
    """The images, of ``count``, on which batch normalisation settles: a sixth, but at least 250 and at most 1,000.

    More would take up to a quarter of a short epoch's time. With 250 instead of 1,000 after epochs of 1,500 images, the
    accuracy of all networks is lower by half a percent, with the same spread over seeds.
    """
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(stream_seed(seed, "settling")))
    return shuffled[: _settling_count(count)]


def _settling_count(count: int) -> int:
    least, most = _SETTLED_RANGE
    return min(count, most, max(least, count // _SETTLED_PART))


def stream_seed(seed: int, name: str) -> int:
    """A seed of its own for each use of randomness."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _batches(indices: torch.Tensor, resolution: int) -> tuple[torch.Tensor, ...]:
    """Batches of nearly equal size, because a batch of one image cannot be normalised."""
    return torch.tensor_split(indices, math.ceil(len(indices) / scoring_batch(resolution)))


def _check_finite(parts: dict[str, float], rung: Rung, settings: TrainSettings) -> None:
    for name, value in parts.items():
        if not math.isfinite(value):
            raise TrialError(
                "diverged",
                f"expected a finite {name}, got {value} after {rung.images} images; use a learning rate below "
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
