"""The report of a study: one HTML file that opens without a network, and the same in Markdown.

Everything from a study is escaped: by Jinja2 in the page, by ``_markdown`` in Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phiscale.answer import LETTERS, ranges
from phiscale.files import write_text
from phiscale.text import capital
from phiscale.training_length import AXES, evidence_lines, heading, length_lines
from report import comparison, series, tables
from report.answer import failures, five_lines, further, in_print, interrupted
from report.figures import compared_triangle, drawings
from report.tables import Table
from report.triangle import shared_limits
from report.view import StudyView

if TYPE_CHECKING:
    import jinja2

HTML, MARKDOWN = "report.html", "report.md"
PICTURE = "triangle.png"
"""The triangle as a picture, in the folder of the report once a search has ended."""
_TEMPLATES = Path(__file__).parent / "templates"
SCRIPT = _TEMPLATES / "live.js"
"""Renews a page that is served."""
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading."""

    key: str
    title: str
    text: Sequence[str] = ()
    """Paragraphs."""
    figures: Sequence[str] = ()
    """Names of its figures."""
    tables: Sequence[Table] = field(default_factory=tuple)
    code: str | None = None
    """A command to copy."""


@dataclass(frozen=True)
class Live:
    """Of a page that is served and renews itself."""

    script: str
    """Address of ``SCRIPT``."""
    optuna: str
    """Address of the study in Optuna's own dashboard."""


def write_report(view: StudyView, folder: Path) -> None:
    """Write ``report.html`` and ``report.md`` into ``folder``. Raises ``FileError``."""
    write_text(folder / HTML, html(view))
    write_text(folder / MARKDOWN, markdown(view))


def html(view: StudyView, live: Live | None = None) -> str:
    """The page; ``live`` where it renews itself."""
    return _from("report.html.j2").render(**_content(view), drawings=drawings(view), live=live)


def index(names: Sequence[str], reports: str) -> str:
    """A page of links to the reports of several studies, at the addresses that begin with ``reports``."""
    return _from("index.html.j2").render(names=names, reports=reports)


def compared(views: Sequence[StudyView]) -> str:
    """A page with the answers of several studies side by side, their triangles on one colour scale if possible."""
    limits = shared_limits(views)
    columns = [{**_content(view), "drawing": compared_triangle(view, at, limits)} for at, view in enumerate(views)]
    sentences, table = comparison.sentences(views), comparison.table(views)
    return _from("compare.html.j2").render(columns=columns, sentences=sentences, table=table)


def _from(name: str) -> jinja2.Template:
    """A template of a page; everything put into it is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(_TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def markdown(view: StudyView) -> str:
    """The page in Markdown. Its only figure is the triangle, where that is a file."""
    import jinja2

    environment = jinja2.Environment(  # noqa: S701, no HTML: finalize escapes what Markdown would read as markup
        loader=jinja2.FileSystemLoader(_TEMPLATES), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_markdown, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["verbatim"] = _Verbatim
    picture = PICTURE if (view.folder / PICTURE).is_file() else None
    return environment.get_template("report.md.j2").render(**_content(view), picture=picture)


class _Verbatim:
    """Text of a code block, which Markdown does not read."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def _markdown(value: Any) -> Any:
    return _SPECIAL.sub(r"\\\1", value).replace("\n", " ") if isinstance(value, str) else value


def _content(view: StudyView) -> dict[str, Any]:
    """What all templates show."""
    record = view.record
    sections = [section for section in _sections(view) if section.text or section.tables or section.code]
    return {
        "view": view,
        "record": record,
        "lines": five_lines(view),
        "constants": _constants(view),
        "further": further(view),
        "cautions": [
            capital(line) for line in (*(record.notes if record else ()), *failures(view), *interrupted(view))
        ],
        "counts": ", ".join(f"{count} {name}" for name, count in view.counts.items() if count) or "none",
        "sections": sections,
    }


def _constants(view: StudyView) -> list[Mapping[str, Any]]:
    """Value and range of each constant, and where they lie between no growth (0) and all of the growth (100)."""
    record = view.record
    if record is None:
        return []
    values, shares, ends = record.constants.as_tuple(), record.shares.as_tuple(), ranges(record)
    places = [record.shares.as_tuple(), *(place.as_tuple() for place in record.region)]
    rows: list[Mapping[str, Any]] = []
    for at, (letter, axis) in enumerate(zip(LETTERS, AXES, strict=True)):
        possible = [100 * place[at] for place in places]
        rows.append(
            {
                "letter": letter,
                "axis": axis,
                "value": f"{values[at]:.2f}",
                "range": f"{ends[at][0]:.2f} to {ends[at][1]:.2f}" if ends else "no range known",
                "exact": f"{values[at]:.4f}",
                "share": f"{shares[at]:.0%}",
                "at": 100 * shares[at],
                "low": min(possible),
                "wide": max(possible) - min(possible) if ends else 0.0,
            }
        )
    return rows


def _sections(view: StudyView) -> list[Section]:
    present, families = _tables(tables.ledger(view)), tables.families(view)
    return [
        Section("triangle", "The triangle of shares", _drawn(_some(view.rows, _TRIANGLE), view), ("triangle",)),
        _baselines(view),
        _confirmation(view),
        _length(view),
        Section("family", "The family", _family(view, families), ("growth",), families),
        Section("trials", "Trials", _costs(view), ("costs",), present),
        _fidelity(view),
        Section("surface", "The fitted surface", (), (), _tables(tables.surface(view))),
        Section("environment", "Environment", (), (), _tables(tables.environment(view))),
        Section("repeat", "Repeat this study", _some(_command(view), _REPEAT), (), (), _command(view)),
    ]


def _costs(view: StudyView) -> list[str]:
    """What the networks really cost, in one sentence."""
    ends = series.cost_range(view)
    if ends is None:
        return []
    asked = view.record.cost_model.target_growth(view.record.phi) if view.record else view.cost_model.target
    between = f"counted after rounding, they cost {ends[0]:.3f} to {ends[1]:.3f} of the {asked:g} times asked for"
    equal = series.costs_are_equal(view)
    return [f"The networks can be compared{f': {between}' if equal else f' only in part: {between}'}."]


def _drawn(text: list[str], view: StudyView) -> list[str]:
    """The text, and that the figure does not show all of a large study."""
    left = series.networks_part(view)
    return [*text, f"{left}; so are trials in the figures below."] if left else text


def _family(view: StudyView, families: Sequence[Table]) -> list[str]:
    return [_FAMILY, f"{capital(heading(view.record))}."] if families and view.record else []


def _length(view: StudyView) -> Section:
    lines = [*length_lines(view.record), *evidence_lines(view.record)] if view.record else []
    sentences = [f"{capital(line)}." for line in lines]
    if view.record and view.record.length:
        sentences[0] = f"These constants are {lines[0]}."
    return Section("length", "Training length", sentences, ("lengths",), _tables(tables.rungs(view)))


def _baselines(view: StudyView) -> Section:
    table = _tables(tables.baselines(view))
    return Section("baselines", "Published rules at the same cost", _some(table, _RULES), ("baselines",), table)


def _confirmation(view: StudyView) -> Section:
    verdict = [capital(in_print(f"{view.confirmation['verdict']}."))] if view.confirmation else []
    table = _tables(tables.confirmation(view))
    return Section("confirmation", "Confirmation on unseen images", verdict, ("confirmed",), table)


def _fidelity(view: StudyView) -> Section:
    conclusion = str(view.fidelity.get("conclusion", "")) if view.fidelity else ""
    text = [capital(f"{conclusion}.")] if conclusion else []
    return Section("fidelity", "Rank correlation of short and long trainings", text, (), _tables(tables.fidelity(view)))


def _command(view: StudyView) -> str | None:
    command = view.config.get("command")
    return command if isinstance(command, str) else None


def _some(present: object, text: str) -> list[str]:
    return [text] if present else []


def _tables(table: Table | None) -> list[Table]:
    return [table] if table else []


_TRIANGLE = (
    "Which way to grow is best? Networks stand where their rounded layers, channels and pixels really put them. "
    "Point at one to see its blocks, channels and pixels."
)
_RULES = "Each rule keeps its direction and is grown to the cost of all others, with the same seeds."
_FAMILY = (
    "Nominal: the constants to the power of phi, then rounding. Matched: grown along the same direction until the "
    "counted cost is what was asked for."
)
_REPEAT = "The same command again resumes the study; in an empty folder it repeats it."
