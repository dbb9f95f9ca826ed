"""Code blocks of Markdown: fenced ones with their language, indented ones as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?$")


@dataclass(frozen=True)
class Block:
    """One block, its language (empty for an indented one) and the file that its title names."""

    text: str
    language: str = ""
    title: str | None = None


def code_blocks(markdown: str) -> Iterator[Block]:
    """All blocks in order. An indented one follows an empty line and is indented by four spaces."""
    lines = [*markdown.splitlines(), ""]
    index, before = 0, ""
    while index < len(lines):
        line = lines[index]
        if fence := _FENCE.match(line):
            end = lines.index("```", index + 1)
            yield Block("\n".join(lines[index + 1 : end]), fence["language"] or "text", fence["title"])
            index = end
        elif line.startswith("    ") and not before:
            end = index
            while lines[end].startswith("    ") or (not lines[end] and lines[end + 1 : end + 2] != [] and (
                lines[end + 1].startswith("    ")
            )):  # fmt: skip
                end += 1
            yield Block("\n".join(part[4:] for part in lines[index:end]))
            index = end - 1
        before = lines[index].strip()
        index += 1


def inline_code(markdown: str) -> list[str]:
    """Every span between single backticks outside of code blocks."""
    text = re.sub(r"^```.*?^```$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
