"""The search: which constants next, and which do we recommend?

from search import search
record = search(score, trials=40)                              # score(alpha, beta, gamma, seed) -> number

from search import ConstantsSampler, recommend, suggest_constants
study = optuna.create_study(sampler=ConstantsSampler())        # in a study of your own
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from phiscale.no_command import refuse_to_run

if TYPE_CHECKING:
    from search.api import recommend, search
    from search.sampler import ConstantsSampler, suggest_constants
    from search.settings import SearchSettings

refuse_to_run(__name__)

_PLACES = {
    "ConstantsSampler": "search.sampler",
    "SearchSettings": "search.settings",
    "recommend": "search.api",
    "search": "search.api",
    "suggest_constants": "search.sampler",
}

__all__ = ["ConstantsSampler", "SearchSettings", "recommend", "search", "suggest_constants"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and nothing else: Optuna and SciPy take seconds."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
