"""Work for executors that does what a job says: answer, raise, die, hang, show what its worker has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from phiscale import TrialError


def wait_until(is_so: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.01)


class Work:
    """Called with the name of a method and its arguments; an array of 8 MiB goes with it."""

    def __init__(self, memory: tuple[str, int, int] = ("", 0, 0)) -> None:
        self.array = np.zeros(2**20)
        self._memory = memory

    def __call__(self, name: str, *arguments: Any) -> Any:
        return getattr(self, name)(*arguments)

    def memory(self) -> tuple[str, int, int]:
        return self._memory

    def answer(self, value: Any) -> Any:
        return value

    def process(self) -> int:
        return os.getpid()

    def variable(self, name: str) -> str | None:
        return os.environ.get(name)

    def fail(self, message: str) -> NoReturn:
        raise RuntimeError(message)

    def leave(self) -> NoReturn:
        raise SystemExit("on my own")

    def fail_the_trial(self) -> NoReturn:
        raise TrialError("diverged", "the loss became NaN")

    def cannot_travel(self) -> Any:
        return threading.Lock()

    def travels(self) -> Any:
        """Of a class that only this process knows."""
        return type("Own", (), {"score": 0.5})()

    def fork(self, marker: Path) -> int:
        """Goes on in a second process, as code that forgets to end it does; the exit status of that."""
        child = os.fork()
        if not child:
            marker.touch()
            raise RuntimeError("in the fork")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def die_once(self, marker: Path) -> str:
        if marker.exists():
            return "survived"
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def hang_once(self, marker: Path) -> str:
        if not marker.exists():
            marker.touch()
            time.sleep(600)
        return "done"

    def hang(self, marker: Path) -> None:
        """With a process of its own, whose number it writes."""
        child = subprocess.Popen(["sleep", "600"])
        marker.with_suffix(".part").write_text(str(child.pid))
        marker.with_suffix(".part").rename(marker)
        time.sleep(600)

    def die_and_leave_a_fork(self, marker: Path) -> None:
        """The fork holds all that the worker had open."""
        child = os.fork()
        if not child:
            time.sleep(600)
        marker.write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    def foreign(self) -> Any:
        """Of a module that the driver does not have."""
        module = sys.modules["not_there"] = types.ModuleType("not_there")
        module.Own = type("Own", (), {"__module__": "not_there"})  # type: ignore[attr-defined]
        return module.Own()

    def add_one(self) -> tuple[float, str]:
        """The sum of the array after one more, and how the system maps it."""
        self.array[0] += 1
        address = self.array.ctypes.data
        for line in Path("/proc/self/maps").read_text().splitlines():
            low, high = (int(word, 16) for word in line.split()[0].split("-"))
            if low <= address < high:
                return float(self.array.sum()), line.split()[4]
        return float(self.array.sum()), ""

    def meet(self, mine: Path, other: Path) -> str:
        """Comes back once another job runs at the same time."""
        mine.touch()
        wait_until(other.exists)
        return "met"

    def alone(self, folder: Path, name: str) -> bool:
        """Whether no other job runs meanwhile."""
        (folder / name).touch()
        time.sleep(0.3)
        others = len(list(folder.iterdir())) - 1
        (folder / name).unlink()
        return not others


class DiesAtStart(Work):
    """Ends every process that loads it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        os._exit(7)
