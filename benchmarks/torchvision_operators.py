"""What torchvision, and timm with it, need to be imported beside a torch without CUDA. Not a command."""

from __future__ import annotations

import torch

_declared: list[object] = []


def declare_operators() -> None:
    """Declare the two operators that torchvision describes to torch while it is imported.

    Its compiled part is built for CUDA and cannot be loaded beside a torch without CUDA, so that they are missing and
    the import fails. No network of ours uses them (non-maximum suppression of boxes).
    """
    if torch.version.cuda is None and not _declared and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _declared.append(library)  # a library that is collected takes its operators along
