"""The search record: found constants as one JSON file that any project can read without Optuna or torch.

``record.schema.json`` beside this file describes the same format for other languages.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phiscale import checks
from phiscale.errors import PhiscaleError, RecordError
from phiscale.files import read_json, write_text
from phiscale.spec import NetworkSpec
from phiscale.triangle import CostModel, ScalingConstants, Shares, shares_from_constants

FORMAT = "phiscale-search-record"
VERSION = 2
"""Version 1 had no ``length`` and no ``horizon``; it is read with the length that its ``budget.train`` tells."""
_DEEPEST = 50
"""Most levels of objects and lists in the free parts of a record; more could exhaust the stack of a reader."""


@dataclass(frozen=True)
class Estimate:
    """A score with the interval that holds it with 90 % probability."""

    score: float
    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("score", "low", "high"):
            checks.real(f"the {name} of an estimate", getattr(self, name), RecordError)
        if not self.low <= self.score <= self.high:
            raise RecordError(f"expected low <= score <= high, got {self.low}, {self.score}, {self.high}")


@dataclass(frozen=True)
class Observed:
    """Constants and what was measured for them."""

    name: str
    """Which trial or baseline."""
    constants: ScalingConstants
    score: float
    """Mean over its evaluations."""
    evaluations: int
    """How many seeds the mean is over."""

    def __post_init__(self) -> None:
        checks.text("the name of an observation", self.name, RecordError)
        checks.real("an observed score", self.score, RecordError)
        checks.whole("the number of evaluations", self.evaluations, RecordError)


@dataclass(frozen=True)
class Length:
    """How long a training is."""

    images: int
    """Images seen, repeats included."""
    epoch_images: int | None = None
    """Images in an epoch of the data; None where that is not known."""
    data: str | None = None
    """Name of the data."""

    def __post_init__(self) -> None:
        checks.whole("the images of a length", self.images, RecordError)
        if self.epoch_images is not None:
            checks.whole("the epoch_images of a length", self.epoch_images, RecordError)
        if self.data is not None:
            checks.text("the data of a length", self.data, RecordError)

    @property
    def epochs(self) -> float | None:
        """The same length in epochs."""
        return None if self.epoch_images is None else self.images / self.epoch_images

    def describe(self) -> str:
        """``160,000 images seen (3.2 epochs of cifar-10)``."""
        if self.epochs is None:
            return f"{self.images:,} images seen"
        name = "the embedded images" if self.data == "embedded" else self.data
        data = f" of {name}" if name else ""
        return f"{self.images:,} images seen ({self.epochs:.3g} epoch{'s' if self.epochs != 1 else ''}{data})"


@dataclass(frozen=True)
class Horizon:
    """The length for which constants were asked."""

    images: int
    """Images seen."""
    determined: bool
    """Whether the constants of the record are for it; if not, they are for the longest rung."""
    reason: str = ""
    """Why it is not determined, and what would determine it; empty where it is."""

    def __post_init__(self) -> None:
        checks.whole("the images of a horizon", self.images, RecordError)
        if not isinstance(self.determined, bool) or not isinstance(self.reason, str):
            raise RecordError(f"expected a horizon with determined (true or false) and reason (text), got {self!r}")


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """What a search found and how; written by ``phiscale search``."""

    study: str
    """Name of the study."""
    created: str
    """UTC time in ISO 8601."""
    constants: ScalingConstants
    """The recommendation, unrounded, on the surface of ``cost_model``."""
    cost_model: CostModel
    """Surface and counted metric of the search."""
    phi: float
    """Compound coefficient at which networks were compared."""
    network: NetworkSpec | None
    """The baseline that was scaled; None where the objective trains none."""
    score_name: str
    """What was measured, e.g. ``accuracy``."""
    direction: str
    """``maximize`` or ``minimize``."""
    expected: Estimate | None
    """Expected score at the recommendation; None if it could not be estimated."""
    noise: float | None
    """Standard deviation of one evaluation; None if it could not be estimated."""
    best_observed: Observed
    """The luckiest trial, for comparison: its score is optimistic."""
    length: Length | None = None
    """The training that the constants are for; None where the objective states no length."""
    horizon: Horizon | None = None
    """The length that was asked for; None where that was the longest rung."""
    region: tuple[Shares, ...] = ()
    """Shares of the lattice points that cannot be told apart from the recommendation."""
    baselines: tuple[Observed, ...] = ()
    """Published rules measured in the same study."""
    notes: tuple[str, ...] = ()
    """Cautions, each a sentence."""
    data: dict[str, Any] = field(default_factory=dict)
    """Name and fingerprint of the images."""
    budget: dict[str, Any] = field(default_factory=dict)
    """Trials, seeds and settings of the proxy training."""
    versions: dict[str, Any] = field(default_factory=dict)
    """Versions of the programs that made the record."""
    device: str = "unknown"
    """What the trials ran on."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further results: models, calibration, confirmation."""

    def __post_init__(self) -> None:
        for name in ("study", "created", "score_name", "device"):
            checks.text(name, getattr(self, name), RecordError)
        if self.direction not in ("maximize", "minimize"):
            raise RecordError(f"expected a direction of maximize or minimize, got {self.direction!r}")
        checks.phi("phi", self.phi, RecordError)
        if self.noise is not None and checks.real("the noise", self.noise, RecordError) < 0:
            raise RecordError(f"expected a noise of 0 or more, got {self.noise!r}")
        for name in ("data", "budget", "versions", "details"):
            _check_depth(name, getattr(self, name))
        try:
            shares_from_constants(self.constants, self.cost_model)
        except PhiscaleError as error:
            raise RecordError(str(error)) from None

    @property
    def shares(self) -> Shares:
        """Shares of the recommended constants."""
        return shares_from_constants(self.constants, self.cost_model)

    @property
    def horizon_length(self) -> Length | None:
        """The length that was asked for, in the epochs of ``length``."""
        if self.length is None or self.horizon is None:
            return self.length
        return dataclasses.replace(self.length, images=self.horizon.images)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        plain = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        plain["network"] = self.network.to_dict() if self.network else None
        for name in ("region", "baselines", "notes"):
            plain[name] = list(plain[name])
        plain["shares"] = dataclasses.asdict(self.shares)
        return plain

    def save(self, path: str | Path) -> None:
        """Write the record as JSON in one step. Raises ``FileError``, or ``RecordError`` for values JSON lacks."""
        try:
            text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise RecordError(
                f"expected a record of plain finite values, got one that JSON cannot hold: {error}"
            ) from None
        write_text(path, text + "\n")

    @classmethod
    def from_dict(cls, value: object) -> SearchRecord:
        """The record from JSON values. Raises ``RecordError`` for another format, version, or damage."""
        _check_version(value)
        fields = {f.name: f for f in dataclasses.fields(cls)}
        keys = {"format", "version", "shares", *fields}
        plain = dict(checks.exact_keys("the record", _upgraded(value), keys, RecordError))
        try:
            record = cls(**{name: _READERS.get(name, _as_is)(name, plain[name]) for name in fields})
            stated = _shares("shares", plain["shares"])
        except RecordError:
            raise
        except PhiscaleError as error:
            raise RecordError(str(error)) from None
        if math.dist(stated.as_tuple(), record.shares.as_tuple()) > 1e-9:
            raise RecordError(
                f"the shares {stated.as_tuple()} do not belong to the constants {record.constants.as_tuple()}"
            )
        return record

    @classmethod
    def load(cls, path: str | Path) -> SearchRecord:
        """Read a record, or that in the folder of a study. Raises ``RecordError`` with the file and what is wrong."""
        path = Path(path)
        with contextlib.suppress(OSError, ValueError):  # a path that no file can have is refused by the reader
            path = path / "constants.json" if path.is_dir() else path
        value = read_json(path, "record", RecordError)
        try:
            return cls.from_dict(value)
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from None


def _check_depth(name: str, value: object, left: int = _DEEPEST) -> None:
    if not left:
        raise RecordError(f"expected {name} to be nested at most {_DEEPEST} levels deep, got more")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for child in children:
        _check_depth(name, child, left - 1)


def _check_version(value: object) -> None:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RecordError(f'expected a record with "format": "{FORMAT}", got something else; is it another file?')
    version = value.get("version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise RecordError(f"expected a whole number as version, got {version!r}")
    if version > VERSION:
        raise RecordError(f"expected version {VERSION}, got {version} of a newer phiscale; upgrade phiscale to read it")
    if version < 1:
        raise RecordError(f"expected a version of 1 to {VERSION}, got {version}; take the record from the study again")


def _upgraded(value: Any) -> Any:
    """A record of version 1 with the fields of this version; its length is that of its training settings."""
    if value["version"] != 1 or not {"budget", "data"} <= value.keys():
        return value
    train, data = (part if isinstance(part, dict) else {} for part in (_train(value["budget"]), value["data"]))
    epochs, images, name = train.get("epochs"), train.get("train_images"), data.get("name")
    known = all(type(number) is int and number > 0 for number in (epochs, images))
    length = {"images": epochs * images, "epoch_images": None, "data": name} if known else None  # type: ignore[operator]
    return {"length": length, "horizon": None, **value}


def _train(budget: Any) -> Any:
    return budget.get("train") if isinstance(budget, dict) else None


def _as_is(_: str, value: Any) -> Any:
    return value


def _object(cls: type[Any]) -> Callable[[str, Any], Any]:
    required = {f.name for f in dataclasses.fields(cls)}
    return lambda name, value: cls(**checks.exact_keys(name, value, required, RecordError))


def _list_of(read: Callable[[str, Any], Any]) -> Callable[[str, Any], tuple[Any, ...]]:
    def read_list(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise RecordError(f"expected {name} to be a list, got {type(value).__name__}")
        return tuple(read(f"{name}[{index}]", item) for index, item in enumerate(value))

    return read_list


def _or_none(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else read(name, value)


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecordError(f"expected {name} to be an object, got {type(value).__name__}")
    return value


def _sentence(name: str, value: Any) -> str:
    return checks.text(name, value, RecordError)


_constants = _object(ScalingConstants)
_shares = _object(Shares)


def _observed(name: str, value: Any) -> Observed:
    fields = dict(checks.exact_keys(name, value, {f.name for f in dataclasses.fields(Observed)}, RecordError))
    return Observed(**{**fields, "constants": _constants(f"{name}.constants", fields["constants"])})


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "constants": _constants,
    "cost_model": _object(CostModel),
    "length": _or_none(_object(Length)),
    "horizon": _or_none(_object(Horizon)),
    "network": _or_none(lambda _, value: NetworkSpec.from_dict(value)),
    "expected": _or_none(_object(Estimate)),
    "best_observed": _observed,
    "region": _list_of(_shares),
    "baselines": _list_of(_observed),
    "notes": _list_of(_sentence),
    "data": _mapping,
    "budget": _mapping,
    "versions": _mapping,
    "details": _mapping,
}
