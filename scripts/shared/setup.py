"""From the options of a command to the objective of a study: network, data, cost model, or a user's own objective."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from objectives.command.objective import CommandObjective, CommandSettings, Split
from objectives.contract import Evaluation, Objective
from objectives.training.settings import TrainSettings
from phiscale import checks
from phiscale.baselines import PROXY_BASE, find_network
from phiscale.calibration import Calibration
from phiscale.errors import SettingsError, one_line
from phiscale.rounding import rounding_by_name
from phiscale.spec import NetworkSpec
from phiscale.triangle import COST_MODELS, CostModel, ScalingConstants

if TYPE_CHECKING:
    from objectives.data.imageset import ImageSet
    from objectives.growth import Baseline
    from objectives.networks.factory import Factory
    from objectives.training.rate_plane import RatePlane


TRAINING = ("data", "side", "rate_plane")
"""Settings of the proxy training alone."""
SIZES = ("resolution", "resolution_multiple", "budget", "rounding")
"""Settings of networks that phiscale knows, which --command takes with --network or --factory alone."""
PROXY = (*TRAINING, *SIZES, "network", "factory", "phi")
"""Settings that a user's own objective does not use."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What is measured: which network, on which images, at which cost."""

    data: str | None = None
    """Folder of class folders (or with train/), or .npz with images and labels. Default: the embedded set."""
    side: int | None = None
    """Side to which images are decoded, in pixels. Default: the most common one in the data."""
    network: str | None = None
    """Baseline: proxy-base, efficientnet-b0, efficientnetv2-b0, efficientnetv2-s, mobilenetv2, resnet-18, resnet-50,
    convnext-t or a JSON file (docs/networks.md). Default: proxy-base, its resolution fit to the data."""
    resolution: int | None = None
    """Resolution of the baseline in pixels. Default: its own."""
    resolution_multiple: int | None = None
    """Every resolution is a multiple of so many pixels, such as 32, also in families and exports."""
    phi: float = 2.0
    """Networks are compared at 2**phi times the baseline's cost. At 1, small networks differ by less than the noise."""
    cost: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(COST_MODELS)}}}")] = "macs"
    """The counted cost that all networks share."""
    cost_file: Annotated[Path | None, tyro.conf.arg(name="cost-model")] = None
    """A cost model measured by phiscale calibrate, instead of --cost."""
    budget: Literal["matched", "nominal"] = "matched"
    """matched: counted cost within 2 % of the target; nominal: the formula alone, then rounding."""
    rounding: str = "exact"
    """How layers, channels and pixels are rounded: exact, tf, effnetv2, timm, timm-round or pycls."""
    factory: str | None = None
    """Your own networks, instead of --network: package.module:attribute, a function build(depth, width, resolution,
    classes) that returns a torch.nn.Module. Or a model of a library, such as timm:resnet18 (docs/networks.md).
    --resolution is that of its baseline."""
    rate_plane: Path | None = None
    """Learning rates by shape, found by phiscale check (rate-plane.json), in place of --train.learning-rate."""
    objective: str | None = None
    """Your own objective, instead of the built-in training: package.module:attribute. It is a function score(alpha,
    beta, gamma, seed), an Optuna objective(trial), or an object (objectives/contract.py)."""
    direction: Literal["maximize", "minimize"] = "maximize"
    """Direction of a function given by --objective, and of --command; an object states its own."""
    own: Annotated[CommandSettings, tyro.conf.arg(name="")] = field(default_factory=CommandSettings)
    """Your own training as a command."""
    cache: Path | None = None
    """Folder for decoded images. Default: ~/.cache/phiscale."""

    def __post_init__(self) -> None:
        checks.phi("a phi", self.phi, SettingsError)
        rounding_by_name(self.rounding)
        if self.cost not in COST_MODELS:
            raise SettingsError(f"expected a cost of {', '.join(COST_MODELS)}, got {self.cost!r}")
        for name, value, low in (
            ("resolution", self.resolution, 1),
            ("side", self.side, 4),
            ("resolution_multiple", self.resolution_multiple, 1),
        ):
            if value is not None and value < low:
                raise SettingsError(f"expected a {name} of at least {low} pixels, got {value}")
        if self.objective == "":
            raise SettingsError("expected --objective as package.module:attribute, got nothing; leave it out")
        self._refuse_unused()
        if self.cost_file and (given := self._given(("cost",))):
            raise SettingsError(f"expected either {given} or --cost-model, which states its own cost, got both")
        if self.factory and self.network:
            raise SettingsError("expected either --network or --factory, not both")

    def _refuse_unused(self) -> None:
        """Raise ``SettingsError`` for options that would be ignored."""
        if self.objective and self.own.command is not None:
            raise SettingsError("expected either --objective or --command, not both; leave one out")
        name = "--objective" if self.objective else "--command"
        if given := self._given(PROXY if self.objective else TRAINING if self.own.command is not None else ()):
            raise SettingsError(f"expected either {name}, or {given} of the proxy training, not both; leave one out")
        if self.own.command is None:
            if not self.objective and self.direction != "maximize":
                raise SettingsError(
                    f"expected --direction {self.direction} with --objective or --command, got it without; leave it out"
                )
        elif not (self.network or self.factory) and (given := self._given(SIZES)):
            raise SettingsError(f"expected --network or --factory with {given}, got it without; add that")

    def _given(self, names: Iterable[str]) -> str:
        """The options of these settings that are not the default, for messages."""
        changed = (name for name in names if getattr(self, name) != getattr(type(self), name))
        return ", ".join(f"--{name.replace('_', '-')}" for name in changed)

    @cached_property
    def cost_model(self) -> CostModel:
        """The surface that is searched. Raises ``RecordError`` for a file that holds none."""
        return Calibration.load(self.cost_file).cost_model if self.cost_file else COST_MODELS[self.cost]


def make_objective(settings: ObjectiveSettings, train: TrainSettings, seed: int, folder: Path) -> Objective:
    """The objective of a study: the built-in training, or a user's own. Raises ``SettingsError``.

    ``folder`` is that of the study, where a command has its logs.
    """
    if settings.own.command is not None:
        return make_command(settings, train, folder)
    if settings.objective and train != TrainSettings():
        raise SettingsError("expected either --objective, or options of --train, which are for the proxy training")
    if settings.objective:
        return _loaded(settings.objective, settings.cost_model, settings.direction)
    from objectives.proxy import ProxyObjective

    data = make_data(settings, train, seed)
    objective = ProxyObjective(
        choose_baseline(settings, data.resolution),
        data,
        train,
        phi=settings.phi,
        cost_model=settings.cost_model,
        budget=settings.budget,
        rounding=rounding_by_name(settings.rounding),
        rate_plane=load_rate_plane(settings),
    )
    objective.try_factory()
    return objective


def make_command(
    settings: ObjectiveSettings, train: TrainSettings, folder: Path, split: Split = "validation"
) -> CommandObjective:
    """The objective of a user's own training, scored on its images of ``split``. Raises ``SettingsError``."""
    from objectives.growth import Growth
    from search.storage import secrets_in

    if dataclasses.replace(train, epochs=None, images_seen=None) != TrainSettings():
        raise SettingsError(
            "expected --train.epochs or --train.images-seen of --train with --command, got others, which are for the "
            "proxy training; leave them out"
        )
    if secrets_in(settings.own.command or ""):
        raise SettingsError("expected --command without a password, which the study would keep; use a variable")
    base = _command_baseline(settings)
    growth = (
        None
        if base is None
        else Growth(
            base=base,
            phi=settings.phi,
            cost_model=settings.cost_model,
            budget=settings.budget,
            rounding=rounding_by_name(settings.rounding),
        )
    )
    return CommandObjective(
        settings.own,
        settings.cost_model,
        logs=folder / "logs",
        growth=growth,
        phi=settings.phi,
        direction=settings.direction,
        epochs=train.epochs,
        images=train.images_seen,
        split=split,
    )


def _command_baseline(settings: ObjectiveSettings) -> Baseline | None:
    """The baseline whose networks the command trains, with the requested classes; None if none is named.

    Raises ``SettingsError`` for a factory without a resolution: no images say which it may have.
    """
    if not (settings.network or settings.factory):
        return None
    if settings.factory and settings.resolution is None:
        raise SettingsError("expected --resolution, the side of the baseline's images, with --factory and --command")
    base = choose_baseline(settings, 0)
    classes = settings.own.command_classes
    return base if classes is None else dataclasses.replace(base, classes=classes)


def load_rate_plane(settings: ObjectiveSettings) -> RatePlane | None:
    """The learning rates by shape that were asked for. Raises ``RecordError`` for a file that holds none."""
    from objectives.training.rate_plane import RatePlane

    return RatePlane.load(settings.rate_plane) if settings.rate_plane else None


def make_data(settings: ObjectiveSettings, train: TrainSettings, seed: int) -> ImageSet:
    """The images of a study, split into a training and a validation part."""
    from objectives.data.load import load_data

    return load_data(
        settings.data,
        train_images=train.train_images,
        validation_images=train.validation_images,
        seed=seed,
        side=settings.side,
        cache=settings.cache,
    )


def choose_baseline(settings: ObjectiveSettings, source: int) -> Baseline:
    """The requested baseline; one without its own side gets one whose growth by resolution alone fits the images.

    Raises ``SettingsError`` for a name of --factory that is no function.
    """
    if settings.factory:
        return _choose_factory(settings.factory, settings, source)
    base = PROXY_BASE if settings.network is None else find_network(settings.network)
    multiple = settings.resolution_multiple or base.resolution_multiple
    side = settings.resolution or base.resolution
    if settings.network is None and settings.resolution is None and settings.data not in (None, "embedded"):
        side = _fitting_side(math.lcm(base.total_stride, multiple), settings.cost_model, settings.phi, source)
    return dataclasses.replace(base, resolution=side, resolution_multiple=multiple)


def _choose_factory(name: str, settings: ObjectiveSettings, source: int) -> Factory:
    from objectives.networks.factory import Factory
    from objectives.networks.libraries import library_networks

    build = library_networks(name) or _attribute(name, "--factory")
    if not callable(build):
        raise SettingsError(f"expected {name} of --factory to be a function, got {type(build).__name__}")
    multiple = settings.resolution_multiple or 1
    if settings.resolution is None:
        return Factory.fit(name, build, max(1, _fitting(settings.cost_model, settings.phi, source)), multiple)
    return Factory(name=name, build=build, resolution=settings.resolution, resolution_multiple=multiple)


def fitting_resolution(base: NetworkSpec | Factory, model: CostModel, phi: float, source: int) -> int:
    """The resolution of a baseline that reaches ``source`` (pixels) when all growth goes to resolution.

    Beyond the side of the images, resolution adds cost without information. The result is a multiple of a spec's
    stride, so that no pixel is wasted, or of a factory's step, and of the ``resolution_multiple``.
    """
    stride = base.total_stride if isinstance(base, NetworkSpec) else base.step
    return _fitting_side(math.lcm(stride, base.resolution_multiple), model, phi, source)


def _fitting_side(step: int, model: CostModel, phi: float, source: int) -> int:
    return max(step, _fitting(model, phi, source) // step * step)


def _fitting(model: CostModel, phi: float, source: int) -> int:
    return int(source / model.target ** (max(phi, 0) / (model.resolution or 2)) + 1e-9)


def load_objective(name: str, cost_model: CostModel, direction: str = "maximize") -> Objective:
    """The objective that ``package.module:attribute`` names, see ``search.functions.as_objective``.

    Raises ``SettingsError`` with what is wrong with it.
    """
    from search.functions import as_objective

    found = _attribute(name, "--objective")
    try:
        return as_objective(found, cost_model, direction)
    except SettingsError as error:
        raise SettingsError(f"{name} of --objective: {error}") from None


@dataclass(frozen=True)
class NamedWork:
    """The work of a search with a user's own objective, which every worker imports by its name."""

    name: str
    cost_model: CostModel
    direction: str = "maximize"

    def __call__(self, constants: ScalingConstants, seed: int) -> Evaluation:
        """One evaluation."""
        return _loaded(self.name, self.cost_model, self.direction).evaluate(constants, seed=seed)


@functools.cache
def _loaded(name: str, cost_model: CostModel, direction: str) -> Objective:
    return load_objective(name, cost_model, direction)


def _attribute(name: str, option: str) -> Any:
    """What ``package.module:attribute`` names. Raises ``SettingsError``."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise SettingsError(f"expected {option} as package.module:attribute, got {name!r}")
    if module_name.endswith(".py") or not set(module_name).isdisjoint("/\\"):
        stem = re.split(r"[/\\]", module_name.removesuffix(".py"))[-1]
        raise SettingsError(
            f"expected {option} as package.module:attribute, got the path {module_name!r}; write {stem}:{attribute} "
            "and run from the folder of that file"
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything
        is_absent = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        advice = "run from its folder" if is_absent else "that module fails by itself: fix it, or install what it needs"
        what = one_line(error)
        if is_absent:
            _refuse_two_modules(module_name, option)
        raise SettingsError(f"cannot import {module_name!r} of {option}: {what}; {advice}") from None
    _refuse_two_modules(module_name, option)
    if not hasattr(module, attribute):
        raise SettingsError(f"the module {module_name!r} of {option} has no attribute {attribute!r}")
    return getattr(module, attribute)


def _refuse_two_modules(name: str, option: str) -> None:
    """Raise ``SettingsError`` where the current folder has the module, and another one was found by its name."""
    path = Path(*name.split("."))
    own = next((file.resolve() for file in (path / "__init__.py", Path(f"{path}.py")) if file.is_file()), None)
    found = sys.modules.get(name) or sys.modules.get(name.partition(".")[0])
    place = getattr(found, "__file__", None)
    if own and place and Path(place).resolve() != own:
        raise SettingsError(
            f"expected the module {name!r} of {option} to be {own}, got that of {place}, which is found first; "
            "rename yours"
        )
