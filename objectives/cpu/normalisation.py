"""Batch normalisation with the activation after it, over channels-last images, compiled by numba.

Torch's loop handles the channels of one pixel at a time. For the few channels of a proxy, most of a vector register
then stays empty. Tensors are given by address: float32, contiguous in the order (n, height, width, channels), weights
(channels,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray

from objectives.cpu.compiled import (
    PLAIN,
    RELU,
    RELU6,
    SHORT,
    SILU,
    activated,
    add_sums,
    as_run,
    called,
    compiled,
    gradient_before,
    pointer,
    run_length,
)


@called
def _find_moments(x: Any, means: Any, variances: Any, run: int) -> None:
    """Mean and variance of every channel, in two passes."""
    channels = len(means)
    count, whole = len(x) // channels, len(x) // run
    totals, sums = np.zeros(channels, np.float64), np.zeros(run, np.float32)
    for row in range(whole):
        values = x[row * run : (row + 1) * run]
        for j in range(run):
            sums[j] += values[j]
        if row % SHORT == SHORT - 1:
            add_sums(totals, sums)
    add_sums(totals, sums)
    for j in range(whole * run, len(x)):
        totals[j % channels] += x[j]
    for c in range(channels):
        means[c] = totals[c] / count
    mean = as_run(means, run)
    totals[:] = 0
    for row in range(whole):
        values = x[row * run : (row + 1) * run]
        for j in range(run):
            off = values[j] - mean[j]
            sums[j] += off * off
        if row % SHORT == SHORT - 1:
            add_sums(totals, sums)
    add_sums(totals, sums)
    for j in range(whole * run, len(x)):
        off = x[j] - means[j % channels]
        totals[j % channels] += off * off
    for c in range(channels):
        variances[c] = totals[c] / count


@called
def _find_lines(
    plain: Any, weighted: Any, saved: Any, count: int, dweight: Any, dbias: Any, slopes: Any, steps: Any
) -> None:
    """Gradients of scale and bias from the sums, and ``dx = scale * gradient + slope * x + step`` for every channel.

    dx is scale * (gradient - its mean - normalised x * mean of gradient times normalised x): linear in x.
    """
    for c in range(len(plain)):
        dbias[c] = plain[c]
        dweight[c] = weighted[c] * saved[1, c]
        slopes[c] = -saved[2, c] * saved[1, c] * saved[1, c] * weighted[c] / count
        steps[c] = -saved[2, c] * plain[c] / count - saved[0, c] * slopes[c]


def _forward(kind: int) -> Callable[..., None]:
    """The forward pass for one kind of activation, which has to be known when it is compiled."""

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
        x, y = carray(pointer(x_at), count * channels), carray(pointer(y_at), count * channels)
        weight, bias = carray(pointer(weight_at), channels), carray(pointer(bias_at), channels)
        saved = carray(pointer(saved_at), (3, channels))
        running_mean = carray(pointer(running_mean_at), channels)
        running_variance = carray(pointer(running_variance_at), channels)
        variances, shifts = np.empty(channels, np.float32), np.empty(channels, np.float32)
        run = run_length(channels)
        _find_moments(x, saved[0], variances, run)
        for c in range(channels):
            running_mean[c] += momentum * (saved[0, c] - running_mean[c])
            running_variance[c] += momentum * (variances[c] * count / (count - 1) - running_variance[c])
            saved[1, c] = 1 / math.sqrt(variances[c] + epsilon)
            saved[2, c] = weight[c] * saved[1, c]
            shifts[c] = bias[c] - saved[0, c] * saved[2, c]
        scale, shift = as_run(saved[2], run), as_run(shifts, run)
        whole = len(x) // run
        for row in range(whole):
            values, out = x[row * run : (row + 1) * run], y[row * run : (row + 1) * run]
            for j in range(run):
                out[j] = activated(kind, values[j] * scale[j] + shift[j])
        for j in range(whole * run, len(x)):
            y[j] = activated(kind, x[j] * saved[2, j % channels] + shifts[j % channels])

    return _of_kind(normalise, kind)


def _backward(kind: int) -> Callable[..., None]:
    """The backward pass for one kind of activation."""

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
        x, dy = carray(pointer(x_at), count * channels), carray(pointer(dy_at), count * channels)
        dx, bias = carray(pointer(dx_at), count * channels), carray(pointer(bias_at), channels)
        saved = carray(pointer(saved_at), (3, channels))
        dweight, dbias = carray(pointer(dweight_at), channels), carray(pointer(dbias_at), channels)
        run = run_length(channels)
        whole = len(x) // run
        mean, scale, shift = as_run(saved[0], run), as_run(saved[2], run), as_run(bias, run)
        plain, weighted = np.zeros(channels, np.float64), np.zeros(channels, np.float64)
        sums, weighted_sums = np.zeros(run, np.float32), np.zeros(run, np.float32)
        for row in range(whole):
            part = slice(row * run, (row + 1) * run)
            values, gradients, out = x[part], dy[part], dx[part]
            for j in range(run):
                off = values[j] - mean[j]
                gradient = gradient_before(kind, gradients[j], off * scale[j] + shift[j])
                if kind == SILU:
                    out[j] = gradient  # takes long enough to be worth keeping
                sums[j] += gradient
                weighted_sums[j] += gradient * off
            if row % SHORT == SHORT - 1:
                add_sums(plain, sums)
                add_sums(weighted, weighted_sums)
        add_sums(plain, sums)
        add_sums(weighted, weighted_sums)
        for j in range(whole * run, len(x)):
            c = j % channels
            off = x[j] - saved[0, c]
            dx[j] = gradient_before(kind, dy[j], off * saved[2, c] + bias[c])
            plain[c] += dx[j]
            weighted[c] += dx[j] * off
        slopes, steps = np.empty(channels, np.float32), np.empty(channels, np.float32)
        _find_lines(plain, weighted, saved, count, dweight, dbias, slopes, steps)
        slope, step = as_run(slopes, run), as_run(steps, run)
        for row in range(whole):
            part = slice(row * run, (row + 1) * run)
            values, gradients, out = x[part], dy[part], dx[part]
            for j in range(run):
                if kind == SILU:
                    gradient = out[j]
                else:
                    gradient = gradient_before(kind, gradients[j], (values[j] - mean[j]) * scale[j] + shift[j])
                out[j] = gradient * scale[j] + values[j] * slope[j] + step[j]
        for j in range(whole * run, len(x)):
            c = j % channels
            dx[j] = dx[j] * saved[2, c] + x[j] * slopes[c] + steps[c]

    return _of_kind(normalise_backward, kind)


def _of_kind(function: Callable[..., None], kind: int) -> Callable[..., None]:
    """Compiled, in a file of its own, because several processes may store at the same time."""
    function.__qualname__ += f".{kind}"
    return compiled(function)


NORMALISATIONS = tuple((_forward(kind), _backward(kind)) for kind in (PLAIN, RELU, RELU6, SILU))
"""By kind of activation: the forward and the backward pass of batch normalisation."""
