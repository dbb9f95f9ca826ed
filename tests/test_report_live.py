"""What the dashboard is given: fixed names, refreshed, nothing written twice, a person's own words kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from objectives.power_law import MOVING
from phiscale import FLOPS
from report import series
from report.live import FIGURES, NOTE_END, artifact_id, refresh, with_own_words
from report.view import look
from search.driver import StudyPlace, run_study
from search.executors.in_process import InProcess
from search.progress import Silent
from search.settings import SearchSettings
from search.study import load_study
from tests.objectives_for_tests import ALWAYS_FAILS, WITH_RUNGS, NetworkObjective
from tests.studies_for_tests import make_study, run, view_of


def refreshed(study: optuna.Study, place: Path) -> dict[str, Any]:
    """The figures that the dashboard shows after a refresh."""
    (place / "artifacts").mkdir(exist_ok=True)
    refresh(study, look(study, place), FileSystemArtifactStore(place / "artifacts"))
    stored = get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))
    return {name: json.loads(text) for name, text in stored.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    return make_study(tmp_path_factory.mktemp("live"), trials=12)


def test_the_figures_have_fixed_names_and_plain_numbers(made) -> None:
    figures = refreshed(*made)
    assert set(figures) == set(FIGURES) == {f"phiscale-{name}" for name in ("triangle", "cost", "growth", "curves")}
    assert all("bdata" not in json.dumps(figure) for figure in figures.values())  # as older plotly.js reads them
    assert max(len(json.dumps(figure)) for figure in figures.values()) < 60_000


def test_the_triangle_holds_trials_surface_region_rules_and_recommendation(made) -> None:
    study, place = made
    view = look(study, place)
    traces = {trace["name"]: trace for trace in refreshed(study, place)["phiscale-triangle"]["data"]}
    assert len(traces["trials"]["a"]) == len(view.rows)
    assert traces["trials"]["marker"]["color"] == [round(row.score, 5) for row in view.rows]
    assert len(traces["90 % region"]["a"]) == len(view.record.region)
    assert "paper" in " ".join(traces["published rules"]["text"])
    assert len(traces["posterior mean"]["a"]) == 231
    place_of = [traces["recommended"][side][0] for side in "bca"]
    assert place_of == pytest.approx(view.record.shares.as_tuple(), abs=1e-4)


def test_the_triangle_shows_the_path_over_training_length(made, tmp_path: Path) -> None:
    study, place = make_study(tmp_path, MOVING, trials=24, horizon_images=320_000)
    figure = refreshed(study, place)["phiscale-triangle"]
    traces = {trace["name"]: trace for trace in figure["data"]}
    path = traces["best at each length"]
    assert [text.strip("</b>") for text in path["text"]] == ["20k", "40k", "80k", "160k", "320k"]
    assert path["marker"]["size"] == sorted(path["marker"]["size"])
    ends = [[path[side][place] for side in "bca"] for place in (0, -1)]
    assert ends[0][1] - ends[1][1] > 0.2  # width gives way to resolution
    assert ends[1] == pytest.approx(look(study, place).record.shares.as_tuple(), abs=1e-4)
    assert traces["trials"]["marker"]["color"] == "white"  # measured at another length than the surface
    assert traces["posterior mean"]["marker"]["colorbar"]["title"]["text"] == "accuracy at 320,000 images seen"
    assert "for a training of 320,000 images seen" in figure["layout"]["title"]["text"]
    without = {trace["name"] for trace in refreshed(*made)["phiscale-triangle"]["data"]}
    assert "best at each length" not in without


def test_scores_are_drawn_over_images_seen(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, WITH_RUNGS, trials=9)
    figure = refreshed(study, place)["phiscale-curves"]
    assert [trace["x"] for trace in figure["data"]] == [[1500, 3000, 6000, 12_000]] * 9
    assert sorted(trace["y"][-1] for trace in figure["data"]) == pytest.approx(
        sorted(trial.value for trial in study.trials), abs=1e-5
    )
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["xaxis"]["ticktext"] == ["1.5k", "3k", "6k", "12k"]
    assert "Training length" in get_note(study)


def test_the_cost_figure_shows_the_counted_cost(made) -> None:
    study, place = made
    data = refreshed(study, place)["phiscale-cost"]["data"]
    shown = sorted(value for trace in data for value in trace["x"])
    assert shown == sorted(trial.user_attrs["macs"] for trial in study.trials)


def test_the_note_and_the_artifact_are_the_record(made) -> None:
    study, place = made
    refreshed(study, place)
    alpha = look(study, place).record.constants.alpha
    assert f"**{alpha:.4f}**" in get_note(study)
    content = json.loads((place / "artifacts" / artifact_id("s")).read_text())
    assert content["constants"]["alpha"] == alpha
    attributes = study._storage.get_study_system_attrs(study._study_id)
    assert json.loads(attributes[f"artifacts:{artifact_id('s')}"])["filename"] == "constants.json"


def test_a_second_refresh_writes_nothing_to_the_database(made, monkeypatch: pytest.MonkeyPatch) -> None:
    study, place = made
    first = refreshed(study, place)

    def refuse(*_: Any) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(study._storage, "set_study_system_attr", refuse)
    assert refreshed(study, place) == first


def test_later_trials_change_the_same_figures(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, trials=3, write=False)
    before = refreshed(study, place)
    study = run(tmp_path, NetworkObjective(), trials=6)
    after = refreshed(study, place)
    assert set(before) == set(after)
    counts = [sum(len(trace["x"]) for trace in figures["phiscale-cost"]["data"]) for figures in (before, after)]
    assert counts == [3, 6]


def test_a_study_whose_trials_failed_is_shown(tmp_path: Path) -> None:
    study = run(tmp_path, ALWAYS_FAILS, trials=2)
    assert set(refreshed(study, tmp_path / "s")) == set(FIGURES)
    assert "2 trials failed" in get_note(study)


def test_a_persons_own_words_stay(made) -> None:
    study, place = made
    refreshed(study, place)
    save_note(study, get_note(study) + "\nmy own thoughts")
    refreshed(study, place)
    assert get_note(study).count(NOTE_END) == 1
    assert get_note(study).rstrip().endswith("my own thoughts")
    assert with_own_words("new", "written before phiscale came") == (
        f"new\n\n{NOTE_END}\n\nwritten before phiscale came\n"
    )


def test_no_file_leaves_the_folder_of_the_artifacts() -> None:
    for name in ("s", "../../etc/passwd", "a/b", "\0"):
        assert set(artifact_id(name)) <= set("0123456789abcdef-")


def test_a_journal_is_refreshed_too(tmp_path: Path) -> None:
    journal = str(tmp_path / "x.journal")
    where = StudyPlace(name="s", folder=tmp_path / "s", storage=journal)
    run_study(where, NetworkObjective(), FLOPS, SearchSettings(trials=3), Silent(), InProcess())
    study = load_study("s", tmp_path / "s", journal)
    assert set(refreshed(study, tmp_path / "s")) == set(FIGURES)


def test_figures_of_a_large_study_show_a_part_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(tmp_path, WITH_RUNGS, trials=20)
    sizes = {name: len(draw(view).to_json()) for name, draw in FIGURES.items()}
    monkeypatch.setattr(series, "MOST_SHOWN", 12)
    for name, of in (("phiscale-triangle", len(view.rows)), ("phiscale-cost", 20), ("phiscale-curves", 20)):
        figure = FIGURES[name](view)
        assert f"12 of {of} " in figure.layout.title.text
        assert len(figure.to_json()) < sizes[name]
