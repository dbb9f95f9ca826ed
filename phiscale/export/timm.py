"""Python for timm.

Blocks of MBConv and fused MBConv: the arguments are of ``decode_arch_def`` (``arch_def``, ``depth_multiplier``), of
``round_channels`` (``channel_multiplier``, ``channel_divisor``) and of ``EfficientNet`` (the others; ``act_layer`` by
name). Blocks of ResNet: of ``ByoModelCfg`` (``blocks`` as arguments of ``ByoBlockCfg``) and of ``ByobNet``, since the
class ``ResNet`` has a stem of 64 channels in its code. ConvNeXt: of ``ConvNeXt``.
Source: timm 1.0 ``efficientnet.py``, ``_efficientnet_builder.py``, ``byobnet.py``, ``convnext.py``.
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
    check_stem_stride,
)
from phiscale.export._python_text import Code, call, inline, literal
from phiscale.export._recipe import Recipe, find_recipe, round_channels, stage_channels, stage_repeats
from phiscale.network import ScaledNetwork
from phiscale.spec import NetworkSpec, StageSpec

_TORCH_ACTIVATIONS = {"silu": "nn.SiLU", "relu": "nn.ReLU", "relu6": "nn.ReLU6", "gelu": "nn.GELU"}
_KINDS = {("mbconv", False): "ir", ("mbconv", True): "ds", ("fused", False): "er", ("fused", True): "cn"}
"""Names of timm by kind of block, and whether it lacks an expansion."""
_RESNET_BLOCKS = {"basic": "basic", "bottleneck": "bottle"}
_STEM_POOLS = {"conv": "", "conv-pool": "maxpool"}
_RESNET_SETTINGS = "blocks", "stem_type", "stem_pool", "stem_chs", "num_features", "act_layer"
"""Arguments of ``ByoModelCfg``; the others are of ``ByobNet``."""


def _of_every_model(spec: NetworkSpec) -> dict[str, Any]:
    """The arguments that all of timm's classes call alike."""
    return {
        "act_layer": spec.activation,
        "num_classes": spec.classes,
        "in_chans": spec.in_channels,
        "drop_rate": spec.dropout,
        "drop_path_rate": spec.drop_path,
        "input_size": spec.resolution,
    }


class _EfficientNet(Architecture):
    blocks = frozenset({"mbconv", "fused"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec = network.spec
        check_stem_stride(spec, check)
        for stage, channels in block_inputs(spec):
            hidden, squeeze = stage.hidden_channels(channels), stage.squeeze_channels(channels)
            if stage.expansion != 1:
                built = round_channels(channels * stage.expansion, 8)
                check.that(
                    built == hidden, f"{hidden} hidden channels of a block are rounded to {built}, a multiple of 8"
                )
            single = stage.block == "fused" and stage.expansion == 1
            built = 0 if single else round(hidden * (stage.se_ratio / stage.expansion))
            check.that(built == squeeze, f"the squeeze-excitation has {built} channels, not {squeeze}")
        recipe = find_recipe(network) or Recipe(stage_channels(spec), stage_repeats(spec), spec.stem_channels)
        return {
            "arch_def": [
                [_timm_stage(stage, repeats, channels)]
                for stage, repeats, channels in zip(spec.stages, recipe.repeats, recipe.channels, strict=True)
            ],
            "channel_multiplier": recipe.width,
            "channel_divisor": recipe.divisor,
            "depth_multiplier": recipe.depth,
            "stem_size": recipe.stem,
            "stem_kernel_size": spec.stem_kernel,
            "num_features": spec.head_channels,
            **_of_every_model(spec),
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        a = dict(arguments)
        side, activation = a.pop("input_size"), a.pop("act_layer")
        arch_def, depth = a.pop("arch_def"), a.pop("depth_multiplier")
        width, divisor = a.pop("channel_multiplier"), a.pop("channel_divisor")
        given = {
            "block_args": Code(f"decode_arch_def(ARCHITECTURE, depth_multiplier={depth!r})"),
            "round_chs_fn": Code(f"partial(round_channels, multiplier={width!r}, divisor={divisor})"),
            "act_layer": Code(_TORCH_ACTIVATIONS[activation]),
        }
        return f"""from functools import partial

from timm.models.efficientnet import EfficientNet, decode_arch_def, round_channels
from torch import nn

ARCHITECTURE = {literal(arch_def)}
INPUT_SIZE = ({a["in_chans"]}, {side}, {side})
model = {call("EfficientNet", {**given, **a})}
"""


class _ResNet(Architecture):
    blocks = frozenset({"basic", "bottleneck"})
    reads = frozenset({"stem"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec = network.spec
        check_stem_stride(spec, check)
        check.that(spec.stem in _STEM_POOLS, f"the stem of a ResNet is {' or '.join(_STEM_POOLS)}, not {spec.stem}")
        check.that(spec.stem_kernel in (3, 7), f"the kernel of the stem is 3 or 7, not {spec.stem_kernel}")
        check.that(spec.total_stride <= 32, f"strides multiply to at most 32, not {spec.total_stride}")
        check_stages(spec, check, kernel=3)
        for stage, _ in block_inputs(spec):
            for count in (stage.channels, stage.channels // stage.channel_unit):
                check.that(round_channels(count, 8) == count, f"{count} channels are rounded to a multiple of 8")
        blocks = [
            {
                "type": _RESNET_BLOCKS[stage.block],
                "d": stage.repeats,
                "c": stage.channels,
                "s": stage.stride,
                "br": 1 / stage.channel_unit,
            }
            for stage in spec.stages
        ]
        return {
            "blocks": blocks,
            "stem_type": f"{spec.stem_kernel}x{spec.stem_kernel}",
            "stem_pool": _STEM_POOLS[spec.stem],
            "stem_chs": spec.stem_channels,
            "num_features": spec.head_channels,
            **_of_every_model(spec),
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        a = dict(arguments)
        side = a.pop("input_size")
        a["blocks"] = [Code(inline("ByoBlockCfg", block)) for block in a["blocks"]]
        settings = {name: a.pop(name) for name in tuple(a) if name in _RESNET_SETTINGS}
        return f"""from timm.models.byobnet import ByobNet, ByoBlockCfg, ByoModelCfg

SETTINGS = {call("ByoModelCfg", settings)}
INPUT_SIZE = ({a["in_chans"]}, {side}, {side})
model = {call("ByobNet", {"cfg": Code("SETTINGS"), **a})}
"""


class _ConvNeXt(Architecture):
    blocks = frozenset({"convnext"})
    reads = frozenset({"stem", "head_norm", "layer_scale"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec = network.spec
        check.that(len(spec.stages) == 4, f"a ConvNeXt has 4 stages, not {len(spec.stages)}")
        check_convnext(spec, check)
        check_stem_stride(spec, check, 4)
        return {
            "depths": list(stage_repeats(spec)),
            "dims": list(stage_channels(spec)),
            "kernel_sizes": [stage.kernel for stage in spec.stages],
            "ls_init_value": spec.stages[0].layer_scale or None,
            **_of_every_model(spec),
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        a = dict(arguments)
        side = a.pop("input_size")
        return f"""from timm.models.convnext import ConvNeXt

INPUT_SIZE = ({a["in_chans"]}, {side}, {side})
model = {call("ConvNeXt", a)}
"""


class Timm(Library):
    architectures = (_EfficientNet(), _ResNet(), _ConvNeXt())


def _timm_stage(stage: StageSpec, repeats: int, channels: int) -> str:
    """``ir_r2_k3_s2_e6_c24_se0.25``; a block without expansion has a kind of its own."""
    kind = _KINDS[stage.block, stage.expansion == 1]
    squeeze = f"_se{stage.se_ratio:.12g}" if stage.se_ratio else ""
    skip = "_skip" if kind == "cn" else ""
    return f"{kind}_r{repeats}_k{stage.kernel}_s{stage.stride}_e{stage.expansion:.12g}_c{channels}{squeeze}{skip}"
