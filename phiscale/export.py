"""A member of a family as text for other projects: runnable Python for each library, JSON, TOML, CSV."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from phiscale.baselines import EFFICIENTNET_B0
from phiscale.errors import SettingsError
from phiscale.export_libraries import LIBRARIES, library_arguments
from phiscale.family import FamilyMember, format_family
from phiscale.network import ScaledNetwork
from phiscale.record import SearchRecord
from phiscale.training_length import heading
from phiscale.triangle import Multipliers, ScalingConstants

__all__ = ["EXPORTS", "LIBRARIES", "export_member", "library_arguments"]

EXPORTS = (*LIBRARIES, "json", "toml", "csv", "python")
"""Everything that ``export_member`` writes."""
FORMAT = "phiscale-export"
VERSION = 1


def export_member(
    member: FamilyMember, to: str, constants: ScalingConstants | None = None, record: SearchRecord | None = None
) -> str:
    """The member as text; ``record`` is where its constants come from, None for published ones.

    ``timm``, ``torchvision``, ``keras``, ``transformers``: Python that builds ``model`` and needs that library alone.
    ``python``: the sizes as Python that needs nothing, and a function that scales by ``constants`` if they are given.
    ``json``, ``toml``: one document with constants, the length of training they are for, multipliers, counted cost
    and the whole network. ``csv``: the columns of ``family_rows``. Python says the length in a comment. Raises
    ``SettingsError`` for another name, or a library that cannot build it.
    """
    if to in LIBRARIES:
        return _header(member, record) + _SNIPPETS[to](library_arguments(member.network, to)).rstrip("\n")
    if to == "csv":
        return format_family([member], "csv", record)
    if to == "json":
        return json.dumps(_document(member, constants, record), indent=2)
    if to == "toml":
        return _toml(_document(member, constants, record))
    if to == "python":
        return _header(member, record) + _python(member, constants).rstrip("\n")
    raise SettingsError(f"expected an export to {', '.join(EXPORTS)}, got {to!r}")


def _header(member: FamilyMember, record: SearchRecord | None) -> str:
    """Comments; names are written as JSON, so that no line break in them begins code."""
    cost, pixels = member.network.cost, member.network.resolution
    length = f"# {json.dumps(heading(record))[1:-1]}\n" if record else ""
    return (
        f"# {json.dumps(member.network.spec.name)}, made by phiscale: {cost.params:,} parameters,\n"
        f"# {cost.macs:,} multiply-accumulates for an image of {pixels} x {pixels} pixels\n{length}"
    )


def _document(member: FamilyMember, constants: ScalingConstants | None, record: SearchRecord | None) -> dict[str, Any]:
    network, length = member.network, record.length if record else None
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": member.name,
        "phi": member.phi,
        "growth": member.growth,
        "target_growth": member.target_growth,
        "constants": dataclasses.asdict(constants) if constants else None,
        "length": dataclasses.asdict(length) if length else None,
        "multipliers_asked": dataclasses.asdict(network.asked),
        "multipliers": dataclasses.asdict(network.realised),
        "cost": dataclasses.asdict(network.cost),
        "network": network.spec.to_dict(),
    }


def _toml(document: Mapping[str, Any], path: str = "") -> str:
    """TOML of scalars, tables and lists of tables: scalars first, as the format asks. It has no null: left out."""
    lines = []
    for name, value in document.items():
        if value is not None and not isinstance(value, (dict, list)):
            lines.append(f"{name} = {_toml_value(value)}")
    for name, value in document.items():
        if isinstance(value, dict):
            lines.append(f"\n[{path}{name}]\n{_toml(value, f'{path}{name}.')}")
        elif isinstance(value, list):
            lines += [f"\n[[{path}{name}]]\n{_toml(item, f'{path}{name}.')}" for item in value]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _python(member: FamilyMember, constants: ScalingConstants | None) -> str:
    network, spec = member.network, member.network.spec
    scaling = ""
    if constants:
        alpha, beta, gamma = constants.as_tuple()
        scaling = f"""ALPHA, BETA, GAMMA = {alpha!r}, {beta!r}, {gamma!r}


def scale(base_depth, base_width, base_resolution, phi):
    \"\"\"Depth, width and resolution of a baseline after phi growth steps, truncated, never below 1.\"\"\"
    sizes = base_depth * ALPHA**phi, base_width * BETA**phi, base_resolution * GAMMA**phi
    return tuple(max(1, int(size)) for size in sizes)


"""
    return f"""{scaling}{_multipliers("ASKED", network.asked)}
{_multipliers("REALISED", network.realised)}
RESOLUTION = {spec.resolution}
STEM_CHANNELS, HEAD_CHANNELS, CLASSES = {spec.stem_channels}, {spec.head_channels}, {spec.classes}
STAGES = {_literal([_stage(network, index) for index in range(len(spec.stages))])}
"""


def _multipliers(name: str, value: Multipliers) -> str:
    return f"{name}_DEPTH, {name}_WIDTH, {name}_RESOLUTION = {value.depth!r}, {value.width!r}, {value.resolution!r}"


def _stage(network: ScaledNetwork, index: int) -> dict[str, Any]:
    stage: dict[str, Any] = network.spec.to_dict()["stages"][index]
    return stage


_TORCH_ACTIVATIONS = {"silu": "nn.SiLU", "relu": "nn.ReLU", "relu6": "nn.ReLU6", "gelu": "nn.GELU"}


def _timm(arguments: dict[str, Any]) -> str:
    a = dict(arguments)
    side, activation = a.pop("input_size"), a.pop("act_layer")
    arch_def, depth = a.pop("arch_def"), a.pop("depth_multiplier")
    width, divisor = a.pop("channel_multiplier"), a.pop("channel_divisor")
    given = {
        "block_args": _Code(f"decode_arch_def(ARCHITECTURE, depth_multiplier={depth!r})"),
        "round_chs_fn": _Code(f"partial(round_channels, multiplier={width!r}, divisor={divisor})"),
        "act_layer": _Code(_TORCH_ACTIVATIONS[activation]),
    }
    return f"""from functools import partial

from timm.models.efficientnet import EfficientNet, decode_arch_def, round_channels
from torch import nn

ARCHITECTURE = {_literal(arch_def)}
INPUT_SIZE = ({a["in_chans"]}, {side}, {side})
model = {_call("EfficientNet", {**given, **a})}
"""


def _torchvision(arguments: dict[str, Any]) -> str:
    a = dict(arguments)
    side = a.pop("input_size")
    rows = [_Code(_inline("MBConvConfig", setting)) for setting in a.pop("inverted_residual_setting")]
    return f"""from torchvision.models.efficientnet import EfficientNet, MBConvConfig

INPUT_SIZE = (3, {side}, {side})
model = {_call("EfficientNet", {"inverted_residual_setting": rows, **a})}
"""


def _keras(arguments: dict[str, Any]) -> str:
    a = dict(arguments)
    if a["blocks_args"] == library_arguments(_UNSCALED_B0, "keras")["blocks_args"]:
        del a["blocks_args"]  # those of EfficientNet-B0, which Keras has by default
    return f"""from keras.src.applications.efficientnet import EfficientNet

model = {_call("EfficientNet", a)}
"""


def _transformers(arguments: dict[str, Any]) -> str:
    return f"""from transformers import EfficientNetConfig, EfficientNetForImageClassification

config = {_call("EfficientNetConfig", arguments)}
model = EfficientNetForImageClassification(config)
"""


_UNSCALED_B0 = ScaledNetwork(EFFICIENTNET_B0, EFFICIENTNET_B0, Multipliers(1, 1, 1))
_SNIPPETS = {"timm": _timm, "torchvision": _torchvision, "keras": _keras, "transformers": _transformers}


class _Code(str):
    """Text that stands in a snippet as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _literal(value: Any, indent: str = "") -> str:
    """The value as Python; a list of texts, lists or dictionaries has an item a line."""
    if isinstance(value, list) and value and not isinstance(value[0], (int, float)):
        return "[\n" + "".join(f"{indent}    {item!r},\n" for item in value) + f"{indent}]"
    return repr(value)


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call with an argument a line."""
    lines = "".join(f"    {key}={_literal(value, '    ')},\n" for key, value in arguments.items())
    return f"{name}(\n{lines})"


def _inline(name: str, arguments: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
