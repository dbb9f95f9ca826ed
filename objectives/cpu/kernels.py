"""Loops over channels-last images in which torch is slow on a CPU, compiled by numba.

Batch normalisation with the activation after it, the weight gradient of depthwise convolutions, and what is left of
squeeze-excitation beside its two linear layers, for which torch goes through the images eight times. Torch's batch
normalisation goes through the channels of one pixel at a time, which for the few channels of a proxy leaves most of a
vector register empty; oneDNN's weight gradient takes a slow path for 5 x 5 kernels and for sides below the kernel's.
Here several pixels are one *run* of ``pixels * channels`` values, whose length fills whole registers.

Tensors are given by address: float32, contiguous in the order (n, height, width, channels), weights (channels,) or
(channels, kernel, kernel). Up to ``_SHORT`` values are summed in float32, their sums in float64. NaN and infinities go
through as in torch. The functions let other threads run and use none of their own.
"""

from __future__ import annotations

import contextlib
import math
import pickle
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

PLAIN, RELU, RELU6, SILU = range(4)
"""What may come after a normalisation: nothing, or an activation."""

_UNUSABLE = OSError, EOFError, pickle.UnpicklingError
_SHORT = 256
_ZERO, _HALF, _ONE, _SIX = (np.float32(value) for value in (0, 0.5, 1, 6))
_LOWEST, _HIGHEST = np.float32(-126), np.float32(126)
_LOG2_E = np.float32(math.log2(math.e))
# ln(2)^k / k!, from k = 6 down: the Taylor polynomial of 2^x, of relative error 1e-7 between -0.5 and 0.5
_T6, _T5, _T4, _T3, _T2, _T1 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(6, 0, -1))
_OPTIONS = {
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},  # but not those by which a NaN may be lost
    "error_model": "numpy",  # a check of every division would leave no loop to vectors
}


class _Files(FunctionCache):  # type: ignore[misc]
    """Files of machine code that may be lost: a disk is full, or a power cut left them short."""

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


def _compiled(function: Callable[..., Any]) -> Callable[..., None]:
    """The function as machine code, kept for later processes where a folder for it can be written."""
    compiled = numba.njit(**_OPTIONS, nogil=True)(function)
    with contextlib.suppress(RuntimeError, AttributeError):  # no such folder; nothing is compiled at all
        compiled._cache = _Files(compiled.py_func)
    return compiled  # type: ignore[no-any-return]


_inlined = numba.njit(**_OPTIONS, inline="always")
_called = numba.njit(**_OPTIONS)


@intrinsic
def _pointer(_: Any, address: Any) -> Any:
    """The address as a pointer to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(address), generate


@intrinsic
def _floor(_: Any, __: Any) -> Any:
    """The next whole float32 below; numpy's is not taken for a whole vector."""

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


@_inlined
def _sigmoid(value: Any) -> Any:
    """1 / (1 + exp(-value)); ``math.exp`` would be called for one value at a time."""
    power = -value * _LOG2_E
    power = _LOWEST if power < _LOWEST else power
    power = _HIGHEST if power > _HIGHEST else power
    whole = _floor(power + _HALF)
    x = power - whole
    part = (((((_T6 * x + _T5) * x + _T4) * x + _T3) * x + _T2) * x + _T1) * x + _ONE
    return _ONE / (_ONE + part * _power_of_two(whole))


@_inlined
def _activated(kind: int, value: Any) -> Any:
    if kind == RELU:
        return _ZERO if value < _ZERO else value
    if kind == RELU6:
        return _ZERO if value < _ZERO else (_SIX if value > _SIX else value)
    if kind == SILU:
        return value * _sigmoid(value)
    return value


@_inlined
def _gradient(kind: int, gradient: Any, value: Any) -> Any:
    """The gradient of ``value``, which went into the activation, from that of what came out."""
    if kind == RELU:
        return _ZERO if value <= _ZERO else gradient
    if kind == RELU6:
        return _ZERO if value <= _ZERO or value >= _SIX else gradient
    if kind == SILU:
        gate = _sigmoid(value)
        return gradient * gate * (_ONE + value * (_ONE - gate))
    return gradient


@_called
def _run_length(channels: int) -> int:
    """Values of a run: whole pixels that fill whole registers, or one pixel of many channels."""
    return channels if channels >= _SHORT else channels * (32 // math.gcd(channels, 32))


@_called
def _add(totals: Any, sums: Any) -> None:
    """Add the sums of a run to the totals of its channels, and start them again from 0."""
    channels = len(totals)
    for at in range(0, len(sums), channels):
        for c in range(channels):
            totals[c] += sums[at + c]
    sums[:] = 0


@_called
def _as_run(values: Any, run: int) -> Any:
    """The values of the channels, for every pixel of a run."""
    row = np.empty(run, np.float32)
    for at in range(0, run, len(values)):
        row[at : at + len(values)] = values
    return row


@_called
def _find_moments(x: Any, means: Any, variances: Any, run: int) -> None:
    """Mean and variance of every channel, in two passes."""
    channels = len(means)
    count, whole = len(x) // channels, len(x) // run
    totals, sums = np.zeros(channels, np.float64), np.zeros(run, np.float32)
    for row in range(whole):
        values = x[row * run : (row + 1) * run]
        for j in range(run):
            sums[j] += values[j]
        if row % _SHORT == _SHORT - 1:
            _add(totals, sums)
    _add(totals, sums)
    for j in range(whole * run, len(x)):
        totals[j % channels] += x[j]
    for c in range(channels):
        means[c] = totals[c] / count
    mean = _as_run(means, run)
    totals[:] = 0
    for row in range(whole):
        values = x[row * run : (row + 1) * run]
        for j in range(run):
            off = values[j] - mean[j]
            sums[j] += off * off
        if row % _SHORT == _SHORT - 1:
            _add(totals, sums)
    _add(totals, sums)
    for j in range(whole * run, len(x)):
        off = x[j] - means[j % channels]
        totals[j % channels] += off * off
    for c in range(channels):
        variances[c] = totals[c] / count


def _normalisation(kind: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Forward and backward pass for one kind of activation, which has to be known when they are compiled."""

    def normalise(
        count: int,
        channels: int,
        x_at: int,
        y_at: int,
        weight_at: int,
        bias_at: int,
        saved_at: int,
        running_mean_at: int,
        running_variance_at: int,
        momentum: float,
        epsilon: float,
    ) -> None:
        """``y``: the ``count`` pixels of ``x``, normalised over the batch and activated; updates running values.

        ``saved`` (3, channels) takes means, inverse deviations and scales for the backward pass.
        """
        x, y = carray(_pointer(x_at), count * channels), carray(_pointer(y_at), count * channels)
        weight, bias = carray(_pointer(weight_at), channels), carray(_pointer(bias_at), channels)
        saved = carray(_pointer(saved_at), (3, channels))
        running_mean = carray(_pointer(running_mean_at), channels)
        running_variance = carray(_pointer(running_variance_at), channels)
        variances, shifts = np.empty(channels, np.float32), np.empty(channels, np.float32)
        run = _run_length(channels)
        _find_moments(x, saved[0], variances, run)
        for c in range(channels):
            running_mean[c] += momentum * (saved[0, c] - running_mean[c])
            running_variance[c] += momentum * (variances[c] * count / (count - 1) - running_variance[c])
            saved[1, c] = 1 / math.sqrt(variances[c] + epsilon)
            saved[2, c] = weight[c] * saved[1, c]
            shifts[c] = bias[c] - saved[0, c] * saved[2, c]
        scale, shift = _as_run(saved[2], run), _as_run(shifts, run)
        whole = len(x) // run
        for row in range(whole):
            values, out = x[row * run : (row + 1) * run], y[row * run : (row + 1) * run]
            for j in range(run):
                out[j] = _activated(kind, values[j] * scale[j] + shift[j])
        for j in range(whole * run, len(x)):
            y[j] = _activated(kind, x[j] * saved[2, j % channels] + shifts[j % channels])

    def normalise_backward(
        count: int,
        channels: int,
        x_at: int,
        dy_at: int,
        dx_at: int,
        bias_at: int,
        saved_at: int,
        dweight_at: int,
        dbias_at: int,
    ) -> None:
        """The gradients ``dx``, ``dweight`` and ``dbias`` from ``dy`` and what the forward pass saved."""
        x, dy = carray(_pointer(x_at), count * channels), carray(_pointer(dy_at), count * channels)
        dx, bias = carray(_pointer(dx_at), count * channels), carray(_pointer(bias_at), channels)
        saved = carray(_pointer(saved_at), (3, channels))
        dweight, dbias = carray(_pointer(dweight_at), channels), carray(_pointer(dbias_at), channels)
        run = _run_length(channels)
        whole = len(x) // run
        mean, scale, shift = _as_run(saved[0], run), _as_run(saved[2], run), _as_run(bias, run)
        plain, weighted = np.zeros(channels, np.float64), np.zeros(channels, np.float64)
        sums, weighted_sums = np.zeros(run, np.float32), np.zeros(run, np.float32)
        for row in range(whole):
            part = slice(row * run, (row + 1) * run)
            values, gradients, out = x[part], dy[part], dx[part]
            for j in range(run):
                off = values[j] - mean[j]
                gradient = _gradient(kind, gradients[j], off * scale[j] + shift[j])
                if kind == SILU:
                    out[j] = gradient  # dear enough to be kept
                sums[j] += gradient
                weighted_sums[j] += gradient * off
            if row % _SHORT == _SHORT - 1:
                _add(plain, sums)
                _add(weighted, weighted_sums)
        _add(plain, sums)
        _add(weighted, weighted_sums)
        for j in range(whole * run, len(x)):
            c = j % channels
            off = x[j] - saved[0, c]
            dx[j] = _gradient(kind, dy[j], off * saved[2, c] + bias[c])
            plain[c] += dx[j]
            weighted[c] += dx[j] * off
        # dx = scale * (gradient - its mean - normalised x * mean of gradient times normalised x): linear in x
        slopes, steps = np.empty(channels, np.float32), np.empty(channels, np.float32)
        for c in range(channels):
            dbias[c] = plain[c]
            dweight[c] = weighted[c] * saved[1, c]
            slopes[c] = -saved[2, c] * saved[1, c] * saved[1, c] * weighted[c] / count
            steps[c] = -saved[2, c] * plain[c] / count - saved[0, c] * slopes[c]
        slope, step = _as_run(slopes, run), _as_run(steps, run)
        for row in range(whole):
            part = slice(row * run, (row + 1) * run)
            values, gradients, out = x[part], dy[part], dx[part]
            for j in range(run):
                if kind == SILU:
                    gradient = out[j]
                else:
                    gradient = _gradient(kind, gradients[j], (values[j] - mean[j]) * scale[j] + shift[j])
                out[j] = gradient * scale[j] + values[j] * slope[j] + step[j]
        for j in range(whole * run, len(x)):
            c = j % channels
            dx[j] = dx[j] * saved[2, c] + x[j] * slopes[c] + steps[c]

    for function in (normalise, normalise_backward):  # in a file of its own: what processes store at once would mix
        function.__qualname__ += f".{kind}"
    return _compiled(normalise), _compiled(normalise_backward)


NORMALISATIONS = tuple(_normalisation(kind) for kind in (PLAIN, RELU, RELU6, SILU))
"""By kind of activation: the forward and the backward pass of batch normalisation."""


@_compiled
def depthwise_weight_gradient(
    images: int, height: int, width: int, channels: int, kernel: int, stride: int, x_at: int, dy_at: int, dw_at: int
) -> None:
    """``dw`` of a convolution with one filter per channel, padded by half the (odd) kernel on every side."""
    pad = (kernel - 1) // 2
    high, wide = (height - 1) // stride + 1, (width - 1) // stride + 1
    run = wide * channels
    x = carray(_pointer(x_at), (images, height, width * channels))
    dy = carray(_pointer(dy_at), (images, high, run))
    dw = carray(_pointer(dw_at), (channels, kernel * kernel))
    # one row of x between zeros, its pixels sorted by their place modulo the stride: those of a tap are neighbours then
    padded = np.zeros((stride, (width + 2 * pad + stride - 1) // stride * channels), np.float32)
    totals = np.zeros((kernel * kernel, channels), np.float64)
    sums = np.zeros((kernel * kernel, run), np.float32)
    for image in range(images):
        for row in range(height):
            for column in range(width):
                phase, place = (column + pad) % stride, (column + pad) // stride * channels
                for c in range(channels):
                    padded[phase, place + c] = x[image, row, column * channels + c]
            for down in range(kernel):
                out = row + pad - down
                if out % stride or out < 0 or out >= high * stride:
                    continue
                gradients = dy[image, out // stride]
                for right in range(kernel):
                    if right - pad >= width or (wide - 1) * stride + right < pad:
                        continue  # nothing but padding
                    start = right // stride * channels
                    values, total = padded[right % stride, start : start + run], sums[down * kernel + right]
                    for j in range(run):
                        total[j] += gradients[j] * values[j]
        if image * height // _SHORT != (image + 1) * height // _SHORT or image == images - 1:
            for tap in range(kernel * kernel):
                _add(totals[tap], sums[tap])
    for tap in range(kernel * kernel):
        for c in range(channels):
            dw[c, tap] = totals[tap, c]


@_compiled
def mean_of_pixels(images: int, pixels: int, channels: int, x_at: int, means_at: int) -> None:
    """``means`` (images, channels) of ``x``."""
    x, means = carray(_pointer(x_at), images * pixels * channels), carray(_pointer(means_at), (images, channels))
    totals, sums = np.zeros(channels, np.float64), np.zeros(channels, np.float32)
    for image in range(images):
        for pixel in range(pixels):
            values = x[(image * pixels + pixel) * channels : (image * pixels + pixel + 1) * channels]
            for c in range(channels):
                sums[c] += values[c]
            if pixel % _SHORT == _SHORT - 1:
                _add(totals, sums)
        _add(totals, sums)
        for c in range(channels):
            means[image, c] = totals[c] / pixels
        totals[:] = 0


@_compiled
def gated(images: int, pixels: int, channels: int, x_at: int, gates_at: int, shifts_at: int, y_at: int) -> None:
    """``y = x * gates + shifts``, which are (images, channels); shifts of address 0 are left out."""
    x, y = carray(_pointer(x_at), images * pixels * channels), carray(_pointer(y_at), images * pixels * channels)
    gates = carray(_pointer(gates_at), (images, channels))
    shifts = carray(_pointer(shifts_at if shifts_at else gates_at), (images, channels))
    for image in range(images):
        gate, shift = gates[image], shifts[image]
        for pixel in range(pixels):
            part = slice((image * pixels + pixel) * channels, (image * pixels + pixel + 1) * channels)
            values, out = x[part], y[part]
            if shifts_at:
                for c in range(channels):
                    out[c] = values[c] * gate[c] + shift[c]
            else:
                for c in range(channels):
                    out[c] = values[c] * gate[c]


@_compiled
def gate_gradient(images: int, pixels: int, channels: int, x_at: int, dy_at: int, dgates_at: int) -> None:
    """``dgates`` (images, channels): over the pixels, the sum of ``x * dy``."""
    x, dy = carray(_pointer(x_at), images * pixels * channels), carray(_pointer(dy_at), images * pixels * channels)
    dgates = carray(_pointer(dgates_at), (images, channels))
    totals, sums = np.zeros(channels, np.float64), np.zeros(channels, np.float32)
    for image in range(images):
        for pixel in range(pixels):
            part = slice((image * pixels + pixel) * channels, (image * pixels + pixel + 1) * channels)
            values, gradients = x[part], dy[part]
            for c in range(channels):
                sums[c] += values[c] * gradients[c]
            if pixel % _SHORT == _SHORT - 1:
                _add(totals, sums)
        _add(totals, sums)
        for c in range(channels):
            dgates[image, c] = totals[c]
        totals[:] = 0
