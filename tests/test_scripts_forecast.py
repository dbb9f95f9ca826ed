"""What run_search says before the first trial: data, length, networks, time; and that a dry run leaves nothing."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

from objectives.data.embedded import load_embedded
from objectives.proxy import ProxyObjective
from objectives.training.rungs import plan_rungs, total_steps
from objectives.training.settings import TrainSettings
from objectives.training.steps import TrainingSteps
from objectives.training.train import Trainer
from phiscale import FLOPS, PROXY_BASE, PUBLISHED_RULES
from phiscale.baselines import find_network
from scripts.shared.forecast import Forecast, describe_data, describe_horizon, forecast, network_table
from search.settings import SearchSettings
from tests.objectives_for_tests import NetworkObjective
from tests.test_scripts import search

SMALL = ("--train.images-seen", "256", "--train.batch-size", "16", "--train.train-images", "80")
SMALL += ("--train.validation-images", "40", "--phi", "1")


@pytest.fixture(scope="module")
def objective() -> ProxyObjective:
    train = TrainSettings(images_seen=256, batch_size=16, device="cpu")
    return ProxyObjective(PROXY_BASE, load_embedded(train_images=80, validation_images=40), train, phi=1)


def test_data_and_length_are_said_in_images_and_epochs(objective: ProxyObjective) -> None:
    data, length = describe_data(objective)
    assert data == "data embedded: 14 classes, 80 images to train on and 40 to score on, of 80; 32 x 32 pixels"
    seen = "256 images seen (3.2 epochs of the embedded images), scored at 32, 64, 128, 256 images seen"
    assert length == f"each training: {seen}"
    assert describe_data(NetworkObjective()) == []


def test_a_baseline_of_more_pixels_than_the_images_have_is_warned_about(objective: ProxyObjective) -> None:
    large = ProxyObjective(find_network("efficientnet-b0"), objective.data, objective.train, phi=0.5)
    _, warning, length = describe_data(large)
    assert warning.startswith("warning: efficientnet-b0 takes 224 x 224 pixels and the images have 32 x 32:")
    assert warning.endswith("--resolution 32 fits")  # 32 / 2**.25 is 26.9, and the stride is 32
    assert length.startswith("each training")


@pytest.mark.parametrize(
    ("resolution", "phi", "said"),
    [
        (64, 2.0, "proxy-base takes 64 x 64 pixels and the images have 32 x 32: "),
        (32, 2.0, "proxy-base grown by equal shares takes 40 x 40 pixels and the images have 32 x 32: "),
        (32, -2.0, None),
        (24, 2.0, None),  # 24 * 2**(2 / 6) is 30.2
    ],
)
def test_a_requested_resolution_whose_growth_outgrows_the_images_is_warned_about(
    objective: ProxyObjective, resolution: int, phi: float, said: str | None
) -> None:
    base = dataclasses.replace(PROXY_BASE, resolution=resolution)
    lines = describe_data(ProxyObjective(base, objective.data, objective.train, phi=phi))
    assert [line for line in lines if line.startswith("warning")] == (
        [f"warning: {said}more pixels cost time and add no information; --resolution 16 fits"] if said else []
    )


def test_the_first_line_says_what_was_done_to_the_images(objective: ProxyObjective) -> None:
    data = dataclasses.replace(objective.data, notes=("3 files skipped (3 .txt)",), warnings=("many are cut",))
    line, warning = data.describe()
    assert line.endswith("32 x 32 pixels; 3 files skipped (3 .txt)")
    assert warning == "warning: many are cut"


def test_a_horizon_out_of_reach_is_said_with_the_length_that_would_reach_it(objective: ProxyObjective) -> None:
    assert describe_horizon(objective, SearchSettings()) == []
    assert describe_horizon(objective, SearchSettings(horizon_epochs=6.4)) == [
        "horizon: 512 images seen (6.4 epochs of the embedded images)"
    ]
    far = describe_horizon(objective, SearchSettings(horizon_images=1025))
    assert far[0].startswith("horizon: 1,025 images seen")
    assert far[1].startswith("constants will be given for the longest rung: the horizon is 4 times the longest rung")
    assert far[1].endswith("a longest rung of 257 images seen could determine it")


def test_the_time_is_that_of_all_trainings_between_the_quickest_and_the_slowest(
    objective: ProxyObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[int] = []

    def estimate(_self: object, network: object) -> float:
        timed.append(network.cost.activations)  # type: ignore[attr-defined]
        return 10.0 if len(timed) == 1 else 30.0

    monkeypatch.setattr(ProxyObjective, "estimate_seconds", estimate)
    found = forecast(objective, SearchSettings(trials=30, seeds=2), FLOPS, 2)
    assert found == Forecast(60, 10.0, 30.0, 2)
    assert found.describe() == "about 10 minutes for 60 trainings of 10 seconds to 30 seconds each, 2 side by side"
    assert len(timed) == 2
    assert timed == sorted(timed)
    assert forecast(NetworkObjective(), SearchSettings(), FLOPS, 1) is None
    points = forecast(objective, SearchSettings(method="lattice", step=0.5, baselines="none"), FLOPS, 1)
    assert points is not None
    assert points.trainings == 6
    more = forecast(objective, SearchSettings(method="lattice", step=0.5, baselines="none", trials=16), FLOPS, 1)
    assert more == points


@pytest.mark.parametrize("most", [None, 6])
def test_an_estimate_is_made_of_the_time_of_a_step_and_of_scoring(
    objective: ProxyObjective, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    network = objective.network(PUBLISHED_RULES["width"].constants)
    clock = itertools.count(0.0, 5.0)  # five seconds for a step, and for scoring: no second step is timed
    monkeypatch.setattr("objectives.training.train.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    timed: list[int] = []
    if most is not None:  # a network as costly as that: few images are timed
        monkeypatch.setattr("objectives.training.train._TIMED_MACS", most * network.cost.macs + 1)
    scored = note_images(monkeypatch, timed)
    steps, images = total_steps(plan_rungs(objective.train, 80)), most or 16
    expected = 5.0 * steps * 16 / images + 4 * 5.0 * (80 + 40) / (min(80, most or 80) + min(40, most or 40))
    assert objective.estimate_seconds(network) == pytest.approx(expected)
    assert set(timed) == {images}
    assert set(scored) == {min(40, most or 40)}


def note_images(monkeypatch: pytest.MonkeyPatch, trained: list[int]) -> list[int]:
    """Note how many images each step trains on, and how many each scoring looks at."""
    scored: list[int] = []
    one, evaluate = TrainingSteps._one, Trainer._evaluate

    def step(self: TrainingSteps) -> None:
        trained.append(self._batch)
        one(self)

    def score(self: Trainer) -> tuple[float, float]:
        scored.append(len(self._validation))
        return evaluate(self)

    monkeypatch.setattr(TrainingSteps, "_one", step)
    monkeypatch.setattr(Trainer, "_evaluate", score)
    return scored


def test_every_planned_network_stands_in_the_table_with_its_cost(objective: ProxyObjective) -> None:
    lines = network_table(objective, SearchSettings(baselines="paper,width"), FLOPS).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["paper", "width"]
    assert "MACs" in lines[0]
    growth = [float(line.split()[-1]) for line in lines[1:]]
    assert growth == pytest.approx([2.0, 2.0], rel=0.02)
    axes = network_table(objective, SearchSettings(baselines="none"), FLOPS).splitlines()
    assert [line.split()[0] for line in axes[1:]] == ["depth", "width", "resolution", "equal"]


def test_a_dry_run_prints_the_plan_and_leaves_nothing(tmp_path: Path) -> None:
    done = search(tmp_path / "results", "--study", "s", "--trials", "9", "--dry-run", *SMALL)
    assert done.returncode == 0, done.stderr
    for text in ("data embedded", "each training: 256 images seen", "resolution", "time: about", "9 trainings"):
        assert text in done.stdout
    assert not (tmp_path / "results").exists()
    wrong = search(tmp_path / "results", "--study", "s", "--horizon-images", "5", "--dry-run", *SMALL)
    assert (wrong.returncode, "expected a horizon of at least the shortest rung of 32" in wrong.stderr) == (2, True)


def test_a_search_says_its_plan_before_the_first_trial(tmp_path: Path) -> None:
    done = search(tmp_path, "--study", "s", "--trials", "1", "--baselines", "paper", *SMALL)
    assert done.returncode == 0, done.stderr
    before, _, _ = done.stdout.partition("trial 0")
    assert "each training: 256 images seen (3.2 epochs of the embedded images)" in before
    assert "time: about" in before
