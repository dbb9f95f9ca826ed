"""The baseline of a study that was searched, made again from its settings and its record. Not a command."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from phiscale.errors import StudyError
from phiscale.record import SearchRecord
from phiscale.spec import NetworkSpec
from scripts.shared.setup import ObjectiveSettings, choose_baseline

if TYPE_CHECKING:
    from objectives.growth import Baseline


def baseline_key(record: SearchRecord) -> object:
    """Equal for records of one baseline."""
    factory = record.details.get("factory")
    return record.network or (isinstance(factory, dict) and (factory.get("name"), factory.get("fingerprint")))


def searched_baseline(
    measure: ObjectiveSettings, record: SearchRecord, resolution: int, classes: int | None
) -> Baseline:
    """What the study scaled. Raises ``StudyError`` if the factory now makes another baseline.

    ``resolution`` is the side of the images in pixels; ``classes`` are those of a factory, None for its own.
    """
    if record.network is not None:
        return record.network
    base = choose_baseline(measure, resolution)
    base = base if classes is None else dataclasses.replace(base, classes=classes)
    known = record.details.get("factory")
    if isinstance(base, NetworkSpec) or not isinstance(known, dict):
        raise StudyError("expected a record of a network, got one without; run the search again")
    if base.describe()["fingerprint"] != known.get("fingerprint"):
        raise StudyError(
            f"expected {measure.factory} to make the baseline that was searched, got another network: its code has "
            "changed since; run the search again as a new study"
        )
    return base
