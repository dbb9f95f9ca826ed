from __future__ import annotations

import time

import numpy as np
import pytest

from objectives.data import embedded
from objectives.data.embedded import CLASSES, SIDE, draw_images, load_embedded
from objectives.data.load import load_data, load_test_part


def test_the_set_is_the_same_on_every_machine():
    # made by load_embedded itself, numpy 2.4.6; a change of the set makes earlier scores incomparable
    assert load_embedded().fingerprint == "5c7bee0adf008239"


def test_sizes_types_and_names():
    data = load_data(None, train_images=140, validation_images=70)
    assert data.name == "embedded"
    assert data.train_images.shape == (140, 3, SIDE, SIDE)
    assert data.train_images.dtype == np.uint8
    assert data.classes == CLASSES
    assert len(CLASSES) == 14
    assert np.bincount(data.train_labels).tolist() == [10] * 14
    assert np.bincount(data.validation_labels).tolist() == [5] * 14


def test_no_augmentation_keeps_the_labels():
    assert load_embedded(train_images=14, validation_images=14).augmentations == frozenset()


def test_seeds_and_streams_draw_other_images_and_the_same_again():
    one, again, other, test = (
        draw_images(50, seed=seed, stream=stream)[0] for seed, stream in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert np.array_equal(one, again)
    images = {image.tobytes() for part in (one, other, test) for image in part}
    assert len(images) == 150


def test_the_test_part_is_fresh():
    data = load_data("embedded", train_images=140, validation_images=70)
    confirmed = load_test_part("embedded", data, images=210)
    assert len(confirmed.validation_labels) == 210
    seen = {image.tobytes() for part in (data.train_images, data.validation_images) for image in part}
    assert not seen & {image.tobytes() for image in confirmed.validation_images}
    assert np.array_equal(confirmed.train_images, data.train_images)


def test_rules_are_unambiguous():
    for rules in embedded._grammar():
        flat = {rule.tobytes() for parent in rules for rule in parent}
        assert len(flat) == rules.shape[0] * rules.shape[1]


def test_images_use_the_range_without_saturating_it():
    images, _ = draw_images(280, seed=0, stream=0)
    assert images.std() > 40
    assert np.isin(images, (0, 255)).mean() < 0.05


@pytest.mark.parametrize("label", range(6, 14))
def test_a_figure_holds_the_grating_of_its_label(label):
    """The spectrum of the middle of all images of a class peaks at the orientation of the class."""
    images, labels = draw_images(1400, seed=3, stream=0)
    middle = images[labels == label, 0, 10:22, 10:22].astype(float)
    power = (np.abs(np.fft.fft2(middle - middle.mean((1, 2), keepdims=True), (96, 96))) ** 2).mean(0)
    angles = np.pi * np.arange(8) / 8
    at = np.rint(13.5 * 3 * np.stack((np.sin(angles), np.cos(angles)))).astype(int) % 96
    assert power[tuple(at)].argmax() == label - 6


def test_drawing_is_quick():
    started = time.process_time()
    load_embedded()
    assert time.process_time() - started < 5
