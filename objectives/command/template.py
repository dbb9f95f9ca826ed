"""The text of a command with placeholders: checked before a study begins, filled for every training.

It is split into words as a shell does, but no shell runs it. Braces that are not placeholders are doubled.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter

from phiscale.errors import SettingsError

SPLIT = "split"
"""Says on which images the command scores: ``validation`` in a search, ``test`` in a confirmation."""
PLACEHOLDERS = {
    "depth": "",
    "width": "",
    "resolution": "",
    "alpha": "",
    "beta": "",
    "gamma": "",
    "phi": "",
    "seed": "",
    "pixels": "--network or --factory",
    "spec": "--network or --factory",
    "epochs": "--train.epochs",
    "images": "--train.images-seen",
    "rungs": "--command-rungs",
    SPLIT: "",
}
"""All names, each with the option that gives it a value; docs/howto/command.md explains them."""
_OF_AXIS = {
    "depth": ("depth", "alpha", "spec"),
    "width": ("width", "beta", "spec"),
    "resolution": ("resolution", "gamma", "pixels", "spec"),
}
"""Placeholders of which a command needs one for each axis that enters the cost."""


@dataclass(frozen=True)
class Template:
    """A command whose words are filled by ``str.format``."""

    words: tuple[str, ...]
    names: frozenset[str]
    """Placeholders in the words."""

    @classmethod
    def parse(cls, command: str, *, available: Collection[str], axes: Collection[str]) -> Template:
        """The template of a command that uses the ``available`` names, and depends on all ``axes``.

        Raises ``SettingsError`` with what is wrong with it.
        """
        if "\0" in command:
            raise SettingsError("expected --command without characters of value 0")
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise SettingsError(f"expected --command with quotes that are closed, got {command!r} ({error})") from None
        if not words:
            raise SettingsError("expected --command to be a program with its arguments, got nothing; leave it out")
        names = frozenset(name for word in words for name in _names(word))
        for name in sorted(names):
            _check(name, available)
        for axis in axes:
            if not names & {*_OF_AXIS[axis]}:
                one_of = " or ".join(f"{{{name}}}" for name in _OF_AXIS[axis])
                raise SettingsError(
                    f"expected {one_of} in --command, got none: its scores would not depend on the {axis}"
                )
        return cls(words, names)

    def fill(self, values: Mapping[str, str]) -> list[str]:
        """The words of one training; ``values`` holds a text for each name."""
        return [word.format_map(values) for word in self.words]


def _names(word: str) -> Iterator[str]:
    """The placeholders of a word. Raises ``SettingsError`` for braces that hold anything else than a name."""
    try:
        parts = list(Formatter().parse(word))
    except ValueError as error:
        raise SettingsError(
            f"expected placeholders such as {{depth}} in --command, got {word!r} ({error}); double a brace that is "
            "none: {{ and }}"
        ) from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion:
            raise SettingsError(f"expected placeholders such as {{depth}} in --command, without a format, got {word!r}")
        yield name


def _check(name: str, available: Collection[str]) -> None:
    if name not in PLACEHOLDERS:
        known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
        raise SettingsError(f"expected placeholders of {known} in --command, got {{{name}}}; double a brace of another")
    if name not in available:
        raise SettingsError(f"expected {PLACEHOLDERS[name]} with {{{name}}} in --command, got it without; add that")
