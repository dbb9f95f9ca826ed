"""Text that can be shown: on one line, without control characters, and not too long."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: str, *, longest: int | None = None) -> str:
    """The text on one line, with escapes for control characters and for bytes of a name that are not text.

    Of more than ``longest`` letters the middle is left out.
    """
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else _escape(letter) for letter in text)
    if longest is None or len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 5]} ... {text[-end:]}"


def joined(lines: Iterable[str], *, longest: int | None = None) -> str:
    """The lines, each printable, as one text; line breaks inside a line are escaped."""
    return "\n".join(printable(line, longest=longest) for line in lines)


def printable_lines(text: str) -> str:
    """The text, each of its lines printable."""
    return joined(text.split("\n"))


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """A time for people: ``20 seconds``, ``10 minutes``, ``2.5 hours``, ``3 days``."""
    for most, unit, name in ((90, 1, "second"), (5400, 60, "minute"), (129_600, 3600, "hour")):
        if seconds < most:
            count = f"{max(1.0, seconds / unit):.{int(unit == 3600)}f}"
            return f"{count} {name}{'' if count == '1' else 's'}"
    return f"{seconds / 86_400:.1f} days"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
