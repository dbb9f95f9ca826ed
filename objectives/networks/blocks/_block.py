"""What the modules of all kinds of block have in common: a branch, its stochastic depth, and its first values.

The last batch normalisation of a residual branch starts at 0 (Goyal et al. 2017, arXiv 1706.02677): without it deep
networks lose much in a short training. Source of stochastic depth: Huang et al. 2016 (arXiv 1603.09382).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from objectives.networks.layers import activation_module, conv_norm
from phiscale.spec import StageSpec


class Block(nn.Module):
    """A branch, added to the block's input where ``residual``. Images: float, (n, channels, height, width)."""

    branch: nn.Sequential
    residual: bool
    drop_path: float = 0.0

    def __init__(self, stage: StageSpec, in_channels: int, stride: int, activation: str) -> None:  # noqa: ARG002
        super().__init__()
        self.residual = stride == 1 and in_channels == stage.channels

    def set_first_values(self) -> None:
        """Set parameters that have a special first value in this block, once its layers are initialised."""
        last = self.branch[-1]
        if self.residual and isinstance(last, nn.BatchNorm2d):
            nn.init.zeros_(last.weight)

    def dropped(self, branch: Tensor) -> Tensor:
        """The branch; in training it is left out for some images, and scaled up for the others."""
        if not self.drop_path or not self.training:
            return branch
        return branch * functional.dropout(branch.new_ones(len(branch), 1, 1, 1), self.drop_path)

    def forward(self, images: Tensor) -> Tensor:
        branch: Tensor = self.branch(images)
        return images + self.dropped(branch) if self.residual else branch


class ResidualBlock(Block):
    """A branch, added to the input or its 1x1 projection, then the activation."""

    def __init__(
        self, stage: StageSpec, in_channels: int, stride: int, activation: str, branch: list[nn.Module]
    ) -> None:
        super().__init__(stage, in_channels, stride, activation)
        self.branch = nn.Sequential(*branch)
        same, self.residual = self.residual, True
        self.shortcut = nn.Identity() if same else conv_norm(in_channels, stage.channels, 1, None, stride=stride)
        self.activation = activation_module(activation)

    def forward(self, images: Tensor) -> Tensor:
        sums: Tensor = self.activation(self.shortcut(images) + self.dropped(self.branch(images)))
        return sums
