"""What all commands share at the terminal: options, exit statuses, and progress that fits where it is read."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from phiscale.errors import PhiscaleError, SettingsError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from rich.progress import Progress as Bar

Options = TypeVar("Options")

_ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command as Ctrl-C does; a closed terminal sends SIGHUP."""
OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def run_command(options: type[Options], command: Callable[[Options], None], description: str, name: str) -> int:
    """Read the options of a command, run it, and turn its errors into one sentence and an exit status.

    0 success, 1 failure, 2 wrong usage, 130 Ctrl-C. ``PHISCALE_TRACEBACK=1`` shows where an error came from.
    """
    import tyro

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
    print(f"error: {message}", file=sys.stderr)


class PlainProgress:
    """One line per trial: for pipes and log files."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.study: Study | None = None
        self.between: Callable[[], None] = lambda: None
        self.ended: Callable[[FrozenTrial], None] = lambda _: None
        self._shown: set[int] = set()
        self._total = self._before = 0
        self._start = time.monotonic()

    def begin(self, study: Study, total: int, notes: list[str]) -> None:
        """Say what is there before the first trial."""
        self.study, self._total, self._start = study, total, time.monotonic()
        self._before = _attempts(study)
        self._shown = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
        for note in [*notes, f"{self._before} of {total} trials done"]:
            self.say(note)

    def say(self, text: str) -> None:
        """One line, unless quiet."""
        if not self._quiet:
            print(text, flush=True)

    def trial_ended(self, trial: FrozenTrial) -> None:
        """One line about the trial and those that other workers ended meanwhile, and how the run goes."""
        self.between()
        self.catch_up([trial])

    def catch_up(self, ended: Iterable[FrozenTrial] = ()) -> None:
        """Show ``ended`` and every other trial that counts and was not shown."""
        from search.claims import is_attempt

        if self.study is None:
            return
        others = (trial for trial in self.study.get_trials(deepcopy=False) if is_attempt(trial))
        for trial in [*ended, *others]:
            if trial.number not in self._shown:
                self._shown.add(trial.number)
                self.show(trial)
                self.ended(trial)

    def show(self, trial: FrozenTrial) -> None:
        """One line about a trial, and how the run goes."""
        self.say(f"{describe_trial(trial)}   [{self.state()}]")

    def end(self) -> None:
        """Nothing to tidy."""

    def state(self) -> str:
        """``12/40, best 0.7310 (trial 9), 4.1 trials/min, 6.8 min left``."""
        if self.study is None:
            return ""
        done = _attempts(self.study)
        rate = (done - self._before) / max(time.monotonic() - self._start, 1e-9) * 60
        left = f", {(self._total - done) / rate:.1f} min left" if rate > 0 and done < self._total else ""
        return f"{done}/{self._total}, {_best(self.study)}, {rate:.1f} trials/min{left}"


class BarProgress(PlainProgress):
    """A progress bar under the lines of the trials: for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Bar | None = None

    def begin(self, study: Study, total: int, notes: list[str]) -> None:
        """Draw the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        super().begin(study, total, notes)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns)
        self._task = self._bar.add_task("", total=total, completed=self._before)
        self._bar.start()

    def show(self, trial: FrozenTrial) -> None:
        """Move the bar, and leave a line about the trial above it."""
        if self._bar is None or self.study is None:
            return
        self._bar.console.print(describe_trial(trial), highlight=False, markup=False)
        state = self.state().split(", ", 1)[1]
        self._bar.update(self._task, completed=_attempts(self.study), description=state)

    def end(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def make_progress(*, quiet: bool) -> PlainProgress:
    """A bar on a terminal, plain lines in a pipe, nothing if quiet."""
    return BarProgress() if sys.stdout.isatty() and not quiet else PlainProgress(quiet=quiet)


def describe_trial(trial: FrozenTrial) -> str:
    """One line: number, constants, network, score or the reason of a failure."""
    a = trial.user_attrs
    names = f" {'='.join(a['names'])}" if a.get("names") else ""
    point = f"{a.get('alpha', 0):.3f} {a.get('beta', 0):.3f} {a.get('gamma', 0):.3f}"
    if trial.state.name == "FAIL":
        return f"trial {trial.number}{names}: {point} failed: {a.get('failure', 'cut off')}"
    network = (
        f", {a['blocks']} blocks, {a['resolution']} px, {a['cost_ratio']:.3f} of the cost" if "blocks" in a else ""
    )
    pruned = " (pruned)" if trial.state.name == "PRUNED" else ""
    score = "-" if trial.value is None else f"{trial.value:.4f}"
    seconds = f", {a['seconds']:.1f} s" if "seconds" in a else ""
    return f"trial {trial.number}{names}: {point} -> {score}{pruned}{network}{seconds}"


def _attempts(study: Study) -> int:
    from search.claims import is_attempt

    return sum(is_attempt(trial) for trial in study.get_trials(deepcopy=False))


def _best(study: Study) -> str:
    try:
        best = study.best_trial
    except ValueError:
        return "none finished"
    return f"best {best.value:.4f} (trial {best.number})"
