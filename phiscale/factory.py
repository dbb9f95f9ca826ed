"""The family of a user's own factory, read from a record: its arguments, and the call as Python.

phiscale cannot build such networks, so that their cost is counted by the search itself
(``objectives/networks/factory.py``), at the sizes that the record keeps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from phiscale import checks
from phiscale.errors import ConstraintError, RecordError, SettingsError
from phiscale.export import EXPORTS
from phiscale.export._calls import call_modules, call_text
from phiscale.family import align_columns, enlarged_images, length_column, rows_as_csv, with_heading
from phiscale.record import SearchRecord
from phiscale.scaling import multipliers
from phiscale.training_length import heading


def factory_name(record: SearchRecord) -> str | None:
    """The ``package.module:attribute`` whose networks were searched; None where it was a network with a spec."""
    return _factory(record)[0] if record.network is None else None


def refuse_factory(record: SearchRecord) -> None:
    """Raise ``SettingsError`` for a record whose own networks phiscale can neither build nor count."""
    name = factory_name(record)
    if name is not None:
        raise SettingsError(
            f"expected a record of a network with a spec, got one of {name}, whose networks phiscale cannot build: "
            "phiscale family gives their multipliers, and --network scales another baseline"
        )


def _factory(record: SearchRecord) -> tuple[str | None, int, int]:
    """Name, baseline resolution and step between sides (pixels) of the factory of a record."""
    fields = _fields(record)
    name, resolution, step = fields.get("name"), fields.get("resolution"), fields.get("resolution_multiple", 1)
    if isinstance(name, str) and isinstance(resolution, int) and isinstance(step, int) and min(resolution, step) >= 1:
        return name, resolution, step
    return None, 0, 1


def _fields(record: SearchRecord) -> Mapping[str, Any]:
    factory = record.details.get("factory")
    return factory if isinstance(factory, dict) else {}


def _counted(record: SearchRecord, phi: float, budget: str) -> dict[str, Any] | None:
    """The member that the search counted; None at another phi. Raises ``SettingsError`` where there was none."""
    rows = _fields(record).get(budget)
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("phi") == phi:
            if "problem" in row:
                raise SettingsError(f"there is no network at phi {phi:g}: {row['problem']}")
            return row
    return None


def _known(record: SearchRecord, budget: str) -> str:
    rows = _fields(record).get(budget)
    phis = [row.get("phi") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return ", ".join(f"{phi:g}" for phi in phis if isinstance(phi, (int, float))) or "none"


def multiplier_family(
    record: SearchRecord, phis: Iterable[float], *, budget: str = "nominal", max_resolution: int | None = None
) -> tuple[dict[str, Any], ...]:
    """The multipliers at every phi for the factory of a record: what to call it with.

    Those of the formula, with the nearest side that the networks take, or those at equal real cost that the search
    counted. Raises ``SettingsError`` where the record holds no factory, or no network of equal real cost at a phi, and
    ``ConstraintError`` for a phi that no network can reach.
    """
    name, base, step = _factory(record)
    if name is None:
        raise SettingsError("expected a record of a factory, got one without")
    cap = math.inf if max_resolution is None else checks.whole("max_resolution", max_resolution, ConstraintError)
    if budget != "nominal" and max_resolution is not None:
        raise SettingsError(f"expected no --max-resolution with --budget {budget} for a record of {name}")
    rows = []
    for phi in phis:
        if budget == "nominal":
            record.cost_model.target_growth(phi)  # raises where no network can grow so
            asked = multipliers(record.constants, phi)
            sizes = asked.depth, asked.width, asked.resolution, _side(base, step, asked.resolution, cap)
        else:
            sizes = _matched_sizes(record, name, phi)
        names = "depth", "width", "resolution_multiplier", "resolution"
        rows.append({"name": f"phi={phi:g}", "phi": float(phi), **dict(zip(names, sizes, strict=True))})
    return tuple(rows)


def _side(base: int, step: int, multiplier: float, cap: float) -> int:
    """The side nearest to a multiplier among those of the networks: the baseline's and whole steps from it."""
    smallest = (base - 1) % step + 1
    steps = round((base * multiplier - base) / step)
    if base + steps * step > cap:
        steps = math.floor((cap - base) / step)
    return int(max(smallest, base + steps * step))


def _matched_sizes(record: SearchRecord, name: str, phi: float) -> tuple[float, float, float, int]:
    found = _counted(record, phi, "matched")
    if found is None:
        raise SettingsError(
            f"expected --budget nominal, or a phi of {_known(record, 'matched')}, got phi {phi:g}: {name} is counted "
            "by the search alone, and the record holds no other size"
        )
    try:
        depth, width, finer = (float(found["realised"][axis]) for axis in ("depth", "width", "resolution"))
        return depth, width, finer, int(found["resolution"])
    except (KeyError, TypeError, ValueError):
        raise RecordError(f"expected the sizes of phi {phi:g} in details.factory.matched, got {found!r:.200}") from None


def export_factory(record: SearchRecord, phi: float, to: str, *, budget: str = "nominal") -> str:
    """Python that builds ``model`` of one size: the call that the search counted, of a library or a person's function.

    ``to`` is the library of the factory's name, else ``python``. Raises ``SettingsError`` for another target and for a
    phi that the record does not hold.
    """
    name = str(_factory(record)[0])
    library = name.partition(":")[0]
    target = library if library in EXPORTS else "python"
    if to != target:
        raise SettingsError(f"expected --to {target} for a record of {name}, got {to}")
    found = _counted(record, phi, budget)
    if found is None or "call" not in found:
        raise SettingsError(
            f"expected a phi of {_known(record, budget)}, got {phi:g}: {name} is counted by the search alone, and the "
            "record holds no other size"
        )
    try:
        side, params, macs = (int(found[key]) for key in ("resolution", "params", "macs"))
        modules = "".join(f"import {module}\n" for module in sorted(set(call_modules(found))))
        code = call_text(found)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise RecordError(f"expected a call at phi {phi:g} in details.factory, got {found!r:.200}") from None
    return (
        f"# {json.dumps(f'{name} phi={phi:g}')}, made by phiscale: {params:,} parameters,\n"
        f"# {macs:,} multiply-accumulates for an image of {side} x {side} pixels\n"
        f"# {json.dumps(heading(record))[1:-1]}\n"
        f"{modules}\nINPUT_SIZE = (3, {side}, {side})\nmodel = {code}"
    )


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
    enlarged = enlarged_images([(row["phi"], row["resolution"]) for row in rows], record)
    return with_heading(align_columns(cells) + (f"\nnote: {enlarged}" if enlarged else ""), record)
