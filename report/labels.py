"""Positions of labels, so that none covers another label or a mark.

Everything is in points (1/72 inch) with y upwards. Letters count as wider than they are, so that no font has to be
measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

LETTER = 0.62
"""Width of a letter over the size of the font."""
_DISTANCES = (7.0, 13.0, 20.0, 28.0, 38.0, 50.0, 64.0)
_DIRECTIONS = (0, 180, 45, 135, 315, 225, 90, 270, 20, 160, 340, 200)
"""Degrees at which a label may lie from its point, the best to read first."""


@dataclass(frozen=True)
class Box:
    """A rectangle by its centre and its size."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        across = (self.width + other.width) / 2 - abs(self.x - other.x)
        along = (self.height + other.height) / 2 - abs(self.y - other.y)
        return max(0.0, across) * max(0.0, along)


def place_labels(
    points: Sequence[tuple[float, float]], texts: Sequence[str], size: float, marks: Sequence[Box]
) -> list[Box]:
    """A box for each text near its point, away from ``marks`` and from the boxes before it.

    ``size`` is that of the font. Each takes the nearest free position; if none is free, the one that covers least.
    """
    taken, boxes = list(marks), []
    for point, text in zip(points, texts, strict=True):
        width, height = LETTER * size * len(text), 1.25 * size
        choices = [_box(point, width, height, *place) for place in itertools.product(_DISTANCES, _DIRECTIONS)]
        box = min(choices, key=lambda box: sum(box.overlap(other) for other in taken))  # the first of equals
        taken.append(box)
        boxes.append(box)
    return boxes


def _box(point: tuple[float, float], width: float, height: float, distance: float, degrees: float) -> Box:
    """The box whose edge lies ``distance`` from the point in that direction."""
    across, up = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Box(point[0] + across * (distance + width / 2), point[1] + up * (distance + height / 2), width, height)
