"""Send every trial that ends to TensorBoard, MLflow or Weights & Biases: ``phiscale search --track NAME``.

Optuna's own callbacks for the three are deprecated since 4.9 and will be removed in 6, and its TensorBoard one needs
TensorFlow. So these use the public interfaces of the libraries. Nothing leaves the machine unless asked: TensorBoard
and MLflow write into the study's folder (MLFLOW_TRACKING_URI names a server), Weights & Biases runs offline
(WANDB_MODE=online sends). Trials that ended before the run are not sent again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from phiscale.errors import PhiscaleError, SettingsError, one_line
from search.storage import redact_text, sqlite_url
from search.trial import Trial, row

Tracker = Literal["none", "tensorboard", "mlflow", "wandb"]
Track = Callable[[Trial], None]
_PARAMETERS = ("alpha", "beta", "gamma", "share_depth", "share_width", "share_resolution", "resolution", "blocks")
_METRICS = ("seconds", "cost_ratio", "peak_memory")


@contextmanager
def tracking(tracker: Tracker, folder: Path, study: str) -> Iterator[Track]:
    """A function that sends one ended trial. Raises ``SettingsError`` where the tracker cannot be opened.

    A tracker that fails later prints that once and is not used any more: a search does not end because its display
    fails.
    """
    with ExitStack() as stack:
        try:
            send = stack.enter_context(_TRACKERS[tracker](folder, study))
        except PhiscaleError:
            raise
        except Exception as error:  # noqa: BLE001 - a tracker may fail with anything
            reason = one_line(redact_text(str(error)))
            raise SettingsError(
                f"cannot open {tracker} ({reason}); correct its settings, or leave --track out"
            ) from None
        yield _kept_apart(tracker, send)


def _kept_apart(tracker: str, send: Track) -> Track:
    broken = False

    def track(trial: Trial) -> None:
        nonlocal broken
        if broken:
            return
        try:
            send(trial)
        except Exception as error:  # noqa: BLE001 - whatever the display raises, the trial is stored
            broken = True
            print(
                f"{tracker} does not take trials any longer: {one_line(error)}; the search continues", file=sys.stderr
            )

    return track


def parameters_of(trial: Trial) -> dict[str, Any]:
    """What was tried: constants, shares and the size of the network, as far as the trial has them."""
    return {name: value for name, value in row(trial).items() if name in _PARAMETERS and value is not None}


def metrics_of(trial: Trial) -> dict[str, float]:
    """What was measured: the score where there is one, seconds, cost over the cost asked for, bytes."""
    found = row(trial)
    score = {} if trial.value is None else {"score": float(trial.value)}
    return score | {name: float(found[name]) for name in _METRICS if found.get(name) is not None}


def curves_of(trial: Trial) -> Iterator[tuple[str, int, float]]:
    """(name, images seen, value) at the rungs of the first seed; nothing where training length plays no part."""
    result = trial.result
    if result is None or not result.rungs:
        return
    parts = result.curves[0] if result.curves else {}
    for name, values in ({"score": result.rung_scores[0]} | dict(parts)).items():
        for length, value in zip(result.rungs, values, strict=False):
            yield f"rungs/{name}", length, value


@contextmanager
def _nothing(_folder: Path, _study: str) -> Iterator[Track]:
    yield lambda _: None


@contextmanager
def _tensorboard(folder: Path, _study: str) -> Iterator[Track]:
    """One run of TensorBoard a trial, with its parameters; see them: tensorboard --logdir FOLDER/tensorboard."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise _missing("tensorboard") from None

    def send(trial: Trial) -> None:
        writer = SummaryWriter(folder / "tensorboard" / f"trial-{trial.number:04d}")
        try:
            writer.add_hparams(parameters_of(trial), metrics_of(trial), run_name=".")
            for name, images, value in curves_of(trial):
                writer.add_scalar(name, value, images)
        finally:
            writer.close()

    yield send


@contextmanager
def _mlflow(folder: Path, study: str) -> Iterator[Track]:
    """One run of MLflow a trial, in an experiment of the study's name."""
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
    except ImportError:
        raise _missing("mlflow") from None
    folder.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(folder / "mlflow.db"))
    known = client.get_experiment_by_name(study)
    experiment = known.experiment_id if known else client.create_experiment(study)

    def send(trial: Trial) -> None:
        run = client.create_run(experiment, run_name=f"trial {trial.number}").info.run_id
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in metrics_of(trial).items()]
        metrics += [Metric(name, value, now, images) for name, images, value in curves_of(trial)]
        params = [Param(name, str(value)) for name, value in parameters_of(trial).items()]
        client.log_batch(run, metrics=metrics, params=params)
        client.set_terminated(run, "FINISHED" if trial.state == "COMPLETE" else "FAILED")

    yield send


@contextmanager
def _wandb(folder: Path, study: str) -> Iterator[Track]:
    """One run of Weights & Biases a study, a step a trial."""
    try:
        import wandb
    except ImportError:
        raise _missing("wandb") from None
    folder.mkdir(parents=True, exist_ok=True)
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(project="phiscale", name=study, dir=str(folder), mode=mode)

    def send(trial: Trial) -> None:
        run.log({"trial": trial.number, **parameters_of(trial), **metrics_of(trial)})

    try:
        yield send
    finally:
        run.finish()


_TRACKERS = {"none": _nothing, "tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


def _missing(package: str) -> SettingsError:
    return SettingsError(f"expected the package {package} to be installed for --track {package}; pip install {package}")
