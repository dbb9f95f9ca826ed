"""Memory of a trial: the estimate of ``objectives.training.memory_needed`` against what a training takes.

Measured is by how much the largest resident size of the process grows while it trains (Linux, CPU); the process has
torch and the images in memory before.

Run: python -m benchmarks.bench_memory              # all, about five minutes on one core
     python -m benchmarks.bench_memory --only 0 3   # some, by their number

Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from objectives.data.imageset import Images, ImageSet
from objectives.training.settings import Precision, TrainSettings
from phiscale import BASELINES, ROUNDINGS, Multipliers, NetworkSpec, scale_network

_CLASSES = 10
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Case:
    """One training."""

    network: str
    """A published baseline."""
    pixels: int
    """Side of the images as the network takes them."""
    stored: int
    """Side of the images as they are stored."""
    batch: int = 32
    images: int = 300
    """Training images; 250 are scored on, or a quarter as many."""
    depth: float = 1.0
    width: float = 1.0
    precision: Precision = "float32"

    def spec(self) -> NetworkSpec:
        """The network."""
        scaled = scale_network(BASELINES[self.network], Multipliers(self.depth, self.width, 1), ROUNDINGS["exact"])
        return dataclasses.replace(scaled.spec, classes=_CLASSES, resolution=self.pixels)

    def data(self) -> ImageSet:
        """Random images."""
        generator = np.random.default_rng(0)
        validated = min(250, self.images) if self.images <= 1000 else self.images // 4
        parts = [self._random(count, generator) for count in (self.images, validated)]
        labels = [np.arange(len(part), dtype=np.int64) % _CLASSES for part in parts]
        return ImageSet(
            name="random",
            train_images=parts[0],
            train_labels=labels[0],
            validation_images=parts[1],
            validation_labels=labels[1],
            classes=tuple(map(str, range(_CLASSES))),
        )

    def _random(self, count: int, generator: np.random.Generator) -> Images:
        return generator.integers(0, 256, (count, 3, self.stored, self.stored), dtype=np.uint8)

    def settings(self) -> TrainSettings:
        """One epoch with two rungs that does not diverge."""
        return TrainSettings(
            device="cpu",
            images_seen=self.images,
            rungs=2,
            batch_size=self.batch,
            learning_rate=1e-4,
            precision=self.precision,
        )


CASES = (
    Case("proxy-base", 20, 28, images=1000),
    Case("proxy-base", 30, 28, images=6000),
    Case("proxy-base", 60, 28, images=2000, batch=128, width=2),
    Case("efficientnet-b0", 64, 64, images=500, width=0.5),
    Case("efficientnet-b0", 64, 64, images=500, width=0.5, precision="bfloat16"),
    Case("efficientnet-b0", 64, 64, batch=16),
    Case("efficientnet-b0", 128, 128),
    Case("efficientnet-b0", 96, 64, depth=2),
    Case("efficientnet-b0", 224, 224, batch=16, images=64),
    Case("efficientnetv2-b0", 96, 96),
    Case("mobilenetv2", 96, 96),
    Case("resnet-18", 32, 32, images=2000, batch=128, width=0.5),
    Case("resnet-18", 64, 64, images=500),
    Case("resnet-18", 128, 64, batch=64),
    Case("resnet-18", 64, 64, images=500, batch=64, precision="bfloat16"),
    Case("resnet-50", 96, 96),
    Case("resnet-50", 64, 64, depth=3),
    Case("convnext-t", 96, 96, width=0.5),
)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, nargs="*", default=range(len(CASES)), help="numbers of the cases, from 0")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here is not None:
        print(*measure(CASES[options.here]))
        return
    print("| network | depth, width | pixels (stored) | batch | images | precision | estimate | measured | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for index in options.only:
        command = [sys.executable, "-m", "benchmarks.bench_memory", "--here", str(index)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(_row(CASES[index], *(int(word) / _MEBIBYTE for word in output.split())), flush=True)


def _row(case: Case, estimate: float, measured: float) -> str:
    cells = (
        case.network,
        f"{case.depth:g}, {case.width:g}",
        f"{case.pixels} ({case.stored})",
        case.batch,
        case.images,
        case.precision,
        f"{estimate:.0f} MiB",
        f"{measured:.0f} MiB",
        f"{estimate / measured:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def measure(case: Case) -> tuple[int, int]:
    """Bytes: the estimate, and the growth of this process's largest resident size."""
    import torch

    from objectives.training.memory_needed import needed_bytes
    from objectives.training.train import train_proxy

    spec, data, settings = case.spec(), case.data(), case.settings()
    estimate = needed_bytes(spec, settings, data, torch.device("cpu"))
    Path("/proc/self/clear_refs").write_text("5")  # the largest size begins again from here
    before = _resident("VmRSS")
    train_proxy(spec, data, settings, seed=0)
    return estimate, _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


if __name__ == "__main__":
    main()
