"""One TOML document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from phiscale.export._target import Target, document
from phiscale.family import FamilyMember
from phiscale.record import SearchRecord
from phiscale.triangle import ScalingConstants


class Toml(Target):
    def text(self, member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> str:
        return _toml(document(member, constants, record))


def _toml(document: Mapping[str, Any], path: str = "") -> str:
    """TOML of scalars, tables and lists of tables: scalars first, as the format asks. It has no null: left out."""
    lines = []
    for name, value in document.items():
        if value is not None and not isinstance(value, (dict, list)):
            lines.append(f"{name} = {_toml_value(value)}")
    for name, value in document.items():
        if isinstance(value, dict):
            lines.append(f"\n[{path}{name}]\n{_toml(value, f'{path}{name}.')}")
        elif isinstance(value, list):
            lines += [f"\n[[{path}{name}]]\n{_toml(item, f'{path}{name}.')}" for item in value]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
