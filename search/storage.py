"""Opening the database of a study, and protecting its secrets. Every storage is opened here.

A storage is given by nothing (SQLite in the folder of the study), by the path of a journal file (``*.journal``), or by
any URL that Optuna takes. Passwords in a URL are never printed or written down.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from phiscale.errors import StudyError, one_line
from phiscale.triangle import CostModel
from search.trial import Plan, distributions_of, parameters_of

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.engine import URL

Given = ParamSpec("Given")
Result = TypeVar("Result")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds."""
_PAUSES = (0.1, 0.3, 1.0, 3.0)
"""Seconds between attempts to open a database that another process is creating."""
_SECRET_NAME = re.compile(r"(?i)pass|pwd|secret|token|key|odbc_connect")
_SCHEME = re.compile(r"(?<![:\w+.-])[A-Za-z][\w+.-]*://")
_NO_SCHEME = re.compile(r":.*@|[?&;].*=", re.DOTALL)
"""Parts of a name that may hold a secret although it is not a URL."""
_IN_MEMORY = ("sqlite://", "sqlite:///", "sqlite:///:memory:")
_LOCAL = ("btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs")
"""Local file systems, unless this machine itself shares them with others."""
_UNENCODED = re.compile(r"[^:/?#]*://.*[@/?#\s].*@", re.DOTALL)
"""A URL whose name or password, up to the last @, holds a character that ends it: a part would be read as the host."""


def redact(name: str) -> str:
    """The name of a storage without secrets, for messages and records; also for a word that ends in one. Of a malformed
    URL only the scheme is left, because it is unknown which part is secret.
    """
    scheme = _SCHEME.search(name)
    if scheme is None:
        return "***" if _NO_SCHEME.search(name) else name
    before, url = name[: scheme.start()], name[scheme.start() :]
    parsed = _parsed(url)
    if parsed is None:
        return f"{before}{scheme.group()}***"
    if parsed.get_backend_name() == "sqlite" and not secrets_in(url):
        return name
    hidden = "?***" if parsed.query else ""
    if parsed.password is None and not hidden:
        return name
    return f"{before}{parsed.set(query={}).render_as_string(hide_password=True)}{hidden}"


def redact_text(text: str) -> str:
    """A message on one line, without the secrets of the storages that it quotes."""
    return " ".join(map(redact, text.split()))


def secrets_in(name: str) -> list[str]:
    """The secret parts of the name of a storage, longest first."""
    from urllib.parse import quote, quote_plus, unquote

    scheme = _SCHEME.search(name)
    if scheme is None:
        found = re.split(r"[@:=?&;/]", name) if _NO_SCHEME.search(name) else []
    elif (parsed := _parsed(name[scheme.start() :])) is None:
        found = [name[scheme.end() :]]
    else:
        found = [str(parsed.password or "")]
        query = name.partition("?")[2]
        if secret := _SECRET_NAME.search(query):
            found += re.split(r"[&;=]", f"{query[secret.end() :]};{unquote(query[secret.end() :])}")
    found += [form(part) for part in found for form in (quote, quote_plus)]
    return sorted({part for part in found if part}, key=len, reverse=True)


def _parsed(url: str) -> URL | None:
    """The parts of a URL; None if it cannot be parsed, or if a part holds an unencoded character that would end it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if (_UNENCODED.match(url) and not url.startswith("sqlite:")) or not url.isprintable():
        return None
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def storage_url(name: str | None, folder: Path | None) -> str:
    """The full name of a storage: the folder's SQLite file if none is given, memory without a folder."""
    if name is not None:
        return name
    return sqlite_url(folder / "study.db") if folder else "memory"


def absolute_name(name: str | None) -> str | None:
    """The name of a storage, absolute, because a user's code may change the current folder."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if name is None or _is_journal(name):
        return name and str(Path(name).absolute())
    if name.startswith("sqlite"):
        with contextlib.suppress(ArgumentError):  # reported when it is opened
            file = make_url(name).database
            if file and not file.startswith((":", "file:")):
                return make_url(name).set(database=str(Path(file).absolute())).render_as_string(hide_password=False)
    return name


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file, wherever it lies."""
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(file)).render_as_string()


def _is_journal(name: str) -> bool:
    return name.endswith(".journal") and "://" not in name


def open_storage(name: str | None, folder: Path | None, *, to_write: bool = False) -> BaseStorage:
    """The storage of a study in ``folder``. Raises ``StudyError`` with the reason.

    ``to_write`` is for the driver: a missing database is created, and a SQLite file keeps a log, see ``put_log_away``.
    Otherwise nothing is created. A SQLite file that is still being created then counts as missing: opening it would
    create the tables too, and end the search that creates them.
    """
    import optuna
    import sqlalchemy.exc
    from optuna.storages import JournalStorage

    from search.journal import Journal

    url = storage_url(name, folder)
    if name is None and folder is None:
        return optuna.storages.InMemoryStorage()
    if url in _IN_MEMORY:
        raise StudyError(f"expected a storage that lasts, got {url}, which is kept in memory only; name a file")
    if "://" not in url and not url.endswith(".journal"):
        raise StudyError(_cannot_open(url, "it is no URL and ends in no .journal"))
    if "://" in url and _parsed(url) is None:
        raise StudyError(
            f"cannot open the storage {redact(url)}: expected a database URL that can be read, with special characters "
            "in name and password percent-encoded: @, /, ? and # as %40, %2F, %3F and %23"
        )
    file = _file_of(url)
    if file is not None and not to_write and not file.is_file():
        raise StudyError(f"expected a study in {file}, which is not there; check --study, --results and --storage")
    if file is not None and not to_write and not _is_journal(url) and _is_unfinished(file):
        raise StudyError(f"the storage {redact(url)} holds no study yet; try again when the search has begun")
    try:
        if _is_journal(url):
            Path(url).parent.mkdir(parents=True, exist_ok=True)
            journal = Journal(Path(url))
            if to_write:
                journal.cut_incomplete_line()
            return JournalStorage(journal)
        if file is not None:
            logs = to_write and on_local_disk(file)
            factory = _LoggedConnection if logs else sqlite3.Connection
            options = {"connect_args": {"timeout": 100, "factory": factory}}
            return optuna.storages.get_storage(_database(url, options))
        return optuna.storages.get_storage(_database(url, {"pool_pre_ping": True}) if _is_database(url) else url)
    except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        raise StudyError(_cannot_open(url, _reason(error, url))) from None


def _database(url: str, options: dict[str, Any]) -> RDBStorage:
    """The database; opened again if another process that began at the same time creates the same tables."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DBAPIError, IntegrityError

    plain = url.replace("{", "{{").replace("}", "}}")  # Optuna treats braces as a placeholder
    for pause in _PAUSES:
        try:
            return RDBStorage(plain, engine_kwargs=options)
        except DBAPIError as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
        time.sleep(pause)
    return RDBStorage(plain, engine_kwargs=options)


def lies_in(folder: Path, name: str | None) -> bool:
    """Whether a storage is a file in the folder of its study; links are followed."""
    is_plain = name is None or ("?" not in name and not name.startswith("sqlite:///file:"))
    file = _file_of(storage_url(name, folder)) if is_plain else None
    return file is not None and file.resolve().is_relative_to(folder.resolve())


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector while a study is read, because it would scan all new objects again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _is_database(url: str) -> bool:
    return "://" in url and not url.startswith("redis")


class _LoggedConnection(sqlite3.Connection):
    """A connection that keeps a write-ahead log, and does not wait for the disk at every commit. A commit then survives
    the end of any process. A power cut may lose the last trials, but the rest stays intact. The log needs memory that
    all processes share, which a network folder does not offer. Source: sqlite.org/wal.html.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        with contextlib.suppress(sqlite3.OperationalError):  # one that another process is writing stays unchanged
            (patience,) = self.execute("PRAGMA busy_timeout").fetchone()
            self.execute("PRAGMA busy_timeout=0")
            try:
                (mode,) = self.execute("PRAGMA journal_mode=WAL").fetchone()
                if mode == "wal":
                    self.execute("PRAGMA synchronous=NORMAL")
            finally:
                self.execute(f"PRAGMA busy_timeout={patience}")


def on_local_disk(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether the file lies on a local file system; False if that is unknown."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
        place = path.resolve()
    except (OSError, ValueError):
        return False
    kinds = [
        (len(point), at, kind)
        for at, (_, point, kind, *_) in enumerate(lines)
        if place.is_relative_to(_unescaped(point))
    ]
    return bool(kinds) and max(kinds)[2] in _LOCAL  # of two at one mount point the later hides the earlier


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)


def _file_of(url: str) -> Path | None:
    """The file of a SQLite database or a journal; None for a server."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if _is_journal(url) or not url.startswith(("sqlite:", "sqlite+pysqlite:")):
        return Path(url) if _is_journal(url) else None
    try:
        return Path(make_url(url).database or "")
    except ArgumentError:  # opening it reports what is wrong
        return None


def _is_unfinished(path: Path) -> bool:
    """Whether a SQLite file lacks what Optuna writes last when it creates one. An unreadable file does not count as
    unfinished."""
    if not path.is_file():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=100)) as plain:
            return plain.execute("SELECT 1 FROM alembic_version").fetchone() is None
    except sqlite3.OperationalError as error:
        return "no such table" in str(error)
    except sqlite3.Error:
        return False


def put_log_away(study: Study, name: str | None, folder: Path) -> None:
    """Merge the log into the SQLite file of a study if no other process has it open, so that any disk can hold it. The
    study can be used afterwards: it opens the file again.
    """
    url = storage_url(name, folder)
    file = None if _is_journal(url) else _file_of(url)
    if file is None or not file.is_file():
        return
    study._storage.remove_session()
    cast("RDBStorage", getattr(study._storage, "_backend", study._storage)).engine.dispose()
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file, timeout=0)) as plain:
        plain.execute("PRAGMA journal_mode=DELETE")


def begin_trial(study: Study, plan: Plan, cost_model: CostModel, attributes: dict[str, Any]) -> Trial:
    """A running trial, written in one transaction. It does what ``Study.add_trial`` does, which does not return the
    trial.
    """
    import optuna

    whole = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=parameters_of(plan.constants, cost_model),
        distributions=dict(distributions_of(cost_model)),
        user_attrs=attributes,
    )
    return optuna.Trial(study, study._storage.create_new_trial(study._study_id, whole))


def fail_trial(study: Study, trial: FrozenTrial, attributes: dict[str, Any]) -> None:
    """Mark a stored trial as failed, whatever it holds; Optuna's ``Trial`` would read it first."""
    from optuna.trial import TrialState

    for name, value in attributes.items():
        study._storage.set_trial_user_attr(trial._trial_id, name, value)
    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def end_transactions(study: Study) -> None:
    """Roll back a write that Ctrl-C interrupted: it would lock the database against the next one."""
    study._storage.remove_session()


def system_attributes(study: Study) -> dict[str, Any]:
    """What other programs, such as the dashboard, store with the study."""
    return study._storage.get_study_system_attrs(study._study_id)


def set_system_attribute(study: Study, name: str, value: Any) -> None:
    """Store something for another program with the study."""
    study._storage.set_study_system_attr(study._study_id, name, value)


class Patience:
    """Repeats work that fails because a database does not answer, with growing pauses, for ``seconds``."""

    def __init__(self, storage: str | None, seconds: float) -> None:
        self._seconds = seconds if storage and _is_database(storage) and not storage.startswith("sqlite") else 0.0

    def __call__(self, work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
        """The result of the work, which must be safe to do twice."""
        pause, end = _FIRST_PAUSE, time.monotonic() + self._seconds
        while True:
            try:
                return work(*arguments, **named)
            except Exception as error:
                if not _is_passing(error) or time.monotonic() + pause > end:
                    raise
                logging.getLogger(__name__).warning("the database does not answer; trying again in %.0f s", pause)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _is_passing(error: BaseException | None) -> bool:
    """Whether the error is a lost connection that may return."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    while error is not None:
        if isinstance(error, (OperationalError, InterfaceError)) or (
            isinstance(error, DBAPIError) and error.connection_invalidated
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _cannot_open(url: str, reason: str) -> str:
    return (
        f"cannot open the storage {redact(url)}: {reason}; expected nothing (SQLite in the folder of the results), "
        "a path that ends in .journal, or a database URL such as sqlite:///study.db"
    )


@contextlib.contextmanager
def storage_errors(name: str | None, folder: Path | None, advice: str) -> Iterator[None]:
    """Turn an error of the database into ``StudyError``: which storage, why, and ``advice``."""
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
    reason = str(error) or type(error).__name__
    for secret in secrets_in(url):
        reason = reason.replace(secret, "***")
    return one_line(redact_text(reason), 300)
