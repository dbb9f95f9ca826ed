"""A member of a family as the arguments of the models of other libraries, equal to it to the last parameter.

timm, Keras and transformers take a width and a depth multiplier and round by themselves; the multipliers given here are
those asked for where the library's own rounding then makes the same network, and else the shortest numbers that do.
torchvision takes whole sizes. What a library cannot build is refused with the reason: a network that is nearly the one
whose cost was counted would be a mistake that nobody sees.

Sources: timm 1.0 ``efficientnet.py`` and ``_efficientnet_builder.py``, torchvision 0.28 ``efficientnet.py``, Keras 3.15
``applications/efficientnet.py``, transformers 5.23 ``modeling_efficientnet.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from phiscale.errors import SettingsError
from phiscale.export_recipe import Recipe, find_recipe, round_channels, stage_channels, stage_repeats
from phiscale.network import ScaledNetwork
from phiscale.spec import NetworkSpec, StageSpec

_KNOWN_FIELDS = {
    NetworkSpec: {
        "name", "resolution", "stem_channels", "stages", "head_channels", "classes", "stem_kernel", "stem_stride",
        "in_channels", "activation", "dropout", "drop_path",
    },
    StageSpec: {"kernel", "repeats", "channels", "expansion", "stride", "se_ratio"},
}  # fmt: skip
"""Fields that the exports below read; a network whose other fields are not at their defaults is refused."""
_FIXED_STEM, _FIXED_HEAD = 32, 1280
"""Stem and head of Keras and transformers, before their width multiplier."""


def library_arguments(network: ScaledNetwork, library: str) -> dict[str, Any]:
    """Arguments for ``library``, as plain values: numbers, texts, lists and dictionaries.

    ``timm``: of ``decode_arch_def`` (``arch_def``, ``depth_multiplier``), of ``round_channels``
    (``channel_multiplier``, ``channel_divisor``) and of ``EfficientNet`` (the others; ``act_layer`` by name).
    ``torchvision``: of ``EfficientNet``; each setting holds the arguments of ``MBConvConfig``. ``keras``: of
    ``EfficientNet``. ``transformers``: of ``EfficientNetConfig``. ``input_size`` (pixels) is no argument of timm's and
    torchvision's classes, but the side of the images that the network is meant for.
    Raises ``SettingsError`` for another library, or with the reason where it cannot build exactly this network.
    """
    if library not in _LIBRARIES:
        raise SettingsError(f"expected a library of {', '.join(_LIBRARIES)}, got {library!r}")
    check = _Check(library, network.spec.name)
    parts: list[NetworkSpec | StageSpec] = [network.spec, *network.spec.stages]
    for part in parts:
        for field in dataclasses.fields(part):
            known = field.name in _KNOWN_FIELDS[type(part)] or getattr(part, field.name) == field.default
            check.that(known, f"{field.name}={getattr(part, field.name, None)!r} is not exported")
    check.that(network.spec.stem_stride == 2, f"the stride of its stem is 2, not {network.spec.stem_stride}")
    return _LIBRARIES[library](network, check)


@dataclass(frozen=True)
class _Check:
    library: str
    network: str

    def that(self, holds: bool, reason: str) -> None:
        """Refuse the network unless ``holds``; ``reason`` says what the library does instead."""
        if not holds:
            self.refuse(reason)

    def refuse(self, reason: str) -> NoReturn:
        """Say why the library cannot build the network."""
        raise SettingsError(
            f"cannot give {self.network} to {self.library}: {reason}; use another library, or plain json"
        )


def _timm(network: ScaledNetwork, check: _Check) -> dict[str, Any]:
    spec = network.spec
    for stage, channels in _block_inputs(spec):
        hidden, squeeze = stage.hidden_channels(channels), stage.squeeze_channels(channels)
        if stage.expansion != 1:
            built = round_channels(channels * stage.expansion, 8)
            check.that(built == hidden, f"its blocks round {hidden} hidden channels to {built}, a multiple of 8")
        built = round(hidden * (stage.se_ratio / stage.expansion))
        check.that(built == squeeze, f"its squeeze-excitation has {built} channels, not {squeeze}")
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


def _timm_stage(stage: StageSpec, repeats: int, channels: int) -> str:
    """``ir_r2_k3_s2_e6_c24_se0.25``; ``ds`` is the block without expansion."""
    kind = "ds" if stage.expansion == 1 else "ir"
    squeeze = f"_se{stage.se_ratio:.12g}" if stage.se_ratio else ""
    return f"{kind}_r{repeats}_k{stage.kernel}_s{stage.stride}_e{stage.expansion:.12g}_c{channels}{squeeze}"


def _torchvision(network: ScaledNetwork, check: _Check) -> dict[str, Any]:
    spec = network.spec
    _check_stem(spec, check)
    check.that(spec.activation == "silu", f"its activation is silu, not {spec.activation}")
    check.that(spec.head_channels > 0, "it always has a convolution before its pooling")
    for count in (spec.stem_channels, *stage_channels(spec)):
        check.that(round_channels(count, 8) == count, f"it rounds {count} channels to a multiple of 8")
    for stage, channels in _block_inputs(spec):
        hidden, squeeze = stage.hidden_channels(channels), stage.squeeze_channels(channels)
        built = round_channels(channels * stage.expansion, 8)
        check.that(built == hidden, f"its blocks round {hidden} hidden channels to {built}, a multiple of 8")
        check.that(stage.expansion == 1 or hidden != channels, "it leaves out an expansion that adds no channels")
        built = max(1, channels // 4)
        check.that(built == squeeze, f"its squeeze-excitation has {built} channels, not {squeeze}")
        check.that(stage.stride <= 2, f"its strides are 1 or 2, not {stage.stride}")
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


def _keras(network: ScaledNetwork, check: _Check) -> dict[str, Any]:
    spec = network.spec
    _check_stem(spec, check)
    _check_whole_expansions(spec, check)
    recipe = _one_width(network, check)
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


def _transformers(network: ScaledNetwork, check: _Check) -> dict[str, Any]:
    spec, first = network.spec, network.spec.stages[0]
    check.that(spec.stem_kernel == 3, f"the kernel of its stem is 3, not {spec.stem_kernel}")
    _check_whole_expansions(spec, check)
    check.that(first.se_ratio > 0, "its blocks always have squeeze-excitation")
    same = all(stage.se_ratio == first.se_ratio for stage in spec.stages)
    check.that(same, "it has one squeeze-excitation ratio for all stages")
    for stage, channels in zip(spec.stages, (spec.stem_channels, *stage_channels(spec)), strict=False):
        check.that(stage.stride <= 2, f"its strides are 1 or 2, not {stage.stride}")
        skips = stage.stride == 1 and channels == stage.channels
        check.that(not skips, f"the first block of its stages has no skip connection, and one of {channels} has")
    recipe = _one_width(network, check)
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


_LIBRARIES: dict[str, Callable[[ScaledNetwork, _Check], dict[str, Any]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "keras": _keras,
    "transformers": _transformers,
}
LIBRARIES = tuple(_LIBRARIES)
"""Libraries that ``library_arguments`` knows."""


def _check_stem(spec: NetworkSpec, check: _Check) -> None:
    check.that(spec.stem_kernel == 3, f"the kernel of its stem is 3, not {spec.stem_kernel}")
    check.that(spec.in_channels == 3, f"its images have 3 channels, not {spec.in_channels}")


def _check_whole_expansions(spec: NetworkSpec, check: _Check) -> None:
    for stage in spec.stages:
        whole = float(stage.expansion).is_integer()
        check.that(whole, f"its expansions are whole numbers, not {stage.expansion:g}")


def _block_inputs(spec: NetworkSpec) -> Iterator[tuple[StageSpec, int]]:
    """Every stage with the input channels of its first block, and with those of its later blocks if it has any."""
    for stage, channels in zip(spec.stages, (spec.stem_channels, *stage_channels(spec)), strict=False):
        yield stage, channels
        if stage.repeats > 1:
            yield stage, stage.channels


def _number(value: float) -> float:
    """A whole number without its ``.0``."""
    return int(value) if float(value).is_integer() else value


def _one_width(network: ScaledNetwork, check: _Check) -> Recipe:
    """The recipe for a library whose stem and head are fixed numbers times its width multiplier."""
    spec = network.spec
    recipe = find_recipe(network, [(_FIXED_STEM, spec.stem_channels), (_FIXED_HEAD, spec.head_channels)])
    if recipe is None:
        check.refuse(
            f"its stem and head are 32 and 1280 times one width, not {spec.stem_channels} and {spec.head_channels}"
        )
    return recipe
