"""Training on this machine's GPU, checked and timed: is it right, how fast is it, what fails.

Run: python -m benchmarks.bench_gpu --output gpu.json          # all sections, about five minutes on one GPU
     python -m benchmarks.bench_gpu parity failures            # some sections
     python -m benchmarks.bench_gpu --quick                    # a look, with a tenth of the images

Sections: env, parity, speed, branches, workers, memory, failures. A section that fails ends alone. Without a GPU what
needs one is left out. Needs neither Optuna nor the command-line library. Results are printed, and written as JSON after
every section; the exit status is 1 where a check did not hold or a section failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.gpu_checks import AUGMENTATIONS, RATE, Bench, failures, parity, small
from benchmarks.reference_loop import PLAIN, learning_rates, train_reference
from objectives.networks.build import build_network
from objectives.training.device import device_name, is_halved
from objectives.training.device_images import DeviceImages, EpochPlan
from objectives.training.memory import give_back
from objectives.training.memory_needed import needed_bytes
from objectives.training.steps import TrainingSteps
from objectives.training.timing import measure
from objectives.training.train import train_proxy
from phiscale import NetworkSpec
from phiscale.files import write_text
from scripts.shared.training import Training
from search.executors.contract import Raised, run_all
from search.executors.processes import Processes

_FIRST_STEPS = 5
_BRANCHES = (1, 2, 4, 8, 16)
_REPLAYS = 100


def main() -> int:
    """The command."""
    options = _options()
    bench = Bench(quick=options.quick)
    if options.memory_case is not None:
        print(json.dumps(_memory_here(bench, _memory_cases(bench)[options.memory_case])))
        return 0
    found: dict[str, dict[str, object]] = {}
    for name in options.sections or SECTIONS:
        print(f"== {name}", flush=True)
        found[name] = _run(name, bench)
        if options.output:
            results = {"quick": options.quick, "broken": bench.broken, "sections": found}
            write_text(options.output, json.dumps(results, indent=1) + "\n")
    print("all checks hold" if not bench.broken else f"did not hold: {'; '.join(bench.broken)}")
    return 1 if bench.broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", type=_section, help=f"of {', '.join(SECTIONS)}; all where none is named")
    parser.add_argument("--quick", action="store_true", help="a look: a tenth of the images, fewer repeats")
    parser.add_argument("--output", type=Path, help="the JSON file")
    parser.add_argument("--memory-case", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _section(name: str) -> str:
    if name not in SECTIONS:
        raise argparse.ArgumentTypeError(f"expected a section of {', '.join(SECTIONS)}, got {name}")
    return name


def _run(name: str, bench: Bench) -> dict[str, object]:
    """The results of one section, whose failure is one of them."""
    bench.results.clear()
    started = time.perf_counter()
    try:
        SECTIONS[name](bench)
    except Exception:  # noqa: BLE001 - whatever it raises, the other sections run
        traceback.print_exc()
        bench.results["failed"] = traceback.format_exc()[-800:]
        bench.broken.append(f"section {name}")
    bench.say("seconds", round(time.perf_counter() - started, 1))
    give_back(bench.device)
    return dict(bench.results)


def env(bench: Bench) -> None:
    """The machine and its libraries."""
    bench.say("torch", {"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": _cudnn_version()})
    bench.say("python", platform.python_version())
    bench.say("cores", os.cpu_count())
    started = time.perf_counter()
    torch.zeros(1, device=bench.device)
    bench.synchronize()
    bench.say("seconds to open the device", round(time.perf_counter() - started, 2))
    bench.say("device", device_name(bench.device))
    bench.say("precision auto is bfloat16", is_halved(bench.device, bench.settings()))


def _cudnn_version() -> int | None:
    return torch.backends.cudnn.version() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to run the training step."""

    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the settings."""
    deterministic: bool = True
    """Whether cuDNN must choose deterministic kernels, as in a trial."""
    counters: bool = True
    """Whether batch normalisation counts its batches, which is a kernel each."""
    gpu_only: bool = True


VARIANTS = {
    "as it is": Variant(gpu_only=False),
    "no graph": Variant(changes={"cuda_graph": False}),
    "float32 (TF32 in convolutions)": Variant(changes={"precision": "float32"}),
    "not deterministic": Variant(deterministic=False),
    "no batch counters": Variant(counters=False),
    "batch 128": Variant(changes={"batch_size": 128}, gpu_only=False),
    "batch 512": Variant(changes={"batch_size": 512}, gpu_only=False),
}


def speed(bench: Bench) -> None:
    """Steps a second of the step alone, and seconds of whole trainings."""
    networks = {"proxy": bench.proxy} | ({"half B0": bench.half} if bench.on_gpu else {})
    for who, spec in networks.items():
        for name, variant in VARIANTS.items():
            if bench.on_gpu or not variant.gpu_only:
                bench.say(f"{who}, {name}", _rate(bench, spec, variant))
        cost, how = measure(spec, "train-step", bench.settings(), batch=None, repeats=5)
        bench.say(f"{who}, by phiscale calibrate", {"steps a second": round(1 / cost, 1), "how": how})
        if bench.on_gpu:
            bench.check(f"{who}: phiscale calibrate times the captured step", how.endswith("replayed as a CUDA graph"))
    trial, larger = bench.proxy, dataclasses.replace(bench.proxy, resolution=bench.proxy.resolution + 2)
    for name, spec, rungs in (
        ("whole trial", trial, 1),
        ("whole trial again", trial, 1),
        ("whole trial of new shapes", larger, 1),
        ("whole trial with 4 rungs", trial, 4),
    ):
        bench.say(f"{name}, seconds", round(bench.train(spec, rungs=rungs).seconds, 3))
    plain = train_reference(trial, bench.data, bench.settings(), PLAIN, seed=0)
    bench.say("plain loop, seconds", round(plain.seconds, 2))
    bench.say("resident loop, seconds", round(_resident(bench, trial), 2))


def _rate(bench: Bench, spec: NetworkSpec, variant: Variant) -> dict[str, object]:
    """Steps a second, the draws of the epochs among them, and milliseconds of the first steps."""
    count = 5 if bench.quick else 150
    steps = bench.steps(spec, **variant.changes)
    for module in steps._module.modules():
        if isinstance(module, nn.BatchNorm2d) and not variant.counters:
            module.num_batches_tracked = None
    before, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, variant.deterministic
    try:
        firsts = [_seconds(bench, steps, step, 1) for step in range(_FIRST_STEPS)]
        _seconds(bench, steps, _FIRST_STEPS, count)
        rate = count / _seconds(bench, steps, _FIRST_STEPS + count, count)
    finally:
        torch.backends.cudnn.deterministic = before
    return {"steps a second": round(rate, 1), "first steps in ms": [round(1e3 * each, 1) for each in firsts]}


def _seconds(bench: Bench, steps: TrainingSteps, first: int, count: int) -> float:
    bench.synchronize()
    started = time.perf_counter()
    steps.run(first, [RATE] * count)
    bench.synchronize()
    return time.perf_counter() - started


def _resident(bench: Bench, spec: NetworkSpec) -> float:
    """Seconds of a training, unscored, as the fastest public trainers do it.

    Images are on the GPU, an epoch is augmented at once, and the network runs in bfloat16.
    """
    device, data, settings = bench.device, bench.data, bench.settings()
    bench.synchronize()
    started = time.perf_counter()
    network = build_network(spec, 0).to(device).train()
    images = DeviceImages(data.train_images, data.train_labels, spec.resolution, device, data.channel_statistics)
    optimiser = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True, fused=True)
    batch, per_epoch = settings.batch_size, len(images) // settings.batch_size
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    for step, rate in enumerate(learning_rates(settings, len(images))):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            plan = EpochPlan.draw(len(images), AUGMENTATIONS, torch.Generator().manual_seed(epoch))
            moved = EpochPlan(plan.order.to(device), plan.mirrored.to(device), plan.shifts.to(device))
            pixels, labels = images.augmented(moved)
        chosen = slice(place * batch, (place + 1) * batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=bench.on_gpu):
            logits = network(pixels[chosen])
        optimiser.param_groups[0]["lr"] = rate
        functional.cross_entropy(logits.float(), labels[chosen]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    torch.backends.cudnn.benchmark = before
    bench.synchronize()
    return time.perf_counter() - started


def branches(bench: Bench) -> None:
    """Several seeds as parallel branches of one captured step: steps of all together a second."""
    if not bench.on_gpu:
        return bench.needs_gpu()
    for count in _BRANCHES[:2] if bench.quick else _BRANCHES:
        bench.say(f"{count} seeds in one graph", _branched(bench, count))
        give_back(bench.device)
    return None


def _branched(bench: Bench, count: int) -> dict[str, object]:
    trainings = [bench.steps(bench.proxy, seed=seed) for seed in range(count)]
    streams = [torch.cuda.Stream() for _ in range(count + 1)]  # type: ignore[no-untyped-call]
    aside = streams.pop()
    for training in trainings:  # a plain first step would bind the gradients to the stream on which it ran
        training._go_to(0)
        training._rates.fill_(RATE)

    def all_of_them() -> None:
        here = torch.cuda.current_stream()
        for training, stream in zip(trainings, streams, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                training._one()
                training._step.zero_()  # the same batch again: time does not depend on it
                training._first.zero_()
        for stream in streams:
            here.wait_stream(stream)

    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            all_of_them()
    bench.synchronize()
    graph, started = torch.cuda.CUDAGraph(), time.perf_counter()
    with torch.cuda.graph(graph, stream=aside):
        all_of_them()
    captured = time.perf_counter() - started
    graph.replay()
    bench.synchronize()
    started = time.perf_counter()
    for _ in range(_REPLAYS):
        graph.replay()
    bench.synchronize()
    rate = _REPLAYS * count / (time.perf_counter() - started)
    return {"steps a second": round(rate, 1), "seconds to capture": round(captured, 2)}


def workers(bench: Bench) -> None:
    """Trainings a minute by the number of processes, their start apart."""
    settings, spec = bench.settings(), bench.proxy
    for count in (1, 2) if bench.quick else (1, 2, 4, 8):
        jobs = [
            (dataclasses.replace(spec, resolution=spec.resolution + index % 3), index, settings.learning_rate)
            for index in range(max(8, 6 * count))
        ]
        stamps = []
        for _, outcome in run_all(Processes(count), Training(bench.data, settings), jobs):
            stamps.append(time.perf_counter())
            if isinstance(outcome, Raised):
                raise RuntimeError(outcome.what)
        first = len(stamps) // 3  # from then on all processes are at work
        rate = 60 * (len(stamps) - first) / (stamps[-1] - stamps[first - 1])
        bench.say(f"{count} processes, trainings a minute", round(rate, 1))


@dataclass(frozen=True)
class MemoryCase:
    """One training whose memory is measured."""

    name: str
    spec: NetworkSpec
    batch: int


def _memory_cases(bench: Bench) -> tuple[MemoryCase, ...]:
    return (
        MemoryCase("proxy", bench.proxy, 32),
        MemoryCase("proxy, batch 512", bench.proxy, 512),
        MemoryCase("half B0", bench.half, 32),
        MemoryCase("resnet-50 at 96 pixels", small("resnet-50", 96, 1.0), 64),
        MemoryCase("efficientnet-b0 at 128 pixels", small("efficientnet-b0", 128, 1.0), 64),
    )


def memory(bench: Bench) -> None:
    """MiB: the estimate against what a process of its own takes. ``benchmarks.bench_memory`` measures on a CPU."""
    if not bench.on_gpu:
        return bench.needs_gpu()
    for index, case in enumerate(_memory_cases(bench)):
        command = [sys.executable, "-m", "benchmarks.bench_gpu", "--memory-case", str(index)]
        command += ["--quick"] if bench.quick else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{case.name}: {done.stderr[-600:]}")
        bench.say(case.name, json.loads(done.stdout.splitlines()[-1]))
    return None


def _memory_here(bench: Bench, case: MemoryCase) -> dict[str, int]:
    """MiB that the training takes in this process, which has done nothing before; the context is not counted."""
    length = max(bench.images, 4 * case.batch)
    settings = bench.settings(batch_size=case.batch, images_seen=length, rungs=2)
    estimate = needed_bytes(case.spec, settings, bench.data, bench.device)
    before = torch.cuda.mem_get_info()[0]  # opens the device
    allocated = train_proxy(case.spec, bench.data, settings, seed=0).peak_memory
    reserved, taken = torch.cuda.max_memory_reserved(), before - torch.cuda.mem_get_info()[0]
    sizes = {"estimate": estimate, "allocated": allocated, "reserved": reserved, "taken": taken}
    return {name: size >> 20 for name, size in sizes.items()}


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "env": env,
    "parity": parity,
    "speed": speed,
    "branches": branches,
    "workers": workers,
    "memory": memory,
    "failures": failures,  # last: it may leave the process unusable
}


if __name__ == "__main__":
    sys.exit(main())
