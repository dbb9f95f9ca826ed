"""A response surface over the triangle of shares: a Gaussian process fitted to noisy scores.

Kernel: Matern 5/2 with one length-scale per share, plus white noise that the replicates inform. The regression itself
is scikit-learn's. Source: Rasmussen & Williams 2006, chapters 2 and 5.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """A fitted surface; scores are in their own unit."""

    noise: float
    """Standard deviation of one evaluation."""
    length_scales: tuple[float, ...]
    """How far, in shares, the surface stays alike along each share."""
    _model: Any
    _centre: float
    _scale: float

    def predict(self, shares: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the expected score at ``shares`` (n, 3)."""
        mean, deviation = self._model.predict(shares, return_std=True)
        variance = np.maximum(deviation**2 - (self.noise / self._scale) ** 2, 0.0)
        return mean * self._scale + self._centre, np.sqrt(variance) * self._scale

    def draws(self, shares: Array, count: int, seed: int) -> Array:
        """``count`` surfaces drawn from the posterior, at ``shares`` (n, 3): (count, n)."""
        mean, covariance = self._model.predict(shares, return_cov=True)
        covariance -= np.eye(len(shares)) * (self.noise / self._scale) ** 2
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        normal = np.random.default_rng(seed).standard_normal((count, len(shares)))
        return np.asarray((mean + normal @ root.T) * self._scale + self._centre)


def fit_surface(shares: Array, scores: Array) -> Surface:
    """Fit ``scores`` (n,) at ``shares`` (n, 3); the same shares may stand several times."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    centre, scale = float(scores.mean()), float(scores.std()) or 1.0
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern([0.5] * 3, (0.1, 10.0), nu=2.5) + WhiteKernel(0.1, (1e-6, 2.0))
    model = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(shares, (scores - centre) / scale)
    signal, white = model.kernel_.k1, model.kernel_.k2
    noise = float(np.sqrt(white.noise_level)) * scale
    return Surface(noise, tuple(float(v) for v in signal.k2.length_scale), model, centre, scale)
