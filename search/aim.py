"""The aim of a study: the training length for which constants are recommended, and whether the rungs can reach it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from objectives.training.rungs import LONGEST
from phiscale.errors import SettingsError
from phiscale.training_length import FARTHEST
from search.settings import SearchSettings


@dataclass(frozen=True)
class Aim:
    """What is recommended: constants whose score is best at the horizon."""

    direction: str
    """``maximize`` or ``minimize``."""
    score_name: str = "score"
    """What is measured, e.g. ``accuracy``."""
    horizon: int | None = None
    """Images seen in the training that will really be run; None for the longest rung."""
    counted: int | None = None
    """Validation images on which an accuracy is counted; None if unknown, and for other scores."""


def aim_of(settings: SearchSettings | None, described: Mapping[str, Any], direction: str) -> Aim:
    """The aim of a study, from its settings (None: not known) and from the objective's description.

    Raises ``SettingsError`` for a horizon of which its rungs can say nothing.
    """
    train = described.get("train")
    named = described.get("score") or (train.get("score") if isinstance(train, Mapping) else None)
    horizon = None if settings is None else _asked_horizon(settings, described)
    images = train.get("validation_images") if isinstance(train, Mapping) and named == "accuracy" else None
    return Aim(direction, str(named or "score"), horizon, images if type(images) is int and images > 0 else None)


def out_of_reach(horizon: int, lengths: Sequence[int]) -> str:
    """Why rungs of these lengths can never determine the horizon, and what could: a phrase; empty where they can."""
    longest = lengths[-1]
    if lengths[0] <= horizon <= longest:
        return ""
    if horizon > FARTHEST * longest:
        return (
            f"the horizon is {horizon / longest:.3g} times the longest rung, and nothing is claimed beyond {FARTHEST} "
            f"times; a longest rung of {math.ceil(horizon / FARTHEST):,} images seen could determine it"
        )
    if sum(4 * length <= longest for length in lengths) < 2:
        return (
            "fewer than two rungs lie at or below a quarter of the longest, so nothing checks the extrapolation; "
            "4 rungs or more could determine it"
        )
    return ""


def _asked_horizon(settings: SearchSettings, described: Mapping[str, Any]) -> int | None:
    """The horizon in images seen that the settings ask for; None for the longest rung."""
    epochs, images = settings.horizon_epochs, settings.horizon_images
    if epochs is None and images is None:
        return None
    rungs, is_proxy = described.get("rungs"), described.get("objective") == "proxy"
    if not rungs:
        raise SettingsError("expected an objective with scores at rungs for a horizon, got one without; leave it out")
    if epochs is not None:
        data = described.get("data")
        one = data.get("epoch_images") if isinstance(data, Mapping) else None
        if not isinstance(one, int | float) or not 0 < one < math.inf:
            raise SettingsError("expected data whose epoch is known for --horizon-epochs; use --horizon-images")
        images = round(min(epochs * one, LONGEST))
    if images is None or images < rungs[0]:
        how = f" (--train.images-seen {images or 0})" if is_proxy else ""
        raise SettingsError(
            f"expected a horizon of at least the shortest rung of {rungs[0]:,} images seen, got {images or 0:,}; "
            f"train no longer than that in the search{how}, or use a longer horizon"
        )
    if len(rungs) == 1 and images != rungs[0]:
        advice = "use --train.rungs 4" if is_proxy else "state more of them"
        raise SettingsError(f"expected two rungs or more for a horizon beyond them, got one; {advice}")
    return images
