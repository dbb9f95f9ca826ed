"""Best learning rates of shapes, the plane through them, its file, and the search that trains by it."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

import objectives.training.train
from objectives.proxy import ProxyObjective
from objectives.training.rate_plane import RatePlane, best_rates, fit_plane, shape_shares, shares_of_network
from objectives.training.settings import TrainSettings
from objectives.training.train import ProxyRun
from phiscale import (
    FLOPS,
    PARAMETERS,
    PROXY_BASE,
    DataError,
    Multipliers,
    RecordError,
    ScalingConstants,
    SettingsError,
    Shares,
    StudyError,
)
from scripts.shared.setup import ObjectiveSettings, make_objective
from tests.strategies import shares as any_shares
from tests.studies_for_tests import run
from tests.tiny_data import TINY, striped_images

PLANE = RatePlane(rates=(0.1, 0.2, 0.4), found={"network": "tiny"})
EQUAL = Shares(1 / 3, 1 / 3, 1 / 3)
DATA = striped_images(64)
TRAIN = TrainSettings(device="cpu", images_seen=128, rungs=2)
BASE = dataclasses.replace(TINY, stem_channels=12, head_channels=24, resolution=12)


# the plane


def test_corners_have_their_own_rate_and_equal_shares_the_geometric_mean() -> None:
    corners = [PLANE.rate(Shares(*(float(axis == corner) for axis in range(3)))) for corner in range(3)]
    assert corners == pytest.approx([0.1, 0.2, 0.4])
    assert PLANE.rate(EQUAL) == pytest.approx(0.2)


@given(any_shares())
def test_a_rate_lies_between_those_of_the_corners(point: Shares) -> None:
    assert 0.1 - 1e-12 <= PLANE.rate(point) <= 0.4 + 1e-12


def test_the_rate_is_that_of_the_growth_and_of_the_shrinking() -> None:
    wider, thinner = Multipliers(1, 1.5, 1), Multipliers(1, 1 / 1.5, 1)
    assert PLANE.rate_of(wider, FLOPS) == PLANE.rate_of(thinner, FLOPS) == pytest.approx(0.2)
    assert PLANE.rate_of(Multipliers(2, 1, 1), FLOPS) == pytest.approx(0.1)
    assert shares_of_network(Multipliers(1, 1, 1), FLOPS).as_tuple() == pytest.approx(EQUAL.as_tuple())


def test_a_plane_is_found_again_from_rates_on_it() -> None:
    points = [*shape_shares(FLOPS).values(), Shares(0.5, 0.25, 0.25)]
    found = fit_plane(points, [PLANE.rate(point) for point in points], {})
    assert found.rates == pytest.approx(PLANE.rates)


def test_a_plane_halves_the_error_of_the_four_shapes_by_least_squares() -> None:
    # corners at 1, equal shares at e**1: normal equations (I + 1/9) l = 1/3 have l = 1/4 for each corner
    found = fit_plane(list(shape_shares(FLOPS).values()), [1, 1, 1, math.e], {})
    assert found.rates == pytest.approx([math.exp(1 / 4)] * 3)


def test_an_axis_that_costs_nothing_has_no_shape_and_the_mean_rate() -> None:
    assert list(shape_shares(PARAMETERS)) == ["depth", "width", "equal"]
    found = fit_plane([Shares(1, 0, 0), Shares(0, 1, 0), Shares(0.5, 0.5, 0)], [0.1, 0.4, 0.2], {})
    assert found.rates == pytest.approx((0.1, 0.4, 0.2))


def test_too_few_directions_fit_no_plane() -> None:
    with pytest.raises(DataError, match="3 different directions, got 2"):
        fit_plane([Shares(1, 0, 0), Shares(0, 0.5, 0.5)], [0.1, 0.2], {})


# its file


def test_a_file_gives_the_plane_back(tmp_path: Path) -> None:
    PLANE.save(tmp_path / "p.json")
    assert RatePlane.load(tmp_path / "p.json") == PLANE
    plain = json.loads((tmp_path / "p.json").read_text())
    assert (plain["format"], plain["version"]) == ("phiscale-rate-plane", 1)


@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf"), "0.1", None, True])
def test_rates_that_are_none_are_refused(rate) -> None:
    with pytest.raises(RecordError, match="the rate of width"):
        RatePlane(rates=(0.1, rate, 0.1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", '"format": "phiscale-rate-plane"'),
        ('{"format": "phiscale-cost-model"}', '"format": "phiscale-rate-plane"'),
        ('{"format": "phiscale-rate-plane", "version": 2}', "expected version 1, got 2"),
        ('{"format": "phiscale-rate-plane", "version": 1, "found": {}}', "lacks rates"),
        ('{"format": "phiscale-rate-plane", "version": 1, "rates": [1, 1, 1], "found": {}, "x": 1}', "unknown fields"),
        ('{"format": "phiscale-rate-plane", "version": 1, "rates": [1, 1], "found": {}}', "three corners"),
        ('{"format": "phiscale-rate-plane", "version": 1, "rates": 7, "found": {}}', "three corners"),
        ('{"format": "phiscale-rate-plane", "version": 1, "rates": [1, NaN, 1], "found": {}}', "finite"),
        ('{"format": "phiscale-rate-plane", "version": 1, "rates": [1, 0, 1], "found": {}}', "above 0"),
        ('{"format": "phiscale-rate-plane", "version": 1, "rates": [1, -1, 1], "found": {}}', "above 0"),
        ('{"format": "phiscale-rate-plane", "version": 1, "rates": [1, 1, 1], "found": 3}', "found to be an object"),
        ("\udcff", "not text"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RecordError, match=message) as caught:
        RatePlane.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(RecordError, match="cannot read the rate plane"):
            RatePlane.load(path)


# which rates are best, and whether they differ


def curves(tops: list[float], seeds: int, noise: float, generator: np.random.Generator) -> np.ndarray:
    """Scores (shapes, 3 rates, seeds) of quadratics with their tops at log2 rates, plus seeds and noise."""
    logs = np.array([-1.0, 0, 1])
    means = 0.7 - 0.02 * (logs[None, :] - np.array(tops)[:, None]) ** 2
    seed_effects = 0.05 * generator.standard_normal((len(tops), 1, seeds))
    return means[:, :, None] + seed_effects + noise * generator.standard_normal((len(tops), 3, seeds))


def test_best_rates_are_the_tops_of_the_quadratics() -> None:
    scores = curves([-0.5, 0.25, 0.0, 0.75], 3, 0, np.random.default_rng(0))
    found = best_rates(scores, 0.2, maximize=True)
    assert found.rates == pytest.approx([0.2 * 2**top for top in (-0.5, 0.25, 0.0, 0.75)])
    assert found.common == pytest.approx(0.2 * 2**0.125)
    assert found.gains == pytest.approx([0.02 * (top - 0.125) ** 2 for top in (-0.5, 0.25, 0.0, 0.75)])
    assert found.enclosed == (True,) * 4
    assert found.differ
    assert best_rates(-scores, 0.2, maximize=False) == found


def test_a_top_beyond_the_rates_is_at_their_edge_and_not_enclosed() -> None:
    found = best_rates(curves([-1.5, 1.5, 0, 0], 2, 0, np.random.default_rng(0)), 0.2, maximize=True)
    assert found.rates[:2] == pytest.approx((0.1, 0.4))
    assert found.enclosed == (False, False, True, True)
    rising = best_rates(np.array([[[0, 0], [1, 1], [4, 4]]] * 2, dtype=float), 0.2, maximize=True)
    assert (rising.rates, rising.enclosed) == ((0.4, 0.4), (False, False))


@pytest.mark.parametrize("tops", [[0.3] * 4, [0.0] * 4, [-0.8] * 4])
def test_equal_best_rates_are_said_to_differ_in_at_most_5_percent(tops: list[float]) -> None:
    generator = np.random.default_rng(1)
    said = [best_rates(curves(tops, 3, 0.01, generator), 0.2, maximize=True).differ for _ in range(500)]
    assert np.mean(said) <= 0.05


def test_flat_scores_are_said_to_differ_in_at_most_5_percent() -> None:
    generator = np.random.default_rng(2)
    said = [best_rates(generator.standard_normal((4, 3, 3)), 0.2, maximize=True).differ for _ in range(1000)]
    assert np.mean(said) <= 0.05


@pytest.mark.parametrize("tops", [[-0.5, 0.5, 0, 0], [-1.5, 1.5, -1.5, 1.5]])
def test_best_rates_a_factor_of_two_apart_are_found(tops: list[float]) -> None:
    generator = np.random.default_rng(3)
    said = [best_rates(curves(tops, 3, 0.01, generator), 0.2, maximize=True).differ for _ in range(100)]
    assert np.mean(said) >= 0.8


def test_scores_that_rise_for_some_shapes_and_fall_for_others_differ() -> None:
    noise = 0.002 * np.random.default_rng(4).standard_normal((4, 3, 3))
    lines = 0.02 * np.array([-1.0, 0, 1])[None, :] * np.array([-1.0, 1, -1, 1])[:, None]
    assert best_rates(lines[:, :, None] + noise, 0.2, maximize=True).differ


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((1, 3, 2)), "2 shapes or more"),
        (np.zeros((4, 2, 2)), "3 rates"),
        (np.zeros((4, 3, 1)), "2 seeds or more"),
        (np.full((4, 3, 2), np.nan), "finite"),
    ],
)
def test_scores_without_rates_are_refused(scores: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        best_rates(scores, 0.2, maximize=True)


def test_scores_that_are_all_equal_do_not_differ() -> None:
    assert best_rates(np.ones((4, 3, 2)), 0.2, maximize=True).probability == 1


# the search that trains by it


def proxy(plane: RatePlane | None, **changes) -> ProxyObjective:
    return ProxyObjective(changes.pop("base", BASE), DATA, TRAIN, rate_plane=plane, **changes)


def run_of(settings: TrainSettings) -> ProxyRun:
    return ProxyRun(
        lengths=(64, 128), scores=(0.5, settings.learning_rate), curves={}, seconds=0.1, device="cpu", peak_memory=1
    )


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Learning rates with which networks were trained, in their order."""
    seen: list[float] = []

    def train(_spec, _data, settings: TrainSettings, *, seed: int) -> ProxyRun:
        seen.append(settings.learning_rate)
        return run_of(settings)

    monkeypatch.setattr(objectives.training.train, "train_proxy", train)
    return seen


def test_the_rate_of_the_plane_reaches_the_training(rates: list[float]) -> None:
    width = ScalingConstants(1, 2**0.5, 1)
    proxy(None).evaluate(width, seed=0)
    proxy(PLANE).evaluate(width, seed=0)
    proxy(PLANE, base=PROXY_BASE, phi=-1.0).evaluate(width, seed=0)
    assert rates == pytest.approx([TRAIN.learning_rate, 0.2, 0.2], rel=0.1)
    mixed = proxy(PLANE)
    network = mixed.network(ScalingConstants(1.2, 1.1, 1.17))
    mixed.evaluate(ScalingConstants(1.2, 1.1, 1.17), seed=0)
    assert rates[-1] == PLANE.rate(shares_of_network(network.realised, FLOPS))


def test_other_settings_stay() -> None:
    objective = proxy(PLANE)
    network = objective.network(ScalingConstants(2, 1, 1))
    changed = dataclasses.replace(objective.train, learning_rate=PLANE.rate_of(network.realised, FLOPS))
    assert objective._settings(network) == changed


def test_a_study_with_another_plane_is_refused(tmp_path: Path, rates: list[float]) -> None:
    settings = {"trials": 2, "baselines": "width", "method": "random"}
    run(tmp_path, proxy(PLANE), **settings)
    run(tmp_path, proxy(PLANE), **settings)
    for other in (None, RatePlane(rates=(0.1, 0.2, 0.3))):
        with pytest.raises(StudyError):
            run(tmp_path, proxy(other), **settings)
    assert len(rates) == 2


def test_the_plane_is_described_only_where_there_is_one() -> None:
    assert proxy(PLANE).describe()["rate_plane"] == [0.1, 0.2, 0.4]
    assert "rate_plane" not in proxy(None).describe()


def test_the_option_reads_the_file(tmp_path: Path) -> None:
    PLANE.save(tmp_path / "p.json")
    train = dataclasses.replace(TRAIN, train_images=40, validation_images=20)
    made = make_objective(ObjectiveSettings(rate_plane=tmp_path / "p.json"), train, 0, tmp_path)
    assert isinstance(made, ProxyObjective)
    assert made.rate_plane == PLANE
    with pytest.raises(RecordError, match="none.json"):
        make_objective(ObjectiveSettings(rate_plane=tmp_path / "none.json"), train, 0, tmp_path)
    with pytest.raises(SettingsError, match="--rate-plane"):
        ObjectiveSettings(rate_plane=tmp_path / "p.json", objective="a:b")
