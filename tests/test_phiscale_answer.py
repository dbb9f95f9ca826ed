"""The five lines that every answer begins with, and the next step with its time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from phiscale import FLOPS, PROXY_BASE, Estimate, Horizon, Length, Observed, SearchRecord, Shares, constants_from_shares
from phiscale.answer import answer, as_text, ranges
from phiscale.family import parse_phis
from phiscale.next_step import CONFIRM_PHIS, next_step
from phiscale.published import PUBLISHED_RULES
from phiscale.text import duration

HERE = Shares(0.25, 0.5, 0.25)
RECORD = SearchRecord(
    study="mine",
    created="2025-01-02T03:04:05Z",
    constants=constants_from_shares(HERE),
    cost_model=FLOPS,
    phi=2.0,
    network=PROXY_BASE,
    score_name="accuracy",
    direction="maximize",
    expected=Estimate(0.81, 0.8, 0.82),
    noise=0.01,
    length=Length(160_000, 50_000, "cifar-10"),
    best_observed=Observed("trial 7", PUBLISHED_RULES["equal"].constants, 0.83, 2),
    region=(HERE, Shares(0.5, 0.5, 0.0), Shares(0.0, 0.5, 0.5)),
    baselines=(Observed("paper", PUBLISHED_RULES["paper"].constants, 0.79, 3),),
    budget={
        "trials": {"complete": 40}, "evaluations": 50, "seconds": 500.0, "train": {"rungs": 4}, "budget": "matched",
    },
    details={
        "region_part": 0.3,
        "leads": [{"rule": "paper", "difference": 0.02, "half_width": 0.01, "result": "ahead"}],
        "rungs": [{"images": 160_000}],
    },
)  # fmt: skip


def lines(record: SearchRecord = RECORD, **details: Any) -> dict[str, str]:
    """The five lines by key, with other details."""
    changed = dataclasses.replace(record, details={**record.details, **details})
    return {line.key: line.text for line in answer(changed)}


def confirmed(result: str, difference: float, **more: Any) -> dict[str, Any]:
    row = {"rival": "paper", "phi": None, "difference": difference, "half_width": 0.01, "level": 0.95, "result": result}
    plain = {"verdict": "compared", "seeds": 3, "phis": list(parse_phis(CONFIRM_PHIS)), "comparisons": [row], **more}
    return {"confirmation": plain}


def test_the_five_lines() -> None:
    assert lines() == {
        "constants": (
            "alpha 1.19 (1.00 to 1.41 possible), beta 1.19 (1.19 to 1.19 possible), gamma 1.09 (1.00 to 1.19 possible)."
            " Each growth step multiplies by them; the best lie in these ranges with 90 % probability"
        ),
        "for": (
            "A training of 160,000 images seen (3.2 epochs of cifar-10); networks of 4 times the MACs of proxy-base "
            "(2 growth steps). For example 7 blocks (baseline 5), channels from 17 to 35 (baseline 12 to 24), "
            "29 pixels a side (baseline 24)"
        ),
        "sure": (
            "Not sure yet: the best are among 30 % of all constants (90 % probability). "
            "Accuracy 0.8100 (90 % interval 0.8000 to 0.8200), not confirmed"
        ),
        "paper": (
            "Better than the paper's constants, as the search estimates. "
            "Lead in accuracy +0.0200 ± 0.0100 (90 % interval for all rules together), not confirmed; "
            "the paper's constants: 1.2, 1.1, 1.15"
        ),
        "next": "Confirm on unseen images: phiscale confirm --study mine, about 41 minutes",
    }
    shown = as_text(answer(RECORD))
    assert [text.index(line.text) for text, line in zip(shown, answer(RECORD), strict=True)] == [19] * 5


@pytest.mark.parametrize(
    ("part", "start"),
    [
        (0.05, "Fairly sure: the best are among 5 %"),
        (0.25, "Fairly sure"),
        (0.26, "Not sure yet"),
        (0.51, "Not sure: the best are among 51 %"),
    ],
)
def test_certainty_follows_the_part_of_all_constants_that_could_be_best(part: float, start: str) -> None:
    assert lines(region_part=part)["sure"].startswith(start)


def test_a_confirmation_replaces_what_the_search_says() -> None:
    found = {"score": 0.5, "low": 0.49, "high": 0.51}
    record = dataclasses.replace(RECORD, expected=Estimate(**found))
    for result, difference, sure, paper, step in (
        ("ahead", 0.02, "Confirmed: better than", "Better than", "Use these constants: phiscale family results/"),
        (
            "behind",
            -0.02,
            "Refuted: not as good as",
            "Not as good as",
            "Use the paper's constants instead: phis",
        ),
        (
            "not distinguishable",
            0.002,
            "Not shown to be better than",
            "Not distinguishable from",
            "Confirm with 6 seeds ",
        ),
    ):
        said = lines(record, **confirmed(result, difference, expected=found))
        assert said["sure"].startswith(
            f"{sure} the paper's constants, on images that the search never saw. The best are"
        )
        assert said["sure"].endswith("Accuracy 0.5000 (90 % interval 0.4900 to 0.5100), measured there")
        assert said["paper"].startswith(
            f"{paper} the paper's constants. Lead in accuracy {difference:+.4f} ± 0.0100 (95 % inter"
        )
        assert said["next"].startswith(step)
        assert "estimate" not in " ".join(said.values())
    assert "--seeds 6, about 61 minutes" in said["next"]
    few = lines(**confirmed("not distinguishable", 0.002, phis=[1, 2]))
    assert few["next"] == "Confirm at more sizes: phiscale confirm --study mine, about 41 minutes"
    said = lines(**confirmed("ahead", 0.02))  # at another length: no score to expect was measured
    assert "0.81" not in " ".join(said.values())


def test_a_confirmation_of_another_length_or_other_rivals_says_so() -> None:
    length = {"images": 320_000, "epoch_images": 50_000, "data": "cifar-10"}
    assert (
        "measured with fresh seeds after 320,000 images seen"
        in lines(**confirmed("ahead", 0.02, length=length))["paper"]
    )
    found = confirmed("behind", -0.02)
    found["confirmation"]["comparisons"][0]["rival"] = "mine-grid"
    said = lines(**found)
    assert said["sure"].startswith("Refuted: not as good as mine-grid")
    assert "phiscale family results/mine-grid --phi" in said["next"]
    assert "Trained again on images" in lines(confirmation={"verdict": "no comparison"})["sure"]


def test_a_confirmation_that_takes_much_longer_than_the_search_begins_with_the_paper() -> None:
    longer = dataclasses.replace(RECORD, budget={**RECORD.budget, "evaluations": RECORD.budget["evaluations"] / 4})
    step = next_step(longer)
    assert step.command == "phiscale confirm --study mine --rivals paper"
    whole = next_step(RECORD).seconds
    assert whole is not None
    assert step.seconds == pytest.approx(4 * whole * 2 / 9)


def test_the_next_step_of_an_unsure_search_is_more_trials() -> None:
    unsure = dataclasses.replace(RECORD, details={"region_part": 0.8})
    assert next_step(unsure).text == "search on: the same command with --trials 80, about 8 minutes"
    few = dataclasses.replace(RECORD, details={}, region=(), expected=None, notes=("3 networks are too few",))
    assert lines(few)["sure"] == "Not sure: 3 networks are too few"
    assert lines(few)["constants"] == "alpha 1.19, beta 1.19, gamma 1.09"
    assert ranges(few) is None
    assert "--trials 80" in lines(few)["next"]


def test_a_horizon_that_is_not_determined_needs_longer_trainings() -> None:
    far = dataclasses.replace(RECORD, horizon=Horizon(1_600_000, determined=False, reason="too far"))
    assert lines(far)["sure"].startswith("Not determined at 1,600,000 images seen (32 epochs of cifar-10): too far")
    assert lines(far)["next"].endswith("--train.images-seen 400000 and another --study, about 21 minutes")
    near = dataclasses.replace(RECORD, horizon=Horizon(640_000, determined=False, reason="the check failed"))
    assert "--train.images-seen 640000 " in lines(near)["next"]
    command = dataclasses.replace(far, budget={**RECORD.budget, "objective": {"command": "python train.py"}})
    assert "scores up to 400,000 images seen" in lines(command)["next"]


def test_a_grid_that_is_done_is_made_finer() -> None:
    grid = {**RECORD.budget, "search": {"method": "grid"}}
    assert "smaller --step" in lines(dataclasses.replace(RECORD, budget=grid, details={"region_part": 0.8}))["next"]


def test_a_lead_that_is_a_guess_has_no_interval() -> None:
    lead = {"rule": "paper", "difference": 0.02, "half_width": 0.01, "result": "unknown"}
    assert "Lead in accuracy +0.0200 (a guess), not confirmed" in lines(leads=[lead])["paper"]


def test_a_study_of_another_objective_is_not_sent_to_confirm() -> None:
    told = dataclasses.replace(RECORD, budget={**RECORD.budget, "objective": {"command": "python train.py"}})
    assert "phiscale family results/mine" in lines(told)["next"]
    own = dataclasses.replace(RECORD, network=None, budget={"seconds": 3.0})
    assert "phiscale" not in lines(own)["next"]
    assert "confirm --study" not in lines(own)["next"]
    assert lines(own)["for"].endswith("networks of 4 times the MACs of the baseline (2 growth steps)")


def test_commands_name_the_folder_and_quote_it() -> None:
    assert next_step(RECORD, "/data/my studies").command == "phiscale confirm --study mine --results '/data/my studies'"
    ahead = dataclasses.replace(RECORD, details=confirmed("ahead", 0.02))
    assert next_step(ahead, "/data/x").command == "phiscale family /data/x/mine --phi 0:7 --budget matched"


@pytest.mark.parametrize("damaged", [3, None, [], {}, "x", [3], {"comparisons": 3}, {"verdict": 3, "comparisons": [3]}])
def test_damaged_details_are_left_out(damaged: object) -> None:
    for name in ("confirmation", "leads", "region_part", "rungs", "factory"):
        assert len(lines(**{name: damaged})) == 5
    assert len(answer(dataclasses.replace(RECORD, budget={"trials": damaged, "seconds": damaged}))) == 5


def test_times_for_people() -> None:
    seconds = (0.2, 1, 20, 89, 90, 600, 5399, 5400, 36_000, 300_000)
    assert [duration(value) for value in seconds] == [
        "1 second", "1 second", "20 seconds", "89 seconds", "2 minutes", "10 minutes", "90 minutes", "1.5 hours",
        "10.0 hours", "3.5 days",
    ]  # fmt: skip


def test_a_factory_has_an_example_too() -> None:
    realised = {"depth": 1.5, "width": 1.25, "resolution": 1.5}
    factory = {
        "name": "mynet:build",
        "resolution": 32,
        "matched": [{"phi": 2.0, "resolution": 48, "realised": realised}],
    }
    said = lines(dataclasses.replace(RECORD, network=None), factory=factory)
    assert said["for"].endswith("For example 1.50 times the depth, 1.25 times the width, 48 pixels a side")
