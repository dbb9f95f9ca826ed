"""The package as a whole: its public names, its errors, what it imports and how fast, and what is shipped with it."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import resources
from pathlib import Path

import pytest

import phiscale
from phiscale import errors
from phiscale.commands import COMMANDS, SCRIPTS

ROOT = Path(__file__).parent.parent

EXPORTED = """
ACTIVATIONS BASELINES CONVNEXT_T EFFICIENTNETV2_B0 EFFICIENTNETV2_S EFFICIENTNET_B0 EFFICIENTNET_TABLE FLOPS MOBILENETV2
PARAMETERS PROXY_BASE PUBLISHED_RULES RESNET_18 RESNET_50 ROUNDINGS
BudgetError ConstraintError Cost CostModel DataError Estimate FamilyMember FileError Horizon Length Multipliers
NetworkSpec Observed PhiscaleError PublishedMember PublishedRule RecordError Rounding ScaledNetwork ScalingConstants
SearchRecord SettingsError Shares SpecError StageSpec StudyError TrialError check_on_surface constants_from_shares
count_cost efficientnet_scaling format_family generate_family load_network match_budget multipliers parse_phis
published_family scale_network shares_from_constants shares_of_direction
"""


def test_public_names() -> None:
    assert phiscale.__all__ == EXPORTED.split()
    # Constants, then classes, then functions, as ruff sorts them.
    assert phiscale.__all__ == sorted(phiscale.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert all(hasattr(phiscale, name) for name in phiscale.__all__)


def test_every_public_class_and_function_is_described() -> None:
    things = [getattr(phiscale, name) for name in phiscale.__all__]
    described = [thing for thing in things if inspect.isclass(thing) or inspect.isfunction(thing)]
    assert len(described) > 30
    assert [thing for thing in described if not inspect.getdoc(thing)] == []
    # A dataclass without a text of its own gets its signature.
    assert [thing for thing in described if (inspect.getdoc(thing) or "").startswith(f"{thing.__name__}(")] == []


def test_every_module_says_what_it_is_for() -> None:
    for path in (ROOT / "phiscale").glob("*.py"):
        assert path.read_text(encoding="utf-8").startswith('"""'), path


def test_the_tree_of_errors() -> None:
    kinds = {
        "ConstraintError": ValueError,
        "SpecError": ValueError,
        "BudgetError": ValueError,
        "RecordError": ValueError,
        "SettingsError": ValueError,
        "FileError": OSError,
        "DataError": ValueError,
        "StudyError": RuntimeError,
        "TrialError": RuntimeError,
    }
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(classes) == {*kinds, "PhiscaleError"}
    for name, kind in kinds.items():
        assert classes[name].__mro__[1:3] == (phiscale.PhiscaleError, kind)
        assert re.search(rf"-- {name} +\({kind.__name__}\)", errors.__doc__ or ""), name


def test_a_trial_error_carries_its_kind() -> None:
    error = phiscale.TrialError("diverged", "the loss is not finite")
    assert (error.kind, str(error)) == ("diverged", "the loss is not finite")


def fresh(code: str) -> str:
    """What a new interpreter prints, without the packages that the environment would load at its start."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=variables, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize("module", ["phiscale", "phiscale.cli"])
def test_imports_the_standard_library_only(module: str) -> None:
    loaded = fresh(f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))").split()
    assert set(loaded) - set(sys.stdlib_module_names) <= {"phiscale", "__main__"}


def test_help_loads_nothing_else_either() -> None:
    code = """
import contextlib, io, sys
from phiscale.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["--help"])
print(*{name.split(".")[0] for name in sys.modules})
"""
    assert set(fresh(code).split()) - set(sys.stdlib_module_names) <= {"phiscale", "__main__"}


def test_imports_fast() -> None:
    # 30 to 50 ms, by the machine and what else runs on it: so it is held against what it needs of the standard library.
    code = """
from time import process_time as now
start = now()
import csv, dataclasses, json, pathlib, re, urllib.parse
needed = now()
import phiscale
print((now() - start) / (needed - start))
"""
    best = min(float(fresh(code)) for _ in range(5))
    assert best < 3.5


def test_what_is_shipped() -> None:
    files = {path.name for path in resources.files("phiscale").iterdir()}
    assert {"py.typed", "record.schema.json"} <= files
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["phiscale"]
    assert project["project"]["dependencies"] == []
    assert project["project"]["version"] == phiscale.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("phiscale-*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def alone(wheel: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of the wheel in an interpreter that finds no other package."""
    variables = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-S", "-P", "-m", "phiscale", *words]
    return subprocess.run(command, cwd=wheel, env=variables, capture_output=True, text=True, timeout=60, check=False)


def test_the_wheel_holds_phiscale_alone_and_needs_nothing(wheel: Path) -> None:
    assert {path.name.split("-")[0] for path in wheel.iterdir()} == {"phiscale"}
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    required = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    assert [line for line in required if "extra ==" not in line] == []


@pytest.mark.parametrize("to", ["timm", "torchvision", "keras", "transformers", "json", "toml", "csv", "python"])
def test_the_wheel_gives_export_arguments_without_torch(wheel: Path, to: str) -> None:
    probe = "import importlib.util as u; print([n for n in ('torch', 'numpy', 'optuna', 'timm') if u.find_spec(n)])"
    variables = {**os.environ, "PYTHONPATH": str(wheel)}
    found = subprocess.run([sys.executable, "-S", "-P", "-c", probe], env=variables, capture_output=True, text=True)
    assert found.stdout == "[]\n"
    done = alone(wheel, "export", "--published", "b3", "--to", to)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12,233,232" in done.stdout or "12233232" in done.stdout


@pytest.mark.parametrize("name", [name for group in COMMANDS.values() for name in group])
def test_the_wheel_runs_its_own_commands_and_says_what_the_others_need(wheel: Path, name: str) -> None:
    done = alone(wheel, name, "--help")
    if name not in SCRIPTS:
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"phiscale: expected a checkout for phiscale {name}, got the installed package alone; "
        "in a clone of the repository run: pip install --editable '.[search]'\n"
    )


def test_golden_data_names_its_source() -> None:
    for path in (ROOT / "tests" / "golden").glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["source"], path
