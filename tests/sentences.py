"""Sentences of Markdown and of help texts, to hold their length. Code, tables and headings are no sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 30
"""Words of a sentence."""
_NO_PROSE = re.compile(r"^(\||#|:::|--8<--|!\[| {4}\S)")
_END = re.compile(r"(?<=[.!?])[)\"]?\s+(?=[\"'(`*\[]*(?:[A-Z0-9`]|phiscale))")


def prose(markdown: str) -> Iterator[str]:
    """Paragraphs and items of lists as plain lines: links by their text, inline code as one word."""
    text = re.sub(r"^```.*?^```$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        item = re.match(r"^\s*(?:[-*]|\d+\.) +", line)
        if item or not line.strip() or _NO_PROSE.match(line):
            if paragraph:
                yield " ".join(paragraph)
            paragraph = [line[item.end() :]] if item else []
        else:
            paragraph.append(line.strip())


def long_sentences(text: str) -> list[str]:
    """Sentences of one paragraph with more words than ``LONGEST``."""
    plain = re.sub(r"`[^`]+`", "`code`", text)
    return [sentence for sentence in _END.split(plain) if len(re.findall(r"[\w'`]\S*", sentence)) > LONGEST]
