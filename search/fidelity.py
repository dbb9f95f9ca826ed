"""Rank correlation of cheap and costly trainings of the same networks, corrected for the noise of single trainings.

Symbols
    S, n      seeds and networks
    x, y      (S, n): ranks within each seed of the cheap setting's and the reference's scores, centred
    c_ab      mean over all pairs of different seeds s != t of cov(a_s, b_t)
    r         c_xy / sqrt(c_xx * c_yy), capped to [-1, 1]

Noise makes a plain rank correlation too low, because it reorders networks. Noise that a rung shares with the longest
rung of the same training makes it too high. Noise of different seeds is independent, so a covariance across different
seeds contains only the differences of the networks. Where c_xx or c_yy is not above 0 in 95 % of bootstrap draws, that
order cannot be told from noise, and no correlation is given. Kendall's correlation has no such correction, so it is
left out. The order is that on the validation images of the study, which all seeds share.

Sources: Spearman 1904, "The proof and measurement of association between two things" (correction for attenuation);
percentile bootstrap over networks, Efron & Tibshirani 1993, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from phiscale.errors import DataError

FEWEST = 6
"""With fewer networks, a rank correlation says nothing."""
_TAIL = 0.05
"""Probability on each side of a 90 % interval; also the largest accepted part of bootstrap draws without an order."""

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankCorrelation:
    """A correlation with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fidelity:
    """How a cheap setting orders the networks of a reference."""

    spearman: RankCorrelation | None
    """Corrected for noise; None where it is undetermined."""
    undetermined: Literal["", "setting", "reference"]
    """Settings whose order cannot be told from noise; empty if both can."""
    networks: int
    seeds: int


def fidelity(cheap: npt.ArrayLike, reference: npt.ArrayLike, *, seed: int = 0, draws: int = 2000) -> Fidelity:
    """Corrected rank correlation of the scores of the same networks, both (seeds, networks), in the same order.

    Raises ``DataError`` for fewer than 2 seeds or 6 networks, or scores that are not finite.
    """
    x, y = _centred_ranks(_checked(cheap)), _centred_ranks(_checked(reference))
    if x.shape != y.shape:
        raise DataError(f"expected scores of the same seeds and networks, got {x.shape} and {y.shape}")
    seeds, networks = x.shape
    picks = np.random.default_rng(seed).integers(networks, size=(draws, networks))
    drawn = _covariances(_recentred(x[:, picks]), _recentred(y[:, picks]))
    whole = _covariances(x[:, None], y[:, None])
    if _is_noise(whole[2], drawn[2]):
        return Fidelity(None, "reference", networks, seeds)
    if _is_noise(whole[1], drawn[1]):
        return Fidelity(None, "setting", networks, seeds)
    value = float(_ratio(*whole, missing=0)[0])
    low = float(np.quantile(_ratio(*drawn, missing=-1), _TAIL))
    high = float(np.quantile(_ratio(*drawn, missing=1), 1 - _TAIL))
    return Fidelity(RankCorrelation(value, min(low, value), max(high, value)), "", networks, seeds)


def _checked(scores: npt.ArrayLike) -> _Array:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] < 2:
        raise DataError(f"expected scores of at least 2 seeds as (seeds, networks), got the shape {array.shape}")
    if array.shape[1] < FEWEST:
        raise DataError(f"expected scores of at least {FEWEST} networks, got {array.shape[1]}")
    if not np.isfinite(array).all():
        raise DataError("expected finite scores, got NaN or infinity")
    return array


def _centred_ranks(scores: _Array) -> _Array:
    """(S, n): ranks within each row; equal scores share the mean of their ranks."""
    from scipy.stats import rankdata

    return _recentred(np.asarray(rankdata(scores, axis=1), dtype=np.float64))


def _recentred(values: _Array) -> _Array:
    centred: _Array = values - values.mean(axis=-1, keepdims=True)
    return centred


def _covariances(x: _Array, y: _Array) -> tuple[_Array, _Array, _Array]:
    """(c_xy, c_xx, c_yy), each (draws,), of centred values (S, draws, n)."""
    return _across_seeds(x, y), _across_seeds(x, x), _across_seeds(y, y)


def _across_seeds(a: _Array, b: _Array) -> _Array:
    """(draws,): mean covariance over pairs of different seeds: that of the sums less the pairs of equal seeds."""
    seeds, _, networks = a.shape
    every_pair = np.einsum("dn,dn->d", a.sum(axis=0), b.sum(axis=0))
    equal_seeds = np.einsum("sdn,sdn->d", a, b)
    mean: _Array = (every_pair - equal_seeds) / (seeds * (seeds - 1) * networks)
    return mean


def _is_noise(whole: _Array, drawn: _Array) -> bool:
    """Whether the covariance of an order with itself is not clearly above 0."""
    return bool(whole[0] <= 0 or np.mean(drawn <= 0) > _TAIL)


def _ratio(c_xy: _Array, c_xx: _Array, c_yy: _Array, *, missing: float) -> _Array:
    """The correlation of every draw; ``missing`` for a draw in which an order cannot be told from noise."""
    known = (c_xx > 0) & (c_yy > 0)
    scale = np.sqrt(np.where(known, c_xx, 1.0) * np.where(known, c_yy, 1.0))
    ratio: _Array = np.where(known, np.clip(c_xy / scale, -1, 1), missing)
    return ratio
