"""Which surface recommends best from the same noisy trials: the mixture, its parts, or one length-scale per share.

Run: python -m benchmarks.bench_surface --seeds 20

The trials are spread evenly first, then chosen by Optuna's GPSampler, which knows none of these surfaces, on the
landscapes of ``benchmarks.closed_forms``; regret is in % of the landscape's range.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.bench_search import Noisy
from benchmarks.closed_forms import Array, ClosedForm, all_landscapes, fine_lattice
from phiscale.triangle import FLOPS, shares_at
from search.surface import fit_surface
from search.workers import one_thread


def trials_of(form: ClosedForm, noise: float, seed: int, trials: int) -> tuple[Array, Array]:
    """Shares (n, 3) and noisy scores (n,)."""
    import optuna

    spread = optuna.samplers.QMCSampler(scramble=True, seed=seed)
    modelled = optuna.samplers.GPSampler(seed=seed)

    noisy = Noisy(form, noise, np.random.default_rng([seed, 777]))
    study = optuna.create_study(direction="maximize")
    for count in range(trials):
        study.sampler = spread if count < 16 else modelled
        trial = study.ask()
        study.tell(trial, noisy.measure(shares_at({name: trial.suggest_float(name, 0, 1) for name in "uv"}, FLOPS)))
    return np.array(noisy.shares), np.array(noisy.scores)


def per_share(shares: Array, scores: Array, points: Array) -> Array:
    """The mean of a Matern process with a length-scale for every share."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern([0.5] * 3, (0.08, 10.0), nu=2.5) + WhiteKernel(0.1, (1e-4, 2.0))
    standard = (scores - scores.mean()) / scores.std()
    return np.asarray(GaussianProcessRegressor(kernel, random_state=0).fit(shares, standard).predict(points))


def _of_parts(*kinds: str) -> Callable[[Array, Array, Array], Array]:
    return lambda shares, scores, points: fit_surface(shares, scores).only(kinds).predict(points)[0]


def best_observed(shares: Array, scores: Array, points: Array) -> Array:
    """Highest at the lattice point nearest to the best observed trial."""
    return np.asarray(-np.abs(points - shares[int(np.argmax(scores))]).sum(axis=1))


SURFACES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "best observed": best_observed,
    "mixture": lambda shares, scores, points: fit_surface(shares, scores).predict(points)[0],
    "matern": _of_parts("matern"),
    "matern, a scale per share": per_share,
    "scheffe": _of_parts("quadratic", "cubic"),
}


def main() -> None:
    """Measure and print one table per noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--noise", type=float, default=0.05)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    points = fine_lattice(100)
    print("| landscape | " + " | ".join(SURFACES) + " |\n|---|" + "---|" * len(SURFACES))
    for form in all_landscapes().values():
        true = form.scores(points)
        lost: dict[str, list[float]] = {name: [] for name in SURFACES}
        for seed in range(options.seeds):
            with one_thread():
                shares, scores = trials_of(form, options.noise, seed, options.trials)
                for name, surface in SURFACES.items():
                    lost[name].append(100 * float(true.max() - true[int(np.argmax(surface(shares, scores, points)))]))
        cells = [f"{np.median(values):.2f} (mean {np.mean(values):.2f})" for values in lost.values()]
        print(f"| {form.name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
