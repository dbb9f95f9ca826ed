"""A response surface over the triangle of shares, fitted to noisy scores, with its full uncertainty.

The surface is a Gaussian process: a Matern 5/2 kernel of some length-scale, or a quadratic or cubic polynomial kernel,
which are the Bayesian forms of Scheffe's mixture polynomials; on plain scores, or on warped ones, which compress poor
scores. Near a corner of the triangle accuracy drops steeply, and a surface that follows the drop resolves the top less
well. Kernel, length-scale, warp, signal height and noise are not chosen: predictions are averages over all of them by
their posterior weights. An interval that takes the most likely ones as known is too narrow with few trials. Signal and
noise are summed over a grid in the eigenbasis of each kernel, which costs less than searching the most likely ones.

Symbols: N networks, m evaluations of a network, n points, J nodes of the grid of signal and noise.

Sources: Rasmussen & Williams 2006, chapters 2 and 5 (regression, leave-one-out in equations 5.10 to 5.12); Scheffe
1958, "Experiments with mixtures"; Hoeting et al. 1999, "Bayesian model averaging"; Wilson et al. 2021, "Pathwise
conditioning of Gaussian processes" (draws).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.scaling import Array, Scaling, scaling_of

KINDS = ("matern", "quadratic", "cubic")
_LENGTH_SCALES = (0.2, 0.4, 0.8, 1.6)
_POLYNOMIALS = {"quadratic": (2, 4.0), "cubic": (3, 8.0)}
"""Degree, and the factor that gives the kernel a mean variance of about 1 over the triangle."""
_CONSTANT = 2.0
"""Variance of the surface's constant as a multiple of the signal's."""
_SIGNALS = np.geomspace(3e-3, 30.0, 9)
_WHITES = np.geomspace(1e-5, 3.0, 18)
_SIGNAL_PRIOR = (0.0, 1.5)
"""Mean and standard deviation of the logarithm of the signal's variance, scores having variance 1."""
_WHITE_PRIOR = (math.log(0.1), 2.0)
"""The same of the variance of one evaluation, where nothing is known of it."""
_COUNTED_DEVIATION = 0.7
"""The same standard deviation where the counting error of the score is known: a factor of 1.4 of the noise."""
_NETWORK_PARTS = (0.0, 0.03)
"""Variance of a network's own effect, as a part of the signal's. Rounding causes it, and repetition does not average it
out: none, or about that of the lattice of CIFAR-10."""
_SEED_PART = 0.15
"""Variance of the common effect of a seed on all networks, in the same unit: 0.56, 0.06, 0.01 and 0 there."""

_LIGHTEST = 1e-3
"""Nodes and models with less than this part of the largest weight are left out."""
_Z90 = 1.6449


@dataclass(frozen=True)
class Model:
    """The surface of one kernel and warp, averaged over signal and noise."""

    kind: str
    length_scale: float
    """Of the Matern kernel; 0 of a polynomial."""
    network_part: float
    weight: float
    """Posterior probability within the mixture."""
    scaling: Scaling
    places: Array
    """Shares of the networks, (N, 3)."""
    basis: Array
    """Whitened eigenvectors of the kernel between the networks, (N, N)."""
    eigenvalues: Array
    """(N,)"""
    counts: Array
    """Evaluations per network, (N,)."""
    values: Array
    """Mean value per network, (N,)."""
    signals: Array
    """Variance of the signal at every node, (J,)."""
    whites: Array
    """Variance of one evaluation at every node, (J,)."""
    parts: Array
    """Posterior probability of every node, (J,)."""

    @property
    def name(self) -> str:
        """``matern 0.4``, ``quadratic warped``, ..."""
        named = f"{self.kind} {self.length_scale:g}" if self.length_scale else self.kind
        return f"{named} warped" if self.scaling.warped else named

    @property
    def white(self) -> float:
        """Variance of one evaluation on the model's own scale."""
        return float(self.parts @ self.whites)

    @cached_property
    def _projected(self) -> Array:
        return self.values @ self.basis

    @cached_property
    def _shrinks(self) -> Array:
        """(J, N)"""
        return self.signals[:, None] / (self.signals[:, None] * self.eigenvalues + self.whites[:, None])

    def _across(self, shares: Array) -> Array:
        """Kernel between points and networks in the eigenbasis, (n, N)."""
        return _kernel(self.kind, self.length_scale, shares, self.places) @ self.basis

    def mean(self, shares: Array) -> Array:
        """Expected value on the model's own scale, (n,)."""
        return self._across(shares) @ (self._projected * (self.parts @ self._shrinks))

    def posterior(self, shares: Array) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of the value on the model's own scale."""
        across, middle = self._across(shares), self._middle()
        prior = float(self.parts @ self.signals) * _kernel(self.kind, self.length_scale, shares, shares)
        return across @ (self._projected * (self.parts @ self._shrinks)), prior + across @ middle @ across.T

    def deviations(self, shares: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the value on the model's own scale, (n,) each."""
        across = self._across(shares)
        prior = float(self.parts @ self.signals) * _variance(self.kind, shares)
        variance = prior + ((across @ self._middle()) * across).sum(axis=1)
        return across @ (self._projected * (self.parts @ self._shrinks)), np.sqrt(np.maximum(variance, 0.0))

    def _middle(self) -> Array:
        """How the scores change the prior covariance, in the eigenbasis: (N, N)."""
        means = self._projected * self._shrinks
        average = self.parts @ means
        spread = (means * self.parts[:, None]).T @ means - np.outer(average, average)
        return np.asarray(spread - np.diag((self.parts * self.signals) @ self._shrinks))

    def draws(self, shares: Array, count: int, generator: np.random.Generator) -> Array:
        """Surfaces from the posterior, each of one node by its weight, in the unit of the scores: (count, n)."""
        everywhere = np.concatenate([shares, self.places])
        kernel = _kernel(self.kind, self.length_scale, everywhere, everywhere)
        kernel[len(shares) :, len(shares) :] += self.network_part * np.eye(len(self.places))
        values, vectors = np.linalg.eigh(kernel)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        nodes = generator.choice(len(self.parts), count, p=self.parts)
        prior = generator.standard_normal((count, len(everywhere))) @ root.T * np.sqrt(self.signals[nodes])[:, None]
        errors = np.sqrt(self.whites[nodes][:, None] / self.counts)
        seen = prior[:, len(shares) :] + errors * generator.standard_normal((count, len(self.places)))
        moved = ((self.values - seen) @ self.basis) * self._shrinks[nodes]
        return self.scaling.to_scores(prior[:, : len(shares)] + moved @ self._across(shares).T)


@dataclass(frozen=True)
class Calibration:
    """How well the surface predicts a network that was left out."""

    coverage: float
    """Part of networks inside their 90 % leave-one-out interval."""
    spread: float
    """RMS of standardised leave-one-out errors: 1 is calibrated, above 1 overconfident."""


@dataclass(frozen=True)
class Surface:
    """The mixture; scores are in their own unit."""

    models: tuple[Model, ...]
    """Heaviest first."""
    noise: float
    """Standard deviation of one evaluation, near the upper end of the scores."""
    network_effect: float
    """Standard deviation of a network's expected score from the surface, there."""
    seed_effect: float
    """Standard deviation of the common effect of one seed on all scores, there."""
    calibration: Calibration

    def means(self, shares: Array) -> Array:
        """The mean that ``predict`` gives, alone and faster."""
        parts = (model.weight * model.scaling.to_scores(model.mean(shares)) for model in self.models)
        return np.asarray(sum(parts, np.zeros(len(shares))))

    def predict(self, shares: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the expected score at ``shares`` (n, 3)."""
        parts = []
        for model in self.models:
            values, deviations = model.deviations(shares)
            scaling = model.scaling
            parts.append((model.weight, scaling.to_scores(values), deviations * scaling.slope(values)))
        mean = sum((weight * m for weight, m, _ in parts), np.zeros(len(shares)))
        square = sum((weight * (d**2 + (m - mean) ** 2) for weight, m, d in parts), np.zeros(len(shares)))
        return mean, np.sqrt(square)

    def moments(self, shares: Array) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of the expected scores, the models' disagreement included."""
        parts = []
        for model in self.models:
            values, covariance = model.posterior(shares)
            slope = model.scaling.slope(values)
            parts.append((model.weight, model.scaling.to_scores(values), covariance * np.outer(slope, slope)))
        mean = sum((weight * m for weight, m, _ in parts), np.zeros(len(shares)))
        spread = (weight * (c + np.outer(m - mean, m - mean)) for weight, m, c in parts)
        return mean, np.asarray(sum(spread, np.zeros((len(shares), len(shares)))))

    def draws(self, shares: Array, count: int, seed: int) -> Array:
        """``count`` surfaces drawn from the posterior, each from one model by its weight: (count, n)."""
        generator = np.random.default_rng(seed)
        counts = generator.multinomial(count, [model.weight for model in self.models])
        pairs = zip(self.models, counts, strict=True)
        return np.concatenate([model.draws(shares, int(many), generator) for model, many in pairs if many])


@dataclass(frozen=True)
class _Observed:
    """Scores by network."""

    places: Array
    """(N, 3)"""
    network: NDArray[np.intp]
    """Index of its network, per score."""
    scores: Array
    counts: Array
    """(N,)"""

    def means(self, values: Array) -> Array:
        """Mean per network of values per score."""
        return np.asarray(np.bincount(self.network, values) / self.counts)


def fit_surface(shares: Array, scores: Array, counting_error: float | None = None) -> Surface:
    """Fit ``scores`` (n,), larger is better, at ``shares`` (n, 3); the same shares may occur several times.

    ``counting_error`` is the standard deviation of a score from counting a finite number of images.
    """
    places, network, counts = np.unique(np.round(shares, 9), axis=0, return_inverse=True, return_counts=True)
    seen = _Observed(places, network.ravel(), scores, counts.astype(float))
    scalings = [scaling_of(scores, warped) for warped in (False, True)]
    good = float(np.quantile(scores, 0.75))
    kernels = [("matern", length_scale) for length_scale in _LENGTH_SCALES] + [(kind, 0.0) for kind in _POLYNOMIALS]
    fitted = []
    for kind, length_scale in kernels:
        kernel = _kernel(kind, length_scale, places, places)
        prior = -math.log(len(_LENGTH_SCALES) if length_scale else 1)
        whitening = np.sqrt(seen.counts)
        for network_part in _NETWORK_PARTS:
            own = network_part * np.eye(len(places))
            eigenvalues, vectors = np.linalg.eigh((kernel + own) * np.outer(whitening, whitening))
            decomposed = np.maximum(eigenvalues, 0.0), vectors * whitening[:, None], float(np.log(whitening).sum())
            for scaling in scalings:
                typical = None if counting_error is None else counting_error / scaling.slope_at(good)
                evidence, model = _average(seen, scaling, (kind, length_scale, network_part), decomposed, typical)
                fitted.append((evidence + prior, model))
    logs = np.array([value for value, _ in fitted])
    weights = np.exp(logs - logs.max())
    weights[weights < _LIGHTEST] = 0.0
    weights /= weights.sum()
    models = [dataclasses.replace(m, weight=float(w)) for (_, m), w in zip(fitted, weights, strict=True) if w]
    models.sort(key=lambda model: -model.weight)
    noise, effect = _noises(models, good)
    seed_effect = math.sqrt(_SEED_PART) * noise
    return Surface(tuple(models), noise, effect, seed_effect, _calibrate(models[0]))


def _noises(models: Sequence[Model], score: float) -> tuple[float, float]:
    """Standard deviation of one evaluation and of a network's own effect, for networks of about this score."""
    one, own = 0.0, 0.0
    for model in models:
        slope = model.scaling.slope_at(score)
        one += model.weight * model.white * slope**2
        own += model.weight * float(model.parts @ model.signals) * slope**2 * model.network_part
    return math.sqrt(one), math.sqrt(own)


def _average(
    seen: _Observed,
    scaling: Scaling,
    kernel: tuple[str, float, float],
    decomposed: tuple[Array, Array, float],
    typical: float | None,
) -> tuple[float, Model]:
    """The model of one kernel and warp with its nodes, and its log evidence for the scores."""
    eigenvalues, basis, log_whitening = decomposed
    values = scaling.to_values(seen.scores)
    means = seen.means(values)
    within = float(((values - means[seen.network]) ** 2).sum())
    freedom = len(values) - len(means)
    signals, whites = (grid.ravel() for grid in np.meshgrid(_SIGNALS, _WHITES, indexing="ij"))
    variances = signals[:, None] * eigenvalues + whites[:, None]
    log = log_whitening - ((means @ basis) ** 2 / variances + np.log(variances)).sum(axis=1) / 2
    log -= within / (2 * whites) + freedom * np.log(whites) / 2
    log -= ((np.log(signals) - _SIGNAL_PRIOR[0]) / _SIGNAL_PRIOR[1]) ** 2 / 2
    middle, deviation = _WHITE_PRIOR if typical is None else (2 * math.log(typical), _COUNTED_DEVIATION)
    log -= ((np.log(whites) - middle) / deviation) ** 2 / 2
    parts = np.exp(log - log.max())
    evidence = float(log.max()) + math.log(parts.sum()) + scaling.jacobian(seen.scores)
    kept = parts >= _LIGHTEST
    kind, length_scale, network_part = kernel
    model = Model(
        kind,
        length_scale,
        network_part,
        1.0,
        scaling,
        seen.places,
        basis,
        eigenvalues,
        seen.counts,
        means,
        signals[kept],
        whites[kept],
        parts[kept] / parts[kept].sum(),
    )
    return evidence, model


def _kernel(kind: str, length_scale: float, first: Array, second: Array) -> Array:
    """Covariance of a signal of variance 1 between points (n, 3) and (m, 3)."""
    if kind in _POLYNOMIALS:
        degree, factor = _POLYNOMIALS[kind]
        return np.asarray(_CONSTANT + factor * (first @ second.T) ** degree)
    distance = math.sqrt(5) * np.linalg.norm(first[:, None] - second[None], axis=2) / length_scale
    return np.asarray(_CONSTANT + (1 + distance + distance**2 / 3) * np.exp(-distance))


def _variance(kind: str, shares: Array) -> Array:
    """The diagonal of ``_kernel`` between points (n, 3) and themselves."""
    if kind in _POLYNOMIALS:
        degree, factor = _POLYNOMIALS[kind]
        return np.asarray(_CONSTANT + factor * (shares**2).sum(axis=1) ** degree)
    return np.full(len(shares), _CONSTANT + 1.0)


def _calibrate(model: Model) -> Calibration:
    """Leave-one-out errors of the heaviest model at its heaviest node. Source: Rasmussen & Williams 2006, (5.10-12)."""
    node = int(np.argmax(model.parts))
    inverse = (model.basis / (model.signals[node] * model.eigenvalues + model.whites[node])) @ model.basis.T
    ratios = (inverse @ model.values) / np.sqrt(np.diag(inverse))
    return Calibration(float((np.abs(ratios) < _Z90).mean()), float(np.sqrt((ratios**2).mean())))
