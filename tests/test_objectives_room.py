"""Room on a device, with real processes: who waits, who goes on, and that nobody waits for the dead."""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path

import pytest
import torch
from objectives.alive import hold, let_go

from objectives import room
from objectives.networks.factory import Factory
from objectives.training import device as machine
from objectives.training import memory
from objectives.training import memory_needed as needs
from objectives.training import train as training
from objectives.training.memory_needed import needed_bytes, scoring_batch
from objectives.training.settings import TrainSettings
from objectives.training.train import train_proxy
from phiscale import EFFICIENTNET_B0, Multipliers, TrialError
from tests.factories_for_tests import plain
from tests.tiny_data import TINY, striped_images

CPU = torch.device("cpu")
SETTINGS = TrainSettings(device="cpu", images_seen=256, batch_size=16, learning_rate=0.2)
DATA = striped_images()
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of memory")
WAITS = "waiting for memory: this trial needs about "
GIB = 2**30
PATIENCE = 60


class Sender(logging.Handler):
    """Sends what is logged."""

    def __init__(self, pipe):
        super().__init__()
        self._pipe = pipe

    def emit(self, record):
        self._pipe.send(record.getMessage())


def stay(pipe, needed):
    with room.room(CPU, needed):
        pipe.send("in")
        pipe.recv()
    pipe.send("out")


def train(pipe, seed):
    scored = training._Trainer._scored

    def stop_at_the_first_rung(self, rung):
        if rung is self._rungs[0]:
            pipe.send("in")
            pipe.recv()
        return scored(self, rung)

    training._Trainer._scored = stop_at_the_first_rung
    pipe.send(train_proxy(TINY, striped_images(), SETTINGS, seed=seed).curves)


def begin(pipe, folder, total, free, work, argument):
    tempfile.tempdir = folder
    room.total_memory, room.free_memory = lambda _: total, lambda _: free
    logging.getLogger("objectives.room").addHandler(Sender(pipe))
    work(pipe, argument)


class Process:
    """A process that trains, or pretends to, on a device of ``total`` bytes."""

    def __init__(self, folder, argument, *, work=stay, total=100 * GIB, free=1000 * GIB):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = theirs, str(folder), total, free, work, argument
        self.process = context.Process(target=begin, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def says(self):
        """Its next words."""
        assert self.pipe.poll(PATIENCE), "nothing was said"
        return self.pipe.recv()

    def go_on(self):
        self.pipe.send("go on")

    def kill(self):
        """End it as ``kill -9`` does."""
        self.process.kill()
        self.process.join(PATIENCE)


@pytest.fixture
def start(tmp_path):
    """Starts processes on one device, which end with the test."""
    started = []

    def begin(*arguments, **options):
        started.append(Process(tmp_path, *arguments, **options))
        return started[-1]

    yield begin
    for one in started:
        one.kill()
        one.pipe.close()


@pytest.fixture
def device(tmp_path, monkeypatch):
    """This process on a device of 100 bytes, all of them free."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(room, "total_memory", lambda _: 100)
    monkeypatch.setattr(room, "free_memory", lambda _: 100)
    return monkeypatch


def obstacle(needed):
    return room._Line(room._device_folder(CPU), CPU)._obstacle(needed, None)


def files(folder, kind):
    return list(folder.glob(f"phiscale-*/cpu/{kind}/*"))


def test_what_does_not_fit_waits_until_the_other_leaves(start):
    first = start(60 * GIB)
    assert first.says() == "in"
    second = start(60 * GIB)
    assert second.says() == f"{WAITS}60.0 GiB of this machine's memory, 30.0 GiB are left for it"
    first.go_on()
    assert first.says() == "out"
    assert second.says() == "in"


def test_nobody_waits_for_a_process_that_was_killed(start, tmp_path):
    first = start(60 * GIB)
    assert first.says() == "in"
    second = start(60 * GIB)
    assert second.says().startswith(WAITS)
    third = start(60 * GIB)
    assert third.says().endswith("others have waited longer")
    second.kill()
    first.kill()
    assert third.says() == "in"
    assert len(files(tmp_path, "running")) == 1
    assert files(tmp_path, "waiting") == []


def test_those_that_fit_go_side_by_side(start):
    first, second = start(45 * GIB), start(45 * GIB)
    assert (first.says(), second.says()) == ("in", "in")


def test_a_small_one_does_not_overtake_a_large_one(start):
    first = start(60 * GIB)
    assert first.says() == "in"
    large = start(89 * GIB)
    assert large.says().startswith(WAITS)
    small = start(2 * GIB)
    assert small.says().endswith("others have waited longer")
    first.go_on()
    assert large.says() == "in"
    large.go_on()
    assert small.says() == "in"


@pytest.mark.timeout(60)
def test_a_lone_one_always_goes_on(device, tmp_path):
    with room.room(CPU, 10**6):
        assert len(files(tmp_path, "running")) == 1
    assert files(tmp_path, "running") == []
    assert files(tmp_path, "waiting") == []


def test_a_stopped_process_holds_nobody_up(device, tmp_path):
    ticket = hold(room._Line(room._device_folder(CPU), CPU)._waiting / room._file_name(50))
    assert obstacle(1).endswith("others have waited longer")
    long_ago = time.time() - 2 * room._SECONDS_OF_SILENCE
    os.utime(ticket.lock_file, (long_ago, long_ago))
    assert not obstacle(1)
    let_go(ticket)


def test_what_others_have_not_taken_yet_is_not_free(device):
    with room.room(CPU, 30):
        device.setattr(room, "free_memory", lambda _: 50)
        assert obstacle(30)
        assert not obstacle(20)
        device.setattr(room, "_SECONDS_TO_GROW", 0.0)  # the 30 bytes are taken, 50 are left
        assert not obstacle(30)
        assert obstacle(51)


def test_an_interrupt_ends_the_waiting(device, tmp_path):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    device.setattr(room.time, "sleep", interrupt)
    with room.room(CPU, 60):
        with pytest.raises(KeyboardInterrupt), room.room(CPU, 60):
            pytest.fail("there is no room")
        assert len(files(tmp_path, "running")) == 1
        assert files(tmp_path, "waiting") == []


@pytest.mark.timeout(60)
def test_without_a_folder_nothing_waits(device, tmp_path):
    (tmp_path / "file").touch()
    device.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with room.room(CPU, 80), room.room(CPU, 80):
        pass


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners of files here")
def test_a_folder_that_others_may_write_to_is_not_used(device, tmp_path):
    theirs = tmp_path / f"phiscale-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    with room.room(CPU, 80), room.room(CPU, 80):
        assert list(theirs.iterdir()) == []


def test_the_error_of_a_training_goes_on_and_frees_the_room(device, tmp_path):
    with pytest.raises(FileNotFoundError, match="of the training"), room.room(CPU, 80):
        raise FileNotFoundError("of the training")
    assert files(tmp_path, "running") == []


def test_where_there_is_room_it_costs_next_to_nothing(device):
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        with room.room(CPU, 1):
            pass
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.005  # 0.5 ms on the machine of docs/performance.md; the test allows for a busy one


def test_memory_is_given_back_where_it_matters(device):
    given = []
    device.setattr(room, "give_back", given.append)
    with room.room(CPU, 5):
        pass
    assert given == []
    with room.room(CPU, 50):
        pass
    assert given == [CPU]


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
def test_a_training_that_failed_holds_no_memory_when_it_is_given_back(device, error, kind):
    living, real = [], training._Trainer._evaluate

    def fail(self):
        living.append(weakref.ref(self._network))
        if error:
            raise error
        return math.nan, real(self)[1]

    held = []

    def given(_device):
        gc.collect()
        held.append(living[0]() is not None)

    for module in (room, machine):
        device.setattr(module, "give_back", given)
    device.setattr(training._Trainer, "_evaluate", fail)
    with pytest.raises(TrialError) as caught:
        train_proxy(TINY, DATA, SETTINGS, seed=0)
    assert caught.value.kind == kind
    assert held == [False] * len(held)
    assert len(held) == (2 if error else 1)  # by the room, and before that where memory ran out


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
    monkeypatch.setattr(needs, "total_memory", lambda _: 2**36)
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


def test_trainings_that_do_not_fit_go_one_after_the_other_and_score_the_same(start):
    settings = {"work": train, "total": 1, "free": 1}
    first = start(3, **settings)
    assert first.says() == "in"
    second = start(4, **settings)
    assert second.says().startswith(WAITS)
    first.go_on()
    scores = [first.says()]
    assert second.says() == "in"
    second.go_on()
    scores.append(second.says())
    alone = [train_proxy(TINY, DATA, SETTINGS, seed=seed).curves for seed in (3, 4)]
    assert scores == alone
