"""Damaged bytes and damaged JSON values, made of whole ones so that Hypothesis can make them smaller."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from tests import strategies

_HARD_BYTES = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\n",
    b"\x1b[31m",
    b"{",
    b"]",
    b"1e999",
    b"NaN",
)
HARD_VALUES = (10**400, -1, 0, 1e308, -0.0, "\ud800", "\x1b[2J\n", "x" * 5000, [], {}, None, True, [[[[]]]], 2**63)


@st.composite
def _edit(draw: st.DrawFn) -> tuple[str, float, bytes]:
    """What is done where, as a part of the length."""
    kind = draw(st.sampled_from(["set", "insert", "delete", "cut", "repeat"]))
    where = draw(st.floats(0, 1, exclude_max=True, allow_nan=False))
    return kind, where, draw(st.sampled_from(_HARD_BYTES) | st.binary(min_size=1, max_size=4))


def edited(content: bytes, edits: Sequence[tuple[str, float, bytes]]) -> bytes:
    """The content after the edits."""
    for kind, where, piece in edits:
        at = int(where * len(content))
        if kind == "set":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + 4 * len(piece) :]
        elif kind == "cut":
            content = content[:at]
        else:
            content = content[:at] + content[max(0, at - 20) :]
    return content


def damaged(whole: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes of one of the whole contents after some edits."""
    return st.builds(edited, st.sampled_from(whole), st.lists(_edit(), max_size=3))


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(deeper for key, item in inside for deeper in _places(item, (*place, key)))]


def changed_json(whole: Any) -> st.SearchStrategy[bytes]:
    """The JSON text of a whole value in which some places hold something else, or nothing, or are there twice."""
    places = [place for place in _places(whole) if place]
    value = st.sampled_from(HARD_VALUES) | strategies.json_values()
    change = st.tuples(st.sampled_from(places), st.sampled_from(["set", "delete", "rename", "twice"]), value)
    return st.builds(lambda changes: _changed(whole, changes), st.lists(change, min_size=1, max_size=3))


def _changed(whole: Any, changes: Sequence[tuple[tuple[Any, ...], str, Any]]) -> bytes:
    plain, twice = copy.deepcopy(whole), None
    for place, kind, value in changes:
        inside = plain
        try:
            for key in place[:-1]:
                inside = inside[key]
            if kind == "delete":
                del inside[place[-1]]
            elif kind == "rename" and isinstance(inside, dict):
                inside[str(value)[:40]] = inside.pop(place[-1])
            elif kind == "twice" and isinstance(inside, dict):
                twice = place[-1]
            else:
                inside[place[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    text = json.dumps(plain)
    if twice is not None:
        text = text.replace(f'"{twice}":', f'"{twice}": 1, "{twice}":', 1)
    return text.encode()


def json_inputs(whole: Any, as_text: Callable[[Any], str] = json.dumps) -> st.SearchStrategy[bytes]:
    """Whole, damaged and changed texts of a value."""
    text = as_text(whole).encode()
    whole_texts = [text, b"\xef\xbb\xbf" + text]
    return st.sampled_from(whole_texts) | damaged(whole_texts) | changed_json(whole) | st.binary(max_size=40)
