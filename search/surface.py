"""A response surface over the triangle of shares, fitted to noisy scores: a weighted mixture of a few models.

The models are Gaussian processes of scikit-learn: a Matern 5/2 kernel, and the quadratic and cubic polynomial kernels,
which are the Bayesian forms of Scheffe's mixture polynomials; each on the scores as they are, and on scores warped so
that poor ones are pressed together (near a corner of the triangle accuracy falls off a cliff, and a model that follows
the cliff sees less of the top). Their weights are their posterior probabilities by the Bayesian information criterion.

Sources: Rasmussen & Williams 2006, chapters 2 and 5 (regression, leave-one-out in equations 5.10 to 5.12);
Scheffe 1958, "Experiments with mixtures"; Hoeting et al. 1999, "Bayesian model averaging".
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KINDS = ("matern", "quadratic", "cubic")
_WARP = 0.7
"""Strength of the warp: scores in standard deviations go through exp(0.7 x)."""
_LIGHTEST = 0.01
"""Models of less weight than this are left out of predictions."""
_FIT_AT_MOST = 150
"""Observations on which kernel parameters are chosen; the rest only condition the model."""

_ROUNDING_ERROR = 1e-12
"""Part of a score by which sums of equal numbers may differ."""


@dataclass(frozen=True)
class Model:
    """One fitted model of the mixture; its own scale is of scores centred, scaled and perhaps warped."""

    kind: str
    warped: bool
    weight: float
    """Posterior probability within the mixture."""
    regression: Any
    """The fitted ``GaussianProcessRegressor``."""
    shift: float
    stretch: float
    """Score = unwarp(value) * stretch + shift, in the unit of the scores."""
    warp_shift: float
    warp_stretch: float

    @property
    def name(self) -> str:
        """``matern``, ``quadratic warped``, ..."""
        return f"{self.kind} warped" if self.warped else self.kind

    @property
    def white(self) -> float:
        """Variance of one observation on the model's own scale."""
        return float(self.regression.kernel_.k2.noise_level)

    def to_scores(self, values: Array) -> Array:
        """Values of the model's own scale in the unit of the scores."""
        if self.warped:
            values = np.log(np.maximum(values * self.warp_stretch + self.warp_shift, 0.02)) / _WARP
        return values * self.stretch + self.shift

    def slope(self, values: Array) -> Array:
        """Derivative of ``to_scores``."""
        if not self.warped:
            return np.full_like(values, self.stretch)
        warped = np.maximum(values * self.warp_stretch + self.warp_shift, 0.02)
        return self.warp_stretch / warped / _WARP * self.stretch

    def predict(self, shares: Array) -> tuple[Array, Array]:
        """Median and standard deviation of the expected score, in the unit of the scores."""
        mean, deviation = self.regression.predict(shares, return_std=True)
        latent = np.sqrt(np.maximum(deviation**2 - self.white, 0.0))
        return self.to_scores(mean), latent * self.slope(mean)

    def posterior(self, shares: Array) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of the expected score, on the model's own scale."""
        mean, covariance = self.regression.predict(shares, return_cov=True)
        return mean, covariance - np.eye(len(shares)) * self.white

    def moments(self, shares: Array) -> tuple[Array, Array]:
        """Median and covariance of the expected score, in the unit of the scores."""
        mean, covariance = self.posterior(shares)
        slope = self.slope(mean)
        return self.to_scores(mean), covariance * np.outer(slope, slope)

    def draws(self, shares: Array, normal: Array) -> Array:
        """Surfaces drawn from the posterior, one per row of standard normal numbers (count, n)."""
        mean, covariance = self.posterior(shares)
        values, vectors = np.linalg.eigh(covariance)
        return self.to_scores(mean + (normal * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


@dataclass(frozen=True)
class Calibration:
    """How well the surface foretells an evaluation it was not given."""

    coverage: float
    """Part of evaluations inside their 90 % leave-one-out interval."""
    spread: float
    """Root mean square of the errors over their foretold standard deviation: 1 if calibrated, above 1 if too sure."""


@dataclass(frozen=True)
class Surface:
    """The mixture; scores are in their own unit."""

    models: tuple[Model, ...]
    """Heaviest first."""
    noise: float
    """Standard deviation of one evaluation, near the upper end of the scores."""
    calibration: Calibration

    @property
    def _heavy(self) -> list[Model]:
        return [model for model in self.models if model.weight >= _LIGHTEST]

    def only(self, kinds: Sequence[str]) -> Surface:
        """The mixture of the models of these kinds alone."""
        chosen = [model for model in self.models if model.kind in kinds]
        total = sum(model.weight for model in chosen)
        share = [model.weight / total if total > 0 else 1 / len(chosen) for model in chosen]
        models = tuple(dataclasses.replace(m, weight=w) for m, w in zip(chosen, share, strict=True))
        return dataclasses.replace(self, models=models)

    def means(self, shares: Array) -> Array:
        """The mean that ``predict`` gives, alone and faster."""
        heavy = self._heavy
        total = sum(model.weight for model in heavy)
        parts = (model.weight * model.to_scores(model.regression.predict(shares)) for model in heavy)
        return np.asarray(sum(parts, np.zeros(len(shares))) / total)

    def predict(self, shares: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the expected score at ``shares`` (n, 3)."""
        parts = [(model.weight, *model.predict(shares)) for model in self._heavy]
        total = sum(weight for weight, _, _ in parts)
        mean = sum((weight * m for weight, m, _ in parts), np.zeros(len(shares))) / total
        square = sum((weight * (d**2 + (m - mean) ** 2) for weight, m, d in parts), np.zeros(len(shares))) / total
        return mean, np.sqrt(square)

    def moments(self, shares: Array) -> tuple[Array, Array]:
        """Mean (n,) and covariance (n, n) of the expected scores, the models' disagreement included."""
        parts = [(model.weight, *model.moments(shares)) for model in self._heavy]
        total = sum(weight for weight, _, _ in parts)
        mean = sum((weight * m for weight, m, _ in parts), np.zeros(len(shares))) / total
        spread = (weight * (c + np.outer(m - mean, m - mean)) for weight, m, c in parts)
        return mean, np.asarray(sum(spread, np.zeros((len(shares), len(shares)))) / total)

    def draws(self, shares: Array, count: int, seed: int) -> Array:
        """``count`` surfaces drawn from the posterior, each from one model by its weight: (count, n)."""
        generator = np.random.default_rng(seed)
        weights = np.array([model.weight for model in self._heavy])
        counts = generator.multinomial(count, weights / weights.sum())
        normals = [generator.standard_normal((many, len(shares))) for many in counts]
        pairs = zip(self._heavy, normals, strict=True)
        return np.concatenate([model.draws(shares, normal) for model, normal in pairs if len(normal)])


def fit_surface(shares: Array, scores: Array) -> Surface:
    """Fit ``scores`` (n,), larger is better, at ``shares`` (n, 3); the same shares may stand several times."""
    shift, stretch = float(scores.mean()), 1.0 if are_equal(scores) else float(scores.std())
    standard = (scores - shift) / stretch
    fitted = [_fit(kind, warped, shares, standard, shift, stretch) for kind in KINDS for warped in (False, True)]
    evidence = np.array([value for value, _ in fitted])
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    models = [dataclasses.replace(model, weight=float(w)) for (_, model), w in zip(fitted, weights, strict=True)]
    models.sort(key=lambda model: -model.weight)
    good = float(np.quantile(standard, 0.75))
    noise = sum(model.weight * _noise(model, good) for model in models)
    return Surface(tuple(models), noise, _calibrate(models[0]))


def are_equal(scores: Array) -> bool:
    """Whether scores (n,) differ by no more than the error of arithmetic, so that there is nothing to fit."""
    return bool(np.ptp(scores) <= _ROUNDING_ERROR * np.abs(scores).max())


def _noise(model: Model, standard_score: float) -> float:
    """Standard deviation of one evaluation whose score is that many standard deviations above the mean."""
    value = standard_score
    if model.warped:
        value = (math.exp(_WARP * standard_score) - model.warp_shift) / model.warp_stretch
    return math.sqrt(model.white) * float(model.slope(np.array([value]))[0])


def _fit(kind: str, warped: bool, shares: Array, standard: Array, shift: float, stretch: float) -> tuple[float, Model]:
    """The model, with weight 1, and its log evidence for the scores in standard deviations."""
    values, warp_shift, warp_stretch, log_jacobian = standard, 0.0, 1.0, 0.0
    if warped:
        raised = np.exp(_WARP * standard)
        warp_shift, warp_stretch = float(raised.mean()), float(raised.std()) or 1.0
        values = (raised - warp_shift) / warp_stretch
        log_jacobian = float((math.log(_WARP / warp_stretch) + _WARP * standard).sum())
    regression = _regress(kind, shares, values)
    parameters = len(regression.kernel_.theta) + warped
    evidence = regression.log_marginal_likelihood_value_ + log_jacobian - parameters * math.log(len(values)) / 2
    return evidence, Model(kind, warped, 1.0, regression, shift, stretch, warp_shift, warp_stretch)


def _regress(kind: str, shares: Array, values: Array) -> Any:
    """Kernel parameters by maximum marginal likelihood (on a part, where there is much), conditioned on all."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if len(values) <= _FIT_AT_MOST:
            return GaussianProcessRegressor(_kernel(kind), random_state=0).fit(shares, values)
        part = np.random.default_rng(0).choice(len(values), _FIT_AT_MOST, replace=False)
        first = GaussianProcessRegressor(_kernel(kind), random_state=0).fit(shares[part], values[part])
        return GaussianProcessRegressor(first.kernel_, optimizer=None).fit(shares, values)


def _kernel(kind: str) -> Any:
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    white = WhiteKernel(0.1, (1e-4, 2.0))
    if kind == "matern":
        return ConstantKernel(1.0, (1e-2, 1e2)) * Matern(0.5, (0.08, 10.0), nu=2.5) + white
    degree = {"quadratic": 2, "cubic": 3}[kind]
    return ConstantKernel(10.0, "fixed") * DotProduct(1.0, "fixed") ** degree + white


def _calibrate(model: Model) -> Calibration:
    """Leave-one-out errors of the heaviest model. Source: Rasmussen & Williams 2006, equations 5.10 to 5.12."""
    regression = model.regression
    lower = np.linalg.inv(regression.L_)
    diagonal = (lower**2).sum(axis=0)
    errors = regression.alpha_.ravel() / diagonal
    ratios = errors * np.sqrt(diagonal)
    return Calibration(float((np.abs(ratios) < 1.6449).mean()), float(np.sqrt((ratios**2).mean())))
