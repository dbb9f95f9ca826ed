"""Write the report of a study: one HTML file that opens without a network, and the same in Markdown.

Run: python -m scripts.report --study demo

A study that runs, or whose trials failed, has a report too. run_search writes it when it ends; confirm, make_family and
check_proxy renew it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from phiscale.errors import PhiscaleError
from scripts.shared.console import run_command
from scripts.shared.studies import StudyOptions


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of ``scripts.report``."""

    place: Annotated[StudyOptions, tyro.conf.arg(name="")]
    """Which study."""


def main() -> int:
    """The command."""
    return run_command(ReportOptions, report, __doc__ or "", "scripts.report")


def report(options: ReportOptions) -> None:
    """Write ``report.html`` and ``report.md`` and say where."""
    from report.page import HTML, MARKDOWN, write_report

    folder = options.place.folder
    write_report(options.place.look(), folder)
    print(f"written: {folder / HTML}, {folder / MARKDOWN}")


def renew_report(folder: Path) -> None:
    """Write the report of the study in ``folder`` again where there is one; a failure is said and ends nothing."""
    if not (folder / "report.html").is_file():
        return
    try:
        report(ReportOptions(place=StudyOptions(study=folder.name, results=folder.parent)))
    except PhiscaleError as error:
        print(f"the report is as it was: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
