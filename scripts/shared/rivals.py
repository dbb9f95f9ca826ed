"""The networks of a recommendation and of its rivals, all of one cost at a size, and their seeds.

Not a command: ``phiscale confirm`` uses it.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phiscale.errors import BudgetError, ConstraintError, StudyError
from phiscale.published import PUBLISHED_RULES
from phiscale.record import SearchRecord
from phiscale.rounding import Rounding
from phiscale.triangle import CostModel, ScalingConstants
from scripts.shared.searched import baseline_key

if TYPE_CHECKING:
    from objectives.growth import Baseline, TrainableNetwork

OURS = "recommended"


@dataclass(frozen=True)
class Entry:
    """One network to train: a rule at one size."""

    phi: float
    name: str
    constants: ScalingConstants
    network: TrainableNetwork


def rules(
    record: SearchRecord, published: Sequence[str], studies: Sequence[str], results: Path
) -> dict[str, ScalingConstants]:
    """The recommendation, published rules, and the best observed constants of other studies, by name."""
    found = {OURS: record.constants}
    for name in published:
        constants = PUBLISHED_RULES[name].on(record.cost_model)
        if constants is not None:
            found[name] = constants
    for study in studies:
        other = SearchRecord.load(results / study / "constants.json")
        if baseline_key(other) != baseline_key(record) or other.cost_model != record.cost_model:
            raise StudyError(f"expected {study} to be a study of the same network and cost model; leave it out")
        found[study] = other.best_observed.constants
    return found


def plan(
    base: Baseline,
    cost_model: CostModel,
    constants_of: Mapping[str, ScalingConstants],
    phis: Sequence[float],
    rounding: Rounding,
) -> list[Entry]:
    """The network of every rule at every phi; a rule that reaches none there is left out.

    Raises ``StudyError`` where there is nothing to compare: no phi has both the recommendation and a rival.
    """
    from objectives.growth import matched_network

    entries = []
    for phi, (name, constants) in itertools.product(phis, constants_of.items()):
        try:
            network = matched_network(base, constants, phi=phi, cost_model=cost_model, rounding=rounding)
        except (BudgetError, ConstraintError) as error:
            print(f"left out at phi {phi:g}: {name}: {error}")
            continue
        entries.append(Entry(phi, name, constants, network))
    ours = {entry.phi for entry in entries if entry.name == OURS}
    if not any(entry.phi in ours for entry in entries if entry.name != OURS):
        raise StudyError(
            f"expected the recommendation and a rival to have networks of equal cost at one of the phis "
            f"{','.join(f'{phi:g}' for phi in phis)}, found none with the study's rounding; "
            "choose other --phis or --rivals"
        )
    return entries


def fresh_seed(phi: float, number: int) -> int:
    """The seed of a training at a size: below 0, which no search uses, and different for every size."""
    return -1 - number - 1000 * (zlib.crc32(f"{phi!r}".encode()) % 1_000_000)
