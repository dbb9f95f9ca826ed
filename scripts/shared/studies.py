"""The study that a command looks at: where it is, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phiscale.errors import StudyError
from search.study import check_study_name

if TYPE_CHECKING:
    from optuna import Study

    from report.view import StudyView

_HIDDEN = "***"
"""What stands for a secret in ``config.json``."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which study."""

    study: str
    """Name of the study."""
    results: Path = Path("results")
    """Folder of all studies."""
    storage: str | None = None
    """As given to run_search. Default: what it last used, unless that holds a password."""

    def __post_init__(self) -> None:
        check_study_name(self.study)

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.results / self.study

    @property
    def storage_name(self) -> str | None:
        """The storage asked for, else the one that the study last used; None for SQLite in its folder."""
        return self.storage or _last_storage(self.folder)

    def load(self) -> Study:
        """The study. Raises ``StudyError`` where there is none."""
        from search.study import load_study

        if self.storage is None and _HIDDEN in str(_stored(self.folder)):
            raise StudyError(
                f"expected --storage as it was given to run_search: {self.study!r} is in {_stored(self.folder)}, whose "
                "password is not kept"
            )
        return load_study(self.study, self.folder, self.storage_name)

    def look(self) -> StudyView:
        """The study as it stands. Raises ``StudyError`` where there is none."""
        from report.view import look

        return look(self.load(), self.folder)


def _last_storage(folder: Path) -> str | None:
    last = _stored(folder)
    return None if last is None or _HIDDEN in last else last


def _stored(folder: Path) -> str | None:
    """The storage of the latest run, its secrets hidden."""
    from report.view import read_json

    config = read_json(folder / "config.json")
    last = config.get("storage") if isinstance(config, dict) else None
    return last if isinstance(last, str) else None
