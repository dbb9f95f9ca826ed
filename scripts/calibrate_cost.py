"""Fit what depth, width and resolution cost on this device, to search at equal latency, memory or training time.

Run: phiscale calibrate --metric latency --network efficientnet-b0 --output latency.json
     phiscale calibrate --metric train-step --output step.json
     phiscale search --study fast --cost-model latency.json

A small set of networks is measured, or counted for the costs that phiscale counts, and three exponents are fitted in
log space. Measure times on the idle machine that will run the networks, with one worker, because workers on one device
disturb each other.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from objectives.training.settings import TrainSettings
from phiscale.baselines import PROXY_BASE, find_network
from phiscale.calibration import Calibration
from phiscale.cost import COUNTED
from phiscale.errors import DataError, SettingsError, StudyError
from phiscale.network import ScaledNetwork, scale_network
from phiscale.rounding import ROUNDINGS
from phiscale.spec import NetworkSpec
from phiscale.triangle import CostModel, Multipliers, smallest_exponent
from scripts.shared.console import run_command
from scripts.shared.executors import ExecutorSettings, make_executor
from search.executors.contract import Raised, run_all

_MEASURED = ("latency", "train-step", "memory")
_LARGEST = 4.0
"""Cost of the largest network of the design by axis, as a multiple of the baseline's multiply-accumulates."""
_SMALLEST = 0.02
"""Smaller exponents, including negative ones, count as 0."""


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """Options of ``phiscale calibrate``."""

    metric: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join((*_MEASURED, *COUNTED))}}}")]
    """What is measured (latency, train-step, memory) or counted."""
    output: Path
    """The cost model file to write."""
    network: str | None = None
    """Baseline: proxy-base, efficientnet-b0, efficientnetv2-b0, efficientnetv2-s, mobilenetv2, resnet-18, resnet-50,
    convnext-t or a JSON file. Default: proxy-base."""
    resolution: int | None = None
    """Resolution of the baseline in pixels. Default: its own."""
    batch: int | None = None
    """Images in the measured batch; 1 for the latency of a single image. Default: that of trainings
    (--train.batch-size)."""
    repeats: int = 15
    """Measurements of each network, after a warm-up; the median is used."""
    target: float = 2.0
    """Growth of the cost for one unit of phi."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Device, threads, precision, and how the training step runs."""
    run: Annotated[ExecutorSettings, tyro.conf.arg(name="")] = field(default_factory=ExecutorSettings)
    """Where networks are measured."""

    def __post_init__(self) -> None:
        if self.metric not in (*_MEASURED, *COUNTED):
            raise SettingsError(f"expected a metric of {', '.join((*_MEASURED, *COUNTED))}, got {self.metric!r}")
        for name, value in (("batch", self.batch), ("repeats", self.repeats)):
            if value is not None and value < 1:
                raise SettingsError(f"expected {name} of at least 1, got {value}")
        CostModel(target=self.target)


def main() -> int:
    """The command."""
    return run_command(CalibrateOptions, calibrate, __doc__ or "", "calibrate")


def calibrate(options: CalibrateOptions) -> None:
    """Measure the design, fit, write and print."""
    import dataclasses

    base = PROXY_BASE if options.network is None else find_network(options.network)
    if options.resolution is not None:
        base = dataclasses.replace(base, resolution=options.resolution)
    networks = design(base)
    print(f"{len(networks)} networks from {base.name} at {base.resolution} px")
    costs, unit, device = _costs(networks, options)
    found = fit(networks, costs, options, unit, device)
    found.save(options.output)
    for axis, value, reach in zip(("depth", "width", "resolution"), found.estimates, found.half_widths, strict=True):
        print(f"{axis:<11}{value:7.3f} +- {reach:.3f}")
    print(f"R^2 {found.r_squared:.4f} over {found.points} networks on {found.device}")
    for note in found.notes:
        print(f"note: {note}")
    print(f"written: {options.output}: {found.cost_model.describe()}")


def design(base: NetworkSpec) -> list[ScaledNetwork]:
    """Three levels of each axis, 1 to 4 times the cost: 27 networks, or fewer if some are equal."""
    levels = [(1.0, 2.0, _LARGEST), (1.0, 2.0**0.5, _LARGEST**0.5), (1.0, 2.0**0.5, _LARGEST**0.5)]
    made = (scale_network(base, Multipliers(*factors), ROUNDINGS["exact"]) for factors in itertools.product(*levels))
    return list({network.fingerprint: network for network in made}.values())


def _costs(networks: list[ScaledNetwork], options: CalibrateOptions) -> tuple[list[float], str, str]:
    """Costs of the networks, their unit, and the device."""
    if options.metric in COUNTED:
        return [float(network.cost.by_metric(options.metric)) for network in networks], "count", "counted"
    from objectives.training.timing import UNITS

    costs: dict[int, float] = {}
    devices: set[str] = set()
    work = Measuring(options.metric, options.train, options.batch, options.repeats)
    for place, outcome in run_all(make_executor(options.run), work, [(network.spec,) for network in networks]):
        if isinstance(outcome, Raised):
            raise outcome.as_error("a measurement")
        costs[place], device = outcome.value
        devices.add(device)
        m = networks[place].realised
        line = f"d {m.depth:.2f} w {m.width:.2f} r {m.resolution:.2f}: {costs[place]:.4g}"
        print(f"{len(costs)}/{len(networks)} {line}", flush=True)
    if len(devices) > 1:
        raise StudyError(
            f"expected all networks to be measured in one way, got {' and '.join(sorted(devices))}; "
            "use devices of one kind, or --train.no-cuda-graph where a capture fails"
        )
    return [costs[place] for place in range(len(networks))], UNITS[options.metric], devices.pop()


@dataclass(frozen=True)
class Measuring:
    """The work of an executor: the cost of one network, and how it was measured."""

    metric: str
    train: TrainSettings
    batch: int | None
    repeats: int

    def __call__(self, spec: NetworkSpec) -> tuple[float, str]:
        """See ``objectives.training.timing.measure``."""
        from objectives.training.timing import measure

        return measure(spec, self.metric, self.train, batch=self.batch, repeats=self.repeats)


def fit(
    networks: list[ScaledNetwork], costs: list[float], options: CalibrateOptions, unit: str, device: str
) -> Calibration:
    """The cost model of the measured networks. Raises ``DataError`` where no axis costs anything."""
    from search.cost_fit import fit_exponents

    found = fit_exponents([network.realised for network in networks], costs)
    notes, exponents = [], []
    smallest = max(_SMALLEST, smallest_exponent(options.target))
    for axis, value, reach in zip(("depth", "width", "resolution"), found.exponents, found.half_widths, strict=True):
        exponents.append(value if value >= smallest else 0.0)
        if value < smallest:
            notes.append(f"{axis} costs nothing measurable ({value:.3f} +- {reach:.3f}): its exponent is taken as 0")
        elif value <= reach:
            notes.append(f"the exponent of {axis} is unsure ({value:.3f} +- {reach:.3f}): measure more often")
    if not any(exponents):
        raise DataError("expected a cost that grows with depth, width or resolution, got one that does not")
    if found.r_squared < 0.95:
        notes.append(
            f"the fit explains {found.r_squared:.1%} of the variance: measure on an idle machine, or more often"
        )
    depth, width, resolution = exponents
    model = CostModel(
        depth, width, resolution, options.target, options.metric if options.metric in COUNTED else "formula"
    )
    return Calibration(
        cost_model=model,
        measured=options.metric,
        unit=unit,
        estimates=found.exponents,
        half_widths=found.half_widths,
        r_squared=found.r_squared,
        points=len(networks),
        network=networks[0].base.name,
        device=device,
        notes=tuple(notes),
    )


if __name__ == "__main__":
    sys.exit(main())
