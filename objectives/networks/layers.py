"""The layers that blocks, stem and head are made of.

A convolution pads so that a side of n becomes ceil(n / stride).
Source of squeeze-excitation: Hu et al. 2018 (arXiv 1709.01507).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def activation_module(name: str) -> nn.Module:
    """The activation function of a spec."""
    modules = {"silu": nn.SiLU, "relu": nn.ReLU, "relu6": nn.ReLU6}
    return modules[name](inplace=True) if name in modules else nn.GELU()


def conv_norm(
    in_channels: int, channels: int, kernel: int, activation: str | None, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, and activation unless None."""
    layers = [
        nn.Conv2d(in_channels, channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
    ]
    return nn.Sequential(*layers, *([activation_module(activation)] if activation else []))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of images: float, (n, channels, height, width)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate in (0, 1) that two linear layers make of all channel means."""

    def __init__(self, channels: int, squeeze: int, activation: str) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, squeeze)
        self.activation = activation_module(activation)
        self.expand = nn.Linear(squeeze, channels)

    def gate(self, means: Tensor) -> Tensor:
        """Both (n, channels)."""
        return torch.sigmoid(self.expand(self.activation(self.reduce(means))))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.gate(images.mean((2, 3)))[:, :, None, None]
