"""Which threads, memory layout and precision train a proxy fastest on this CPU? The engine's rule, measured.

Run: python -m benchmarks.bench_settings                 # a few minutes; nothing else should run meanwhile

Steps of training on random images, every setting in turn, several rounds; and one pass of scoring with batch
normalisation as it is and folded into the convolutions. Prints tables in Markdown. The engine's rule is one thread,
channels_last, float32 and joined layers (``objectives/training/device.py``, ``objectives/cpu/layers.py``); the last
column says by how much each setting is faster than it.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.contestants import Case, cases
from objectives.cpu.layers import fit_to_device
from objectives.networks.build import build_network, folded
from objectives.training.settings import TrainSettings
from objectives.training.steps import make_optimiser

_BATCH, _SCORED = 32, 250


@dataclass(frozen=True)
class Setting:
    """One way to train."""

    threads: int
    layout: torch.memory_format
    dtype: torch.dtype
    joined: bool = False
    """Whether the layers are those of ``objectives/cpu/layers.py``, which are for channels_last and float32."""

    @property
    def name(self) -> str:
        """In words."""
        words = f"{self.threads} thread{'s' * (self.threads > 1)}"
        words += f", {str(self.layout).removeprefix('torch.')}, {str(self.dtype).removeprefix('torch.')}"
        return words + ", joined layers" * self.joined


RULE = Setting(1, torch.channels_last, torch.float32, joined=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="training steps of a measurement (20)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for case in cases().values():
        print(f"\n### {case.name}\n\n| setting | ms a step: median (lowest to highest) | times the rule's speed |")
        print("|---|---|---|")
        measured = training(case, options.steps, options.rounds)
        for setting, seconds in measured.items():
            print(_row(setting.name, seconds, measured[RULE]))
        plain, folded = scoring(case, options.rounds)
        print(f"\nscoring {_SCORED} images, batch normalisation folded: {_ratio(plain, folded)} times as fast")


def training(case: Case, steps: int, rounds: int) -> dict[Setting, list[float]]:
    """Seconds of a training step by setting, one figure per round."""
    threads = sorted({1, os.cpu_count() or 1})
    layouts = (torch.channels_last, torch.contiguous_format)
    settings = [dataclasses.replace(RULE, threads=count) for count in threads]
    settings += [Setting(*each) for each in itertools.product(threads, layouts, (torch.float32, torch.bfloat16))]
    runs = {setting: _trainer(case, setting) for setting in settings}
    found: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for turn in range(rounds + 1):
        for setting, step in runs.items():
            torch.set_num_threads(setting.threads)
            seconds = _timed(step, steps if turn else 3)
            if turn:
                found[setting].append(seconds)
    torch.set_num_threads(1)
    return found


def scoring(case: Case, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of one pass of scoring: as it is, and folded."""
    network = build_network(case.spec, 0).eval()
    images = torch.rand(_SCORED, 3, case.spec.resolution, case.spec.resolution).to(memory_format=torch.channels_last)
    both = network, folded(network)
    found: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for _, (each, seconds) in itertools.product(range(rounds + 1), zip(both, found, strict=True)):
            seconds.append(_timed(lambda each=each: each(images), 3))  # type: ignore[misc]
    return found[0][1:], found[1][1:]


def _trainer(case: Case, setting: Setting) -> Callable[[], None]:
    network = build_network(case.spec, 0).to(memory_format=setting.layout).train()  # type: ignore[call-overload]
    if setting.joined:
        fit_to_device(network, torch.device("cpu"), TrainSettings())
    optimiser = make_optimiser(network, TrainSettings(), torch.tensor(0.01, dtype=torch.float64))
    images = torch.rand(_BATCH, 3, case.spec.resolution, case.spec.resolution).to(memory_format=setting.layout)
    labels = torch.arange(_BATCH) % case.spec.classes

    def step() -> None:
        with torch.autocast("cpu", setting.dtype, enabled=setting.dtype != torch.float32):
            logits: Tensor = network(images)
        optimiser.zero_grad()
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def _timed(run: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - started) / times


def _row(name: str, seconds: list[float], of_rule: list[float]) -> str:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"| {name} | {middle * 1e3:.1f} ({low * 1e3:.1f} to {high * 1e3:.1f}) | {_ratio(of_rule, seconds)} |"


def _ratio(slow: list[float], fast: list[float]) -> str:
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
