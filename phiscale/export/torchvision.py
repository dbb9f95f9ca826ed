"""Python for torchvision.

The arguments are of ``EfficientNet``; each setting holds those of ``MBConvConfig``.
Source: torchvision 0.28 ``efficientnet.py``.
"""

from __future__ import annotations

from typing import Any

from phiscale.export._library import Check, Library, block_inputs, check_stem
from phiscale.export._python_text import Code, call, inline
from phiscale.export._recipe import round_channels, stage_channels
from phiscale.network import ScaledNetwork


class Torchvision(Library):
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
            built = max(1, channels // 4)
            check.that(built == squeeze, f"the squeeze-excitation has {built} channels, not {squeeze}")
            check.that(stage.stride <= 2, f"strides are 1 or 2, not {stage.stride}")
        settings = [
            {
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
        rows = [Code(inline("MBConvConfig", setting)) for setting in a.pop("inverted_residual_setting")]
        return f"""from torchvision.models.efficientnet import EfficientNet, MBConvConfig

INPUT_SIZE = (3, {side}, {side})
model = {call("EfficientNet", {"inverted_residual_setting": rows, **a})}
"""


def _number(value: float) -> float:
    """A whole number without its ``.0``."""
    return int(value) if float(value).is_integer() else value
