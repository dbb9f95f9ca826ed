"""What must hold on a GPU: equal scores where they are promised, and a next trial after a failure. Not a command.

``Bench`` holds what all sections of ``benchmarks.bench_gpu`` share: images, settings, networks and results. A section
is a function of it; ``say`` reports a measurement, ``check`` something that must be true.
"""

from __future__ import annotations

import dataclasses
import logging
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from unittest import mock

import torch

from benchmarks.contestants import cases
from benchmarks.reference_loop import PLAIN, train_reference
from objectives.cpu import fit_to_device
from objectives.data.imageset import ImageSet
from objectives.data.load import load_data
from objectives.networks.build import build_network
from objectives.training.device_images import DeviceImages, EpochPlan
from objectives.training.memory import give_back
from objectives.training.rungs import plan_rungs, trunk_rates
from objectives.training.settings import TrainSettings
from objectives.training.steps import TrainingSteps
from objectives.training.train import ProxyRun, train_proxy
from phiscale import BASELINES, ROUNDINGS, Multipliers, NetworkSpec, TrialError, scale_network

AUGMENTATIONS = frozenset({"flip", "crop"})
RATE = 0.01
"""Learning rate where only time counts."""
MOST_STEPS = 400
"""Steps that ``Bench.steps`` has room for; longer than any run of them here."""
_CPU = torch.device("cpu")
_EARLY_STEPS = 20
_SHORT = 640
"""Images seen in a training whose first rung has two steps, one less than run before the capture."""
_MEMORY_PART = 0.01
"""Part of the GPU's memory that is left to a training which must not fit."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One run of the benchmark."""

    quick: bool = False
    """A tenth of the images, and fewer repeats."""
    results: dict[str, object] = field(default_factory=dict)
    """What the section that runs has reported, by name."""
    broken: list[str] = field(default_factory=list)
    """Checks that did not hold and sections that failed."""

    @property
    def device(self) -> torch.device:
        """The GPU, or the CPU where there is none."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.device.type == "cuda"

    @property
    def images(self) -> int:
        """Distinct training images; one epoch."""
        return 640 if self.quick else 6000

    @cached_property
    def data(self) -> ImageSet:
        """The embedded images."""
        return load_data(train_images=self.images, validation_images=self.images // 4)

    @property
    def proxy(self) -> NetworkSpec:
        """The network of a default trial."""
        return cases()["proxy-base, phi 2"].spec

    @property
    def half(self) -> NetworkSpec:
        """EfficientNet-B0 at half width and 64 pixels."""
        return cases()["half-width B0, 64 px"].spec

    @property
    def dropping(self) -> NetworkSpec:
        """The same with dropout and stochastic depth, which draw random numbers on the device."""
        return dataclasses.replace(self.half, dropout=0.2, drop_path=0.2)

    def settings(self, **changes: Any) -> TrainSettings:
        """Two epochs (quick: one) scored once, but for the changes."""
        base = TrainSettings(
            device=self.device.type,
            train_images=self.images,
            validation_images=self.images // 4,
            images_seen=self.images * (1 if self.quick else 2),
            rungs=1,
        )
        return dataclasses.replace(base, **changes)

    def train(self, spec: NetworkSpec, seed: int = 0, **changes: Any) -> ProxyRun:
        """One training."""
        return train_proxy(spec, self.data, self.settings(**changes), seed=seed)

    def steps(
        self, spec: NetworkSpec, *, seed: int = 0, device: torch.device | None = None, **changes: Any
    ) -> TrainingSteps:
        """The steps of a training that has not begun, without its scoring."""
        device, data = device or self.device, self.data
        settings = self.settings(device=device.type, **changes)
        network = build_network(spec, seed).to(device).train()
        fit_to_device(network, device, settings)
        images = DeviceImages(data.train_images, data.train_labels, spec.resolution, device, data.channel_statistics)
        count = len(images)

        def draw(epoch: int) -> EpochPlan:
            return EpochPlan.draw(count, AUGMENTATIONS, torch.Generator().manual_seed(1000 * seed + epoch))

        return TrainingSteps(network, images, settings, device, MOST_STEPS, draw)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def say(self, name: str, value: object) -> None:
        """Report a measurement: a JSON value."""
        self.results[name] = value
        text = ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else value
        print(f"  {name}: {text}", flush=True)

    def check(self, name: str, holds: bool) -> None:
        """Report whether something holds that must."""
        self.results[name] = holds
        print(f"  {name}: {'yes' if holds else 'NO'}", flush=True)
        if not holds:
            self.broken.append(name)

    def needs_gpu(self) -> None:
        """Report that the section, or the rest of it, was left out."""
        self.say("left out", "needs a GPU")


def small(name: str, pixels: int, width: float) -> NetworkSpec:
    """A published baseline at another width, for the embedded images."""
    spec = scale_network(BASELINES[name], Multipliers(1, width, 1), ROUNDINGS["exact"]).spec
    return dataclasses.replace(spec, classes=14, resolution=pixels)


def is_captured(steps: TrainingSteps) -> bool:
    """Whether the step runs as a CUDA graph once it has run a few times."""
    steps.run(0, [RATE] * 5)
    steps.mean_loss()
    return steps._run._graph is not None


def parity(bench: Bench) -> None:
    """With a graph as without, twice the same, rungs that leave the longest as it is; float32 against the CPU."""
    with_rungs = {"proxy": bench.proxy, "half B0 with dropout": bench.dropping}
    others = {"resnet-18": small("resnet-18", 32, 0.5), "convnext-t": small("convnext-t", 32, 0.25)}
    for name, spec in (with_rungs | others).items():

        def curves(spec: NetworkSpec = spec, **changes: Any) -> dict[str, tuple[float, ...]]:
            return bench.train(spec, images_seen=bench.images, **changes).curves

        if bench.on_gpu:
            bench.check(f"{name}: the step is captured", is_captured(bench.steps(spec)))
        alone = curves()
        bench.check(f"{name}: with a graph as without", alone == curves(cuda_graph=False))
        bench.check(f"{name}: twice the same", alone == curves())
        if name in with_rungs:
            four = curves(rungs=4)
            last = {part: values[-1:] for part, values in four.items()}
            bench.check(f"{name}, 4 rungs: with a graph as without", four == curves(rungs=4, cuda_graph=False))
            bench.check(f"{name}, 4 rungs: the longest as with one rung", last == alone)
            short = [bench.train(spec, images_seen=_SHORT, rungs=4, cuda_graph=graph).curves for graph in (True, False)]
            bench.check(f"{name}, 4 rungs: the same where the capture comes after a cooldown", short[0] == short[1])
            bench.say(f"{name}, 4 rungs: accuracy", [round(value, 4) for value in four["accuracy"]])
    _early_losses(bench)
    _accuracies(bench)


def _early_losses(bench: Bench) -> None:
    """Losses of the first steps in float32: largest difference between GPU and CPU."""
    if not bench.on_gpu:
        return bench.say("losses of early steps, GPU against CPU", "left out: needs a GPU")
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        on_gpu, on_cpu = (_losses(bench, device) for device in (bench.device, _CPU))
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    gaps = [abs(left - right) for left, right in zip(on_gpu, on_cpu, strict=True)]
    gap = {"first step": gaps[0], "first 5": max(gaps[:5]), f"first {_EARLY_STEPS}": max(gaps)}
    bench.say("losses of early steps, GPU against CPU, largest difference", gap)
    bench.say("losses of early steps, GPU", [round(loss, 4) for loss in on_gpu])
    return None


def _losses(bench: Bench, device: torch.device) -> list[float]:
    steps, settings, losses = bench.steps(bench.proxy, device=device, precision="float32"), bench.settings(), []
    rates = trunk_rates(settings, plan_rungs(settings, bench.images), 0, _EARLY_STEPS)
    for step, rate in enumerate(rates):
        steps._total.zero_()  # the sum of all steps would round each of them
        steps.run(step, [rate])
        losses.append(float(steps._total))
    return losses


def _accuracies(bench: Bench) -> None:
    """Mean and standard deviation over seeds of the accuracy, in the precisions and by a person's own loop."""
    seeds = range(2 if bench.quick else 8)
    loop = dataclasses.replace(PLAIN, settle=True)
    scores: dict[str, Iterable[float]] = {
        "auto": (bench.train(bench.proxy, seed).scores[-1] for seed in seeds),
        "float32": (bench.train(bench.proxy, seed, precision="float32").scores[-1] for seed in seeds),
        "plain loop": (
            train_reference(bench.proxy, bench.data, bench.settings(), loop, seed=seed).accuracy for seed in seeds
        ),
    }
    for name, values in scores.items():
        found = list(values)
        spread = {"mean": round(statistics.fmean(found), 4), "deviation": round(statistics.stdev(found), 4)}
        bench.say(f"accuracy of {len(found)} seeds, {name}", spread)


def failures(bench: Bench) -> None:
    """Out of memory, a capture that breaks off, and the trials after each. May leave the process unusable: run last."""
    if not bench.on_gpu:
        return bench.needs_gpu()
    before = _rung_curves(bench, bench.proxy)
    _out_of_memory(bench)
    bench.check("the trial after it is the same", _rung_curves(bench, bench.proxy) == before)
    dropping = _rung_curves(bench, bench.dropping)
    warnings = _broken_capture(bench, before)
    bench.say("what the log says of it", warnings)
    later: dict[str, Callable[[], object]] = {
        "a trial": lambda: _rung_curves(bench, bench.proxy) == before,
        "a trial with dropout": lambda: _rung_curves(bench, bench.dropping) == dropping,
        "no graph, as none is captured again": lambda: not is_captured(bench.steps(bench.proxy)),
        "memory given back": lambda: give_back(bench.device),
        "the cache emptied": torch.cuda.empty_cache,
    }
    for name, work in later.items():
        try:
            bench.check(f"after a capture that broke off: {name}", work() is not False)
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            bench.check(f"after a capture that broke off: {name}", False)
            bench.say(f"{name} raises", f"{type(error).__name__}: {str(error).splitlines()[0][:160]}")
    return None


def _rung_curves(bench: Bench, spec: NetworkSpec) -> dict[str, tuple[float, ...]]:
    return bench.train(spec, images_seen=bench.images, rungs=4).curves


def _out_of_memory(bench: Bench) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(_MEMORY_PART)
    before = torch.cuda.memory_allocated()
    try:
        bench.train(small("resnet-50", 96, 2.0), batch_size=256)
        bench.check("a training that must not fit the memory fails", False)
    except TrialError as error:
        bench.check("a training that must not fit the memory fails", error.kind == "out-of-memory")
        held = torch.cuda.memory_allocated() - before
        bench.say("MiB of it held while its error is", held >> 20)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    bench.say("MiB of it held afterwards", (torch.cuda.memory_allocated() - before) >> 20)


def _broken_capture(bench: Bench, expected: dict[str, tuple[float, ...]]) -> Sequence[str]:
    """Train with a capture that breaks off; returns what the log says."""
    one, calls, messages = TrainingSteps._one, [0], []

    def waits(steps: TrainingSteps) -> None:
        one(steps)
        calls[0] += 1
        if calls[0] == 4:  # the capture, after three plain runs
            steps._total.item()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, listening = logging.getLogger("objectives.training.cuda_graph"), Listening()
    logger.addHandler(listening)
    try:
        with mock.patch.object(TrainingSteps, "_one", waits):
            found = _rung_curves(bench, bench.proxy)
    finally:
        logger.removeHandler(listening)
    bench.check("a capture that breaks off leaves the scores as they are", found == expected)
    return messages
