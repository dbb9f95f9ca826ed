"""The report: what it says, that it is whole and accessible, that nothing in a study becomes markup."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.text import Text

from objectives.power_law import MOVING
from phiscale import FLOPS, PARAMETERS, Length, SearchRecord, Shares, StudyError
from phiscale.answer import answer, ranges
from phiscale.family import short_number
from phiscale.published import MEASURED_RULES
from phiscale.triangle import CostModel, lattice
from report import series, tables
from report.comparison import sentences
from report.evidence import evidence_markdown
from report.figures import FIGURES, draw_baselines, draw_lengths, drawings
from report.page import compared, html, markdown, write_report
from report.style import PRINTED, style
from report.tables import ledger
from report.triangle import plane, shared_limits, triangle, write_triangle
from report.view import StudyView, look
from search.confirm import as_json, compare
from search.results import with_confirmation
from search.study import load_study
from tests.objectives_for_tests import ALWAYS_FAILS, FAILS_SOMETIMES, WITH_RUNGS, NetworkObjective
from tests.studies_for_tests import BAD, BadlyNamed, add_confirmation, add_fidelity, make_study, run, view_of


class Page(HTMLParser):
    """The elements of a page in their order, with attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, place = make_study(tmp_path_factory.mktemp("report"), WITH_RUNGS, trials=16)
    add_confirmation(place)
    add_fidelity(place)
    (place / "config.json").write_text(json.dumps({"command": "phiscale search --study s --trials 16"}))
    return place


@pytest.fixture(scope="module")
def page(place: Path) -> Page:
    return Page(html(look(load_study("s", place, None), place)))


def test_the_answer_comes_first_and_is_the_record(place: Path, page: Page) -> None:
    record = SearchRecord.load(place / "constants.json")
    start = page.text[: page.text.index("The triangle of shares")]
    for value in record.constants.as_tuple():
        assert f"{value:.2f}" in start
    lines = answer(record)
    assert all(line.more in start for line in lines if line.more)
    assert all(line.headline in start for line in lines if line.key != "constants" and not line.command)
    assert all(f"{low:.2f} to {high:.2f}" in start for low, high in ranges(record))
    assert "A training of 12,000 images seen (2 epochs of no images)" in start
    assert (
        start.index("Constants") < start.index("Made for") < start.index("How sure") < start.index("Against the paper")
    )


def test_every_part_is_there(place: Path, page: Page) -> None:
    for word in ("LACS for TPU", "Training length",
                 "The networks can be compared: counted after rounding", "matched cost", "Spearman", "torch",
                 "phiscale search --study s --trials 16", "its p was judged"):  # fmt: skip
        assert word in page.text
    assert len([a for a in page.all("svg") if a.get("role") == "img"]) == len(FIGURES) - 1
    rows = page.all("tr")
    assert len(rows) > 16 + 8 + 8 + 8  # trials, rules, two families


def test_nothing_is_asked_of_a_network(place: Path) -> None:
    write_report(look(load_study("s", place, None), place), place)
    text = (place / "report.html").read_text()
    assert len(text) < 1_000_000
    page = Page(text)
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not page.all("script")
    assert "@import" not in text
    assert all(target.startswith("#") for target in (part[:1] for part in text.split("url(")[1:]))


def test_structure_is_accessible(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    headings = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3", "h4")]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))
    assert all(len(page.all(tag)) >= 1 for tag in ("main", "header", "nav", "footer", "title"))
    assert len(page.all("caption")) == len(page.all("table")) >= 6
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "href", "xlink:href"):
            for target in (attributes.get(name) or "").split():
                assert target.removeprefix("#") in ids or target.startswith("data:")


def test_figures_take_their_colours_from_the_page(place: Path) -> None:
    drawn = drawings(look(load_study("s", place, None), place))
    assert tuple(drawn) == tuple(name for name in FIGURES if name != "costs")  # all networks cost the same
    for drawing in drawn.values():
        assert "var(--text)" in drawing.svg
        assert not any(f"#0{digit}0{digit}0{digit}" in drawing.svg for digit in range(1, 7))
        assert "<text" in drawing.svg  # letters, not their outlines: they can be selected and read
        assert "<metadata" not in drawing.svg
    assert "matched cost" in drawn["growth"].svg
    assert "best inside (90 %)" in drawn["triangle"].svg


def test_the_same_study_gives_the_same_page(place: Path) -> None:
    first, second = (html(look(load_study("s", place, None), place)) for _ in range(2))
    assert first == second


def test_markdown_says_the_same(place: Path) -> None:
    view = look(load_study("s", place, None), place)
    text = markdown(view)
    assert text.startswith("# s: scaling constants")
    for value in view.record.constants.as_tuple():
        assert f"**{value:.4f}**" in text
    assert "    phiscale search --study s --trials 16" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 7
    family = text.partition("## The family\n")[2].partition("\n## ")[0]
    assert "Constants for a training of 12,000 images seen (2 epochs of no images)." in family
    for table in tables:
        assert len({line.replace(r"\|", "").count("|") for line in table.splitlines()}) == 1


def test_markdown_shows_the_triangle_that_lies_beside_it(place: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(place, tmp_path / "s")
    view = look(load_study("s", folder, None), folder)
    assert "![" not in markdown(view)
    write_triangle(folder / "triangle.png", view)
    heading, _, rest = markdown(view).partition("## The triangle of shares\n")
    assert heading
    assert re.search(r"^!\[[\w ,]+\]\(triangle\.png\)$", rest.partition("\n## ")[0], re.MULTILINE)
    assert markdown(view).count("![") == 1


def test_nothing_in_a_study_becomes_markup(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, BadlyNamed(), trials=10)
    (place / "config.json").write_text(json.dumps({"command": f"python {BAD} `x`"}))
    view = look(study, place)
    text = html(view)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 5
    text = markdown(view)
    read = "\n".join(line for line in text.splitlines() if not line.startswith("    "))  # the rest is a code block
    assert not re.search(r"(?<!\\)<", read)
    assert r"\<script\>" in text
    assert r"a\|b\`c\`" in text


def test_a_study_without_trials_has_a_page(tmp_path: Path) -> None:
    study = run(tmp_path, NetworkObjective(), trials=1)
    empty = dataclasses.replace(look(study, tmp_path / "s"), trials=(), rows=(), record=None)
    text = Page(html(empty)).text
    assert "No recommendation yet" in text
    assert "No trial has ended" in text
    assert "svg" not in {tag for tag, _ in Page(html(empty)).elements}
    assert "Nothing can be recommended yet" in markdown(empty)


def test_a_single_trial_is_not_called_an_optimum(tmp_path: Path) -> None:
    view = view_of(tmp_path, trials=1)
    text = Page(html(view)).text
    assert "too few for a surface" in text
    assert "Expected" not in text
    assert {"triangle", "growth"} <= set(drawings(view))


def test_equal_scores_are_said_and_drawn_without_a_surface(tmp_path: Path) -> None:
    class Constant(NetworkObjective):
        def evaluate(self, *arguments: Any, **named: Any):
            return dataclasses.replace(super().evaluate(*arguments, **named), score=0.1)

    view = view_of(tmp_path, Constant(), trials=14)
    assert view.prediction is None
    assert "all 14 scores are equal" in Page(html(view)).text
    write_triangle(tmp_path / "s" / "triangle.png", view)
    assert (tmp_path / "s" / "triangle.png").stat().st_size > 0


def test_failures_are_explained(tmp_path: Path) -> None:
    view = look(run(tmp_path, ALWAYS_FAILS, trials=3), tmp_path / "s")
    text = Page(html(view)).text
    assert "3 trials failed: the network does not fit" in text
    assert "No trial has finished" in text
    assert text.count("failed") >= 4  # the sentence, and the row of each trial


def test_some_failures_leave_the_rest(tmp_path: Path) -> None:
    view = view_of(tmp_path, NetworkObjective(act=FAILS_SOMETIMES.act), trials=13)
    assert view.counts["failed"] == 4
    assert "4 trials failed: the loss became NaN in epoch 1" in Page(html(view)).text
    assert view.record is not None


def test_an_older_record_is_not_taken_for_a_longer_study(tmp_path: Path) -> None:
    _, place = make_study(tmp_path, trials=10)
    older = SearchRecord.load(place / "constants.json")
    study = run(tmp_path, NetworkObjective(), trials=14)
    view = look(study, place)
    assert sum(view.record.budget["trials"].values()) == 14
    assert older.budget["trials"]["complete"] == 10


def test_a_minimised_score_is_led_downwards(tmp_path: Path) -> None:
    from objectives.landscape import INTERIOR

    objective = dataclasses.replace(INTERIOR, direction="minimize", noise=0.002)
    view = view_of(tmp_path, objective, trials=14, seeds=2)
    table = [line for line in markdown(view).splitlines() if line.startswith("| depth alone")]
    assert "ahead" in table[0]
    assert "+0." in table[0]


def test_a_study_of_another_program_is_refused(tmp_path: Path) -> None:
    study = optuna.create_study(study_name="theirs")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with pytest.raises(StudyError, match="'theirs' was not made by phiscale"):
        look(study, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("fidelity.json", '{"settings": [{"setting": 3}]}'),
        ("fidelity.json", '{"settings": 3, "reference": "x"}'),
        ("fidelity.json", "[]"),
        ("family-mine.json", "[1, 2]"),
        ("family-mine.json", '[{"name": "phi=1", "depth": 1.2}]'),
        ("family.json", "3"),
        ("confirm-families.csv", "name,mean\npaper,x\n"),
    ],
)
def test_files_that_hold_something_else_are_left_out(place: Path, tmp_path: Path, name: str, content: str) -> None:
    folder = shutil.copytree(place, tmp_path / "s")
    (folder / name).write_text(content)
    text = Page(html(look(load_study("s", folder, None), folder))).text
    assert "The answer" in text
    assert f"From {name}" not in text


def test_the_ledger_counts_what_the_study_holds_equal(place: Path) -> None:
    study = load_study("s", place, None)
    for model, unit in ((FLOPS, "MACs"), (PARAMETERS, "parameters")):
        table = ledger(dataclasses.replace(look(study, place), cost_model=model))
        cost = study.trials[3].user_attrs[model.metric]
        assert table.rows[3][table.head.index(unit)] == short_number(cost)


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> StudyView:
    """A study whose constants are for twice the longest rung."""
    return view_of(tmp_path_factory.mktemp("beyond"), MOVING, trials=24, horizon_images=320_000)


def with_length(view: StudyView, images: int) -> StudyView:
    """The view of constants for another length."""
    return dataclasses.replace(view, record=dataclasses.replace(view.record, length=Length(images, 20_000)))


def texts(figure: Any) -> list[str]:
    """Every word of a figure."""
    return [text.get_text() for text in figure.findobj(Text)]


def test_the_section_on_training_length(beyond: StudyView) -> None:
    section = markdown(beyond).partition("## Training length\n")[2].partition("\n## ")[0]
    assert "These constants are for a training of 320,000 images seen (16 epochs of power law)." in section
    assert "Per doubling of the training length the share of width falls by " in section
    assert "Check: from the rungs up to 40,000 images seen, the scores at 160,000 were predicted" in section
    assert "Noise of one training over the range of the networks: " in section
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    assert rows == ["images seen", "---", "20,000", "40,000", "80,000", "160,000"]
    assert [line.split("|")[2].strip() for line in section.splitlines() if line.startswith("|")] == [
        "epochs", "---:", "1", "2", "4", "8",
    ]  # fmt: skip


def test_an_objective_without_lengths_says_so(tmp_path: Path) -> None:
    view = view_of(tmp_path, trials=9)
    text = markdown(view)
    assert "A training of unstated length;" in text
    assert "Training length: not stated by the objective." in text
    assert "lengths" not in drawings(view)
    assert series.drift_path(view) == []


def test_a_horizon_that_is_not_determined_stands_with_the_constants(tmp_path: Path) -> None:
    text = Page(html(view_of(tmp_path, MOVING, trials=12, horizon_images=1_000_000))).text
    start = text[: text.index("The triangle of shares")]
    assert "Not determined at 1,000,000 images seen (50 epochs of power law): the horizon is 6.25 times" in start


def test_scores_are_drawn_over_images_seen(beyond: StudyView) -> None:
    axes = draw_lengths(beyond, PRINTED).axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["20k", "40k", "80k", "160k", "320k"]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 4]
    assert len(lines) == 24
    assert {tuple(line.get_xdata()) for line in lines} == {(20_000, 40_000, 80_000, 160_000)}
    labels = axes.get_legend_handles_labels()[1]
    assert set(labels) == {"other trials", "the paper's constants", series.NEAREST, "recommended (expected)"}


def test_seeds_of_a_trial_are_averaged_at_each_rung(tmp_path: Path) -> None:
    view = view_of(tmp_path, MOVING, trials=8, seeds=2)
    (curve,) = (curve for curve in series.curves(view) if curve.trial == 2)
    first, second = view.trials[2].result.rung_scores
    assert curve.values == pytest.approx([(a + b) / 2 for a, b in zip(first, second, strict=True)])


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (160_000, ["20k", "40k", "80k", "160k"]),
        (320_000, ["20k", "40k", "80k", "160k", "320k"]),
        (40_000, ["20k", "40k", "80k", "160k"]),
        (60_000, ["20k", "40k", "60k", "80k", "160k"]),
    ],
)
def test_the_path_goes_through_the_recommendation(beyond: StudyView, images: int, labels: list[str]) -> None:
    view = with_length(beyond, images)
    path = series.drift_path(view)
    assert [stop.label for stop in path] == labels
    (ours,) = (stop for stop in path if stop.is_recommended)
    assert (ours.lengths, ours.shares) == ((images,), view.record.shares)


def test_lengths_with_the_same_best_shares_share_a_label(beyond: StudyView) -> None:
    rungs = [
        {**rung, "optimum": {"depth": 0.2, "width": 0.4, "resolution": 0.4}} for rung in beyond.record.details["rungs"]
    ]
    still = dataclasses.replace(beyond, record=dataclasses.replace(beyond.record, details={"rungs": rungs}))
    assert [stop.label for stop in series.drift_path(still)] == ["20k to 160k", "320k"]


def test_the_triangle_names_its_length_and_shows_the_path(beyond: StudyView, tmp_path: Path) -> None:
    with style(PRINTED):
        figure = triangle(beyond, PRINTED)
        figure.canvas.draw()
        found = texts(figure)
        assert "accuracy at 320,000 images seen (dark: better)" in found
        labels = ["20k", "40k", "80k", "160k", "320k", "paper", "equal", "dollar", "lacs-gpu", "lacs-tpu"]
        boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text() in labels]
    assert len(boxes) == len(labels)
    assert not [1 for one, two in itertools.combinations(boxes, 2) if one.overlaps(two)]
    write_triangle(tmp_path / "t.svg", beyond)
    assert "for a training of 320,000 images seen (16 epochs of power law)" in (tmp_path / "t.svg").read_text()


def test_dots_are_coloured_only_where_they_can_be_compared_with_the_surface(beyond: StudyView) -> None:
    assert series.scores_at_length(beyond) is None
    for place, images in enumerate((20_000, 40_000, 80_000, 160_000)):
        scores = series.scores_at_length(with_length(beyond, images))
        once = [at for at, row in enumerate(beyond.rows) if len(row.scores) == 1]
        assert len(once) > 15
        assert [scores[at] for at in once] == pytest.approx([beyond.rows[at].rung_scores[0][place] for at in once])


def test_scores_of_two_lengths_are_not_drawn_on_one_axis(beyond: StudyView) -> None:
    figure = draw_baselines(beyond, PRINTED)
    assert "accuracy at 160,000 images seen" in texts(figure)
    assert "recommended (expected)" not in texts(figure)
    assert "recommended (expected)" in texts(draw_baselines(with_length(beyond, 160_000), PRINTED))


def test_evidence_names_the_length(tmp_path: Path) -> None:
    _, place = make_study(tmp_path, WITH_RUNGS, trials=9)
    (place / "confirm-families.csv").unlink(missing_ok=True)
    add_confirmation(place)
    view = look(load_study("s", place, None), place)
    text = evidence_markdown("Evidence", view, view.record, ["make"])
    assert text.count("for a training of 12,000 images seen (2 epochs of no images)") == 2  # search and grid
    assert "Shown for 12,000 images seen (2 epochs of no images): over all sizes" in text
    assert "other training lengths" in text


def test_evidence_names_the_sizes_at_which_a_growing_lead_is_shown(tmp_path: Path) -> None:
    _, place = make_study(tmp_path, WITH_RUNGS, trials=9)
    add_confirmation(place)
    record = SearchRecord.load(place / "constants.json")
    ours = {(phi, seed): 0.6 + 0.001 * seed for phi in (1.0, 2.0, 3.0) for seed in range(5)}
    leads = {1.0: 0.020, 2.0: 0.055, 3.0: 0.063}
    width = {key: score - leads[key[0]] + 0.001 * (key[1] % 2) for key, score in ours.items()}
    rows = as_json(compare(ours, {"width": width, "depth": ours}, "maximize"))
    with_confirmation(record, record.details["confirmation"] | {"comparisons": rows}).save(place / "constants.json")
    view = look(load_study("s", place, None), place)
    text = evidence_markdown("Evidence", view, None, ["make"])
    assert "Not shown: any difference from width, depth. At single sizes, of these networks alone: " in text
    assert "ahead of width at phi 1, 2, 3. Nothing is shown for larger networks" in text


def test_a_large_study_shows_a_part_of_its_trials_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(tmp_path, WITH_RUNGS, trials=20)
    whole, networks = html(view), len(view.rows)
    assert not re.search(r"are drawn, spread|trials.csv has all", whole)
    monkeypatch.setattr(series, "MOST_SHOWN", 12)
    monkeypatch.setattr(tables, "_LONGEST", 6)
    page = html(view)
    assert f"12 of {networks} networks are drawn, spread evenly over their scores" in page
    assert len(page) < len(whole)
    shown = ledger(view)
    assert shown is not None
    assert "the 6 best of 20 that have ended, trials.csv has all" in shown.caption
    values = sorted((trial.value for trial in view.trials), reverse=True)
    assert sorted((row[2] for row in shown.rows), reverse=True) == [f"{value:.4f}" for value in values[:6]]
    rules = {name for row in view.rows for name in row.names if name in MEASURED_RULES}
    assert {name for row in series.networks(view) for name in row.names} >= rules
    assert {"paper"} <= {point.rule for point in series.costs(view)}
    assert series.NEAREST in {curve.label for curve in series.curves(view)}


def test_a_part_is_spread_evenly_over_the_values_and_holds_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [float(value) for value in range(1000, 0, -1)]
    monkeypatch.setattr(series, "MOST_SHOWN", 11)
    shown = series.spread(items, lambda item: item, lambda item: item in (500.0, 501.0))
    assert len(shown) == 11
    assert {1.0, 500.0, 501.0, 1000.0} <= {*shown}
    assert shown == sorted(shown, reverse=True)
    assert max(a - b for a, b in itertools.pairwise(shown)) < 130
    assert series.spread(items[:11], lambda item: item, lambda _: False) == items[:11]
    assert len(series.spread(items, lambda item: item, lambda _: True)) == 1000


def test_the_region_is_an_outline_that_holds_its_points(beyond: StudyView) -> None:
    with style(PRINTED):
        figure = triangle(beyond, PRINTED)
    outlines = [item for item in figure.axes[0].collections if "90 % probability" in (item.get_gid() or "")]
    assert len(outlines) == 2  # the line, and the white under it
    (path,) = outlines[0].get_paths()
    points = plane(beyond.record.region)
    inside = path.contains_points(points, radius=1e-3)
    assert inside.mean() > 0.8  # but for single points away from the others
    others = plane([place for place in lattice(20, FLOPS) if place not in beyond.record.region])
    assert path.contains_points(others).mean() < 0.1


def test_no_shade_is_narrower_than_the_error_of_the_surface(beyond: StudyView) -> None:
    prediction = beyond.prediction
    steps = [float(np.ptp(prediction.mean)) / share for share in (3.5, 1000)]
    counts = []
    for error in steps:
        known = dataclasses.replace(prediction, deviation=np.full(len(prediction.mean), error))
        view = dataclasses.replace(beyond)
        view.__dict__["prediction"] = known
        with style(PRINTED):
            (bar,) = (axes for axes in triangle(view, PRINTED).axes if "dark: better" in axes.get_xlabel())
        ends = sorted(bar.get_xlim())
        counts.append(len([1 for item in bar.findobj(QuadMesh) for _ in item.get_array().ravel()]))
        assert ends[0] < ends[1]
    assert counts[0] < counts[1] <= 10


def test_a_path_that_would_show_noise_is_not_drawn(beyond: StudyView) -> None:
    still = {axis: {"value": 0.0, "low": -0.1, "high": 0.1} for axis in ("depth", "width", "resolution")}
    record = dataclasses.replace(beyond.record, details={**beyond.record.details, "drift": still})
    assert series.drift_path(beyond)
    assert series.drift_path(dataclasses.replace(beyond, record=record)) == []


def test_cost_is_a_sentence_unless_it_differs(place: Path) -> None:
    view = look(load_study("s", place, None), place)
    assert "costs" not in drawings(view)
    dear = dataclasses.replace(view.trials[0].sizes, cost_ratio=1.2)
    other = dataclasses.replace(view, trials=(dataclasses.replace(view.trials[0], sizes=dear), *view.trials[1:]))
    assert "costs" in drawings(other)
    assert "only in part: counted after rounding" in Page(html(other)).text


def test_studies_side_by_side(beyond: StudyView, place: Path) -> None:
    view = look(load_study("s", place, None), place)
    page = Page(compared([view, beyond]))
    for study in (view, beyond):
        for low, high in ranges(study.record):
            assert f"({low:.2f} to {high:.2f})" in page.text
    assert "length (12,000 images seen and 320,000 images seen)" in page.text
    assert len([a for a in page.all("svg") if a.get("role") == "img"]) == 2
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    assert "Their settings are the same." in Page(compared([view, view])).text
    assert "they do not contradict each other" in Page(compared([view, view])).text
    corner = dataclasses.replace(view.record, region=(Shares(1.0, 0.0, 0.0),))
    far = dataclasses.replace(view.record, region=(Shares(0.0, 1.0, 0.0),))
    both = [dataclasses.replace(view, record=record) for record in (corner, far)]
    assert "they contradict each other" in Page(compared(both)).text
    both[1] = dataclasses.replace(both[1], settings={**view.settings, "rounding": {"multiple": 8}})
    assert "share nothing): the best constants differ between these settings." in Page(compared(both)).text


def with_setting(view: StudyView, *path: str | int, value: object) -> StudyView:
    """The study with one of its stored settings changed."""
    settings = json.loads(json.dumps(view.settings))
    holder = settings
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    return dataclasses.replace(view, settings=settings)


def test_every_setting_that_differs_is_named(place: Path) -> None:
    view = look(load_study("s", place, None), place)
    record = view.record
    searched = {**record.budget["search"], "seed": 7, "trials": 99}
    alone = dataclasses.replace(record, budget={**record.budget, "search": searched})
    assert sentences([view, dataclasses.replace(view, record=alone)])[0] == "Their settings are the same."
    longer = dataclasses.replace(record, budget={**record.budget, "search": {**searched, "tolerance": 0.2}})
    for other, name in (
        (with_setting(view, "factory", value={"name": "mine:build"}), "factory name (none and mine:build)"),
        (with_setting(view, "rounding", value={"multiple": 8}), "rounding multiple (none and 8)"),
        (with_setting(view, "network", "classes", value=7), "baseline classes (10 and 7)"),
        (with_setting(view, "network", "resolution_multiple", value=32), "baseline resolution_multiple (none and 32)"),
        (with_setting(view, "network", "stages", 0, "kernel", value=7), "baseline stages"),
        (with_setting(view, "data", "fingerprint", value="another"), "data fingerprint (none and another)"),
        (dataclasses.replace(view, direction="minimize"), "direction (maximize and minimize)"),
        (dataclasses.replace(view, cost_model=CostModel(width=1.9)), "([1.0, 2.0, 2.0] and [1.0, 1.9, 2.0])"),
        (dataclasses.replace(view, record=longer), "search tolerance (0.05 and 0.2)"),
    ):
        said = sentences([view, other])[0]
        assert said.startswith("Their settings differ in "), name
        assert said.endswith(f"{name}."), name


def test_studies_that_can_be_compared_share_a_colour_scale(place: Path, beyond: StudyView) -> None:
    view = look(load_study("s", place, None), place)
    low, high = shared_limits([view, view])
    assert (low, high) == shared_limits([view])
    assert shared_limits([view, beyond]) is None  # scores of other lengths


@pytest.fixture
def damaged(place: Path, tmp_path: Path) -> Path:
    """A copy of the folder with a family of the user's own, whose files a test may damage."""
    copy = Path(shutil.copytree(place, tmp_path / "s"))
    (copy / "family-x.json").write_text(json.dumps(json.loads((copy / "family.json").read_text())["nominal"]))
    return copy


def change(file: Path, *path: str | int, value: object) -> None:
    """Write another value into a JSON file."""
    found = holder = json.loads(file.read_text())
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    file.write_text(json.dumps(found))


@pytest.mark.parametrize("value", ["s", [1], None, True, {"a": 1}, 10**310], ids=lambda value: repr(value)[:8])
@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("family.json", ("nominal",)),
        ("family.json", ("base",)),
        ("family.json", ("matched", 0, "growth")),
        ("family-x.json", (0, "depth")),
        ("family-x.json", (0, "repeats")),
        ("fidelity.json", ("settings",)),
        ("fidelity.json", ("settings", 0, "seconds")),
        ("fidelity.json", ("settings", 0, "spearman")),
        ("constants.json", ("details", "models")),
        ("constants.json", ("details", "calibration")),
        ("constants.json", ("details", "optimism")),
        ("constants.json", ("details", "expected_gain")),
        ("constants.json", ("details", "factory")),
        ("constants.json", ("details", "confirmation", "comparisons", 0)),
        ("constants.json", ("details", "confirmation", "comparisons", 0, "p")),
    ],
    ids=lambda part: ".".join(map(str, part)) if isinstance(part, tuple) else part,
)
def test_what_is_damaged_in_a_file_is_left_out(damaged: Path, file: str, path: tuple[Any, ...], value: object) -> None:
    change(damaged / file, *path, value=value)
    view = look(load_study("s", damaged, None), damaged)
    assert view.record is not None
    for table in (tables.confirmation, tables.families, tables.fidelity, tables.surface):
        table(view)
    assert set(series.growth(view)) <= {"nominal", "matched"}


def test_the_rows_that_are_whole_are_still_shown(damaged: Path) -> None:
    before = look(load_study("s", damaged, None), damaged)
    family, members = before.family, before.other_families["family-x.json"]
    change(damaged / "family.json", "nominal", value=[1])
    change(damaged / "family-x.json", 0, "depth", value="d")
    change(damaged / "constants.json", "details", "confirmation", "comparisons", 1, value={"rival": "paper"})
    view = look(load_study("s", damaged, None), damaged)
    assert view.family == family  # made again from the record
    assert view.other_families["family-x.json"] == members[1:]
    assert view.comparisons == [*before.comparisons[:1], *before.comparisons[2:]]
    assert before.confirmed_families
    (damaged / "confirm-families.csv").write_bytes(b"phi,name,mean,sd,macs\n1,\xff,0.5,,1\n")
    assert look(load_study("s", damaged, None), damaged).confirmed_families == []
    (damaged / "confirm-families.csv").write_text("phi,name,mean,sd,macs\n1,a,0.5,,7\n1,b,s,,7\n1,c\n")
    assert [row["name"] for row in look(load_study("s", damaged, None), damaged).confirmed_families] == ["a"]
    assert "1 epochs" in Page(html(view)).text
