"""What a study says in words and numbers, for people and machines."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import optuna
import pytest

from objectives.power_law import MOVING
from phiscale import FLOPS, Observed, ScalingConstants, SearchRecord, TrialError
from phiscale.cli import summarize
from report.answer import as_json, cost_range, how_sure, leads, summary
from report.view import look
from search.hold import Hold
from search.results import searched_estimate, with_confirmation, write_results
from search.settings import SearchSettings
from search.storage import begin_trial
from search.trial import Plan
from tests.objectives_for_tests import ALWAYS_FAILS, NetworkObjective
from tests.studies_for_tests import add_confirmation, make_study, run


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory):
    """A study whose constants are for twice the longest rung."""
    return make_study(tmp_path_factory.mktemp("beyond"), MOVING, trials=24, horizon_images=320_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    return make_study(tmp_path_factory.mktemp("answer"), trials=14)


def record_with(made, **lead: object) -> SearchRecord:
    """The record with the paper's constants alone, scored .8 in four evaluations, and with this lead over them."""
    record = SearchRecord.load(made[1] / "constants.json")
    baseline = (Observed("paper", record.constants, 0.8, 4),)
    stored = {"rule": "paper", "difference": 0.1, "half_width": 0.03, "result": "ahead", **lead}
    return dataclasses.replace(record, noise=0.04, baselines=baseline, details={"leads": [stored]})


def test_a_lead_is_that_of_the_search(made) -> None:
    (lead,) = leads(record_with(made))
    assert (lead.ahead, lead.half_width, lead.result, lead.level) == (0.1, 0.03, "ahead", 0.9)
    assert lead.error == pytest.approx(1.6449 * 0.04 / 2)
    assert "estimated ahead of the paper's constants by +0.1000 ± 0.0300" in lead.sentence()
    assert "for all rules together" in lead.sentence()


@pytest.mark.parametrize("result", ["not distinguishable", "behind", "unknown"])
def test_a_lead_says_what_it_is(made, result: str) -> None:
    (lead,) = leads(record_with(made, result=result))
    assert lead.result == result
    assert {"unknown": "a guess"}.get(result, result) in lead.sentence()


@pytest.mark.parametrize("damaged", [{"difference": "x"}, {"half_width": None}, {"result": 3}, {"rule": "equal"}])
def test_a_damaged_or_missing_lead_is_none(made, damaged: dict[str, object]) -> None:
    (lead,) = leads(record_with(made, **damaged))
    assert (lead.ahead, lead.half_width, lead.result) == (None, None, "unknown")
    assert "no estimate of a difference" in lead.sentence()


def test_the_verdict_takes_the_place_of_the_estimate(made, tmp_path: Path) -> None:
    study, place = made
    before = how_sure(look(study, place))
    assert "scripts.confirm" in before[1]
    kept = (place / "constants.json").read_text()
    add_confirmation(place)
    after = how_sure(look(study, place))
    (place / "constants.json").write_text(kept)
    assert after[0].startswith("Confirmed with fresh seeds on images the search never saw: ahead of the paper's")
    assert not any("scripts.confirm" in sentence for sentence in after)


def test_a_confirmation_takes_the_place_of_what_the_search_expected(tmp_path: Path) -> None:
    study, place = make_study(tmp_path)
    searched = look(study, place).record
    assert searched is not None
    assert searched.expected is not None
    add_confirmation(place, ahead=-0.02)
    for _ in range(2):  # as written by the confirmation, and by a search that goes on
        view = look(study, place)
        record = view.record
        assert record is not None
        assert record.expected is not None
        assert record.expected.score == pytest.approx(0.8 + 0.02 * record.phi + 0.002)  # the mean of add_confirmation
        (paper,) = (lead for lead in leads(record) if lead.rule == "paper")
        assert (paper.confirmed, paper.result, paper.level) == (True, "behind", pytest.approx(0.95))
        assert paper.ahead == pytest.approx(-0.021)
        (equal,) = (lead for lead in leads(record) if lead.rule == "equal")  # not confirmed: against what was searched
        assert equal == next(lead for lead in leads(searched) if lead.rule == "equal")
        said = " ".join(how_sure(view))
        assert f"{record.expected.score:.4f}" in said
        assert f"the search expected {searched.expected.score:.4f} on its own images" in said
        assert "behind the paper's constants" in summary(view)
        assert "confirmed on unseen images" in summary(view)
        assert "rules as the search measured them, on other images" in summary(view)
        write_results(study, place, FLOPS, SearchSettings(trials=14))
    add_confirmation(place, ahead=0.02)  # a second confirmation keeps what the search expected
    again = SearchRecord.load(place / "constants.json").details["confirmation"]["searched"]
    assert again == dataclasses.asdict(searched.expected)


def test_a_confirmation_at_another_size_or_damaged_leaves_what_the_search_expected(tmp_path: Path) -> None:
    _, place = make_study(tmp_path)
    record = SearchRecord.load(place / "constants.json")
    for expected in (None, 3, {"score": 0.5}, {"score": "x", "low": 0, "high": 1}):
        kept = with_confirmation(record, {"verdict": "ahead", "expected": expected})
        assert kept.expected == record.expected
    damaged = dataclasses.replace(record, details={**record.details, "confirmation": {"searched": [], "expected": 2}})
    assert searched_estimate(damaged) is None
    assert "by the search" in summarize(damaged)


def test_intervals_of_a_search_state_their_level(made) -> None:
    text = summary(look(*made))
    assert text.count("90 % interval") == 2  # of the expected score, and of the lead over the paper's constants


def test_the_realised_cost_is_near_the_one_asked_for(made) -> None:
    low, high = cost_range(look(*made))
    assert 0.98 <= low <= high <= 1.02


def test_the_keys_for_machines_are_pinned(made) -> None:
    plain = as_json(look(*made))
    assert list(plain) == [
        "study", "state", "trials", "failures", "score", "direction", "cost_model", "cost_ratio", "recommendation",
        "length", "horizon", "drift", "hindcast", "rungs", "best_observed", "baselines", "confirmation", "notes",
    ]  # fmt: skip
    assert list(plain["trials"]) == ["finished", "pruned", "failed", "interrupted", "running", "waiting"]
    keys = ["alpha", "beta", "gamma", "shares", "phi", "expected", "noise", "region_part"]
    assert list(plain["recommendation"]) == keys
    keys = ["rule", "constants", "score", "evaluations", "error", "ahead", "half_width", "result", "level"]
    keys += ["confirmed"]
    assert list(plain["baselines"][0]) == keys


def test_length_and_drift_for_machines(made, beyond) -> None:
    plain = as_json(look(*beyond))
    assert plain["length"] == {"images": 320_000, "epoch_images": 20_000, "data": "power law"}
    assert plain["horizon"] == {"images": 320_000, "determined": True, "reason": ""}
    assert plain["drift"]["width"]["high"] < 0 < plain["drift"]["resolution"]["low"]
    assert plain["hindcast"]["holds"] is True
    assert [rung["images"] for rung in plain["rungs"]] == [20_000, 40_000, 80_000, 160_000]
    json.dumps(plain, allow_nan=False)
    without = as_json(look(*made))
    assert [without[name] for name in ("length", "horizon", "drift", "hindcast")] == [None] * 4
    assert without["rungs"] == []


def test_damaged_details_are_left_out_for_machines(beyond) -> None:
    view = look(*beyond)
    details = {"drift": 3, "hindcast": [], "rungs": {}}
    plain = as_json(dataclasses.replace(view, record=dataclasses.replace(view.record, details=details)))
    assert [plain[name] for name in ("drift", "hindcast", "rungs")] == [None, None, []]


def test_how_the_constants_move_is_part_of_the_answer(made, beyond) -> None:
    said = how_sure(look(*beyond))
    assert any(line.startswith("Expected accuracy at 320,000 images seen: ") for line in said)
    assert any(line.startswith("Per doubling of the training length the share of width falls by ") for line in said)
    assert said[-1].startswith("Check: from the rungs up to 40,000 images seen, the scores at 160,000")
    assert not any("training length" in line for line in how_sure(look(*made)))
    assert "training length: not stated by the objective" in summary(look(*made))


def test_a_lead_beyond_the_longest_rung_is_that_of_the_surface_there(beyond) -> None:
    found = {lead.rule: lead for lead in leads(look(*beyond).record)}
    assert found["width"].ahead > found["resolution"].ahead
    assert all(lead.half_width > 0 for lead in found.values())
    text = summary(look(*beyond))
    assert "for a training of 320,000 images seen (16 epochs of power law)" in text
    assert "scores of trials and rules are of 160,000 images seen" in text
    said = how_sure(look(*beyond))
    assert "the paper's constants" in said[0]
    assert "for all rules together" in said[0]
    assert "ahead of" not in text


def test_a_horizon_too_far_is_not_determined(tmp_path: Path) -> None:
    text = summary(look(*make_study(tmp_path, MOVING, trials=12, horizon_images=1_000_000)))
    assert "for a training of 160,000 images seen (8 epochs of power law)\nnot determined at 1,000,000 images" in text


def test_a_running_study_says_so(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, trials=4)
    assert look(study, place).state == "ended: 4 trials"
    driver = Hold(study, place)
    begun = begin_trial(study, Plan(constants=ScalingConstants(2.0, 1.0, 1.0)), FLOPS, {})
    study.enqueue_trial({"alpha": 1.0, "beta": 1.0, "gamma": 2**0.5})
    running = look(study, place)
    assert running.state == "running"
    assert "(running); trials: 4 finished, 1 running, 1 waiting" in summary(running)
    driver.release()
    assert look(study, place).counts["interrupted"] == 1  # though it is stored as running: nobody is at work
    study.tell(begun, state=optuna.trial.TrialState.FAIL)
    assert look(study, place).counts["interrupted"] == 1


def test_a_failed_study_says_why(tmp_path: Path) -> None:
    text = summary(look(run(tmp_path, ALWAYS_FAILS, trials=2), tmp_path / "s"))
    assert "2 trials failed: the network does not fit" in text
    assert "nothing can be recommended yet" in text


def test_a_repeated_search_keeps_the_verdict_on_the_same_constants(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, trials=9)
    add_confirmation(place)
    write_results(study, place, FLOPS, SearchSettings(trials=9))
    assert look(study, place).confirmation
    before = SearchRecord.load(place / "constants.json").constants
    study = run(tmp_path, NetworkObjective(noise=0.5), trials=16)
    assert write_results(study, place, FLOPS, SearchSettings(trials=16)).constants != before
    assert look(study, place).confirmation is None  # other constants: the verdict does not speak of them


@pytest.mark.parametrize("name", ["network", "data", "cost_model"])
def test_a_verdict_on_another_question_is_not_kept(tmp_path: Path, name: str) -> None:
    study, place = make_study(tmp_path, trials=3)
    add_confirmation(place)
    record = SearchRecord.load(place / "constants.json")
    assert record.network is not None
    other = {
        "network": dataclasses.replace(record.network, resolution=48),
        "data": {"name": "other", "fingerprint": "1"},
        "cost_model": dataclasses.replace(FLOPS, metric="formula"),
    }
    dataclasses.replace(record, **{name: other[name]}).save(place / "constants.json")  # of a study that was removed
    again = write_results(study, place, FLOPS, SearchSettings(trials=3))
    assert (again.constants, "confirmation" in again.details) == (record.constants, False)


def test_no_interval_is_spoken_of_where_there_is_none(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, trials=3)
    said = how_sure(look(study, place))
    assert "no estimate of a difference" in said[0]
    assert not any("interval" in sentence for sentence in said)


def test_the_reason_of_a_failure_is_one_short_line_on_a_terminal(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise TrialError("diverged", "\x1b[31mtoo long " + "x" * 10_000)

    view = look(*make_study(tmp_path, NetworkObjective(act=fail), trials=3, write=False))
    shown = summary(view).splitlines()
    assert (len(shown), shown[1].startswith(r"3 trials failed: \x1b[31mtoo long xxx")) == (3, True), shown
    assert len(shown[1]) < 400
