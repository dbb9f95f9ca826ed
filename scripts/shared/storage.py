"""Where the name of a storage comes from: the command line, a file, or the environment.

Every user of a machine can read the command lines of all its processes. So a URL with a password belongs in a file that
only its owner can read, or in ``PHISCALE_STORAGE``.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from phiscale.errors import SettingsError
from search.storage import secrets_in

VARIABLE = "PHISCALE_STORAGE"
"""The storage of all commands that name none."""
_LONGEST = 4096
"""Bytes of a file that holds a URL."""


def storage_given(storage: str | None, file: Path | None) -> str | None:
    """``--storage``, else what ``--storage-file`` holds, else the variable; None where nothing is given.

    Raises ``SettingsError`` for both options together, and for a file that holds no name of a storage.
    """
    if storage is not None and file is not None:
        raise SettingsError("expected either --storage or --storage-file, got both")
    return _read(file) if file is not None else storage or os.environ.get(VARIABLE) or None


def _read(file: Path) -> str:
    """The one line of the file, which appears in no message. Warns if others can read a password."""
    try:
        about = file.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LONGEST:
            raise SettingsError(f"expected --storage-file {file} to be a file of at most {_LONGEST} bytes with a URL")
        lines = file.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SettingsError(f"cannot read --storage-file {file}: {reason}") from None
    if len(lines) != 1:
        raise SettingsError(f"expected one line with a database URL in --storage-file {file}, got {len(lines)} words")
    if about.st_mode & (stat.S_IRGRP | stat.S_IROTH) and secrets_in(lines[0]):
        print(f"others can read a password in --storage-file {file}; chmod 600 {file}", file=sys.stderr)
    return lines[0]
