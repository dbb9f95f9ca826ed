"""Fewer places for a surface of many networks: those that lie close together count as repeats at their mean place.

The cost of a surface grows with the third power of its places, and the surface is smooth. So beyond some hundred
places, the mean of each cell of a lattice tells as much, weighted by its number of evaluations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from search.scaling import Array

MOST_PLACES = 300
"""Up to this many distinct places, each is kept."""
_STEPS = 20
"""Cells of the triangle along a side, where there are more."""


def merge_places(shares: Array) -> Array:
    """The shares (n, 3), or the mean shares of the cell of each if more than ``MOST_PLACES`` are distinct."""
    if len(shares) <= MOST_PLACES or len(np.unique(np.round(shares, 9), axis=0)) <= MOST_PLACES:
        return shares
    cells = np.round(shares[:, :2] * _STEPS)  # the third share follows
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    cell = cell.ravel()
    sums = [np.bincount(cell, shares[:, axis]) for axis in range(3)]
    return np.asarray((np.stack(sums, axis=1) / counts[:, None])[cell])


def merge_networks(groups: Sequence[tuple[Array, Array]]) -> Sequence[tuple[Array, Array]]:
    """Networks given by shares (3,) and the values of their trainings (m, k); those of one place become one."""
    if len(groups) <= MOST_PLACES:
        return groups
    places = merge_places(np.array([shares for shares, _ in groups]))
    found, index = np.unique(places, axis=0, return_inverse=True)
    values: list[list[Array]] = [[] for _ in found]
    for at, (_, trainings) in zip(index.ravel(), groups, strict=True):
        values[at].append(trainings)
    return [(place, np.concatenate(each)) for place, each in zip(found, values, strict=True)]
