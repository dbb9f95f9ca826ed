"""The training steps of one network: batches, loss, gradients, optimiser, learning rates.

A step reads and writes tensors that stay where they are on the device, and waits for nothing, so that a GPU can replay
it as one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from objectives.machine import autocast
from objectives.network import Network
from objectives.pixels import DeviceImages, EpochPlan
from objectives.replay import Replayed
from objectives.settings import TrainSettings


class TrainingSteps:
    """All steps of one training, epoch by epoch."""

    def __init__(self, network: nn.Module, images: DeviceImages, settings: TrainSettings, device: torch.device) -> None:
        self._network: Callable[[torch.Tensor], torch.Tensor] = network
        if settings.compile:
            torch.compiler.reset()  # of the networks before, after eight of which it would compile no more
            self._network = torch.compile(network)
        self._images, self._settings = images, settings
        self._autocast = autocast(device, settings)
        self._count = max(1, len(images) // settings.batch_size)
        self._rates = torch.tensor(learning_rates(settings, self._count), dtype=_rate_type(device), device=device)
        self._rate = self._rates[0].clone()
        self._optimiser = make_optimiser(network, settings, self._rate)
        self._plan = EpochPlan.empty(len(images), device)
        self._places = torch.arange(min(settings.batch_size, len(images)), device=device)
        self._step = torch.zeros(1, dtype=torch.int64, device=device)
        """Steps done so far in this training."""
        self._first = torch.zeros(1, dtype=torch.int64, device=device)
        """Place of the first image of the next step within its epoch."""
        self._total = torch.zeros((), device=device)
        # a person's own network may decide something anew at each step, which a graph would repeat
        self._run = Replayed(device, wanted=settings.cuda_graph and isinstance(network, Network))

    def run_epoch(self, plan: EpochPlan, epoch: int) -> float:
        """Train on the images of the plan: the mean loss. Nothing waits for the device before the last step."""
        self._plan.copy_(plan)
        self._step.fill_((epoch - 1) * self._count)
        self._first.zero_()
        self._total.zero_()
        for _ in range(self._count):
            self._run(self._one)
        return float(self._total) / self._count

    def _one(self) -> None:
        images, labels = self._images.augmented(self._plan[self._first + self._places])
        with self._autocast:
            logits = self._network(images)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self._settings.label_smoothing)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._rate.copy_(self._rates.index_select(0, self._step).squeeze())
        self._optimiser.step()
        self._total += loss.detach()
        self._step += 1
        self._first += self._settings.batch_size


def _rate_type(device: torch.device) -> torch.dtype:
    """The type in which fused SGD reads a learning rate that lies on the device."""
    return torch.float32 if device.type == "cuda" else torch.float64


def make_optimiser(network: nn.Module, settings: TrainSettings, rate: torch.Tensor) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; only weights of convolutions and linear layers decay.

    ``rate`` is a tensor on the device, whose value may change between steps without a new capture.
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, rate, settings.momentum, nesterov=True, fused=True)


def learning_rates(settings: TrainSettings, steps: int) -> list[float]:
    """The rate of every step of the run: up to the highest in the warm-up, then down to 0, both linear."""
    total = settings.epochs * steps
    rising = settings.warmup * total
    return [
        settings.learning_rate * min((s + 1) / max(1, rising), (total - s) / (total - rising)) for s in range(total)
    ]
