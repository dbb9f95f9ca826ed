"""What libraries have in common: calls as plain values, and how the arguments of a model are found and scaled."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from phiscale.errors import SettingsError, one_line
from phiscale.rounding import ROUNDINGS

if TYPE_CHECKING:
    from torch import nn

Call = dict[str, Any]
"""``{"call": "package.function", "arguments": {...}}``; arguments, by name or in a list by place, are JSON values,
calls or lists of them."""
Sizes = Callable[[float, float, int], dict[str, Any]]
"""Arguments of a model for (depth multiplier, width multiplier, pixels)."""
_CHANNEL_UNIT = 8
"""Channels are multiples of this, as libraries and devices prefer."""


@dataclass(frozen=True)
class LibraryNetworks:
    """A factory whose every network is one call of a library."""

    scale: Callable[[float, float, int], Call]
    """The call for (depth multiplier, width multiplier, pixels), without the number of classes."""
    resolution_multiple: int | None = None
    """Pixels between two sides, where the networks are cut into patches."""

    def call(self, depth: float, width: float, resolution: int, classes: int) -> Call:
        """What makes the network."""
        made = self.scale(depth, width, resolution)
        return {**made, "arguments": {**made["arguments"], "num_classes": classes}}

    def __call__(self, depth: float, width: float, resolution: int, classes: int) -> nn.Module:
        """The network."""
        module: nn.Module = _run(self.call(depth, width, resolution, classes))
        return module


def _run(value: Any) -> Any:
    """The value, with its calls carried out."""
    if isinstance(value, list):
        return [_run(item) for item in value]
    if not (isinstance(value, dict) and "call" in value):
        return value
    module, _, name = value["call"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**{k: _run(v) for k, v in value["arguments"].items()})


class Library(ABC):
    """One library."""

    @property
    def name(self) -> str:
        """That of its file."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def networks(self, model: str) -> LibraryNetworks:
        """The networks of a model. Raises ``SettingsError``."""

    def imported(self, module: str) -> Any:
        """A module of the library. Raises ``SettingsError`` with the reason where it cannot be imported."""
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            raise SettingsError(f"expected {self.name} for --factory {self.name}:..., got none: install it") from None
        except Exception as error:  # noqa: BLE001 - a library that was made for another torch may raise anything
            advice = "; install the torchvision that was built for this torch" if "torchvision" in str(error) else ""
            raise SettingsError(f"cannot import {module} of --factory: {one_line(error)}{advice}") from None

    def refuse(self, model: str, reason: str) -> NoReturn:
        """Say why the model cannot be scaled."""
        raise SettingsError(
            f"cannot scale {self.name}:{model}: {reason}; write a function of your own (docs/networks.md)"
        )

    def unknown(self, model: str, models: Sequence[str]) -> NoReturn:
        """Say that there is no such model, and which are near."""
        near = difflib.get_close_matches(model, models)
        raise SettingsError(
            f"expected a model of {self.name}, got {model!r}{'; near are ' + ', '.join(near) if near else ''}"
        )

    def plain(self, model: str, arguments: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
        """The given arguments as JSON values. Raises ``SettingsError`` for one that is not a JSON value."""
        found = {name: value for name, value in arguments.items() if value is not None and name not in without}
        for name, value in found.items():
            try:
                found[name] = json.loads(json.dumps(value))
            except TypeError:
                self.refuse(model, f"its argument {name} is not a plain value")
        return found


def recorded(function: Callable[..., Any], creators: Iterable[str]) -> tuple[str, dict[str, Any]] | None:
    """Which of the ``creators``, functions of its module, the function calls, and with which arguments. The function
    runs with a recorder in place of the creator, so no model is made. None if it calls none of them.
    """
    function = inspect.unwrap(function)
    called = [name for name in function.__code__.co_names if name in creators]
    if not called:
        return None
    calls: list[inspect.BoundArguments] = []
    signature = inspect.signature(function.__globals__[called[-1]])

    def record(*values: Any, **named: Any) -> None:
        calls.append(signature.bind(*values, **named))

    space = {**function.__globals__, called[-1]: record}
    same = types.FunctionType(function.__code__, space, None, function.__defaults__, function.__closure__)
    same.__kwdefaults__ = function.__kwdefaults__
    same()
    arguments = dict(calls[0].arguments)
    return called[-1], {**arguments.pop("kwargs", {}), **arguments}


def layers(counts: Sequence[int], depth: float) -> list[int]:
    """Whole layers of all stages, rounded as those of a spec."""
    return list(ROUNDINGS["exact"].stage_repeats(tuple(counts), depth))


def channels(count: int, width: float, unit: int = _CHANNEL_UNIT) -> int:
    """Channels as a multiple of ``unit``; at width 1 those of the model."""
    return count if width == 1 else max(unit, round(count * width / unit) * unit)


def attention(embedding: int, heads: int, width: float) -> tuple[int, int]:
    """(channels, heads): whole heads, each with an even number of channels close to that of the model's heads."""
    if width == 1:
        return embedding, heads
    more = max(1, round(heads * width))
    return channels(embedding, width, 2 * more), more
