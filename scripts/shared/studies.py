"""The study that a command shows: its place and its state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from phiscale.errors import StudyError, one_line
from scripts.shared.storage import storage_given
from search.study import check_study_name

if TYPE_CHECKING:
    from optuna import Study

    from report.view import StudyView


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which study."""

    study: str
    """Name of the study."""
    results: Path = Path("results")
    """Folder of all studies."""
    storage: str | None = None
    """As given to phiscale search. Default: PHISCALE_STORAGE, else its last storage if that is in its folder."""
    storage_file: Path | None = None
    """As given to phiscale search."""

    def __post_init__(self) -> None:
        check_study_name(self.study)

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.results / self.study

    @cached_property
    def storage_name(self) -> str | None:
        """The requested storage, else the study's last one; None for SQLite in its folder. Raises ``StudyError`` if the
        last one is not in its folder: the folder may come from anybody, so what it names is not opened unless the user
        names it.
        """
        from search.storage import lies_in, redact, storage_url

        given, last = storage_given(self.storage, self.storage_file), _stored(self.folder)
        if given is None and not lies_in(self.folder, last):
            where = one_line(redact(storage_url(last, self.folder)))
            raise StudyError(
                f"expected --storage or --storage-file as given to phiscale search: {self.study!r} is in {where}, "
                f"which is not in {self.folder} and is only opened when you name it"
            )
        return given or last

    def load(self) -> Study:
        """The study. Raises ``StudyError`` where there is none."""
        from search.study import load_study

        return load_study(self.study, self.folder, self.storage_name)

    def look(self) -> StudyView:
        """The study in its current state. Raises ``StudyError`` where there is none."""
        from report.view import look

        return look(self.load(), self.folder)


def _stored(folder: Path) -> str | None:
    """The storage of the latest run, its secrets hidden."""
    from report.view import read_json

    config = read_json(folder / "config.json")
    last = config.get("storage") if isinstance(config, dict) else None
    return last if isinstance(last, str) else None
