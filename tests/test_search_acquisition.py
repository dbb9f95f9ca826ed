"""Where the next trial is measured: the knowledge gradient."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import norm

from phiscale import FLOPS
from phiscale.triangle import lattice
from search.acquisition import knowledge_gradient, most_informative
from search.recommend import as_array
from search.surface import Array, Surface
from tests.test_search_recommend import DOWN, INTERIOR, UP, rows_of

POINTS = as_array(lattice(4, FLOPS))


class Independent(Surface):
    """A surface whose points have nothing to do with each other, so that the answer is known in closed form."""

    def __init__(self, mean: Array, deviation: Array, noise: float) -> None:
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "belief", (mean, deviation))

    def moments(self, shares: Array) -> tuple[Array, Array]:
        mean, deviation = self.belief
        same = (np.abs(shares[:, None] - shares[None]).max(axis=2) < 1e-12).astype(float)
        index = [int(np.argmin(np.abs(POINTS - point).sum(axis=1))) for point in shares]
        return mean[index], same * np.outer(deviation[index], deviation[index])


def expected_rise(mean: Array, deviation: Array, noise: float, index: int) -> float:
    """Source: Frazier, Powell & Dayanik 2008, "A knowledge-gradient policy", equations 14 to 16."""
    change = deviation[index] ** 2 / math.hypot(deviation[index], noise)
    others = np.delete(mean, index).max()
    z = -abs(mean[index] - others) / change
    return float(change * (norm.pdf(z) + z * norm.cdf(z)))


def test_it_is_the_closed_form_for_independent_points() -> None:
    generator = np.random.default_rng(1)
    mean, deviation = generator.normal(0, 0.02, len(POINTS)), generator.uniform(0.02, 0.05, len(POINTS))
    found = knowledge_gradient(Independent(mean, deviation, 0.03), POINTS, np.empty((0, 3)))
    exact = [expected_rise(mean, deviation, 0.03, index) for index in range(len(POINTS))]
    assert found == pytest.approx(exact, rel=0.1, abs=2e-4)
    assert np.argmax(found) == np.argmax(exact)


def test_a_point_that_another_worker_evaluates_is_worth_less() -> None:
    mean, deviation = np.linspace(0, 0.02, len(POINTS)), np.full(len(POINTS), 0.04)
    surface = Independent(mean, deviation, 0.02)
    alone = knowledge_gradient(surface, POINTS, np.empty((0, 3)))
    best = int(np.argmax(alone))
    beside = knowledge_gradient(surface, POINTS, POINTS[[best]])
    assert beside[best] < 0.5 * alone[best]
    others = np.arange(len(POINTS)) != best
    assert beside[others] == pytest.approx(alone[others], abs=1e-12)


def test_two_workers_ask_for_different_points() -> None:
    rows = rows_of(INTERIOR, steps=4)
    first = most_informative(rows, [], FLOPS, UP)[0]
    assert most_informative(rows, [first] * 3, FLOPS, UP)[0] != first


def test_a_minimised_score_is_the_mirror_of_a_maximised_one() -> None:
    rows = rows_of(INTERIOR, steps=4)
    mirrored = [dataclasses.replace(row, scores=tuple(-score for score in row.scores)) for row in rows]
    highest = most_informative(rows, [], FLOPS, UP)[0]
    assert most_informative(mirrored, [], FLOPS, DOWN)[0] == highest
    assert most_informative(rows, [], FLOPS, DOWN)[0] != highest
