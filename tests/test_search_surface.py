"""The fitted surface: what it predicts, what it knows, and what it does not let itself be told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.random_landscapes import KINDS, draw_landscape, fine_lattice
from phiscale.triangle import FLOPS, ScalingConstants, Shares, constants_from_shares, lattice
from search import search
from search.aim import Aim
from search.measurements import Measurement
from search.recommendation import as_array, recommend
from search.scaling import Array
from search.surface import Model, fit_surface
from search.trial import shares_of_constants

PLACES = as_array(lattice(6, FLOPS))
TOP = np.array([0.2, 0.5, 0.3])


def hill(shares: Array) -> Array:
    return -((shares - TOP) ** 2).sum(axis=1)


def rows_of(heights: Array, places: Array = PLACES, seeds: int = 1, names: tuple[str, ...] = ()) -> list[Measurement]:
    """One network at each place, scored as ``heights`` (N, seeds) say."""
    rows = []
    for index, (place, scores) in enumerate(zip(places, heights.reshape(len(places), seeds), strict=True)):
        shares = Shares(*place.tolist())
        constants = constants_from_shares(shares, FLOPS)
        named = names if index == 0 else ()
        rows.append(Measurement(named, constants, shares, tuple(scores.tolist()), (index,), seeds=tuple(range(seeds))))
    return rows


def test_one_node_is_the_textbook_posterior() -> None:
    """Rasmussen & Williams 2006, equations 2.25 and 2.26, with the mean of two scores at one place as one score."""
    shares = np.vstack([PLACES, PLACES[:5]])
    scores = hill(shares) + 0.05 * np.random.default_rng(0).standard_normal(len(shares))
    model = fit_surface(shares, scores).models[0]
    model = dataclasses.replace(model, signals=model.signals[:1], whites=model.whites[:1], parts=np.ones(1))
    kernel = _kernel_of(model)
    (signal,), (white,) = model.signals, model.whites
    within = signal * (kernel(model.places, model.places) + model.network_part * np.eye(len(model.places)))
    inverse = np.linalg.inv(within + white * np.diag(1 / model.counts))
    points = as_array(lattice(4, FLOPS))
    across = signal * kernel(points, model.places)
    mean, covariance = model.posterior(points)
    assert mean == pytest.approx(across @ inverse @ model.values, abs=1e-8)
    assert covariance == pytest.approx(signal * kernel(points, points) - across @ inverse @ across.T, abs=1e-8)


def _kernel_of(model: Model) -> Callable[[Array, Array], Array]:
    from search.surface import _kernel

    return lambda first, second: _kernel(model.kind, model.length_scale, first, second)


def test_moments_predictions_and_draws_agree() -> None:
    scores = hill(PLACES) + 0.02 * np.random.default_rng(1).standard_normal(len(PLACES))
    surface = fit_surface(PLACES, scores)
    mean, deviation = surface.predict(PLACES)
    moments, covariance = surface.moments(PLACES)
    draws = surface.draws(PLACES, 4000, seed=0)
    assert surface.means(PLACES) == pytest.approx(mean, abs=1e-9)
    assert (moments, np.sqrt(np.diag(covariance))) == (
        pytest.approx(mean, abs=1e-9),
        pytest.approx(deviation, rel=1e-6),
    )
    assert draws.mean(axis=0) == pytest.approx(mean, abs=0.01)
    assert draws.std(axis=0) == pytest.approx(deviation, rel=0.3, abs=0.002)


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_diverged_corner_takes_neither_the_recommendation_nor_the_trials(noise: float) -> None:
    """The surface must not run away on the other side of the triangle, nor look for more where trainings diverge."""
    diverged = []

    def score(alpha: float, beta: float, gamma: float, seed: int) -> float:
        shares = np.array(shares_of_constants(ScalingConstants(alpha, beta, gamma), FLOPS).as_tuple())
        if shares[0] > 0.8:
            diverged.append(shares)
            return 500.0
        generator = np.random.default_rng([seed, *(round(1e6 * share) for share in shares)])
        return float(0.2 - hill(shares[None])[0] + noise * generator.standard_normal())

    record = search(score, trials=30, direction="minimize")
    true = 0.2 - float(hill(as_array([record.shares]))[0])
    assert true < 0.25
    assert record.expected is not None
    assert record.expected.low <= true <= record.expected.high
    assert record.expected.high - record.expected.low < 0.2
    assert len(diverged) <= 7


def test_an_expectation_better_than_all_scores_is_called_a_guess() -> None:
    places = PLACES[PLACES[:, 1] < 0.3]
    found = recommend(rows_of(hill(places) * 10, places), FLOPS, Aim("maximize"))
    assert any("better than the best that was measured" in note for note in found.notes)


def test_scores_may_have_any_unit() -> None:
    scores = hill(PLACES) + 0.02 * np.random.default_rng(2).standard_normal(len(PLACES))
    one, other = fit_surface(PLACES, scores), fit_surface(PLACES, 1e-7 * scores - 5e-6)
    assert other.means(PLACES) == pytest.approx(1e-7 * one.means(PLACES) - 5e-6, abs=1e-12)
    assert other.noise == pytest.approx(1e-7 * one.noise, rel=1e-3)


def test_two_equal_scores_of_one_network_do_not_end_the_noise() -> None:
    """One network that scored the same twice by chance; accuracies on 1,000 images are counted to 0.015."""
    generator = np.random.default_rng(3)
    accuracies = 0.33 + 0.02 * hill(PLACES[:14]) + 0.015 * generator.standard_normal(14)
    rows = rows_of(accuracies, PLACES[:14], names=("paper",))
    rows[3] = dataclasses.replace(rows[3], scores=(0.333, 0.333), seeds=(0, 1))
    found = recommend(rows, FLOPS, Aim("maximize", "accuracy", counted=1000))
    assert found.noise is not None
    assert found.expected is not None
    assert 0.007 < found.noise < 0.03
    assert found.expected.high - found.expected.low > 0.015
    assert [lead.result for lead in found.leads] == ["unknown"]


def test_noise_that_is_measured_outweighs_the_counting_error() -> None:
    scores = hill(PLACES)[:, None] * 0.1 + 0.9 + 0.002 * np.random.default_rng(4).standard_normal((len(PLACES), 4))
    found = recommend(rows_of(scores, seeds=4), FLOPS, Aim("maximize", "accuracy", counted=1000))
    assert found.noise == pytest.approx(0.002, rel=0.3)


def test_the_expected_score_is_that_of_other_images() -> None:
    """By hand: .9 of 1,000 images are counted to sqrt(.9 * .1 / 1000) = .0095, however often networks are trained."""
    scores = 0.1 * hill(PLACES)[:, None] + 0.9 + 0.0002 * np.random.default_rng(4).standard_normal((len(PLACES), 4))
    rows = rows_of(scores - scores.max() + 0.9, seeds=4)
    same, other = (recommend(rows, FLOPS, Aim("maximize", "accuracy", counted=n)).expected for n in (None, 1000))
    assert same is not None
    assert other is not None
    assert other.score == pytest.approx(same.score, abs=0.002)
    assert same.high - same.low < 0.01
    assert (other.high - other.low) / 2 == pytest.approx(1.645 * 0.0095, rel=0.1)


def test_a_lead_is_told_once_networks_were_measured_again() -> None:
    scores = hill(PLACES)[:, None] + 0.02 * np.random.default_rng(5).standard_normal((len(PLACES), 3))
    names = ("depth",)  # stands at the first place: width and resolution do not grow there
    (lead,) = recommend(rows_of(scores, seeds=3, names=names), FLOPS, Aim("maximize")).leads
    true = float(hill(TOP[None])[0] - hill(PLACES[:1])[0])
    assert (lead.rule, lead.result) == ("depth", "ahead")
    assert abs(lead.difference - true) < lead.half_width < 0.15
    (worse,) = recommend(rows_of(-scores, seeds=3, names=names), FLOPS, Aim("minimize")).leads
    assert worse.difference == pytest.approx(lead.difference, abs=1e-6)


def test_a_flat_landscape_is_seldom_called_anything_else() -> None:
    """Any claim in at most a tenth of such studies (3 of 120 with all rules among 40 networks)."""
    false = 0
    for seed in range(10):
        scores = np.random.default_rng(seed).standard_normal((len(PLACES), 2))
        found = recommend(rows_of(scores, seeds=2, names=("depth",)), FLOPS, Aim("maximize"))
        false += any(lead.result != "not distinguishable" for lead in found.leads)
    assert false <= 1


def test_intervals_and_regions_hold_on_random_landscapes() -> None:
    """A part of what ``benchmarks.bench_search`` measures; at least 0.75 of 22 runs of which 0.9 should hold."""
    held, inside = [], []
    for seed, kind in enumerate(KINDS * 2):
        landscape, generator = draw_landscape("choose", kind, 100 + seed), np.random.default_rng(seed)
        scores = landscape.heights(PLACES) + 0.15 * landscape.noise(PLACES, generator)
        found = recommend(rows_of(scores), FLOPS, Aim("maximize"))
        true = float(landscape.heights(as_array([found.shares]))[0])
        assert found.expected is not None
        held.append(found.expected.low <= true <= found.expected.high)
        points = fine_lattice(20)
        best = points[int(np.argmax(landscape.heights(points)))]
        inside.append(np.abs(as_array(found.region) - best).max(axis=1).min() < 0.051)
    assert np.mean(held) >= 0.75
    assert np.mean(inside) >= 0.75
