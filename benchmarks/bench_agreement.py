"""Does the engine give the scores of the loop that a person would write? Both train the same network, seed by seed.

Run: python -m benchmarks.bench_agreement                                   # the embedded images, some minutes
     python -m benchmarks.bench_agreement --data images/ --seeds 5          # with augmentation

They differ in nothing but arithmetic in another order and the resizing of images (as tensors, as pictures). Prints both
scores of every seed, and their mean difference beside the deviation of one seed.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.reference_loop import PLAIN, train_reference
from objectives.data.imageset import ImageSet
from objectives.training.settings import TrainSettings
from objectives.training.train import train_proxy
from phiscale import PROXY_BASE, PUBLISHED_RULES, match_budget
from phiscale.spec import NetworkSpec
from search.confirm import mean_of

Scores = NDArray[np.float64]
_LOOP = dataclasses.replace(PLAIN, settle=True)
"""The engine scores with settled statistics; the loop has to as well to be compared."""


@dataclass(frozen=True)
class Agreement:
    """Accuracies by seed, (seeds,)."""

    engine: Scores
    loop: Scores

    def sentence(self) -> str:
        """Mean difference with its 95 % interval, and what a seed does."""
        differences = self.engine - self.loop
        return (
            f"engine {self.engine.mean():.4f}, loop {self.loop.mean():.4f}: difference {differences.mean():+.4f} +- "
            f"{mean_of(differences).half_width(0.05):.4f} (95 % interval); "
            f"deviation of one seed {self.loop.std(ddof=1):.4f}"
        )


def agreement(spec: NetworkSpec, data: ImageSet, settings: TrainSettings, *, seeds: int) -> Agreement:
    """Train with each of ``seeds`` seeds both ways."""
    pairs = []
    for seed in range(seeds):
        engine = train_proxy(spec, data, settings, seed=seed).curves["accuracy"][-1]
        pairs.append((engine, train_reference(spec, data, settings, _LOOP, seed=seed).accuracy))
    found = np.array(pairs)
    return Agreement(found[:, 0], found[:, 1])


def main() -> None:
    """The command."""
    from objectives.data.load import load_data

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder or an .npz file, as for phiscale search (the embedded images)")
    parser.add_argument("--resolution", type=int, default=PROXY_BASE.resolution, help="of the baseline, pixels")
    parser.add_argument("--images-seen", type=int, default=12_000, help="length of a training (12,000)")
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    settings = TrainSettings(images_seen=options.images_seen, rungs=1)
    data = load_data(options.data, train_images=settings.train_images, validation_images=settings.validation_images)
    base = dataclasses.replace(PROXY_BASE, classes=len(data.classes), resolution=options.resolution)
    spec = match_budget(base, PUBLISHED_RULES["equal"].constants, phi=2.0).spec
    found = agreement(spec, data, settings, seeds=options.seeds)
    for seed, (engine, loop) in enumerate(zip(found.engine, found.loop, strict=True)):
        print(f"seed {seed}: engine {engine:.4f}, loop {loop:.4f}")
    print(f"{data.name}, {spec.resolution} pixels: {found.sentence()}")


if __name__ == "__main__":
    main()
