"""Compiled layers that make small networks quick on a CPU: the extra ``cpu``, which a GPU does not need."""

from __future__ import annotations

import functools
import importlib.util
import logging

import torch
from torch import nn

from objectives.networks.build import Network
from objectives.training.device import is_halved
from objectives.training.settings import TrainSettings


def fit_to_device(network: nn.Module, device: torch.device, settings: TrainSettings) -> None:
    """Join the layers of a spec's network in place where that makes training faster: on a CPU, in float32.

    A network that torch will compile is left as it is, because torch would not find its own layers. So is a network of
    a factory, because its modules may do more than run in order.
    """
    if device.type != "cpu" or is_halved(device, settings) or settings.compile or not isinstance(network, Network):
        return
    if _can_compile():
        from objectives.cpu.layers import join_layers

        join_layers(network)


@functools.cache
def _can_compile() -> bool:
    found = importlib.util.find_spec("numba") is not None
    if not found:
        message = "training on a CPU is slower without compiled layers; pip install numba"
        logging.getLogger(__name__).warning(message)
    return found
