"""Finding what a package holds: one class in each file, under the name of the file.

Adding a kind of block or an export target is therefore adding a file. Files whose name begins with an underscore hold
what the others share.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TypeVar

Base = TypeVar("Base")


def classes_of(package: str, path: Iterable[str], base: type[Base]) -> dict[str, type[Base]]:
    """The subclass of ``base`` that each file of ``package`` defines, by the name of its file, sorted."""
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(path)):
        if not name.startswith("_"):
            module = importlib.import_module(f"{package}.{name}")
            (found[name],) = (
                thing
                for thing in vars(module).values()
                if isinstance(thing, type) and issubclass(thing, base) and thing.__module__ == module.__name__
            )
    return found
