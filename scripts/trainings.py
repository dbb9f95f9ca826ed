"""Many trainings on the same images, one after the other or side by side in processes. Not a command."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from objectives.training.settings import TrainSettings
from phiscale.errors import StudyError, TrialError
from phiscale.spec import NetworkSpec

if TYPE_CHECKING:
    from objectives.data.imageset import ImageSet

Job = tuple[NetworkSpec, int, float]
"""A network, the seed and the learning rate to train it with."""

_shared: tuple[ImageSet, TrainSettings] | None = None
"""What all trainings of one worker process have in common, sent to it once."""


def train_all(jobs: Sequence[Job], images: ImageSet, train: TrainSettings, workers: int) -> Iterator[dict[str, Any]]:
    """``score``, ``seconds`` and ``failure`` of every job, in their order, as they come."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield _train(*job, images, train)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=_begin, initargs=(images, train))
    try:
        yield from pool.map(_train_shared, jobs)
    except BrokenProcessPool:
        raise StudyError(
            "a training process was ended from outside, for lack of memory perhaps; finished trainings are kept: "
            "run the same again, with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(images: ImageSet, train: TrainSettings) -> None:
    global _shared
    _shared = images, train
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process with the one that started it, which ``kill -9`` would otherwise leave waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train_shared(job: Job) -> dict[str, Any]:
    if _shared is None:
        raise RuntimeError("the worker was not given its images")
    return _train(*job, *_shared)


def _train(spec: NetworkSpec, seed: int, rate: float, images: ImageSet, train: TrainSettings) -> dict[str, Any]:
    from objectives.training.train import train_proxy

    try:
        run = train_proxy(spec, images, dataclasses.replace(train, learning_rate=rate), seed=seed)
    except TrialError as error:
        return {"score": "", "failure": str(error), "seconds": 0.0}
    return {"score": repr(run.scores[-1]), "failure": "", "seconds": round(run.seconds, 2)}
