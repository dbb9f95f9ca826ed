"""The objective of a search: train the proxy network that constants stand for, and score it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from objectives.contract import Evaluation
from objectives.data.embedded import EMBEDDED
from objectives.data.imageset import ImageSet
from objectives.growth import Baseline, Budget, Growth, TrainableNetwork
from objectives.networks.factory import Factory, nominal_factory
from objectives.networks.own_module import count_member, first_line
from objectives.training.rate_plane import RatePlane
from objectives.training.rungs import LONGEST, REAL_LENGTHS, plan_rungs
from objectives.training.settings import TrainSettings
from phiscale.errors import BudgetError, PhiscaleError, SettingsError, TrialError
from phiscale.network import ScaledNetwork
from phiscale.published import PUBLISHED_RULES
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.triangle import FLOPS, CostModel, Multipliers, ScalingConstants

if TYPE_CHECKING:
    from objectives.training.train import ProxyRun


class ProxyObjective:
    """Proxy training of the networks of a ``Growth``, whose settings it takes.

    The baseline, a spec or a person's own factory, gets as many classes as the data has. With a ``rate_plane`` every
    network is trained at the rate of its shares, in place of that of the settings. Raises ``SettingsError``.
    """

    def __init__(
        self,
        base: Baseline,
        data: ImageSet,
        train: TrainSettings,
        *,
        phi: float = 2.0,
        cost_model: CostModel = FLOPS,
        budget: Budget = "matched",
        rounding: Rounding = ROUNDINGS["exact"],
        rate_plane: RatePlane | None = None,
    ) -> None:
        if base.in_channels != 3:
            raise SettingsError(f"expected a baseline of 3 input channels, got {base.in_channels} in {base.name}")
        self.data, self.train = data, with_length(train, data)
        self.rungs = tuple(rung.images for rung in plan_rungs(self.train, len(data.train_labels)))
        self.rate_plane = rate_plane
        grown = dataclasses.replace(base, classes=len(data.classes))
        self.growth = Growth(base=grown, phi=phi, cost_model=cost_model, budget=budget, rounding=rounding)

    @property
    def direction(self) -> str:
        """``maximize`` or ``minimize``, by the score of the settings."""
        return self.train.direction

    def describe(self) -> dict[str, object]:
        """JSON values; two objectives with equal ones give comparable scores."""
        return {
            "objective": "proxy",
            **self.growth.describe(),
            "data": {
                "name": self.data.name,
                "fingerprint": self.data.fingerprint,
                "epoch_images": self.data.epoch_images,
                "distinct_images": len(self.data.train_labels),
                "resolution": self.data.resolution,
            },
            "train": {**self.train.describe(), "precision": self._precision()},
            "rungs": list(self.rungs),
            **({"rate_plane": list(self.rate_plane.rates)} if self.rate_plane else {}),
        }

    def network(self, constants: ScalingConstants) -> TrainableNetwork:
        """The network that is trained for these constants. Raises ``BudgetError`` where none meets the budget."""
        return self.growth.network(constants)

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        """Train once. Raises ``TrialError`` (see ``train_proxy``) and ``BudgetError``."""
        network = self.network(constants)
        run = self._train(network, seed)
        return Evaluation(
            score=run.scores[-1],
            seconds=run.seconds,
            device=run.device,
            peak_memory=run.peak_memory,
            network=network,
            rungs=dict(zip(run.lengths, run.scores, strict=True)),
            curves=run.curves,
        )

    def memory_needed(self, network: TrainableNetwork) -> int:
        """Bytes of the device that one training of the network takes, estimated."""
        from objectives.training.device import choose_device
        from objectives.training.memory_needed import needed_bytes

        return needed_bytes(network.spec, self.train, self.data, choose_device(self.train.device))

    def memory(self) -> tuple[str, int, int]:
        """Of the device on which this process trains: its name, bytes in all, bytes free."""
        from objectives.training.memory_needed import memory_of_device

        return memory_of_device(self.train)

    def estimate_seconds(self, network: TrainableNetwork) -> float:
        """About how long one training of the network takes here. Raises ``TrialError``."""
        from objectives.training.train import estimate_seconds

        with _factory_errors(network):
            return estimate_seconds(network.spec, self.data, self.train)

    def try_factory(self) -> None:
        """Train the baseline of a factory for one step on the device, and build a network of the size that is asked
        for. If either fails, every trial would fail, so the search ends here with the reason. Nothing is done for a
        spec. Raises ``SettingsError``.
        """
        base = self.growth.base
        if not isinstance(base, Factory):
            return
        from objectives.training.train import try_training

        baseline = base.network(Multipliers(1, 1, 1), Multipliers(1, 1, 1))
        equal = PUBLISHED_RULES["equal"].on(self.growth.cost_model)
        try:
            with _factory_errors(baseline):
                try_training(baseline.spec, self.data, self.train)
            if equal is not None and self.growth.phi > 0:  # a small baseline may be unable to shrink
                grown = nominal_factory(base, equal, self.growth.phi)
                if grown.cost.params <= baseline.cost.params:
                    count_member(base.member(grown.asked))  # raises why it cannot be built
        except BudgetError as error:
            raise SettingsError(f"the networks of --factory: {error}") from error
        except TrialError as error:
            if error.kind == "factory":
                raise SettingsError(f"the baseline of --factory: {error}") from error

    def _precision(self) -> str:
        """The precision as it is on this device: scores of two precisions are not comparable."""
        if self.train.precision != "auto":
            return self.train.precision
        from objectives.training.device import choose_device, is_halved

        return "bfloat16" if is_halved(choose_device(self.train.device), self.train) else "float32"

    def _train(self, network: TrainableNetwork, seed: int) -> ProxyRun:
        from objectives.training.train import (
            train_proxy,  # torch takes a second to import; tables of networks need none
        )

        with _factory_errors(network):
            return train_proxy(network.spec, self.data, self._settings(network), seed=seed)

    def _settings(self, network: TrainableNetwork) -> TrainSettings:
        """How the network is trained: at its own learning rate where there is a plane of rates."""
        if self.rate_plane is None:
            return self.train
        rate = self.rate_plane.rate_of(network.realised, self.growth.cost_model)
        return dataclasses.replace(self.train, learning_rate=rate)


@contextlib.contextmanager
def _factory_errors(network: TrainableNetwork) -> Iterator[None]:
    """Turn exceptions of a user's own network into ``TrialError``; errors of phiscale stay unchanged."""
    try:
        yield
    except BudgetError as error:
        raise TrialError("factory", str(error)) from error
    except PhiscaleError:
        raise
    except Exception as error:  # a user's own module may raise anything
        if isinstance(network, ScaledNetwork):
            raise
        raise TrialError("factory", f"{network.spec.name} cannot be trained: {first_line(error)}") from error


def with_length(train: TrainSettings, data: ImageSet) -> TrainSettings:
    """The settings with their length in images seen: as asked for, else the default for these data and this device."""
    if train.epochs is not None:
        images = max(1, round(min(train.epochs * data.epoch_images, LONGEST + 1)))
    elif train.images_seen is not None:
        images = train.images_seen
    elif data.name == EMBEDDED:
        images = 2 * data.epoch_images
    else:
        from objectives.training.device import choose_device

        images = REAL_LENGTHS[choose_device(train.device).type]
    return dataclasses.replace(train, epochs=None, images_seen=images)
