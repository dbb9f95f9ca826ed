"""Other people's libraries in tests: there, or a failure where CI runs, and elsewhere a skip with the reason."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

import pytest


def require(name: str, *, extra: str = "interop") -> ModuleType:
    """The module; without its package the test fails where the variable CI is set, and is skipped elsewhere."""
    package = name.split(".")[0]
    if importlib.util.find_spec(package) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{package} is not installed; this test must run in CI: pip install '.[{extra}]'")
        pytest.skip(f"{package} is not installed: pip install '.[{extra}]'")
    if package == "keras":
        os.environ.setdefault("KERAS_BACKEND", "torch")
    if package in ("timm", "torchvision"):  # timm imports torchvision
        from benchmarks.torchvision_operators import declare_operators

        declare_operators()
    return importlib.import_module(name)
