"""Every error phiscale raises on purpose; each message says what was expected, what came, and what to do.

PhiscaleError
|-- ConstraintError   (ValueError)  constants or shares that do not lie on the cost surface
|-- SpecError         (ValueError)  a network description that cannot be a network
|-- BudgetError       (ValueError)  no rounded network is close enough to the cost asked for
|-- RecordError       (ValueError)  a record that cannot be read, or was changed by hand
|-- SettingsError     (ValueError)  a setting outside its range, or two that exclude each other
|-- FileError         (OSError)     a file that cannot be written
|-- DataError         (ValueError)  images or labels that cannot be used
|-- StudyError        (RuntimeError) a study that cannot be opened, resumed or recommended from
`-- TrialError        (RuntimeError) one evaluation that failed while the search can go on
"""

from __future__ import annotations

from phiscale.text import printable

_LONGEST = 400
"""Longest message, in characters; what it quotes may be anything."""


class PhiscaleError(Exception):
    """Base of all errors below; a script shows its message, one line that can be printed, and no traceback."""

    def __str__(self) -> str:
        return printable(" ".join(super().__str__().splitlines()), longest=_LONGEST)


class ConstraintError(PhiscaleError, ValueError):
    """Constants or shares that do not lie on the cost surface."""


class SpecError(PhiscaleError, ValueError):
    """A network description that cannot be a network."""


class BudgetError(PhiscaleError, ValueError):
    """No rounded network is close enough to the cost asked for."""


class RecordError(PhiscaleError, ValueError):
    """A record that cannot be read, or was changed by hand."""


class SettingsError(PhiscaleError, ValueError):
    """A setting outside its range, or two that exclude each other."""


class FileError(PhiscaleError, OSError):
    """A file that cannot be written."""


class DataError(PhiscaleError, ValueError):
    """Images or labels that cannot be used."""


class StudyError(PhiscaleError, RuntimeError):
    """A study that cannot be opened, resumed or recommended from."""


class TrialError(PhiscaleError, RuntimeError):
    """One evaluation that failed; ``kind`` is a short word for tables, e.g. ``diverged``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[type[TrialError], tuple[str, str]]:
        """With its kind, on the way between processes."""
        return type(self), (self.kind, str(self))


def one_line(said: object, most: int = 500) -> str:
    """A text on one line of at most ``most`` characters, with control characters as escapes. Of an exception its type
    and message, or its type alone if the message raises.
    """
    try:
        text = f"{type(said).__name__}: {said}" if isinstance(said, BaseException) else str(said)
    except Exception:  # noqa: BLE001 - a user's exception may raise anything
        text = type(said).__name__
    return printable(" ".join(text.split()).removesuffix(":"), longest=most)
