"""Linear algebra on one thread."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra on one thread: with small matrices, more threads wait for each other and for other
    workers."""
    with _thread_pools(len(sys.modules)).limit(limits=1):
        yield


@functools.lru_cache(maxsize=1)
def _thread_pools(_modules: int) -> ThreadpoolController:
    """All libraries with their own threads; searched again, which takes 3 ms, after modules were imported."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
