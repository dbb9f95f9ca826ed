"""Loops over channels-last images in which torch is slow on a CPU, compiled by numba.

The weight gradient of depthwise convolutions, and what is left of squeeze-excitation next to its two linear layers, for
which torch goes through the images eight times. oneDNN's weight gradient takes a slow path for 5 x 5 kernels and for
sides below the kernel's. Tensors are given by address: float32, contiguous in the order (n, height, width, channels),
weights (channels, kernel, kernel).
"""

from __future__ import annotations

import numpy as np
from numba import carray

from objectives.cpu.compiled import (
    SHORT,
    add_sums,
    compiled,
    pointer,
)


@compiled
def depthwise_weight_gradient(
    images: int, height: int, width: int, channels: int, kernel: int, stride: int, x_at: int, dy_at: int, dw_at: int
) -> None:
    """``dw`` of a convolution with one filter per channel, padded by half the (odd) kernel on every side."""
    pad = (kernel - 1) // 2
    high, wide = (height - 1) // stride + 1, (width - 1) // stride + 1
    run = wide * channels
    x = carray(pointer(x_at), (images, height, width * channels))
    dy = carray(pointer(dy_at), (images, high, run))
    dw = carray(pointer(dw_at), (channels, kernel * kernel))
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
                        continue  # only padding
                    start = right // stride * channels
                    values, total = padded[right % stride, start : start + run], sums[down * kernel + right]
                    for j in range(run):
                        total[j] += gradients[j] * values[j]
        if image * height // SHORT != (image + 1) * height // SHORT or image == images - 1:
            for tap in range(kernel * kernel):
                add_sums(totals[tap], sums[tap])
    for tap in range(kernel * kernel):
        for c in range(channels):
            dw[c, tap] = totals[tap, c]


@compiled
def mean_of_pixels(images: int, pixels: int, channels: int, x_at: int, means_at: int) -> None:
    """``means`` (images, channels) of ``x``."""
    x, means = carray(pointer(x_at), images * pixels * channels), carray(pointer(means_at), (images, channels))
    totals, sums = np.zeros(channels, np.float64), np.zeros(channels, np.float32)
    for image in range(images):
        for pixel in range(pixels):
            values = x[(image * pixels + pixel) * channels : (image * pixels + pixel + 1) * channels]
            for c in range(channels):
                sums[c] += values[c]
            if pixel % SHORT == SHORT - 1:
                add_sums(totals, sums)
        add_sums(totals, sums)
        for c in range(channels):
            means[image, c] = totals[c] / pixels
        totals[:] = 0


@compiled
def gated(images: int, pixels: int, channels: int, x_at: int, gates_at: int, shifts_at: int, y_at: int) -> None:
    """``y = x * gates + shifts``, which are (images, channels); shifts of address 0 are left out."""
    x, y = carray(pointer(x_at), images * pixels * channels), carray(pointer(y_at), images * pixels * channels)
    gates = carray(pointer(gates_at), (images, channels))
    shifts = carray(pointer(shifts_at if shifts_at else gates_at), (images, channels))
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


@compiled
def gate_gradient(images: int, pixels: int, channels: int, x_at: int, dy_at: int, dgates_at: int) -> None:
    """``dgates`` (images, channels): over the pixels, the sum of ``x * dy``."""
    x, dy = carray(pointer(x_at), images * pixels * channels), carray(pointer(dy_at), images * pixels * channels)
    dgates = carray(pointer(dgates_at), (images, channels))
    totals, sums = np.zeros(channels, np.float64), np.zeros(channels, np.float32)
    for image in range(images):
        for pixel in range(pixels):
            part = slice((image * pixels + pixel) * channels, (image * pixels + pixel + 1) * channels)
            values, gradients = x[part], dy[part]
            for c in range(channels):
                sums[c] += values[c] * gradients[c]
            if pixel % SHORT == SHORT - 1:
                add_sums(totals, sums)
        add_sums(totals, sums)
        for c in range(channels):
            dgates[image, c] = totals[c]
        totals[:] = 0
