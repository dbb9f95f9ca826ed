"""Memory of a device: what is known of it, what a training needs of it, and that one that has ended holds none."""

from __future__ import annotations

import dataclasses
import gc
import math
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import pytest
import torch

from objectives.networks.factory import Factory
from objectives.proxy import ProxyObjective
from objectives.training import device as machine
from objectives.training import memory, memory_needed
from objectives.training import train as training
from objectives.training.memory_needed import needed_bytes, scoring_batch
from objectives.training.settings import TrainSettings
from objectives.training.train import train_proxy
from phiscale import EFFICIENTNET_B0, PUBLISHED_RULES, Multipliers, TrialError
from tests.factories_for_tests import plain
from tests.tiny_data import TINY, striped_images

CPU = torch.device("cpu")
SETTINGS = TrainSettings(device="cpu", images_seen=256, batch_size=16, learning_rate=0.2)
DATA = striped_images()
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of memory")


@pytest.mark.parametrize("part", [0.5, 2.0])
def test_memory_is_given_back_after_a_large_training_only(monkeypatch, part):
    given = []
    monkeypatch.setattr(training, "give_back", given.append)
    limit = needed_bytes(TINY, SETTINGS, DATA, CPU) / training._LARGE
    monkeypatch.setattr(training, "total_memory", lambda _: part * limit)
    train_proxy(TINY, DATA, SETTINGS, seed=0)
    assert given == ([CPU] if part < 1 else [])


@LINUX
def test_giving_back_returns_what_the_allocator_keeps():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    kept = [torch.ones(2**14) for _ in range(4000)]  # 250 MiB in blocks that the allocator keeps
    del kept[:-1]
    before = resident()
    memory.give_back(CPU)
    assert before - resident() > 100 * 2**20


def test_a_training_that_has_ended_holds_no_memory(monkeypatch):
    seen = []

    def watch(network, images, *rest):
        seen.extend(map(weakref.ref, (network, images)))
        return real(network, images, *rest)

    train_proxy(TINY, DATA, SETTINGS, seed=0)  # torch imports parts of itself, and keeps frames
    real = training.TrainingSteps
    monkeypatch.setattr(training, "TrainingSteps", watch)
    gc.collect()
    gc.disable()
    try:
        train_proxy(TINY, DATA, SETTINGS, seed=0)
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("error", "kind"), [(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), "out-of-memory"), (None, "diverged")]
)
def test_a_training_that_failed_holds_no_memory_when_it_is_given_back(monkeypatch, error, kind):
    living, real = [], training.Trainer._evaluate

    def fail(self):
        living.append(weakref.ref(self.network))
        if error:
            raise error
        return math.nan, real(self)[1]

    held = []

    def given(_device):
        gc.collect()
        held.append(living[0]() is not None)

    for module in (training, machine):
        monkeypatch.setattr(module, "give_back", given)
    monkeypatch.setattr(training, "_LARGE", 0.0)
    monkeypatch.setattr(training.Trainer, "_evaluate", fail)
    with pytest.raises(TrialError) as caught:
        train_proxy(TINY, DATA, SETTINGS, seed=0)
    assert caught.value.kind == kind
    assert held == [False] * len(held)
    assert len(held) == (2 if error else 1)  # at its end, and before that where memory ran out


@LINUX
def test_an_objective_says_what_its_networks_need_and_what_its_device_has():
    objective = ProxyObjective(TINY, DATA, SETTINGS, phi=1.0)
    network = objective.network(PUBLISHED_RULES["equal"].constants)
    assert objective.memory_needed(network) == needed_bytes(network.spec, SETTINGS, DATA, CPU)
    device, total, free = objective.memory()
    assert device.startswith("cpu")
    assert 0 < free < total == memory.total_memory(CPU)


@LINUX
def test_the_memory_of_this_machine_is_known():
    assert 0 < memory.free_memory(CPU) < memory.total_memory(CPU) < 2**50


def test_a_container_s_limit_is_the_memory_there_is(tmp_path, monkeypatch):
    group = tmp_path / "groups" / "job" / "step"
    group.mkdir(parents=True)
    (tmp_path / "own").write_text("1:name=systemd:/\n0::/job/step\n")
    (group / "memory.max").write_text("max\n")
    for name, text in (("max", "1000000\n"), ("current", "700000\n"), ("stat", "file 9\ninactive_file 200000\n")):
        (group.parent / f"memory.{name}").write_text(text)
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OWN_GROUP", tmp_path / "own")
    assert memory.total_memory(CPU) == 1_000_000
    assert memory.free_memory(CPU) == 500_000


def needed(spec=EFFICIENTNET_B0, *, device=CPU, **changes):
    return needed_bytes(spec, dataclasses.replace(SETTINGS, **changes), DATA, device)


def test_the_estimate_grows_with_all_that_takes_memory():
    small = needed()
    assert needed(batch_size=64) > 1.5 * small
    assert needed(dataclasses.replace(EFFICIENTNET_B0, resolution=448)) > 2 * small
    assert needed(dataclasses.replace(EFFICIENTNET_B0, classes=10**5)) - small > 16 * 1280 * 99_000  # weights
    at_stored = dataclasses.replace(TINY, resolution=8)
    many = needed_bytes(at_stored, SETTINGS, striped_images(10**4), CPU)
    assert many - needed(at_stored) > 1.9 * 10**4 * 3 * 8 * 8


@LINUX
@pytest.mark.slow
def test_a_small_training_takes_no_more_than_is_estimated():
    """Of which most is what libraries load with the first one, and here compile."""
    command = [sys.executable, "-m", "benchmarks.bench_memory", "--here", "0"]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    estimate, measured = map(int, output.split())
    assert measured < estimate


def test_images_are_resized_without_a_second_copy():
    at_64 = dataclasses.replace(TINY, resolution=64)
    some, twice = (needed_bytes(at_64, SETTINGS, striped_images(count), CPU) for count in (2000, 4000))
    assert twice - some == 2 * 2000 * 3 * 64**2


def test_a_batch_is_not_larger_than_the_images():
    assert needed(TINY, batch_size=128) == needed(TINY, batch_size=10**6)


def test_half_precision_halves_the_batches_of_a_gpu(monkeypatch):
    monkeypatch.setattr(memory_needed, "total_memory", lambda _: 2**36)
    gpu = torch.device("cuda")
    full, halved = (needed(device=gpu, precision=name) for name in ("float32", "bfloat16"))
    assert 1.5 < full / halved < 2


def test_a_factory_s_network_is_estimated_by_its_count():
    small, large = (Factory(name="plain", build=plain, resolution=side, classes=2) for side in (32, 128))
    assert 0 < needed(small.member(Multipliers(1, 1, 1))) < needed(large.member(Multipliers(1, 1, 1)))


@pytest.mark.parametrize("resolution", [8, 100, 224, 300])
def test_the_batches_of_scoring_are_those_of_the_estimate(resolution):
    largest = max(map(len, training._batches(torch.arange(1000), resolution)))
    assert scoring_batch(resolution) - 16 < largest <= scoring_batch(resolution)


@LINUX
def test_the_estimate_is_near_to_what_a_training_takes():
    command = [sys.executable, "-m", "benchmarks.bench_memory", "--here", "3"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    estimate, measured = map(int, output.split())
    assert 0.8 < estimate / measured < 2
