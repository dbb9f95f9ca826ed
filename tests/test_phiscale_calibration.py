"""The cost model file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from phiscale import CostModel, RecordError
from phiscale.calibration import Calibration

GOOD = Calibration(
    cost_model=CostModel(0.9, 1.2, 1.8, 2.0, "formula"),
    measured="latency",
    unit="seconds",
    estimates=(0.9, 1.2, 1.8),
    half_widths=(0.1, 0.1, 0.2),
    r_squared=0.99,
    points=27,
    network="proxy-base",
    device="cpu",
    notes=("a caution",),
)


def test_there_and_back(tmp_path: Path) -> None:
    GOOD.save(tmp_path / "m.json")
    assert Calibration.load(tmp_path / "m.json") == GOOD


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Calibration)] + ["format", "version"])
@pytest.mark.parametrize("value", [None, "", -1, [], {}, [1, "x", 3], {"depth": 1}])
def test_damage_is_one_clear_error(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "m.json"
    GOOD.save(path)
    plain = json.loads(path.read_text())
    if (name, value) in (("notes", []), ("r_squared", -1)):
        pytest.skip("a possible value")
    plain[name] = value
    path.write_text(json.dumps(plain))
    with pytest.raises(RecordError, match=r"m\.json"):
        Calibration.load(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "phiscale-search-record"}', "\x00", '{"a": NaN}'])
def test_another_file_is_no_cost_model(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(RecordError, match=r"m\.json"):
        Calibration.load(tmp_path / "m.json")
    with pytest.raises(RecordError, match="cannot read"):
        Calibration.load(tmp_path / "none.json")
