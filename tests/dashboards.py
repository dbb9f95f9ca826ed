"""A dashboard that runs beside a test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.test_scripts import ROOT


@contextlib.contextmanager
def dashboard_of(results: Path, *arguments: str, study: str | None = "s") -> Iterator[str]:
    """Serve on any free port; gives the address that the command prints."""
    words = [sys.executable, "-u", "-W", "error", "-m", "scripts.dashboard", "--results", str(results), "--port", "0"]
    words += [*(("--study", study) if study else ()), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        line = running.stdout.readline()
        assert line.startswith("dashboard: "), running.communicate(timeout=60)[1]
        yield line.split()[1]
    finally:
        running.send_signal(signal.SIGINT)
        errors = running.communicate(timeout=60)[1]
    assert "error" not in errors.lower(), errors
