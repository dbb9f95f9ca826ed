"""Writing files so that a reader finds the old text or the new one, never half of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from phiscale.errors import FileError


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 in one step; folders are made. Raises ``FileError`` with the reason."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` in one step; folders are made. Raises ``FileError`` with the reason."""
    import tempfile  # pulls in shutil and its archive modules: 10 ms that a reader of records need not wait for

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
    except OSError as error:
        raise FileError(_reason(path, error)) from None
    finally:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _reason(path: Path, error: OSError) -> str:
    return f"cannot write {path}: {error.strerror or error}; what stood there is unchanged"
