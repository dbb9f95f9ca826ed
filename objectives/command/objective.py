"""The objective of a user's own training: a command that runs for every trial and prints its score.

Run: phiscale search --study mine --command "python train.py --depth {depth} --width {width}
     --resolution {resolution} --seed {seed}"
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from objectives.command.output import read_scores
from objectives.command.running import Ended, run_to_end
from objectives.command.template import PLACEHOLDERS, SPLIT, Template
from objectives.contract import Evaluation
from objectives.growth import Growth, TrainableNetwork
from phiscale import checks
from phiscale.errors import SettingsError, TrialError
from phiscale.files import write_text
from phiscale.network import ScaledNetwork
from phiscale.scaling import multipliers
from phiscale.triangle import CostModel, Multipliers, ScalingConstants

Split = Literal["validation", "test"]
LONGEST_TIMEOUT = 2e6
"""Seconds. The system call that waits for output takes at most 2^31 milliseconds."""


@dataclass(frozen=True, kw_only=True)
class CommandSettings:
    """Your own training as a command."""

    command: str | None = None
    """Your own training, instead of the built-in one: "python train.py --depth {depth} --width {width} --resolution
    {resolution} --seed {seed}". Its last line of JSON is the score: {"score": 0.71} (docs/howto/command.md)."""
    command_timeout: float | None = None
    """Seconds after which the command and everything it started are ended, and the trial fails."""
    command_folder: Path = Path()
    """Folder in which the command runs. Default: the current one."""
    command_rungs: str = ""
    """Lengths, in images seen, at which the command prints a score, with commas between: 20000,40000,80000. A horizon
    needs them."""
    command_score: str = "score"
    """Name of the command's score. An accuracy is extrapolated by its error rate."""
    command_classes: int | None = None
    """Classes of the network that is counted. Default: those of --network; 1000 for --factory."""

    def __post_init__(self) -> None:
        if self.command is None:
            given = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
            if given:
                raise SettingsError(f"expected --{given[0].replace('_', '-')} with --command, got it without; add that")
        if self.command_timeout is not None:
            checks.positive("command_timeout", self.command_timeout, SettingsError)
            if self.command_timeout > LONGEST_TIMEOUT:
                raise SettingsError(
                    f"expected --command-timeout of at most {LONGEST_TIMEOUT:.0f} seconds (23 days), got "
                    f"{self.command_timeout:g}; leave it out for no time-out"
                )
        if self.command_classes is not None:
            checks.whole("command_classes", self.command_classes, SettingsError)
        checks.text("command_score", self.command_score, SettingsError)
        _ = self.rungs

    @property
    def rungs(self) -> tuple[int, ...]:
        """The given lengths. Raises ``SettingsError`` for anything else."""
        parts = [part.strip() for part in self.command_rungs.split(",")] if self.command_rungs else []
        found = tuple(int(part) if part.isdecimal() and len(part) < 19 else 0 for part in parts)
        if any(length < 1 for length in found) or found != tuple(sorted(set(found))):
            raise SettingsError(
                f"expected --command-rungs as whole numbers in rising order with commas between, got "
                f"{self.command_rungs!r}"
            )
        return found


class CommandObjective:
    """Scores constants by a command.

    With a ``growth`` the command gets the sizes of its networks, whose cost is counted; without one the constants to
    the power of ``phi``. ``epochs`` and ``images`` are the length of a training, if given; ``split`` names the images
    to score on; ``logs`` is the folder of the logs, one for each network (or constants) and seed. Raises
    ``SettingsError`` for a command that cannot be run.
    """

    def __init__(
        self,
        settings: CommandSettings,
        cost_model: CostModel,
        *,
        logs: Path,
        growth: Growth | None = None,
        phi: float = 2.0,
        direction: str = "maximize",
        epochs: float | None = None,
        images: int | None = None,
        split: Split = "validation",
    ) -> None:
        if not hasattr(os, "killpg"):
            raise SettingsError("expected Linux or macOS for --command; use --objective")
        self.settings, self.growth, self.direction, self.split = settings, growth, direction, split
        self.logs, self.folder = logs.absolute(), settings.command_folder.absolute()
        self.phi = growth.phi if growth else checks.real("phi", phi, SettingsError)
        self.rungs = settings.rungs or ((images,) if images else ())
        self.length = {"epochs": epochs} if epochs else {"images_seen": images} if images else {}
        self._fixed = {"epochs": epochs, "images": images, "rungs": settings.command_rungs or None}
        needless = {"pixels", "spec"} if growth is None else set()
        needless |= {name for name, value in self._fixed.items() if value is None}
        self.template = Template.parse(
            settings.command or "",
            available=PLACEHOLDERS.keys() - needless,
            axes=[axis for axis in ("depth", "width", "resolution") if getattr(cost_model, axis)],
        )
        self._check_place()

    def describe(self) -> dict[str, object]:
        """JSON values; two objectives with equal ones give comparable scores."""
        return {
            "objective": {"command": self.settings.command},
            "score": self.settings.command_score,
            "phi": float(self.phi),
            **(self.growth.describe() if self.growth else {}),
            **({"train": self.length} if self.length else {}),
            **({"rungs": list(self.rungs)} if self.rungs else {}),
        }

    def network(self, constants: ScalingConstants) -> TrainableNetwork | None:
        """The network that is counted; None without a growth. Raises ``BudgetError`` where none meets the budget."""
        return self.growth.network(constants) if self.growth else None

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        """Run the command once. Raises ``TrialError`` (see ``run_to_end`` and ``read_scores``), ``BudgetError``."""
        return self.evaluate_network(self.network(constants), constants, phi=self.phi, seed=seed)

    def evaluate_network(
        self, network: TrainableNetwork | None, constants: ScalingConstants, *, phi: float, seed: int
    ) -> Evaluation:
        """The same for the network of these constants at any size."""
        started = time.perf_counter()
        ended = run_to_end(
            self.template.fill(self._values(network, constants, phi, seed)),
            folder=self.folder,
            log=self.logs / f"{_key(network, constants)}-seed-{seed}.log",
            timeout=self.settings.command_timeout,
        )
        score, rungs = self._scores(ended)
        seconds = time.perf_counter() - started
        return Evaluation(score=score, seconds=seconds, device="unknown", network=network, rungs=rungs)

    def _scores(self, ended: Ended) -> tuple[float, dict[int, float]]:
        try:
            found = read_scores(ended.said)
        except TrialError as error:
            raise TrialError(error.kind, f"{error}; its last lines: {ended.last}") from None
        if isinstance(found, float):
            return found, ({self.rungs[0]: found} if len(self.rungs) == 1 else {})
        return list(found.values())[-1], found

    def _values(
        self, network: TrainableNetwork | None, constants: ScalingConstants, phi: float, seed: int
    ) -> dict[str, str]:
        """A text for each placeholder that the command has."""
        sizes = network.realised if network else _rounded(multipliers(constants, phi))
        alpha, beta, gamma = constants.as_tuple()
        values = {**vars(sizes), "alpha": alpha, "beta": beta, "gamma": gamma, "phi": phi, "seed": seed, **self._fixed}
        values[SPLIT] = self.split
        if network:
            values["pixels"] = network.resolution
        if network and "spec" in self.template.names:
            values["spec"] = self._write_spec(network)
        return {name: _plain(value) for name, value in values.items()}

    def _write_spec(self, network: TrainableNetwork) -> Path:
        """A file of the network: its spec, or the call that makes it, as JSON."""
        plain = network.spec.to_dict() if isinstance(network, ScaledNetwork) else network.spec.call
        path = self.logs / f"{network.fingerprint}.json"
        write_text(path, json.dumps(plain, indent=2) + "\n")
        return path

    def _check_place(self) -> None:
        """Raise ``SettingsError`` if the working folder or the program does not exist."""
        folder, program = self.folder, self.template.words[0]
        if not folder.is_dir():
            raise SettingsError(f"expected --command-folder to be a folder, got {folder}")
        found = folder / program if "/" in program else Path(program)
        if "{" not in program and shutil.which(found) is None:
            wrong = "not executable; use chmod +x" if "/" in program and found.is_file() else "not found"
            raise SettingsError(f"expected --command to begin with a program, got {program!r}, which is {wrong}")


def _rounded(sizes: Multipliers) -> Multipliers:
    """The value without the rounding error of a power: int(32 * 1.9999999999999996) would be one pixel less."""
    return Multipliers(*(float(f"{value:.12g}") for value in vars(sizes).values()))


def _plain(value: object) -> str:
    """A number with the fewest digits that reproduce it; a whole one without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _key(network: TrainableNetwork | None, constants: ScalingConstants) -> str:
    """The name of a network's log; without a network that of the constants, as in trials.csv."""
    return network.fingerprint if network else "_".join(map(repr, constants.as_tuple()))
