"""Writing files so that a reader finds the old text or the new one, never a part; and reading JSON strictly."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import time
from pathlib import Path
from typing import Any, NoReturn

from phiscale.errors import FileError, PhiscaleError

_LARGEST_JSON = 2**24
"""Bytes; the largest record has some hundred thousand."""

_ABANDONED_AFTER = 60.0
"""Seconds: no write takes as long."""


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 in one step; folders are made. Raises ``FileError`` with the reason.

    Names that are not text (bytes of a file name, for example) are written as escapes.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` in one step; folders are made. Raises ``FileError`` with the reason."""
    import tempfile  # imports shutil and its archive modules, which takes 10 ms: a reader of records does not need them

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise FileError(_reason(path, error)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
        _remove_abandoned(path)
    except OSError as error:
        raise FileError(_reason(path, error)) from None
    finally:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()


def _remove_abandoned(path: Path) -> None:
    """Remove the remains of a process that was killed while it wrote the same file, a minute ago or more."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_AFTER:
                left.unlink()


def read_json(path: str | Path, what: str, error: type[PhiscaleError]) -> Any:
    """The JSON value of a file of at most 16 MiB, UTF-8 with or without a byte-order mark.

    Raises ``error`` that names file and reason, also for a name given twice in one object and for numbers that are not
    finite. ``what`` says what the file should be, e.g. ``record``.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_JSON + 1)
    except (OSError, ValueError) as problem:  # ValueError: a path that no file can have
        raise error(f"cannot read the {what} {path}: {getattr(problem, 'strerror', None) or problem}") from None
    if len(content) > _LARGEST_JSON:
        raise error(f"expected {path} to hold one JSON {what}, got more than 16 MiB; is it another file?")
    try:
        text = content.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=named_once, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        reason = _not_json(problem)
        message = f"expected {path} to hold one whole JSON {what}, got {reason}; take it from its source again"
        raise error(message) from None


def _not_json(problem: Exception) -> str:
    if isinstance(problem, UnicodeDecodeError):
        return "bytes that are not text"
    if isinstance(problem, RecursionError):
        return "lists or objects that are nested too deep"
    return f"text that is not JSON ({problem})" if isinstance(problem, json.JSONDecodeError) else str(problem)


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object. Raises ``ValueError`` for a name that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} twice in one object")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is no finite number")


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:20]}, which is no finite number")
    return number


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _reason(path: Path, error: OSError) -> str:
    return f"cannot write {path}: {error.strerror or error}; the old content is unchanged"
