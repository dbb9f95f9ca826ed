"""Models of timm.

ResNet, ConvNeXt and ViT take their sizes as arguments of ``timm.create_model``. Models of the EfficientNet kind do not:
their sizes are multipliers that their own entry gives to a function of timm, which is called in its place.
Source: timm 1.0.31, ``resnet.py``, ``convnext.py``, ``vision_transformer.py``, ``efficientnet.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from objectives.networks.libraries._library import (
    Call,
    Library,
    LibraryNetworks,
    Sizes,
    attention,
    channels,
    layers,
    recorded,
)


def _resnet(base: dict[str, Any]) -> tuple[Sizes, int | None]:
    widths, stem = base.get("channels", (64, 128, 256, 512)), base.get("stem_width", 64)

    def sizes(depth: float, width: float, _: int) -> dict[str, Any]:
        return {
            "layers": layers(base["layers"], depth),
            "channels": [channels(count, width) for count in widths],
            "stem_width": channels(stem, width),
        }

    return sizes, None


def _convnext(base: dict[str, Any]) -> tuple[Sizes, int | None]:
    def sizes(depth: float, width: float, _: int) -> dict[str, Any]:
        return {
            "depths": layers(base["depths"], depth),
            "dims": [channels(count, width) for count in base["dims"]],
        }

    return sizes, None


def _vit(base: dict[str, Any]) -> tuple[Sizes, int | None]:
    def sizes(depth: float, width: float, resolution: int) -> dict[str, Any]:
        embedding, heads = attention(base.get("embed_dim", 768), base.get("num_heads", 12), width)
        (blocks,) = layers([base.get("depth", 12)], depth)
        return {"img_size": resolution, "embed_dim": embedding, "depth": blocks, "num_heads": heads}

    return sizes, base.get("patch_size", 16)


_FAMILIES = {
    "_create_convnext": _convnext,
    "_create_deit": _vit,
    "_create_resnet": _resnet,
    "_create_vision_transformer": _vit,
}
"""By the function of timm that makes a model: from the arguments that it is given for this one."""
_GENERATED = "channel_multiplier", "depth_multiplier"
"""Arguments of the functions that make models of the EfficientNet kind."""


class Timm(Library):
    def networks(self, model: str) -> LibraryNetworks:
        timm = self.imported("timm")
        if not timm.is_model(model):
            self.unknown(model, timm.list_models())
        entry = timm.models.model_entrypoint(model)
        creators = [name for name in entry.__code__.co_names if name.startswith(("_create_", "_gen_"))]
        found = recorded(entry, creators)
        if found is None:
            self.refuse(model, "it is not made as other models of timm are")
        creator, base = found
        if creator.startswith("_gen_"):
            return self._generated(model, entry.__globals__[creator], base)
        if creator not in _FAMILIES:
            known = ", ".join(name.removeprefix("_create_") for name in _FAMILIES)
            self.refuse(model, f"its arguments of depth and width are not known here, only those of {known}")
        sizes, multiple = _FAMILIES[creator](base)

        def scale(depth: float, width: float, resolution: int) -> Call:
            return {"call": "timm.create_model", "arguments": {"model_name": model, **sizes(depth, width, resolution)}}

        return LibraryNetworks(scale, multiple)

    def _generated(self, model: str, creator: Callable[..., Any], base: dict[str, Any]) -> LibraryNetworks:
        parameters = inspect.signature(creator).parameters
        for name in _GENERATED:
            if name not in parameters:
                self.refuse(model, f"timm gives it no {name.replace('_', ' ')}")
        fixed = self.plain(model, base, (*_GENERATED, "pretrained"))
        first = {name: float(base.get(name, parameters[name].default)) for name in _GENERATED}

        def scale(depth: float, width: float, _: int) -> Call:
            factors = dict(zip(_GENERATED, (width, depth), strict=True))
            sizes = {name: first[name] * factor for name, factor in factors.items()}
            return {"call": f"{creator.__module__}.{creator.__name__}", "arguments": {**fixed, **sizes}}

        return LibraryNetworks(scale)
