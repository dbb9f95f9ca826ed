"""How many proxy trials an hour gives: the loop that a person would write, tuned by hand, timm's, and phiscale.

All train the same networks on the embedded images with the same settings, in turn, several times, in processes that
stay: the plain loop and timm's with torch's default threads, phiscale with one thread, and phiscale with as many
processes of one thread as there are cores. A trial is one epoch and its scoring; start-up is measured apart. One
contestant is scored at 4 rungs of the same length. Ratios are taken within each round, so that a machine that is busy
for a while does not favour anybody.

Run: python -m benchmarks.bench_proxy                              # about 7 minutes on 2 cores
     python -m benchmarks.bench_proxy --repeats 1 --images 600     # a look, in a minute
     python -m benchmarks.bench_proxy --only "plain loop,phiscale" --case "half-width B0, 64 px"

Writes results/evidence/proxy-DEVICE.csv, one row per contestant and round, and prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from benchmarks.contestants import ALL, NAMES, ONE, PLAIN, RUNGS, Case, Contestant, cases
from objectives.training.settings import TrainSettings
from phiscale.files import write_text

EVIDENCE = Path(__file__).parents[1] / "results" / "evidence"
COLUMNS = (
    *("case", "contestant", "round", "wall_seconds", "trials", "images_per_second", "trials_per_hour", "accuracy"),
    *("peak_mib", "start_up_seconds"),
)
Row = dict[str, object]
Loaded = TypeVar("Loaded")


def main() -> None:
    """The command."""
    options = _options()
    contestants, left_out = _start(options.only, options.processes)
    try:
        rows = list(_measure(contestants, options.case, options.images, options.repeats))
    finally:
        for contestant in contestants:
            contestant.close()
    device = "gpu" if _gpu_name() else "cpu"
    path = options.output or EVIDENCE / f"proxy-{device}.csv"
    _write(path, rows)
    print(f"\n{_machine()}; {options.repeats} rounds of {options.images} images; median (lowest to highest)\n")
    for case in options.case:
        print(_table(case, [row for row in rows if row["case"] == case]), end="\n\n")
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}")
    print(_limits(rows, options.case, options.processes), end="\n\n")
    if not options.no_loading:
        print(_loading(), end="\n\n")
    print(f"rows: {path}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join(cases())
    parser.add_argument("--repeats", type=_count, default=5, help="rounds; every contestant runs once in each (5)")
    parser.add_argument("--images", type=_count, default=3000, help="training images of a trial; half a default trial")
    parser.add_argument("--only", type=_names, default=NAMES, help=f"comma-separated, of: {', '.join(NAMES)}")
    parser.add_argument("--case", action="append", choices=list(cases()), help=f"may be repeated; all of {known}")
    parser.add_argument("--processes", type=_count, default=os.cpu_count() or 1, help="of 'phiscale, all cores'")
    parser.add_argument("--no-loading", action="store_true", help="leave out the time to load images")
    parser.add_argument("--output", type=Path, help="the CSV file")
    options = parser.parse_args()
    options.case = options.case or list(cases())
    return options


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


def _names(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(","))
    if not set(chosen) <= set(NAMES):
        raise argparse.ArgumentTypeError(f"expected contestants of {', '.join(NAMES)}, got {text}")
    return chosen


def _start(names: Iterable[str], processes: int) -> tuple[list[Contestant], dict[str, str]]:
    started, left_out = [], {}
    for name in names:
        try:
            started.append(Contestant(name, processes if name == ALL else 1))
        except RuntimeError as error:
            left_out[name] = str(error)
    return started, left_out


def _measure(contestants: list[Contestant], names: list[str], images: int, repeats: int) -> Iterable[Row]:
    for turn in range(repeats):
        for name in names:
            case = cases()[name]
            for contestant in contestants:
                settings = _settings(case, images, rungs=4 if contestant.name == RUNGS else 1)
                if settings is None:
                    continue
                wall, trials = contestant.run(case.spec, settings, turn)
                row = {
                    "case": name,
                    "contestant": contestant.name,
                    "round": turn,
                    "wall_seconds": round(wall, 4),
                    "trials": len(trials),
                    "images_per_second": round(sum(trial.images for trial in trials) / wall, 2),
                    "trials_per_hour": round(3600 * len(trials) / wall, 2),
                    "accuracy": round(statistics.fmean(trial.accuracy for trial in trials), 4),
                    "peak_mib": max(trial.peak_memory for trial in trials) // 2**20,
                    "start_up_seconds": round(contestant.start_up, 2),
                }
                print(f"{name}, {contestant.name}, round {turn}: {row['images_per_second']} images/s", flush=True)
                yield row


def _settings(case: Case, images: int, *, rungs: int) -> TrainSettings | None:
    """None where the images are too few for the rungs."""
    count = max(64, int(images * case.part))
    found = TrainSettings(train_images=count, validation_images=count // 4, images_seen=count, rungs=rungs)
    return found if count >= 2 ** (rungs - 1) * 2 * found.batch_size or rungs == 1 else None


def _table(case: str, rows: list[Row]) -> str:
    plain = {row["round"]: _number(row, "images_per_second") for row in rows if row["contestant"] == PLAIN}
    lines = [
        f"### {case}\n",
        "| contestant | images/s | trials/hour | times the plain loop | start-up s | peak MiB of a process |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(str(row["contestant"]) for row in rows):
        mine = [row for row in rows if row["contestant"] == name]
        ratios = [_number(row, "images_per_second") / plain[row["round"]] for row in mine if row["round"] in plain]
        cells = [
            _spread([_number(row, "images_per_second") for row in mine], ".0f"),
            _spread([_number(row, "trials_per_hour") for row in mine], ".0f"),
            _spread(ratios, ".2f") if ratios else "-",
            f"{_number(mine[0], 'start_up_seconds'):.1f}",
            f"{max(_number(row, 'peak_mib') for row in mine):.0f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_cost_of_rungs(rows)])


def _cost_of_rungs(rows: list[Row]) -> list[str]:
    """Wall time of a training with 4 rungs over that of its longest rung alone; the goal is 1.25."""
    walls = {
        name: {row["round"]: _number(row, "wall_seconds") for row in rows if row["contestant"] == name}
        for name in (ONE, RUNGS)
    }
    ratios = [wall / walls[ONE][turn] for turn, wall in walls[RUNGS].items() if turn in walls[ONE]]
    return (
        [f"\nwall time of 4 rungs over the longest alone: {_spread(ratios, '.2f')}; the goal is 1.25"] if ratios else []
    )


def _number(row: Row, name: str) -> float:
    return float(str(row[name]))


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _limits(rows: list[Row], names: list[str], processes: int) -> str:
    """Which part of the measured matrix and copy rates of the device phiscale's training reaches."""
    import torch

    from benchmarks.device_rates import measure_rates, training_work

    device = torch.device("cuda" if _gpu_name() else "cpu")
    rates = measure_rates(device, processes)
    peak = f"{rates.flops / 1e9:.0f} GFLOP/s in a matrix product, {rates.bytes / 1e9:.1f} GB/s copied"
    lines = [
        f"### Part of what the device can do ({rates.what}: {peak})\n",
        "| network | contestant | GFLOP/s | of the matrix rate | GB/s at least | of the copy rate | nearer |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        work = training_work(cases()[name].spec, element_bytes=2 if device.type == "cuda" else 4)
        for who in (ONE, ALL):
            mine = [_number(r, "images_per_second") for r in rows if (r["case"], r["contestant"]) == (name, who)]
            if mine:
                flops, moved = (statistics.median(mine) * each for each in work)
                parts = f"{flops / rates.flops:.1%} | {moved / 1e9:.1f} | {moved / rates.bytes:.1%}"
                nearer = "matrix" if flops / rates.flops > moved / rates.bytes else "copy"
                lines.append(f"| {name} | {who} | {flops / 1e9:.1f} | {parts} | {nearer} |")
    return "\n".join(lines)


def _loading(count: int = 7500) -> str:
    """Seconds until the images of a default trial are there: the embedded set, and a folder of as many PNG files."""
    from PIL import Image

    from objectives.data.imageset import ImageSet
    from objectives.data.load import load_data

    train, validation = count * 4 // 5, count // 5

    def load(source: Path | None = None, cache: Path | None = None) -> ImageSet:
        return load_data(source, cache=cache, train_images=train, validation_images=validation)

    embedded, data = _timed(load)
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place, "images"), Path(place, "cache")
        pictures = [*zip(data.train_images, data.train_labels, strict=True)]
        pictures += zip(data.validation_images, data.validation_labels, strict=True)
        for index, (pixels, label) in enumerate(pictures):
            (folder / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / str(label) / f"{index}.png")
        cold, _ = _timed(lambda: load(folder, cache))
        cached, _ = _timed(lambda: load(folder, cache))
    files = f"{len(pictures)} PNG files: cold {cold:.2f} s, from cache {cached:.2f} s"
    return f"images ready: embedded {embedded:.2f} s; {files}"


def _timed(load: Callable[[], Loaded]) -> tuple[float, Loaded]:
    started = time.perf_counter()
    result = load()
    return time.perf_counter() - started, result


def _gpu_name() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _machine() -> str:
    import platform

    import torch

    where = _gpu_name() or f"{os.cpu_count()} CPU cores"
    return f"{where}, torch {torch.__version__}, Python {platform.python_version()}"


def _write(path: Path, rows: list[Row]) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, out.getvalue())


if __name__ == "__main__":
    main()
