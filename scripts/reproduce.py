"""The evidence on one data set from beginning to end: search, confirmation, summary; with --grid the paper's grid too.

Run: phiscale reproduce --name cifar10 --data images/
     phiscale reproduce --name cifar10 --data images/ --stage confirm    # one stage alone
     phiscale reproduce --name cifar10 --data images/ --extra="--train.images-seen 80000 --horizon-images 160000"

Every stage is a command of its own, printed before it runs, and resumes where it was interrupted. The summary goes to
results/evidence/NAME.md with a figure of score against counted cost.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from phiscale.errors import SettingsError, StudyError
from scripts.confirm import ConfirmOptions
from scripts.shared.console import run_command
from scripts.shared.executors import ExecutorSettings, as_words
from search.study import check_study_name

Stage = Literal["search", "grid", "confirm", "summary"]
RIVALS = "paper,equal,depth,width,resolution"


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """Options of ``phiscale reproduce``."""

    name: str
    """Short name of the data set: the studies are NAME-gp and NAME-grid."""
    data: str
    """Images: a folder or an .npz file, as for phiscale search; or embedded."""
    stage: Stage | Literal["all"] = "all"
    """One stage alone, or all in turn."""
    trials: int = 40
    """Trials of the search, and of the grid."""
    grid: bool = False
    """Search the paper's grid too, and confirm its best constants with the others."""
    phis: str = ConfirmOptions.phis
    """Sizes of the confirmation."""
    seeds: int = ConfirmOptions.seeds
    """Seeds of the confirmation."""
    run: Annotated[ExecutorSettings, tyro.conf.arg(name="")] = field(default_factory=ExecutorSettings)
    """Where trainings run."""
    extra: str = ""
    """Further options of phiscale search, in one string: --extra="--train.epochs 8"."""
    results: Path = Path("results")
    """Folder of all studies."""

    def __post_init__(self) -> None:
        check_study_name(self.name)
        for name in ("trials", "seeds"):
            if getattr(self, name) < 1:
                raise SettingsError(f"expected {name} of at least 1, got {getattr(self, name)}")
        try:
            shlex.split(self.extra)
        except ValueError as error:
            raise SettingsError(f"expected options of phiscale search in extra, got {self.extra!r}: {error}") from None

    def study(self, stage: str) -> str:
        """Name of the study of a stage."""
        return f"{self.name}-{'grid' if stage == 'grid' else 'gp'}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in turn."""
        return tuple(stage for stage in get_args(Stage) if self.grid or stage != "grid")


def main() -> int:
    """The command."""
    return run_command(ReproduceOptions, reproduce, __doc__ or "", "reproduce")


def reproduce(options: ReproduceOptions) -> None:
    """Run the stages. Raises ``StudyError`` where one of them fails: what it did is kept."""
    for stage in options.stages if options.stage == "all" else (options.stage,):
        if stage == "summary":
            summarise(options)
            continue
        words = command_of(stage, options)
        print(f"\n# {stage}\n{shlex.join(words)}", flush=True)
        status = subprocess.run([sys.executable, "-m", *words], check=False).returncode  # noqa: S603 - our own commands
        if status:
            raise StudyError(f"the stage {stage} ended with status {status}; the same command resumes from there")


def command_of(stage: Stage, options: ReproduceOptions) -> list[str]:
    """The command of a stage, as a person would type it."""
    place = as_words(options.run)
    place += ["--results", str(options.results)] if options.results != Path("results") else []
    if stage == "confirm":
        words = ["phiscale", "confirm", "--study", options.study(stage), "--phis", options.phis]
        words += ["--seeds", str(options.seeds), "--rivals", RIVALS]
        return [*words, *(("--against", options.study("grid")) if options.grid else ()), *place]
    method = ["--method", "gp"]
    if stage == "grid":
        method = ["--method", "grid", "--step", "0.05", "--tolerance", "0.1", "--baselines", "none"]
    words = ["phiscale", "search", "--study", options.study(stage), "--data", options.data]
    return [*words, *method, "--trials", str(options.trials), *place, *shlex.split(options.extra)]


def summarise(options: ReproduceOptions) -> None:
    """Write NAME.md, NAME.png and NAME-families.csv, and print the statement."""
    from phiscale.files import write_text
    from phiscale.record import SearchRecord
    from report.evidence import evidence_markdown
    from report.figures import draw_confirmed
    from report.style import PRINTED, style
    from scripts.shared.studies import StudyOptions

    view = StudyOptions(study=options.study("summary"), results=options.results).look()
    if view.confirmation is None:
        raise StudyError(f"expected a confirmed search, got none in {view.folder}; run --stage confirm first")
    grid = SearchRecord.load(options.results / options.study("grid") / "constants.json") if options.grid else None
    commands = [shlex.join(command_of(stage, options)) for stage in options.stages if stage != "summary"]
    text = evidence_markdown(f"Evidence: {options.name}", view, grid, commands)
    folder = options.results / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{options.name}.md", text)
    shutil.copyfile(view.folder / "confirm-families.csv", folder / f"{options.name}-families.csv")
    with style(PRINTED):
        figure = draw_confirmed(view, PRINTED)
        if figure is not None:
            figure.savefig(folder / f"{options.name}.png", dpi=130)
    print(text)
    print(f"written: {folder / options.name}.md, .png, -families.csv")


if __name__ == "__main__":
    sys.exit(main())
