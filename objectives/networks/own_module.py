"""A user's own module: made by their function, with shapes for its lazy layers, its logits found, and counted.

A module is made and run on the meta device, without memory or arithmetic. If the function or the module reads values of
tensors or moves them, it is made on the CPU, and if needed run there on one image. Nothing here loads torch before a
network is built.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from objectives.networks.libraries import Call, LibraryNetworks
from phiscale.cost import Cost
from phiscale.errors import BudgetError

if TYPE_CHECKING:
    import torch
    from torch import nn

Build = Callable[[float, float, int, int], "nn.Module"]
_WAYS = (("meta", "meta"), ("cpu", "meta"), ("cpu", "cpu"))
"""Where a network is made and where it is run to be counted; the next place is tried if the one before lacks values."""
_NAMES = "logits", "out"
"""Names under which an output of several parts holds the logits; otherwise they are its first part."""
_counted: dict[str, Cost] = {}
"""Cost by architecture."""
_called: dict[str, tuple[Cost, str]] = {}
"""Cost and fingerprint by the call of a library, which many multipliers share."""


@dataclass(frozen=True)
class FactoryMember:
    """One network of a factory, in the form in which a spec is trained (``objectives/training/train.py``)."""

    factory: str
    build: Build
    depth: float
    width: float
    resolution: int
    classes: int
    in_channels: ClassVar[int] = 3
    total_stride: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.factory} at depth {self.depth:.4g}, width {self.width:.4g}"

    @property
    def call(self) -> Call:
        """What makes it, as plain values."""
        sizes = self.depth, self.width, self.resolution, self.classes
        if isinstance(self.build, LibraryNetworks):
            return self.build.call(*sizes)
        return {"call": self.factory.replace(":", "."), "arguments": list(sizes)}

    def make(self, device: str = "cpu") -> nn.Module:
        """Call the factory: a module on ``device`` whose output is the logits and whose parameters have shapes.

        Raises ``BudgetError`` where it fails or returns no module.
        """
        import torch
        from torch import nn

        try:
            with torch.device(device):
                module = self.build(self.depth, self.width, self.resolution, self.classes)
        except Exception as error:  # a user's own function may raise anything
            raise BudgetError(
                f"{self.name} and {self.resolution} pixels cannot be built: {first_line(error)}"
            ) from error
        if not isinstance(module, nn.Module):
            raise BudgetError(f"expected {self.factory} to return a torch.nn.Module, got {type(module).__name__}")
        if any(map(nn.parameter.is_lazy, itertools.chain(module.parameters(), module.buffers()))):
            self._run(module.train(), 2, device)  # layers that only training uses also get their shapes
        module.register_forward_hook(functools.partial(_only_logits, self))
        return module

    def _run(self, module: nn.Module, images: int, device: str) -> None:
        """Run images of zeros through the module, without gradients. Raises ``BudgetError``."""
        import torch

        try:
            with torch.no_grad():
                module(torch.zeros(images, self.in_channels, self.resolution, self.resolution, device=device))
        except BudgetError:
            raise
        except Exception as error:  # a user's own module may raise anything
            raise BudgetError(
                f"{self.name} cannot take images of {self.resolution} pixels: {first_line(error)}"
            ) from error

    def count(self, module: nn.Module, device: str) -> Cost:
        """Counted cost of the forward pass on one image. Raises ``BudgetError``."""
        from torch.backends import mha
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        outputs = _count_outputs(module)
        fast = mha.get_fastpath_enabled()
        mha.set_fastpath_enabled(False)  # neither fused calls nor the CPU's attention kernel are counted
        try:
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                self._run(module, 1, device)
        finally:
            mha.set_fastpath_enabled(fast)
        cost = Cost(counter.get_total_flops() // 2, sum(p.numel() for p in module.parameters()), sum(outputs))
        if not cost.macs:
            raise BudgetError(f"expected {self.name} to have convolutions or linear layers, counted none")
        return cost


def build_member(member: FactoryMember, seed: int | torch.Generator) -> nn.Module:
    """The network on the CPU, initialised as its factory does from ``seed``: the global random state stays as it is."""
    import torch

    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (), generator=seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = member.make()
    return module.to("cpu", memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@functools.lru_cache(maxsize=4096)
def count_member(member: FactoryMember) -> tuple[Cost, str]:
    """Counted cost of the forward pass on one image, and the fingerprint.

    Multiply-accumulates are those of ``torch.utils.flop_counter`` / 2; activations the output elements of modules of
    convolutions and linear layers. Raises ``BudgetError`` where the network cannot be built or run.
    """
    if not isinstance(member.build, LibraryNetworks):
        return _count_anew(member)
    key = json.dumps([member.call, member.resolution])
    if key not in _called:
        _called[key] = _count_anew(member)
    return _called[key]


def _count_anew(member: FactoryMember) -> tuple[Cost, str]:
    *first, last = _WAYS
    for way in first:
        try:
            return _counted_on(member, *way)
        except BudgetError as error:
            if "meta" not in str(error).lower():
                raise
    return _counted_on(member, *last)


def _counted_on(member: FactoryMember, made_on: str, run_on: str) -> tuple[Cost, str]:
    import torch

    with torch.random.fork_rng(devices=[]), _no_meta_warnings():
        module = member.make(made_on).to(run_on).eval()
        shapes = {name: list(value.shape) for name, value in module.state_dict().items()}
        described = json.dumps([repr(module), shapes, member.resolution, member.classes])
        if described not in _counted:  # other multipliers may round to the same network, and counting takes longest
            _counted[described] = member.count(module, run_on)
    cost = _counted[described]
    plain = json.dumps([shapes, member.resolution, cost.macs, cost.activations], sort_keys=True)
    return cost, hashlib.sha256(plain.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _no_meta_warnings() -> Iterator[None]:
    """Loading weights on the meta device warns about each of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*non-meta parameter")
        yield


def _count_outputs(module: nn.Module) -> list[int]:
    """A list that a forward pass fills with the output elements of every convolution and linear layer."""
    from torch.nn import Linear
    from torch.nn.modules.conv import _ConvNd

    outputs: list[int] = []
    for part in module.modules():
        if isinstance(part, (_ConvNd, Linear)):
            part.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.numel()))
    return outputs


def _only_logits(member: FactoryMember, _module: nn.Module, _inputs: Any, output: Any) -> Any:
    """A forward hook: the logits of an output. Raises ``BudgetError`` where they have another shape."""
    logits = logits_of(output)
    shape = tuple(getattr(logits, "shape", ()))
    if shape[1:] != (member.classes,):
        got = shape or type(output).__name__
        raise BudgetError(f"expected {member.factory} to give logits of shape (n, {member.classes}), got {got}")
    return logits


def logits_of(output: Any) -> Any:
    """The logits of an output of several parts, as of a network with auxiliary heads or a model of transformers.

    They are what it holds as ``logits`` or ``out``, else its first part.
    """
    if dataclasses.is_dataclass(output) and not isinstance(output, Mapping):
        output = vars(output)
    if isinstance(output, Mapping):
        named = [output[name] for name in _NAMES if output.get(name) is not None]
        output = (*named, *output.values())
    if not isinstance(output, (tuple, list)):
        return output
    named = [getattr(output, name) for name in _NAMES if hasattr(output, name)]  # a named tuple
    parts = (*named, *output)
    return logits_of(parts[0]) if parts else output


def first_line(error: BaseException) -> str:
    """Kind and first line of an error, for a sentence; with the next line if the first one only introduces it."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    more = f" {lines[1]}" if len(lines) > 1 and lines[0].endswith(":") else ""
    return f"{type(error).__name__}: {lines[0]}{more}" if lines else type(error).__name__
