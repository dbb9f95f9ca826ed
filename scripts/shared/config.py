"""``config.json``: the options of a study as plain values, written as it begins and taken back by ``--config``."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from objectives.training.settings import TrainSettings
from phiscale import checks
from phiscale.errors import PhiscaleError, SettingsError
from phiscale.files import read_json
from scripts.shared.setup import PROXY, SIZES, TRAINING, ObjectiveSettings
from scripts.shared.storage import storage_given
from search.storage import redact

Options = TypeVar("Options")

_THIS_RUN = ("command", "config", "take_over")
"""Options that are not taken back: --take-over holds for one run only."""
_EITHER = (
    {"storage": "storage", "storage-file": "storage_file"},
    {"horizon-epochs": "search.horizon_epochs", "horizon-images": "search.horizon_images"},
    {"train.epochs": "train.epochs", "train.images-seen": "train.images_seen"},
    {"train.learning-rate": "train.learning_rate", "rate-plane": "measure.rate_plane"},
    {"cost": "measure.cost", "cost-model": "measure.cost_file"},
    {"network": "measure.network", "factory": "measure.factory"},
    {"data": "measure.data", "objective": "measure.objective", "command": "measure.own"},
    {"data": "measure.data", "direction": "measure.direction"},
)
"""Options of which one replaces the others, with their places in the file; a direction is of no use with --data."""
_NAMES = {bool: "true or false", float: "a number", int: "a whole number", str: "a text", Path: "a path"}
_NAMES |= {type(None): "null"}


@dataclass(frozen=True, kw_only=True)
class _Config:
    config: Path | None = None


def as_plain(options: Any, storage_name: str | None, command: str) -> dict[str, Any]:
    """The options as JSON values, without secrets; ``storage_name`` is the storage that they result in."""
    plain: dict[str, Any] = dataclasses.asdict(options)
    return {**plain, "storage": storage_name and redact(storage_name), "command": command}


def earlier_options(kind: type[Options]) -> Options | None:
    """The options in the file that ``--config`` names; None without it. Options on the command line replace them, and
    also those that exclude each other. Those that a new objective cannot use are left out, and printed. Raises
    ``SettingsError`` for a file that does not hold options, or holds a storage without its password.
    """
    import tyro

    path = tyro.cli(_Config, return_unknown_args=True, add_help=False)[0].config
    if path is None:
        return None
    plain = read_json(path, "configuration", SettingsError)
    if not isinstance(plain, dict):
        raise SettingsError(f"expected {path} to hold the options of a study, got {type(plain).__name__}")
    plain = {name: value for name, value in plain.items() if name not in _THIS_RUN}
    if plain.get("storage_file"):
        plain["storage"] = None  # which the file holds
    for places in _EITHER:
        given = {option for option in places if _given(option)}
        for option in places.keys() - given if given else ():
            _drop(plain, places[option])
    _check_direction(plain, path)
    if unused := _take_out_unused(plain):
        print(f"not taken from {path}: {unused}", file=sys.stderr)
    if "***" in str(plain.get("storage")):
        plain["storage"] = None
        if not _given("storage") and storage_given(None, None) is None:
            raise SettingsError(
                f"expected --storage-file or PHISCALE_STORAGE: the storage of {path} has a password, which that file "
                "does not hold"
            )
    return from_plain(kind, plain, str(path))


def refuse_both() -> None:
    """Raise ``SettingsError`` where the command line gives options of which one replaces the others."""
    for places in _EITHER:
        given = [f"--{option}" for option in places if _given(option)]
        if len(given) > 1:
            raise SettingsError(f"expected either {' or '.join(given)}, got both; leave one out")


def _given(option: str) -> bool:
    """Whether the command line gives an option."""
    return f"--{option}" in {word.partition("=")[0].replace("_", "-") for word in sys.argv[1:]}


def _check_direction(plain: dict[str, Any], path: Path) -> None:
    """Raise ``SettingsError`` if the direction in the file is that of an objective which the command line replaces."""
    if _given("direction"):
        _drop(plain, "measure.direction")
    measure = plain.get("measure")
    if not isinstance(measure, dict) or measure.get("direction") != "minimize":
        return
    own = measure.get("own")
    same = measure.get("objective") or (isinstance(own, dict) and own.get("command"))
    if not same and (_given("objective") or _given("command")):
        raise SettingsError(f"expected --direction of the new objective: that in {path} is minimize, for another one")


def _take_out_unused(plain: dict[str, Any]) -> str:
    """Take out what the --objective or --command that is given cannot use; which options those were, as a phrase."""
    option = next((option for option in ("objective", "command") if _given(option)), None)
    if option is None:
        return ""
    measure, train = (held if isinstance(held := plain.get(name), dict) else {} for name in ("measure", "train"))
    unused: tuple[str, ...] = PROXY if option == "objective" else TRAINING
    if option == "command" and not any(_given(name) or measure.get(name) for name in ("network", "factory")):
        unused += SIZES
    lengths = ("epochs", "images_seen") if option == "command" else ()
    training = [each.name for each in dataclasses.fields(TrainSettings) if each.name not in lengths]
    out = [f"--{name}" for name in unused if measure.pop(name, None) not in (None, getattr(ObjectiveSettings, name))]
    out += [f"--train.{name}" for name in training if train.pop(name, None) not in (None, getattr(TrainSettings, name))]
    return f"{', '.join(out).replace('_', '-')}, which --{option} does not use" if out else ""


def _drop(plain: Any, place: str) -> None:
    """Take what is at a place out of nested objects."""
    section, _, rest = place.partition(".")
    if isinstance(plain, dict):
        _drop(plain.get(section), rest) if rest else plain.pop(section, None)


def from_plain(kind: type[Options], plain: object, where: str) -> Options:
    """Settings from their JSON values, typed; ``where`` is their place, for messages. Missing values are defaults.

    Raises ``SettingsError`` for unknown names, for values of another type, and for those that the settings refuse.
    """
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    needed = {each.name for each in fields if each.default is dataclasses.MISSING is each.default_factory}
    hints = get_type_hints(kind)
    given = checks.exact_keys(where, plain, needed, SettingsError, optional=frozenset(hints))
    values = {name: _typed(hints[name], value, f"{name} of {where}") for name, value in given.items()}
    try:
        return kind(**values)
    except PhiscaleError as error:
        raise SettingsError(f"{where}: {error}") from None


def _typed(hint: Any, plain: Any, what: str) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_plain(hint, plain, what)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for kind in kinds:
        if get_origin(kind) is Literal and plain in get_args(kind):
            return plain
        if kind is int and type(plain) is int:
            return checks.whole(what, plain, SettingsError, low=-checks.LARGEST_WHOLE)
        if kind in (str, Path) and isinstance(plain, str):
            return kind(_text(plain, what))
        if kind is type(plain):
            return plain
        if kind is float and type(plain) is int:
            return checks.number(what, plain, SettingsError)
    names = [_NAMES[kind] if kind in _NAMES else " or ".join(map(repr, get_args(kind))) for kind in kinds]
    raise SettingsError(f"expected {what} to be {' or '.join(names)}, got {plain!r}")


def _text(plain: str, what: str) -> str:
    """The text, if a command line can hold it."""
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        raise SettingsError(f"expected {what} to be a text of whole characters, got {plain!r}") from None
    if "\0" in plain:
        raise SettingsError(f"expected {what} to be a text without null characters, got {plain!r}")
    return plain
