"""Where labels go: off each other and off the marks while there is room."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.labels import Box, place_labels


def test_labels_of_one_point_do_not_cover_each_other() -> None:
    boxes = place_labels([(0, 0)] * 6, ["lacs-gpu", "paper", "20k", "40k", "80k", "160k to 320k"], 8, [Box(0, 0, 8, 8)])
    for one, two in itertools.combinations([*boxes, Box(0, 0, 8, 8)], 2):
        assert one.overlap(two) == 0


def test_a_label_lies_to_the_right_of_a_point_that_is_alone() -> None:
    (box,) = place_labels([(10, 20)], ["20k"], 8, [])
    assert box.x - box.width / 2 == pytest.approx(17)
    assert box.y == 20


def test_a_mark_moves_the_label() -> None:
    (box,) = place_labels([(0, 0)], ["20k"], 8, [Box(15, 0, 20, 8)])
    assert box.x < 0


def test_where_nothing_is_free_the_least_is_covered() -> None:
    assert len(place_labels([(0, 0)], ["20k"], 8, [Box(0, 0, 1e4, 1e4)])) == 1


@given(st.lists(st.tuples(st.floats(0, 260), st.floats(0, 225)), min_size=1, max_size=9))
def test_labels_of_any_nine_points_of_a_triangle_find_room(points: list[tuple[float, float]]) -> None:
    boxes = place_labels(points, ["lacs-gpu"] * len(points), 7.5, [])
    assert sum(one.overlap(two) for one, two in itertools.combinations(boxes, 2)) == 0
