"""The trainings of a confirmation: those of the study's proxies or of its own command, scored on unseen images.

Not a command: ``phiscale confirm`` uses it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from objectives.command.template import SPLIT
from objectives.training.rungs import plan_rungs
from objectives.training.settings import TrainSettings
from phiscale.errors import PhiscaleError, StudyError
from phiscale.files import read_json
from phiscale.record import Length, SearchRecord
from phiscale.rounding import Rounding, rounding_by_name
from scripts.shared.config import from_plain
from scripts.shared.rivals import Entry
from scripts.shared.searched import searched_baseline
from scripts.shared.setup import ObjectiveSettings, load_rate_plane, make_command, make_data
from scripts.shared.training import Training
from search.executors.contract import Work

if TYPE_CHECKING:
    from objectives.command.objective import CommandObjective
    from objectives.data.imageset import ImageSet
    from objectives.growth import Baseline
    from objectives.training.rate_plane import RatePlane


class Trainings(Protocol):
    """How the networks of a study are made, trained and scored."""

    @property
    def base(self) -> Baseline:
        """What was scaled."""

    @property
    def rounding(self) -> Rounding: ...

    @property
    def length(self) -> Length | None:
        """How long every training is; None where the study does not say."""

    @property
    def images(self) -> int | None:
        """Unseen images on which an accuracy is counted; None where the number is not known."""

    @property
    def key(self) -> str:
        """Different for scores that cannot be compared."""

    def describe(self) -> list[str]:
        """What is trained, as lines."""

    def work(self) -> Work:
        """The work of an executor."""

    def call(self, entry: Entry, seed: int) -> tuple[Any, ...]:
        """The arguments of the work for one training."""

    def score(self, value: Any) -> float:
        """The score in what the work returned."""


@dataclass(frozen=True)
class ProxyTrainings:
    """The study's proxy training, scored on images that the search never saw."""

    train: TrainSettings
    unseen: ImageSet
    """The training images of the study, with unseen ones to score on."""
    base: Baseline
    rounding: Rounding
    searched_name: str
    """Name of the data that was searched."""
    record: SearchRecord
    rate_plane: RatePlane | None

    @property
    def length(self) -> Length:
        """See ``Trainings``."""
        return Length(self.train.images_seen or 1, self.unseen.epoch_images, self.searched_name)

    @property
    def images(self) -> int:
        """See ``Trainings``."""
        return len(self.unseen.validation_labels)

    @property
    def key(self) -> str:
        """See ``Trainings``."""
        rates = self.rate_plane.rates if self.rate_plane else ()
        return _hash([self.unseen.fingerprint, self.train.describe(), *rates])

    def describe(self) -> list[str]:
        """See ``Trainings``."""
        return [*self.unseen.describe(), f"each training: {self.length.describe()}"]

    def work(self) -> Work:
        """See ``Trainings``."""
        return Training(self.unseen, self.train)

    def call(self, entry: Entry, seed: int) -> tuple[Any, ...]:
        """Spec, seed and learning rate."""
        plane, network = self.rate_plane, entry.network
        rate = plane.rate_of(network.realised, self.record.cost_model) if plane else self.train.learning_rate
        return network.spec, seed, rate

    def score(self, value: Any) -> float:
        """That of the only rung."""
        return float(value.scores[-1])


@dataclass(frozen=True)
class CommandTrainings:
    """The study's own command, which is asked for the score on its test images."""

    objective: CommandObjective
    base: Baseline
    rounding: Rounding
    length: Length | None
    images: int | None = None

    @property
    def key(self) -> str:
        """See ``Trainings``."""
        described = {name: value for name, value in self.objective.describe().items() if name != "phi"}
        return _hash([described, self.objective.split])

    def describe(self) -> list[str]:
        """See ``Trainings``."""
        lines = [f"the command of the study, with {{{SPLIT}}} as {self.objective.split}"]
        return [*lines, f"each training: {self.length.describe()}"] if self.length else lines

    def work(self) -> Work:
        """See ``Trainings``."""
        return _CommandWork(self.objective)

    def call(self, entry: Entry, seed: int) -> tuple[Any, ...]:
        """The network, what it stands for, and the seed."""
        return entry, seed

    def score(self, value: Any) -> float:
        """That of the longest rung."""
        return float(value.score)


@dataclass(frozen=True, eq=False)
class _CommandWork:
    objective: CommandObjective

    def __call__(self, entry: Entry, seed: int) -> Any:
        return self.objective.evaluate_network(entry.network, entry.constants, phi=entry.phi, seed=seed)


def trainings_of(
    folder: Path, record: SearchRecord, *, images: int, epochs: float | None, data: str | None
) -> Trainings:
    """How the study in ``folder`` trains, with unseen images. Raises ``StudyError`` if they are not available.

    ``images`` is the largest number of them. ``epochs`` is the length of every training, by default the one that the
    constants are for. ``data`` is where the images are, if they were moved.
    """
    path = folder / "config.json"
    try:
        config = read_json(path, "configuration", StudyError)
        if "rungs" not in config["train"]:
            raise StudyError(
                f"expected a study with rungs in {path}, got one of an older version; run the search again"
            )
        train = from_plain(TrainSettings, config["train"], f"train of {path}")
        measure = from_plain(ObjectiveSettings, config["measure"], f"measure of {path}")
        seed = config["search"]["seed"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PhiscaleError):
            raise
        raise StudyError(f"expected the settings of the study in {path}, got {error}; run the search again") from None
    if measure.objective:
        raise StudyError(
            "expected a study of proxy trainings or of --command, got one of --objective, whose unseen images phiscale "
            "does not know; train the recommendation and its rivals with fresh seeds and your own test images"
        )
    if measure.own.command is not None:
        if data is not None or epochs is not None:
            what = "--data" if data is not None else "--epochs"
            raise StudyError(f"expected no {what} for a study of --command, which reads and trains by itself")
        return _of_command(measure, train, record, folder)
    if epochs is not None:
        train = dataclasses.replace(train, epochs=epochs, images_seen=None)
    elif record.length is not None:
        train = dataclasses.replace(train, epochs=None, images_seen=record.length.images)
    return _of_proxies(dataclasses.replace(measure, data=data or measure.data), train, record, images, seed)


def _of_proxies(
    measure: ObjectiveSettings, train: TrainSettings, record: SearchRecord, images: int, seed: int
) -> ProxyTrainings:
    from objectives.data.load import load_test_part
    from objectives.proxy import with_length

    searched = make_data(measure, train, seed)
    base = searched_baseline(measure, record, searched.resolution, len(searched.classes))
    unseen = load_test_part(
        measure.data,
        searched,
        images=images,
        train_images=train.train_images,
        validation_images=train.validation_images,
        seed=seed,
        cache=measure.cache,
    )
    train = dataclasses.replace(with_length(train, searched), rungs=1)
    plan_rungs(train, len(searched.train_labels))  # so that a length that is too short fails now
    rounding = rounding_by_name(measure.rounding)
    return ProxyTrainings(train, unseen, base, rounding, searched.name, record, load_rate_plane(measure))


def _of_command(
    measure: ObjectiveSettings, train: TrainSettings, record: SearchRecord, folder: Path
) -> CommandTrainings:
    objective = make_command(measure, train, folder, "test")
    if objective.growth is None:
        raise StudyError(
            "expected a study of --command with --network or --factory, so that all networks cost the same, got one "
            "without; search with it, or compare the recommendation and its rivals yourself"
        )
    if SPLIT not in objective.template.names:
        raise StudyError(
            f"expected {{{SPLIT}}} in the study's --command, so that it can score on its test images here, got none; "
            "search with it (docs/howto/command.md)"
        )
    length = record.length
    if length is not None and length.images != (objective.rungs or (length.images,))[-1]:
        if "images" not in objective.template.names:
            raise StudyError(
                f"expected {{images}} in the study's --command, because the constants are for {length.describe()} and "
                "its trainings end before; search with it"
            )
        own = dataclasses.replace(measure.own, command_rungs=str(length.images))
        train = dataclasses.replace(train, epochs=None, images_seen=length.images)
        objective = make_command(dataclasses.replace(measure, own=own), train, folder, "test")
    base = searched_baseline(measure, record, 0, measure.own.command_classes)
    return CommandTrainings(objective, base, rounding_by_name(measure.rounding), length)


def _hash(plain: list[Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
