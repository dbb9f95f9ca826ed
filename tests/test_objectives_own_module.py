"""A person's own module: counted where the meta device cannot make it, and scored by its logits alone."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from torch import nn

from objectives.networks.factory import Factory, match_factory, nominal_factory
from objectives.networks.own_module import build_member, count_member, first_line, logits_of
from objectives.proxy import ProxyObjective
from objectives.training.settings import TrainSettings
from phiscale import FLOPS, PUBLISHED_RULES, BudgetError, Multipliers, ScalingConstants, SettingsError, TrialError
from tests import factories_for_tests as factories
from tests.tiny_data import striped_images

TRAIN = TrainSettings(device="cpu", images_seen=128, rungs=2, learning_rate=0.05)
EQUAL = PUBLISHED_RULES["equal"].constants


def factory(build, resolution=16, classes=10):
    return Factory(name="tests:build", build=build, resolution=resolution, classes=classes)


def objective(build, **changes):
    return ProxyObjective(factory(build), striped_images(64), TRAIN, **{"phi": 1.0, **changes})


@pytest.mark.parametrize(
    "build", [factories.counts_values, factories.moved, factories.values_in_forward, factories.lazy]
)
@pytest.mark.parametrize("point", [Multipliers(1, 1, 1), Multipliers(2, 1.5, 1.25)])
def test_what_the_meta_device_lacks_is_counted_all_the_same(build, point):
    before = torch.random.get_rng_state()
    assert count_member(factory(build).member(point))[0] == count_member(factory(factories.plain).member(point))[0]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_lazy_layers_have_weights_of_the_seed_and_are_trained():
    weights = [build_member(factory(factories.lazy).baseline, seed)[0].weight for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    made = objective(factories.lazy)
    made.try_factory()
    assert made.evaluate(EQUAL, seed=0).network.growth(FLOPS) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("form", factories.FORMS)
def test_of_an_output_of_parts_the_logits_are_trained_and_scored(form):
    parts, plain = (objective(build) for build in (factories.with_parts(form), factories.plain))
    parts.try_factory()
    found = parts._train(parts.growth.network_at(EQUAL, 0.0, "nominal"), 0)
    assert found.scores == plain._train(plain.growth.network_at(EQUAL, 0.0, "nominal"), 0).scores


def test_logits_of_an_output_without_parts_are_the_output():
    assert logits_of(()) == ()
    assert logits_of(3) == 3


def test_attention_is_counted_in_full():
    def build(depth, width, resolution, classes):
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), Turned(), layer, Mean(), nn.Linear(8, classes))

    class Turned(nn.Module):
        def forward(self, x):
            return x.transpose(1, 2)

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(1)

    # 16 tokens of 8 channels: patches, q, k, v and output, scores and their sum over values, two layers of 16, classes.
    macs = 16 * (48 * 8 + 4 * 8 * 8 + 2 * 16 * 8 + 2 * 8 * 16) + 80
    made = factory(build)
    assert count_member(made.baseline)[0].macs == macs
    assert made.baseline.count(made.baseline.make().eval(), "cpu").macs == macs  # where torch would fuse the layer


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (factories.untrainable, "the baseline of --factory: .*cannot be trained: RuntimeError: this network cannot"),
        (
            factories.loads_weights,
            "the networks of --factory: tests:build at .* cannot be built: RuntimeError: Error.*: Missing",
        ),
        (
            factories.wrong_in_training,
            r"the baseline of --factory: expected tests:build to give logits .*got \(32, 3\)",
        ),
        (factories.lost_attribute, "the baseline of --factory: .* cannot be trained: AttributeError: .*'nothing'"),
    ],
)
def test_what_no_trial_could_train_ends_before_the_study(build, message):
    with pytest.raises(SettingsError, match=message) as caught:
        objective(build).try_factory()
    assert "\n" not in str(caught.value)


def test_any_exception_of_the_module_fails_its_trial():
    with pytest.raises(TrialError, match="tests:build at depth 1, .*AttributeError") as caught:
        objective(factories.lost_attribute, budget="nominal").evaluate(ScalingConstants(1, 1, 2**0.5), seed=0)
    assert caught.value.kind == "factory"


def test_the_first_line_says_what_it_announces():
    assert first_line(RuntimeError("Error(s) in loading:\n\tsize mismatch\n more")) == (
        "RuntimeError: Error(s) in loading: size mismatch"
    )
    assert first_line(ValueError("one\ntwo")) == "ValueError: one"
    assert first_line(KeyError()) == "KeyError"


def test_sizes_that_cannot_be_built_are_holes():
    made = factory(factories.in_groups)
    assert (made.step, made.describe()["resolution_multiple"]) == (4, 4)
    for shares, phi in (((0, 0, 1), 1), ((0.25, 0.5, 0.25), 1), ((1, 0, 0), 2)):
        constants = ScalingConstants(*(2 ** (share / power) for share, power in zip(shares, (1, 2, 2), strict=True)))
        network = match_factory(made, constants, phi=phi, cost_model=FLOPS)
        assert network.growth(FLOPS) == pytest.approx(2**phi, rel=0.02)
        assert network.resolution % 4 == 0
        assert network.spec.make()[1].out_channels % 8 == 0
    asked = nominal_factory(made, ScalingConstants(1.3, 1.3, 1.3), 1)  # 10.4 blocks, 166 channels, 20.8 pixels
    assert (len(asked.spec.make()) - 5) / 3 == 10
    assert (asked.spec.make()[1].out_channels, asked.resolution, asked.realised.resolution) == (168, 20, 1.25)
    assert (asked.asked.depth, asked.asked.width) == (1.3, 1.3)


def test_a_hole_that_nothing_near_fills_says_why():
    def build(depth, width, resolution, classes):
        if width > 1.01:
            raise ValueError("no wider network exists")
        return factories.plain(depth, width, resolution, classes)

    with pytest.raises(BudgetError, match="cannot be built: ValueError: no wider network exists"):
        match_factory(factory(build), PUBLISHED_RULES["width"].constants, phi=2, cost_model=FLOPS)


def test_a_stated_multiple_holds_for_every_side():
    @functools.wraps(factories.plain)
    def build(*sizes):
        return factories.plain(*sizes)

    build.resolution_multiple = 8
    made = factory(build, 24)
    assert [made.pixels(multiplier) for multiplier in (0.01, 0.9, 1, 1.1, 1.2, 1.5, 2)] == [8, 24, 24, 24, 32, 40, 48]
    for name in ("paper", "equal", "resolution"):
        network = match_factory(made, PUBLISHED_RULES[name].constants, phi=1, cost_model=FLOPS)
        assert network.resolution % 8 == 0
        assert network.growth(FLOPS) == pytest.approx(2, rel=0.02)
    with pytest.raises(SettingsError, match="--resolution that is a multiple of 8 for tests:build, got 20"):
        _ = factory(build, 20).step
    build.resolution_multiple = 0
    with pytest.raises(SettingsError, match="resolution_multiple of tests:build to be at least 1"):
        _ = factory(build, 24).step


def test_the_baseline_that_nobody_sized_has_a_side_that_can_be_built():
    assert Factory.fit("x", factories.plain, 27).resolution == 27
    assert Factory.fit("x", factories.in_groups, 27).resolution == 24
    assert Factory.fit("x", factories.in_groups, 3).resolution == 4
    assert Factory.fit("x", factories.no_module, 27).resolution == 27  # whose error the objective raises
    stated = functools.partial(factories.plain)
    stated.resolution_multiple = 10
    assert [Factory.fit("x", stated, most).resolution for most in (27, 3)] == [20, 10]


def test_studies_of_networks_without_holes_are_described_as_ever():
    assert "resolution_multiple" not in factory(factories.plain).describe()
    assert dataclasses.replace(factory(factories.in_groups), classes=3).describe()["classes"] == 3
