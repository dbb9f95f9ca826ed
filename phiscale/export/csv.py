"""The row of the family as comma-separated text."""

from __future__ import annotations

from phiscale.export._target import Target
from phiscale.family import FamilyMember, format_family
from phiscale.record import SearchRecord
from phiscale.triangle import ScalingConstants


class Csv(Target):
    def text(self, member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> str:  # noqa: ARG002
        return format_family([member], "csv", record)
