"""How the best shares move with the length of training, and what is seen at every rung."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from objectives.power_law import MOVING, PowerLawObjective
from phiscale import FLOPS, Shares
from phiscale.triangle import lattice
from search.aim import Aim
from search.drift import Drift, drift, rung_summaries
from search.history import History
from search.horizon import plain_scale
from search.recommendation import REGION_STEPS, as_array, recommend
from search.settings import SearchSettings
from search.stopping import reason_to_stop
from search.trial import trials_of
from tests.search_for_tests import run
from tests.test_search_horizon import RUNGS, rows_of

STILL = dataclasses.replace(MOVING, drift=(0.0, 0.0, 0.0), optimum=Shares(0.3, 0.4, 0.3))


def drift_of(objective: PowerLawObjective, seed: int):
    rows = rows_of(objective, 40, seed)
    scores = np.array([row.rung_scores[0] for row in rows])
    arguments = as_array([row.shares for row in rows]), scores, RUNGS, plain_scale("maximize")
    return drift(*arguments, lattice(REGION_STEPS, FLOPS)), rung_summaries(*arguments, lattice(REGION_STEPS, FLOPS))


def is_seen(found: Drift) -> bool:
    """Whether the interval of any share leaves 0 out."""
    return any(not shift.low <= 0 <= shift.high for shift in (found.depth, found.width, found.resolution))


def test_the_interval_of_the_drift_holds_it_and_it_is_seen_only_where_it_is() -> None:
    held, seen, seen_still = 0, 0, 0
    for seed in range(10):
        found, summaries = drift_of(MOVING, seed)
        assert found is not None
        shifts = (found.depth, found.width, found.resolution)
        inside = [shift.low <= true <= shift.high for shift, true in zip(shifts, MOVING.drift, strict=True)]
        held += sum(inside)
        seen += is_seen(found)
        assert [summary.images for summary in summaries] == list(RUNGS)
        for shift in shifts:
            assert shift.low <= shift.value <= shift.high
        still, _ = drift_of(STILL, seed)
        assert still is not None
        seen_still += is_seen(still)
    assert held >= 0.8 * 30
    assert seen >= 9
    assert seen_still <= 3


def test_the_path_follows_the_optimum_and_its_noise_is_that_of_the_scores() -> None:
    quiet = dataclasses.replace(MOVING, noise=1e-4)
    _, summaries = drift_of(quiet, 0)
    for summary in summaries:
        assert summary.optimum.as_tuple() == pytest.approx(quiet.best_shares(summary.images), abs=0.08)
    _, loud = drift_of(dataclasses.replace(MOVING, noise=0.01), 0)
    assert [summary.noise for summary in loud] == pytest.approx([0.01] * 4, rel=0.5)
    assert all(0 < summary.noise_part < 1 for summary in loud)


def test_every_rung_has_its_own_uncertainty_though_all_score_the_same() -> None:
    rows = rows_of(dataclasses.replace(STILL, noise=0.02), 20, 0)
    shares, scores = as_array([row.shares for row in rows]), np.array([row.rung_scores[0] for row in rows])
    same = np.repeat(scores[:, :1], 4, axis=1)
    found = drift(shares, same, RUNGS, plain_scale("maximize"), lattice(REGION_STEPS, FLOPS))
    assert found is not None
    for shift in (found.depth, found.width, found.resolution):
        assert shift.low < 0 < shift.high
    assert not is_seen(found)


def test_a_rung_of_equal_scores_shows_no_optimum() -> None:
    rows = rows_of(MOVING, 20, 0)
    shares = as_array([row.shares for row in rows])
    scores = np.array([row.rung_scores[0] for row in rows])
    scores[:, :2] = 0.1
    arguments = shares, scores, RUNGS, plain_scale("maximize"), lattice(REGION_STEPS, FLOPS)
    assert [summary.images for summary in rung_summaries(*arguments)] == list(RUNGS[2:])
    assert drift(*arguments) is not None
    scores[:, 2] = 0.1
    assert drift(*arguments) is None


def test_the_check_whether_to_stop_does_without_the_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take more than half of the time, and nothing else depends on it."""
    study, _ = run(tmp_path, MOVING, trials=20, method="qmc")
    aim = Aim("maximize", "accuracy", horizon=320_000)
    settings = SearchSettings(method="qmc", until_region=0.9, until_gain=0.5)
    history = History(trials_of(study.trials, FLOPS), FLOPS, settings, aim)
    whole, without = (recommend(history.rows, FLOPS, aim, with_drift=asked) for asked in (True, False))
    details = {name: found for name, found in whole.details.items() if name not in ("rungs", "drift")}
    assert whole.details["drift"]
    assert whole.details["rungs"]
    assert without == dataclasses.replace(whole, details=details)
    monkeypatch.setattr("search.recommendation._over_length", None)
    assert reason_to_stop(history)
