"""Search by how much a network should grow in depth, width and resolution, and write the constants and their family.

Run: phiscale search --study demo
     phiscale search --study mine --data images/ --method gp --trials 60
     phiscale search --study mine-grid --data images/ --method grid --step 0.05 --tolerance 0.1

Everything goes to results/STUDY/: study.db, config.json, trials.csv, constants.json, family.json, report.html. The same
command again resumes; Ctrl-C, or a kill, loses at most the trial that runs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from objectives.training.settings import TrainSettings
from phiscale.errors import PhiscaleError, SettingsError, StudyError
from phiscale.text import printable, printable_lines
from scripts.shared.config import as_plain, earlier_options, refuse_both
from scripts.shared.console import PlainProgress, make_progress, run_command
from scripts.shared.executors import ExecutorSettings, make_executor
from scripts.shared.setup import NamedWork, ObjectiveSettings, make_objective
from scripts.shared.storage import VARIABLE, storage_given
from scripts.shared.tracking import Tracker, tracking
from search.settings import SearchSettings
from search.storage import absolute_name, put_log_away, redact, secrets_in, storage_errors
from search.study import check_study_name

if TYPE_CHECKING:
    from optuna import Study

    from objectives.contract import Objective
    from report.view import StudyView


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options of ``phiscale search``."""

    study: str
    """Name of the study, and of its folder under --results."""
    config: Path | None = None
    """Take the options from the config.json of an earlier study, where none are given here. --study begins another."""
    search: Annotated[SearchSettings, tyro.conf.arg(name="")] = field(default_factory=SearchSettings)
    """Which constants are measured."""
    measure: Annotated[ObjectiveSettings, tyro.conf.arg(name="")] = field(default_factory=ObjectiveSettings)
    """What is measured."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """How a proxy network is trained."""
    results: Path = Path("results")
    """Folder of all studies."""
    storage: str | None = None
    """A path that ends in .journal, or a database URL that Optuna takes. Default: PHISCALE_STORAGE, else SQLite in the
    study's folder."""
    storage_file: Path | None = None
    """A file with the URL, instead of --storage: use it for a URL with a password, which others could read on the
    command line."""
    run: Annotated[ExecutorSettings, tyro.conf.arg(name="")] = field(default_factory=ExecutorSettings)
    """Where evaluations run."""
    take_over: bool = False
    """Work on the study although another driver holds it. Use it only if that driver has ended."""
    storage_patience: float = 300.0
    """How long to retry a database that does not answer, in seconds."""
    track: Tracker = "none"
    """Show trials in tensorboard or mlflow (in the study's folder), or wandb (offline unless WANDB_MODE=online)."""
    quiet: bool = False
    """Print the result only."""
    dry_run: bool = False
    """Print data, networks, their cost and the time that a new study would take, and stop. No study is made."""

    def __post_init__(self) -> None:
        check_study_name(self.study)
        _ = self.folder, self.storage_name  # before other code can change the current folder
        if not (math.isfinite(self.storage_patience) and self.storage_patience >= 0):
            raise SettingsError(f"expected storage_patience of 0 seconds or more, got {self.storage_patience!r}")

    @cached_property
    def folder(self) -> Path:
        """Folder of the study, absolute: a person's code may change the current folder."""
        return (self.results / self.study).absolute()

    @cached_property
    def storage_name(self) -> str | None:
        """See ``search.storage``; None for SQLite in the folder."""
        return absolute_name(storage_given(self.storage, self.storage_file))


def main() -> int:
    """The command."""
    return run_command(SearchOptions, search, __doc__ or "", "search", earlier=earlier_options)


def search(options: SearchOptions) -> None:
    """Run or resume the study, write its results and print them."""
    refuse_both()
    progress = make_progress(quiet=options.quiet)
    progress.say(f"study {options.study} in {options.folder}")
    if secrets_in(options.storage or ""):
        print("others can read a password in --storage; use --storage-file or PHISCALE_STORAGE", file=sys.stderr)
    os.environ.pop(VARIABLE, None)  # it has been read; no worker needs it
    objective = make_objective(options.measure, options.train, options.search.seed, options.folder)
    progress.minimises = objective.direction == "minimize"
    if options.dry_run:
        for line in plan_of(objective, options, with_networks=True):
            print(printable_lines(line), flush=True)
        return
    if not options.quiet:
        for line in plan_of(objective, options):
            progress.say(line)
    try:
        with tracking(options.track, options.folder, options.study) as progress.ended:
            study = _run(options, objective, progress)
    except KeyboardInterrupt:
        print(f"\nstopped; finished trials are kept. To resume: {printable(command_line())}", file=sys.stderr)
        raise
    report(study, options)
    if options.measure.factory:
        report_members(study, objective, options)
    put_log_away(study, options.storage_name, options.folder)


def plan_of(objective: Objective, options: SearchOptions, *, with_networks: bool = False) -> Iterator[str]:
    """What the study is about to do, as lines: data, length, horizon, time, and if asked for the networks with their
    cost. Each line is yielded before the next one is computed, because the time takes a while. Raises ``SettingsError``
    for a horizon of which the rungs can say nothing.
    """
    from scripts.shared.forecast import describe_data, describe_horizon, forecast, network_table

    cost_model = options.measure.cost_model
    yield from describe_data(objective)
    yield from describe_horizon(objective, options.search)
    if with_networks:
        yield from ("", network_table(objective, options.search, cost_model), "")
    expected = forecast(objective, options.search, cost_model, options.run.workers)
    if expected:
        yield f"time: {expected.describe()}"


def _run(options: SearchOptions, objective: Objective, progress: PlainProgress) -> Study:
    from search.driver import StudyPlace, run_study
    from search.results import write_trials

    place = StudyPlace(
        name=options.study,
        folder=options.folder,
        storage=options.storage_name,
        take_over=options.take_over,
        patience=options.storage_patience,
    )
    measure = options.measure
    work = NamedWork(measure.objective, measure.cost_model, measure.direction) if measure.objective else None
    found: list[Study] = []

    def opened(study: Study) -> None:
        found.append(study)
        write_config(options)

    try:
        executor = make_executor(options.run)
        return run_study(place, objective, options.measure.cost_model, options.search, progress, executor, work, opened)
    except (BrokenPipeError, KeyboardInterrupt, StudyError):
        for study in found:
            with contextlib.suppress(PhiscaleError), storage_errors(options.storage_name, options.folder, ""):
                write_trials(study, options.folder)
                put_log_away(study, options.storage_name, options.folder)
        raise
    finally:
        progress.end()


def report(study: Study, options: SearchOptions) -> None:
    """Write the results of the study and print the answer."""
    from phiscale.family import format_family, generate_family
    from report.answer import summary
    from report.page import write_report
    from report.view import look
    from search.hold import writing
    from search.results import FAMILY_PHIS, check_finished, write_results, write_trials

    write_trials(study, options.folder)
    try:
        check_finished(study)
    except StudyError:
        write_report(look(study, options.folder), options.folder)
        raise
    with writing(options.folder):  # so that no older result replaces a newer one
        record = write_results(study, options.folder, options.measure.cost_model, options.search)
        view = look(study, options.folder)
        pictures = draw(view)
    print(f"\n{summary(view)}")
    if record.network:
        members = generate_family(record.network, record.constants, FAMILY_PHIS, cost_model=record.cost_model)
        equal = f"phiscale family {options.results / options.study} --budget matched"
        print(f"\nfamily of {record.network.name} by the formula (at equal cost: {equal})")
        print(format_family(members, "table", record))
    family = ", family.json" if record.network else ""
    print(f"\nwritten: {options.folder / 'constants.json'}{family}, trials.csv{pictures}")


def report_members(study: Study, objective: Objective, options: SearchOptions) -> None:
    """Write, print and report the multipliers with which the user's own factory makes the family."""
    from phiscale.factory import format_multipliers, multiplier_family
    from report.page import write_report
    from report.view import look
    from search.factory_family import MEMBER_PHIS, keep_members
    from search.hold import writing

    with writing(options.folder):
        record = keep_members(options.folder, objective)
        write_report(look(study, options.folder), options.folder)
    print(f"\nmultipliers for {options.measure.factory} by the formula (matched ones are in family.json)")
    print(format_multipliers(multiplier_family(record, MEMBER_PHIS), "table", record))


def draw(view: StudyView) -> str:
    """Draw ``triangle.png`` and write the report; what to add to the list of files."""
    from report.page import HTML, MARKDOWN, PICTURE, write_report
    from report.triangle import write_triangle

    write_triangle(view.folder / PICTURE, view)
    write_report(view, view.folder)
    return f", {PICTURE}, {MARKDOWN}\nreport: {view.folder / HTML}"


def write_config(options: SearchOptions) -> None:
    """Write ``config.json``: every option of the latest run, without secrets."""
    from phiscale.files import write_text

    plain = as_plain(options, options.storage_name, command_line())
    write_text(options.folder / "config.json", json.dumps(plain, indent=2, default=str) + "\n")


def command_line() -> str:
    """The command that was given, without secrets."""
    import shlex

    return shlex.join(["phiscale", "search", *(redact(word) for word in sys.argv[1:])])


if __name__ == "__main__":
    sys.exit(main())
