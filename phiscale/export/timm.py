"""Python for timm.

The arguments are of ``decode_arch_def`` (``arch_def``, ``depth_multiplier``), of ``round_channels``
(``channel_multiplier``, ``channel_divisor``) and of ``EfficientNet`` (the others; ``act_layer`` by name).
Source: timm 1.0 ``efficientnet.py`` and ``_efficientnet_builder.py``.
"""

from __future__ import annotations

from typing import Any

from phiscale.export._library import Check, Library, block_inputs
from phiscale.export._python_text import Code, call, literal
from phiscale.export._recipe import Recipe, find_recipe, round_channels, stage_channels, stage_repeats
from phiscale.network import ScaledNetwork
from phiscale.spec import StageSpec

_TORCH_ACTIVATIONS = {"silu": "nn.SiLU", "relu": "nn.ReLU", "relu6": "nn.ReLU6", "gelu": "nn.GELU"}


class Timm(Library):
    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec = network.spec
        for stage, channels in block_inputs(spec):
            hidden, squeeze = stage.hidden_channels(channels), stage.squeeze_channels(channels)
            if stage.expansion != 1:
                built = round_channels(channels * stage.expansion, 8)
                check.that(
                    built == hidden, f"{hidden} hidden channels of a block are rounded to {built}, a multiple of 8"
                )
            built = round(hidden * (stage.se_ratio / stage.expansion))
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
            "act_layer": spec.activation,
            "num_classes": spec.classes,
            "in_chans": spec.in_channels,
            "drop_rate": spec.dropout,
            "drop_path_rate": spec.drop_path,
            "input_size": spec.resolution,
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


def _timm_stage(stage: StageSpec, repeats: int, channels: int) -> str:
    """``ir_r2_k3_s2_e6_c24_se0.25``; ``ds`` is the block without expansion."""
    kind = "ds" if stage.expansion == 1 else "ir"
    squeeze = f"_se{stage.se_ratio:.12g}" if stage.se_ratio else ""
    return f"{kind}_r{repeats}_k{stage.kernel}_s{stage.stride}_e{stage.expansion:.12g}_c{channels}{squeeze}"
