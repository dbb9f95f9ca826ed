"""What identifies a user's function, so that no study mixes the scores of two functions.

A function of a module is known by its name: after a change of its code, the study can be resumed. Another one (a
lambda, a function within a function) is known by its code too. The arguments of a partial, plain values of a closure
and the attributes of an object also distinguish functions of the same name.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import sys
import types
import uuid
from collections.abc import Mapping
from typing import Any

_LONGEST = 1000
"""A longer text of a value is not stored, in characters."""
Plain = str | int | float | bool | None | list[Any] | dict[str, Any]


def identity(function: Any) -> Plain:
    """JSON values that are equal for equal functions; the name alone where that is enough."""
    try:
        return _identity(function)
    except RecursionError:  # for objects that refer to each other
        return _unlike_any(function)


def _identity(function: Any) -> Plain:
    if isinstance(function, functools.partial):
        arguments = [_plain(value) for value in function.args]
        return {"of": _identity(function.func), "arguments": arguments, "named": _plain_values(function.keywords)}
    if isinstance(function, types.MethodType):
        return {"of": _name(function), "self": _plain(function.__self__)}
    if not inspect.isroutine(function):
        return {"of": _name(type(function)), "attributes": _plain_values(getattr(function, "__dict__", {}))}
    code = getattr(function, "__code__", None)
    if code is None or _is_held(function):
        return _name(function)
    known: dict[str, Any] = {
        "of": _name(function),
        "code": hashlib.sha256(repr(_steps(code)).encode()).hexdigest()[:16],
    }
    closure = inspect.getclosurevars(function).nonlocals
    held = {name: value for name, value in closure.items() if isinstance(value, (str, int, float, tuple))}
    return known | ({"closure": _plain_values(held)} if held else {})


def _name(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"


def _is_held(function: Any) -> bool:
    """Whether the module of the function holds it under its name."""
    found: Any = sys.modules.get(str(function.__module__))
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _steps(code: types.CodeType) -> tuple[Any, ...]:
    """What a code object does, without its position in the file."""
    constants = tuple(_steps(c) if isinstance(c, types.CodeType) else _sorted(c) for c in code.co_consts)
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


def _sorted(constant: Any) -> str:
    """Sets of text have a different order in every process."""
    return repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)


def _plain_values(values: Mapping[str, Any]) -> dict[str, Plain]:
    return {str(name): _plain(values[name]) for name in sorted(values, key=str)}


def _plain(value: Any) -> Plain:
    """Equal for equal values. A value that cannot be compared equals nothing, so that no study of it can be resumed."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # which JSON does not have
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return _plain_values(value)
    if isinstance(value, type):
        return _name(value)
    if isinstance(value, types.ModuleType):
        return value.__name__
    if callable(value):
        return _identity(value)
    shown = repr(value)
    if " at 0x" not in shown and "..." not in shown and len(shown) < _LONGEST:
        return shown
    held = getattr(value, "__dict__", None)
    return {"of": _name(type(value)), "attributes": _plain_values(held)} if held is not None else _unlike_any(value)


def _unlike_any(value: Any) -> str:
    return f"a {type(value).__qualname__} that cannot be distinguished from others ({uuid.uuid4().hex[:8]})"
