"""How a proxy network is trained and scored: the settings, without torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from phiscale import checks
from phiscale.errors import SettingsError

Score = Literal["accuracy", "log_loss", "train_loss"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings of one proxy training; raises ``SettingsError`` for a value outside its range."""

    epochs: float | None = None
    """Length of a training up to its longest rung, in passes over the whole training part of your data set (fractions
    allowed), however many of its images are used."""
    images_seen: int | None = None
    """The same length as a number of images seen. Default: 60,000 on a CPU, 500,000 on a GPU, 12,000 embedded."""
    rungs: int = 4
    """Lengths at which a training is scored: with 4 at 1/8, 1/4, 1/2 and all of the longest."""
    cooldown: float = 0.2
    """Last part of each rung's length in which the learning rate falls to 0."""
    batch_size: int = 32
    """Images in one step; on a CPU more steps beat larger batches."""
    learning_rate: float = 0.15
    """Constant learning rate of SGD with Nesterov momentum between warm-up and cooldown."""
    momentum: float = 0.9
    """Nesterov momentum."""
    weight_decay: float = 5e-4
    """L2 penalty on the weights of convolutions and linear layers; biases and batch normalisation have none."""
    label_smoothing: float = 0.0
    """Label smoothing: the part of the label that is spread over all classes in training."""
    warmup: float = 0.02
    """First part of the longest rung in which the learning rate rises linearly."""
    train_images: int | None = None
    """Distinct training images to use, the same for every trial. Default: all that an eighth of the memory holds."""
    validation_images: int = 1500
    """Images split off the training part to score on; at most a fifth of the images is taken."""
    flip: bool = True
    """Mirror training images at random, if the data set allows it."""
    crop: bool = True
    """Shift training images at random by up to an eighth of their side, if the data set allows it."""
    score: Score = "accuracy"
    """What the study optimises: validation accuracy, validation log-loss, or training loss averaged over the run."""
    device: str = "auto"
    """Where to train: auto (the GPU if there is one), cpu, cuda, cuda:1, ..."""
    threads: int = 0
    """CPU threads of one trial. 0 means one: two trials at a time are faster than one trial on two threads."""
    precision: Precision = "auto"
    """Number format: auto is bfloat16 on a GPU that supports it, and float32 on a CPU, where bfloat16 is slower."""

    compile: bool = False
    """Compile every network with torch.compile. It takes most of a minute for each, so use it for long trainings
    only."""
    cuda_graph: bool = True
    """On a GPU: replay the training step as one CUDA graph. Scores do not change. Never used for networks of
    --factory."""

    def __post_init__(self) -> None:
        for name, low in (("rungs", 1), ("batch_size", 1), ("validation_images", 1), ("threads", 0)):
            checks.whole(name, getattr(self, name), SettingsError, low=low)
        for name in ("train_images", "images_seen"):
            if getattr(self, name) is not None:
                checks.whole(name, getattr(self, name), SettingsError)
        if self.epochs is not None:
            checks.positive("epochs", self.epochs, SettingsError)
            if self.images_seen is not None:
                raise SettingsError("expected a length in epochs or in images seen, got both")
        checks.positive("learning_rate", self.learning_rate, SettingsError)
        for name, low_allowed in (
            ("momentum", False),
            ("label_smoothing", True),
            ("warmup", True),
            ("cooldown", False),
        ):
            self._part_of_one(name, zero=low_allowed)
        if checks.real("weight_decay", self.weight_decay, SettingsError) < 0:
            raise SettingsError(f"expected weight_decay to be 0 or more, got {self.weight_decay!r}")
        for name, choice in (("score", Score), ("precision", Precision)):
            if getattr(self, name) not in get_args(choice):
                raise SettingsError(f"expected {name} of {', '.join(get_args(choice))}, got {getattr(self, name)!r}")
        for name in ("flip", "crop", "compile", "cuda_graph"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"expected {name} to be true or false, got {getattr(self, name)!r}")
        checks.text("device", self.device, SettingsError)

    def _part_of_one(self, name: str, *, zero: bool) -> None:
        value = checks.real(name, getattr(self, name), SettingsError)
        if not (0 <= value < 1 if zero else 0 < value < 1):
            raise SettingsError(f"expected {name} in {'[' if zero else '('}0, 1), got {value!r}")

    @property
    def direction(self) -> str:
        """``maximize`` for accuracy, ``minimize`` for the losses."""
        return "maximize" if self.score == "accuracy" else "minimize"

    @property
    def augmentations(self) -> frozenset[str]:
        """What is done to training images, if the data set says that its labels stay valid."""
        return frozenset(name for name, wanted in (("flip", self.flip), ("crop", self.crop)) if wanted)

    def describe(self) -> dict[str, object]:
        """The settings that must be equal for two scores to be comparable. Where and how a trial runs is not one of
        them.

        The length stands there in images seen, once it is known.
        """
        plain = dataclasses.asdict(self)
        for name in ("device", "threads", "compile", "cuda_graph", "epochs"):
            del plain[name]
        return plain
