"""One proxy training as the work of an executor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from objectives.training.settings import TrainSettings
from phiscale.spec import NetworkSpec

if TYPE_CHECKING:
    from objectives.data.imageset import ImageSet
    from objectives.training.train import ProxyRun


@dataclass(frozen=True, eq=False)
class Training:
    """Trains networks on the same images."""

    images: ImageSet
    train: TrainSettings

    def __call__(self, spec: NetworkSpec, seed: int, rate: float) -> ProxyRun:
        """See ``objectives.training.train.train_proxy``; ``rate`` is the learning rate of this network."""
        from objectives.training.train import train_proxy

        return train_proxy(spec, self.images, dataclasses.replace(self.train, learning_rate=rate), seed=seed)
