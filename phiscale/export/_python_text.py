"""Values and calls as Python text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Code(str):
    """Text that stands in a snippet as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def literal(value: Any, indent: str = "") -> str:
    """The value as Python; a list of texts, lists or dictionaries has an item a line."""
    if isinstance(value, list) and value and not isinstance(value[0], (int, float)):
        return "[\n" + "".join(f"{indent}    {item!r},\n" for item in value) + f"{indent}]"
    return repr(value)


def call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call with an argument a line."""
    lines = "".join(f"    {key}={literal(value, '    ')},\n" for key, value in arguments.items())
    return f"{name}(\n{lines})"


def inline(name: str, arguments: Mapping[str, Any]) -> str:
    """A call on one line."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
