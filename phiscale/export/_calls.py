"""A call that a record keeps, ``{"call": "timm.create_model", "arguments": {...}}``, as Python text.

Arguments are named, or in a list by their place; each is a JSON value, a call, or a list of them. Records come from
anywhere, so that nothing but dotted names and literals becomes code: anything else raises ``ValueError``.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import Any

from phiscale.export._python_text import Code, call, inline


def call_modules(value: Any) -> Iterator[str]:
    """The modules of the functions of a call and of the calls in its arguments."""
    if is_call(value):
        yield _dotted(value["call"]).rpartition(".")[0]
        value = value["arguments"]
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from call_modules(part)


def call_text(value: dict[str, Any]) -> str:
    """The call, a named argument a line."""
    name, arguments = _dotted(value["call"]), value["arguments"]
    if isinstance(arguments, list):
        return f"{name}({', '.join(repr(_coded(part)) for part in arguments)})"
    return call(name, _named(arguments))


def is_call(value: Any) -> bool:
    """Whether the value stands for what a function returns."""
    return isinstance(value, dict) and {"call", "arguments"} <= value.keys()


def _coded(value: Any) -> Any:
    if is_call(value):
        return Code(inline(_dotted(value["call"]), _named(value["arguments"])))
    return [_coded(part) for part in value] if isinstance(value, list) else value


def _named(arguments: dict[str, Any]) -> dict[str, Any]:
    return {_identifier(name): _coded(value) for name, value in arguments.items()}


def _dotted(name: str) -> str:
    if "." not in name:
        raise ValueError(f"expected a function of a module, got {name!r}")
    return ".".join(map(_identifier, name.split(".")))


def _identifier(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"expected a name, got {name!r}")
    return name
