"""The engine and the loop that a person would write do the same training."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.bench_agreement import agreement
from benchmarks.reference_loop import PLAIN, TUNED, train_reference
from objectives.training import steps
from objectives.training import train as training
from objectives.training.settings import TrainSettings
from tests.tiny_data import TINY, striped_images

SETTINGS = TrainSettings(device="cpu", images_seen=256, rungs=1, warmup=0.1, batch_size=16, learning_rate=0.1)
DATA = striped_images()
RELU = dataclasses.replace(TINY, activation="relu", stages=(dataclasses.replace(TINY.stages[0], se_ratio=0.25),))


def losses_of_the_engine(spec, settings, seed, monkeypatch):
    """The loss of every training step."""
    losses = []

    def recorded(*arguments, **options):
        loss = functional.cross_entropy(*arguments, **options)
        if loss.requires_grad:
            losses.append(loss.item())
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(steps, "functional", SimpleNamespace(cross_entropy=recorded))
        run = training.train_proxy(spec, DATA, settings, seed=seed)
    return losses, run


def losses_of_the_loop(spec, settings, seed, loop):
    losses = []
    run = train_reference(spec, DATA, settings, loop, seed=seed, on_step=lambda loss: losses.append(loss.item()))
    return losses, run


@pytest.mark.parametrize("spec", [TINY, RELU], ids=["silu", "relu and squeeze-excitation"])
def test_every_step_has_the_loss_of_the_plain_loop(spec, monkeypatch):
    engine, run = losses_of_the_engine(spec, SETTINGS, 3, monkeypatch)
    plain, reference = losses_of_the_loop(spec, SETTINGS, 3, dataclasses.replace(PLAIN, settle=True))
    assert len(engine) == len(plain) == 16
    np.testing.assert_allclose(engine, plain, rtol=0, atol=1e-5)
    assert run.scores[-1] == pytest.approx(reference.accuracy, abs=0.05)
    assert reference.images == 2 * len(DATA.train_labels)


def test_images_are_mirrored_and_shifted_in_both(monkeypatch):
    """Without augmentation the losses are others: the agreement above is one of augmented images."""
    augmented, _ = losses_of_the_loop(TINY, SETTINGS, 3, PLAIN)
    for changes in ({"flip": False}, {"crop": False}):
        other, _ = losses_of_the_loop(TINY, dataclasses.replace(SETTINGS, **changes), 3, PLAIN)
        assert max(abs(a - b) for a, b in zip(augmented, other, strict=True)) > 2e-3


def test_scores_agree_within_the_noise_of_a_seed_over_several_seeds():
    """All that is left between them is arithmetic in another order."""
    short = dataclasses.replace(SETTINGS, images_seen=128)  # longer ones reach an accuracy of 1
    found = agreement(TINY, DATA, short, seeds=8)
    noise = found.loop.std(ddof=1)
    assert noise > 0.05  # the seeds do differ
    assert abs(found.engine - found.loop).mean() < noise / 20


def test_another_seed_or_rate_is_another_training(monkeypatch):
    engine, _ = losses_of_the_engine(TINY, SETTINGS, 3, monkeypatch)
    for seed, rate in ((4, 0.1), (3, 0.11)):
        other, _ = losses_of_the_loop(TINY, dataclasses.replace(SETTINGS, learning_rate=rate), seed, PLAIN)
        assert max(abs(a - b) for a, b in zip(engine, other, strict=True)) > 2e-3


def test_the_tuned_loop_does_the_same_training():
    plain, _ = losses_of_the_loop(TINY, SETTINGS, 3, PLAIN)
    tuned, _ = losses_of_the_loop(TINY, SETTINGS, 3, dataclasses.replace(TUNED, loader_workers=0, prefetch=None))
    np.testing.assert_allclose(tuned, plain, rtol=0, atol=1e-5)


def test_threads_are_as_before():
    before = torch.get_num_threads()
    losses_of_the_loop(TINY, SETTINGS, 0, dataclasses.replace(PLAIN, threads=before + 1))
    assert torch.get_num_threads() == before
