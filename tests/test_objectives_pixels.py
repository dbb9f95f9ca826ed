from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from objectives.training import device_images as pixels
from objectives.training import memory
from objectives.training.device_images import DeviceImages, EpochPlan
from tests.tiny_data import striped_images

CPU = torch.device("cpu")
SHADES = (0.0,) * 3, (1.0,) * 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(count=4, side=8):
    """Images whose pixels are all different."""
    values = np.arange(count * 3 * side * side) % 251
    return values.astype(np.uint8).reshape(count, 3, side, side), np.arange(count, dtype=np.int64)


def plan(order, mirrored=False, down=0.0, right=0.0):
    count = len(order)
    return EpochPlan(torch.tensor(order), torch.tensor([mirrored] * count), torch.tensor([[down, right]] * count))


def augmented(images, labels, **changes):
    device_images = DeviceImages(images, labels, images.shape[-1], CPU, SHADES)
    return device_images.augmented(plan([2, 0], **changes))


def test_an_unchanged_batch_has_the_images_of_the_order():
    images, labels = numbered()
    batch, of_batch = augmented(images, labels)
    assert np.array_equal(batch.numpy(), images[[2, 0]])
    assert of_batch.tolist() == [2, 0]
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_mirroring_turns_left_into_right():
    images, labels = numbered()
    batch, _ = augmented(images, labels, mirrored=True)
    assert np.array_equal(batch.numpy(), images[[2, 0]][..., ::-1])


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_shift_reflects_the_border(mirrored):
    images, labels = numbered()
    batch, _ = augmented(images, labels, mirrored=mirrored, down=1 / 8, right=-1 / 8)
    chosen = images[[2, 0]]
    padded = np.pad(chosen[..., ::-1] if mirrored else chosen, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect")
    assert np.array_equal(batch.numpy(), padded[:, :, 2:, :-2])


def test_images_are_normalised():
    data = striped_images()
    statistics = (10.0, 20.0, 30.0), (2.0, 4.0, 0.0)
    batch, labels = DeviceImages(data.train_images, data.train_labels, 8, CPU, statistics).batch(torch.arange(5))
    expected = (data.train_images[:5] - np.array(statistics[0])[:, None, None]) / np.array([2, 4, 1.0])[:, None, None]
    assert np.allclose(batch.numpy(), expected)
    assert labels.tolist() == data.train_labels[:5].tolist()


@pytest.mark.parametrize("side", [1, 5, 8, 13])
def test_images_are_resized_to_the_network(side):
    images, labels = numbered()
    batch, _ = DeviceImages(images, labels, side, CPU, SHADES).batch(torch.arange(4))
    assert batch.shape == (4, 3, side, side)
    assert batch.mean().item() == pytest.approx(images.mean(), abs=8)


def test_without_memory_every_batch_is_resized_to_the_same(monkeypatch):
    images, labels = numbered()
    at_once = DeviceImages(images, labels, 5, CPU, SHADES)
    monkeypatch.setattr(pixels, "total_memory", lambda _device: 0.0)
    each = DeviceImages(images, labels, 5, CPU, SHADES)
    assert each._images.shape[1:] == (8, 8, 3)
    assert torch.equal(at_once.batch(torch.tensor([2, 0]))[0], each.batch(torch.tensor([2, 0]))[0])
    assert torch.equal(at_once.augmented(plan([2, 0]))[0], each.augmented(plan([2, 0]))[0])


def test_what_other_programs_take_does_not_change_the_images(monkeypatch):
    """Resized before they are shifted, or after: the scores differ by that."""
    monkeypatch.setattr(memory, "_ram", lambda name, _pages: 0.0 if name == "MemAvailable" else 2.0**40)
    monkeypatch.setattr(memory, "_group_limits", lambda: iter(()))
    assert memory.free_memory(CPU) == 0
    assert DeviceImages(*numbered(), 5, CPU, SHADES)._images.shape[1:] == (5, 5, 3)


@pytest.mark.parametrize("side", [5, 8, 13])
def test_images_that_are_moved_in_parts_are_the_same(monkeypatch, side):
    whole = DeviceImages(*numbered(), side, CPU, SHADES)
    monkeypatch.setattr(pixels, "_CHUNK", 3 * 3 * 13**2)  # three of the largest, so that one is left
    assert torch.equal(DeviceImages(*numbered(), side, CPU, SHADES)._images, whole._images)


class CopiesOfImages(TorchDispatchMode):
    """Counts the images that are copied on a CPU."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        given = arguments[0] if isinstance(arguments[0], torch.Tensor) else None
        made = function(*arguments, **(named or {}))
        if (
            given is not None
            and isinstance(made, torch.Tensor)
            and made.ndim == 4
            and made.device == given.device == CPU
        ):
            self.count += made.untyped_storage().data_ptr() != given.untyped_storage().data_ptr()
        return made


@pytest.mark.parametrize("side", [5, 8])
def test_images_reach_the_device_as_they_are_stored(side):
    """Where a GPU rearranges them, in a thousandth of the time."""
    with CopiesOfImages() as copies:
        DeviceImages(*numbered(), side, torch.device("meta"), SHADES)
    assert copies.count == 0


def test_stripes_at_the_limit_are_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 3, 32, 16))
    batch, _ = DeviceImages(stripes, np.zeros(1, np.int64), 16, CPU, SHADES).batch(torch.arange(1))
    assert (batch[..., 1:-1] - 127.5).abs().max() < 40


def test_a_plan_comes_from_its_generator_alone():
    everything = frozenset({"flip", "crop"})
    one, again, plain = (EpochPlan.draw(100, given, generator()) for given in (everything, everything, frozenset()))
    for name in ("order", "mirrored", "shifts"):
        assert torch.equal(getattr(one, name), getattr(again, name))
    assert torch.equal(one.order, plain.order)  # trials with and without augmentation are paired too
    assert not plain.mirrored.any()
    assert not plain.shifts.any()
    assert sorted(one.order.tolist()) == list(range(100))
    assert 30 < one.mirrored.sum() < 70
    assert 0.1 < one.shifts.abs().max() <= 1 / 8
    assert not torch.equal(one.order, EpochPlan.draw(100, everything, generator(1)).order)
