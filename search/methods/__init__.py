"""The methods of a search, one file each: ``propose(history, count)`` gives the next points as plans. A file in this
folder is a method of the same name. Its ``NEEDS`` names the modules that it needs, with their packages. A method whose
points are all known in advance also has ``points(settings, cost_model)``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from typing import TYPE_CHECKING, Any

from phiscale.errors import SettingsError

if TYPE_CHECKING:
    from phiscale.triangle import CostModel, ScalingConstants
    from search.history import History
    from search.settings import SearchSettings
    from search.trial import Plan


def method_names() -> tuple[str, ...]:
    """All methods, in alphabetical order; a file whose name begins with an underscore is not one."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_")))


def propose(history: History, count: int) -> list[Plan]:
    """The next ``count`` points of the method; fewer where it has no more."""
    plans: list[Plan] = _module(history.settings.method).propose(history, count)
    return plans


def known_points(settings: SearchSettings, cost_model: CostModel) -> list[tuple[str, ScalingConstants]] | None:
    """All points of the method with their names; None for a method that proposes without end."""
    module = _module(settings.method)
    if not hasattr(module, "points"):
        return None
    points: list[tuple[str, ScalingConstants]] = module.points(settings, cost_model)
    return points


def check_method(settings: SearchSettings, cost_model: CostModel) -> None:
    """Raise ``SettingsError`` where the method lacks a package, or cannot search this surface."""
    from phiscale.triangle import active_axes

    module = _module(settings.method)
    needs: dict[str, str] = getattr(module, "NEEDS", {})
    missing = [package for name, package in needs.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"the method {settings.method} needs {', '.join(missing)}, which is not installed; "
            f"pip install {' '.join(missing)}, or use --method tpe"
        )
    fewest = getattr(module, "FEWEST_AXES", 2)
    if len(active_axes(cost_model)) < fewest:
        raise SettingsError(
            f"expected another method than {settings.method}, which needs {fewest} axes that enter the cost; use gp"
        )


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
