"""The sizes as Python that needs nothing, and a function that scales by the constants."""

from __future__ import annotations

from phiscale.export._python_text import literal
from phiscale.export._target import Target, python_header
from phiscale.family import FamilyMember
from phiscale.record import SearchRecord
from phiscale.triangle import Multipliers, ScalingConstants


class Python(Target):
    def text(self, member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> str:
        return python_header(member, record) + _python(member, constants).rstrip("\n")


def _python(member: FamilyMember, constants: ScalingConstants | None) -> str:
    network, spec = member.network, member.network.spec
    scaling = ""
    if constants:
        alpha, beta, gamma = constants.as_tuple()
        scaling = f"""ALPHA, BETA, GAMMA = {alpha!r}, {beta!r}, {gamma!r}


def scale(base_depth, base_width, base_resolution, phi):
    \"\"\"Depth, width and resolution of a baseline after phi growth steps, truncated, never below 1.\"\"\"
    sizes = base_depth * ALPHA**phi, base_width * BETA**phi, base_resolution * GAMMA**phi
    return tuple(max(1, int(size)) for size in sizes)


"""
    return f"""{scaling}{_multipliers("ASKED", network.asked)}
{_multipliers("REALISED", network.realised)}
RESOLUTION = {spec.resolution}
STEM_CHANNELS, HEAD_CHANNELS, CLASSES = {spec.stem_channels}, {spec.head_channels}, {spec.classes}
STAGES = {literal(spec.to_dict()["stages"])}
"""


def _multipliers(name: str, value: Multipliers) -> str:
    return f"{name}_DEPTH, {name}_WIDTH, {name}_RESOLUTION = {value.depth!r}, {value.width!r}, {value.resolution!r}"
