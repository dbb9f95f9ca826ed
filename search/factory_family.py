"""The family of a user's own factory: counted here, where its code is, and stored in the record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from objectives.contract import Objective
from objectives.growth import Budget, Growth
from objectives.networks.factory import Factory, FactoryNetwork
from phiscale.errors import BudgetError, ConstraintError
from phiscale.files import write_text
from phiscale.record import SearchRecord

MEMBER_PHIS = (0.0, 1.0, 2.0, 3.0)
"""Sizes that are counted. Each takes some tens of calls of the factory, which take longer for larger networks."""


def keep_members(folder: Path, objective: Objective) -> SearchRecord:
    """Put the objective's factory and its members into ``constants.json`` and ``family.json``; nothing without one.

    Raises ``RecordError`` where there is no record in the folder, ``FileError`` where one cannot be written.
    """
    record = SearchRecord.load(folder / "constants.json")
    growth = getattr(objective, "growth", None)
    if not isinstance(growth, Growth) or not isinstance(growth.base, Factory):
        return record
    factory = growth.base.describe() | count_members(growth, record, MEMBER_PHIS)
    record = dataclasses.replace(record, details={**record.details, "factory": factory})
    record.save(folder / "constants.json")
    plain = {"study": record.study, "constants": vars(record.constants), "factory": factory}
    write_text(folder / "family.json", json.dumps(plain, indent=2) + "\n")
    return record


def count_members(growth: Growth, record: SearchRecord, phis: Sequence[float]) -> dict[str, list[dict[str, Any]]]:
    """The members at every phi by budget: sizes, counted cost, and the call that makes each."""
    return {budget: [_member(growth, record, phi, budget) for phi in phis] for budget in get_args(Budget)}


def _member(growth: Growth, record: SearchRecord, phi: float, budget: Budget) -> dict[str, Any]:
    """One row; with the reason where there is no such network."""
    try:
        network = cast("FactoryNetwork", growth.network_at(record.constants, phi, budget))
    except (BudgetError, ConstraintError) as error:
        return {"phi": phi, "problem": str(error)}
    return {"phi": phi, **_row(network, record), "target_growth": record.cost_model.target_growth(phi)}


def _row(network: FactoryNetwork, record: SearchRecord) -> dict[str, Any]:
    return {
        "asked": dataclasses.asdict(network.asked),
        "realised": dataclasses.asdict(network.realised),
        "resolution": network.resolution,
        **dataclasses.asdict(network.cost),
        "growth": network.growth(record.cost_model),
        "fingerprint": network.fingerprint,
        **network.spec.call,
    }
