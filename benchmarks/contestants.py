"""The trainings that ``benchmarks.bench_proxy`` compares, each in processes of its own that stay for all repeats."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from objectives.data.imageset import ImageSet
from objectives.training.rungs import plan_rungs
from objectives.training.settings import TrainSettings
from phiscale import EFFICIENTNET_B0, PROXY_BASE, PUBLISHED_RULES, Multipliers, match_budget, scale_network
from phiscale.rounding import ROUNDINGS
from phiscale.spec import NetworkSpec

PLAIN, SINGLE, TUNED, TIMM = "plain loop", "plain loop on one thread", "tuned loop", "timm loop"
ONE, RUNGS, ALL = "phiscale", "phiscale with 4 rungs", "phiscale on all cores"
NAMES = (PLAIN, SINGLE, TUNED, TIMM, ONE, RUNGS, ALL)
_CLASSES = 14
_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Case:
    """A network that all contestants train."""

    name: str
    spec: NetworkSpec
    part: float
    """Part of the images that are asked for: a larger network gets fewer."""


def cases() -> dict[str, Case]:
    """The default trial's network (equal shares at phi = 2), and EfficientNet-B0 at half width and 64 pixels."""
    base = dataclasses.replace(PROXY_BASE, classes=_CLASSES)
    half = scale_network(EFFICIENTNET_B0, Multipliers(1, 0.5, 64 / 224), ROUNDINGS["exact"]).spec
    half = dataclasses.replace(half, classes=_CLASSES, dropout=0.0, drop_path=0.0)
    listed = (
        Case("proxy-base, phi 2", match_budget(base, PUBLISHED_RULES["equal"].constants, phi=2.0).spec, 1.0),
        Case("half-width B0, 64 px", half, 1 / 3),
    )
    return {case.name: case for case in listed}


@dataclass(frozen=True)
class Trial:
    """One measured trial of one process."""

    seconds: float
    core_seconds: float
    """Time that all threads of the process had a core, with building the network and scoring."""
    images: int
    """Training images up to the longest rung."""
    accuracy: float
    peak_memory: int
    """Bytes: largest resident size of the process since it started; without its loading processes."""


class Contestant:
    """One or several processes that train when told to. Raises ``RuntimeError`` with the reason if it cannot run."""

    def __init__(self, name: str, processes: int) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipes, self._processes = [], []
        limits = {key: os.environ.pop(key) for key in _THREAD_LIMITS if key in os.environ}
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, name, time.time()))
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        os.environ.update(limits)
        answers = [pipe.recv() for pipe in self._pipes]
        failed = [answer for answer in answers if isinstance(answer, str)]
        if failed:
            self.close()
            raise RuntimeError(failed[0])
        self.start_up = max(answers)
        """Seconds from the start of the process to the end of its first small trial."""

    def run(self, spec: NetworkSpec, settings: TrainSettings, seed: int) -> tuple[float, list[Trial]]:
        """One trial in every process at once: (wall seconds, the trials). Raises ``RuntimeError`` if one fails."""
        started = time.perf_counter()
        for index, pipe in enumerate(self._pipes):
            pipe.send((spec, settings, seed + 1000 * index))
        trials = [pipe.recv() for pipe in self._pipes]
        wall = time.perf_counter() - started
        failed = [trial for trial in trials if isinstance(trial, str)]
        if failed:
            raise RuntimeError(failed[0])
        return wall, trials

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()


def _serve(pipe: Connection, name: str, born: float) -> None:
    """Train what the pipe asks for until it is closed."""
    multiprocessing.set_start_method(None, force=True)  # loading processes start as in a person's own program
    try:
        train = _trainer(name)
        small = TrainSettings(train_images=256, validation_images=64, images_seen=256, rungs=1)
        train(cases()["proxy-base, phi 2"].spec, small, 0)
        pipe.send(time.time() - born)
        while True:
            pipe.send(train(*pipe.recv()))
    except EOFError:
        pass
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the reason to leave it out
        pipe.send(f"{type(error).__name__}: {error}")


def _trainer(name: str) -> Callable[[NetworkSpec, TrainSettings, int], Trial]:
    from benchmarks import reference_loop
    from objectives.data.load import load_data

    held: dict[tuple[int | None, int], ImageSet] = {}

    def train(spec: NetworkSpec, settings: TrainSettings, seed: int) -> Trial:
        key = settings.train_images, settings.validation_images
        if key not in held:
            held[key] = load_data(train_images=key[0], validation_images=key[1])
            _ = held[key].channel_statistics
        data, started = held[key], time.process_time()
        if name in (ONE, RUNGS, ALL):
            return _phiscale(spec, data, settings, seed)
        if name == TIMM:
            from benchmarks.timm_loop import train_timm

            run = train_timm(spec, data, settings, seed=seed)
        else:
            loops = {
                PLAIN: reference_loop.PLAIN,
                SINGLE: reference_loop.SINGLE,
                TUNED: reference_loop.tuned(settings.device),
            }
            loop = loops[name]
            run = reference_loop.train_reference(spec, data, settings, loop, seed=seed)
        return Trial(run.seconds, time.process_time() - started, run.images, run.accuracy, _peak_memory())

    return train


def _phiscale(spec: NetworkSpec, data: ImageSet, settings: TrainSettings, seed: int) -> Trial:
    from objectives.training.train import train_proxy

    started = time.process_time()
    run = train_proxy(spec, data, settings, seed=seed)
    used = time.process_time() - started
    images = plan_rungs(settings, len(data.train_labels))[-1].steps * min(settings.batch_size, len(data.train_labels))
    return Trial(run.seconds, used, images, run.scores[-1], run.peak_memory)


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
