"""Look at a study in the browser, while it runs or later: its report, renewed as trials finish.

Run: phiscale dashboard --study demo
     phiscale dashboard --storage-file database.txt

The page is that of ``report.html``. A link on it leads to Optuna's own dashboard of the same study. There is no login:
the server listens on this machine only.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phiscale.errors import SettingsError, StudyError
from scripts.shared.console import run_command, say_error
from scripts.shared.storage import storage_given
from scripts.shared.studies import StudyOptions
from search.study import check_study_name, is_ours

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a dashboard shows."""

    storage: BaseStorage
    storage_name: str | None
    """See ``search.storage``; for messages, which never show its secrets."""
    names: tuple[str, ...] | None
    """Studies that are shown; None for all of the storage."""
    folder: Path
    """Of the study, or of all studies."""


@dataclass(frozen=True, kw_only=True)
class DashboardOptions:
    """Options of ``phiscale dashboard``."""

    study: str | None = None
    """Name of the study. Default: all studies of the storage."""
    storage: str | None = None
    """As given to phiscale search. Default: PHISCALE_STORAGE, else the study's last storage if that is in its
    folder."""
    storage_file: Path | None = None
    """As given to phiscale search."""
    results: Path = Path("results")
    """Folder of all studies."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; 0 for any that is free."""
    open: bool = False
    """Open it in the browser."""
    allow_remote: bool = False
    """Allow a --host that other machines can reach. Anyone who reaches it can read, change and delete studies."""

    def __post_init__(self) -> None:
        if self.study is None and storage_given(self.storage, self.storage_file) is None:
            raise SettingsError("expected --study, or --storage for all studies of a storage; got neither")
        if self.study is not None:
            check_study_name(self.study)
        if not 0 <= self.port < 2**16:
            raise SettingsError(f"expected a port of 0 to 65535, got {self.port}")
        if not self.allow_remote and not is_loopback(self.host):
            raise SettingsError(
                f"expected a loopback address such as 127.0.0.1, got {self.host!r}: the dashboard has no login, and "
                "anyone who reaches it can read, change and delete studies; add --allow-remote if that is meant"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def main() -> int:
    """The command."""
    return run_command(DashboardOptions, dashboard, __doc__ or "", "dashboard")


def dashboard(options: DashboardOptions) -> None:
    """Serve until Ctrl-C."""
    from functools import partial

    from optuna_dashboard import wsgi
    from waitress.server import create_server

    from report.live import REPORTS, LiveReports
    from search.storage import storage_errors

    place = _open(options)
    reports = LiveReports(
        studies=partial(_studies, place),
        results=options.results,
        beyond=wsgi(place.storage),
        guard=partial(storage_errors, place.storage_name, place.folder, "the next try follows"),
        failed=_say_once(),
    )
    listener = listen(options.host, options.port)
    server = create_server(
        reports if options.allow_remote else only_from_here(reports), sockets=[listener], threads=_THREADS
    )
    address = server_address(listener) + (f"{REPORTS}{options.study}" if options.study else "/")
    print(f"dashboard: {address}   (Ctrl-C ends it)", flush=True)
    if options.open:
        import webbrowser

        webbrowser.open(address)
    server.run()


def _say_once() -> Callable[[str], None]:
    """Prints an error, but not the same one repeatedly."""
    said: list[str] = []

    def say(error: str) -> None:
        if said[-1:] != [error]:
            said.append(error)
            say_error(f"the page is unchanged: {error}")

    return say


def listen(host: str, port: int) -> socket.socket:
    """A socket on that address; one of IPv6 may be in brackets, as in a URL. Raises ``StudyError``."""
    bare = host.strip("[]")
    try:
        return socket.create_server((bare, port), family=socket.AF_INET6 if ":" in bare else socket.AF_INET)
    except OSError as error:
        raise StudyError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None


def server_address(listener: socket.socket) -> str:
    """``http://127.0.0.1:8080`` or ``http://[::1]:8080``."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _open(options: DashboardOptions) -> Served:
    from search.storage import open_storage

    results = options.results
    if options.study is None:
        name = storage_given(options.storage, options.storage_file)
        opened = open_storage(name, results)
        return Served(storage=opened, storage_name=name, names=None, folder=results)
    place = StudyOptions(
        study=options.study, results=results, storage=options.storage, storage_file=options.storage_file
    )
    place.load()  # raises where there is no study
    name = place.storage_name
    opened = open_storage(name, place.folder)
    return Served(storage=opened, storage_name=name, names=(options.study,), folder=place.folder)


def only_from_here(
    app: Callable[[dict[str, Any], Any], Iterable[bytes]],
) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Refuse requests under another host name: a foreign page could point its own name at this server."""

    def guarded(environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        name, _, port = environment.get("HTTP_HOST", "").rpartition(":")
        if is_loopback(name if port.isdigit() and name else environment.get("HTTP_HOST", "")):
            return app(environment, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this dashboard answers to 127.0.0.1 and localhost only"]

    return guarded


def _studies(place: Served) -> list[Study]:
    """The studies of phiscale among those named, or among all."""
    import optuna

    names = place.names
    if names is None:
        names = tuple(study.study_name for study in optuna.get_all_study_summaries(place.storage))
    studies = [optuna.load_study(study_name=name, storage=place.storage) for name in names]
    return [study for study in studies if is_ours(study) and _is_a_folder(study.study_name)]


def _is_a_folder(name: str) -> bool:
    try:
        return bool(check_study_name(name))
    except SettingsError:
        return False


if __name__ == "__main__":
    sys.exit(main())
