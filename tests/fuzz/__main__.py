"""Give every parser new random inputs for some time; print counts, keep the smallest input that fails.

Run: python -m tests.fuzz --minutes 30
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.parsers import PARSERS
from tests.fuzz.running import Outcome, Parser, run

_BATCH = 250
"""Inputs of one parser before the next one's turn."""


def main() -> int:
    """0 where no input failed, 1 otherwise."""
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    asked.add_argument("--minutes", type=float, default=30)
    asked.add_argument("--parser", choices=[parser.name for parser in PARSERS], help="this one alone")
    asked.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that fail")
    options = asked.parse_args()
    if not 0 < options.minutes < float("inf"):
        asked.error(f"expected --minutes above 0, got {options.minutes:g}")
    chosen = [parser for parser in PARSERS if options.parser in (None, parser.name)]
    counts = {parser.name: Counter[str]() for parser in chosen}
    spent = dict.fromkeys(counts, 0.0)  # every parser gets the same time
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        parser = min(chosen, key=lambda one: spent[one.name])
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(parser, Path(folder), _BATCH, random.getrandbits(64))
        spent[parser.name] += time.monotonic() - started
        counts[parser.name] += outcome.counts
        if outcome.fault is not None:
            counts[parser.name]["failed"] += 1
            _keep(options.keep, parser, outcome)
    for name, found in counts.items():
        print(
            f"{name:<28} {found['accepted']:>8,} accepted {found['refused']:>8,} refused {found['failed']:>4,} failed"
        )
    return int(any(found["failed"] for found in counts.values()))


def _keep(folder: Path, parser: Parser, outcome: Outcome) -> None:
    """Write the input where none that fails in the same way is smaller."""
    fault = outcome.fault
    trace = fault.__traceback__ if fault else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).stem}-{trace.tb_lineno}" if trace else "nowhere"
    file = folder / f"{parser.name.replace(' ', '-')}-{type(fault).__name__}-{place}.txt"
    shown = repr(outcome.smallest)
    if not file.exists() or len(file.read_text(encoding="utf-8").splitlines()[0]) > len(shown):
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{shown}\n{fault!r}"[:100_000], encoding="utf-8", errors="backslashreplace")
        print(f"{file}: {str(fault)[:200]!r}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
