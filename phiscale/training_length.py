"""What a record says about training length, in words: for which training its constants are, and how they move with it.

``SearchRecord.details`` is free JSON: missing parts, or parts of another shape, are left out and never an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from phiscale.errors import PhiscaleError
from phiscale.record import SearchRecord
from phiscale.score_text import record_spread, score_text
from phiscale.triangle import Shares

FARTHEST = 4
"""A search claims nothing beyond this many times the longest rung, where the noise of an extrapolated score is 1.7
times that of a measured one (the slope of four rungs of equal noise, each twice as long as the one before)."""
AXES = ("depth", "width", "resolution")
UNSTATED = "training length: not stated by the objective"


@dataclass(frozen=True)
class RungFacts:
    """What a record holds of one rung; None for what it does not say."""

    images: int
    """Images seen."""
    optimum: Shares | None
    """Shares of the best constants there."""
    noise: float | None
    """Standard deviation of one training, in the unit of the score."""
    range: float | None
    """Difference between the best and the poorest network, in the unit of the score."""
    noise_part: float | None
    """Noise over range."""


def rungs_of(record: SearchRecord) -> tuple[RungFacts, ...]:
    """The rungs of a record, shortest first; those of another shape are left out."""
    found = record.details.get("rungs")
    items = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    rungs = [_rung(item, item["images"]) for item in items if _is_count(item.get("images"))]
    return tuple(sorted(rungs, key=lambda rung: rung.images))


def longest_rung(record: SearchRecord) -> int | None:
    """Images seen where the scores of the record were measured; None where it does not say."""
    lengths = [rung.images for rung in rungs_of(record)]
    predicted = _part(record, "hindcast").get("longest")
    lengths += [predicted] if _is_count(predicted) else []
    return max(lengths) if lengths else record.length.images if record.length else None


def is_measured(record: SearchRecord) -> bool:
    """Whether the scores of the trials are of the length that the constants are for."""
    return record.length is None or longest_rung(record) == record.length.images


def heading(record: SearchRecord) -> str:
    """The first line over anything made of the record's constants."""
    return f"constants for {training(record)}"


def training(record: SearchRecord) -> str:
    """``a training of 160,000 images seen (3.2 epochs of cifar-10)``."""
    return f"a training of {record.length.describe() if record.length else 'unstated length'}"


def length_lines(record: SearchRecord) -> list[str]:
    """For which training the constants are, and that they are not for another that was asked for."""
    if record.length is None:
        return [UNSTATED]
    lines = [f"for {training(record)}"]
    asked, horizon = record.horizon_length, record.horizon
    if asked and horizon and not horizon.determined:
        lines.append(f"not determined at {asked.describe()}: {horizon.reason or 'no reason is given'}")
    return lines


def evidence_lines(record: SearchRecord) -> list[str]:
    """Drift, check of the prediction and noise over length, as far as the record holds them."""
    if record.length is None:
        return []
    return [line for line in (drift_line(record), hindcast_line(record), noise_line(record)) if line]


def drift_is_seen(record: SearchRecord) -> bool | None:
    """Whether the best shares move with training length, at a level of 90 %; None where that is not known."""
    shifts = _shifts(record)
    return any(low > 0 or high < 0 for _, low, high in shifts.values()) if shifts else None


def _shifts(record: SearchRecord) -> dict[str, tuple[float, float, float]]:
    """Change of each axis's share per doubling of the length with its interval; empty where one is not known."""
    found = _part(record, "drift")
    shifts = {axis: shift for axis in AXES if (shift := _interval(found.get(axis)))}
    return shifts if len(shifts) == len(AXES) else {}


def drift_line(record: SearchRecord) -> str | None:
    """How the best shares move with training length; None where that is not known."""
    shifts = _shifts(record)
    if not shifts:
        return None
    seen = [(axis, shift) for axis, shift in shifts.items() if shift[1] > 0 or shift[2] < 0]
    if not seen:
        rungs = rungs_of(record)
        between = f"{rungs[0].images:,} and {rungs[-1].images:,} images seen" if rungs else "the rungs"
        return f"no drift seen between {between}"
    parts = []
    for place, (axis, (value, low, high)) in enumerate(seen):
        what = f"that of {axis}" if place else f"the share of {axis}"
        ends = sorted(abs(100 * end) for end in (low, high))
        interval = f"{'' if place else '90 % interval '}{_points(ends[0])} to {_points(ends[1])}"
        parts.append(f"{what} {'falls' if high < 0 else 'rises'} by {_points(abs(100 * value))} points ({interval})")
    return "per doubling of the training length " + _listed(parts)


def hindcast_line(record: SearchRecord) -> str | None:
    """How well short rungs predicted the longest one, and what follows; None where that was not checked."""
    found = _part(record, "hindcast")
    longest, short, holds = found.get("longest"), found.get("rungs"), found.get("holds")
    spread = record_spread(record)
    bias, coverage, regret = (number(found.get(name)) for name in ("bias", "coverage", "regret"))
    if not isinstance(short, list) or not short or not all(map(_is_count, [*short, longest])):
        return None
    if bias is None or coverage is None or regret is None or not isinstance(holds, bool):
        return None
    rank = number(found.get("rank"))
    order = "the order of the networks cannot be told from noise" if rank is None else f"rank correlation {rank:.2f}"
    follows = (
        f"so lengths up to {FARTHEST} times the longest rung can be predicted"
        if holds
        else "so nothing is said beyond the longest rung"
    )
    known = _amount(bias, spread, "+")
    return (
        f"check: from the rungs up to {max(short):,} images seen, the scores at {longest:,} were predicted with a bias "
        f"of {known}; 90 % intervals of differences between networks held in {_percent(coverage)}; {order}; "
        f"constants chosen from the short rungs would lose {_at_least(regret, spread)}; {follows}"
    )


def noise_line(record: SearchRecord) -> str | None:
    """Noise against the differences between networks at each rung, and what helps more; None where not known."""
    parts = [(rung.images, rung.noise_part) for rung in rungs_of(record) if rung.noise_part is not None]
    if not parts:
        return None
    first, *more = (f"{_percent(part)} at {images:,}" for images, part in parts)
    line = f"noise of one training over the range of the networks: {', '.join([f'{first} images seen', *more])}"
    return line + (f"; {_what_helps(parts)}" if more else "")


def _what_helps(parts: list[tuple[int, float]]) -> str:
    """Repeats reduce noise by the root of their number, so a training twice as long has to beat the root of 2."""
    (short, before), (long, after) = parts[0], parts[-1]
    if after * math.sqrt(long / short) < before:
        return "for the same images seen in all, longer trainings tell networks apart better than more short ones"
    return "for the same images seen in all, more short trainings tell networks apart better than longer ones"


def _rung(item: Mapping[str, Any], images: int) -> RungFacts:
    noise, spread, part = (_not_negative(item.get(name)) for name in ("noise", "range", "noise_part"))
    return RungFacts(images, _shares(item.get("optimum")), noise, spread, part)


def _shares(value: object) -> Shares | None:
    parts = [number(value.get(axis)) for axis in AXES] if isinstance(value, dict) else []
    known = [part for part in parts if part is not None]
    try:
        return Shares(*known) if len(known) == len(AXES) else None
    except PhiscaleError:
        return None


def _interval(value: object) -> tuple[float, float, float] | None:
    """Value and ends of an interval."""
    parts = [number(value.get(name)) for name in ("value", "low", "high")] if isinstance(value, dict) else [None]
    known = [part for part in parts if part is not None]
    return (known[0], known[1], known[2]) if len(known) == 3 and known[1] <= known[2] else None


def _part(record: SearchRecord, name: str) -> Mapping[str, Any]:
    found = record.details.get(name)
    return found if isinstance(found, dict) else {}


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value < 10**18


def number(value: object) -> float | None:
    """A number that can be written in a sentence; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        return None
    return float(value)


def _not_negative(value: object) -> float | None:
    known = number(value)
    return None if known is None or known < 0 else known


def _amount(value: float, spread: float | None, sign: str = "") -> str:
    """A difference of scores, with three decimals where they differ by that much."""
    return f"{value:{sign}.3f}" if spread is None or spread >= 0.001 else score_text(value, spread, sign)


def _at_least(value: float, spread: float | None) -> str:
    """A loss of score, or that it is too small to matter."""
    least = 0.001 if spread is None or spread >= 0.001 else spread / 10
    return _amount(value, spread) if value >= least else f"less than {least:.1g}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _points(value: float) -> str:
    """Hundredths of the whole, with a decimal only where one is needed."""
    return f"{round(value, 1):g}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
