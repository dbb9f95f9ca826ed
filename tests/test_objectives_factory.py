"""A person's own factory: counted, matched to a cost by the count alone, trained by the recipe of every proxy."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from objectives.contract import CountedNetwork, Objective
from objectives.networks.build import Network
from objectives.networks.factory import Factory, match_factory
from objectives.networks.own_module import build_member, count_member
from objectives.proxy import ProxyObjective
from objectives.training.settings import TrainSettings
from phiscale import (
    ACTIVATIONS,
    FLOPS,
    PARAMETERS,
    PROXY_BASE,
    PUBLISHED_RULES,
    ROUNDINGS,
    BudgetError,
    ConstraintError,
    Cost,
    CostModel,
    Multipliers,
    ScalingConstants,
    SettingsError,
    TrialError,
    count_cost,
    match_budget,
    multipliers,
    scale_network,
    shares_of_direction,
)
from search.evaluation import network_at
from search.trial import Sizes
from tests import factories_for_tests as factories
from tests.interop import require
from tests.tiny_data import striped_images

TRAIN = TrainSettings(device="cpu", images_seen=128, rungs=2, learning_rate=0.05)
RULES = {name: PUBLISHED_RULES[name].constants for name in ("paper", "equal", "depth", "width", "resolution")}


def factory(build=factories.plain, resolution=16, classes=10):
    return Factory(name=f"tests:{build.__name__}", build=build, resolution=resolution, classes=classes)


def of_spec(depth, width, resolution, classes):
    """The networks of a spec, as a factory would make them."""
    scaled = scale_network(PROXY_BASE, Multipliers(depth, width, 1), ROUNDINGS["exact"], resolution=resolution)
    return Network(dataclasses.replace(scaled.spec, classes=classes))


def objective(build=factories.plain, **changes):
    return ProxyObjective(factory(build, changes.pop("resolution", 16)), striped_images(64), TRAIN, **changes)


@pytest.mark.parametrize("point", [(1, 1, 1), (2, 1.5, 1.25), (0.4, 0.5, 0.8)])
def test_the_count_of_a_factory_is_that_of_a_spec(point):
    member = factory(of_spec, 24).member(Multipliers(*point))
    spec = scale_network(PROXY_BASE, Multipliers(*point), ROUNDINGS["exact"], resolution=member.resolution).spec
    assert count_member(member)[0] == count_cost(spec)


def test_a_network_small_enough_to_count_by_hand():
    # 8 px in, 4 px after the stem: 3x3 3 -> 16, then four of 3x3 16 -> 16, then 16 -> 10.
    cost, _ = count_member(factory(resolution=8).baseline)
    assert cost.macs == 16 * (27 * 16 + 4 * 9 * 256) + 160
    assert cost.params == 27 * 16 + 4 * 9 * 256 + 5 * 32 + 170
    assert cost.activations == 5 * 16 * 16 + 10


@pytest.mark.parametrize(
    ("build", "name", "phi"),
    [
        *((of_spec, name, phi) for name in RULES for phi in (0.5, 1, 2)),
        *((of_spec, name, -1) for name in ("paper", "width", "resolution")),
        *((factories.plain, name, phi) for name in ("paper", "equal") for phi in (-1, 0, 0.5, 1, 2, 3)),
    ],
)
def test_directions_are_matched_within_two_per_cent(build, name, phi):
    made = factory(build, 24)
    network = match_factory(made, RULES[name], phi=phi, cost_model=FLOPS)
    assert network.growth(FLOPS) == pytest.approx(2**phi, rel=0.02)
    assert network.asked == multipliers(RULES[name], phi)
    assert network.cost == count_member(made.member(network.realised))[0]


@pytest.mark.parametrize("name", ["paper", "equal", "width"])
def test_a_factory_of_a_spec_is_matched_as_the_spec_is(name):
    # Both walk the same ray; they may differ by a block or a pixel.
    ours = match_factory(factory(of_spec, 24), RULES[name], phi=3, cost_model=FLOPS).realised
    theirs = match_budget(PROXY_BASE, RULES[name], phi=3).realised
    shares = [shares_of_direction(realised).as_tuple() for realised in (ours, theirs)]
    assert shares[0] == pytest.approx(shares[1], abs=0.06)


@pytest.mark.parametrize(
    "cost_model", [PARAMETERS, ACTIVATIONS, CostModel(0.8, 1.5, 1.9, 2.5, "formula")], ids=lambda m: m.metric
)
def test_other_costs_are_held_equal_too(cost_model):
    constants = ScalingConstants(1.2, 1.2, 1.0 if cost_model is PARAMETERS else 1.1)
    network = match_factory(factory(resolution=32), constants, phi=2, cost_model=cost_model)
    assert network.growth(cost_model) == pytest.approx(cost_model.target**2, rel=0.02)


def test_what_cannot_be_matched_says_so():
    with pytest.raises(
        BudgetError, match=r"within 0\.02 of 4 times the cost of tests:coarse along alpha=1, .* nearest"
    ):
        match_factory(factory(factories.coarse), RULES["width"], phi=2, cost_model=FLOPS)
    with pytest.raises(ConstraintError, match="constants that change"):
        match_factory(factory(), ScalingConstants(1, 1, 1), phi=2, cost_model=FLOPS)


def test_too_small_to_be_built_is_too_cheap():
    small = factory(factories.only_large_images)
    network = match_factory(small, RULES["equal"], phi=-1, cost_model=FLOPS)
    assert network.resolution >= 12
    with pytest.raises(BudgetError, match="nearest whole layers, channels and pixels cost 0.4335"):
        match_factory(small, RULES["resolution"], phi=-2, cost_model=FLOPS)


def test_the_fingerprint_is_of_the_network_not_of_the_numbers_it_was_asked_with():
    made = factory()
    key = count_member(made.baseline)[1]
    assert count_member(made.member(Multipliers(1.05, 1.01, 1.0)))[1] == key
    for other in (Multipliers(1.3, 1, 1), Multipliers(1, 1.2, 1), Multipliers(1, 1, 1.07)):
        assert count_member(made.member(other))[1] != key
    assert count_member(dataclasses.replace(made, classes=11).baseline)[1] != key


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (factories.no_module, "return a torch.nn.Module, got str"),
        (factories.too_many_logits, r"logits of shape \(n, 2\), got \(1, 3\)"),
        (factories.without_layers, "convolutions or linear layers"),
        (lambda depth: None, "cannot be built: TypeError"),
    ],
)
def test_a_bad_factory_is_one_clear_error(build, message):
    with pytest.raises(SettingsError, match=f"the baseline of --factory: .*({message})"):
        objective(build)


def test_an_objective_of_a_factory_keeps_the_contract():
    made = objective()
    assert isinstance(made, Objective)
    described = made.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described == made.describe()
    assert "network" not in described
    cost = count_member(factory(classes=2).baseline)[0]
    assert described["factory"] == {
        "name": "tests:plain", "resolution": 16, "classes": 2, **dataclasses.asdict(cost),
        "fingerprint": count_member(factory(classes=2).baseline)[1],
    }  # fmt: skip
    assert objective(factories.only_large_images).describe() != described
    assert objective(resolution=20).describe() != described


def test_a_factory_is_trained_by_the_recipe_and_its_seed():
    made, before = objective(phi=1.0), torch.random.get_rng_state()
    first = made.evaluate(RULES["equal"], seed=3)
    again, other = (made.evaluate(RULES["equal"], seed=seed) for seed in (3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(first.rungs) == [64, 128]
    assert (again.score, again.rungs, again.curves) == (first.score, first.rungs, first.curves)
    assert other.curves != first.curves
    assert isinstance(first.network, CountedNetwork)
    assert first.network == made.network(RULES["equal"]) == network_at(made, RULES["equal"])
    assert first.network.growth(FLOPS) == pytest.approx(2, rel=0.02)


def test_a_factory_learns():
    settings = dataclasses.replace(TRAIN, images_seen=1024)
    run = ProxyObjective(factory(), striped_images(), settings, phi=1.0).evaluate(RULES["equal"], seed=0)
    assert run.score > 0.9


def test_weights_come_from_the_seed_alone():
    member = factory().baseline
    weights = [build_member(member, seed)[0].weight for seed in (1, 1, 2, torch.Generator().manual_seed(1))]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(weights[3], build_member(member, torch.Generator().manual_seed(1))[0].weight)


def test_the_formula_alone_for_a_nominal_budget():
    network = objective(budget="nominal", phi=2.0).network(RULES["paper"])
    assert network.asked == multipliers(RULES["paper"], 2)
    assert (network.realised.depth, network.realised.width) == (network.asked.depth, network.asked.width)
    assert network.resolution == round(16 * 1.15**2)
    assert network.realised.resolution == network.resolution / 16


def test_a_network_that_cannot_be_trained_fails_its_trial_with_the_reason():
    with pytest.raises(TrialError, match="cannot be trained: RuntimeError: this network cannot be trained$") as caught:
        objective(factories.untrainable, budget="nominal").evaluate(RULES["resolution"], seed=0)
    assert caught.value.kind == "factory"


def test_what_a_study_shows_of_it():
    network = objective(phi=1.0).network(RULES["equal"])
    sizes = Sizes.of(network, FLOPS, 2.0)
    assert (sizes.cost, sizes.resolution) == (network.cost, network.resolution)
    assert sizes.cost_ratio == pytest.approx(1, rel=0.02)
    assert sizes.blocks is None


def test_growth_by_formula_and_count():
    network = CountedNetwork(
        "x", Multipliers(1, 1, 1), Multipliers(2, 1, 1.5), 24, Cost(30, 20, 10), Cost(10, 10, 10), "f"
    )
    assert [network.growth(model) for model in (FLOPS, PARAMETERS, ACTIVATIONS)] == [3, 2, 1]
    assert math.isclose(network.growth(CostModel(metric="formula")), 2 * 1.5**2)


def test_a_network_of_timm_as_a_factory():
    timm = require("timm")

    def resnet(depth, width, resolution, classes):
        layers = [max(1, round(2 * depth))] * 4
        channels = [max(8, round(planes * width)) for planes in (16, 32, 64, 128)]
        return timm.create_model("resnet18", layers=layers, channels=channels, num_classes=classes)

    network = match_factory(factory(resnet, 64), RULES["equal"], phi=2, cost_model=FLOPS)
    assert network.growth(FLOPS) == pytest.approx(4, rel=0.02)
