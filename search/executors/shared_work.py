"""The work of an executor in a file that all worker processes map, so that its arrays are in memory once.

If the system allows it, the file has no name: it disappears with the last process that has it open, however that ends.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from multiprocessing import reduction
from typing import Any

import cloudpickle

from phiscale.errors import SettingsError
from search.executors.contract import Work, cannot_send

_WORD, _ALIGNED = 8, 64
"""Bytes of a length; bytes to which every part is aligned."""


class SharedWork:
    """The work as the driver writes it; a spawned process that receives it can load it from the same file."""

    def __init__(self, work: Work) -> None:
        """Write the work by pickle, with its arrays separate so that they can be mapped. Raises ``SettingsError``."""
        if not hasattr(reduction, "DupFd"):
            raise SettingsError("expected Linux or macOS for several worker processes; use --workers 1")
        buffers: list[pickle.PickleBuffer] = []
        try:
            code = cloudpickle.dumps(work, protocol=5, buffer_callback=buffers.append)
        except Exception as error:  # noqa: BLE001 - objects raise anything when they are pickled
            raise cannot_send(error) from None
        self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the workers
        parts = [memoryview(code), *(buffer.raw() for buffer in buffers)]
        lengths = [len(part) for part in parts]
        self._file.write(b"".join(number.to_bytes(_WORD, "little") for number in (len(lengths), *lengths)))
        for place, part in zip(_places(lengths), parts, strict=True):
            self._file.seek(place)
            self._file.write(part)
        self._file.truncate(max(self._file.tell(), 1))
        self._file.flush()

    def close(self) -> None:
        """Close the file; workers keep theirs open."""
        self._file.close()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return ReceivedWork, (reduction.DupFd(self._file.fileno()),)


class ReceivedWork:
    """The work on its way to a worker."""

    def __init__(self, duplicated: Any) -> None:
        self._descriptor: int = duplicated.detach()

    def load(self) -> Work:
        """The work, as the driver of this process wrote it. A worker's changes to the arrays stay private."""
        whole = memoryview(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_COPY))
        os.close(self._descriptor)
        count = int.from_bytes(whole[:_WORD], "little")
        words = [whole[_WORD * (index + 1) : _WORD * (index + 2)] for index in range(count)]
        lengths = [int.from_bytes(word, "little") for word in words]
        parts = [whole[place : place + length] for place, length in zip(_places(lengths), lengths, strict=True)]
        work: Work = pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - of this process's own driver
        return work


def _places(lengths: list[int]) -> list[int]:
    """Where each part begins in the file."""
    places, at = [], _WORD * (1 + len(lengths))
    for length in lengths:
        at = -(-at // _ALIGNED) * _ALIGNED
        places.append(at)
        at += length
    return places
