"""What the compiled loops share: how they are compiled and kept, activations, and sums over runs of pixels.

Several pixels are one *run* of ``pixels * channels`` values, whose length fills whole registers. Up to ``SHORT`` values
are summed in float32, their sums in float64. NaN and infinities go through as in torch. The functions let other threads
run and use none of their own.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

PLAIN, RELU, RELU6, SILU = range(4)
"""What may come after a normalisation: nothing, or an activation."""

_ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_UNUSABLE = OSError, EOFError, pickle.UnpicklingError
SHORT = 256
ZERO, HALF, ONE, SIX = (np.float32(value) for value in (0, 0.5, 1, 6))
_LOWEST, _HIGHEST = np.float32(-126), np.float32(126)
_LOG2_E = np.float32(math.log2(math.e))
# ln(2)^k / k!, from k = 6 down: the Taylor polynomial of 2^x, of relative error 1e-7 between -0.5 and 0.5
_T6, _T5, _T4, _T3, _T2, _T1 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(6, 0, -1))
_OPTIONS = {
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},  # all but those that may lose a NaN
    "error_model": "numpy",  # checking every division would prevent vectorised loops
}


class _Files(FunctionCache):  # type: ignore[misc]
    """Files of machine code that may be missing or incomplete, after a full disk or a power cut."""

    def load_overload(self, *arguments: Any) -> Any:
        try:
            return super().load_overload(*arguments)
        except _UNUSABLE:
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *arguments: Any) -> None:
        with contextlib.suppress(*_UNUSABLE):
            super().save_overload(*arguments)


def compiled(function: Callable[..., Any]) -> Callable[..., None]:
    """The function as machine code, kept for later processes where a folder for it can be written."""
    made = numba.njit(**_OPTIONS, nogil=True)(function)
    made.compile = _without_interruption(made.compile)
    with contextlib.suppress(RuntimeError, AttributeError):  # no such folder; nothing is compiled at all
        made._cache = _Files(made.py_func)
    return made  # type: ignore[no-any-return]


def _without_interruption(compile_: Callable[..., Any]) -> Callable[..., Any]:
    """Delay exceptions that signals raise, as Ctrl-C does, until the end of a compilation: some seconds at most.

    In the middle of one they would be lost inside LLVM, and numba would fail later because the code is missing.
    """

    def compiling(*arguments: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            return compile_(*arguments)  # signals are handled elsewhere
        came: list[int] = []
        waiting = [number for number in _ENDINGS if callable(signal.getsignal(number))]
        handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in waiting}
        try:
            return compile_(*arguments)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for number in came[:1]:
                signal.raise_signal(number)

    return compiling


inlined = numba.njit(**_OPTIONS, inline="always")
called = numba.njit(**_OPTIONS)


@intrinsic
def pointer(_: Any, address: Any) -> Any:
    """The address as a pointer to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(address), generate


@intrinsic
def _floor(_: Any, __: Any) -> Any:
    """The largest whole float32 that is not larger; numpy's function is not vectorised."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.floor", [ir.FloatType()]), arguments)

    return types.float32(types.float32), generate


@intrinsic
def _power_of_two(_: Any, __: Any) -> Any:
    """2 to a whole float32 from -126 to 127; the bits of the result are (exponent + 127) << 23."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        whole = builder.add(builder.fptosi(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(whole, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.float32), generate


@inlined
def sigmoid(value: Any) -> Any:
    """1 / (1 + exp(-value)); ``math.exp`` would be called for one value at a time."""
    power = -value * _LOG2_E
    power = _LOWEST if power < _LOWEST else power
    power = _HIGHEST if power > _HIGHEST else power
    whole = _floor(power + HALF)
    x = power - whole
    part = (((((_T6 * x + _T5) * x + _T4) * x + _T3) * x + _T2) * x + _T1) * x + ONE
    return ONE / (ONE + part * _power_of_two(whole))


@inlined
def activated(kind: int, value: Any) -> Any:
    if kind == RELU:
        return ZERO if value < ZERO else value
    if kind == RELU6:
        return ZERO if value < ZERO else (SIX if value > SIX else value)
    if kind == SILU:
        return value * sigmoid(value)
    return value


@inlined
def gradient_before(kind: int, gradient: Any, value: Any) -> Any:
    """The gradient of ``value``, which went into the activation, from that of what came out."""
    if kind == RELU:
        return ZERO if value <= ZERO else gradient
    if kind == RELU6:
        return ZERO if value <= ZERO or value >= SIX else gradient
    if kind == SILU:
        gate = sigmoid(value)
        return gradient * gate * (ONE + value * (ONE - gate))
    return gradient


@called
def run_length(channels: int) -> int:
    """Values of a run: whole pixels that fill whole registers, or one pixel of many channels."""
    return channels if channels >= SHORT else channels * (32 // math.gcd(channels, 32))


@called
def add_sums(totals: Any, sums: Any) -> None:
    """Add the sums of a run to the totals of its channels, and start them again from 0."""
    channels = len(totals)
    for at in range(0, len(sums), channels):
        for c in range(channels):
            totals[c] += sums[at + c]
    sums[:] = 0


@called
def as_run(values: Any, run: int) -> Any:
    """The values of the channels, for every pixel of a run."""
    row = np.empty(run, np.float32)
    for at in range(0, run, len(values)):
        row[at : at + len(values)] = values
    return row
