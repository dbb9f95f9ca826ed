"""What all commands share at the terminal: options, exit statuses, and progress that fits where it is read."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from phiscale.errors import PhiscaleError, SettingsError, one_line
from phiscale.text import printable, printable_lines

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from search.trial import Trial

Options = TypeVar("Options")

_ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command as Ctrl-C does; a closed terminal sends SIGHUP."""
_LONGEST = 4000
"""Characters of an error."""
OK, FAILED, WRONG_USAGE, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141


def run_command(options: type[Options], command: Callable[[Options], None], description: str, name: str) -> int:
    """Read the options of a command, run it, and turn its errors into one sentence and an exit status.

    0 success, 1 failure, 2 wrong usage, 130 Ctrl-C, 141 where nobody reads its output any longer, as for other tools.
    ``PHISCALE_TRACEBACK=1`` shows where an error came from.
    """
    import tyro

    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - None where it was closed before the start
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold bytes that are no text
    for ending in _ENDINGS:
        signal.signal(ending, _terminate)
    try:
        given = tyro.cli(options, prog=f"python -m {name}", description=description)
        command(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        for ending in (signal.SIGINT, *_ENDINGS):
            signal.signal(ending, signal.SIG_IGN)
        return INTERRUPTED
    except BrokenPipeError:
        _empty_output()
        return UNREAD
    except (PhiscaleError, OSError) as error:
        if os.environ.get("PHISCALE_TRACEBACK"):
            traceback.print_exc()
        say_error(str(error))
        _empty_output()
        return WRONG_USAGE if isinstance(error, SettingsError) else FAILED
    return OK


def _empty_output() -> None:
    """Write what standard output still holds, or nowhere if it cannot be, so that Python ends without stumbling."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(*_: Any) -> None:
    raise KeyboardInterrupt


def say_error(message: str) -> None:
    """One sentence on standard error."""
    print(f"error: {one_line(message, _LONGEST)}", file=sys.stderr)


class PlainProgress:
    """One line per trial: for pipes and log files."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.minimises = False
        """Whether smaller scores are better."""
        self.ended: Callable[[Trial], None] = lambda _: None
        """Called with every trial that ends."""
        self._trials: list[Trial] = []
        self._total = self._before = 0
        self._start = time.monotonic()

    def begin(self, trials: list[Trial], total: int, notes: list[str]) -> None:
        """Say what is there before the first trial."""
        self._trials = [trial for trial in trials if trial.is_attempt]
        self._total, self._before, self._start = total, len(self._trials), time.monotonic()
        for note in [*notes, f"{self._before} of {total} trials done"]:
            self.say(note)

    def say(self, text: str) -> None:
        """One line or more, unless quiet."""
        if not self._quiet:
            print(printable_lines(text), flush=True)

    def trial_ended(self, trial: Trial) -> None:
        """One line about the trial, and how the run goes."""
        self._trials.append(trial)
        self.show(trial)
        self.ended(trial)

    def show(self, trial: Trial) -> None:
        """One line about a trial, and how the run goes."""
        self.say(f"{describe_trial(trial)}   [{self.state()}]")

    def end(self) -> None:
        """Nothing to tidy."""

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return len(self._trials)

    def state(self) -> str:
        """``12/40, best 0.7310 (trial 9), 4.1 trials/min, 6.8 min left``."""
        rate = (self.done - self._before) / max(time.monotonic() - self._start, 1e-9) * 60
        left = minutes_left(self.done - self._before, self._total - self._before, time.monotonic() - self._start)
        return f"{self.done}/{self._total}, {self._best()}, {rate:.1f} trials/min{left}"

    def _best(self) -> str:
        finished = [trial for trial in self._trials if trial.value is not None]
        if not finished:
            return "none finished"
        best = (min if self.minimises else max)(finished, key=lambda trial: trial.value or 0.0)
        return f"best {best.value:.4f} (trial {best.number})"


class BarProgress(PlainProgress):
    """A progress bar under the lines of the trials: for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Bar | None = None

    def begin(self, trials: list[Trial], total: int, notes: list[str]) -> None:
        """Draw the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        super().begin(trials, total, notes)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns)
        self._task = self._bar.add_task("", total=total, completed=self._before)
        self._bar.start()

    def show(self, trial: Trial) -> None:
        """Move the bar, and leave a line about the trial above it."""
        if self._bar is None:
            return
        self._bar.console.print(printable(describe_trial(trial)), highlight=False, markup=False)
        self._bar.update(self._task, completed=self.done, description=self.state().split(", ", 1)[1])

    def end(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def minutes_left(done: float, total: float, seconds: float) -> str:
    """``, 6.8 min left`` after so many seconds of work; nothing before the first part or after the last."""
    return f", {(total - done) * seconds / done / 60:.1f} min left" if 0 < done < total else ""


def make_progress(*, quiet: bool) -> PlainProgress:
    """A bar on a terminal, plain lines in a pipe, nothing if quiet."""
    return BarProgress() if sys.stdout.isatty() and not quiet else PlainProgress(quiet=quiet)


def describe_trial(trial: Trial) -> str:
    """One line: number, constants, network, score or the reason of a failure."""
    names = f" {'='.join(trial.plan.names)}" if trial.plan.names else ""
    point = " ".join(f"{value:.3f}" for value in trial.constants.as_tuple())
    if trial.state == "FAIL":
        reason = one_line(trial.failure.reason) if trial.failure else "interrupted"
        return f"trial {trial.number}{names}: {point} failed: {reason}"
    sizes, network = trial.sizes, ""
    if sizes is not None and sizes.blocks is not None:
        network = f", {sizes.blocks} blocks, {sizes.resolution} px, {sizes.cost_ratio:.3f} of the cost"
    score = "-" if trial.value is None else f"{trial.value:.4f}"
    seconds = f", {trial.result.seconds:.1f} s" if trial.result else ""
    return f"trial {trial.number}{names}: {point} -> {score}{network}{seconds}"
