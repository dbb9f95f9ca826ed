"""One trunk with cooldowns: where the rungs lie, the rates, and that every rung is the training of that length."""

from __future__ import annotations

import dataclasses
import math
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.networks.factory import Factory
from objectives.proxy import ProxyObjective, with_length
from objectives.training import train as training
from objectives.training.device_images import DeviceImages
from objectives.training.rungs import REAL_LENGTHS, cooldown_rates, plan_rungs, rung_lengths, total_steps, trunk_rates
from objectives.training.settings import TrainSettings
from objectives.training.steps import Snapshot, TrainingSteps
from objectives.training.train import train_proxy
from phiscale import Multipliers, SettingsError
from tests.factories_for_tests import steered_by_a_buffer
from tests.strategies import reals
from tests.tiny_data import TINY, striped_images

DATA = striped_images(100)
"""Six batches of 16 an epoch and a rest, so that rungs and cooldowns lie across the ends of epochs."""
SPEC = dataclasses.replace(TINY, dropout=0.2, drop_path=0.3)
SETTINGS = TrainSettings(device="cpu", images_seen=640, batch_size=16, learning_rate=0.1, warmup=0.1)
OWN = Factory(name="own", build=steered_by_a_buffer, resolution=8, classes=2).member(Multipliers(1, 1, 1))


def longest(spec=SPEC, **changes):
    """The parts of the score at the longest rung."""
    curves = train_proxy(spec, DATA, dataclasses.replace(SETTINGS, **changes), seed=3).curves
    return {name: values[-1] for name, values in curves.items()}


# a rung is the training of that length


@pytest.mark.parametrize("spec", [SPEC, TINY, OWN], ids=["dropout", "plain", "own"])
def test_the_longest_rung_is_the_training_without_the_others_to_the_last_bit(spec):
    assert longest(spec, rungs=4) == longest(spec, rungs=1)


@pytest.mark.parametrize("changes", [{"score": "log_loss"}, {"flip": False, "label_smoothing": 0.1}])
def test_every_rung_is_a_training_of_that_length_with_the_same_warm_up(changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    run = train_proxy(SPEC, DATA, settings, seed=3)
    planned = plan_rungs(settings, len(DATA.train_labels))
    assert run.lengths == tuple(rung.images for rung in planned) == (80, 160, 320, 640)
    for index, rung in enumerate(planned):
        warmup = settings.warmup * planned[-1].steps / rung.steps
        alone = dataclasses.replace(settings, images_seen=rung.images, rungs=1, warmup=warmup)
        found = train_proxy(SPEC, DATA, alone, seed=3)
        assert found.lengths == (rung.images,)
        assert {name: values[index] for name, values in run.curves.items()} == {
            name: values[0] for name, values in found.curves.items()
        }


KINDS = {
    "weights": lambda steps: list(steps._module.parameters()),
    "buffers": lambda steps: list(steps._module.buffers()),
    "momenta": lambda steps: [state["momentum_buffer"] for state in steps._optimiser.state.values()],
    "losses": lambda steps: [steps._total],
    "random state": lambda steps: [],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_trunk_of_which_one_part_is_not_put_back_goes_elsewhere(monkeypatch, kind):
    spec = OWN if kind == "buffers" else SPEC
    alone = longest(spec, rungs=1)
    restore = TrainingSteps.restore

    def restore_all_but_one(self, snapshot):
        left = [(tensor, tensor.detach().clone()) for tensor in KINDS[kind](self)]
        random = torch.get_rng_state()
        restore(self, snapshot)
        with torch.no_grad():
            for tensor, value in left:
                tensor.copy_(value)
        if kind == "random state":
            torch.set_rng_state(random)

    monkeypatch.setattr(TrainingSteps, "restore", restore_all_but_one)
    assert longest(spec, rungs=4) != alone


def test_a_trunk_that_goes_on_in_the_order_of_a_later_epoch_goes_elsewhere(monkeypatch):
    alone = longest(rungs=1)
    go_to = TrainingSteps._go_to

    def keep_the_later_plan(self, step):
        if step // self._per_epoch >= self._epoch:
            go_to(self, step)
        else:
            self._step.fill_(step)
            self._first.fill_(step % self._per_epoch * self._batch)

    monkeypatch.setattr(TrainingSteps, "_go_to", keep_the_later_plan)
    assert longest(rungs=4) != alone


def test_one_trunk_is_kept_at_a_time(monkeypatch):
    taken, take = [], Snapshot.take

    def remember(*arguments):
        assert [one() for one in taken] == [None] * len(taken)
        snapshot = take(*arguments)
        taken.append(weakref.ref(snapshot))
        return snapshot

    monkeypatch.setattr(Snapshot, "take", remember)
    longest()
    assert len(taken) == 3


def test_every_image_is_drawn_once_before_any_is_drawn_again(monkeypatch):
    drawn = []
    augmented = DeviceImages.augmented

    def remember(self, plan):
        drawn.append(plan.order.tolist())
        return augmented(self, plan)

    monkeypatch.setattr(DeviceImages, "augmented", remember)
    train_proxy(TINY, striped_images(640), SETTINGS, seed=3)
    assert len(drawn) == total_steps(plan_rungs(SETTINGS, 640))
    assert all(len(set(batch)) == 16 for batch in drawn)
    seen = {image for batch in drawn for image in batch}
    assert len(seen) == 640  # a cooldown sees the images that the trunk sees after it: every rung is a run of new ones
    del drawn[:]
    train_proxy(TINY, DATA, dataclasses.replace(SETTINGS, rungs=1), seed=3)
    epochs = [{image for batch in drawn[first : first + 6] for image in batch} for first in range(0, 40, 6)]
    assert [len(epoch) for epoch in epochs] == [96] * 6 + [64]
    assert len({frozenset(epoch) for epoch in epochs}) == 7  # the rest of an epoch is left out, another each time


# where rungs lie, and the learning rates


@st.composite
def lengths(draw):
    """Settings with a length, and a number of distinct images."""
    settings = TrainSettings(
        images_seen=draw(st.integers(1, 10**7)),
        rungs=draw(st.integers(1, 6)),
        batch_size=draw(st.sampled_from([1, 16, 32, 100, 512])),
        cooldown=draw(reals(0.01, 0.99)),
        warmup=draw(reals(0, 0.99)),
    )
    return settings, draw(st.integers(1, 10**5))


@given(lengths())
def test_rungs_rise_to_the_longest_with_a_trunk_and_a_cooldown_each(drawn):
    settings, images = drawn
    batch = min(settings.batch_size, images)
    try:
        planned = plan_rungs(settings, images)
    except SettingsError:
        assert settings.images_seen / 2 ** (settings.rungs - 1) <= max(1, 1.5 * batch + 0.5)
        return
    assert len(planned) == settings.rungs
    assert planned[-1].images == settings.images_seen
    seen = [(rung.images, rung.steps) for rung in planned]
    assert seen == sorted(set(seen))
    assert [rung.trunk_steps for rung in planned] == sorted(rung.trunk_steps for rung in planned)
    for rung in planned:
        assert 1 <= rung.trunk_steps < rung.steps
        assert abs(rung.steps * batch - rung.images) <= batch / 2
        falling = rung.steps - rung.trunk_steps
        assert abs(falling - settings.cooldown * rung.steps) <= 1


@given(st.integers(1, 10**7), st.sampled_from([1, 16, 32, 100]))
def test_four_rungs_take_at_most_a_quarter_more_than_the_longest(images, batch):
    settings = TrainSettings(images_seen=images, batch_size=batch)
    try:
        planned = plan_rungs(settings, 10**5)
    except SettingsError:
        return
    assert total_steps(planned) <= 1.25 * planned[-1].steps + len(planned)  # each cooldown is of whole steps


def test_rungs_are_halves_of_halves():
    assert rung_lengths(12_000, 4) == (1500, 3000, 6000, 12_000)
    assert rung_lengths(100, 1) == (100,)
    assert rung_lengths(5, 3) == (1, 2, 5)


@given(lengths())
def test_rates_rise_stay_and_fall_to_almost_nothing(drawn):
    settings, images = drawn
    settings = dataclasses.replace(settings, images_seen=min(settings.images_seen, 3000 * settings.batch_size))
    try:
        planned = plan_rungs(settings, images)
    except SettingsError:
        return
    trunk = trunk_rates(settings, planned, 0, planned[-1].steps)
    warmup = math.ceil(settings.warmup * planned[-1].steps)
    assert trunk[:warmup] == sorted(trunk[:warmup])
    assert 0 < trunk[0] <= settings.learning_rate
    assert set(trunk[warmup:]) <= {settings.learning_rate}
    for rung in planned:
        falling = cooldown_rates(settings, planned, rung)
        assert len(falling) == rung.steps - rung.trunk_steps
        assert falling[0] == trunk[rung.trunk_steps]
        assert falling == sorted(falling, reverse=True)
        assert 0 < falling[-1] <= falling[0] * max(1 / len(falling), 1e-6)


def test_the_rates_of_a_short_training():
    settings = TrainSettings(images_seen=400, batch_size=10, learning_rate=0.4, warmup=0.1, rungs=2)
    planned = plan_rungs(settings, 1000)
    assert trunk_rates(settings, planned, 0, 6) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert trunk_rates(settings, planned, 4, 6) == [0.4, 0.4]
    shortest = [0.4 * (1 - math.sqrt(part)) for part in (0, 1 / 4, 2 / 4, 3 / 4)]
    assert cooldown_rates(settings, planned, planned[0]) == pytest.approx(shortest)
    assert len(cooldown_rates(settings, planned, planned[1])) == 8
    assert trunk_rates(dataclasses.replace(settings, warmup=0.0), planned, 0, 2) == [0.4, 0.4]


# what cannot be


def one_sentence(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("expected ")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rungs", value) for value in (0, -1, 1.5, True)),
        *(("images_seen", value) for value in (0, -5, 2.5, math.nan, True)),
        *(("epochs", value) for value in (0, -1.0, math.nan, math.inf, -math.inf, "two", True)),
        *(("cooldown", value) for value in (0.0, 1.0, -0.1, math.nan)),
    ],
)
def test_an_impossible_length_is_refused_in_one_sentence(name, value):
    with pytest.raises(SettingsError) as caught:
        TrainSettings(**{name: value})
    one_sentence(caught, name, repr(value))


def test_a_length_in_epochs_and_in_images_is_refused():
    with pytest.raises(SettingsError) as caught:
        TrainSettings(epochs=1, images_seen=100)
    one_sentence(caught, "epochs or in images seen, got both")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"images_seen": 5, "rungs": 4, "batch_size": 1}, ("at most 3 rungs up to 5 images seen, got 4",)),
        ({"images_seen": 5, "rungs": 5000}, ("at most 3 rungs", "got 5000")),
        ({"images_seen": 47, "rungs": 1}, ("two batches of 32 images, got 47", "train longer, or use fewer rungs")),
        ({"images_seen": 300}, ("two batches of 32 images, got 38",)),
        ({}, ("length in images seen, got none",)),
    ],
)
def test_rungs_that_do_not_fit_into_the_length_are_refused(changes, parts):
    with pytest.raises(SettingsError) as caught:
        plan_rungs(TrainSettings(**changes), 1000)
    one_sentence(caught, *parts)


def test_an_objective_of_too_short_trainings_is_refused_before_any_of_them():
    settings = TrainSettings(device="cpu", epochs=0.5)
    with pytest.raises(SettingsError) as caught:
        ProxyObjective(TINY, DATA, settings)
    one_sentence(caught, "two batches of 32 images, got 12 images")


# a person's length


def test_a_length_in_epochs_is_of_the_whole_training_part():
    few = dataclasses.replace(DATA, epoch_images=50_000)
    for epochs, images in ((2, 100_000), (0.5, 25_000), (1e-9, 1)):
        found = with_length(TrainSettings(epochs=epochs), few)
        assert (found.epochs, found.images_seen) == (None, images)
    described = ProxyObjective(TINY, few, TrainSettings(device="cpu", epochs=0.5)).describe()
    assert described["rungs"] == [3125, 6250, 12_500, 25_000]
    assert described["train"]["images_seen"] == 25_000
    assert described == ProxyObjective(TINY, few, TrainSettings(device="cpu", images_seen=25_000)).describe()


def test_the_default_length_depends_on_the_data_and_the_device(monkeypatch):
    assert with_length(TrainSettings(device="cpu"), DATA).images_seen == REAL_LENGTHS["cpu"] == 60_000
    monkeypatch.setattr("objectives.training.device.choose_device", lambda _: torch.device("cuda"))
    assert with_length(TrainSettings(), DATA).images_seen == REAL_LENGTHS["cuda"] == 500_000
    assert with_length(TrainSettings(), dataclasses.replace(DATA, name="embedded")).images_seen == 2 * DATA.epoch_images
    asked = TrainSettings(images_seen=640)
    assert with_length(asked, DATA) == asked


def test_a_loss_that_is_no_number_at_a_later_rung_names_its_length(monkeypatch):
    scored = training.Trainer._evaluate

    def fail_late(self):
        accuracy, log_loss = scored(self)
        return accuracy, math.inf if int(self._steps._step) == 20 else log_loss

    monkeypatch.setattr(training.Trainer, "_evaluate", fail_late)
    with pytest.raises(training.TrialError, match="finite log_loss, got inf after 320 images"):
        longest()
