"""Other people's libraries in tests: there, or a failure where CI runs, and elsewhere a skip with the reason."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

import pytest

_declared: list[object] = []


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
        _declare_operators()
    return importlib.import_module(name)


def _declare_operators() -> None:
    """Declare the two operators that torchvision describes to torch while it is imported.

    Its compiled part is built for CUDA and cannot be loaded beside a torch without CUDA, so that they are missing and
    the import fails. No network of ours uses them (non-maximum suppression of boxes).
    """
    import torch

    if torch.version.cuda is None and not _declared and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)  # a library that is collected takes its operators along
