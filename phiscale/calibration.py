"""A measured cost model as a file: exponents fitted to a device, with how well they fit.

``phiscale calibrate`` writes it; ``phiscale search --cost-model FILE`` searches on its surface.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phiscale import checks
from phiscale.errors import PhiscaleError, RecordError
from phiscale.files import read_json, write_text
from phiscale.triangle import METRICS, CostModel

FORMAT = "phiscale-cost-model"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A cost model and where it comes from."""

    cost_model: CostModel
    """Exponents (negative estimates are taken as 0), target and metric."""
    measured: str
    """What was measured, e.g. ``latency``."""
    unit: str
    """Unit of the measurement, e.g. ``seconds``."""
    estimates: tuple[float, float, float]
    """Exponents of depth, width and resolution as fitted."""
    half_widths: tuple[float, float, float]
    """Half of their 95 % intervals."""
    r_squared: float
    """Part of the variance of the log cost that the exponents explain."""
    points: int
    """Networks that were measured."""
    network: str
    """Name of the baseline."""
    device: str
    """What it was measured on, and how: threads, precision, batch, and whether a GPU replayed the training step."""
    notes: tuple[str, ...] = ()
    """Cautions, each a sentence."""

    def save(self, path: str | Path) -> None:
        """Write as JSON in one step. Raises ``FileError``."""
        plain = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        write_text(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a file that ``save`` wrote. Raises ``RecordError`` that names the file and what is wrong with it."""
        value = read_json(path, "cost model", RecordError)
        try:
            return cls(**_fields(value))
        except PhiscaleError as error:
            raise RecordError(f"{path}: {error}") from None


def _fields(value: object) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RecordError(f'expected a file with "format": "{FORMAT}", got something else; is it another file?')
    if value.get("version") != VERSION:
        raise RecordError(f"expected version {VERSION}, got {value.get('version')!r}; calibrate again")
    names = {field.name for field in dataclasses.fields(Calibration)}
    plain = dict(checks.exact_keys("the cost model file", value, {"format", "version", *names}, RecordError))
    del plain["format"], plain["version"]
    model_names = {field.name for field in dataclasses.fields(CostModel)}
    model = checks.exact_keys("cost_model", plain["cost_model"], model_names, RecordError)
    if model["metric"] not in METRICS:
        raise RecordError(f"expected a metric of {', '.join(METRICS)}, got {model['metric']!r}")
    plain["cost_model"] = CostModel(**model)
    for name in ("estimates", "half_widths"):
        numbers = plain[name]
        if not isinstance(numbers, list) or len(numbers) != 3:
            raise RecordError(f"expected three numbers as {name}, got {numbers!r}")
        plain[name] = tuple(checks.real(name, number, RecordError) for number in numbers)
    checks.real("r_squared", plain["r_squared"], RecordError)
    checks.whole("points", plain["points"], RecordError)
    for name in ("measured", "unit", "network", "device"):
        checks.text(name, plain[name], RecordError)
    if not isinstance(plain["notes"], list):
        raise RecordError(f"expected notes to be a list, got {plain['notes']!r}")
    plain["notes"] = tuple(checks.text("a note", note, RecordError) for note in plain["notes"])
    return plain
