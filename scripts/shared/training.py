"""One proxy training as the work of an executor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from objectives.training.settings import TrainSettings
from phiscale.spec import NetworkSpec

if TYPE_CHECKING:
    from objectives.data.imageset import ImageSet
    from objectives.networks.own_module import FactoryMember
    from objectives.training.train import ProxyRun


@dataclass(frozen=True, eq=False)
class Training:
    """Trains networks on the same images."""

    images: ImageSet
    train: TrainSettings

    def __call__(self, spec: NetworkSpec | FactoryMember, seed: int, rate: float) -> ProxyRun:
        """See ``objectives.training.train.train_proxy``; ``rate`` is the learning rate of this network."""
        from objectives.training.train import train_proxy

        return train_proxy(spec, self.images, dataclasses.replace(self.train, learning_rate=rate), seed=seed)

    def memory_needed(self, spec: NetworkSpec | FactoryMember, *_: float) -> int:
        """Bytes of the device that the training takes, estimated."""
        from objectives.training.device import choose_device
        from objectives.training.memory_needed import needed_bytes

        return needed_bytes(spec, self.train, self.images, choose_device(self.train.device))

    def memory(self) -> tuple[str, int, int]:
        """Of the device on which this process trains: its name, bytes in all, bytes free."""
        from objectives.training.memory_needed import memory_of_device

        return memory_of_device(self.train)
