"""Opening storages, and keeping their secrets."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from phiscale import StudyError
from search import storage
from search.storage import lies_in, on_local_disk, open_storage, put_log_away, redact, redact_text, secrets_in
from search.study import check_study_name, load_study, open_study

SECRET_URLS = [
    "mysql+pymysql://user:hunter2@127.0.0.1:1/db",
    "postgresql://user:hunter2@127.0.0.1:1/db?sslmode=disable",
    "postgresql://user:hun@ter2@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=me&password=hunter2",
    "nonsense://user:hunter2@nowhere",
    "redis://:hunter2@127.0.0.1:1/0",
    "postgresql://user:hun/ter2@127.0.0.1:1/db",
    "postgresql://user:hun?ter2@127.0.0.1:1/db",
    "postgresql://user:hun#ter2@127.0.0.1:1/db",
    "postgresql://user:hun\nter2@127.0.0.1:1/db",
    "postgresql://user:hunter2@127.0.0.1:hunter2/db",
    "postgresql://us/er:hunter2@127.0.0.1:1/db",
    "user:hunter2@127.0.0.1:1/db",
    "user:hun/@ter2@127.0.0.1:1/db",
    "user:hunter2://@127.0.0.1:1/db",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3D{x}%3BUID%3Dme%3BPWD%3Dhunter2",
    "mssql+pyodbc:///?odbc_connect=DRIVER={x};UID=me;PWD=hun@ter2",
    "mysql+pymysql://user@127.0.0.1:1/db?ssl_key_password=hunter2&charset=utf8",
    "sqlite+pysqlcipher://:hunter2@/file.db",
    "://user:hunter2@127.0.0.1",
    "://127.0.0.1:1/db?x=1&password=@hunter2",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_secrets_are_never_shown(url: str, tmp_path: Path) -> None:
    assert "ter2" not in redact(url)
    with pytest.raises(StudyError) as caught:
        open_storage(url, tmp_path)
    assert "ter2" not in str(caught.value)
    assert "cannot open the storage" in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_what_the_command_says_itself_does_not_spell_a_secret() -> None:
    with pytest.raises(StudyError, match=r"storage \*\*\*: it is no URL and ends in no \.journal; expected nothing"):
        open_storage("u:nothing@127.0.0.1:1/db", None)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///study.db",
        "sqlite:////tmp/a:b@c/study.db?timeout=9",
        "results/a.journal",
        "a@b.journal",
        "postgresql://host/db",
        "postgresql://me@host/db",
        "--trials=3",
    ],
)
def test_urls_without_secrets_stay_as_they_are(url: str) -> None:
    assert redact(url) == url
    assert secrets_in(url) == []


def test_the_parts_of_a_url_that_are_no_secret_are_shown() -> None:
    assert redact("mysql+pymysql://u:hunter2@host:9/db?charset=utf8") == "mysql+pymysql://u:***@host:9/db?***"
    assert redact("--storage=mysql://u:hunter2@host/db") == "--storage=mysql://u:***@host/db"
    assert redact("postgresql://u:hun#ter2@host/db") == "postgresql://***"
    assert redact_text("no driver for mysql://u:hunter2@host/db here") == "no driver for mysql://u:***@host/db here"
    assert secrets_in("mysql://u:hun%40ter2@host/db") == ["hun%40ter2", "hun@ter2"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "-x", "x" * 101, "a\nb", "é"])
def test_a_study_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="study name of letters"):
        check_study_name(name)


@pytest.mark.parametrize("name", [None, "sqlite:///{}/other.db", "{}/deep/other.journal"])
def test_looking_at_a_study_that_is_not_there_makes_nothing(tmp_path: Path, name: str | None) -> None:
    with pytest.raises(StudyError, match="which is not there"):
        load_study("none", tmp_path, name and name.format(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        (None, True),
        ("sqlite:///{}/s/other.db", True),
        ("{}/s/deep/other.journal", True),
        ("{}/s/../other.journal", False),
        ("{}/s/link/other.journal", False),
        ("sqlite:///{}/other.db", False),
        ("sqlite:///file:{}/s/other.db?uri=true", False),
        ("sqlite:///{}/s/other.db?vfs=unix", False),
        ("sqlite:nonsense", False),
        ("postgresql://host/db", False),
        ("redis://host", False),
    ],
)
def test_a_storage_lies_in_the_folder_or_elsewhere(tmp_path: Path, name: str | None, inside: bool) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "link").symlink_to(tmp_path)
    assert lies_in(tmp_path / "s", name and name.format(tmp_path)) is inside


def test_a_database_that_is_a_link_lies_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").symlink_to(tmp_path / "other.db")
    assert not lies_in(tmp_path / "s", None)


def test_a_storage_without_the_study_says_so(tmp_path: Path) -> None:
    open_storage(None, tmp_path, to_write=True)
    with pytest.raises(StudyError, match="no study 'none'"):
        load_study("none", tmp_path, None)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_storage_in_memory_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StudyError, match="a storage that lasts"):
        open_storage(url, tmp_path)


@pytest.mark.parametrize("name", ["a?b", "a%41b", "a#b", "a{b}c", "a b"])
def test_a_folder_of_any_name_holds_its_study(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    open_storage(None, folder, to_write=True)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [Path(name, "study.db")]


@pytest.mark.parametrize(
    ("name", "absolute"),
    [
        ("a/b.journal", "{here}/a/b.journal"),
        ("/a/b.journal", "/a/b.journal"),
        ("sqlite:///b.db", "sqlite:///{here}/b.db"),
        ("sqlite:////a/b.db?timeout=5", "sqlite:////a/b.db?timeout=5"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("sqlite///wrong", "sqlite///wrong"),
        ("postgresql://user:secret@host/db", "postgresql://user:secret@host/db"),
    ],
)
def test_files_are_named_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, absolute: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.absolute_name(name) == absolute.format(here=tmp_path)
    assert storage.absolute_name(None) is None


@pytest.mark.parametrize("times", [1, 9])
def test_who_opens_a_database_that_another_makes_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    import optuna
    from sqlalchemy.exc import OperationalError

    made = optuna.storages.RDBStorage.__init__
    left = [OperationalError("CREATE", {}, Exception("table x already exists"))] * times

    def make(*given: Any, **named: Any) -> None:
        if left:
            raise left.pop()
        made(*given, **named)

    monkeypatch.setattr(optuna.storages.RDBStorage, "__init__", make)
    monkeypatch.setattr(storage, "_PAUSES", (0.0, 0.0))
    if times == 1:
        open_storage(None, tmp_path, to_write=True)
    else:
        with pytest.raises(StudyError, match="table x already exists"):
            open_storage(None, tmp_path, to_write=True)


def journal_mode(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.fixture
def local_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file system of the tests is."""
    monkeypatch.setattr(storage, "on_local_disk", lambda _path: True)


@pytest.mark.usefixtures("local_disk")
def test_a_local_database_keeps_a_log_and_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    opened = open_storage(None, tmp_path, to_write=True)
    with opened._backend.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL


def test_a_database_on_a_network_folder_is_left_as_sqlite_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "on_local_disk", lambda _path: False)
    opened = open_storage(None, tmp_path, to_write=True)
    with opened._backend.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


MOUNTS = r"""
proc /proc proc rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sda2 /data ext4 rw 0 0
server:/data /data nfs4 rw 0 0
/dev/sdb1 /home/me/my\040disk xfs rw 0 0
//server/share /homes cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "is_local"),
    [
        ("/a/study.db", True),
        ("/home/study.db", False),
        ("/home/me/results/study.db", False),
        ("/home/me/my disk/study.db", True),
        ("/homes/study.db", False),
        ("/proc/study.db", False),
        ("/data/study.db", False),
    ],
)
def test_the_file_system_of_the_nearest_mount_counts(tmp_path: Path, path: str, is_local: bool) -> None:
    (tmp_path / "mounts").write_text(MOUNTS.lstrip())
    assert on_local_disk(Path(path), tmp_path / "mounts") is is_local


def test_without_a_list_of_mounts_no_disk_is_known_to_be_local(tmp_path: Path) -> None:
    assert not on_local_disk(tmp_path / "study.db", tmp_path / "none")


@pytest.mark.usefixtures("local_disk")
def test_a_log_that_is_put_away_leaves_one_file_with_everything(tmp_path: Path) -> None:
    import optuna

    study = optuna.create_study(storage=open_storage(None, tmp_path, to_write=True), study_name="s")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    other = load_study("s", tmp_path, None)
    put_log_away(study, None, tmp_path)  # a file that others have open is left alone
    assert journal_mode(tmp_path / "study.db") == "wal"
    assert len(other.trials) == 1
    put_log_away(other, None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
    assert len(load_study("s", tmp_path, None).trials) == 1
    assert journal_mode(tmp_path / "study.db") == "delete"  # a look leaves it as it is
    study.add_trial(optuna.trial.create_trial(value=2.0))
    assert len(study.trials) == 2


@pytest.mark.usefixtures("local_disk")
def test_a_file_that_is_being_written_is_not_waited_for_to_change_its_mode(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as writer:
        writer.execute("CREATE TABLE t (x)")
        writer.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        storage._LoggedConnection(tmp_path / "study.db", timeout=60).close()
        assert time.monotonic() - started < 30
        writer.execute("ROLLBACK")
    kept = storage._LoggedConnection(tmp_path / "study.db", timeout=60)
    assert kept.execute("PRAGMA busy_timeout").fetchone() == (60000,)
    kept.close()


def test_what_is_no_sqlite_file_has_no_log_to_put_away(tmp_path: Path) -> None:
    import optuna

    name = str(tmp_path / "a.journal")
    study = optuna.create_study(storage=open_storage(name, tmp_path, to_write=True), study_name="s")
    put_log_away(study, name, tmp_path)
    assert len(study.trials) == 0
    assert not (tmp_path / "study.db").exists()


@pytest.mark.parametrize(
    "made", ["", "CREATE TABLE studies (study_id INTEGER)", "CREATE TABLE alembic_version (version_num TEXT)"]
)
def test_a_look_at_a_file_that_is_being_made_leaves_it_to_its_search(tmp_path: Path, made: str) -> None:
    """Whoever opens a storage makes its tables: the search that was about to would end."""
    file = tmp_path / "study.db"
    with contextlib.closing(sqlite3.connect(file)) as plain:
        plain.execute(made)
    file.touch()
    before = file.read_bytes()
    with pytest.raises(StudyError, match="holds no study yet; try again when the search has begun"):
        load_study("s", tmp_path, None)
    assert file.read_bytes() == before


def test_the_garbage_collector_pauses_while_a_study_is_read_and_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    works = []
    read = optuna.Study.get_trials

    def watched(*arguments: Any, **named: Any) -> Any:
        works.append(gc.isenabled())
        return read(*arguments, **named)

    monkeypatch.setattr(optuna.Study, "get_trials", watched)
    open_study("s", tmp_path, None, "maximize", {})
    load_study("s", tmp_path, None)
    assert works == [False, False]
    assert gc.isenabled()
    with pytest.raises(StudyError):
        load_study("none", tmp_path, None)
    assert gc.isenabled()
