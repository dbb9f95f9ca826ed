"""The report of a study while it runs: the same page, drawn again when its study has changed, as a WSGI application.

A page is drawn when somebody requests it, not by the search. So a search pays nothing, and a study of any age, storage
and machine can be viewed. Nothing is written to the study.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phiscale.errors import PhiscaleError, one_line
from report.page import SCRIPT, Live, html, index
from report.view import RECORD, look
from search.hold import is_driven
from search.study import STOPPED

if TYPE_CHECKING:
    from optuna import Study

_PAUSE = 1.5
"""Seconds between two checks of a study."""
_SHARE = 5
"""The next page is drawn after this many times the time of the last drawing, so that a search keeps the machine."""
REPORTS = "/report/"
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass
class _Shown:
    """The latest page of a study."""

    page: bytes = b""
    tag: str = ""
    state: object = None
    """Of the study when it was drawn."""
    next_look: float = 0.0
    """Before this time (monotonic) the study is not asked again."""
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, kw_only=True)
class LiveReports:
    """Serves ``/report/NAME``; every other address is ``beyond``'s, Optuna's own dashboard."""

    studies: Callable[[], Sequence[Study]]
    """The studies to show, in their current state. May raise ``PhiscaleError`` or ``OSError``."""
    results: Path
    """Folder of all studies."""
    beyond: Application
    guard: Callable[[], AbstractContextManager[None]]
    """Within it errors of the storage become ``PhiscaleError``."""
    failed: Callable[[str], None]
    """Called with the reason why a page could not be drawn, in one sentence."""
    shown: dict[str, _Shown] = field(default_factory=dict)

    def __call__(self, environment: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        path = environment.get("PATH_INFO", "")
        if path == f"{REPORTS}{SCRIPT.name}":
            return _answer(start_response, "200 OK", SCRIPT.read_bytes(), "text/javascript; charset=utf-8")
        if path not in ("", "/") and not path.startswith(REPORTS):
            return self.beyond(environment, start_response)
        try:
            with self.guard():
                studies = {study.study_name: study for study in self.studies()}
                name = path.removeprefix(REPORTS) if path.startswith(REPORTS) else ""
                if not name:
                    return self._first_page(list(studies), start_response)
                if name not in studies:
                    return _answer(start_response, "404 Not Found", b"there is no such study here", "text/plain")
                shown = self._page(studies[name])
        except Exception as error:  # noqa: BLE001 - the next request may succeed
            known = isinstance(error, (PhiscaleError, OSError))
            why = str(error) if known else f"the page of {path} cannot be drawn: {one_line(error)}"
            self.failed(why)
            text = why.encode(errors="backslashreplace")
            return _answer(start_response, "503 Service Unavailable", text, "text/plain; charset=utf-8")
        if environment.get("HTTP_IF_NONE_MATCH") == shown.tag:
            start_response("304 Not Modified", [("ETag", shown.tag)])
            return [b""]
        return _answer(start_response, "200 OK", shown.page, "text/html; charset=utf-8", ("ETag", shown.tag))

    def _first_page(self, names: Sequence[str], start_response: Any) -> Iterable[bytes]:
        """The report of the only study, or a list of them."""
        if len(names) != 1:
            return _answer(start_response, "200 OK", index(names, REPORTS).encode(), "text/html; charset=utf-8")
        start_response("302 Found", [("Location", f"{REPORTS}{names[0]}")])
        return [b""]

    def _page(self, study: Study) -> _Shown:
        """The page of a study; an older one while another request draws it."""
        shown = self.shown.setdefault(study.study_name, _Shown())
        if not shown.lock.acquire(blocking=not shown.page):
            return shown
        try:
            if time.monotonic() < shown.next_look:
                return shown
            began, folder = time.monotonic(), self.results / study.study_name
            state = _state(study, folder)
            if state != shown.state or not shown.page:
                live = Live(script=f"{REPORTS}{SCRIPT.name}", optuna=f"/dashboard/studies/{study._study_id}")
                shown.page = html(look(study, folder), live=live).encode()
                shown.tag, shown.state = f'"{hashlib.sha256(shown.page).hexdigest()[:20]}"', state
            took = time.monotonic() - began
            shown.next_look = time.monotonic() + max(_PAUSE, _SHARE * took)
        finally:
            shown.lock.release()
        return shown


def _state(study: Study, folder: Path) -> object:
    """A value that changes with the page of a study."""
    counts = Counter(trial.state.name for trial in study.get_trials(deepcopy=False))
    files = [path.stat().st_mtime_ns for path in (folder / RECORD, folder / "config.json") if path.is_file()]
    return sorted(counts.items()), study.user_attrs.get(STOPPED), is_driven(study), files


def _answer(start_response: Any, status: str, body: bytes, kind: str, *more: tuple[str, str]) -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-cache"), *more]
    start_response(status, headers)
    return [body]
