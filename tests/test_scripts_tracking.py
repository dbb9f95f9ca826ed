"""Trials in the real TensorBoard, MLflow and Weights & Biases, offline; the latter two only where they are installed.

mlflow and wandb bring 150 MB of packages that nothing else here needs, so that they are in no extra of the tests.
"""

from __future__ import annotations

import builtins
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phiscale import Cost, Multipliers, ScalingConstants, SettingsError, Shares
from scripts.shared.tracking import _TRACKERS, curves_of, metrics_of, parameters_of, tracking
from search.trial import Failure, Plan, Result, Sizes, Trial
from tests.interop import require

ROOT = Path(__file__).parent.parent
NETWORK = "tests.objectives_for_tests:NetworkObjective"
CONSTANTS = ScalingConstants(1.2, 1.1, 1.15)
SIZES = Sizes(
    asked=Multipliers(1.44, 1.21, 1.32),
    realised=Multipliers(1.5, 1.2, 1.3),
    resolution=40,
    cost=Cost(macs=10, params=20, activations=30),
    growth=4.04,
    cost_ratio=1.01,
    blocks=9,
)
RESULT = Result(
    scores=(0.6, 0.2),
    rungs=(3000, 6000),
    rung_scores=((0.4, 0.6), (0.1, 0.2)),
    seconds=2.5,
    device="cpu",
    peak_memory=100,
    curves=({"accuracy": (0.4, 0.6), "train_loss": (1.0, 0.5)}, {"accuracy": (0.1, 0.2)}),
)
FAILURE = Failure(kind="diverged", reason="the loss became NaN", seconds=1.5)


def trial(number: int = 3, state: str = "COMPLETE") -> Trial:
    done = state == "COMPLETE"
    return Trial(
        number=number,
        state=state,
        value=0.4 if done else None,
        plan=Plan(constants=CONSTANTS),
        shares=Shares(0.25, 0.25, 0.5),
        sizes=SIZES,
        result=RESULT if done else None,
        failure=None if done else FAILURE,
    )


def test_what_is_sent() -> None:
    shares = {"share_depth": 0.25, "share_width": 0.25, "share_resolution": 0.5}
    found = {"alpha": 1.2, "beta": 1.1, "gamma": 1.15, **shares, "resolution": 40, "blocks": 9}
    assert parameters_of(trial()) == parameters_of(trial(state="FAIL")) == found
    assert metrics_of(trial()) == {"score": 0.4, "seconds": 2.5, "cost_ratio": 1.01, "peak_memory": 100}
    assert metrics_of(trial(state="FAIL")) == {"seconds": 1.5, "cost_ratio": 1.01}
    assert list(curves_of(trial())) == [
        ("rungs/score", 3000, 0.4), ("rungs/score", 6000, 0.6),
        ("rungs/accuracy", 3000, 0.4), ("rungs/accuracy", 6000, 0.6),
        ("rungs/train_loss", 3000, 1.0), ("rungs/train_loss", 6000, 0.5),
    ]  # fmt: skip
    without = dataclasses.replace(trial(), sizes=None, result=Result(scores=(0.4,)))
    assert list(curves_of(without)) == list(curves_of(trial(state="FAIL"))) == []
    assert parameters_of(without).keys() == {"alpha", "beta", "gamma", *shares}


def test_tensorboard(tmp_path: Path) -> None:
    require("tensorboard")
    with tracking("tensorboard", tmp_path, "s") as track:
        track(trial(3))
        track(trial(4, "FAIL"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard" / "trial-0003"))
    events.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("rungs/accuracy")] == [(3000, 0.4), (6000, 0.6)]
    assert [pytest.approx(event.value) for event in events.Scalars("score")] == [0.4]
    assert any("hparams" in tag for tag in events.PluginTagToContent("hparams"))
    failed = EventAccumulator(str(tmp_path / "tensorboard" / "trial-0004"))
    failed.Reload()
    assert "score" not in failed.Tags()["scalars"]


def test_a_search_sends_each_trial_once_and_a_resumed_one_the_new_ones(tmp_path: Path) -> None:
    require("tensorboard")
    before: list[list[Path]] = []
    for trials in (3, 5):
        words = ["--study", "s", "--objective", NETWORK, "--trials", str(trials), "--baselines", "none", "--quiet"]
        command = [sys.executable, "-m", "scripts.run_search", *words, "--results", str(tmp_path)]
        done = subprocess.run(
            [*command, "--track", "tensorboard"], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        runs = sorted((tmp_path / "s" / "tensorboard").iterdir())
        assert [run.name for run in runs] == [f"trial-{number:04d}" for number in range(trials)]
        files = [sorted(run.iterdir()) for run in runs]
        assert files[: len(before)] == before
        before = files


# mlflow 3.17 reads its own database in a way that SQLAlchemy 2.1 has deprecated.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is large: pip install mlflow to run this")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for number in (3, 4):  # a second run finds the experiment of the first
        with tracking("mlflow", tmp_path, "s") as track:
            track(trial(number, "COMPLETE" if number == 3 else "FAIL"))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("s").experiment_id], order_by=["attribute.start_time"])
    assert [run.info.status for run in runs] == ["FINISHED", "FAILED"]
    assert runs[0].data.params == {name: str(value) for name, value in parameters_of(trial()).items()}
    assert runs[0].data.metrics["score"] == 0.4
    history = client.get_metric_history(runs[0].info.run_id, "rungs/accuracy")
    assert [(point.step, point.value) for point in history] == [(3000, 0.4), (6000, 0.6)]


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb", reason="wandb is large: pip install wandb to run this")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with tracking("wandb", tmp_path, "s") as track:
        track(trial(3))
    (stored,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert stored.stat().st_size > 0
    summary = capfd.readouterr().err  # what wandb itself says it has, at the end of a run
    for name, value in {"alpha": 1.2, "score": 0.4, "cost_ratio": 1.01, "trial": 3}.items():
        assert re.search(rf"wandb: +{name} {value}$", summary, re.MULTILINE), summary


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(module: str, *rest: object) -> object:
        if module.split(".")[0] == name or module.startswith(f"torch.utils.{name}"):
            raise ImportError(module)
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    expected = f"expected the package {name} to be installed for --track {name}; pip install {name}"
    with pytest.raises(SettingsError, match=expected), tracking(name, tmp_path, "s"):
        pass


def test_a_tracker_that_fails_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    with tracking("tensorboard", tmp_path, "s") as track:
        track(trial(3))
        track(trial(4))
    said = capsys.readouterr().err
    assert said.startswith("tensorboard does not take trials any longer: ")
    assert said.count("\n") == 1


def test_no_tracker_does_nothing(tmp_path: Path) -> None:
    with tracking("none", tmp_path, "s") as track:
        track(trial())
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_cannot_be_opened_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def unreachable(*_: object) -> Iterator[None]:
        raise ConnectionError("no server at\nhttps://u:hunter2@example.org")
        yield

    monkeypatch.setitem(_TRACKERS, "mlflow", unreachable)
    expected = r"cannot open mlflow \(no server at https://u:\*\*\*@example.org\); correct its settings"
    with pytest.raises(SettingsError, match=expected), tracking("mlflow", tmp_path, "s"):
        pass


def test_an_error_of_the_search_is_not_taken_for_one_of_the_tracker(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^the search$"), tracking("none", tmp_path, "s"):
        raise ValueError("the search")
