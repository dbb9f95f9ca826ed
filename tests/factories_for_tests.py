"""Factories of networks, good and bad; named on command lines as tests.factories_for_tests:X."""

from __future__ import annotations

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
