"""Python for torchvision.

The arguments are of ``EfficientNet``, where each setting holds those of ``MBConvConfig``, or with ``block`` fused of
``FusedMBConvConfig``; of ``ResNet``; or of ``ConvNeXt``, where each setting holds those of ``CNBlockConfig``.
Source: torchvision 0.28 ``efficientnet.py``, ``resnet.py``, ``convnext.py``.
"""

from __future__ import annotations

from typing import Any

from phiscale.export._library import (
    Architecture,
    Check,
    Library,
    block_inputs,
    check_convnext,
    check_stages,
    check_stem,
    check_strides,
)
from phiscale.export._python_text import Code, call, inline
from phiscale.export._recipe import round_channels, stage_channels, stage_repeats
from phiscale.network import ScaledNetwork

_CONFIGS = {"mbconv": "MBConvConfig", "fused": "FusedMBConvConfig"}
_RESNET_WIDTHS = 64, 128, 256, 512
"""Hidden channels of the stages of a ResNet, which stand in the code of torchvision."""


class _EfficientNet(Architecture):
    blocks = frozenset({"mbconv", "fused"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec = network.spec
        check_stem(spec, check)
        check.that(spec.activation == "silu", f"the activation is silu, not {spec.activation}")
        check.that(spec.head_channels > 0, "there is always a convolution before the pooling")
        for count in (spec.stem_channels, *stage_channels(spec)):
            check.that(round_channels(count, 8) == count, f"{count} channels are rounded to a multiple of 8")
        for stage, channels in block_inputs(spec):
            hidden, squeeze = stage.hidden_channels(channels), stage.squeeze_channels(channels)
            built = round_channels(channels * stage.expansion, 8)
            check.that(built == hidden, f"{hidden} hidden channels of a block are rounded to {built}, a multiple of 8")
            check.that(stage.expansion == 1 or hidden != channels, "an expansion that adds no channels is left out")
            built = 0 if stage.block == "fused" else max(1, channels // 4)
            check.that(built == squeeze, f"the squeeze-excitation has {built} channels, not {squeeze}")
            check.that(stage.stride <= 2, f"strides are 1 or 2, not {stage.stride}")
        settings = [
            {
                "block": stage.block,
                "expand_ratio": _number(stage.expansion),
                "kernel": stage.kernel,
                "stride": stage.stride,
                "input_channels": channels,
                "out_channels": stage.channels,
                "num_layers": stage.repeats,
            }
            for stage, channels in zip(spec.stages, (spec.stem_channels, *stage_channels(spec)), strict=False)
        ]
        return {
            "inverted_residual_setting": settings,
            "dropout": spec.dropout,
            "stochastic_depth_prob": spec.drop_path,
            "num_classes": spec.classes,
            "last_channel": spec.head_channels,
            "input_size": spec.resolution,
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        a = dict(arguments)
        side = a.pop("input_size")
        settings = [dict(setting) for setting in a.pop("inverted_residual_setting")]
        names = [_CONFIGS[setting.pop("block")] for setting in settings]
        rows = [Code(inline(name, setting)) for name, setting in zip(names, settings, strict=True)]
        return f"""from torchvision.models.efficientnet import {", ".join(sorted({"EfficientNet", *names}))}

INPUT_SIZE = (3, {side}, {side})
model = {call("EfficientNet", {"inverted_residual_setting": rows, **a})}
"""


class _ResNet(Architecture):
    blocks = frozenset({"basic", "bottleneck"})
    reads = frozenset({"stem"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec, kind = network.spec, network.spec.stages[0].block
        check_stem(spec, check, kernel=7)
        check.that(spec.stem == "conv-pool", f"the stem is conv-pool, not {spec.stem}")
        check.that(spec.activation == "relu", f"the activation is relu, not {spec.activation}")
        check.that(spec.head_channels == 0, "there is no convolution before the pooling")
        check.that(spec.dropout == 0 and spec.drop_path == 0, "a ResNet has neither dropout nor stochastic depth")
        check_stages(spec, check, block=kind, kernel=3, expansion=4 if kind == "bottleneck" else 1)
        widths = [stage.channels // stage.channel_unit for stage in spec.stages]
        fixed = ", ".join(map(str, _RESNET_WIDTHS))
        same = (spec.stem_channels, *widths) == (64, *_RESNET_WIDTHS)
        given = ", ".join(map(str, widths))
        check.that(
            same,
            f"a ResNet has {fixed} hidden channels after a stem of 64, not {given} after {spec.stem_channels}: "
            "its channels stand in its code",
        )
        check_strides(spec, check)
        return {
            "block": kind,
            "layers": list(stage_repeats(spec)),
            "num_classes": spec.classes,
            "input_size": spec.resolution,
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        a = dict(arguments)
        side, block = a.pop("input_size"), {"basic": "BasicBlock", "bottleneck": "Bottleneck"}[a.pop("block")]
        return f"""from torchvision.models.resnet import {block}, ResNet

INPUT_SIZE = (3, {side}, {side})
model = {call("ResNet", {"block": Code(block), **a})}
"""


class _ConvNeXt(Architecture):
    blocks = frozenset({"convnext"})
    reads = frozenset({"stem", "head_norm", "layer_scale"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec, scale = network.spec, network.spec.stages[0].layer_scale
        check_convnext(spec, check)
        check_stem(spec, check, kernel=4, stride=4)
        check.that(spec.activation == "gelu", f"the activation is gelu, not {spec.activation}")
        check.that(spec.dropout == 0, "a ConvNeXt has no dropout")
        check.that(scale > 0, "blocks always have a layer scale")
        check_stages(spec, check, kernel=7)
        check.that(spec.total_repeats > 1 or spec.drop_path == 0, "stochastic depth needs two blocks")
        widths: list[int | None] = [*stage_channels(spec), None]
        settings = [
            {"input_channels": width, "out_channels": following, "num_layers": stage.repeats}
            for stage, width, following in zip(spec.stages, widths, widths[1:], strict=False)
        ]
        return {
            "block_setting": settings,
            "stochastic_depth_prob": spec.drop_path,
            "layer_scale": scale,
            "num_classes": spec.classes,
            "input_size": spec.resolution,
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        a = dict(arguments)
        side = a.pop("input_size")
        rows = [Code(inline("CNBlockConfig", setting)) for setting in a.pop("block_setting")]
        return f"""from torchvision.models.convnext import CNBlockConfig, ConvNeXt

INPUT_SIZE = (3, {side}, {side})
model = {call("ConvNeXt", {"block_setting": rows, **a})}
"""


class Torchvision(Library):
    architectures = (_EfficientNet(), _ResNet(), _ConvNeXt())


def _number(value: float) -> float:
    """A whole number without its ``.0``."""
    return int(value) if float(value).is_integer() else value
