"""Images on the device at the resolution of one network, and the augmented batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from objectives.data.imageset import Images, Labels
from objectives.training.memory import total_memory

_CHUNK = 2**24
"""Number of values that are moved to the device and resized there at a time."""
_MAX_SHIFT = 1 / 8
_MEMORY_PART = 0.25
"""Part of the device's total memory that resized images may take. Above it every batch is resized separately, which
changes the scores, so the limit must not depend on what else runs."""


@dataclass(frozen=True)
class EpochPlan:
    """What one epoch does to the images; drawn from the generator alone, whatever the resolution."""

    order: Tensor
    """Image of every place, int64, (n,)."""
    mirrored: Tensor
    """Whether the image at a place is mirrored, bool, (n,)."""
    shifts: Tensor
    """Shift down and right as a part of the side, float, (n, 2)."""

    @classmethod
    def draw(cls, count: int, augmentations: frozenset[str], generator: torch.Generator) -> EpochPlan:
        """A new order and new augmentations. The same numbers are drawn whichever augmentations apply."""
        order = torch.randperm(count, generator=generator)
        mirrored = torch.rand(count, generator=generator) < 0.5
        shifts = (2 * torch.rand((count, 2), generator=generator) - 1) * _MAX_SHIFT
        return cls(order, mirrored & ("flip" in augmentations), shifts * ("crop" in augmentations))

    @classmethod
    def empty(cls, count: int, device: torch.device) -> EpochPlan:
        """Room for a plan on the device."""
        order = torch.zeros(count, dtype=torch.int64, device=device)
        return cls(order, order.bool(), torch.zeros((count, 2), device=device))

    def copy_(self, other: EpochPlan) -> None:
        """Take the values of another plan, in place."""
        self.order.copy_(other.order)
        self.mirrored.copy_(other.mirrored)
        self.shifts.copy_(other.shifts)

    def __getitem__(self, places: Tensor) -> EpochPlan:
        return EpochPlan(self.order[places], self.mirrored[places], self.shifts[places])


class DeviceImages:
    """uint8 images, resized once where the memory allows it, with their labels; batches are normalised floats.

    ``statistics`` are the means and standard deviations of the training images' channels, in 0..255.
    """

    def __init__(
        self,
        images: Images,
        labels: Labels,
        resolution: int,
        device: torch.device,
        statistics: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        self.labels = torch.from_numpy(labels).to(device)
        self._resolution = resolution
        # for all values of one line of pixels, which a CPU takes at once
        mean, std = (torch.tensor(part).repeat(resolution).to(device) for part in statistics)
        self._mean, self._scale = mean, 1 / std.clamp(min=1)
        stored = images.shape[-1]
        fits = len(images) * 3 * resolution**2 < _MEMORY_PART * total_memory(device)
        side = resolution if fits else stored
        self._images = torch.empty((len(images), side, side, 3), dtype=torch.uint8, device=device)
        at_a_time = max(1, _CHUNK // (3 * max(side, stored) ** 2))
        parts = torch.split(self._images, at_a_time), torch.split(torch.from_numpy(images), at_a_time)
        for part, chunk in zip(*parts, strict=True):
            moved = chunk.to(device)  # first, since a GPU is much quicker at the rest
            part.copy_(moved.permute(0, 2, 3, 1) if side == stored else _resized(moved, side))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The images of these indices, float (n, 3, side, side) in channels_last, and their labels, (n,)."""
        return self._normalised(self._sized(self._images[chosen])), self.labels[chosen]

    def augmented(self, plan: EpochPlan) -> tuple[Tensor, Tensor]:
        """The images of a part of the plan, mirrored and shifted (the border is reflected), and their labels."""
        side = self._images.shape[1]
        line = torch.arange(side, device=plan.order.device)
        moves = (plan.shifts * side).round().long()
        rows = _reflected(line + moves[:, :1], side)
        columns = _reflected(line + moves[:, 1:], side)
        columns = torch.where(plan.mirrored[:, None], side - 1 - columns, columns)
        lines = plan.order[:, None] * side + rows
        pixels = lines[:, :, None] * side + columns[:, None, :]
        images = self._images.view(-1, 3).index_select(0, pixels.flatten()).view(*pixels.shape, 3)
        return self._normalised(self._sized(images)), self.labels[plan.order]

    def _sized(self, images: Tensor) -> Tensor:
        if images.shape[1] == self._resolution:
            return images
        return _resized(images.permute(0, 3, 1, 2), self._resolution)

    def _normalised(self, images: Tensor) -> Tensor:
        n, side = images.shape[:2]
        lines = images.view(n, side, -1).float().sub_(self._mean).mul_(self._scale)
        return lines.view(n, side, side, 3).permute(0, 3, 1, 2)


def _reflected(places: Tensor, side: int) -> Tensor:
    return (side - 1) - ((side - 1) - places.abs()).abs()


def _resized(images: Tensor, side: int) -> Tensor:
    """uint8 (n, 3, h, w) to uint8 (n, side, side, 3), antialiased."""
    if images.device.type == "cpu":  # torch has a quick loop for bytes, which rounds between rows and columns as Pillow
        images = images.contiguous(memory_format=torch.channels_last)
        resized = functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
    else:
        resized = functional.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
        resized = resized.round().clamp(0, 255).to(torch.uint8)
    return resized.permute(0, 2, 3, 1).contiguous()
