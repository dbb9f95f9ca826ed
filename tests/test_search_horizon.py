"""Scores at rungs to the score at the horizon: what its noise is, what the region holds, and what the check refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from objectives.power_law import KINKED, MOVING, PowerLawObjective
from phiscale import FLOPS, Shares, constants_from_shares
from phiscale.training_length import FARTHEST
from phiscale.triangle import lattice
from search.aim import Aim
from search.history import History
from search.horizon import (
    LineSurface,
    Scale,
    fit_lines,
    law_scale,
    plain_scale,
    rung_noise,
    slope_weights,
    without_common_error,
)
from search.leads import leads
from search.measurements import Measurement
from search.methods import qmc
from search.recommendation import REGION_STEPS, Recommendation, as_array, predict, recommend, surface_at
from search.settings import SearchSettings
from search.surface import Array, Surface
from search.trial import shares_of_constants
from tests.strategies import reals

UP = Aim("maximize", "accuracy")
RUNGS = (20_000, 40_000, 80_000, 160_000)
LONGEST = RUNGS[-1]
SEEDS = 30


def rows_of(objective: PowerLawObjective, count: int, seed: int) -> list[Measurement]:
    """Trials at the points of the low-discrepancy sequence, each trained once."""
    rows = []
    for index in range(count):
        constants = qmc.point(History((), FLOPS, SearchSettings(seed=seed), UP), index)
        scores = objective.evaluate(constants, seed=seed).rungs
        measured = (scores[LONGEST],), (index,), tuple(scores), (tuple(scores.values()),)
        rows.append(Measurement((), constants, shares_of_constants(constants, FLOPS), *measured))
    return rows


def holds(region: tuple[Shares, ...], shares: tuple[float, float, float]) -> bool:
    """Whether a point lies within half a step of one of the region."""
    half = 0.5 / REGION_STEPS + 1e-9
    return any(max(abs(a - b) for a, b in zip(point.as_tuple(), shares, strict=True)) <= half for point in region)


def towards(images: int) -> Aim:
    return dataclasses.replace(UP, horizon=images)


# the closed form

LAW = dataclasses.replace(MOVING, optimum=Shares(0.2, 0.7, 0.1), drift=(0.0, -0.1, 0.1), steepness=0.5)
"""A law whose best shares move far beyond what a bend of the lines could do."""
BROKEN = dataclasses.replace(LAW, kink_at=KINKED.kink_at, kink=KINKED.kink)


@pytest.fixture(scope="module")
def moving() -> list[dict[int, Recommendation]]:
    """Recommendations at two and four times the longest rung, for every seed."""
    found = []
    for seed in range(SEEDS):
        rows = rows_of(LAW, 40, seed)
        found.append({times: recommend(rows, FLOPS, towards(times * LONGEST)) for times in (2, 4)})
    return found


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, 4])
def test_the_region_at_the_horizon_holds_the_optimum_there_and_not_the_one_of_the_longest_rung(
    moving: list[dict[int, Recommendation]], times: int
) -> None:
    regions = [found[times].region for found in moving]
    assert sum(holds(region, LAW.best_shares(times * LONGEST)) for region in regions) >= 0.85 * SEEDS
    assert sum(not holds(region, LAW.best_shares(LONGEST)) for region in regions) >= 0.85 * SEEDS
    assert np.median([len(region) for region in regions]) < 0.13 * len(lattice(REGION_STEPS, FLOPS))


@pytest.mark.slow
def test_networks_that_leave_their_power_laws_are_refused_and_others_are_not(
    moving: list[dict[int, Recommendation]],
) -> None:
    wrongly = sum(bool(reason_of(found[2])) for found in moving)
    refused = sum(
        "do not predict the longest one" in reason_of(recommend(rows_of(BROKEN, 40, seed), FLOPS, towards(2 * LONGEST)))
        for seed in range(SEEDS)
    )
    assert refused >= 0.85 * SEEDS
    assert wrongly <= 0.15 * SEEDS


def reason_of(found: Recommendation) -> str:
    """Why its horizon is not determined."""
    assert found.outlook is not None
    return found.outlook.reason


def test_noise_that_hides_the_order_is_called_noise_with_what_would_help() -> None:
    loud = dataclasses.replace(MOVING, noise=0.05, drift=(0.0, 0.0, 0.0), steepness=0.02)
    reasons = [reason_of(recommend(rows_of(loud, 40, seed), FLOPS, towards(2 * LONGEST))) for seed in range(5)]
    assert all("a longest rung of 320,000 images seen could determine it" in reason for reason in reasons)
    assert sum("noise hides the order of the networks" in reason for reason in reasons) >= 3, reasons


def test_between_the_rungs_no_check_is_needed() -> None:
    rows = rows_of(KINKED, 24, 0)
    for images in (20_000, 100_000, 160_000):
        found = recommend(rows, FLOPS, towards(images))
        assert found.outlook is not None
        assert (found.outlook.reason, found.length) == ("", images)


def test_a_horizon_that_is_not_determined_gives_the_constants_of_the_longest_rung() -> None:
    rows = rows_of(MOVING, 40, 0)
    longest = recommend(rows, FLOPS, UP)
    assert longest.outlook is None
    far = recommend(rows, FLOPS, towards(int(FARTHEST * LONGEST) + 1))
    assert far.outlook is not None
    assert "nothing is claimed beyond 4 times; a longest rung of 160,001 images seen" in far.outlook.reason
    assert (far.shares, far.region, far.length) == (longest.shares, longest.region, LONGEST)
    assert recommend(rows, FLOPS, towards(int(FARTHEST * LONGEST))).length == FARTHEST * LONGEST


def test_with_too_few_rungs_nothing_checks_an_extrapolation() -> None:
    rows = rows_of(dataclasses.replace(MOVING, rungs=RUNGS[1:]), 20, 0)
    outlook = recommend(rows, FLOPS, towards(2 * LONGEST)).outlook
    assert outlook is not None
    assert "4 rungs or more could determine it" in outlook.reason


def test_too_few_networks_determine_no_horizon() -> None:
    found = recommend(rows_of(MOVING, 6, 0), FLOPS, towards(2 * LONGEST))
    assert found.outlook is not None
    assert found.outlook.reason
    assert found.length == LONGEST


def test_scores_do_not_depend_on_the_scale_of_the_surface() -> None:
    """A prediction at the horizon is in the unit of the scores, as at a rung."""
    rows = rows_of(dataclasses.replace(MOVING, noise=1e-5), 40, 0)
    for images in (LONGEST, 2 * LONGEST):
        shown = predict(rows, FLOPS, towards(images), steps=10)
        assert shown is not None
        inside = shown.shares.min(axis=1) > 0.05
        points = [Shares(*map(float, shares)) for shares in shown.shares[inside]]
        true = [MOVING.true_score(constants_from_shares(shares), images) for shares in points]
        assert shown.mean[inside] == pytest.approx(true, abs=0.003)
        assert shown.deviation.max() < 0.05


# the lines


@pytest.mark.parametrize(("times", "promised"), [(1, 1.0), (2, 1.34), (4, 1.73)])
def test_the_noise_at_the_horizon_is_as_promised(times: int, promised: float) -> None:
    """Of one training: the slope of x = 0..3 doublings has the variance 1/5, of which 3/10 is shared with the last."""
    values = np.random.default_rng(0).standard_normal((40_000, 4))
    reach = math.log2(times)
    calculated = math.sqrt(1 + reach**2 / 5 + 2 * reach * 3 / 10)
    assert calculated == pytest.approx(promised, abs=0.01)
    predicted = values[:, -1] + reach * (values @ slope_weights(np.ones(4), RUNGS))
    assert predicted.std() == pytest.approx(calculated, rel=0.02)
    shares, few = np.random.default_rng(1).dirichlet((1, 1, 1), 40), values[:40]
    found = fit_lines(shares, few, RUNGS, times * LONGEST)
    assert found.noise == pytest.approx(calculated, rel=0.3)


@given(st.lists(reals(-5, 5), min_size=2, max_size=2), st.floats(16, 21))
def test_networks_on_their_lines_are_predicted_exactly(line: list[float], doublings: float) -> None:
    """At a rung, between rungs, before the first and beyond the last; a straight curve has no bend to continue."""
    values = np.array([line[0] + line[1] * np.log2(RUNGS)] * 3)
    shares, at = np.eye(3), line[0] + line[1] * doublings
    surface = fit_lines(shares, values, RUNGS, 2**doublings)
    assert surface.means(shares) == pytest.approx([at] * 3, abs=1e-6)
    assert surface.shift_error == pytest.approx(0, abs=1e-6)


def test_the_bend_of_the_middle_curve_is_continued() -> None:
    """By hand: a parabola x^2 / 10 over x = -3..0 has the slope -.3; at x = 2 it is at .4, and the line at -.6."""
    shares = np.random.default_rng(0).dirichlet((1, 1, 1), 12)
    levels = 0.1 * shares[:, :1]
    values = levels + np.arange(-3, 1) ** 2 / 10
    surface = fit_lines(shares, values, RUNGS, 4 * LONGEST)
    assert (surface.shift, surface.shift_error) == pytest.approx((1.0, 0.75))
    assert surface.means(shares) == pytest.approx(levels[:, 0] + 0.4, abs=0.02)
    straight = dataclasses.replace(surface, shift=0.0, shift_error=0.0)
    assert surface.predict(shares)[1] == pytest.approx(np.hypot(straight.predict(shares)[1], 0.75))
    first, second = surface.draws(shares, 2000, seed=0), straight.draws(shares, 2000, seed=0)
    assert (np.argmax(first, axis=1) == np.argmax(second, axis=1)).all()  # so no region depends on it
    assert fit_lines(shares, values, RUNGS, 0.8 * LONGEST).shift == 0
    assert fit_lines(shares, values[:, 2:], RUNGS[2:], 4 * LONGEST).shift == 0


def test_a_curve_that_becomes_level_stays_level_and_one_diverged_network_lifts_no_other() -> None:
    """By hand: -x^2 / 10 over x = -4..-1 is level one doubling beyond the last rung, at 0, and the slope is .5."""
    shares = np.random.default_rng(0).dirichlet((1, 1, 1), 12)
    values = np.tile(-(np.arange(-4.0, 0) ** 2) / 10, (12, 1))
    for times in (2, 4):
        assert fit_lines(shares, values, RUNGS, times * LONGEST).means(shares) == pytest.approx([0] * 12, abs=1e-6)
    whole = fit_lines(shares, values, RUNGS, 4 * LONGEST)
    values[3, -1] = -14.0  # a loss of a million
    diverged = fit_lines(shares, values, RUNGS, 4 * LONGEST)
    expected = whole.shift, whole.shift_error  # but for the weights of the rungs
    assert (diverged.shift, diverged.shift_error) == pytest.approx(expected, rel=0.3)


def test_scores_between_rungs_do_not_jump() -> None:
    values = np.tile([0.5, 0.9, 1.2, 1.4], (12, 1))
    shares = np.random.default_rng(0).dirichlet((1, 1, 1), 12)
    lengths = [2.0**doublings for doublings in np.linspace(math.log2(RUNGS[0]), math.log2(LONGEST), 13)]
    means = [fit_lines(shares, values, RUNGS, length).means(shares).mean() for length in lengths]
    assert means == pytest.approx(np.interp(np.arange(13), [0, 4, 8, 12], values[0]), abs=1e-6)


def test_the_error_that_all_share_hides_no_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(MOVING, 40, 0)
    rows[:2] = (dataclasses.replace(row, names=(name,)) for row, name in zip(rows[:2], ("width", "depth"), strict=True))
    surface, scale = surface_at(rows, towards(4 * LONGEST))
    assert isinstance(surface, LineSurface)
    unsure = dataclasses.replace(surface, shift_error=3.0)
    top = Shares(*map(float, rows[2].shares.as_tuple()))
    assert leads(rows, (without_common_error(unsure), scale), top) == leads(
        rows, (dataclasses.replace(surface, shift_error=0.0), scale), top
    )
    assert all(lead.half_width < 0.2 for lead in recommend(rows, FLOPS, towards(4 * LONGEST)).leads)
    found = []
    for error in (0.0, 3.0):
        monkeypatch.setattr("search.horizon._continued_bend", lambda *_, error=error: (0.3, error))
        found.append(recommend(rows, FLOPS, towards(4 * LONGEST)))
    assert found[0].length == 4 * LONGEST
    assert found[0].leads == found[1].leads != ()
    assert found[0].expected != found[1].expected


def test_an_interval_near_the_ceiling_is_that_of_the_images() -> None:
    """All of 1,000 images but a few are right: half an image counts, and the interval does not reach down to 0."""
    generator = np.random.default_rng(1)
    errors = np.array([0.2, 0.08, 0.03, 0.006]) * np.exp(0.1 * generator.standard_normal((24, 1)))
    rows = [
        dataclasses.replace(row, scores=(1 - error[-1],), rung_scores=(tuple(1 - error),))
        for row, error in zip(rows_of(MOVING, 24, 0), errors, strict=True)
    ]
    found = recommend(rows, FLOPS, dataclasses.replace(towards(2 * LONGEST), counted=1000)).expected
    assert found is not None
    assert 0.98 < found.low < found.score < 1


def test_noisy_rungs_near_the_ceiling_count_less() -> None:
    """Of a thousand images a few are wrong: on the scale of the law their number is mostly noise."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet((1, 1, 1), 60)
    errors = np.array([0.2, 0.08, 0.03, 0.004]) * np.exp(0.2 * (shares[:, :1] - 0.3))
    scores = 1 - generator.binomial(1000, errors) / 1000
    values = law_scale(scores, "maximize", "accuracy").to_values(scores)
    noise = rung_noise(shares, values)
    assert noise[3] > 2 * noise[0]
    binomial = 1 / np.sqrt(1000 * errors.mean(axis=0))  # deviation of the logarithm of the count of errors
    assert noise / noise[0] == pytest.approx(binomial / binomial[0], rel=0.5)
    weights = slope_weights(noise, RUNGS)
    assert abs(weights[-1]) < 0.7 * abs(weights[0])
    few = rung_noise(shares[:8], values[:8])
    assert few.tolist() == [1, 1, 1, 1]


# scales


@given(st.sampled_from(["log error", "log loss", "score"]), st.sampled_from([1.0, -1.0]), st.data())
def test_scales_there_and_back(kind: str, sign: float, data: st.DataObject) -> None:
    low, high = {"log error": (-3, 1 - 5e-4), "log loss": (1e-6, 1e3), "score": (-1e3, 1e3)}[kind]
    scores = np.array(data.draw(st.lists(reals(low, high), min_size=2, max_size=6)))
    scale = Scale(kind, {"log error": 1.0, "log loss": -1.0}.get(kind, sign))
    values = scale.to_values(scores)
    assert scale.to_scores(values) == pytest.approx(scores, rel=1e-9, abs=1e-9)
    better = np.argsort(scale.sign * scores, kind="stable")
    assert (np.diff(values[better]) >= 0).all()  # a better score has a larger value
    step = 1e-6
    changes = (scale.to_scores(values + step) - scale.to_scores(values - step)) / (2 * step)
    assert np.abs(changes) == pytest.approx(scale.slope(values), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "direction", "name", "kind"),
    [
        ([0.2, 1.0], "maximize", "accuracy", "log error"),
        ([0.2, 71.0], "maximize", "accuracy", "score"),
        ([0.2, 1.0], "maximize", "reward", "score"),
        ([0.2, 3.0], "minimize", "log_loss", "log loss"),
        ([0.0, 3.0], "minimize", "log_loss", "score"),
        ([-1.0, 3.0], "minimize", "energy", "score"),
    ],
)
def test_the_scale_follows_the_score(scores: list[float], direction: str, name: str, kind: str) -> None:
    assert law_scale(np.array(scores), direction, name).kind == kind


def test_a_perfect_score_has_a_value() -> None:
    scale = law_scale(np.array([0.5, 1.0]), "maximize", "accuracy")
    assert np.isfinite(scale.to_values(np.array([1.0]))).all()


def test_a_minimised_loss_is_the_same_question() -> None:
    """The loss of every training is the error of the moving law."""
    rows = rows_of(MOVING, 24, 1)
    turned = [
        dataclasses.replace(
            row,
            scores=tuple(1 - score for score in row.scores),
            rung_scores=tuple(tuple(1 - score for score in scores) for scores in row.rung_scores),
        )
        for row in rows
    ]
    found = recommend(rows, FLOPS, towards(2 * LONGEST))
    mirrored = recommend(turned, FLOPS, Aim("minimize", "loss", 2 * LONGEST))
    assert mirrored.region == found.region
    assert mirrored.shares == found.shares
    assert mirrored.expected is not None
    assert found.expected is not None
    assert mirrored.expected.score == pytest.approx(1 - found.expected.score)
    assert mirrored.expected.low < mirrored.expected.score < mirrored.expected.high


# the surface at the horizon


class Normal(Surface):
    """A surface of known moments, whose draws come sorted, as those of a mixture come by its models."""

    def __init__(self, mean: Array, covariance: Array) -> None:
        object.__setattr__(self, "known", (mean, covariance))

    def moments(self, shares: Array) -> tuple[Array, Array]:
        return self.known  # type: ignore[attr-defined]

    def means(self, shares: Array) -> Array:
        return self.known[0]  # type: ignore[attr-defined]

    def predict(self, shares: Array) -> tuple[Array, Array]:
        return self.known[0], np.sqrt(np.diag(self.known[1]))  # type: ignore[attr-defined]

    def draws(self, shares: Array, count: int, seed: int) -> Array:
        found = np.random.default_rng(seed).multivariate_normal(*self.known, size=count)  # type: ignore[attr-defined]
        return found[np.argsort(found[:, 0])]


def test_moments_and_prediction_are_those_of_the_draws() -> None:
    generator, shares = np.random.default_rng(0), np.eye(3)
    root = generator.normal(size=(3, 3))
    surface = LineSurface(Normal(generator.normal(size=3), root @ root.T), bend=0.3, shift=0.7, shift_error=0.4)
    mean, covariance = surface.moments(shares)
    drawn = surface.draws(shares, 40_000, seed=0)
    scale = np.sqrt(np.diag(covariance))
    assert np.abs(drawn.mean(axis=0) - mean).max() < 0.02 * scale.max()
    assert np.abs(np.cov(drawn.T) - covariance).max() < 0.03 * np.outer(scale, scale).max()
    predicted, deviation = surface.predict(shares)
    assert predicted == pytest.approx(mean)
    assert surface.means(shares) == pytest.approx(mean)
    assert deviation == pytest.approx(scale)


def test_a_fitted_surface_draws_what_it_predicts_and_widens_with_the_distance() -> None:
    rows = rows_of(MOVING, 40, 0)
    points = as_array(lattice(5, FLOPS))
    widths = []
    for times in (1.5, 2, 4):
        surface, _ = surface_at(rows, towards(int(times * LONGEST)))
        mean, deviation = surface.predict(points)
        drawn = surface.draws(points, 4000, seed=3)
        assert np.abs(drawn.mean(axis=0) - mean).max() < 0.2 * deviation.max()
        assert drawn.std(axis=0) == pytest.approx(deviation, rel=0.4)
        widths.append(deviation.mean())
    assert widths == sorted(widths)
    assert widths[2] > 1.2 * widths[0]


def test_at_a_rung_the_surface_is_that_of_its_own_scores() -> None:
    rows = rows_of(MOVING, 24, 0)
    shares = as_array([row.shares for row in rows])
    for index, images in enumerate(RUNGS):
        surface, scale = surface_at(rows, towards(images))
        assert scale == plain_scale("maximize")
        assert isinstance(surface, Surface)
        own = np.array([row.rung_scores[0][index] for row in rows])
        assert np.abs(surface.means(shares) - own).max() < 0.03
    lines, _ = surface_at(rows, towards(2 * LONGEST))
    assert isinstance(lines, LineSurface)
    values = law_scale(np.array([0.5]), "maximize", "accuracy").to_values(
        np.array([row.rung_scores[0] for row in rows])
    )
    assert fit_lines(shares, values, RUNGS, 2 * LONGEST).means(shares) == pytest.approx(lines.means(shares))


def test_the_hindcast_measures_what_it_says() -> None:
    """Bias, rank correlation and regret against a calculation by hand."""
    rows = rows_of(MOVING, 30, 2)
    checked = recommend(rows, FLOPS, UP).details["hindcast"]
    assert (list(checked["rungs"]), checked["longest"], checked["networks"]) == ([20_000, 40_000], LONGEST, 30)
    values = -np.log(1 - np.array([row.rung_scores[0] for row in rows]))
    shares = as_array([row.shares for row in rows])
    predicted = fit_lines(shares, values[:, :2], RUNGS[:2], LONGEST).means(shares)
    assert checked["bias"] == pytest.approx(float((np.exp(-values[:, 3]) - np.exp(-predicted)).mean()))
    plain = stats.spearmanr(predicted, values[:, 3]).statistic
    assert plain <= checked["rank"] <= 1
    assert checked["regret"] >= 0
