"""The training steps of one network: batches, loss, gradients, optimiser; and its state, kept and put back.

A step reads and writes tensors that stay where they are on the device, and waits for nothing, so that a GPU can replay
it as one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from objectives.networks.build import Network
from objectives.training.cuda_graph import Replayed
from objectives.training.device import autocast
from objectives.training.device_images import DeviceImages, EpochPlan
from objectives.training.settings import TrainSettings
from phiscale.errors import TrialError


class TrainingSteps:
    """The steps of one training, which can be left after any step and continued there."""

    def __init__(
        self,
        network: nn.Module,
        images: DeviceImages,
        settings: TrainSettings,
        device: torch.device,
        steps: int,
        draw: Callable[[int], EpochPlan],
    ) -> None:
        """``steps`` is the number of the whole training; ``draw`` gives the order of the images of an epoch, from 0."""
        self._module, self._device, self._draw = network, device, draw
        self._network: Callable[[torch.Tensor], torch.Tensor] = network
        if settings.compile:
            torch.compiler.reset()  # torch keeps those of earlier networks, and stops compiling after eight
            self._network = torch.compile(network)
        self._images, self._settings = images, settings
        self._autocast = autocast(device, settings)
        self._batch = min(settings.batch_size, len(images))
        self._per_epoch = len(images) // self._batch
        self._epoch = -1
        self._rates = torch.zeros(steps, dtype=_rate_type(device), device=device)
        self._rate = self._rates[0].clone()
        self._optimiser = make_optimiser(network, settings, self._rate)
        self._plan = EpochPlan.empty(len(images), device)
        self._places = torch.arange(self._batch, device=device)
        self._step = torch.zeros(1, dtype=torch.int64, device=device)
        """Steps done so far on this path."""
        self._first = torch.zeros(1, dtype=torch.int64, device=device)
        """Place of the first image of the next step within its epoch."""
        self._total = torch.zeros((), device=device)
        # a user's own network may decide anew at each step, and a graph would only repeat
        self._run = Replayed(device, wanted=settings.cuda_graph and isinstance(network, Network))

    def run(self, first: int, rates: Sequence[float]) -> None:
        """Train from step ``first`` on, one step for each learning rate.

        No step waits for the device, but copying the rates to it does, and copying the order of the images of an epoch.
        """
        steps = range(first, first + len(rates))
        self._rates[steps.start : steps.stop] = torch.tensor(rates, dtype=self._rates.dtype)
        for step in steps:
            if step == first or step % self._per_epoch == 0:
                self._go_to(step)
            self._run(self._one)

    @property
    def kind(self) -> str:
        """How the last step ran, as a person reads it."""
        return f"{'compiled, ' if self._settings.compile else ''}{self._run.kind}"

    def mean_loss(self) -> float:
        """Mean training loss of all steps on this path, in nats."""
        return float(self._total) / int(self._step)

    def snapshot(self) -> Snapshot:
        """The state at this step, for a later return."""
        return Snapshot.take(self._state(), self._device)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a state, in the same memory, so that a captured step can use it."""
        snapshot.put_back(self._state(), self._device)

    def _state(self) -> list[torch.Tensor]:
        """Weights, statistics of batch normalisation, momenta, and the sum of the losses."""
        momenta = [state["momentum_buffer"] for state in self._optimiser.state.values()]
        return [*self._module.parameters(), *self._module.buffers(), *momenta, self._total]

    def _go_to(self, step: int) -> None:
        epoch, place = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            self._plan.copy_(self._draw(epoch))
            self._epoch = epoch
        self._step.fill_(step)
        self._first.fill_(place * self._batch)

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
        self._first += self._batch


@dataclass(frozen=True)
class Snapshot:
    """A copy of the tensors of a training and of the random state."""

    tensors: list[torch.Tensor]
    random: torch.Tensor
    device_random: torch.Tensor | None

    @classmethod
    def take(cls, state: list[torch.Tensor], device: torch.device) -> Snapshot:
        """Copy the state."""
        on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls([tensor.detach().clone() for tensor in state], torch.get_rng_state(), on_device)

    @torch.no_grad()
    def put_back(self, state: list[torch.Tensor], device: torch.device) -> None:
        """Write the copy over the state."""
        if [tensor.shape for tensor in state] != [kept.shape for kept in self.tensors]:
            raise TrialError(
                "factory",
                "expected a network whose parameters and buffers keep their shapes once it trains, got others",
            )
        for tensor, kept in zip(state, self.tensors, strict=True):
            tensor.copy_(kept)
        torch.set_rng_state(self.random)
        if self.device_random is not None:
            torch.cuda.set_rng_state(self.device_random, device)


def _rate_type(device: torch.device) -> torch.dtype:
    """The number type in which fused SGD reads a learning rate on the device."""
    return torch.float32 if device.type == "cuda" else torch.float64


def make_optimiser(network: nn.Module, settings: TrainSettings, rate: torch.Tensor) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; only weights of convolutions and linear layers decay.

    ``rate`` is a tensor on the device, whose value may change between steps without a new capture.
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, rate, settings.momentum, nesterov=True, fused=True)
    for parameter in network.parameters():  # there from the start: a snapshot then holds the same tensors at every step
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser
