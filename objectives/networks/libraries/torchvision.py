"""Models of torchvision: ViT, ConvNeXt and EfficientNet, by the arguments of their classes.

Its other classes have no arguments for depth, or none for width: a ResNet's channels stand in its code.
Source: torchvision 0.28, ``vision_transformer.py``, ``convnext.py``, ``efficientnet.py``.
"""

from __future__ import annotations

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


def _vit(base: dict[str, Any]) -> tuple[Sizes, int | None]:
    def sizes(depth: float, width: float, resolution: int) -> dict[str, Any]:
        hidden, heads = attention(base["hidden_dim"], base["num_heads"], width)
        return {
            "image_size": resolution,
            "num_layers": layers([base["num_layers"]], depth)[0],
            "num_heads": heads,
            "hidden_dim": hidden,
            "mlp_dim": base["mlp_dim"] * hidden // base["hidden_dim"],
        }

    return sizes, base["patch_size"]


def _convnext(base: dict[str, Any]) -> tuple[Sizes, int | None]:
    parts = base["block_setting"]

    def block(part: Any, repeats: int, width: float) -> Call:
        sizes = {"input_channels": channels(part.input_channels, width), "num_layers": repeats}
        last = None if part.out_channels is None else channels(part.out_channels, width)
        return {"call": "torchvision.models.convnext.CNBlockConfig", "arguments": {**sizes, "out_channels": last}}

    def sizes(depth: float, width: float, _: int) -> dict[str, Any]:
        repeats = layers([part.num_layers for part in parts], depth)
        return {"block_setting": [block(part, count, width) for part, count in zip(parts, repeats, strict=True)]}

    return sizes, None


def _efficientnet(base: dict[str, Any]) -> tuple[Sizes, int | None]:
    def block(part: Any, depth: float, width: float) -> Call:
        names = "expand_ratio", "kernel", "stride", "input_channels", "out_channels", "num_layers"
        arguments = {**{name: getattr(part, name) for name in names}, "width_mult": width, "depth_mult": depth}
        return {"call": f"torchvision.models.efficientnet.{type(part).__name__}", "arguments": arguments}

    def sizes(depth: float, width: float, _: int) -> dict[str, Any]:
        key = "inverted_residual_setting"
        return {key: [block(part, depth, width) for part in base[key]]}

    return sizes, None


_FAMILIES = {
    "_convnext": ("ConvNeXt", _convnext, ("block_setting",)),
    "_efficientnet": ("EfficientNet", _efficientnet, ("inverted_residual_setting",)),
    "_vision_transformer": ("VisionTransformer", _vit, ()),
}
"""By the function of torchvision that makes a model: its class, its sizes, and arguments that are no plain values."""


class Torchvision(Library):
    def networks(self, model: str) -> LibraryNetworks:
        models = self.imported("torchvision.models")
        if model not in models.list_models(models):
            self.unknown(model, models.list_models(models))
        found = recorded(getattr(models, model), _FAMILIES)
        if found is None:
            known = ", ".join(name for name, *_ in _FAMILIES.values())
            self.refuse(model, f"torchvision has no arguments for its depth and width, only for those of {known}")
        creator, base = found
        class_name, family, parts = _FAMILIES[creator]
        fixed = self.plain(model, base, ("weights", "progress", *parts))
        sizes, multiple = family(base)

        def scale(depth: float, width: float, resolution: int) -> Call:
            arguments = {**fixed, **sizes(depth, width, resolution)}
            return {"call": f"torchvision.models.{class_name}", "arguments": arguments}

        return LibraryNetworks(scale, multiple)
