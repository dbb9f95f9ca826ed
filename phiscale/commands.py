"""The commands by name, and the start of those that only a checkout has: the files in ``scripts/``.

Nothing of ``scripts/`` is imported here, which the layers contract forbids: its commands are started by name, when one
is asked for, as ``phiscale confirm`` starts it.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phiscale.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds ``phiscale``: the checkout, unless the package is installed alone."""


@dataclass(frozen=True)
class Command:
    """A command as the overview shows it."""

    help: str
    script: str | None = None
    """Its file in ``scripts/``; None for a command of this package."""


COMMANDS = {
    "search": {
        "search": Command("find the constants for your network, data and training length", "run_search"),
        "confirm": Command("test them with fresh seeds on images that the search never saw", "confirm"),
        "check": Command("test whether short trainings order networks as long ones do", "check_proxy"),
        "calibrate": Command("fit what depth, width and resolution cost on this device", "calibrate_cost"),
        "reproduce": Command("run the evidence on one data set from beginning to end", "reproduce"),
    },
    "look at a study": {
        "show": Command("what a search found, and how sure it is"),
        "report": Command("write the report of a study, or print it as text or JSON", "report"),
        "dashboard": Command("follow a study in the browser while it runs", "dashboard"),
    },
    "use the constants": {
        "family": Command("the networks of a phi family, with their counted cost"),
        "scale": Command("depth, width and resolution after phi growth steps, truncated"),
        "export": Command("one network as arguments of timm, torchvision, Keras, ..."),
        "onnx": Command("write one network as a checked ONNX file", "export_onnx"),
    },
}
"""By the group in which the overview shows them."""

SCRIPTS = {name: found.script for group in COMMANDS.values() for name, found in group.items() if found.script}

_MODULES = {"pillow": "PIL"}
"""Packages whose module has another name."""


def overview() -> str:
    """All commands, one line each."""
    lines = []
    for group, commands in COMMANDS.items():
        lines += ["", f"{group}:", *(f"  {name:<12}{command.help}" for name, command in commands.items())]
    return "\n".join(lines[1:])


def start(name: str, words: Sequence[str]) -> int:
    """Run a command of the checkout with these options; its exit status.

    Raises ``SettingsError`` if there is no checkout, or if a package that the command needs is not installed.
    """
    script = SCRIPTS[name]
    if not (ROOT / "scripts" / f"{script}.py").is_file():
        raise SettingsError(
            f"expected a checkout for phiscale {name}, got the installed package alone; in a clone of the repository "
            "run: pip install --editable '.[search]'"
        )
    _search_here_last()
    sys.argv[1:] = words
    try:
        status: int = importlib.import_module(f"scripts.{script}").main()
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        extra = _extras().get(package)
        if extra is None:
            raise
        raise SettingsError(
            f"expected the package {package} for phiscale {name}, which is not installed; run: "
            f"pip install --editable '{ROOT}[{extra}]'"
        ) from None
    return status


def _search_here_last() -> None:
    """Let modules be found in the checkout first and in the current folder last, here and in the processes of a study.

    A user's folder may have the name of one of our packages, and their own modules are found by name.
    """
    here = str(Path.cwd())
    if sys.path and sys.path[0] in ("", here):  # where python -m puts the current folder
        del sys.path[0]
    sys.path[:] = [str(ROOT), *(place for place in sys.path if place != str(ROOT))]
    if here not in sys.path:
        sys.path.append(here)


def _extras() -> dict[str, str]:
    """The extra of each package that the checkout may need, by the name of its module."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {}
    for extra, requirements in project["optional-dependencies"].items():
        for requirement in requirements:
            package = re.split(r"[^\w.-]", requirement)[0].replace("-", "_")
            found[_MODULES.get(package, package)] = extra
    return found
