"""Write a member of a family as an ONNX file and check it: onnxruntime has to compute what torch computes.

Run: phiscale onnx --study demo --phi 2 --output demo.onnx
     phiscale onnx --record constants.json --network efficientnet-b0 --phi 1 --output b1.onnx
     phiscale onnx --study demo --phi 2 --weights trained.pt --output trained.onnx

Without --weights the weights are random: the file is good for timing a device, not for accuracy.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phiscale.baselines import find_network
from phiscale.errors import SettingsError
from phiscale.factory import refuse_factory
from phiscale.family import FamilyMember, generate_family, short_number
from phiscale.record import SearchRecord
from phiscale.rounding import rounding_by_name
from phiscale.training_length import heading
from scripts.shared.console import run_command
from search.study import check_study_name


@dataclass(frozen=True, kw_only=True)
class OnnxOptions:
    """Options of ``phiscale onnx``."""

    output: Path
    """The .onnx file to write."""
    study: str | None = None
    """A finished study under --results; or use --record."""
    record: Path | None = None
    """A constants.json from anywhere."""
    phi: float = 1.0
    """Compound coefficient."""
    network: str | None = None
    """Baseline: a name that phiscale knows, or a JSON file. Default: the network that was searched."""
    budget: Literal["nominal", "matched"] = "matched"
    """nominal: the formula, then rounding; matched: counted cost equal to target**phi within 2 %."""
    rounding: str | None = None
    """exact, tf, effnetv2, timm, timm-round or pycls. Default: tf, or exact for small networks."""
    weights: Path | None = None
    """State dictionary of the network (torch.save(network.state_dict(), FILE)). Default: random weights."""
    seed: int = 0
    """Seed of the random weights and of the images of the check."""
    results: Path = Path("results")
    """Folder of all studies."""

    def __post_init__(self) -> None:
        if self.output.suffix != ".onnx":
            raise SettingsError(f"expected --output to end in .onnx, got {self.output}")
        if (self.study is None) == (self.record is None):
            raise SettingsError("expected exactly one of --study and --record")
        if self.study is not None:
            check_study_name(self.study)
        if self.rounding is not None:
            rounding_by_name(self.rounding)


def main() -> int:
    """The command."""
    return run_command(OnnxOptions, export_onnx, __doc__ or "", "onnx")


def export_onnx(options: OnnxOptions) -> None:
    """Write the file; print what it holds and how much onnxruntime differs from torch."""
    from objectives.networks.build import build_network
    from objectives.networks.onnx_file import network_with_weights, write_checked

    record = SearchRecord.load(options.record or options.results / str(options.study))
    member = make_member(options, record)
    spec, cost = member.network.spec, member.network.cost
    network = network_with_weights(build_network(spec, options.seed), options.weights)
    difference = write_checked(network, spec, options.output, seed=options.seed)
    print(
        f"{spec.name}: {short_number(cost.params)} parameters, {short_number(cost.macs)} MACs, {spec.resolution} px, "
        f"{'weights of ' + str(options.weights) if options.weights else 'random weights'}\n{heading(record)}\n"
        f"onnxruntime and torch differ by at most {difference:.1e} of the largest logit\nwritten: {options.output}"
    )


def make_member(options: OnnxOptions, record: SearchRecord) -> FamilyMember:
    """The network of the record. Raises ``SettingsError`` where it holds no baseline and none is named."""
    base = find_network(options.network) if options.network else record.network
    if base is None:
        refuse_factory(record)
        raise SettingsError("this record holds no network; name one with --network")
    (member,) = generate_family(
        base,
        record.constants,
        [options.phi],
        budget=options.budget,
        rounding=rounding_by_name(options.rounding) if options.rounding else None,
        cost_model=record.cost_model,
    )
    return member


if __name__ == "__main__":
    sys.exit(main())
