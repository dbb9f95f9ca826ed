"""Text that can be shown: on one line, without what a terminal would obey or could not show, and not too long."""

from __future__ import annotations


def printable(text: str, *, longest: int | None = None) -> str:
    """The text on one line, with escapes for control characters and for bytes of a name that are no letters.

    Of more than ``longest`` letters the middle is left out.
    """
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else _escape(letter) for letter in text)
    if longest is None or len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 5]} ... {text[-end:]}"


def printable_lines(text: str) -> str:
    """The same for each line of the text."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
