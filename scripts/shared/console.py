"""What all commands share at the terminal: options, exit statuses, and progress that fits where it is read."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import signal
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from phiscale.errors import PhiscaleError, SettingsError, one_line
from phiscale.score_text import score_text
from phiscale.text import printable, printable_lines

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from search.trial import Trial

Options = TypeVar("Options")

_ENDINGS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command as Ctrl-C does; a closed terminal sends SIGHUP."""
_LATER = 0.05
"""Seconds until an interrupt that was lost is repeated."""
_LONGEST = 4000
"""Characters of an error."""
_CORNER = "╭"
_HELP = " " * 8
"""Where the help of an option begins in a box of tyro."""
_BEYOND = "Argument helptext", "For full helptext", "Got errors"
_NO_NUMBER = re.compile(r"Error parsing (\S+): no type matching (.+) could be instantiated from \[(.+)\]")
_CLASS = re.compile(r"Error parsing [A-Z]\w+: (?=expected )")
"""Where tyro names the class that refuses its options together."""
OK, FAILED, WRONG_USAGE, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141


def run_command(
    options: type[Options],
    command: Callable[[Options], None],
    description: str,
    name: str,
    earlier: Callable[[type[Options]], Options | None] = lambda _: None,
) -> int:
    """Read the options of a command, run it, and turn its errors into one sentence and an exit status.

    ``earlier`` gives options that hold where the command line gives no others; None for the defaults.

    0 success, 1 failure, 2 wrong usage, 130 Ctrl-C, 141 where nobody reads its output any longer, as for other tools.
    ``PHISCALE_TRACEBACK=1`` shows where an error came from.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - None where it was closed before the start
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold bytes that are no text
    _handle(_ENDINGS, _terminate)
    try:
        with _lost_interrupts_repeated():
            command(_read_options(options, description, f"phiscale {name}", earlier))
        sys.stdout.flush()
    except KeyboardInterrupt:
        _handle((signal.SIGINT, *_ENDINGS), signal.SIG_IGN)
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


def _read_options(
    options: type[Options], description: str, command: str, earlier: Callable[[type[Options]], Options | None]
) -> Options:
    """The options on the command line. Raises ``SettingsError`` with what is wrong, which tyro draws in a box."""
    import tyro

    said, shown = io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    wide = {} if {"-h", "--help"} & {*sys.argv} else {"COLUMNS": "10000"}  # so that no line of the box is broken
    before = {name: os.environ[name] for name in wide if name in os.environ}
    os.environ.update(wide)
    try:
        # Whatever the terminal's encoding, tyro draws the box that is read below; only a help is for the terminal.
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown if wide else sys.stdout):
            default = earlier(options)
            if default is None:
                return tyro.cli(options, prog=command, description=description)
            return tyro.cli(options, prog=command, description=description, default=default)
    except SystemExit as stop:
        if stop.code != WRONG_USAGE:
            raise
        raise SettingsError(f"{_sentence(said.getvalue())}; see {command} --help") from None
    finally:
        sys.stderr.write(said.getvalue().partition(_CORNER)[0])
        shown.seek(0)
        sys.stdout.write(shown.read())
        for name in wide:
            os.environ.pop(name, None)
        os.environ.update(before)


def _sentence(box: str) -> str:
    """What a box of tyro says, without the help of each option."""
    rows = [re.sub("[│╭╮╰╯]|──+", "", line).rstrip() for line in box.partition(_CORNER)[2].splitlines()[1:]]
    said = itertools.takewhile(lambda row: not row.lstrip().startswith(_BEYOND), rows)
    parts = [row.strip().rstrip(".") for row in said if row.strip() and not row.startswith(_HELP)]
    sentence = _NO_NUMBER.sub(r"expected \1 as \2, got \3", "; ".join(parts).replace(":; ", ": "))
    return _CLASS.sub("", sentence)


def _empty_output() -> None:
    """Flush standard output, or drop its content if that fails, so that Python ends without an error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(*_: Any) -> None:
    raise KeyboardInterrupt


def _handle(endings: Sequence[signal.Signals], handler: Any) -> None:
    """Set the handler of these signals in this process; processes that a user's code forks get the system's default.
    Outside the main thread, where Python handles no signals, nothing changes.
    """
    if threading.current_thread() is threading.main_thread():
        for ending in endings:
            signal.signal(ending, handler)


def _as_the_system_does() -> None:
    """In a forked process: a pool ends its workers by SIGTERM, and they should end silently."""
    for ending in _ENDINGS:
        if signal.getsignal(ending) is _terminate:
            signal.signal(ending, signal.SIG_DFL)


@contextlib.contextmanager
def _lost_interrupts_repeated() -> Iterator[None]:
    """Interrupt again if the first one came in a destructor or a callback of the garbage collector."""
    report = sys.unraisablehook
    main = threading.main_thread().ident or 0

    def repeat(lost: sys.UnraisableHookArgs) -> None:
        if isinstance(lost.exc_value, KeyboardInterrupt) and hasattr(signal, "pthread_kill"):
            again = threading.Timer(_LATER, signal.pthread_kill, (main, signal.SIGINT))
            again.daemon = True
            again.start()
        else:
            report(lost)

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = report


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_as_the_system_does)


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
        self.spread: float | None = None
        """Standard deviation of the scores so far; None while they do not differ."""
        self._total = self._before = 0
        self._start = time.monotonic()

    def begin(self, trials: list[Trial], total: int, notes: list[str]) -> None:
        """Print the state before the first trial."""
        self._trials = [trial for trial in trials if trial.is_attempt]
        self.spread = _spread(self._trials)
        self._total, self._before, self._start = total, len(self._trials), time.monotonic()
        for note in [*notes, f"{self._before} of {total} trials done"]:
            self.say(note)

    def say(self, text: str) -> None:
        """One line or more, unless quiet."""
        if not self._quiet:
            print(printable_lines(text), flush=True)

    def trial_ended(self, trial: Trial) -> None:
        """One line about the trial and the progress."""
        self._trials.append(trial)
        self.spread = _spread(self._trials)
        self.show(trial)
        self.ended(trial)

    def show(self, trial: Trial) -> None:
        """One line about a trial and the progress."""
        self.say(f"{describe_trial(trial, self.spread)}   [{self.state()}]")

    def end(self) -> None:
        """Nothing to clean up."""

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
        return f"best {score_text(best.value or 0.0, self.spread)} (trial {best.number})"


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
        line = printable(describe_trial(trial, self.spread))
        self._bar.console.print(line, highlight=False, markup=False)
        self._bar.update(self._task, completed=self.done, description=self.state().split(", ", 1)[1])

    def end(self) -> None:
        """Restore the terminal."""
        if self._bar is not None:
            self._bar.stop()


def _spread(trials: Sequence[Trial]) -> float | None:
    scores = [trial.value for trial in trials if trial.value is not None]
    return statistics.pstdev(scores) or None if scores else None


def minutes_left(done: float, total: float, seconds: float) -> str:
    """``, 6.8 min left`` after so many seconds of work; nothing before the first part or after the last."""
    return f", {(total - done) * seconds / done / 60:.1f} min left" if 0 < done < total else ""


def make_progress(*, quiet: bool) -> PlainProgress:
    """A bar on a terminal, plain lines in a pipe, nothing if quiet."""
    return BarProgress() if sys.stdout.isatty() and not quiet else PlainProgress(quiet=quiet)


def describe_trial(trial: Trial, spread: float | None = None) -> str:
    """One line: number, constants, network, score or the reason of a failure; ``spread`` is that of the scores."""
    names = f" {'='.join(trial.plan.names)}" if trial.plan.names else ""
    point = " ".join(f"{value:.3f}" for value in trial.constants.as_tuple())
    if trial.state == "FAIL":
        reason = one_line(trial.failure.reason) if trial.failure else "interrupted"
        return f"trial {trial.number}{names}: {point} failed: {reason}"
    sizes, network = trial.sizes, ""
    if sizes is not None and sizes.blocks is not None:
        network = f", {sizes.blocks} blocks, {sizes.resolution} px, {sizes.cost_ratio:.3f} of the cost"
    score = "-" if trial.value is None else score_text(trial.value, spread)
    seconds = f", {trial.result.seconds:.1f} s" if trial.result else ""
    return f"trial {trial.number}{names}: {point} -> {score}{network}{seconds}"
