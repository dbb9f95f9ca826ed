"""A step that is captured and replayed is the same step; what a GPU does with it is acted out on the CPU."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from objectives.networks.build import build_network
from objectives.training import cuda_graph as replay
from objectives.training import device_images as pixels
from objectives.training import steps
from objectives.training import train as training
from objectives.training.cuda_graph import Replayed
from objectives.training.rungs import plan_rungs, total_steps
from objectives.training.settings import TrainSettings
from objectives.training.timing import measure
from objectives.training.train import train_proxy
from tests.tiny_data import TINY, striped_images

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
QUICK = TrainSettings(device="cpu", images_seen=256, batch_size=16, learning_rate=0.2)


class ActedGraph:
    """Replays by doing what was done while it was captured."""

    def __init__(self):
        self.work = None
        self.replays = 0

    def replay(self):
        self.replays += 1
        self.work()


class ActedStream:
    def __init__(self, log):
        self.log = log

    def wait_stream(self, other):
        self.log.append((self, other))


@pytest.fixture
def acted(monkeypatch):
    """CUDA's graphs and streams acted out; capturing undoes what the work does. What happened, by name."""
    happened = {"graphs": [], "waits": [], "undo": lambda: lambda: None, "captured": None}
    current = ActedStream(happened["waits"])

    @contextlib.contextmanager
    def graph(made, stream):
        assert isinstance(stream, ActedStream)
        assert stream is not current
        made.work = happened["captured"]
        happened["graphs"].append(made)
        undo = happened["undo"]()
        yield
        undo()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", ActedGraph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: ActedStream(happened["waits"]))
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: current)
    monkeypatch.setattr(replay, "_broken", [])
    replay._aside.cache_clear()
    yield happened
    replay._aside.cache_clear()


def test_the_first_runs_are_plain_and_the_rest_replays(acted):
    done = []

    def work():
        done.append(len(done))

    acted["captured"] = work
    acted["undo"] = lambda: done.pop
    replayed = Replayed(CUDA, wanted=True)
    for count in range(1, 11):
        replayed(work)
        assert done == list(range(count))
    (graph,) = acted["graphs"]
    assert graph.replays == 7
    aside = acted["waits"][0][0]
    current = acted["waits"][1][0]
    assert acted["waits"] == [(aside, current), (current, aside)] * 3  # neither stream runs ahead of the other


@pytest.mark.parametrize(("device", "wanted"), [(CPU, True), (CUDA, False)])
def test_without_a_gpu_or_if_unwanted_all_runs_are_plain(acted, device, wanted):
    done = []
    replayed = Replayed(device, wanted=wanted)
    for _ in range(6):
        replayed(lambda: done.append(1))
    assert len(done) == 6
    assert acted["graphs"] == acted["waits"] == []


class ActedGenerator:
    """The random generator of a GPU, which a capture that breaks off leaves unusable."""

    def __init__(self):
        self.state = "captured"

    def clone_state(self):
        return "usable"

    def graphsafe_set_state(self, state):
        self.state = state


@pytest.fixture
def breaks_off(acted, monkeypatch):
    """Work whose capture breaks off, and what it does and leaves behind."""
    done, capturing, restored, graphs = [], [], [], []
    generators = ActedGenerator(), ActedGenerator()

    def work():
        if capturing:
            raise RuntimeError("operation not permitted when stream is capturing\nand much more")
        done.append(1)

    @contextlib.contextmanager
    def graph(made, stream):
        graphs.append(weakref.ref(made))
        capturing.append(1)
        try:
            yield
        finally:
            capturing.clear()
            raise RuntimeError("capture_end failed too")  # as the real one does, with its stream left current

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "set_stream", restored.append)
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    return SimpleNamespace(work=work, done=done, restored=restored, graphs=graphs, generators=generators)


def test_work_that_cannot_be_captured_goes_on_plainly(breaks_off, caplog):
    replayed = Replayed(CUDA, wanted=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            replayed(breaks_off.work)
    assert len(breaks_off.done) == 6
    (record,) = caplog.records
    assert record.getMessage().endswith("slower: RuntimeError: capture_end failed too")
    assert breaks_off.restored == [torch.cuda.current_stream(CUDA)]


def test_after_a_capture_that_breaks_off_no_other_is_tried(breaks_off):
    """The allocator keeps a pointer to the graph, so it must live, and may mistake the memory of another capture."""
    earlier = Replayed(CUDA, wanted=True)
    first = Replayed(CUDA, wanted=True)
    for _ in range(6):
        first(breaks_off.work)
    del first
    for replayed in (earlier, Replayed(CUDA, wanted=True)):
        for _ in range(6):
            replayed(breaks_off.work)
    assert len(breaks_off.done) == 18
    (graph,) = breaks_off.graphs
    assert graph() is not None


@pytest.mark.parametrize(("device", "states"), [("cuda", ["usable", "captured"]), ("cuda:1", ["captured", "usable"])])
def test_after_a_capture_that_breaks_off_dropout_can_draw(breaks_off, device, states):
    replayed = Replayed(torch.device(device), wanted=True)
    for _ in range(4):
        replayed(breaks_off.work)
    assert [generator.state for generator in breaks_off.generators] == states


@pytest.mark.parametrize("error", [RuntimeError, AttributeError])
def test_a_generator_that_cannot_be_mended_ends_no_training(breaks_off, monkeypatch, error):
    def fail(self):
        raise error("not there")

    monkeypatch.setattr(ActedGenerator, "clone_state", fail)
    replayed = Replayed(CUDA, wanted=True)
    for _ in range(6):
        replayed(breaks_off.work)
    assert len(breaks_off.done) == 6


def test_memory_that_runs_out_in_the_capture_is_no_reason_to_go_on(acted):
    calls = []

    def work():
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    replayed = Replayed(CUDA, wanted=True)
    for _ in range(3):
        replayed(work)
    with pytest.raises(torch.OutOfMemoryError):
        replayed(work)


@pytest.fixture
def on_a_gpu(acted, monkeypatch):
    """Steps of trainings, replayed after a capture that is undone; those that were made."""
    made = []

    class OnAGpu(steps.TrainingSteps):
        def __init__(self, network, *rest):
            super().__init__(network, *rest)
            self._run = Replayed(CUDA, wanted=True)
            acted["captured"] = self._one
            acted["undo"] = lambda: self.remember(network)
            made.append(self)

        def remember(self, network):
            tensors = [
                *network.state_dict().values(),
                *(state["momentum_buffer"] for state in self._optimiser.state.values()),
                *(self._rate, self._step, self._first, self._total),
            ]
            kept, random = copy.deepcopy([tensor.detach() for tensor in tensors]), torch.get_rng_state()

            def undo():
                with torch.no_grad():
                    for tensor, value in zip(tensors, kept, strict=True):
                        tensor.copy_(value)
                torch.set_rng_state(random)

            return undo

    monkeypatch.setattr(training, "TrainingSteps", OnAGpu)
    return made


def test_a_training_of_replayed_steps_is_the_training(acted, request):
    """A step that kept anything beyond what is put back after the capture would train differently."""
    spec = dataclasses.replace(TINY, dropout=0.2, drop_path=0.3)
    data = striped_images()
    plain = train_proxy(spec, data, QUICK, seed=3).curves
    made = request.getfixturevalue("on_a_gpu")
    assert train_proxy(spec, data, QUICK, seed=3).curves == plain
    assert len(made) == len(acted["graphs"]) == 1
    assert acted["graphs"][0].replays == total_steps(plan_rungs(QUICK, len(data.train_labels))) - 3
    alone = train_proxy(spec, data, dataclasses.replace(QUICK, rungs=1), seed=3).curves
    assert {name: values[-1:] for name, values in plain.items()} == alone  # the graph goes on where the trunk was left


@pytest.fixture
def at_once(monkeypatch):
    """Steps are timed together as on a GPU; how many."""
    monkeypatch.setitem(training.STEPS_AT_ONCE, "cpu", training.STEPS_AT_ONCE["cuda"])
    return training.STEPS_AT_ONCE["cuda"]


def test_a_measured_step_is_the_replayed_one(acted, on_a_gpu, at_once, monkeypatch):
    """The clock counts replays: a measurement that took in launches, the capture or another step would not be 1."""

    def replays():
        return float(sum(graph.replays for graph in acted["graphs"]))

    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=replays))
    cost, how = measure(TINY, "train-step", QUICK, batch=4, repeats=3)
    assert cost == 1.0
    assert how == "cpu, threads 1, float32, batch 4, training step replayed as a CUDA graph"
    (steps_of_it,) = on_a_gpu
    assert replays() == 4 * at_once - 3
    assert steps_of_it._per_epoch == at_once  # no order of images is drawn on the way


def test_where_no_capture_is_possible_the_launched_step_is_measured(breaks_off, on_a_gpu, at_once, monkeypatch, caplog):
    def refuse(_made, stream):
        raise RuntimeError("no capture here")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    cost, how = measure(TINY, "train-step", QUICK, batch=4, repeats=1)
    assert cost > 0
    assert how.endswith("training step launched kernel by kernel")
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "change",
    [{"threads": 3}, {"label_smoothing": 0.1, "momentum": 0.5, "weight_decay": 0.1}, {"precision": "bfloat16"}],
)
@pytest.mark.parametrize("metric", ["train-step", "memory"])
def test_what_is_measured_is_the_step_of_a_training(change, metric, monkeypatch):
    settings = dataclasses.replace(QUICK, **change)
    made, threads = [], []

    class Seen(steps.TrainingSteps):
        def __init__(self, network, images, *rest):
            super().__init__(network, images, *rest)
            groups = [{**group, "params": len(group["params"]), "lr": 0} for group in self._optimiser.param_groups]
            layers, layout = [type(module) for module in network.modules()], images.batch(self._places)[0].stride()
            made.append([layers, layout, groups, self._is_halved(), self._settings.label_smoothing, self._batch])

        def _is_halved(self):
            with self._autocast:
                return torch.is_autocast_enabled("cpu")

    monkeypatch.setattr(training, "TrainingSteps", Seen)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    train_proxy(TINY, striped_images(), settings, seed=0)
    measure(TINY, metric, settings, batch=None, repeats=1)
    assert made[0] == made[1]
    assert threads[:2] == threads[2:]


def test_a_person_s_own_network_is_not_captured(monkeypatch):
    """It may draw or count in Python at each step, which a graph would repeat."""
    images = pixels.DeviceImages(np.zeros((4, 3, 8, 8), np.uint8), np.zeros(4, np.int64), 8, CPU, ((0,) * 3, (1,) * 3))
    asked = []
    monkeypatch.setattr(steps, "Replayed", lambda _device, *, wanted: asked.append(wanted))
    for network in (build_network(TINY, 0), nn.Sequential(nn.Flatten(), nn.Linear(192, 2))):
        steps.TrainingSteps(network, images, QUICK, CPU, 4, lambda _: pixels.EpochPlan.empty(4, CPU))
    assert asked == [True, False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "spec", [TINY, dataclasses.replace(TINY, dropout=0.2, drop_path=0.3)], ids=["plain", "dropout"]
)
def test_a_gpu_trains_the_same_with_and_without_a_graph(spec):
    settings = dataclasses.replace(QUICK, device="cuda")
    curves = [
        train_proxy(spec, striped_images(), dataclasses.replace(settings, cuda_graph=wanted), seed=3).curves
        for wanted in (True, False)
    ]
    for name in curves[0]:
        assert curves[0][name] == pytest.approx(curves[1][name], abs=1e-4)
