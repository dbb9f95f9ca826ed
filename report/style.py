"""Colours of the figures, and a figure as inline SVG with the colours of the page, so that both turn dark together.

The SVG needs no script and no other file, its text can be selected, and its identifiers are its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Ink:
    """Colours by their role."""

    text: str
    muted: str
    """Guide lines."""
    paper: str
    """Background of the figure."""
    accent: str
    """The recommendation."""
    second: str
    """What it is compared with."""
    third: str


PRINTED = Ink("#1c1c22", "#8a8a94", "#ffffff", "#c2271c", "#1f5fa8", "#2b7a3d")
"""For separate files."""
VARIABLE = Ink("#010101", "#020202", "#030303", "#040404", "#050505", "#060606")
"""Stand-ins that ``inline_svg`` turns into ``var(--text)``, ``var(--muted)`` and so on."""


@contextmanager
def style(ink: Ink) -> Iterator[None]:
    """Draw in these colours. The name of a study is never read as a formula."""
    from matplotlib import rc_context

    roles = {
        "text": ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor"),
        "muted": ("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"),
    }
    colours: dict[Any, Any] = {name: getattr(ink, role) for role, names in roles.items() for name in names}
    plain: dict[Any, Any] = {
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "phiscale",
        "font.size": 9.0,
    }
    shape: dict[Any, Any] = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "axes.axisbelow": True,
    }
    with rc_context({**colours, **plain, **shape, "legend.fontsize": 8.5, "axes.labelsize": 9.0}):
        yield


_TIP = "tip: "


def tip(text: str) -> str:
    """A name (``gid``) for a mark by which ``inline_svg`` gives it this text as a tooltip."""
    return _TIP + " ".join(text.replace('"', "'").split())


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The figure for the body of a page; a screen reader gets ``title`` and ``description``. Call within ``style``."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(rf'<g id="{_TIP}([^"]*)"', r'<g class="tip"><title>\1</title', svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for field in fields(Ink):
        svg = svg.replace(getattr(VARIABLE, field.name), f"var(--{field.name})")
    box = re.search(r'viewBox="[^"]*"', svg)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group() if box else ""} role="img" aria-labelledby="{name}-title {name}-description">\n'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-description">{escape(description)}</desc>'
    )
    return head + svg[svg.index(">") + 1 :]
