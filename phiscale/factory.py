"""The family of a person's own factory, read from a record: the multipliers and pixels to call it with.

phiscale cannot build such networks, so that their cost is counted by the search itself
(``objectives/networks/factory.py``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from phiscale import checks
from phiscale.errors import ConstraintError, SettingsError
from phiscale.family import align_columns, length_column, rows_as_csv, with_heading
from phiscale.record import SearchRecord
from phiscale.scaling import multipliers


def factory_name(record: SearchRecord) -> str | None:
    """The ``package.module:attribute`` whose networks were searched; None where it was a network with a spec."""
    return _factory(record)[0] if record.network is None else None


def refuse_factory(record: SearchRecord) -> None:
    """Raise ``SettingsError`` for a record whose own networks phiscale can neither build nor count."""
    name = factory_name(record)
    if name is not None:
        raise SettingsError(
            f"expected a record of a network with a spec, got one of {name}, whose networks phiscale cannot build: "
            "python -m phiscale family gives their multipliers, and --network scales another baseline"
        )


def _factory(record: SearchRecord) -> tuple[str | None, int]:
    """Name and baseline resolution of the factory of a record."""
    factory = record.details.get("factory")
    fields = factory if isinstance(factory, dict) else {}
    name, resolution = fields.get("name"), fields.get("resolution")
    if not isinstance(name, str) or not isinstance(resolution, int) or resolution < 1:
        return None, 0
    return name, resolution


def multiplier_family(
    record: SearchRecord, phis: Iterable[float], *, budget: str = "nominal", max_resolution: int | None = None
) -> tuple[dict[str, Any], ...]:
    """The literal multipliers at every phi for the factory of a record: what to call it with.

    Raises ``SettingsError`` where the record holds no factory, or a matched budget is asked for.
    """
    name, base = _factory(record)
    if name is None:
        raise SettingsError("expected a record of a factory, got one without")
    if budget != "nominal":
        raise SettingsError(
            f"expected --budget nominal, got {budget}: this record is of {name}, which phiscale can neither build nor "
            "count; multipliers matched by the search itself are in its details.factory.matched"
        )
    cap = math.inf if max_resolution is None else checks.whole("max_resolution", max_resolution, ConstraintError)
    rows = []
    for phi in phis:
        asked = multipliers(record.constants, phi)
        pixels = int(min(cap, max(1, round(base * asked.resolution))))
        plain = {"name": f"phi={phi:g}", "phi": float(phi), "depth": asked.depth, "width": asked.width}
        rows.append({**plain, "resolution_multiplier": asked.resolution, "resolution": pixels})
    return tuple(rows)


def format_multipliers(rows: Sequence[dict[str, Any]], style: str, record: SearchRecord | None = None) -> str:
    """The rows of ``multiplier_family`` as ``table``, ``json`` or ``csv``, with the length that they are for.

    ``record`` is where the constants come from.
    """
    if style != "table":
        plain = [row | length_column(record) for row in rows]
        return json.dumps(plain, indent=2) if style == "json" else rows_as_csv(plain)
    cells = [["", "depth", "width", "resolution", "pixels"]]
    for row in rows:
        numbers = (f"{row[name]:.4f}" for name in ("depth", "width", "resolution_multiplier"))
        cells.append([row["name"], *numbers, str(row["resolution"])])
    return with_heading(align_columns(cells), record)
