"""The benchmark of the proxy engine: its command, what it starts, and its arithmetic."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import bench_proxy
from benchmarks.contestants import ALL, ONE, PLAIN, RUNGS, Contestant, cases
from benchmarks.device_rates import measure_rates, training_work
from phiscale import FLOPS, PROXY_BASE

ROOT = Path(__file__).parents[1]


def test_the_cases_are_what_they_are_called():
    default, half = cases().values()
    growth = FLOPS.target**2 * training_work(PROXY_BASE, element_bytes=4)[0]
    assert training_work(default.spec, element_bytes=4)[0] == pytest.approx(growth, rel=0.03)
    assert (half.spec.resolution, half.spec.stem_channels, half.spec.total_repeats) == (64, 16, 16)


def test_a_ratio_is_taken_within_its_round():
    rows = [row(PLAIN, 0, 10), row(ONE, 0, 20), row(PLAIN, 1, 100), row(ONE, 1, 300)]
    assert "| phiscale | 160 (20 to 300) | 1 (1 to 1) | 2.50 (2.00 to 3.00) |" in bench_proxy._table("c", rows)


def test_the_cost_of_rungs_is_taken_within_its_round():
    rows = [row(ONE, 0, 20, 2.0), row(RUNGS, 0, 20, 2.4), row(ONE, 1, 20, 10.0), row(RUNGS, 1, 20, 13.0)]
    written = bench_proxy._table("c", rows)
    assert "| phiscale with 4 rungs | 20 (20 to 20) |" in written
    assert written.endswith("wall time of 4 rungs over the longest alone: 1.25 (1.20 to 1.30); the goal is 1.25")
    assert "wall time" not in bench_proxy._table("c", rows[:1])


def row(contestant, turn, rate, wall=1.0):
    return {
        "contestant": contestant,
        "round": turn,
        "wall_seconds": wall,
        "images_per_second": rate,
        "trials_per_hour": 1,
        "start_up_seconds": 1,
        "peak_mib": 1,
    }


def test_rates_of_the_device_are_measured_and_threads_left_alone():
    before = torch.get_num_threads()
    rates = measure_rates(torch.device("cpu"), 1)
    assert rates.flops > 1e8
    assert rates.bytes > 1e8
    assert torch.get_num_threads() == before


def test_a_contestant_that_cannot_run_says_why():
    with pytest.raises(RuntimeError, match="KeyError"):
        Contestant("unknown", 1)


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path):
    words = ["--images", "512", "--repeats", "1", "--no-loading", "--case", "proxy-base, phi 2", "--processes", "2"]
    words += ["--only", f"{PLAIN},{ONE},{RUNGS},{ALL}", "--output", str(tmp_path / "rows.csv")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_proxy", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [(row["contestant"], row["trials"]) for row in rows] == [(PLAIN, "1"), (ONE, "1"), (RUNGS, "1"), (ALL, "2")]
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert "| phiscale on all cores |" in done.stdout
    assert "GB/s copied" in done.stdout
    assert "wall time of 4 rungs over the longest alone: " in done.stdout


def test_a_wrong_name_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_proxy", "--only", "x"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "expected contestants of plain loop" in done.stderr
