"""What every objective must do, run over each of them, and what is special about one."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import statistics

import pytest

from objectives.contract import Evaluation, Objective
from objectives.landscape import CORNER, EDGE, INTERIOR, LandscapeObjective
from objectives.power_law import KINKED, MOVING
from objectives.proxy import ProxyObjective
from objectives.training.settings import TrainSettings
from phiscale import (
    ACTIVATIONS,
    FLOPS,
    PARAMETERS,
    PUBLISHED_RULES,
    ROUNDINGS,
    BudgetError,
    ScaledNetwork,
    ScalingConstants,
    SettingsError,
    Shares,
    constants_from_shares,
    match_budget,
    multipliers,
    scale_network,
)
from tests.tiny_data import TINY, striped_images

DATA = striped_images(64)
TRAIN = TrainSettings(device="cpu", images_seen=128, rungs=2)
BASE = dataclasses.replace(TINY, stem_channels=12, head_channels=24, resolution=12, classes=1000)


def proxy(**changes):
    train = dataclasses.replace(TRAIN, **changes.pop("train", {}))
    return ProxyObjective(changes.pop("base", BASE), changes.pop("data", DATA), train, **changes)


OBJECTIVES = {
    "proxy": proxy(),
    "proxy-nominal": proxy(budget="nominal", phi=1.0, rounding=ROUNDINGS["tf"]),
    "proxy-log-loss": proxy(train={"score": "log_loss"}, cost_model=ACTIVATIONS),
    "proxy-train-loss": proxy(train={"score": "train_loss", "images_seen": 192}),
    "law": MOVING,
    "law-kinked": KINKED,
    "interior": INTERIOR,
    "edge": EDGE,
    "corner": CORNER,
    "ridge": dataclasses.replace(INTERIOR, shape="ridge"),
    "peak-minimized": dataclasses.replace(INTERIOR, shape="peak", direction="minimize", noise=0.05),
}
EQUAL, WIDTH = (PUBLISHED_RULES[name].constants for name in ("equal", "width"))


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return OBJECTIVES[request.param]


class TestEveryObjective:
    def test_has_the_shape_of_the_protocol(self, objective):
        assert isinstance(objective, Objective)
        assert objective.direction in ("maximize", "minimize")

    def test_describes_itself_in_json_and_the_same_each_time(self, objective):
        described = objective.describe()
        assert json.loads(json.dumps(described, allow_nan=False)) == described
        assert objective.describe() == described

    def test_evaluates_to_a_finite_score_that_is_that_of_the_longest_rung(self, objective):
        evaluation = objective.evaluate(EQUAL, seed=0)
        assert isinstance(evaluation, Evaluation)
        assert math.isfinite(evaluation.score)
        rungs = list(evaluation.rungs)
        assert rungs == sorted(set(rungs)) == objective.describe().get("rungs", [])
        assert all(math.isfinite(score) for score in evaluation.rungs.values())
        assert not rungs or evaluation.rungs[rungs[-1]] == evaluation.score
        assert evaluation.seconds >= 0
        assert evaluation.device
        assert evaluation.peak_memory >= 0
        assert {len(curve) for curve in evaluation.curves.values()} <= {len(rungs)}

    def test_gives_the_same_score_for_the_same_seed(self, objective):
        first, again, other = (objective.evaluate(EQUAL, seed=seed) for seed in (7, 7, 8))
        assert (again.score, again.rungs, again.curves) == (first.score, first.rungs, first.curves)
        assert (other.score, other.rungs, other.curves) != (first.score, first.rungs, first.curves)

    def test_trains_the_network_that_it_names(self, objective):
        network = objective.network(WIDTH)
        assert network is None or isinstance(network, ScaledNetwork)
        assert objective.evaluate(WIDTH, seed=0).network == network


def test_objectives_that_score_differently_describe_themselves_differently():
    described = [json.dumps(objective.describe(), sort_keys=True) for objective in OBJECTIVES.values()]
    assert len(set(described)) == len(described)


# the proxy


def test_a_matched_network_costs_what_was_asked_and_a_nominal_one_what_it_costs():
    matched = proxy(phi=2.0).network(EQUAL)
    assert matched.growth(FLOPS) == pytest.approx(4, rel=0.02)
    base = dataclasses.replace(BASE, classes=2)
    assert matched == match_budget(base, EQUAL, phi=2.0)
    nominal = proxy(phi=2.0, budget="nominal", rounding=ROUNDINGS["tf"]).network(EQUAL)
    assert nominal == scale_network(base, multipliers(EQUAL, 2.0), ROUNDINGS["tf"])
    assert nominal.spec.classes == 2


def test_the_cost_model_of_a_proxy_is_the_one_that_is_held():
    network = proxy(phi=1.0, cost_model=PARAMETERS).network(ScalingConstants(2.0, 1.0, 1.0))
    assert network.growth(PARAMETERS) == pytest.approx(2, rel=0.02)


def test_a_proxy_describes_all_that_changes_its_scores():
    described = proxy().describe()
    for change in (
        {"phi": 1.0},
        {"base": dataclasses.replace(BASE, resolution=10)},
        {"data": striped_images(32)},
        {"train": {"learning_rate": 0.1}},
        {"train": {"images_seen": 192}},
        {"train": {"rungs": 1}},
        {"train": {"cooldown": 0.3}},
        {"cost_model": ACTIVATIONS},
        {"budget": "nominal"},
        {"rounding": ROUNDINGS["tf"]},
    ):
        assert proxy(**change).describe() != described, change
    assert proxy(train={"threads": 2}).describe() == described
    images = {"epoch_images": 128, "distinct_images": 64, "resolution": DATA.resolution}
    assert described["data"] == {"name": "stripes", "fingerprint": DATA.fingerprint, **images}
    assert described["rungs"] == [64, 128]
    assert described["network"]["classes"] == 2


def test_scores_of_two_precisions_are_told_apart_though_both_were_chosen_by_the_device(monkeypatch):
    on_a_cpu = proxy(train={"precision": "auto", "device": "cpu"}).describe()
    assert on_a_cpu == proxy(train={"precision": "float32", "device": "cpu"}).describe()
    monkeypatch.setattr("objectives.training.device.is_halved", lambda device, settings: True)
    on_a_gpu = proxy(train={"precision": "auto"}).describe()
    assert on_a_gpu == proxy(train={"precision": "bfloat16"}).describe()
    assert on_a_gpu != on_a_cpu


def test_a_proxy_refuses_what_it_cannot_train():
    with pytest.raises(SettingsError, match="budget of matched, nominal"):
        proxy(budget="free")
    with pytest.raises(SettingsError, match="3 input channels"):
        proxy(base=dataclasses.replace(BASE, in_channels=1))
    with pytest.raises(SettingsError, match="phi"):
        proxy(phi=math.nan)


def test_a_budget_that_no_network_meets_is_an_error():
    coarse = proxy(base=dataclasses.replace(BASE, resolution=2), rounding=ROUNDINGS["tf"], phi=0.5)
    with pytest.raises(BudgetError, match="times the cost of tiny"):
        coarse.evaluate(ScalingConstants(1.0, 1.0, 2.0), seed=0)


# the landscapes


@pytest.mark.parametrize("shape", ["quadratic", "ridge", "peak"])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("optimum", [INTERIOR.optimum, EDGE.optimum, CORNER.optimum])
def test_no_point_of_the_triangle_beats_the_optimum(shape, direction, optimum):
    hill = LandscapeObjective(optimum=optimum, shape=shape, direction=direction)
    sign = 1 if direction == "maximize" else -1
    best = hill.true_score(hill.best_constants)
    assert best == pytest.approx(sign * hill.top)
    for depth in range(21):
        for width in range(21 - depth):
            shares = Shares(depth / 20, width / 20, (20 - depth - width) / 20)
            assert sign * hill.true_score(constants_from_shares(shares)) <= sign * best + 1e-12


def test_a_landscape_sees_the_direction_of_constants_not_their_length():
    half = ScalingConstants(*(value**0.5 for value in EQUAL.as_tuple()))
    assert INTERIOR.true_score(half) == pytest.approx(INTERIOR.true_score(EQUAL))


def test_noise_has_the_size_that_was_asked_and_differs_between_constants():
    noisy = dataclasses.replace(INTERIOR, noise=0.05)
    scores = [noisy.evaluate(EQUAL, seed=seed).score for seed in range(400)]
    assert statistics.mean(scores) == pytest.approx(noisy.true_score(EQUAL), abs=0.01)
    assert statistics.stdev(scores) == pytest.approx(0.05, rel=0.15)
    noise = [noisy.evaluate(at, seed=0).score - noisy.true_score(at) for at in (EQUAL, WIDTH)]
    assert noise[0] != pytest.approx(noise[1])
    quiet = dataclasses.replace(INTERIOR, noise=0.0)
    assert quiet.evaluate(EQUAL, seed=0).score == quiet.true_score(EQUAL)


@pytest.mark.parametrize(
    ("name", "value"),
    [("shape", "flat"), ("direction", "up"), ("drop", 0), ("top", math.inf), ("noise", -1)],
)
def test_impossible_landscapes_are_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        dataclasses.replace(INTERIOR, **{name: value})


# the power law


def test_the_best_constants_of_the_law_move_by_its_drift():
    law = dataclasses.replace(MOVING, noise=0.0)
    for images, doublings in ((20_000, 0), (160_000, 3), (320_000, 4)):
        best = law.best_shares(images)
        assert best == pytest.approx((0.2, 0.6 - 0.08 * doublings, 0.2 + 0.08 * doublings))
        top = law.true_score(constants_from_shares(Shares(*best)), images)
        grid = [Shares(d / 20, w / 20, (20 - d - w) / 20) for d in range(21) for w in range(21 - d)]
        assert all(law.true_score(constants_from_shares(shares), images) <= top + 1e-12 for shares in grid)


def test_every_network_of_the_law_is_a_straight_line_of_the_log_error_until_the_kink():
    for constants in (EQUAL, WIDTH):
        lines = [[math.log(1 - law.true_score(constants, 20_000 * 2**x)) for x in range(5)] for law in (MOVING, KINKED)]
        falls = [[b - a for a, b in itertools.pairwise(line)] for line in lines]
        assert max(falls[0]) - min(falls[0]) < 1e-12
        assert lines[1][:2] == pytest.approx(lines[0][:2])
    assert max(abs(a - b) for a, b in zip(*lines, strict=True)) > 0.05


def test_the_noise_of_every_rung_is_its_own():
    found = MOVING.evaluate(EQUAL, seed=0).rungs
    noise = [score - MOVING.true_score(EQUAL, images) for images, score in found.items()]
    assert len(set(noise)) == 4
    assert 0 < max(map(abs, noise)) < 5 * MOVING.noise


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": ()}, "rising order"),
        ({"rungs": (2, 1)}, "rising order"),
        ({"rungs": (0, 1)}, "above 0"),
        ({"drift": (0.1, 0.1, 0.1)}, "sum to 0"),
        ({"first_error": 0}, "first_error"),
        ({"steepness": -1}, "steepness"),
    ],
)
def test_impossible_laws_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        dataclasses.replace(MOVING, **changes)
