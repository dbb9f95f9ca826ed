"""A search on a Ray cluster of two nodes of one processor each, one of which is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import descendants
from tests.test_scripts import ROOT, search, trials
from tests.test_scripts_workers import check

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
STORE = 80_000_000
"""Bytes of a node's object store; Ray takes no less."""


@pytest.fixture(scope="module")
def cluster():
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("needs ray (pip install ray)")
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


def add_node(cluster):
    return cluster.add_node(num_cpus=1, object_store_memory=STORE)


def command(cluster, results: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(results), "--study", "s"]
    return [*words, "--executor", "ray", "--address", cluster.address, "--workers", "2", *more]


def test_a_search_goes_on_when_a_node_is_killed(cluster, tmp_path: Path) -> None:
    doomed, _ = add_node(cluster), add_node(cluster)
    words = command(cluster, tmp_path, "--trials", "10", "--train.images-seen", "1000")
    running = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = 0
    for line in running.stdout or ():
        ended += line.startswith("trial ")
        if ended == 3:
            cluster.remove_node(doomed, allow_graceful=False)
            add_node(cluster)
            break
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    check(tmp_path, 10)
    assert any(int(row["lost"] or 0) for row in trials(tmp_path))
    alone = search(tmp_path / "alone", "--study", "s", "--trials", "10", "--train.images-seen", "1000")
    assert alone.returncode == 0, alone.stderr
    # of the rules, which do not depend on the order in which trials end
    assert scores(tmp_path) == scores(tmp_path / "alone")
    assert not descendants(running.pid)


def test_folders_of_a_project_disturb_no_worker(cluster, tmp_path: Path) -> None:
    for name in ("search", "objectives"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('found in the project')\n")
    (tmp_path / "apart").mkdir()  # without __init__.py
    (tmp_path / "apart" / "mine.py").write_text("def score(alpha, beta, gamma, seed):\n    return alpha\n")
    add_node(cluster)
    words = [sys.executable, "-m", "phiscale", "search", "--study", "s", "--objective", "apart.mine:score"]
    words += ["--trials", "1", "--quiet", "--executor", "ray", "--address", cluster.address]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    variables = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def scores(results: Path) -> dict[str, str]:
    return {row["names"]: row["value"] for row in trials(results) if row["names"]}


def test_more_gpus_than_there_are_end_in_one_sentence(cluster, tmp_path: Path) -> None:
    done = subprocess.run(
        command(cluster, tmp_path, "--trials", "2", "--gpus-per-worker", "3"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "expected at most 0 GPUs for each worker" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_cluster_at_the_address_ends_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    words = [sys.executable, "-m", "scripts.run_search", "--results", str(tmp_path), "--study", "s", "--trials", "2"]
    words += ["--executor", "ray", "--address", "127.0.0.1:1"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: expected a Ray cluster at 127.0.0.1:1, got none")
    assert "Traceback" not in done.stderr
