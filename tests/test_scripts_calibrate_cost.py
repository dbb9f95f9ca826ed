"""Fitting cost models, and searching on them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from objectives.training.device import device_name
from objectives.training.settings import TrainSettings
from objectives.training.timing import measure
from phiscale import PROXY_BASE, CostModel, DataError, Multipliers, NetworkSpec, StudyError, TrialError, count_cost
from phiscale.calibration import Calibration
from scripts.calibrate_cost import CalibrateOptions, calibrate, design, fit
from search.cost_fit import fit_exponents
from tests.test_scripts import command, search, trials

DESIGN = [Multipliers(*point) for point in itertools.product((1.0, 2.0, 4.0), (1.0, 1.5), (1.0, 1.4))]


def cost(m: Multipliers, a: float, b: float, c: float) -> float:
    return 3.0 * m.depth**a * m.width**b * m.resolution**c


def test_exponents_of_a_power_law_are_found_exactly() -> None:
    found = fit_exponents(DESIGN, [cost(m, 0.8, 1.3, -0.4) for m in DESIGN])
    assert found.exponents == pytest.approx((0.8, 1.3, -0.4))
    assert found.half_widths == pytest.approx((0, 0, 0), abs=1e-6)
    assert found.r_squared == pytest.approx(1)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator, held = np.random.default_rng(0), 0
    for _ in range(300):
        costs = [cost(m, 1, 2, 2) * math.exp(0.1 * generator.standard_normal()) for m in DESIGN]
        found = fit_exponents(DESIGN, costs)
        held += abs(found.exponents[1] - 2) <= found.half_widths[1]
    assert 0.90 <= held / 300 <= 0.99


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_impossible_costs_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="finite and above 0"):
        fit_exponents(DESIGN, [bad] * len(DESIGN))


def test_a_design_that_moves_two_axes_only_is_refused() -> None:
    flat = [Multipliers(m.depth, m.width, 1.0) for m in DESIGN]
    with pytest.raises(DataError, match="differ in every axis"):
        fit_exponents(flat, [1.0] * len(flat))


def test_counted_exponents_are_near_the_formula(tmp_path: Path) -> None:
    for metric, exponents in (("params", (1, 2, 0)), ("macs", (1, 2, 2)), ("activations", (1, 1, 2))):
        path = tmp_path / f"{metric}.json"
        arguments = ("--metric", metric, "--network", "efficientnet-b0", "--output", path)
        done = command("calibrate_cost", *arguments)
        assert done.returncode == 0, done.stderr
        found = Calibration.load(path)
        assert found.estimates == pytest.approx(exponents, abs=0.2)
        assert found.r_squared > 0.99
        assert found.cost_model.metric == metric


@pytest.mark.parametrize("metric", ["latency", "train-step", "memory"])
def test_a_larger_network_measures_more(metric) -> None:
    settings = TrainSettings(device="cpu")
    larger = dataclasses.replace(PROXY_BASE, resolution=96)
    small, large = (measure(spec, metric, settings, batch=8, repeats=3)[0] for spec in (PROXY_BASE, larger))
    assert large > 2 * small > 0


def test_memory_on_a_cpu_is_at_least_what_must_be_kept() -> None:
    kept, _ = measure(PROXY_BASE, "memory", TrainSettings(device="cpu"), batch=8, repeats=1)
    counted = count_cost(PROXY_BASE)
    assert kept >= 4 * (8 * counted.activations + 3 * counted.params)


def test_a_search_holds_the_measured_cost_equal(tmp_path: Path) -> None:
    model = CostModel(0.7, 1.2, 1.6, 2.0, "formula")
    path = tmp_path / "model.json"
    Calibration(
        cost_model=model, measured="latency", unit="seconds", estimates=(0.7, 1.2, 1.6), half_widths=(0.1,) * 3,
        r_squared=0.99, points=27, network="proxy-base", device="cpu",
    ).save(path)  # fmt: skip
    images = ("--train.train-images", "60", "--train.validation-images", "30")
    tiny = (*images, "--train.images-seen", "64", "--train.rungs", "1")
    done = search(tmp_path, "--study", "s", "--cost-model", path, "--trials", "3", "--baselines", "paper,equal", *tiny)
    assert done.returncode == 0, done.stderr
    for row in trials(tmp_path):
        sizes = Multipliers(*(float(row[f"realised_{axis}"]) for axis in ("depth", "width", "resolution")))
        assert model.growth(sizes) / 4 == pytest.approx(1, abs=0.02)
    (tmp_path / "broken.json").write_text("{")
    done = search(tmp_path, "--study", "t", "--cost-model", tmp_path / "broken.json")
    assert (done.returncode, "broken.json" in done.stderr) == (1, True)


@pytest.mark.slow
def test_networks_are_measured_in_other_processes_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    words = ("--metric", "memory", "--batch", "2", "--repeats", "1", "--train.device", "cpu", "--output", path)
    found = []
    for workers in ("1", "2"):
        done = command("calibrate_cost", *words, "--workers", workers)
        assert done.returncode == 0, done.stderr
        assert f"27 networks on {device_name(torch.device('cpu'))}" in done.stdout
        found.append(Calibration.load(path).estimates)
    assert found[0] == pytest.approx(found[1], rel=0.05)


def test_a_measurement_that_fails_ends_in_its_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> float:
        raise TrialError("out-of-memory", "the network does not fit")

    monkeypatch.setattr("objectives.training.timing.measure", fail)
    with pytest.raises(TrialError, match="^the network does not fit$"):
        calibrate(CalibrateOptions(metric="latency", output=tmp_path / "x.json"))
    assert not (tmp_path / "x.json").exists()


def test_the_file_says_how_it_was_measured_and_two_ways_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    ways = itertools.repeat("a GPU, replayed")

    def act(spec: NetworkSpec, *_: object, batch: int | None, repeats: int) -> tuple[float, str]:
        asked.append(batch)
        return float(count_cost(spec).macs), next(ways)

    monkeypatch.setattr("objectives.training.timing.measure", act)
    options = CalibrateOptions(metric="train-step", output=tmp_path / "step.json")
    calibrate(options)
    assert set(asked) == {None}  # that of trainings
    assert Calibration.load(options.output).device == "a GPU, replayed"
    ways = itertools.cycle(["a GPU, replayed", "a GPU, launched"])
    with pytest.raises(StudyError, match="in one way, got a GPU, launched and a GPU, replayed; use"):
        calibrate(options)


def test_mistakes_end_in_one_sentence(tmp_path: Path) -> None:
    for arguments, status in (
        (("--metric", "joy", "--output", "x.json"), 2),
        (("--metric", "macs"), 2),
        (("--metric", "macs", "--output", tmp_path / "x.json", "--target", "1"), 2),
        (("--metric", "latency", "--output", tmp_path / "x.json", "--batch", "0"), 2),
        (("--metric", "latency", "--output", tmp_path / "x.json", "--workers", "0"), 2),
    ):
        done = command("calibrate_cost", *arguments)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr


def test_an_axis_that_costs_nothing_measurable_leaves_the_cost_model() -> None:
    options = CalibrateOptions(metric="latency", output=Path("x.json"))
    networks = design(PROXY_BASE)

    def fitted(depth: float) -> Calibration:
        costs = [cost(network.realised, depth, 1.5, 1.0) for network in networks]
        return fit(networks, costs, options, "seconds", "cpu")

    for depth in (0.01, -0.3):
        found = fitted(depth)
        assert found.cost_model.depth == 0
        assert found.estimates[0] == pytest.approx(depth)
        assert found.cost_model.width == pytest.approx(1.5)
        assert any("depth costs nothing measurable" in note for note in found.notes)
    assert fitted(0.05).cost_model.depth == pytest.approx(0.05)
    with pytest.raises(DataError, match="cost that grows"):
        fit(networks, [3.0] * len(networks), options, "seconds", "cpu")
