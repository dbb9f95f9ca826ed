"""What a study says in words and numbers, for people and machines."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import optuna
import pytest

from objectives.power_law import MOVING
from phiscale import FLOPS, Observed, ScalingConstants, SearchRecord, TrialError
from phiscale.leads import leads
from phiscale.summary import summarize
from report.answer import as_json, cost_range, five_lines, further, summary
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
    return make_study(tmp_path_factory.mktemp("beyond"), MOVING, trials=24, replicate="auto", horizon_images=320_000)


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
    assert lead.verdict == "better than the paper's constants, as the search estimates"
    assert lead.size == "+0.1000 ± 0.0300 (90 % interval for all rules together)"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("not distinguishable", "not distinguishable from"),
        ("behind", "not as good as"),
        ("unknown", "not known whether"),
    ],
)
def test_a_lead_says_what_it_is(made, result: str, words: str) -> None:
    (lead,) = leads(record_with(made, result=result))
    assert lead.result == result
    assert lead.verdict.startswith(words)


@pytest.mark.parametrize("damaged", [{"difference": "x"}, {"half_width": None}, {"result": 3}, {"rule": "equal"}])
def test_a_damaged_or_missing_lead_is_none(made, damaged: dict[str, object]) -> None:
    (lead,) = leads(record_with(made, **damaged))
    assert (lead.ahead, lead.half_width, lead.result) == (None, None, "unknown")
    assert (lead.verdict, lead.size) == ("no estimate of a difference from the paper's constants", "")


def line(view, key: str) -> str:
    """One of the five lines."""
    return next(line.text for line in five_lines(view) if line.key == key)


def test_the_verdict_takes_the_place_of_the_estimate(made, tmp_path: Path) -> None:
    study, place = made
    assert "(a guess), not confirmed; the paper" in line(look(study, place), "paper")
    kept = (place / "constants.json").read_text()
    add_confirmation(place)
    view = look(study, place)
    (place / "constants.json").write_text(kept)
    assert line(view, "sure").startswith(
        "Confirmed: better than the paper's constants, on images that the search never"
    )
    assert line(view, "paper").startswith("Better than the paper's constants. Lead in accuracy +0.0")
    assert "(95 % interval), measured with fresh seeds" in line(view, "paper")


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
        said = " ".join(line.text for line in five_lines(view))
        assert "Refuted: not as good as the paper's constants" in said
        assert f"Accuracy {record.expected.score:.4f} (90 % interval" in said
        assert f"{searched.expected.score:.4f}" not in summary(view)  # replaced, not appended to
        assert "/s --rule paper --phi 0:7 --budget matched" in said
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
    assert f"{record.expected.high:.4f}), not confirmed" in summarize(damaged)


def test_intervals_of_a_search_state_their_level(made) -> None:
    text = summary(look(*made))
    assert text.count("90 % interval") == 1  # of the expected score; the lead is a guess


def test_the_realised_cost_is_near_the_one_asked_for(made) -> None:
    low, high = cost_range(look(*made))
    assert 0.98 <= low <= high <= 1.02


def test_the_keys_for_machines_are_pinned(made) -> None:
    plain = as_json(look(*made))
    assert list(plain) == [
        "study", "state", "trials", "failures", "score", "direction", "cost_model", "cost_ratio", "answer",
        "recommendation", "length", "horizon", "drift", "hindcast", "rungs", "best_observed", "baselines",
        "confirmation", "notes",
    ]  # fmt: skip
    assert list(plain["trials"]) == ["finished", "pruned", "failed", "interrupted", "running", "waiting"]
    assert list(plain["answer"]) == ["constants", "for", "sure", "paper", "next"]
    keys = ["alpha", "beta", "gamma", "ranges", "shares", "phi", "expected", "noise", "region_part"]
    assert list(plain["recommendation"]) == keys
    keys = ["rule", "ahead", "half_width", "result", "level", "confirmed", "constants", "score", "evaluations", "error"]
    assert list(plain["baselines"][0]) == keys
    page = (Path(__file__).parent.parent / "docs" / "output.md").read_text(encoding="utf-8")
    assert all(f"\n| {line.label} | " in page for line in five_lines(look(*made)))
    explained = page.split("## The report for programs")[1].split("\n## ")[0]
    assert {*plain, *plain["answer"], *plain["recommendation"], *keys} <= {*re.findall(r"`(\w+)`", explained)}


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
    said = further(look(*beyond))
    assert "320,000 images seen" in line(look(*beyond), "for")
    assert any(line.startswith("Per doubling of the training length the share of width falls by ") for line in said)
    assert said[-1].startswith("Check: from the rungs up to 40,000 images seen, the scores at 160,000")
    assert not any("training length" in line for line in further(look(*made)))
    assert line(look(*made), "for").startswith("A training of unstated length")


def test_a_lead_beyond_the_longest_rung_is_that_of_the_surface_there(beyond) -> None:
    found = {lead.rule: lead for lead in leads(look(*beyond).record)}
    assert found["width"].ahead > found["resolution"].ahead
    assert all(lead.half_width > 0 for lead in found.values())
    text = summary(look(*beyond))
    assert "A training of 320,000 images seen (16 epochs of power law)" in text
    assert "scores of trials and rules are of 160,000 images seen" in text
    assert "for all rules together), predicted from scores of 160,000 images seen" in line(look(*beyond), "paper")


def test_a_horizon_too_far_is_not_determined(tmp_path: Path) -> None:
    view = look(*make_study(tmp_path, MOVING, trials=12, horizon_images=1_000_000))
    assert line(view, "for").startswith("A training of 160,000 images seen (8 epochs of power law); ")
    assert line(view, "sure").startswith("Not determined at 1,000,000 images seen (50 epochs of power law): ")
    assert "rungs of your objective up to 250,000 images seen and another --study" in line(view, "next")
    assert "--train" not in line(view, "next")


def test_a_running_study_says_so(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, trials=4)
    assert look(study, place).state == "ended: 4 trials"
    driver = Hold(study, place)
    begun = begin_trial(study, Plan(constants=ScalingConstants(2.0, 1.0, 1.0)), FLOPS, {})
    study.enqueue_trial({"alpha": 1.0, "beta": 1.0, "gamma": 2**0.5})
    running = look(study, place)
    assert running.state == "running"
    assert "(running); trials: 4 finished, 1 running, 1 waiting" in summary(running)
    assert line(running, "next") == "Wait: the search runs, 4 trials have ended"
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
    view = look(study, place)
    assert line(view, "paper") == "No estimate of a difference from the paper's constants"
    assert not any("interval" in each.text for each in five_lines(view))


def test_the_reason_of_a_failure_is_one_short_line_on_a_terminal(tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise TrialError("diverged", "\x1b[31mtoo long " + "x" * 10_000)

    view = look(*make_study(tmp_path, NetworkObjective(act=fail), trials=3, write=False))
    shown = summary(view).splitlines()
    assert (len(shown), shown[1].startswith(r"3 trials failed: \x1b[31mtoo long xxx")) == (3, True), shown
    assert len(shown[1]) < 400
