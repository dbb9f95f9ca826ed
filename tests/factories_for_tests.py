"""Factories of networks, good and bad; named on command lines as tests.factories_for_tests:X."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn


def plain(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    """A stem, a run of convolutions that rounds depth and width to whole numbers, and a classifier."""
    channels, repeats = max(1, round(16 * width)), max(1, round(4 * depth))
    layers = [nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    for _ in range(repeats):
        layers += [nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def coarse(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    """Two widths only: nothing lies between 4 and 64 channels."""
    return plain(depth, 4.0 if width > 1.5 else 0.25, resolution, classes)


def only_large_images(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    if resolution < 12:
        raise ValueError("images must have 12 pixels or more")
    return plain(depth, width, resolution, classes)


def counts_values(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    rates = torch.linspace(0, 0.1, 4).tolist()  # cannot be done without values
    return nn.Sequential(plain(depth, width, resolution, classes), nn.Dropout(rates[-1]))


def moved(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return plain(depth, width, resolution, classes).to("cpu")  # the meta device has no values to move


class ValuesInForward(nn.Module):
    """Looks at its own output: on the meta device there is none."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits if float(logits.detach().sum()) < 1e9 else logits * 0


def values_in_forward(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return ValuesInForward(plain(depth, width, resolution, classes))


def lazy(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    """The layers of ``plain``, whose inputs are found at the first image."""
    channels, repeats = max(1, round(16 * width)), max(1, round(4 * depth))
    layers = [nn.LazyConv2d(channels, 3, 2, 1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU()]
    for _ in range(repeats):
        layers += [nn.LazyConv2d(channels, 3, 1, 1, bias=False), nn.LazyBatchNorm2d(), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(classes))


class WithParts(nn.Module):
    """Gives more than logits, by a form: in training only, as networks with auxiliary heads do."""

    def __init__(self, layers: nn.Module, classes: int, form: Callable[[torch.Tensor, torch.Tensor], object]) -> None:
        super().__init__()
        self.layers, self.auxiliary, self.form = layers, nn.Linear(classes, classes), form

    def forward(self, images: torch.Tensor) -> object:
        logits = self.layers(images)
        return self.form(logits, self.auxiliary(logits)) if self.training else logits


class Named(NamedTuple):
    aux: torch.Tensor
    logits: torch.Tensor


@dataclass
class Output:
    loss: torch.Tensor | None
    logits: torch.Tensor


FORMS: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "tuple": lambda logits, other: (logits, other),
    "list": lambda logits, other: [logits, other],
    "named": lambda logits, other: Named(other, logits),
    "dictionary": lambda logits, other: {"aux": other, "out": logits},
    "first": lambda logits, other: {"main": logits, "aux": other},
    "dataclass": lambda logits, other: Output(None, logits),
    "nested": lambda logits, other: ((logits, other), other),
}


def with_parts(form: str) -> Callable[[float, float, int, int], nn.Module]:
    def build(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
        return WithParts(plain(depth, width, resolution, classes), classes, FORMS[form])

    return build


def loads_weights(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    """Weights of the baseline fit no other network."""
    module = plain(depth, width, resolution, classes)
    module.load_state_dict(plain(1.0, 1.0, resolution, classes).state_dict())
    return module


def in_groups(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    """Channels must be a multiple of 8, blocks come in pairs, and a side of a multiple of 4 is stated nowhere."""
    channels, repeats = round(128 * width), round(8 * depth)
    if repeats % 2:
        raise ValueError("blocks come in pairs")
    layers: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(48, channels, 1)]
    for _ in range(repeats):
        layers += [nn.Conv2d(channels, channels, 3, 1, 1, groups=8), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def no_module(depth: float, width: float, resolution: int, classes: int) -> object:
    return "a network"


def too_many_logits(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return plain(depth, width, resolution, classes + 1)


def without_layers(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReplicationPad1d((0, classes - 3)))


class Untrainable(nn.Module):
    """Runs, but not in training."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise RuntimeError("this network cannot be trained\nbecause of a second line")
        return self.layer(images.mean((2, 3)))


def untrainable(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return Untrainable(classes)


class WrongInTraining(nn.Module):
    """Scores well, and trains badly: by another number of outputs, or not at all."""

    def __init__(self, classes: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.other = nn.Linear(3, classes), nn.Linear(3, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = images.mean((2, 3))
        if not self.training:
            return self.layer(features)
        return self.other(features) if self.other.out_features > 1 else self.nothing


def wrong_in_training(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return WrongInTraining(classes, classes + 1)


def lost_attribute(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return WrongInTraining(classes, 1)


class SteeredByABuffer(nn.Module):
    """What it trains depends on how often it was trained: a buffer counts."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = plain(0.25, 0.5, 8, classes)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += 1
            images = images * (1 + 0.5 * torch.sin(self.steps))
        return self.layers(images)


def steered_by_a_buffer(depth: float, width: float, resolution: int, classes: int) -> nn.Module:
    return SteeredByABuffer(classes)


NOT_A_FUNCTION = 3
