from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from objectives.training import steps
from objectives.training import train as training
from objectives.training.device import autocast, choose_device, is_halved, memory_errors, reserved
from objectives.training.device_images import EpochPlan
from objectives.training.rungs import cooldown_rates, plan_rungs, trunk_rates
from objectives.training.settings import TrainSettings
from objectives.training.train import train_proxy
from phiscale import SettingsError, TrialError
from tests.tiny_data import TINY, striped_images

QUICK = TrainSettings(device="cpu", images_seen=256, batch_size=16, learning_rate=0.1)
DATA = striped_images()


CPU = torch.device("cpu")


def train(spec=TINY, data=DATA, settings=QUICK, seed=0):
    return train_proxy(spec, data, settings, seed=seed)


def with_settings(**changes):
    return dataclasses.replace(QUICK, **changes)


def test_training_learns():
    run = train(settings=with_settings(images_seen=768))
    assert run.lengths == (96, 192, 384, 768)
    assert run.scores[-1] > 0.95
    assert run.curves["train_loss"][-1] < run.curves["train_loss"][0]
    assert run.curves["log_loss"][-1] < 0.3
    assert run.device == "cpu"
    assert run.seconds > 0
    assert run.peak_memory > 2**20


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    spec = dataclasses.replace(TINY, dropout=0.2, drop_path=0.3)
    first, again, other = (train(spec, seed=seed).curves for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_nothing_global_is_changed():
    before = torch.random.get_rng_state(), torch.get_num_threads()
    train(dataclasses.replace(TINY, dropout=0.2), settings=with_settings(threads=before[1] + 1))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_the_global_random_state_does_not_matter():
    spec = dataclasses.replace(TINY, dropout=0.2)
    first = train(spec).curves
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert train(spec).curves == first


def trainer_of(data=DATA, seed=0):
    return training.Trainer(TINY, data, QUICK, CPU, seed, plan_rungs(QUICK, len(data.train_labels)))


def test_weights_and_dropout_come_from_the_seed(monkeypatch):
    weights, global_seeds = [], []
    real = training.Trainer._scored

    def scored(self, rung):
        global_seeds.append(torch.initial_seed())
        return real(self, rung)

    monkeypatch.setattr(training.Trainer, "_scored", scored)
    for seed in (1, 1, 2):
        weights.append(trainer_of(seed=seed).network.classifier.weight)
        train(seed=seed, settings=with_settings(images_seen=64, rungs=1))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert global_seeds[0] == global_seeds[1] != global_seeds[2]


def test_the_training_loss_is_the_mean_over_all_steps():
    run = train(settings=with_settings(learning_rate=1e-9))
    assert run.curves["train_loss"] == pytest.approx([math.log(2)] * 4, abs=0.35)


def test_every_network_sees_the_images_in_the_order_of_the_seed(monkeypatch):
    drawn = []
    real = EpochPlan.draw

    def draw(*arguments):
        drawn.append(real(*arguments))
        return drawn[-1]

    monkeypatch.setattr(EpochPlan, "draw", draw)
    once = with_settings(rungs=1)
    train(seed=5, settings=once)
    train(dataclasses.replace(TINY, resolution=13, stem_channels=3), seed=5, settings=once)
    assert len(drawn) == 4
    for first, second in zip(drawn[:2], drawn[2:], strict=True):
        assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("order", "mirrored", "shifts"))
    assert not torch.equal(drawn[0].order, drawn[1].order)


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "train_loss"])
def test_every_rung_has_the_score_that_is_asked_for(name):
    run = train(settings=with_settings(score=name))
    assert run.lengths == (32, 64, 128, 256)
    assert run.scores == run.curves[name]
    assert {len(values) for values in run.curves.values()} == {4}


def test_validation_values_are_those_of_the_network(monkeypatch):
    """Accuracy and log-loss recomputed from the logits of the trained network."""
    trainers = []
    real = training.Trainer.__init__

    def remember(self, *arguments):
        trainers.append(self)
        real(self, *arguments)

    monkeypatch.setattr(training.Trainer, "__init__", remember)
    run = train()
    (trainer,) = trainers
    network = trainer.network.eval()
    mean, std = torch.tensor(DATA.channel_statistics)
    inputs = (torch.tensor(DATA.validation_images) - mean[:, None, None]) / std[:, None, None]
    labels = torch.tensor(DATA.validation_labels)
    with torch.no_grad():
        logits = network(inputs)
    assert run.curves["accuracy"][-1] == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    assert run.curves["log_loss"][-1] == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)
    # the statistics are those of the weights as they are, not a moving average of earlier weights
    stem = (torch.tensor(DATA.train_images) - mean[:, None, None]) / std[:, None, None]
    convolution, norm, _ = network.stem[0]
    with torch.no_grad():
        features = convolution(stem)
    assert torch.allclose(norm.running_mean, features.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(norm.running_var, features.var((0, 2, 3)), rtol=1e-2)


@pytest.mark.parametrize(("images", "settling"), [(128, 128), (400, 250), (1800, 300), (7000, 1000)])
def test_statistics_settle_on_images_from_everywhere(images, settling):
    trainer = trainer_of(striped_images(images))
    chosen = torch.cat(trainer._settling)
    assert len(set(chosen.tolist())) == len(chosen) == settling
    assert chosen.max() > 0.9 * images
    assert min(len(batch) for batch in trainer._scoring) > 100


def test_settings_turn_augmentation_off():
    plain = train(data=striped_images(augmentations=frozenset())).curves
    assert train(settings=with_settings(flip=False, crop=False)).curves == plain
    assert train(settings=with_settings(flip=True, crop=False)).curves != plain
    assert train(settings=with_settings(flip=False, crop=True)).curves != plain


def test_every_step_has_its_own_learning_rate(monkeypatch):
    used = []
    real = torch.optim.SGD.step

    def step(self, *arguments):
        used.append([(float(group["lr"]), group["nesterov"], group["momentum"]) for group in self.param_groups])
        return real(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    train()
    planned = plan_rungs(QUICK, len(DATA.train_labels))
    rates, done = [], 0
    for rung in planned:
        rates += trunk_rates(QUICK, planned, done, rung.trunk_steps) + cooldown_rates(QUICK, planned, rung)
        done = rung.trunk_steps
    assert used == [[(rate, True, 0.9)] * 2 for rate in rates]


def test_compile_is_an_option_and_keeps_the_scoring_network_plain(monkeypatch):
    compiled = []

    def compile_it(network):
        compiled.append(network)
        return lambda images: network(images)

    resets = []
    monkeypatch.setattr(torch, "compile", compile_it)
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append(len(compiled)))
    plain = train().curves
    assert compiled == []
    for _ in range(2):
        curves = train(settings=with_settings(compile=True)).curves
        for name, values in curves.items():  # of torch's own layers
            assert values == pytest.approx(plain[name], abs=1e-5)
    assert len(compiled) == 2
    assert resets == [0, 1]  # before each: after eight networks torch would compile no more


def test_batch_normalisation_and_biases_do_not_decay():
    network = training.build_network(TINY, 0)
    decayed, others = steps.make_optimiser(network, with_settings(weight_decay=0.1), torch.tensor(0.1)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    weights = {id(m.weight) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert {id(parameter) for parameter in decayed["params"]} == weights
    assert len(decayed["params"]) + len(others["params"]) == len(list(network.parameters()))


def fails(kind, match, *arguments, **changes):
    with pytest.raises(TrialError, match=match) as caught:
        train(*arguments, **changes)
    assert caught.value.kind == kind


def test_a_loss_that_is_no_number_is_divergence():
    fails(
        "diverged",
        r"finite .* after 32 images; use a learning rate below 1e\+20",
        settings=with_settings(learning_rate=1e20),
    )


def test_one_image_of_one_pixel_cannot_be_normalised():
    spec = dataclasses.replace(TINY, resolution=2)
    fails("shape", "larger batch", spec, settings=with_settings(batch_size=1))
    assert math.isfinite(train(spec, settings=with_settings(batch_size=2)).scores[-1])
    assert math.isfinite(train(settings=with_settings(batch_size=1, images_seen=128)).scores[-1])


def test_a_network_for_other_images_is_refused():
    fails("shape", "2 classes for stripes, got 3 and 5", dataclasses.replace(TINY, classes=5))
    fails("shape", "got 1 and 2", dataclasses.replace(TINY, in_channels=1))


def test_an_allocation_that_fails_is_out_of_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where it waits for no training of other tests
    fails("out-of-memory", "tiny at 300000 pixels does not fit", dataclasses.replace(TINY, resolution=300_000))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ],
    ids=lambda error: str(error).rpartition("STATUS_")[2][:20],
)
def test_every_kind_of_memory_error_is_out_of_memory(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(training, "build_network", fail)
    fails("out-of-memory", "smaller batches")


def test_a_device_that_cannot_give_memory_back_hides_no_error(monkeypatch):
    """As after a capture that broke off."""

    def refuse():
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    with pytest.raises(TrialError, match="does not fit"), memory_errors("tiny", torch.device("cuda")):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_the_traceback_of_another_error_keeps_its_variables():
    def fail():
        kept = "for a debugger"
        raise RuntimeError(f"a mistake {kept}")

    with pytest.raises(RuntimeError) as caught, memory_errors("tiny", CPU):
        fail()
    assert caught.traceback[-1].frame.f_locals == {"kept": "for a debugger"}


def test_only_the_gpu_of_the_training_is_seeded_and_current(monkeypatch):
    """Another may be in use, and a graph would open one that is not."""
    happened = []

    @contextlib.contextmanager
    def current(device):
        happened.append(f"enter {device}")
        yield
        happened.append(f"leave {device}")

    monkeypatch.setattr(torch.cuda, "device", current)
    for name in ("manual_seed", "manual_seed_all", "get_rng_state", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda what, name=name: happened.append(f"{name} {what}"))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda _, device: happened.append(f"set_rng_state {device}"))
    with reserved(CPU, QUICK, 5):
        assert torch.initial_seed() == 5
    assert happened == []
    with reserved(torch.device("cuda:1"), QUICK, 5):
        assert torch.initial_seed() == 5
    assert happened == [
        "enter cuda:1",
        "get_rng_state cuda:1",
        "manual_seed 5",
        "reset_peak_memory_stats cuda:1",
        "set_rng_state cuda:1",
        "leave cuda:1",
    ]


def test_the_gpu_of_the_training_decides_its_precision(monkeypatch):
    """Not the current one, which torch asks."""
    current = [0]

    @contextlib.contextmanager
    def chosen(device):
        current.append(device.index)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", chosen)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: current[-1] == 1)
    halved = {index: is_halved(torch.device(f"cuda:{index}"), QUICK) for index in (0, 1)}
    assert halved == {0: False, 1: True}


def test_time_is_measured_once_training_and_scoring_have_run_once(monkeypatch):
    """On a GPU the first time of each takes longer, since kernels are loaded then."""
    happened = []

    def remember(name, real):
        def call(*arguments):
            happened.append(name)
            return real(*arguments)

        return call

    monkeypatch.setattr(steps.TrainingSteps, "run", remember("train", steps.TrainingSteps.run))
    monkeypatch.setattr(training.Trainer, "_evaluate", remember("score", training.Trainer._evaluate))
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=remember("time", time.perf_counter)))
    assert training.estimate_seconds(TINY, DATA, QUICK) > 0
    timed = happened.count("train") - 1
    assert 1 <= timed <= training._TIMED_STEPS
    assert happened == ["train", *["time", "train", "time"] * timed, "score", "time", "score", "time"]


def test_other_errors_are_not_hidden(monkeypatch):
    def fail(*_):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(training, "build_network", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        train()


def test_fewer_images_than_a_batch_are_one_step():
    assert math.isfinite(train(data=striped_images(8), settings=with_settings(batch_size=500)).scores[-1])


def test_equal_images_do_not_divide_by_zero():
    flat = dataclasses.replace(DATA, train_images=DATA.train_images * 0 + 7)
    assert math.isfinite(train(data=flat).scores[-1])


def test_bfloat16_is_another_arithmetic_of_the_same_training():
    halved, full = (train(settings=with_settings(precision=name)).curves for name in ("bfloat16", "float32"))
    assert halved != full
    assert halved["train_loss"] == pytest.approx(full["train_loss"], abs=0.2)


def test_precision_auto_is_float32_on_a_cpu():
    assert autocast(torch.device("cpu"), QUICK)._enabled is False
    assert autocast(torch.device("cpu"), with_settings(precision="bfloat16"))._enabled is True


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cuda:-1", "mps", "meta", "cpu:x", ""])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(SettingsError, match="expected a device"):
        choose_device(name)


def test_auto_is_a_device_that_is_there():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == torch.device("cpu")
