"""Repeat the same work on a device: on a GPU as one CUDA graph instead of hundreds of launches.

A small network keeps a GPU waiting for its next kernel. All shapes of a training are fixed, so its step can be captured
once and replayed: the same kernels on the same memory, launched together.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable

import torch

from objectives.networks.own_module import first_line

_PLAIN_RUNS = 3
"""Runs before the capture, in which libraries choose kernels and optimisers make their state; they count as work."""
_broken: list[torch.cuda.CUDAGraph] = []
"""Graphs whose capture failed. The allocator may still refer to such a graph, so it is kept, and nothing more is
captured in this process."""


class Replayed:
    """Does the same work at every call; on a GPU, if ``wanted``, by a captured graph after the first few calls.

    The work reads and writes tensors that stay where they are, and never waits for the device. If it cannot be
    captured, it runs without a graph, with a line in the log. Source: PyTorch's "CUDA semantics", section "CUDA
    Graphs".
    """

    def __init__(self, device: torch.device, *, wanted: bool) -> None:
        self._device = device
        self._wanted = wanted and device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._runs = 0

    def __call__(self, work: Callable[[], None]) -> None:
        """Do ``work``, which is not stored, so that its owner can store this object without a reference cycle."""
        if self._graph is None and self._may_capture() and self._runs >= _PLAIN_RUNS:
            self._capture(work)
        if self._graph is not None:
            self._graph.replay()
        elif self._may_capture():
            self._run_aside(work)
        else:
            work()

    @property
    def kind(self) -> str:
        """How the last call ran, as a person reads it."""
        if self._graph is not None:
            return "replayed as a CUDA graph"
        return "launched kernel by kernel" if self._device.type == "cuda" else "run directly"

    def _may_capture(self) -> bool:
        return self._wanted and not _broken

    def _run_aside(self, work: Callable[[], None]) -> None:
        """Run on the stream of the capture: gradients remember the stream on which they were first accumulated."""
        aside, current = _aside(self._device), torch.cuda.current_stream(self._device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            work()
        current.wait_stream(aside)
        self._runs += 1

    def _capture(self, work: Callable[[], None]) -> None:
        """Record the work without doing it."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            with torch.cuda.graph(graph, stream=_aside(self._device)):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _broken.append(graph)
            torch.cuda.set_stream(current)  # a failed capture may leave its own stream behind
            _end_capture_of_random_numbers(self._device)
            logger = logging.getLogger(__name__)
            logger.warning("all training steps from here on run without a CUDA graph, slower: %s", first_line(error))
            return
        self._graph = graph


def _end_capture_of_random_numbers(device: torch.device) -> None:
    """Let dropout draw again: after a failed capture the generator refuses, as if the capture still ran.

    A copy of its state has the same seed and position, and is not being captured.
    """
    with contextlib.suppress(AttributeError, RuntimeError):  # versions of torch without these functions
        index = torch.cuda.current_device() if device.index is None else device.index
        generator = torch.cuda.default_generators[index]
        generator.graphsafe_set_state(generator.clone_state())


@functools.cache
def _aside(device: torch.device) -> torch.cuda.Stream:
    """One stream for all captures on a device: libraries keep memory for each stream that they have seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
