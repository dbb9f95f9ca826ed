"""What the statements of phiscale confirm and phiscale check hold, on simulated scores whose truth is known.

Run: python -m benchmarks.bench_confirm                  # about half a minute
     python -m benchmarks.bench_confirm --draws 2000 --sizes 5 --seeds 5

Deviations are in units of that of one seed. A network effect is what one rounded network gains or loses at its size,
whatever the seed; neighbouring sizes round alike, as far as their shares of depth and resolution show. Confirm: nine
rules, all equal, or one ahead by one deviation, or by a lead that grows from 1 to 3 deviations over the sizes. With a
network effect, statements about networks alone are true, so only those about rules count as false. Proxy: networks on
a lattice whose scores are a quadratic of the shares, or uniform; noise is a part of their range; half of its variance
is shared by the rungs of a training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phiscale import PROXY_BASE, ROUNDINGS, match_budget, shares_from_constants, shares_of_direction
from phiscale.family import align_columns
from phiscale.published import MEASURED_RULES, PUBLISHED_RULES
from phiscale.triangle import FLOPS, lattice
from scripts.check_proxy import CheckOptions
from scripts.confirm import ConfirmOptions
from search.confirm import Comparison, compare
from search.fidelity import fidelity

Array = NDArray[np.float64]


def main() -> None:
    """The command."""
    confirm, check = ConfirmOptions(study="s"), CheckOptions(study="s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--sizes", type=int, default=len(confirm.sizes))
    parser.add_argument("--seeds", type=int, default=confirm.seeds)
    parser.add_argument("--check-seeds", type=int, default=check.seeds)
    options = parser.parse_args()
    alike = rounding_alike(confirm.sizes)
    print(f"correlation of roundings at neighbouring sizes: {alike:.2f}")
    print(confirm_table(options.draws, options.sizes, options.seeds, alike), flush=True)
    print(f"\n{proxy_table(options.draws, check, options.check_seeds)}")


def rounding_alike(phis: Sequence[float]) -> float:
    """Correlation between neighbouring sizes of how far rounding moves the shares, over all rules of the proxy."""
    moved = []
    for name in MEASURED_RULES:
        constants = PUBLISHED_RULES[name].on(FLOPS)
        if constants is None:
            continue
        asked = shares_from_constants(constants, FLOPS).as_tuple()
        networks = [match_budget(PROXY_BASE, constants, phi=phi, rounding=ROUNDINGS["exact"]) for phi in phis]
        realised = [shares_of_direction(network.realised, FLOPS).as_tuple() for network in networks]
        moved.append(np.array(realised) - np.array(asked))
    before, after = (np.array(moved)[:, part].ravel() for part in (slice(None, -1), slice(1, None)))
    return float(before @ after / np.sqrt((before @ before) * (after @ after)))


def confirm_table(draws: int, sizes: int, seeds: int, neighbours: float) -> str:
    """How often something false is stated, and how often what is true."""
    parts = "any false", "paper found", "one other found", "growing lead found", "at a size"
    rows = [[f"{sizes} sizes, {seeds} seeds", *parts]]
    cases = [(f"network effect {effect:g}", effect, 0.0) for effect in (0.0, 0.5, 1.0)]
    for name, effect, alike in [*cases, ("0.5, neighbours alike", 0.5, neighbours)]:
        null, apart, growing = (
            [_compared(draw, sizes, seeds, effect, alike, ahead) for draw in range(draws)]
            for ahead in (np.zeros(sizes), np.ones(sizes), np.linspace(1, 3, sizes))
        )
        false = np.mean([any(_stated(row) and (row.about_rule or not effect) for row in found) for found in null])
        ahead = [[row.result == "ahead" for row in found if row.phi is None] for found in apart]
        over, at_sizes = (
            np.mean([row.result == "ahead" for found in growing for row in found if (row.phi is None) == whole])
            for whole in (True, False)
        )
        shown = false, np.mean([row[0] for row in ahead]), np.mean([row[1:] for row in ahead]), over, at_sizes
        rows.append([name, *(f"{value:.3f}" for value in shown)])
    return align_columns(rows)


def _stated(row: Comparison) -> bool:
    return row.result != "not distinguishable"


def _compared(draw: int, sizes: int, seeds: int, effect: float, alike: float, ahead: Array) -> list[Comparison]:
    """One confirmation of rules that are equal, but for the recommendation, which is ahead by so much at each size."""
    generator = np.random.default_rng(draw)
    names = ("ours", *MEASURED_RULES)
    networks = generator.standard_normal((len(names), sizes))
    for size in range(1, sizes):
        networks[:, size] = alike * networks[:, size - 1] + np.sqrt(1 - alike**2) * networks[:, size]
    scores = effect * networks[..., None] + generator.standard_normal((len(names), sizes, seeds))
    scores[0] += ahead[:, None]
    by_name = {name: dict(np.ndenumerate(table)) for name, table in zip(names, scores, strict=True)}
    return compare(by_name.pop("ours"), by_name, "maximize")


def proxy_table(draws: int, check: CheckOptions, seeds: int) -> str:
    """How often a setting is said to keep the order, where it is the same and where it is another."""
    places = np.array([shares.as_tuple() for shares in lattice(4, FLOPS)])
    rows = [[f"{len(places)} networks, {seeds} seeds", "noise", "identical orders", "unrelated orders"]]
    for shape in ("uniform", "quadratic"):
        for noise in (0.15, 0.2, 0.25, 0.3):
            said = [
                np.mean([_keeps(draw, places, shape, noise, same, seeds, check.keep) for draw in range(draws)])
                for same in (True, False)
            ]
            rows.append([shape, f"{noise:.0%}", *(f"{part:.3f}" for part in said)])
    return align_columns(rows)


def _keeps(draw: int, places: Array, shape: str, noise: float, same: bool, seeds: int, keep: float) -> bool:
    """Whether a simulated check says that the cheap setting keeps the order."""
    generator = np.random.default_rng(draw)
    truth = generator.random(len(places))
    if shape == "quadratic":
        best, weights = generator.dirichlet([2, 2, 2]), generator.uniform(0.3, 1.7, 3)
        truth = -((places - best) ** 2 @ weights)
    truth = (truth - truth.min()) / np.ptp(truth)
    reference = truth if same else generator.permutation(truth)
    shared, *own = np.sqrt(0.5) * generator.standard_normal((3, seeds, len(places)))
    found = fidelity(truth + noise * (shared + own[0]), reference + noise * (shared + own[1]), draws=300).spearman
    return found is not None and found.low > keep


if __name__ == "__main__":
    main()
