"""What every export target is, and what several of them write."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from typing import Any

from phiscale.family import FamilyMember
from phiscale.record import SearchRecord
from phiscale.training_length import heading
from phiscale.triangle import ScalingConstants

FORMAT = "phiscale-export"
VERSION = 1


class Target(ABC):
    """One kind of text that a member of a family can be written as."""

    @property
    def name(self) -> str:
        """The name of the target: that of its file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def text(self, member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> str:
        """The member as text, see ``phiscale.export.export_member``."""


def python_header(member: FamilyMember, record: SearchRecord | None) -> str:
    """Comments; names are written as JSON, so that no line break in them begins code."""
    cost, pixels = member.network.cost, member.network.resolution
    length = f"# {json.dumps(heading(record))[1:-1]}\n" if record else ""
    return (
        f"# {json.dumps(member.network.spec.name)}, made by phiscale: {cost.params:,} parameters,\n"
        f"# {cost.macs:,} multiply-accumulates for an image of {pixels} x {pixels} pixels\n{length}"
    )


def document(member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> dict[str, Any]:
    """The whole member as plain values."""
    network, length = member.network, record.length if record else None
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": member.name,
        "phi": member.phi,
        "growth": member.growth,
        "target_growth": member.target_growth,
        "constants": dataclasses.asdict(constants) if constants else None,
        "length": dataclasses.asdict(length) if length else None,
        "multipliers_asked": dataclasses.asdict(network.asked),
        "multipliers": dataclasses.asdict(network.realised),
        "cost": dataclasses.asdict(network.cost),
        "network": network.spec.to_dict(),
    }
