"""One JSON document."""

from __future__ import annotations

import json

from phiscale.export._target import Target, document
from phiscale.family import FamilyMember
from phiscale.record import SearchRecord
from phiscale.triangle import ScalingConstants


class Json(Target):
    def text(self, member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> str:
        return json.dumps(document(member, constants, record), indent=2)
