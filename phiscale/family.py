"""The phi family: one network per compound coefficient, from one set of constants."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from phiscale import checks
from phiscale.baselines import EFFICIENTNET_B0
from phiscale.cost import COUNTED
from phiscale.errors import SettingsError
from phiscale.matching import MATCH_TOLERANCE, match_budget
from phiscale.network import ScaledNetwork, largest_pixels, scale_network, whole_pixels
from phiscale.published import EFFICIENTNET_TABLE
from phiscale.record import SearchRecord
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.scaling import multipliers
from phiscale.spec import NetworkSpec
from phiscale.text import printable
from phiscale.training_length import heading
from phiscale.triangle import FLOPS, CostModel, Multipliers, ScalingConstants

BUDGETS = ("nominal", "matched")
_TOP_PHI = 7.0
"""The phi at which dropout reaches its top rate: B7 of the paper."""
_LARGEST_FAMILY = 1000
_FAR = 0.1
"""Relative distance of a counted cost from the one asked for that a table marks."""


_FAR_NOTE = (
    f"\n* costs more than {_FAR:.0%} more or less than asked, since the formula and rounding hold no cost;\n"
    f"  --budget matched stays within {MATCH_TOLERANCE:.0%}"
)


@dataclass(frozen=True)
class FamilyMember:
    """One network of a family."""

    name: str
    """``phi=1.5``, or the published name."""
    phi: float | None
    """Compound coefficient; None where the published row has none."""
    network: ScaledNetwork
    """The network, with its dropout, counted cost and multipliers asked and realised."""
    growth: float
    """Counted cost as a multiple of the baseline's."""
    target_growth: float | None
    """``target ** phi``: the growth that was asked for."""

    def row(self) -> dict[str, Any]:
        """The member as one flat table row of plain values."""
        spec, asked, realised, cost = self.network.spec, self.network.asked, self.network.realised, self.network.cost
        return {
            "name": self.name,
            "phi": self.phi,
            "depth_asked": asked.depth,
            "depth": realised.depth,
            "width_asked": asked.width,
            "width": realised.width,
            "resolution_asked": asked.resolution,
            "resolution_multiplier": realised.resolution,
            "resolution": spec.resolution,
            "repeats": [stage.repeats for stage in spec.stages],
            "channels": [stage.channels for stage in spec.stages],
            "dropout": spec.dropout,
            **dataclasses.asdict(cost),
            "growth": self.growth,
            "target_growth": self.target_growth,
            "fingerprint": self.network.fingerprint,
        }


def generate_family(
    base: NetworkSpec,
    constants: ScalingConstants,
    phis: Iterable[float],
    *,
    budget: str = "nominal",
    rounding: Rounding | None = None,
    cost_model: CostModel = FLOPS,
    max_resolution: int | None = None,
    dropout: float | None = 0.5,
    tolerance: float = MATCH_TOLERANCE,
) -> tuple[FamilyMember, ...]:
    """The networks at every phi, in the order given; phi may be fractional or negative.

    ``budget="nominal"`` takes the literal multipliers ``alpha**phi, beta**phi, gamma**phi``; ``"matched"`` walks along
    the ray until the counted cost is ``target ** phi`` times the baseline's, within ``tolerance``. ``max_resolution``
    (pixels) caps the resolution. ``dropout`` is the rate at phi 7, reached linearly from the baseline's own; a
    baseline without dropout keeps none, and None keeps the baseline's rate. ``rounding`` is ``suited_rounding(base)``
    unless given. Raises ``SettingsError`` for an unknown budget, ``BudgetError`` where no network is near enough,
    ``ConstraintError`` for a phi or cap that cannot be.
    """
    if budget not in BUDGETS:
        raise SettingsError(f"expected a budget of {' or '.join(BUDGETS)}, got {budget!r}")
    how = rounding or suited_rounding(base)
    members = []
    for phi in phis:
        if budget == "matched":
            network = match_budget(
                base, constants, phi=phi, cost_model=cost_model, rounding=how, tolerance=tolerance,
                max_resolution=max_resolution,
            )  # fmt: skip
        else:
            network = _nominal(base, multipliers(constants, phi), how, max_resolution)
        rate = base.dropout if dropout is None else interpolate_dropout(base.dropout, dropout, phi)
        members.append(_member(f"phi={phi:g}", float(phi), network, rate, cost_model, cost_model.target_growth(phi)))
    return tuple(members)


def published_family(base: NetworkSpec = EFFICIENTNET_B0) -> tuple[FamilyMember, ...]:
    """The published table B0 .. B8, L2 with its own multipliers, which are not the formula at whole phi."""
    members = []
    for name, row in EFFICIENTNET_TABLE.items():
        asked = Multipliers(row.depth, row.width, row.resolution / base.resolution)
        network = scale_network(base, asked, ROUNDINGS["tf"], resolution=row.resolution)
        target = None if row.phi is None else FLOPS.target_growth(row.phi)
        members.append(_member(name, row.phi, network, row.dropout, FLOPS, target))
    return tuple(members)


def _nominal(base: NetworkSpec, asked: Multipliers, rounding: Rounding, cap: int | None) -> ScaledNetwork:
    pixels = whole_pixels(base, asked.resolution, rounding)
    return scale_network(base, asked, rounding, resolution=int(min(pixels, largest_pixels(base, cap))))


def _member(
    name: str, phi: float | None, network: ScaledNetwork, dropout: float, cost_model: CostModel, target: float | None
) -> FamilyMember:
    spec = dataclasses.replace(network.spec, name=f"{network.base.name} {name}", dropout=dropout)
    network = dataclasses.replace(network, spec=spec)
    return FamilyMember(name, phi, network, network.growth(cost_model), target)


def suited_rounding(base: NetworkSpec) -> Rounding:
    """``tf`` where every channel count that is rounded is a multiple of 8, the widest at least 256; else ``exact``."""
    rounded = (stage.channels // stage.channel_unit for stage in base.stages)
    channels = [base.stem_channels, base.head_channels, *rounded]
    return ROUNDINGS["exact" if any(count % 8 for count in channels) or max(channels) < 256 else "tf"]


def interpolate_dropout(low: float, high: float, phi: float) -> float:
    """The rate at ``phi``: ``low`` at 0 and below, ``high`` at 7 and above, linear between; 0 where ``low`` is 0.

    Source: Tan & Le 2019, section 5.2 (0.2 for B0 to 0.5 for B7).
    """
    if not 0 <= checks.real("the top dropout", high, SettingsError) < 1:
        raise SettingsError(f"expected a top dropout in [0, 1), got {high!r}")
    return low + (high - low) * min(max(phi / _TOP_PHI, 0.0), 1.0) if low else 0.0


def parse_phis(text: str) -> tuple[float, ...]:
    """Compound coefficients from ``0:7`` (both ends), ``-2:2:0.5`` (with a step), or ``0,0.5,3``.

    Raises ``SettingsError`` for anything else, or for more than 1,000 values.
    """
    what = "expected phi as 0:7, -2:2:0.5 or 0,0.5,3"
    try:
        numbers = [float(part) for part in text.split(":" if ":" in text else ",")]
    except ValueError:
        raise SettingsError(f"{what}, got {text!r}") from None
    if not all(map(math.isfinite, numbers)):
        raise SettingsError(f"{what} with finite numbers, got {text!r}")
    if ":" not in text:
        if len(numbers) > _LARGEST_FAMILY:
            raise SettingsError(f"expected at most {_LARGEST_FAMILY} values of phi, got {len(numbers)}")
        return tuple(numbers)
    first, last, step = (*numbers, 1.0)[:3]
    if len(numbers) > 3 or step <= 0 or last < first:
        raise SettingsError(f"{what} with a first value not above the last and a step above 0, got {text!r}")
    steps = (last - first) / step
    if steps >= _LARGEST_FAMILY:
        raise SettingsError(f"expected at most {_LARGEST_FAMILY} values of phi, got {steps + 1:.4g} from {text!r}")
    return tuple(first + index * step for index in range(math.floor(steps + 1e-9) + 1))


def family_rows(members: Iterable[FamilyMember], record: SearchRecord | None) -> list[dict[str, Any]]:
    """The rows of the members with ``length_images``: the images seen of the training that the constants are for.

    ``record`` is where the constants come from; None for published ones. The length is None where it is not known.
    """
    return [member.row() | length_column(record) for member in members]


def length_column(record: SearchRecord | None) -> dict[str, int | None]:
    """The column of a row that says for which training its constants are."""
    return {"length_images": record.length.images if record and record.length else None}


def format_family(members: Sequence[FamilyMember], style: str, record: SearchRecord | None = None) -> str:
    """The family as ``table`` (for people), ``json`` or ``csv`` (every column of ``family_rows``).

    ``record`` is where the constants come from: the first line of a table says for which training they are. A table
    marks members whose counted cost is far from the one asked for, and says below what holds the cost, and which
    members take more pixels than the images that were searched.
    """
    rows = family_rows(members, record)
    if style == "json":
        return json.dumps(rows, indent=2)
    if style == "csv":
        return rows_as_csv(rows)
    if style != "table":
        raise SettingsError(f"expected a format of table, json or csv, got {style!r}")
    head = ["", "depth", "width", "resolution", "pixels", "blocks", "dropout"]
    cells = [[*head, *(metric.label for metric in COUNTED.values()), "growth", "asked", "off"]]
    for member, row in zip(members, rows, strict=True):
        cells.append(
            [
                member.name,
                *(f"{row[name]:.3f}" for name in ("depth", "width", "resolution_multiplier")),
                str(row["resolution"]),
                str(sum(row["repeats"])),
                f"{row['dropout']:.2f}",
                *(short_number(row[name]) for name in COUNTED),
                f"{row['growth']:.3f}",
                "-" if row["target_growth"] is None else f"{row['target_growth']:.3f}",
                _off(member),
            ]
        )
    far = any(row[-1].endswith("*") for row in cells)
    enlarged = enlarged_images([(member.phi, member.network.spec.resolution) for member in members], record)
    notes = (_FAR_NOTE if far else "") + (f"\nnote: {enlarged}" if enlarged else "")
    return with_heading(align_columns(cells) + notes, record)


def enlarged_images(sides: Sequence[tuple[float | None, int]], record: SearchRecord | None) -> str:
    """A sentence about the networks, given by phi and pixels a side, that take more pixels than the images that were
    searched have; empty where there is none, or where the record does not say.
    """
    own = record.data.get("resolution") if record else None
    larger = [phi for phi, side in sides if phi is not None and type(own) is int and side > own > 0]
    if not larger or record is None:
        return ""
    more = f" and {len(larger) - 1} more" if len(larger) > 1 else ""
    return (
        f"phi={larger[0]:g}{more} would take more pixels than the images of the search have ({own} x {own}), where "
        f"resolution may gain less: phiscale confirm --study {printable(record.study)} --phis {larger[0]:g} tells"
    )


def _off(member: FamilyMember) -> str:
    """How far the counted cost is from the one asked for, with a mark where that is far."""
    if member.target_growth is None:
        return "-"
    off = member.growth / member.target_growth - 1
    return f"{round(off, 2) + 0.0:+.0%}{'*' if abs(off) > _FAR else ''}"


def with_heading(table: str, record: SearchRecord | None) -> str:
    """The table under a line that says for which training the record's constants are; as it is without a record."""
    return table if record is None else f"{heading(record)}\n{table}"


def rows_as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of plain values as comma-separated text; lists are written with spaces between."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["name"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        lists = {name: " ".join(map(str, value)) for name, value in row.items() if isinstance(value, list)}
        writer.writerow({**row, **lists})
    return out.getvalue().rstrip("\n")


def align_columns(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        parts = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def short_number(value: float) -> str:
    """``385.8 M``: four digits and a unit of a thousand, million, thousand million, or million million."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"
