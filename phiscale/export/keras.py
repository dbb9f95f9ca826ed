"""Python for Keras.

The arguments are of ``EfficientNet``. Source: Keras 3.15 ``applications/efficientnet.py``.
"""

from __future__ import annotations

from typing import Any

from phiscale.baselines import EFFICIENTNET_B0
from phiscale.export._library import Architecture, Check, Library, check_stem, check_whole_expansions, one_width
from phiscale.export._python_text import call
from phiscale.network import ScaledNetwork
from phiscale.triangle import Multipliers

_UNSCALED_B0 = ScaledNetwork(EFFICIENTNET_B0, EFFICIENTNET_B0, Multipliers(1, 1, 1))


class _EfficientNet(Architecture):
    blocks = frozenset({"mbconv"})

    def arguments(self, network: ScaledNetwork, check: Check) -> dict[str, Any]:
        spec = network.spec
        check_stem(spec, check)
        check_whole_expansions(spec, check)
        recipe = one_width(network, check)
        inputs = (recipe.stem, *recipe.channels)
        blocks = [
            {
                "kernel_size": stage.kernel,
                "repeats": repeats,
                "filters_in": filters_in,
                "filters_out": filters_out,
                "expand_ratio": int(stage.expansion),
                "id_skip": True,
                "strides": stage.stride,
                "se_ratio": stage.se_ratio,
            }
            for stage, repeats, filters_in, filters_out in zip(
                spec.stages, recipe.repeats, inputs, recipe.channels, strict=False
            )
        ]
        return {
            "width_coefficient": recipe.width,
            "depth_coefficient": recipe.depth,
            "default_size": spec.resolution,
            "dropout_rate": spec.dropout,
            "drop_connect_rate": spec.drop_path,
            "depth_divisor": recipe.divisor,
            "activation": spec.activation,
            "blocks_args": blocks,
            "weights": None,
            "classes": spec.classes,
        }

    def snippet(self, arguments: dict[str, Any]) -> str:
        a = dict(arguments)
        if a["blocks_args"] == Keras().arguments_of(_UNSCALED_B0)["blocks_args"]:
            del a["blocks_args"]  # those of EfficientNet-B0, which Keras has by default
        return f"""from keras.src.applications.efficientnet import EfficientNet

model = {call("EfficientNet", a)}
"""


class Keras(Library):
    architectures = (_EfficientNet(),)
