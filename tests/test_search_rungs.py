"""Studies whose trials are scored at rungs: what is kept, what is refused, and the horizon that is asked for."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objectives.contract import Evaluation
from objectives.landscape import INTERIOR
from objectives.power_law import MOVING
from phiscale import FLOPS, SearchRecord, SettingsError, StudyError
from search.measurements import measurements
from search.results import write_results
from search.settings import SearchSettings
from search.study import load_study
from search.trial import trials_of
from tests.objectives_for_tests import WITH_RUNGS
from tests.search_for_tests import complete, run

LENGTHS = [20_000, 40_000, 80_000, 160_000]


class Law:
    """The moving law; ``change`` is done to the evaluations of the given calls, from 1, and to its description."""

    direction = "maximize"

    def __init__(
        self, change: Callable[[Evaluation], Any] | None = None, calls: tuple[int, ...] = (), **described: Any
    ) -> None:
        self.change, self.changed, self.described, self.calls = change, calls, described, 0

    def describe(self) -> dict[str, Any]:
        found = {**MOVING.describe(), **self.described}
        return {name: value for name, value in found.items() if value is not ...}

    def network(self, constants: Any) -> None:
        pass

    def evaluate(self, constants: Any, *, seed: int) -> Any:
        self.calls += 1
        evaluation = MOVING.evaluate(constants, seed=seed)
        return self.change(evaluation) if self.change and self.calls in self.changed else evaluation


def with_rungs(**changes: Any) -> Callable[[Evaluation], Evaluation]:
    return lambda evaluation: dataclasses.replace(evaluation, **changes)


def at(change: Callable[[dict[int, float]], Any]) -> Callable[[Evaluation], Evaluation]:
    return lambda evaluation: dataclasses.replace(evaluation, rungs=change(dict(evaluation.rungs)))


def one_sentence(error: Any) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("expected ")
    return message


# what is kept


def test_a_trial_keeps_its_rungs_and_shows_them_as_intermediate_values(tmp_path: Path) -> None:
    study, _ = run(tmp_path, WITH_RUNGS, trials=4, seeds=2)
    for trial in complete(study):
        assert trial.user_attrs["rungs"] == [1500, 3000, 6000, 12_000]
        scores = trial.user_attrs["rung_scores"]
        assert [len(each) for each in scores] == [4, 4]
        assert [each[-1] for each in scores] == trial.user_attrs["scores"]
        means = [statistics.fmean(pair) for pair in zip(*scores, strict=True)]
        assert list(trial.intermediate_values) == trial.user_attrs["rungs"]
        assert list(trial.intermediate_values.values()) == pytest.approx(means)
        assert trial.value == pytest.approx(means[-1])
    for row in measurements(trials_of(study.get_trials(), FLOPS), FLOPS):
        assert row.rungs == (1500, 3000, 6000, 12_000)
        assert tuple(each[-1] for each in row.rung_scores) == row.scores
    table = (tmp_path / "s").with_name("t")
    write_results(study, table, FLOPS, SearchSettings())
    assert json.dumps([1500, 3000, 6000, 12_000]) in (table / "trials.csv").read_text()


def test_trials_of_one_network_are_one_measurement_with_all_their_rungs(tmp_path: Path) -> None:
    study, _ = run(tmp_path, WITH_RUNGS, trials=20, replicate="auto", method="qmc")
    repeated = [row for row in measurements(trials_of(study.get_trials(), FLOPS), FLOPS) if len(row.trials) > 1]
    assert repeated
    for row in repeated:
        assert len(row.scores) == len(row.rung_scores) == len(row.trials)
        assert tuple(each[-1] for each in row.rung_scores) == row.scores


def test_rungs_of_numpy_are_numbers(tmp_path: Path) -> None:
    as_numpy = at(lambda rungs: {np.int64(length): np.float64(score) for length, score in rungs.items()})
    study, _ = run(tmp_path, Law(as_numpy, (1, 2, 3)), trials=3)
    assert [trial.user_attrs["rungs"] for trial in complete(study)] == [LENGTHS] * 3


# evaluations that break the promise

BROKEN = {
    "missing": (with_rungs(rungs={}), "at the rungs [20000, 40000, 80000, 160000] that all trials .*, got none"),
    "shorter": (at(lambda rungs: {160_000: rungs[160_000]}), "that all trials .* got [160000]"),
    "another": (
        lambda e: dataclasses.replace(e, score=0.9, rungs={**e.rungs, 320_000: 0.9}),
        "that all trials of the study share, got [20000, 40000, 80000, 160000, 320000]",
    ),
    "unordered": (at(lambda rungs: dict(reversed(rungs.items()))), "rising order of images seen, got [160000"),
    "none at all": (at(lambda rungs: {0: 0.1, **rungs}), "at rungs of whole numbers above 0, got"),
    "not the last": (with_rungs(score=0.123), "that of the longest rung, 0.*, got 0.123"),
    "no mapping": (with_rungs(rungs=[0.1, 0.2]), "whose scores are numbers"),
    "nothing": (with_rungs(rungs=None), "whose scores are numbers"),
    "words": (at(lambda rungs: {**rungs, 160_000: "good"}), "whose scores are numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("stated", [True, False])
def test_rungs_that_are_not_those_of_the_study_end_it_and_lose_nothing(tmp_path: Path, name: str, stated: bool) -> None:
    change, message = BROKEN[name]
    journal = str(tmp_path / "s.journal")
    described = {} if stated else {"rungs": ...}
    with pytest.raises(SettingsError) as caught:
        run(tmp_path, Law(change, (4,), **described), trials=9, storage=journal)
    said = one_sentence(caught)
    for part in message.split(".*"):
        assert part in said
    before = [(trial.params, trial.value) for trial in complete(load_study("s", tmp_path / "s", journal))]
    assert len(before) == 3
    study, _ = run(tmp_path, Law(**described), trials=9, storage=journal)
    done = complete(study)
    assert len(done) == 9
    assert [(trial.params, trial.value) for trial in done[:3]] == before
    assert [trial.user_attrs["redo_of"] for trial in done if "redo_of" in trial.user_attrs] == [3]


def test_the_seeds_of_one_trial_share_their_rungs_too(tmp_path: Path) -> None:
    """The first trial of an objective that does not state its rungs: nothing else says what they are."""
    for index, name in enumerate(("shorter", "another", "missing")):
        with pytest.raises(SettingsError, match="that all trials of the study share"):
            run(tmp_path / str(index), Law(BROKEN[name][0], (2,), rungs=...), trials=3, seeds=2)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_rung_without_a_finite_score_fails_its_trial(tmp_path: Path, length: int, score: float) -> None:
    objective = Law(at(lambda rungs: {**rungs, length: score}), (3,))
    study, _ = run(tmp_path, objective, trials=6, baselines="none", storage=str(tmp_path / "s.journal"))
    (failed,) = [trial for trial in study.trials if trial.state.name == "FAIL"]
    assert failed.user_attrs["failure_kind"] == "diverged"
    assert f"expected a finite score at {length} images, got {score}" in failed.user_attrs["failure"]
    assert (len(study.trials), len(complete(study)), objective.calls) == (6, 5, 6)
    assert not any("redo_of" in trial.user_attrs for trial in study.trials)


@pytest.mark.parametrize(
    "rungs", [[2, 1], [1, 1], [0, 1], [-1], [1.5, 2], [True, 2], "1, 2", {"1": 2}, 5, [[1]], ["1", "2"]]
)
def test_a_description_of_impossible_rungs_is_refused_before_any_evaluation(tmp_path: Path, rungs: Any) -> None:
    objective = Law(rungs=rungs)
    with pytest.raises(SettingsError, match=r"'rungs' in the objective's describe\(\)") as caught:
        run(tmp_path, objective, trials=3)
    one_sentence(caught)
    assert objective.calls == 0
    assert not (tmp_path / "s" / "study.db").exists()


def test_a_study_with_other_rungs_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    run(tmp_path, Law(), trials=5)
    other = Law(rungs=[40_000, 80_000, 160_000])
    with pytest.raises(StudyError, match="rungs"):
        run(tmp_path, other, trials=8)
    assert other.calls == 0
    study, _ = run(tmp_path, Law(), trials=8)
    assert (len(complete(study)), len(study.trials)) == (8, 8)


# the horizon


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *(
            ({"horizon_images": value}, "horizon_images to be (at least 1|a whole)")
            for value in (0, -1, 1.5, math.nan, True)
        ),
        *(
            ({"horizon_epochs": value}, "the horizon in epochs to be (above 0|finite)")
            for value in (0, -1.0, math.nan, math.inf)
        ),
        ({"horizon_epochs": 2, "horizon_images": 100}, "in epochs or in images seen, got both"),
    ],
)
def test_an_impossible_horizon_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        SearchSettings(**settings)
    one_sentence(caught)


@pytest.mark.parametrize(
    ("objective", "settings", "message"),
    [
        (Law(), {"horizon_images": 19_999}, "at least the shortest rung of 20,000 images seen, got 19,999"),
        (Law(), {"horizon_epochs": 0.5}, "at least the shortest rung of 20,000 images seen, got 10,000"),
        (Law(), {"horizon_epochs": 1e-9}, "at least the shortest rung of 20,000 images seen, got 0"),
        (Law(data=...), {"horizon_epochs": 2}, "data whose epoch is known for --horizon-epochs; use --horizon-images"),
        *(
            (Law(data={"epoch_images": one}), {"horizon_epochs": 2}, "data whose epoch is known")
            for one in (None, 0, -5, "many")
        ),
        (Law(rungs=...), {"horizon_images": 50_000}, "scores at rungs for a horizon, got one without"),
        (INTERIOR, {"horizon_epochs": 2}, "scores at rungs for a horizon, got one without"),
        (Law(rungs=[160_000]), {"horizon_images": 320_000}, "two rungs or more for a horizon beyond them, got one"),
    ],
)
def test_a_horizon_of_which_nothing_can_be_said_is_refused_before_any_evaluation(
    tmp_path: Path, objective: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        run(tmp_path, objective, trials=3, **settings)
    assert message in one_sentence(caught)
    assert "--train" not in str(caught.value)  # which an own objective cannot take
    assert getattr(objective, "calls", 0) == 0
    assert not (tmp_path / "s" / "study.db").exists()


def test_a_study_goes_on_with_another_horizon_and_trains_nothing_again(tmp_path: Path) -> None:
    objective, found = Law(), []
    for trials, settings in (
        (16, {}),
        (16, {"horizon_images": 320_000}),
        (16, {"horizon_epochs": 4}),
        (18, {"horizon_images": 10**9}),
        (18, {"horizon_epochs": 1e300}),
    ):
        study, _ = run(tmp_path, objective, trials=trials, **settings)
        record = write_results(study, tmp_path / "s", FLOPS, SearchSettings(trials=trials, **settings))
        assert SearchRecord.load(tmp_path / "s" / "constants.json") == record
        found.append(record)
        assert (len(complete(study)), objective.calls) == (trials, trials)
    assert [record.horizon and record.horizon.images for record in found[:4]] == [None, 320_000, 80_000, 10**9]
    assert found[0].length is not None
    assert found[0].length.images == 160_000
    at_rung = found[2]
    assert at_rung.horizon is not None
    assert at_rung.horizon.determined
    assert at_rung.length is not None
    assert (at_rung.length.images, at_rung.length.epochs) == (80_000, 4)
    for far in found[3:]:
        assert far.horizon is not None
        assert not far.horizon.determined
        assert "nothing is claimed beyond 4 times" in far.horizon.reason
        assert far.length is not None
        assert far.length.images == 160_000


@pytest.mark.slow
def test_the_search_aims_at_the_horizon(tmp_path: Path) -> None:
    """Later trials of the surface lie nearer to the best constants at the horizon than without one."""
    best = np.array(MOVING.best_shares(640_000))
    distances: tuple[list[float], list[float]] = ([], [])
    for seed, horizon in itertools.product((0, 1), (None, 640_000)):
        study, _ = run(tmp_path / f"{seed} {horizon}", Law(), trials=40, seed=seed, horizon_images=horizon)
        chosen = [trial.user_attrs for trial in complete(study)[12:] if "spread" not in trial.user_attrs]
        places = np.array([[a[f"share_{axis}"] for axis in ("depth", "width", "resolution")] for a in chosen])
        distances[horizon is not None].append(np.abs(places - best).max(axis=1).mean())
    assert np.mean(distances[1]) < np.mean(distances[0]) - 0.03
