"""Studies to look at, made without training: shared by the tests of report, dashboard and browser."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from phiscale import FLOPS, SearchRecord
from report.view import StudyView, look
from scripts.shared.rivals import OURS
from scripts.shared.tables import write_rows
from search.confirm import as_json, compare, expectation, verdict
from search.driver import StudyPlace, run_study
from search.executors.in_process import InProcess
from search.fidelity import fidelity
from search.progress import Silent
from search.results import with_confirmation, write_results
from search.settings import SearchSettings
from tests.objectives_for_tests import NetworkObjective

BAD = "<script>alert(1)</script>"
"""A name that must never become part of a page."""


class BadlyNamed(NetworkObjective):
    """Images in a folder, on a device and with a score of names that try to be markup."""

    def describe(self) -> dict[str, object]:
        return super().describe() | {"data": {"name": BAD, "fingerprint": "a|b`c`"}, "score": f"accuracy {BAD}"}

    def evaluate(self, *arguments: Any, **named: Any):
        return dataclasses.replace(super().evaluate(*arguments, **named), device=BAD)


def run(folder: Path, objective: Any, **settings: Any):
    """The study ``s`` in ``folder``, run but without its results."""
    place = StudyPlace(name="s", folder=folder / "s")
    return run_study(place, objective, FLOPS, SearchSettings(**settings), Silent(), InProcess())


def make_study(folder: Path, objective: Any = None, *, trials: int = 14, write: bool = True, **settings: Any):
    """A finished study ``s`` in ``folder``, with its results written; (the study, its folder)."""
    study = run(folder, objective or NetworkObjective(), trials=trials, **settings)
    place = folder / "s"
    if write:
        write_results(study, place, FLOPS, SearchSettings(trials=trials, **settings))
    return study, place


def view_of(folder: Path, objective: Any = None, **settings: Any) -> StudyView:
    """The view of a fresh study."""
    return look(*make_study(folder, objective, **settings))


def add_confirmation(place: Path, ahead: float = 0.02) -> None:
    """What ``scripts.confirm`` leaves behind: a verdict in the record, scores of the families in a table."""
    record = SearchRecord.load(place / "constants.json")
    ours = {(phi, number): 0.8 + 0.02 * phi + 0.001 * number for phi in (1.0, 2.0, 3.0) for number in range(5)}
    rivals = {
        "paper": {key: score - ahead + 0.0005 * key[0] for key, score in ours.items()},
        "width": {key: score - 0.1 + 0.002 * (key[0] % 2) for key, score in ours.items()},
    }
    comparisons = compare(ours, rivals, "maximize")
    confirmation = {
        "verdict": verdict(comparisons),
        "length": dataclasses.asdict(record.length) if record.length else None,
        "phis": [1.0, 2.0, 3.0],
        "seeds": 5,
        "images": 5000,
        "expected": expectation(ours, record.phi, 5000),
        "comparisons": as_json(comparisons),
    }
    with_confirmation(record, confirmation).save(place / "constants.json")
    columns = ("phi", "name", "macs", "params", "activations", "mean", "sd", "n")
    rows = [
        {"phi": phi, "name": name, "macs": 4e5 * 2**phi, "mean": scores[phi, 0], "sd": 0.01, "n": 5}
        for name, scores in {OURS: ours, **rivals}.items()
        for phi in (1.0, 2.0, 3.0)
    ]
    write_rows(place / "confirm-families.csv", columns, rows)


def add_fidelity(place: Path) -> None:
    """What ``scripts.check_proxy`` leaves behind."""
    found = dataclasses.asdict(fidelity([[1, 2, 3, 4, 5, 6]] * 2, [[2, 1, 4, 3, 6, 5]] * 2))
    settings = [{"setting": "1 epochs, 1500 images", "seconds": 2.0, **found}]
    result = {"reference": "8 epochs, 6000 images", "reference_seconds": 30.0, "settings": settings}
    (place / "fidelity.json").write_text(json.dumps(result | {"conclusion": "none of these keeps the order"}))
