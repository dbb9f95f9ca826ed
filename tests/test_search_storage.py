"""Opening storages, and keeping their secrets."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from search.workers import Worker, deciding, is_dead

from phiscale import StudyError
from search import storage
from search.storage import on_local_disk, open_storage, put_log_away, redact
from search.study import check_study_name, load_study

SECRET_URLS = [
    "mysql+pymysql://user:hunter2@127.0.0.1:1/db",
    "postgresql://user:hunter2@127.0.0.1:1/db?sslmode=disable",
    "postgresql://user:hun@ter2@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=me&password=hunter2",
    "nonsense://user:hunter2@nowhere",
    "redis://:hunter2@127.0.0.1:1/0",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_secrets_are_never_shown(url: str, tmp_path: Path) -> None:
    assert "ter2" not in redact(url)
    with pytest.raises(StudyError) as caught:
        open_storage(url, tmp_path)
    assert "ter2" not in str(caught.value)
    assert "cannot open the storage" in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["sqlite:///study.db", "results/a.journal", "postgresql://host/db"])
def test_urls_without_secrets_stay_as_they_are(url: str) -> None:
    assert redact(url) == url


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "-x", "x" * 101, "a\nb", "é"])
def test_a_study_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="study name of letters"):
        check_study_name(name)


def test_looking_at_a_study_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="which is not there"):
        load_study("none", tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_a_storage_without_the_study_says_so(tmp_path: Path) -> None:
    open_storage(None, tmp_path)
    with pytest.raises(StudyError, match="no study 'none'"):
        load_study("none", tmp_path, None)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"cannot write to .*file"):
        Worker(tmp_path / "file")


def test_a_worker_is_alive_until_it_is_closed(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    assert not is_dead(tmp_path, worker.name)
    worker.close()
    assert is_dead(tmp_path, worker.name)


def test_a_worker_elsewhere_is_not_called_dead(tmp_path: Path) -> None:
    assert not is_dead(tmp_path, "another-machine-12-abcdef01")


def test_a_file_nobody_holds_is_a_dead_worker_s(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "another-machine-12-abcdef01.lock").touch()
    assert is_dead(tmp_path, "another-machine-12-abcdef01")


def test_a_worker_of_this_machine_in_another_folder_is_alive_while_its_process_is(tmp_path: Path) -> None:
    host = Worker(tmp_path).name.rsplit("-", 2)[0]
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        name = f"{host}-{other.pid}-abcdef01"
        assert not is_dead(tmp_path / "another", name)
        other.communicate(b"\n")
    assert is_dead(tmp_path / "another", name)


def test_a_lock_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "decisions.lock").mkdir()
    with pytest.raises(StudyError, match="cannot lock"), deciding(tmp_path):
        pass


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_storage_in_memory_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StudyError, match="a storage that lasts"):
        open_storage(url, tmp_path)


def journal_mode(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.fixture
def local_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file system of the tests is."""
    monkeypatch.setattr(storage, "on_local_disk", lambda _path: True)


@pytest.mark.usefixtures("local_disk")
def test_a_local_database_keeps_a_log_and_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    opened = open_storage(None, tmp_path, to_write=True)
    with opened.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL


def test_a_database_on_a_network_folder_is_left_as_sqlite_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "on_local_disk", lambda _path: False)
    opened = open_storage(None, tmp_path, to_write=True)
    with opened.engine.connect() as connection:
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
    opened = open_storage(None, tmp_path)
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        storage._LoggedConnection(tmp_path / "study.db", timeout=60).close()
        assert time.monotonic() - started < 30
        writer.execute("ROLLBACK")
    opened.engine.dispose()
    kept = storage._LoggedConnection(tmp_path / "study.db", timeout=60)
    assert kept.execute("PRAGMA busy_timeout").fetchone() == (60000,)
    kept.close()


def test_what_is_no_sqlite_file_has_no_log_to_put_away(tmp_path: Path) -> None:
    import optuna

    name = str(tmp_path / "a.journal")
    study = optuna.create_study(storage=open_storage(name, tmp_path), study_name="s")
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
    with pytest.raises(StudyError, match="holds no study yet; look again when the search has begun"):
        load_study("s", tmp_path, None)
    assert file.read_bytes() == before
