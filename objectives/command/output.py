"""The score that a command prints: the last line of JSON on its standard output."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from phiscale import checks
from phiscale.errors import SettingsError, TrialError
from phiscale.files import named_once

_OBJECT = re.compile(r'\s*\{\s*"')
_LENGTH = re.compile(r"[1-9][0-9]{0,17}")
_FORM = '{"score": 0.71} or {"scores": {"20000": 0.61, "40000": 0.71}}'


def read_scores(said: str) -> float | dict[int, float]:
    """The score, or the scores by length in images seen, shortest first.

    Raises ``TrialError``: of kind ``diverged`` for a number that is not finite, else of kind ``output``.
    """
    lines = [line for line in re.split(r"[\r\n]+", said) if _OBJECT.match(line)]
    if not lines:
        raise _refused("no line of JSON in its last 64 KiB")
    found = _parsed(lines[-1])
    if len({"score", "scores"} & found.keys()) != 1:
        raise _refused(lines[-1])
    if "score" in found:
        return _score("the score", found["score"])
    scores = found["scores"]
    if not isinstance(scores, Mapping) or not scores:
        raise _refused(lines[-1])
    wrong = [length for length in scores if not _LENGTH.fullmatch(length)]
    if wrong:
        raise TrialError("output", f"expected lengths in images seen under scores, got {wrong[0]!r:.80}")
    return {length: _score(f"the score at {length}", scores[str(length)]) for length in sorted(map(int, scores))}


def _parsed(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line, object_pairs_hook=named_once)
    except RecursionError:
        raise _refused("lists or objects that are nested too deep") from None
    except ValueError as error:
        raise _refused(f"{line.strip()[:120]} ({error})") from None
    return found


def _score(name: str, value: object) -> float:
    try:
        score = checks.number(name, value, SettingsError)
    except SettingsError as error:
        raise TrialError("output", str(error)) from None
    if not math.isfinite(score):
        raise TrialError("diverged", f"expected {name} to be finite, got {score!r}")
    return score


def _refused(got: str) -> TrialError:
    return TrialError("output", f"expected {_FORM} as the last line of JSON on standard output, got {got}")
