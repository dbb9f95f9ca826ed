"""A PostgreSQL server of a test's own: on loopback, with a password, in a folder that goes when the test ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "p-7d1f/secret"  # noqa: S105 - of a server that lives for one test
_ENCODED = "p-7d1f%2Fsecret"


class Server:
    """``start`` and ``stop`` it as often as wanted; the data stay."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        self._run("initdb", "--auth=scram-sha-256", "--username=user", f"--pwfile={secret}", "--no-sync")

    @property
    def url(self) -> str:
        """With the password."""
        return f"postgresql+psycopg://user:{_ENCODED}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        self._run("pg_ctl", "--wait", f"--options={options}", f"--log={self._folder / 'log'}", "start")

    def stop(self) -> None:
        """Stop it at once; connections are cut."""
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self._folder / 'data'}", *words]
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        done = subprocess.run([*as_user, *command], cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def server() -> Iterator[Server]:
    """A running server; the test is skipped without PostgreSQL, except where the variable CI is set."""
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)
    try:
        import psycopg  # noqa: F401
    except ImportError:
        programs = None
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL and psycopg have to be installed where CI is set")
        pytest.skip("needs PostgreSQL (apt-get install postgresql) and psycopg")
    with tempfile.TemporaryDirectory(prefix="phiscale-pg-") as name:
        Path(name).chmod(0o711)  # the server's user passes through
        made = Server(programs.parent, Path(name))
        made.start()
        try:
            yield made
        finally:
            made.stop()
