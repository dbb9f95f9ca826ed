"""The report that is served while a study runs: drawn again when the study has changed, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pytest

from phiscale import StudyError
from report import live
from report.live import LiveReports
from report.page import SCRIPT, Live, html
from report.view import look
from tests.objectives_for_tests import NetworkObjective
from tests.studies_for_tests import make_study, run


def served(results: Path, *studies: optuna.Study) -> LiveReports:
    """An application that serves these studies; what is beyond it answers ``beyond``."""

    def beyond(environment: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"beyond"]

    said: list[str] = []
    return LiveReports(
        studies=lambda: studies, results=results, beyond=beyond, guard=contextlib.nullcontext, failed=said.append
    )


def get(app: LiveReports, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of an answer."""
    told: list[Any] = []
    body = app({"PATH_INFO": path, **headers}, lambda status, given: told.extend((status, given)))
    return int(told[0].split()[0]), dict(told[1]), b"".join(body).decode()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_PAUSE", 0.0)
    monkeypatch.setattr(live, "_SHARE", 0)


def test_the_page_is_the_report_and_renews_itself(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, trials=4)
    app = served(tmp_path, study)
    status, headers, page = get(app, "/report/s")
    how = Live(script="/report/live.js", optuna=f"/dashboard/studies/{study._study_id}")
    assert (status, page) == (200, html(look(study, place), live=how))
    assert "script-src &#39;self&#39;" in page
    assert f'href="{how.optuna}"' in page
    assert get(app, "/report/s", HTTP_IF_NONE_MATCH=headers["ETag"])[::2] == (304, "")
    study = run(tmp_path, NetworkObjective(), trials=9)
    app = dataclasses.replace(app, studies=lambda: [study])
    status, fresh, page = get(app, "/report/s", HTTP_IF_NONE_MATCH=headers["ETag"])
    assert (status, "Trials: 9 finished" in page) == (200, True)
    assert fresh["ETag"] != headers["ETag"]
    assert get(app, "/report/live.js")[2] == SCRIPT.read_text()


def test_a_page_is_drawn_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, place = make_study(tmp_path, trials=3)
    drawn: list[str] = []
    monkeypatch.setattr(live, "html", lambda view, live: drawn.append(view.name) or f"page {len(drawn)}")
    app = served(tmp_path, study)
    assert [get(app, "/report/s")[2] for _ in range(3)] == ["page 1"] * 3
    (place / "constants.json").touch()  # as a confirmation does
    assert get(app, "/report/s")[2] == "page 2"
    monkeypatch.setattr(live, "_PAUSE", 60.0)
    (place / "config.json").write_text("{}")
    assert get(app, "/report/s")[2] == "page 3"
    (place / "constants.json").touch()
    assert get(app, "/report/s")[2] == "page 3"  # it was looked at a moment ago
    app.shown["s"].next_look = 0.0
    with app.shown["s"].lock:
        assert get(app, "/report/s")[2] == "page 3"  # another request draws it


def test_looking_writes_nothing_to_the_study(tmp_path: Path) -> None:
    study, place = make_study(tmp_path, trials=3)
    before = dict(study._storage.get_study_system_attrs(study._study_id)), sorted(place.rglob("*"))
    get(served(tmp_path, study), "/report/s")
    assert (dict(study._storage.get_study_system_attrs(study._study_id)), sorted(place.rglob("*"))) == before


def test_other_addresses(tmp_path: Path) -> None:
    study, _ = make_study(tmp_path, trials=3)
    app = served(tmp_path, study)
    for path in ("/", "", "/report/"):
        status, headers, _ = get(app, path)
        assert (status, headers["Location"]) == (302, "/report/s")
    assert get(app, "/report/other")[0] == 404
    assert get(app, "/dashboard/studies/1")[2] == "beyond"
    other = optuna.create_study(study_name="<b>")
    status, _, page = get(served(tmp_path, study, other), "/")
    assert (status, 'href="/report/s"' in page, "<b>" in page) == (200, True, False)
    assert "There is no study" in get(served(tmp_path), "/")[2]


def test_a_storage_that_does_not_answer_is_said(tmp_path: Path) -> None:
    def fail() -> list[optuna.Study]:
        raise StudyError("the database does not answer")

    said: list[str] = []
    app = dataclasses.replace(served(tmp_path), studies=fail, failed=said.append)
    assert get(app, "/report/s")[::2] == (503, "the database does not answer")
    assert said == ["the database does not answer"]


def test_a_page_that_cannot_be_drawn_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> str:
        raise KeyError("phi")

    study, _ = make_study(tmp_path, trials=3)
    said: list[str] = []
    app = dataclasses.replace(served(tmp_path, study), failed=said.append)
    monkeypatch.setattr(live, "html", fail)
    sentence = "the page of /report/s cannot be drawn: KeyError: 'phi'"
    assert get(app, "/report/s")[::2] == (503, sentence)
    assert said == [sentence]
    monkeypatch.undo()
    assert get(app, "/report/s")[0] == 200
