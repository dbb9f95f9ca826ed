"""Python for transformers.

The arguments are of ``EfficientNetConfig``. Source: transformers 5.23 ``modeling_efficientnet.py``.
"""

from __future__ import annotations

from typing import Any

from phiscale.export._library import Architecture, Check, Library, check_stem_stride, check_whole_expansions, one_width
from phiscale.export._python_text import call
from phiscale.export._recipe import stage_channels
from phiscale.network import ScaledNetwork
from phiscale.spec import NetworkSpec


class _EfficientNet(Architecture):
    blocks = frozenset({"mbconv"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec, first = network.spec, network.spec.stages[0]
        check_stem_stride(spec, check)
        check.that(spec.stem_kernel == 3, f"the kernel of the stem is 3, not {spec.stem_kernel}")
        check_whole_expansions(spec, check)
        check.that(first.se_ratio > 0, "blocks always have squeeze-excitation")
        same = all(stage.se_ratio == first.se_ratio for stage in spec.stages)
        check.that(same, "all stages have one squeeze-excitation ratio")
        for stage, channels in zip(spec.stages, (spec.stem_channels, *stage_channels(spec)), strict=False):
            check.that(stage.stride <= 2, f"strides are 1 or 2, not {stage.stride}")
            skips = stage.stride == 1 and channels == stage.channels
            check.that(not skips, f"the first block of a stage has no skip connection, and one of {channels} has")
        recipe = one_width(network, check)
        return {
            "num_channels": spec.in_channels,
            "image_size": spec.resolution,
            "width_coefficient": recipe.width,
            "depth_coefficient": recipe.depth,
            "depth_divisor": recipe.divisor,
            "kernel_sizes": [stage.kernel for stage in spec.stages],
            "in_channels": [recipe.stem, *recipe.channels[:-1]],
            "out_channels": list(recipe.channels),
            "depthwise_padding": _odd_sides(spec),
            "strides": [stage.stride for stage in spec.stages],
            "num_block_repeats": list(recipe.repeats),
            "expand_ratios": [int(stage.expansion) for stage in spec.stages],
            "squeeze_expansion_ratio": first.se_ratio,
            "hidden_act": spec.activation,
            "hidden_dim": spec.head_channels,
            "dropout_rate": spec.dropout,
            "drop_connect_rate": spec.drop_path,
            "num_labels": spec.classes,
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        return f"""from transformers import EfficientNetConfig, EfficientNetForImageClassification

config = {call("EfficientNetConfig", arguments)}
model = EfficientNetForImageClassification(config)
"""


class Transformers(Library):
    architectures = (_EfficientNet(),)


def _odd_sides(spec: NetworkSpec) -> list[int]:
    """Numbers of the blocks of stride 2 whose input has an odd side: transformers pads them on both ends.

    Its stem leaves out the last row and column of an odd image.
    """
    side, number, odd = spec.resolution // 2, 0, []
    for stage in spec.stages:
        if stage.stride == 2 and side % 2:
            odd.append(number)
        side = -(-side // stage.stride)
        number += stage.repeats
    return odd
