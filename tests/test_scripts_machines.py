"""A second host, a full disk and a folder that cannot be written, as the kernel makes them: for root on Linux alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search.storage import open_storage

NEEDS_ROOT = "needs root on Linux and util-linux: it makes a host name or a file system of its own"
LANDSCAPE = "objectives.landscape:INTERIOR"
HELD = """
import sys
from pathlib import Path
import optuna
from search.hold import Hold
from search.storage import open_storage
study = optuna.create_study(
    study_name="s", direction="maximize", storage=open_storage(sys.argv[1], Path(sys.argv[2]), to_write=True)
)
Hold(study, Path(sys.argv[2]))
print("held", flush=True)
input()
"""


def may_unshare() -> bool:
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-u", "-m", "true"], check=False, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not may_unshare(), reason=NEEDS_ROOT)


def search(folder: Path, *words: str, before: str = "true", after: str = "true") -> subprocess.CompletedProcess[str]:
    """A search of 6 trials with its results in ``folder``, between two commands with a view of mounts of their own."""
    command = [sys.executable, "-m", "scripts.run_search", "--study", "s", "--results", str(folder), "--trials", "6"]
    command += ["--objective", LANDSCAPE, "--method", "qmc", *words]
    shell = ["unshare", "-m", "sh", "-c", f'{before} && "$@"; status=$?; {after}; exit $status', "sh", *command]
    return subprocess.run(shell, check=False, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("storage", ["study.db", "study.journal"])
def test_a_driver_on_another_host_is_named_and_not_taken_for_dead(tmp_path: Path, storage: str) -> None:
    """The process on the other host cannot be looked at from here, whatever its number."""
    name = f"sqlite:///{tmp_path / storage}" if storage.endswith(".db") else str(tmp_path / storage)
    (tmp_path / "elsewhere" / "s").mkdir(parents=True)
    shell = ["unshare", "-u", "sh", "-c", 'hostname other-host && exec "$@"', "sh"]
    child = [sys.executable, "-c", HELD, name, str(tmp_path / "elsewhere" / "s")]
    held = subprocess.Popen([*shell, *child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert held.stdout is not None
        assert held.stdout.readline() == "held\n"
        refused = search(tmp_path / "here", "--storage", name)
        assert refused.returncode == 1
        assert "on other-host since" in refused.stderr
        assert refused.stderr.count("\n") == 1
    finally:
        held.kill()
        held.communicate()
    refused = search(tmp_path / "here", "--storage", name)
    assert "--take-over" in refused.stderr
    assert len(open_storage(name, tmp_path).get_all_studies()) == 1


def test_a_full_disk_is_one_sentence_and_the_search_goes_on_when_there_is_room(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    kept = tmp_path / "kept"
    mounted = f"mount -t tmpfs -o size=400k none {results}"
    full = search(results, "--trials", "400", before=mounted, after=f"cp -a {results} {kept}")
    assert full.returncode == 1, full.stderr
    assert full.stderr.count("\n") == 1
    assert "Traceback" not in full.stderr
    again = search(kept, "--trials", "40")
    assert again.returncode == 0, again.stderr
    assert (kept / "s" / "constants.json").is_file()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    refused = search(results, before=f"mount -t tmpfs -o ro none {results}")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert str(results) in refused.stderr
    assert refused.stderr.count("\n") == 1
