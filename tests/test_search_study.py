"""Studies that are opened: new, resumed, and those that are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import optuna
import pytest

from objectives.landscape import INTERIOR
from phiscale import FLOPS, CostModel, SearchRecord, StudyError
from search.results import write_results
from search.settings import SearchSettings
from search.study import load_study
from tests.objectives_for_tests import NetworkObjective
from tests.search_for_tests import complete, run


def foreign(folder: Path, *trials: optuna.trial.FrozenTrial) -> optuna.Study:
    (folder / "s").mkdir()
    study = optuna.create_study(storage=f"sqlite:///{folder}/s/study.db", study_name="s", direction="maximize")
    study.add_trials(trials)
    return study


def test_changed_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    run(tmp_path, INTERIOR, trials=3)
    with pytest.raises(StudyError, match=r"noise: 0.01 before, 0.02 asked"):
        run(tmp_path, dataclasses.replace(INTERIOR, noise=0.02), trials=3)
    with pytest.raises(StudyError, match="cost_model.width: 2.0 before, 1.0 asked"):
        run(tmp_path, INTERIOR, cost_model=CostModel(1, 1, 2), trials=3)
    assert len(load_study("s", tmp_path / "s", None).trials) == 3


@dataclasses.dataclass(frozen=True)
class _Named:
    """What describes its data."""

    name: str
    fingerprint: str = "0123"

    def describe(self) -> dict[str, object]:
        return {**INTERIOR.describe(), "data": {"name": self.name, "fingerprint": self.fingerprint, "epoch_images": 9}}

    def __getattr__(self, name: str) -> object:
        return getattr(INTERIOR, name)


def test_data_that_were_renamed_resume_and_other_data_do_not(tmp_path: Path) -> None:
    run(tmp_path, _Named("before"), trials=3)
    run(tmp_path, _Named("after"), trials=4)
    assert len(load_study("s", tmp_path / "s", None).trials) == 4
    with pytest.raises(StudyError, match=r"data.name: 'before' before, 'after' asked; data.fingerprint: '0123' before"):
        run(tmp_path, _Named("after", "4567"), trials=4)


def test_another_program_s_study_is_left_alone(tmp_path: Path) -> None:
    foreign(tmp_path, optuna.create_trial(value=1.0))
    with pytest.raises(StudyError, match="not made by phiscale"):
        run(tmp_path, INTERIOR, trials=3)


def test_a_study_of_several_objectives_or_another_direction_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for name, directions in (("s", ["minimize", "maximize"]), ("t", ["minimize"])):
        storage = f"sqlite:///{tmp_path}/{name}.db"
        study = optuna.create_study(storage=storage, study_name="s", directions=directions)
        with pytest.raises(StudyError, match=rf"'s' optimises to {' and '.join(directions)}, not maximize; choose"):
            run(tmp_path, INTERIOR, trials=1, storage=storage)
        assert study.user_attrs == {}


def test_settings_of_another_program_are_not_ours(tmp_path: Path) -> None:
    for stated in ({"cost_model": "latency"}, ["all"]):
        storage = f"sqlite:///{tmp_path}/{len(str(stated))}.db"
        study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
        study.set_user_attr("settings", stated)
        with pytest.raises(StudyError, match="not made by phiscale"):
            run(tmp_path, INTERIOR, trials=1, storage=storage)


@pytest.mark.parametrize("names", ["uv", "u"])
def test_a_study_of_an_older_version_is_refused_with_one_sentence(tmp_path: Path, names: str) -> None:
    distribution = optuna.distributions.FloatDistribution(0, 1)
    parameters, ranges = dict.fromkeys(names, 0.5), dict.fromkeys(names, distribution)
    study = foreign(tmp_path, optuna.create_trial(value=1.0, params=parameters, distributions=ranges))
    study.set_user_attr("settings", {**INTERIOR.describe(), "cost_model": vars(FLOPS)})
    for open_it in (lambda: run(tmp_path, INTERIOR, trials=3), lambda: load_study("s", tmp_path / "s", None)):
        with pytest.raises(StudyError, match="'s' was made by an older version: its parameters are u and v") as caught:
            open_it()
        assert "\n" not in str(caught.value)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_damaged_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_bytes(content)
    if content:
        with pytest.raises(StudyError, match=r"study\.db"):
            run(tmp_path, INTERIOR, trials=3)
        assert (tmp_path / "s" / "study.db").read_bytes() == content
    else:
        assert len(complete(run(tmp_path, INTERIOR, trials=3)[0])) == 3


def test_a_journal_file_resumes_too(tmp_path: Path) -> None:
    journal = str(tmp_path / "s.journal")
    run(tmp_path, INTERIOR, trials=5, storage=journal)
    study, progress = run(tmp_path, INTERIOR, trials=8, storage=journal)
    assert (len(complete(study)), len(progress.ended)) == (8, 3)


def test_results_can_be_read_without_optuna(tmp_path: Path) -> None:
    study, _ = run(tmp_path, NetworkObjective(), trials=12)
    written = write_results(study, tmp_path / "s", FLOPS, SearchSettings(trials=12))
    assert SearchRecord.load(tmp_path / "s" / "constants.json") == written
    family = json.loads((tmp_path / "s" / "family.json").read_text())
    assert [row["phi"] for row in family["nominal"]] == [float(phi) for phi in range(8)]
    for row in family["matched"]:
        assert row["growth"] / row["target_growth"] == pytest.approx(1, abs=0.02)
    assert {row.name for row in written.baselines} == set(SearchSettings().baseline_names)
