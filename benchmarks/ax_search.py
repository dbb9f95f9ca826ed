"""Ax as a competitor of ``benchmarks.bench_search``, through its public client.

Run: python -m benchmarks.bench_search --competitors ax --landscapes interior,returns,ridges --noises 0.05 --trials 40

Needs ``pip install ax-platform``, which phiscale itself does not use.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from phiscale.triangle import Shares

NAMES = ("s_d", "s_w")


def make_client(seed: int) -> Any:
    """A client over the shares of depth and width under ``s_d + s_w <= 1``: its API takes no equality."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    client = Client(random_seed=seed)
    parameters = [RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in NAMES]
    client.configure_experiment(name="bench", parameters=parameters, parameter_constraints=["s_d + s_w <= 1"])
    client.configure_optimization(objective="score")
    return client


def shares_of(point: Any) -> Shares:
    """The shares of one of the client's points."""
    depth = min(1.0, float(point["s_d"]))
    width = min(float(point["s_w"]), 1 - depth)
    return Shares(depth, width, max(0.0, 1 - depth - width))


@contextlib.contextmanager
def exact_starts() -> Iterator[None]:
    """Draw the starting points of Ax's inner optimisation by rejection instead of by a Markov chain.

    Both are uniform in the same triangle; BoTorch's chain in Python (``sample_polytope``) takes 70 % of the 3 s of an
    ask, which would leave too few runs to compare.
    """
    from botorch.utils import sampling

    chain = sampling.sample_polytope
    sampling.sample_polytope = _uniform
    try:
        yield
    finally:
        sampling.sample_polytope = chain


def _uniform(A: Any, b: Any, x0: Any, n: int = 10000, *_: Any, seed: int | None = None, **__: Any) -> Any:  # noqa: N803
    """``n`` uniform points (n, 2) of the bounded polygon ``A x <= b``."""
    import torch

    rows, limits = A.numpy(), b.numpy().ravel()
    corners = _corners(rows, limits)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if seed is None:
        seed = int(torch.randint(0, 1000000, (1,)).item())
    generator, kept = np.random.default_rng(seed), np.empty((0, 2))
    while len(kept) < n:
        drawn = low + (high - low) * generator.random((2 * n, 2))
        kept = np.concatenate([kept, drawn[(drawn @ rows.T <= limits).all(axis=1)]])
    return torch.as_tensor(kept[:n], dtype=x0.dtype)


def _corners(rows: Any, limits: Any) -> Any:
    corners = []
    for i, j in itertools.combinations(range(len(rows)), 2):
        pair = rows[[i, j]]
        if abs(np.linalg.det(pair)) > 1e-9:
            corner = np.linalg.solve(pair, limits[[i, j]])
            if (rows @ corner <= limits + 1e-9).all():
                corners.append(corner)
    return np.array(corners)
