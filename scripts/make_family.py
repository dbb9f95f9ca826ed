"""Make the phi family of a finished study, or of any record, for any network, and write it into its folder.

Run: python -m scripts.make_family --study demo --phi 0:7
     python -m scripts.make_family --study demo --network efficientnet-b0 --budget matched --phi -2:7
     python -m scripts.make_family --record constants.json --network mine.json --output family.csv
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phiscale.baselines import BASELINES
from phiscale.errors import SettingsError
from phiscale.factory import refuse_factory
from phiscale.family import FamilyMember, format_family, generate_family, parse_phis
from phiscale.files import write_text
from phiscale.record import SearchRecord
from phiscale.rounding import rounding_by_name
from phiscale.spec import load_network
from scripts.report import renew_report
from scripts.shared.console import run_command
from search.study import check_study_name


@dataclass(frozen=True, kw_only=True)
class FamilyOptions:
    """Options of ``scripts.make_family``."""

    study: str | None = None
    """A finished study under --results; or use --record."""
    record: Path | None = None
    """A constants.json from anywhere."""
    phi: str = "0:7"
    """Compound coefficients: 0:7, -2:2:0.5 or 0,0.5,3."""
    network: str | None = None
    """Baseline: proxy-base, efficientnet-b0, efficientnetv2-b0, efficientnetv2-s, mobilenetv2, resnet-18, resnet-50,
    convnext-t or a JSON file. Default: the network that was searched."""
    budget: Literal["nominal", "matched"] = "matched"
    """nominal: the formula, then rounding; matched: counted cost equal to target**phi within 2 %."""
    rounding: str | None = None
    """exact, tf, effnetv2, timm, timm-round or pycls. Default: tf, or exact for small networks."""
    max_resolution: int | None = None
    """Largest resolution in pixels."""
    dropout: float = 0.5
    """Dropout rate at phi 7; a baseline without dropout keeps none."""
    output: Path | None = None
    """A .json or .csv file to write. Default: family-BUDGET.json in the study's folder; nothing for a record."""
    results: Path = Path("results")
    """Folder of all studies."""

    def __post_init__(self) -> None:
        if (self.study is None) == (self.record is None):
            raise SettingsError("expected exactly one of --study and --record")
        if self.study is not None:
            check_study_name(self.study)
        if self.rounding is not None:
            rounding_by_name(self.rounding)
        if self.output is not None and self.output.suffix not in (".json", ".csv"):
            raise SettingsError(f"expected --output to end in .json or .csv, got {self.output}")


def main() -> int:
    """The command."""
    return run_command(FamilyOptions, make_family, __doc__ or "", "scripts.make_family")


def make_family(options: FamilyOptions) -> None:
    """Print the family and write it."""
    folder = options.results / options.study if options.study else None
    record = load_record(options)
    members = make_members(options, record)
    print(format_family(members, "table", record))
    output = options.output or (folder / f"family-{options.budget}.json" if folder else None)
    if output:
        write_text(output, format_family(members, output.suffix[1:], record) + "\n")
        print(f"\nwritten: {output}")
    if folder:
        renew_report(folder)


def load_record(options: FamilyOptions) -> SearchRecord:
    """The record of the study, or the one named. Raises ``RecordError`` where there is none."""
    return SearchRecord.load(options.record or options.results / str(options.study) / "constants.json")


def make_members(options: FamilyOptions, record: SearchRecord) -> tuple[FamilyMember, ...]:
    """The networks of the record. Raises ``SettingsError`` where it holds no baseline and none is named."""
    base = record.network if options.network is None else BASELINES.get(options.network)
    if base is None:
        if options.network is None:
            refuse_factory(record)
            raise SettingsError("this record holds no network; name one with --network")
        base = load_network(options.network)
    return generate_family(
        base,
        record.constants,
        parse_phis(options.phi),
        budget=options.budget,
        rounding=rounding_by_name(options.rounding) if options.rounding else None,
        cost_model=record.cost_model,
        max_resolution=options.max_resolution,
        dropout=options.dropout,
    )


if __name__ == "__main__":
    sys.exit(main())
