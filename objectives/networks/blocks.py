"""The modules of the blocks that a stage can be made of; what they cost is counted in ``phiscale/blocks.py``.

A convolution pads so that a side of n becomes ceil(n / stride); patches do not pad: floor(n / stride). The last batch
normalisation of a residual branch starts at 0 (Goyal et al. 2017, arXiv 1706.02677): without it deep networks lose
much in a short training.

Sources: see ``StageSpec``; squeeze-excitation, Hu et al. 2018 (arXiv 1709.01507); stochastic depth, Huang et al. 2016
(arXiv 1603.09382); layer scale, Touvron et al. 2021 (arXiv 2103.17239).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from phiscale.spec import StageSpec


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


def make_block(stage: StageSpec, in_channels: int, stride: int, activation: str, drop_path: float) -> Block:
    """One block of the stage. ``drop_path`` is its rate of stochastic depth, where it has a residual branch."""
    if stage.block == "convnext":
        return ConvNeXtBlock(stage, in_channels, stride, activation, drop_path)
    if stage.block in ("basic", "bottleneck"):
        return ResidualBlock(stage, in_channels, stride, activation, drop_path)
    return InvertedBlock(stage, in_channels, stride, activation, drop_path)


class Block(nn.Module):
    """A branch, added to the block's input (or a projection of it) where ``residual``."""

    branch: nn.Sequential
    residual: bool = True
    drop_path: float

    def starting_at_zero(self) -> list[Tensor]:
        """Parameters whose first value is 0, so that the residual branch starts at 0."""
        last = self.branch[-1]
        return [last.weight] if self.residual and isinstance(last, nn.BatchNorm2d) else []

    def dropped(self, branch: Tensor) -> Tensor:
        """The branch, left out for some images in training, the others scaled up."""
        if not self.drop_path or not self.training:
            return branch
        return branch * functional.dropout(branch.new_ones(len(branch), 1, 1, 1), self.drop_path)


class InvertedBlock(Block):
    """MBConv, or fused MBConv: expand, (depthwise,) squeeze-excitation, project."""

    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str, drop_path: float) -> None:
        super().__init__()
        fused, expands = stage.block == "fused", stage.expansion != 1
        hidden, squeeze = stage.hidden_channels(in_channels), stage.squeeze_channels(in_channels)
        layers: list[nn.Module] = []
        if expands:
            kernel, first_stride = (stage.kernel, stride) if fused else (1, 1)
            layers.append(conv_norm(in_channels, hidden, kernel, activation, stride=first_stride))
        if not fused:
            layers.append(conv_norm(hidden, hidden, stage.kernel, activation, stride=stride, groups=hidden))
        if squeeze:
            layers.append(SqueezeExcitation(hidden, squeeze, activation))
        if fused and not expands:
            layers += conv_norm(hidden, stage.channels, stage.kernel, activation, stride=stride)
        else:
            layers += conv_norm(hidden, stage.channels, 1, None)
        self.branch = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == stage.channels
        self.drop_path = drop_path

    def forward(self, images: Tensor) -> Tensor:
        branch: Tensor = self.branch(images)
        return images + self.dropped(branch) if self.residual else branch


class ResidualBlock(Block):
    """Basic or bottleneck: convolutions, added to the input or its 1x1 projection, then the activation."""

    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str, drop_path: float) -> None:
        super().__init__()
        hidden, channels = stage.hidden_channels(in_channels), stage.channels
        if stage.block == "basic":
            layers = [
                conv_norm(in_channels, hidden, stage.kernel, activation, stride=stride),
                *conv_norm(hidden, channels, stage.kernel, None),
            ]
        else:
            layers = [
                conv_norm(in_channels, hidden, 1, activation),
                conv_norm(hidden, hidden, stage.kernel, activation, stride=stride),
                *conv_norm(hidden, channels, 1, None),
            ]
        self.branch = nn.Sequential(*layers)
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if same else conv_norm(in_channels, channels, 1, None, stride=stride)
        self.activation = activation_module(activation)
        self.drop_path = drop_path

    def forward(self, images: Tensor) -> Tensor:
        sums: Tensor = self.activation(self.shortcut(images) + self.dropped(self.branch(images)))
        return sums


class ConvNeXtBlock(Block):
    """ConvNeXt: depthwise convolution, layer normalisation, two linear layers, layer scale; patches before a change."""

    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str, drop_path: float) -> None:
        super().__init__()
        channels, hidden = stage.channels, stage.hidden_channels(in_channels)
        patches = [ChannelNorm(in_channels), nn.Conv2d(in_channels, channels, stride, stride)]
        self.downsample = nn.Sequential(*(patches if stride != 1 or in_channels != channels else []))
        self.depthwise = nn.Conv2d(channels, channels, stage.kernel, padding=(stage.kernel - 1) // 2, groups=channels)
        self.branch = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, hidden),
            activation_module(activation),
            nn.Linear(hidden, channels),
        )
        self.scale = nn.Parameter(torch.empty(channels)) if stage.layer_scale else None
        self.first_scale = stage.layer_scale
        self.drop_path = drop_path

    def reset_scale(self) -> None:
        """Set the layer scale, where there is one, to its first value."""
        if self.scale is not None:
            nn.init.constant_(self.scale, self.first_scale)

    def starting_at_zero(self) -> list[Tensor]:
        last = self.branch[-1]
        return [] if self.scale is not None or not isinstance(last, nn.Linear) else [last.weight]

    def forward(self, images: Tensor) -> Tensor:
        images = self.downsample(images)
        branch: Tensor = self.branch(self.depthwise(images).permute(0, 2, 3, 1))
        if self.scale is not None:
            branch = branch * self.scale
        return images + self.dropped(branch.permute(0, 3, 1, 2))


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
