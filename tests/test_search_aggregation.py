"""Studies of many networks: what the surface is fitted to, and that nothing is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from search import horizon
from search.aggregation import MOST_PLACES, merge_networks, merge_places
from search.hindcast import hindcast
from search.horizon import plain_scale
from search.scaling import Array

MANY = 4 * MOST_PLACES


def random_shares(count: int) -> Array:
    return np.random.default_rng(0).dirichlet((1, 1, 1), count)


def test_few_places_stay_however_often_they_stand() -> None:
    shares = np.tile(random_shares(MOST_PLACES), (5, 1))
    assert merge_places(shares) is shares
    groups = [(place, np.zeros((1, 2))) for place in shares[:MOST_PLACES]]
    assert merge_networks(groups) is groups


def test_many_places_become_cells_of_the_triangle() -> None:
    shares = random_shares(MANY)
    merged = merge_places(shares)
    assert len(np.unique(merged, axis=0)) <= MOST_PLACES
    assert merged.sum(axis=1) == pytest.approx(np.ones(MANY))
    assert merged.mean(axis=0) == pytest.approx(shares.mean(axis=0))
    assert np.abs(merged - shares).max() < 0.1
    assert np.abs(merged - shares)[:, :2].max() <= 0.05


def test_corners_and_a_line_stay_where_they_are() -> None:
    """Depth and width alone, as where resolution does not enter the cost."""
    shares = random_shares(MANY)
    shares[:, 0] += shares[:, 2]
    shares[:, 2] = 0
    shares[:MOST_PLACES] = [1, 0, 0]
    merged = merge_places(shares)
    assert merged[:, 2].max() == 0
    assert merged[0] == pytest.approx([1, 0, 0], abs=0.025)


def test_networks_of_a_cell_keep_all_their_trainings() -> None:
    shares = random_shares(MANY)
    groups = [(place, np.full((1 + at % 2, 3), float(at))) for at, place in enumerate(shares)]
    merged = merge_networks(groups)
    assert len(merged) <= MOST_PLACES
    assert sorted(value for _, values in merged for value in values[:, 0]) == sorted(
        value for _, values in groups for value in values[:, 0]
    )
    place, values = merged[0]
    assert place == pytest.approx(np.mean([shares[int(at)] for at in sorted(set(values[:, 0]))], axis=0), abs=0.05)


def test_no_surface_is_fitted_to_more_places(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    def stop(shares: Array, values: Array, _: float | None) -> None:
        fitted.append((len(np.unique(shares, axis=0)), len(values)))

    monkeypatch.setattr(horizon, "fit_surface", stop)
    horizon.fit(random_shares(MANY), np.zeros(MANY))
    assert fitted == [(pytest.approx(200, abs=100), MANY)]


def test_the_check_of_many_networks_says_what_that_of_few_says() -> None:
    """The covariance of 10,000 networks would take gigabytes."""
    generator, lengths = np.random.default_rng(1), (1000, 2000, 4000, 8000)
    groups = []
    for place in random_shares(MANY):
        height = 0.8 - ((place - [0.3, 0.5, 0.2]) ** 2).sum() - np.array([0.3, 0.2, 0.1, 0])
        groups.append((place, (height + 0.01 * generator.standard_normal(4))[None]))
    scale, lattice = plain_scale("maximize"), random_shares(50)
    many, few = (hindcast(chosen, lengths, scale, lattice) for chosen in (groups, groups[:: MANY // 60]))
    assert many is not None
    assert few is not None
    assert (many.networks, many.holds, few.holds) == (MANY, True, True)
    assert many.bias == pytest.approx(few.bias, abs=0.01)
