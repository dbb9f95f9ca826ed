"""What mkdocs does besides: the lab notebook results/LOG.md becomes the page log.md, and links to it lead there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

NOTEBOOK = Path(__file__).parent.parent / "results" / "LOG.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the notebook, whose links to the documentation are relative to its own folder."""
    text = NOTEBOOK.read_text(encoding="utf-8").replace("(../docs/", "(")
    files.append(File.generated(config, "log.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links from the documentation to the notebook's page."""
    return markdown.replace("(../results/LOG.md)", "(log.md)")
