"""Opening the database of a study, and keeping its secrets: the one way into storage.

A storage is named by nothing (SQLite in the folder of the study), by the path of a journal file (``*.journal``), or by
any URL that Optuna takes. Passwords in a URL are never printed or written down.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from phiscale.errors import StudyError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_SECRET_WORDS = re.compile(r"(?i)([?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=)[^&]*")
_IN_MEMORY = ("sqlite://", "sqlite:///", "sqlite:///:memory:")
_USER_PART = re.compile(r"(://[^:/?#]*:).*(@)")


def redact(url: str) -> str:
    """The URL without passwords, for messages and records."""
    return _SECRET_WORDS.sub(r"\1***", _USER_PART.sub(r"\1***\2", url))


def storage_url(name: str | None, folder: Path) -> str:
    """The full name of a storage: the folder's own SQLite file where none is given."""
    return name if name is not None else f"sqlite:///{folder / 'study.db'}"


def open_storage(name: str | None, folder: Path) -> BaseStorage:
    """The storage of a study in ``folder``, made if it is not there. Raises ``StudyError`` with the reason.

    Callers hold the study's lock while a database may still be created.
    """
    import optuna
    import sqlalchemy.exc
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    url = storage_url(name, folder)
    if url in _IN_MEMORY:
        raise StudyError(f"expected a storage that lasts, got {url}, which is kept in memory only; name a file")
    try:
        if url.endswith(".journal") and "://" not in url:
            Path(url).parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(url))
        if url.startswith("sqlite"):
            return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 100}})
        return optuna.storages.get_storage(url)
    except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError, ImportError, RuntimeError) as error:
        raise StudyError(_cannot_open(url, error)) from None


def _cannot_open(url: str, error: Exception) -> str:
    return (
        f"cannot open the storage {redact(url)}: {_reason(error, url)}; expected nothing (SQLite beside the results), "
        "a path that ends in .journal, or a database URL such as sqlite:///study.db"
    )


@contextlib.contextmanager
def storage_errors(name: str | None, folder: Path, advice: str) -> Iterator[None]:
    """Turn an error of the database underneath into ``StudyError``: which storage, why, and ``advice``."""
    try:
        yield
    except Exception as error:
        package = type(error).__module__.split(".")[0]
        if package not in ("optuna", "sqlalchemy", "sqlite3") and not isinstance(error, json.JSONDecodeError):
            raise
        url = storage_url(name, folder)
        raise StudyError(f"the storage {redact(url)} failed ({_reason(error, url)}); {advice}") from None


def _reason(error: BaseException, url: str) -> str:
    """What the database itself said, without secrets and on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    error = getattr(error, "orig", None) or error
    reason = " ".join(str(error).split()) or type(error).__name__
    for secret in secrets_in(url):
        reason = reason.replace(secret, "***")
    return redact(reason)[:300]


def secrets_in(url: str) -> list[str]:
    """The secret parts of a URL, longest first."""
    parts = [match.group() for match in re.finditer(r"(?<=:)[^:/@?#][^/?#]*(?=@)", url)]
    parts += [match.group().split("=", 1)[1] for match in _SECRET_WORDS.finditer(url)]
    return sorted(filter(None, parts), key=len, reverse=True)
