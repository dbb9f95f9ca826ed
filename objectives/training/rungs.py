"""Lengths of a training: the rungs at which it is scored, and the learning rate of every step. Imports no torch.

A training is one trunk at constant rate after a warm-up. Before each rung a cooldown branches off, in which the rate
falls to 0. The network is scored at its end, and the trunk continues from the branching point. So four scores cost
little more than the last one.

Source: Haegele et al. 2024, "Scaling laws and compute-optimal training beyond fixed training durations",
arXiv 2405.18392.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from objectives.training.settings import TrainSettings
from phiscale.errors import SettingsError

REAL_LENGTHS = {"cpu": 60_000, "cuda": 500_000}
"""Default length: images seen up to the longest rung, by kind of device."""


LONGEST = 10**12
"""Images seen in the longest training that is allowed."""


@dataclass(frozen=True)
class Rung:
    """One length at which a training is scored."""

    images: int
    """Images seen by its end, the cooldown's included."""
    trunk_steps: int
    """Steps of the trunk before the cooldown branches off."""
    steps: int
    """Steps in all, the cooldown's included."""


def rung_lengths(longest: int, count: int) -> tuple[int, ...]:
    """Images seen at each rung, shortest first: halves of halves of the longest. Raises ``SettingsError``."""
    if longest > LONGEST:
        raise SettingsError(f"expected at most {LONGEST:,} images seen, got more; use a shorter length")
    if longest < 2 ** (count - 1):
        raise SettingsError(f"expected at most {longest.bit_length()} rungs up to {longest} images seen, got {count}")
    return tuple(round(longest / 2**halvings) for halvings in reversed(range(count)))


def plan_rungs(settings: TrainSettings, train_images: int) -> tuple[Rung, ...]:
    """The rungs of a training on so many distinct images, shortest first.

    The settings say their length (``images_seen``). Raises ``SettingsError`` where the shortest rung has fewer than two
    steps: one of the trunk and one of the cooldown.
    """
    if settings.images_seen is None:
        raise SettingsError("expected settings with a length in images seen, got none; set images_seen")
    batch = min(settings.batch_size, train_images)
    rungs = []
    for images in rung_lengths(settings.images_seen, settings.rungs):
        steps = round(images / batch)
        if steps < 2:
            raise SettingsError(
                f"expected a shortest rung of at least two batches of {batch} images, got {images} images; "
                "train longer, or use fewer rungs (--train.rungs)"
            )
        cooldown = min(steps - 1, max(1, round(settings.cooldown * steps)))
        rungs.append(Rung(images, steps - cooldown, steps))
    return tuple(rungs)


def total_steps(rungs: tuple[Rung, ...]) -> int:
    """Steps of the trunk and of all cooldowns together."""
    return rungs[-1].trunk_steps + sum(rung.steps - rung.trunk_steps for rung in rungs)


def trunk_rates(settings: TrainSettings, rungs: tuple[Rung, ...], first: int, end: int) -> list[float]:
    """Learning rates of the trunk's steps from ``first`` to before ``end``: a linear warm-up, then constant."""
    warmup = max(1.0, settings.warmup * rungs[-1].steps)
    return [settings.learning_rate * min(1.0, (step + 1) / warmup) for step in range(first, end)]


def cooldown_rates(settings: TrainSettings, rungs: tuple[Rung, ...], rung: Rung) -> list[float]:
    """Learning rates of the rung's cooldown, falling from the trunk's to almost 0 by one minus a square root.

    A linear fall of the same length scored slightly lower (``benchmarks/bench_rungs.py``).
    """
    (highest,) = trunk_rates(settings, rungs, rung.trunk_steps, rung.trunk_steps + 1)
    count = rung.steps - rung.trunk_steps
    return [highest * (1 - math.sqrt(step / count)) for step in range(count)]
