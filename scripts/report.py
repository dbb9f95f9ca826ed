"""Write the report of a study: one HTML file that opens without a network, and the same in Markdown; or print it.

Run: phiscale report --study demo
     phiscale report --study demo --print text
     phiscale report --study demo --print json
     phiscale report --compare demo mine

--compare puts two studies or more side by side, in one page under --results.

A study that runs, or whose trials failed, has a report too. phiscale search writes it when it ends; confirm and
check renew it. docs/output.md explains the keys of --print json. Keys may be added; these stay.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from phiscale.errors import PhiscaleError, SettingsError
from scripts.shared.console import run_command
from scripts.shared.studies import StudyOptions


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of ``phiscale report``."""

    study: str | None = None
    """Name of the study."""
    compare: tuple[str, ...] = ()
    """Names of two studies or more to put side by side."""
    results: Path = Path("results")
    """Folder of all studies."""
    storage: str | None = None
    """As given to phiscale search. Default: PHISCALE_STORAGE, else what it last used, if that is in its folder."""
    storage_file: Path | None = None
    """As given to phiscale search."""
    printed: Annotated[Literal["text", "json"] | None, tyro.conf.arg(name="print")] = None
    """Print what the study has found, as text or as one JSON object, and write nothing."""

    def __post_init__(self) -> None:
        if (self.study is None) == (not self.compare):
            raise SettingsError("expected --study NAME, or --compare with the names of two studies or more")
        if self.compare and len(set(self.compare)) < 2:
            raise SettingsError(f"expected --compare with two studies or more, got {' '.join(self.compare)}")
        if self.compare and self.printed:
            raise SettingsError("expected no --print with --compare, which writes a page")
        _ = self.places

    @property
    def places(self) -> list[StudyOptions]:
        """Where the studies are. Raises ``SettingsError`` for a name that no study can have."""
        names = dict.fromkeys(self.compare or (self.study or "",))
        return [
            StudyOptions(study=name, results=self.results, storage=self.storage, storage_file=self.storage_file)
            for name in names
        ]


def main() -> int:
    """The command."""
    return run_command(ReportOptions, report, __doc__ or "", "report")


def report(options: ReportOptions) -> None:
    """Write ``report.html`` and ``report.md``, or a page that compares, and say where; or print the study."""
    from phiscale.files import write_text
    from report.answer import as_json, summary
    from report.page import HTML, MARKDOWN, compared, write_report

    views = [place.look() for place in options.places]
    if options.compare:
        page = options.results / f"compare-{'-'.join(view.name for view in views)}.html"
        write_text(page, compared(views))
        print(f"written: {page}")
        return
    view, folder = views[0], options.places[0].folder
    if options.printed:
        print(summary(view) if options.printed == "text" else json.dumps(as_json(view), indent=2))
        return
    write_report(view, folder)
    print(f"written: {folder / HTML}, {folder / MARKDOWN}")


def renew_report(folder: Path) -> None:
    """Write the report of the study in ``folder`` again if there is one. Errors are printed, not raised."""
    if not (folder / "report.html").is_file():
        return
    try:
        report(ReportOptions(study=folder.name, results=folder.parent))
    except PhiscaleError as error:
        print(f"the report is unchanged: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
