"""More workers for one study: the same command again in processes of its own, which end with this one.

If this one is ended by ``kill -9``, the others go on to the end of the study and write its results.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

_MARK = "PHISCALE_WORKER"
"""Environment variable that tells a process it was started as another's worker."""
_MOST_REPLACED = 5
_PATIENCE = 60.0
"""Seconds that a worker has to put its trial back before it is killed."""


def is_helper() -> bool:
    """Whether this process was started by a ``Crew``: it says nothing and leaves the results to the first worker."""
    return os.environ.get(_MARK) == "1"


class Crew:
    """``count`` workers beside this process; one that dies is replaced, and its trial redone by whoever is next."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._replaced = 0

    def start(self) -> None:
        """Start the workers."""
        self._processes = [_start() for _ in range(self._count)]

    def tend(self) -> None:
        """Replace workers that ended badly, up to five in all."""
        for index, process in enumerate(self._processes):
            if process.poll() not in (None, 0) and self._replaced < _MOST_REPLACED:
                self._replaced += 1
                self._processes[index] = _start()

    def wait(self) -> None:
        """Wait for the last trials of the workers."""
        for process in self._processes:
            process.wait()

    def stop(self) -> None:
        """End the workers that still run; each puts its trial back first."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            if process.poll() is None:
                process.kill()


def _start() -> subprocess.Popen[bytes]:
    """The command of this process once more, as a helper; what it would say is for the first worker to say."""
    words = [sys.executable, "-m", "scripts.run_search", *sys.argv[1:]]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, env={**os.environ, _MARK: "1"}, stdin=quiet, stdout=quiet, stderr=quiet)  # noqa: S603
