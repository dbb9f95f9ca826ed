"""Layers that train fast on a CPU: convolution, batch normalisation and activation as one; squeeze-excitation.

The same functions and gradients as torch's layers, up to rounding: a 1 x 1 convolution is one matrix product over all
pixels, the rest are the compiled loops of this folder, and each is one autograd node. In evaluation torch's layers run
as they are.
"""

from __future__ import annotations

from typing import Any

import numba
import torch
from torch import Tensor, nn

from objectives.cpu import compiled as loops
from objectives.cpu import kernels as cpu_kernels
from objectives.cpu.normalisation import NORMALISATIONS
from objectives.networks.layers import SqueezeExcitation
from phiscale.errors import TrialError

_KINDS = {nn.ReLU: loops.RELU, nn.ReLU6: loops.RELU6, nn.SiLU: loops.SILU}
_LAYOUT = torch.channels_last


def join_layers(network: nn.Module) -> None:
    """Join the layers of a network in place, unless numba is told to compile nothing.

    Parameters and buffers stay the same.
    """
    if numba.config.DISABLE_JIT:
        return
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and not isinstance(module, ConvNorm):
            _join(module)


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch normalisation, and perhaps an activation. Images: float32, on a CPU."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, *activation: nn.Module) -> None:
        super().__init__(convolution, norm, *activation)
        kind = _KINDS[type(activation[0])] if activation else loops.PLAIN
        # in tuples: a module does not search these for parameters, and access is faster
        self._layers = convolution, norm
        self._tensors = convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var
        self._normalise = NORMALISATIONS[kind]
        self._is_product = convolution.kernel_size == convolution.stride == (1, 1) and convolution.groups == 1

    def forward(self, images: Tensor) -> Tensor:
        if not self._layers[1].training:
            return super().forward(images)  # type: ignore[no-any-return, no-untyped-call]
        return _ConvNorm.apply(images, self, *self._tensors[:3])  # type: ignore[no-any-return, no-untyped-call]

    def train_forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The result; and what the backward pass needs besides the images: the features and their statistics."""
        filters, weight, bias, running_mean, running_variance = self._tensors
        convolution, norm = self._layers
        channels, (n, _, height, width) = convolution.out_channels, images.shape
        if self._is_product:
            features = torch.mm(_pixels(images), filters.view(channels, -1).t())
        else:
            features = convolution(images).contiguous(memory_format=_LAYOUT)
        if features.numel() == channels:
            raise TrialError(
                "shape",
                "batch normalisation cannot train on one image of 1 x 1 features; use a larger batch or resolution",
            )
        result, saved = torch.empty_like(features), weight.new_empty(3, channels)
        addresses = _addresses(features, result, weight, bias, saved, running_mean, running_variance)
        self._normalise[0](features.numel() // channels, channels, *addresses, norm.momentum, norm.eps)
        if self._is_product:
            result = result.view(n, height, width, -1).permute(0, 3, 1, 2)
        return result, features, saved

    def train_backward(
        self, images: Tensor, features: Tensor, saved: Tensor, gradient: Tensor, wanted: bool
    ) -> tuple[Tensor | None, ...]:
        """Gradients of the images, where ``wanted``, and of filters, weight and bias."""
        filters, weight, bias, *_ = self._tensors
        channels = self._layers[0].out_channels
        inner, dweight, dbias = torch.empty_like(features), torch.empty_like(weight), torch.empty_like(bias)
        addresses = _addresses(features, gradient, inner, bias, saved, dweight, dbias)
        self._normalise[1](features.numel() // channels, channels, *addresses)
        if self._is_product:
            dfilters = torch.mm(inner.t(), _pixels(images)).view(filters.shape)
            n, _, height, width = images.shape
            back = torch.mm(inner, filters.view(channels, -1)) if wanted else None
            dimages = None if back is None else back.view(n, height, width, -1).permute(0, 3, 1, 2)
        else:
            dimages, dfilters = _convolution_backward(self._layers[0], images, filters, inner, wanted)
        return dimages, dfilters, dweight, dbias


class Excitation(nn.Module):
    """Squeeze-excitation that reads every image twice in the forward and twice in the backward pass."""

    def __init__(self, plain: SqueezeExcitation) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return self.plain(images)  # type: ignore[no-any-return]
        return _Excitation.apply(images, self.plain, *self.plain.parameters())  # type: ignore[no-any-return, no-untyped-call]


def _join(layers: nn.Sequential) -> None:
    """Put every convolution of a sequence, its normalisation and an activation that is known into a ``ConvNorm``, and
    squeeze-excitations into ``Excitation``s."""
    found = list(layers)
    joined: list[nn.Module] = []
    while found:
        layer = found.pop(0)
        norm = found[0] if found else None
        if isinstance(layer, nn.Conv2d) and layer.bias is None and isinstance(norm, nn.BatchNorm2d):
            del found[0]
            activation = [found.pop(0)] if found and type(found[0]) in _KINDS else []
            layer = ConvNorm(layer, norm, *activation)
        elif isinstance(layer, SqueezeExcitation):
            layer = Excitation(layer)
        joined.append(layer)
    del layers[:]
    layers.extend(joined)


class _ConvNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, layer: ConvNorm, *_learned: Tensor) -> Tensor:
        images = images.contiguous(memory_format=_LAYOUT)
        result, features, saved = layer.train_forward(images)
        ctx.save_for_backward(images, features, saved)
        ctx.layer = layer
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradient.contiguous(memory_format=_LAYOUT)
        dimages, *learned = ctx.layer.train_backward(*ctx.saved_tensors, gradient, ctx.needs_input_grad[0])
        return dimages, None, *learned


class _Excitation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, layer: SqueezeExcitation, *_learned: Tensor) -> Tensor:
        images = images.contiguous(memory_format=_LAYOUT)
        n, channels, height, width = images.shape
        means, result = images.new_empty(n, channels), torch.empty_like(images)
        cpu_kernels.mean_of_pixels(n, height * width, channels, *_addresses(images, means))
        with torch.enable_grad():  # the gate has a graph of its own
            gates = layer.gate(means.requires_grad_())
        cpu_kernels.gated(n, height * width, channels, *_addresses(images, gates), 0, result.data_ptr())
        ctx.save_for_backward(images)
        ctx.means, ctx.gates, ctx.layer = means, gates, layer
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (images,) = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=_LAYOUT)
        n, channels, height, width = images.shape
        dgates, dimages = torch.empty_like(ctx.means), torch.empty_like(images)
        cpu_kernels.gate_gradient(n, height * width, channels, *_addresses(images, gradient, dgates))
        dmeans, *learned = torch.autograd.grad(ctx.gates, (ctx.means, *ctx.layer.parameters()), dgates)
        shifts = dmeans / (height * width)
        cpu_kernels.gated(n, height * width, channels, *_addresses(gradient, ctx.gates, shifts, dimages))
        return dimages, None, *learned


def _convolution_backward(
    convolution: nn.Conv2d, images: Tensor, filters: Tensor, gradient: Tensor, wanted: bool
) -> tuple[Tensor | None, Tensor]:
    """Gradients of the images, where ``wanted``, and of the filters."""
    quick = _is_slow_in_torch(convolution, gradient)
    options = convolution.stride, convolution.padding, convolution.dilation, False, (0, 0), convolution.groups
    dimages, dfilters, _ = torch.ops.aten.convolution_backward(
        gradient, images, filters, None, *options, (wanted, not quick, False)
    )
    if quick:
        dfilters = torch.empty_like(filters, memory_format=torch.contiguous_format)
        n, channels, height, width = images.shape
        sizes = n, height, width, channels, filters.shape[-1], convolution.stride[0]
        cpu_kernels.depthwise_weight_gradient(*sizes, *_addresses(images, gradient, dfilters))
    return dimages, dfilters


def _is_slow_in_torch(convolution: nn.Conv2d, gradient: Tensor) -> bool:
    """Whether oneDNN's weight gradient takes its slow path: depthwise, 5 x 5 and more or a side below the kernel's."""
    kernel = convolution.kernel_size[0]
    depthwise = convolution.groups == convolution.in_channels == convolution.out_channels > 1
    centred = kernel % 2 == 1 and convolution.padding == (kernel // 2, kernel // 2)
    return depthwise and centred and (kernel > 3 or min(gradient.shape[2:]) < kernel)


def _addresses(*tensors: Tensor | None) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors if tensor is not None]


def _pixels(images: Tensor) -> Tensor:
    """(n * height * width, channels), without a copy."""
    return images.permute(0, 2, 3, 1).view(-1, images.shape[1])
