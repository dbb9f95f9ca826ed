"""A network as an ONNX file, and the check that onnxruntime computes from it what torch computes.

Needs the packages onnx, onnxscript and onnxruntime (the extra ``interop``); they are loaded when a function is called.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from phiscale.errors import DataError, SettingsError
from phiscale.files import write_bytes
from phiscale.spec import NetworkSpec


def network_with_weights(network: nn.Module, path: str | Path | None) -> nn.Module:
    """The network with the state dictionary of ``path``, for evaluation.

    Without a path every batch normalisation gets weight 1. A fresh network multiplies its residual branches by 0, so
    errors in them could not be detected. Raises ``DataError`` for a file of other weights.
    """
    if path is None:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
        return network.eval()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001 - a damaged file fails in many ways
        reason = str(error).splitlines()[0]
        raise DataError(f"expected {path} to hold the state dictionary of this network, got: {reason}") from None
    return network.eval()


def to_onnx(network: nn.Module, spec: NetworkSpec) -> bytes:
    """The network as an ONNX file: input ``images`` (n, in_channels, side, side), output ``logits`` (n, classes).

    n is free, the side is the spec's. Raises ``SettingsError`` where a package is missing.
    """
    images = torch.zeros(2, spec.in_channels, spec.resolution, spec.resolution)
    try:
        with warnings.catch_warnings():
            # torch.export copies its own tree specs in a way that torch itself has deprecated (torch 2.13).
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
            program = torch.onnx.export(
                network, (images,), dynamo=True, verbose=False, input_names=["images"], output_names=["logits"],
                dynamic_shapes={"images": {0: "n"}},
            )  # fmt: skip
    except ImportError as error:
        raise _missing(error) from None
    content: bytes = cast("torch.onnx.ONNXProgram", program).model_proto.SerializeToString()
    return content


def largest_difference(network: nn.Module, content: bytes, images: Tensor) -> float:
    """Largest difference of any logit between torch and onnxruntime on the CPU, over the largest logit."""
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing(error) from None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    with torch.no_grad():
        expected = network(images)
    return float((torch.from_numpy(logits) - expected).abs().max() / expected.abs().max())


def write_checked(network: nn.Module, spec: NetworkSpec, path: str | Path, *, seed: int = 0) -> float:
    """Write the file after the check on three random images, and return the largest relative difference.

    Raises ``DataError`` above 1e-4, ``FileError`` where the file cannot be written.
    """
    content = to_onnx(network, spec)
    generator = torch.Generator().manual_seed(seed)
    shape = 3, spec.in_channels, spec.resolution, spec.resolution
    difference = largest_difference(network, content, torch.randn(shape, generator=generator))
    if not difference <= _LARGEST_DIFFERENCE:
        raise DataError(
            f"expected onnxruntime to compute what torch computes, within {_LARGEST_DIFFERENCE:g} of the largest "
            f"logit, got {difference:.3g}; the file is not written"
        )
    write_bytes(path, content)
    return difference


_LARGEST_DIFFERENCE = 1e-4
"""Rounding in float32 stays far below this; a wrong layer exceeds it."""


def _missing(error: ImportError) -> SettingsError:
    return SettingsError(
        f"expected onnx, onnxscript and onnxruntime to be installed ({error}); pip install '.[interop]'"
    )
