"""Print what a study has found: finished, running or failed.

Run: python -m scripts.show --study demo
     python -m scripts.show --study demo --json

With --json the keys are: study, state, trials (finished, pruned, failed, interrupted, running, waiting), failures,
score, direction, cost_model, cost_ratio (smallest and largest realised over asked, or null), recommendation (alpha,
beta, gamma, shares, phi, expected, noise, region_part; null before a trial has finished), length (images,
epoch_images, data: the training that the constants are for; null where the objective states none), horizon (images,
determined, reason: the length that was asked for; null where none was), drift (depth, width, resolution: value, low,
high, the change of each share per doubling of the length; or null), hindcast (rungs, longest, bias, coverage, rank,
least_rank, regret, repeats, networks, holds; or null), rungs (images, optimum, noise, range, noise_part of each),
best_observed, baselines (rule, constants, score, evaluations, error, ahead, half_width, result), confirmation (null
without scripts.confirm), notes.
Keys may be added; these stay.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from scripts.shared.console import run_command
from scripts.shared.studies import StudyOptions


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Options of ``scripts.show``."""

    place: Annotated[StudyOptions, tyro.conf.arg(name="")]
    """Which study."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """One JSON object in place of the text."""


def main() -> int:
    """The command."""
    return run_command(ShowOptions, show, __doc__ or "", "scripts.show")


def show(options: ShowOptions) -> None:
    """Print the study."""
    from report.answer import as_json, summary

    view = options.place.look()
    print(json.dumps(as_json(view), indent=2) if options.as_json else summary(view))


if __name__ == "__main__":
    sys.exit(main())
