"""The command that compares cheap trainings with longer ones, and learning rates between shapes."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import objectives.training.train
from objectives.training.rate_plane import RatePlane
from objectives.training.settings import TrainSettings
from objectives.training.train import ProxyRun
from phiscale import (
    PROXY_BASE,
    PUBLISHED_RULES,
    PhiscaleError,
    SettingsError,
    StudyError,
    TrialError,
    match_budget,
)
from scripts.check_proxy import CheckOptions, check
from scripts.shared.rung_scores import ScoreTable, Setting
from scripts.shared.setup import ObjectiveSettings
from tests.test_scripts import command
from tests.tiny_data import striped_images

TRAIN = TrainSettings(
    device="cpu", images_seen=400, rungs=3, train_images=80, validation_images=40, batch_size=10, learning_rate=0.2
)
LENGTHS = (100, 200, 400)
NETWORKS = 15
Score = Callable[[Any, TrainSettings, int], float]


class Trainings:
    """Stands for training: scores by a function of spec, settings and length, with noise by seed."""

    def __init__(self, score: Score, noise: float = 0.0) -> None:
        self.score, self.noise = score, noise
        self.calls: list[tuple[str, TrainSettings, int, int]] = []
        self.fail_at: int | None = None
        self.error: Exception = TrialError("shape", "no such network")

    def __call__(self, spec: Any, data: Any, settings: TrainSettings, *, seed: int) -> ProxyRun:
        if self.fail_at == len(self.calls):
            raise self.error
        self.calls.append((spec.fingerprint, settings, seed, len(data.train_labels)))
        generator = np.random.default_rng([seed, *spec.fingerprint.encode(), round(1000 * settings.learning_rate)])
        scores = tuple(
            self.score(spec, settings, length) + self.noise * generator.standard_normal() for length in LENGTHS
        )
        return ProxyRun(lengths=LENGTHS, scores=scores, curves={}, seconds=8.0, device="cpu", peak_memory=1)


def height(spec: Any) -> float:
    """A value that orders networks of one cost: their resolution, then their depth."""
    return 0.01 * float(spec.resolution) + 0.001 * float(spec.total_repeats)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Longer trainings keep the order of networks, the shortest reverses it."""
    made = Trainings(lambda spec, _, length: -height(spec) if length == 100 else height(spec))
    monkeypatch.setattr(objectives.training.train, "train_proxy", made)
    return made


def options(folder: Path, **changes: Any) -> CheckOptions:
    return CheckOptions(**{"study": "c", "results": folder, "train": TRAIN, "rates": False, "seeds": 2, **changes})


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "c" / "fidelity.csv").read_text().splitlines()))


def answer(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "c" / "fidelity.json").read_text())


# the order of networks


def test_every_rung_is_compared_with_the_longest(tmp_path: Path, trainings: Trainings) -> None:
    check(options(tmp_path))
    found = answer(tmp_path)
    assert found["reference"] == "400 images seen, 80 distinct"
    assert [row["setting"] for row in found["settings"]] == [f"{n} images seen, 80 distinct" for n in (100, 200)]
    shortest, middle = found["settings"]
    assert shortest["spearman"]["value"] == pytest.approx(-1)
    assert middle["spearman"] == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert found["conclusion"].startswith("cheapest that keeps the order: 200 images seen")
    assert len(trainings.calls) == 2 * NETWORKS
    assert {call[2] for call in trainings.calls} == {0, 1}


def test_the_time_of_a_rung_is_its_part_of_the_steps(tmp_path: Path, trainings: Trainings) -> None:
    # steps of 10 images; rungs of 10, 20 and 40 steps with cooldowns of 2, 4 and 8: 46 steps in all
    check(options(tmp_path))
    found = answer(tmp_path)
    seconds = [row["seconds"] for row in found["settings"]] + [found["reference_seconds"]]
    assert seconds == pytest.approx([8 * 10 / 46, 8 * 22 / 46, 8 * 46 / 46], abs=1e-3)


def test_other_numbers_of_images_are_trained_as_long(tmp_path: Path, trainings: Trainings) -> None:
    check(options(tmp_path, images="40,80", train=dataclasses.replace(TRAIN, images_seen=None, epochs=400 / 80)))
    assert [call[3] for call in trainings.calls] == [80] * 2 * NETWORKS + [40] * 2 * NETWORKS
    assert {call[1].images_seen for call in trainings.calls} == {400}
    names = [row["setting"] for row in answer(tmp_path)["settings"]]
    assert names == [f"{n} images seen, {d} distinct" for d, ns in ((80, (100, 200)), (40, LENGTHS)) for n in ns]


def test_scores_are_compared_seed_by_seed(tmp_path: Path, trainings: Trainings) -> None:
    trainings.score, trainings.noise = lambda spec, _, length: height(spec), 0.01
    check(options(tmp_path, seeds=3))
    from search.fidelity import fidelity

    table = rows(tmp_path)
    order = list(dict.fromkeys(row["fingerprint"] for row in table))
    scores = {(int(r["rung"]), int(r["seed"]), r["fingerprint"]): float(r["score"]) for r in table}
    cheap, reference = ([[scores[n, seed, name] for name in order] for seed in range(3)] for n in (200, 400))
    found = answer(tmp_path)["settings"][1]
    assert found["spearman"] == pytest.approx(dataclasses.asdict(fidelity(cheap, reference))["spearman"])
    assert (found["networks"], found["seeds"]) == (NETWORKS, 3)


def test_an_order_that_is_noise_has_no_number(tmp_path: Path, trainings: Trainings, capsys) -> None:
    trainings.score, trainings.noise = lambda *_: 0.5, 0.1
    check(options(tmp_path))
    assert all(row["spearman"] is None for row in answer(tmp_path)["settings"])
    assert answer(tmp_path)["conclusion"].startswith("undetermined: the order of the reference")
    assert "undetermined" in capsys.readouterr().out


def test_a_training_that_ends_the_check_loses_only_itself(tmp_path: Path, trainings: Trainings) -> None:
    trainings.fail_at = 7
    with pytest.raises(StudyError, match="seed 0: no such network"):
        check(options(tmp_path))
    assert len(rows(tmp_path)) == 7 * len(LENGTHS)
    trainings.fail_at = None
    check(options(tmp_path))
    assert len(trainings.calls) == len({(call[0], call[2]) for call in trainings.calls}) == 2 * NETWORKS


def test_a_table_that_lacks_a_part_of_a_training_is_completed(tmp_path: Path, trainings: Trainings) -> None:
    check(options(tmp_path))
    path = tmp_path / "c" / "fidelity.csv"
    before = path.read_text()
    path.write_text("\n".join(before.splitlines()[:-1]) + "\n")
    check(options(tmp_path))
    assert path.read_text() == before
    assert len(trainings.calls) == 2 * NETWORKS + 1


def test_a_third_seed_trains_only_itself_and_another_rate_all(tmp_path: Path, trainings: Trainings) -> None:
    check(options(tmp_path))
    check(options(tmp_path, seeds=3))
    assert len(trainings.calls) == 3 * NETWORKS
    check(options(tmp_path, train=dataclasses.replace(TRAIN, learning_rate=0.1)))
    assert len(trainings.calls) == 5 * NETWORKS


# learning rates


def by_rate(tops: Callable[[Any], float]) -> Score:
    """Scores with their top, in log2 of the rate over 0.2, where ``tops`` says."""
    return lambda spec, train, _: 0.5 - 0.02 * (math.log2(train.learning_rate / 0.2) - tops(spec)) ** 2


def test_shapes_with_other_best_rates_get_a_plane(tmp_path: Path, trainings: Trainings, capsys) -> None:
    trainings.score = by_rate(lambda spec: 0.5 if spec.resolution > 40 else -0.5)
    trainings.noise = 0.001
    check(options(tmp_path, rates=True))
    plane = RatePlane.load(tmp_path / "c" / "rate-plane.json")
    depth, width, resolution = plane.rates
    assert (depth, width) == pytest.approx((0.2 * 2**-0.5,) * 2, rel=0.2)
    assert resolution == pytest.approx(0.2 * 2**0.5, rel=0.2)
    assert plane.found["train"]["learning_rate"] == 0.2
    found = answer(tmp_path)["rates"]
    assert found["shapes"] == ["depth", "width", "resolution", "equal"]
    assert [rung["images"] for rung in found["rungs"]] == [100, 400]
    assert "written" in found["conclusion"]
    assert "p of one best rate" in capsys.readouterr().out


def test_only_shapes_and_rates_that_are_missing_are_trained(tmp_path: Path, trainings: Trainings) -> None:
    check(options(tmp_path, rates=True))
    # three corners are of the lattice: at two more rates; equal shares at three
    assert len(trainings.calls) == 2 * (NETWORKS + 3 * 2 + 3)
    check(options(tmp_path, rates=True))
    assert len(trainings.calls) == 2 * (NETWORKS + 3 * 2 + 3)


def test_one_best_rate_gives_a_sentence_and_no_plane(tmp_path: Path, trainings: Trainings) -> None:
    trainings.score, trainings.noise = by_rate(lambda _: 0.25), 0.005
    check(options(tmp_path, rates=True, seeds=3))
    conclusion = answer(tmp_path)["rates"]["conclusion"]
    assert conclusion.startswith("one rate serves all shapes: best about 0.2")
    assert not (tmp_path / "c" / "rate-plane.json").exists()


def test_losses_are_best_where_they_are_lowest(tmp_path: Path, trainings: Trainings) -> None:
    best = by_rate(lambda _: 0.25)
    trainings.score = lambda *given: 1 - best(*given)
    check(options(tmp_path, rates=True, train=dataclasses.replace(TRAIN, score="log_loss")))
    assert answer(tmp_path)["rates"]["rungs"][1]["rates"] == pytest.approx([0.2 * 2**0.25] * 4)


def test_a_training_that_diverges_at_twice_the_rate_is_no_end(tmp_path: Path, trainings: Trainings) -> None:
    count = 2 * (NETWORKS + 3 * 2 + 3)
    trainings.fail_at, trainings.error = count - 1, TrialError("diverged", "expected a finite loss")
    check(options(tmp_path, rates=True))
    conclusion = answer(tmp_path)["rates"]["conclusion"]
    assert "equal diverged at 0.4; use a lower --train.learning-rate" in conclusion
    trainings.fail_at = None
    check(options(tmp_path, rates=True))
    assert answer(tmp_path)["rates"]["conclusion"] == conclusion
    assert len(trainings.calls) == count - 1
    assert not (tmp_path / "c" / "rate-plane.json").exists()


# mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 1}, "at least 2 seeds, got 1: noise is measured between"),
        ({"seeds": 0}, "at least 2 seeds"),
        ({"points": 5}, "at least 6 points"),
        ({"points": -3}, "at least 6 points"),
        ({"keep": float("nan")}, "keep in"),
        ({"keep": 1.0}, "keep in"),
        ({"images": "0"}, "whole numbers above 0"),
        ({"images": "1500,x"}, "whole numbers above 0"),
        ({"study": "../c"}, "study"),
        ({"measure": ObjectiveSettings(objective="a:b")}, "--objective"),
        ({"measure": ObjectiveSettings(rate_plane=Path("p.json"))}, "no --rate-plane"),
        ({"train": dataclasses.replace(TRAIN, rungs=1)}, "at least 2 rungs"),
        ({"train": dataclasses.replace(TRAIN, images_seen=40)}, "shortest rung"),
        ({"images": "100", "train": dataclasses.replace(TRAIN, train_images=40, batch_size=100)}, "shortest rung"),
        ({"measure": ObjectiveSettings(factory="a:b")}, "--factory"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_trained(
    tmp_path: Path, trainings: Trainings, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        check(options(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert trainings.calls == []


def test_too_few_networks_at_the_cost_are_said_before_training(tmp_path: Path, trainings: Trainings) -> None:
    with pytest.raises(PhiscaleError, match="at least 6 different networks at this cost"):
        check(options(tmp_path, measure=ObjectiveSettings(phi=0.001)))
    assert trainings.calls == []


def test_networks_of_a_factory_are_checked_too(tmp_path: Path) -> None:
    own = ObjectiveSettings(factory="tests.factories_for_tests:plain", resolution=12, cache=tmp_path / "cache")
    train = dataclasses.replace(TRAIN, images_seen=80, rungs=2, train_images=40)
    check(CheckOptions(study="c", results=tmp_path, measure=own, train=train, points=10, seeds=2, rates=False))
    trained = rows(tmp_path)
    networks = {row["fingerprint"] for row in trained}
    assert len(networks) >= 6
    assert len(trained) == 2 * 2 * len(networks)  # two seeds at two rungs
    assert answer(tmp_path)["conclusion"]


# as a person runs it


@pytest.mark.slow
def test_a_check_resumes_and_answers(tmp_path: Path) -> None:
    tiny = ("--train.train-images", "80", "--train.validation-images", "60", "--train.batch-size", "20")
    length = ("--train.images-seen", "80", "--train.rungs", "2", "--points", "6", "--phi", "1", "--seeds", "2")
    arguments = ("--study", "c", "--results", tmp_path, *tiny, *length)
    done = command("check_proxy", *arguments)
    assert done.returncode == 0, done.stderr
    assert answer(tmp_path)["conclusion"] in done.stdout
    assert "best learning rate" in done.stdout
    path = tmp_path / "c" / "fidelity.csv"
    before = path.read_text()
    path.write_text("\n".join(before.splitlines()[:-3]) + "\n")  # half of one training, and another
    again = command("check_proxy", *arguments)
    assert again.stdout.count(" distinct images, learning rate") == 2
    first, second = (
        {tuple(row[name] for name in row if name != "seconds") for row in csv.DictReader(text.splitlines())}
        for text in (before, path.read_text())
    )
    assert first == second
    assert len(path.read_text().splitlines()) == len(before.splitlines())
    path.write_text(before.splitlines()[0] + "\nx,1")
    damaged = command("check_proxy", *arguments)
    assert (damaged.returncode, "damaged table" in damaged.stderr) == (1, True)
    assert len(damaged.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("--seeds", "1"), ("--keep", "nan"), ("--epochs", "2"), ("--images", "x")])
def test_mistakes_end_with_status_2(tmp_path: Path, arguments: tuple[str, str]) -> None:
    done = command("check_proxy", "--study", "c", "--results", tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_score_of_zero_is_a_score(tmp_path: Path) -> None:
    data = striped_images()
    setting = Setting(data=data, train=TrainSettings(images_seen=256, batch_size=16, rungs=2))
    network = match_budget(PROXY_BASE, PUBLISHED_RULES["paper"].constants, phi=2)
    table = ScoreTable(tmp_path / "scores.csv")
    table.add(setting, network, 0, [(0.0, 1.0), (0.5, 2.0)])
    assert table.get(setting, network, 0) == [(0.0, 1.0), (0.5, 2.0)]
    assert ScoreTable(tmp_path / "scores.csv").get(setting, network, 0) == [(0.0, 1.0), (0.5, 2.0)]
