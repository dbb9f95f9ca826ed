"""Objectives that behave in ways a search must cope with; named on command lines as tests.objectives_for_tests:X."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable

from objectives.contract import Evaluation
from objectives.landscape import INTERIOR, LandscapeObjective, standard_normal
from phiscale import (
    PROXY_BASE,
    BudgetError,
    Multipliers,
    ScalingConstants,
    TrialError,
    match_budget,
    shares_of_direction,
)

EXPONENT = 0.1
"""Of the power law in the length, with rungs."""


class NetworkObjective:
    """A landscape over the shares of real matched networks, as a proxy training would see them, without training.

    With ``rungs`` it scores at these lengths too: the error falls as a power of the length, the landscape is the score
    at the longest, and the noise of every rung is its own.
    """

    direction = "maximize"

    def __init__(
        self, noise: float = 0.01, act: Callable[[int], None] | None = None, rungs: tuple[int, ...] = ()
    ) -> None:
        self.landscape = dataclasses.replace(INTERIOR, noise=noise)
        self.act = act
        self.rungs = rungs
        self.calls = 0

    def describe(self) -> dict[str, object]:
        plain = {"objective": "network", "phi": 2.0, "network": PROXY_BASE.to_dict(), "score": "accuracy"}
        data = {"name": "no images", "fingerprint": "none", "epoch_images": 6000}
        return {**plain, "rungs": list(self.rungs), "data": data} if self.rungs else plain

    def network(self, constants: ScalingConstants):
        return match_budget(PROXY_BASE, constants, phi=2)

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        self.calls += 1
        if self.act:
            self.act(self.calls)
        network = self.network(constants)
        shares = shares_of_direction(network.realised)
        realised = ScalingConstants(*(2**s for s in shares.as_tuple()))
        evaluation = dataclasses.replace(self.landscape.evaluate(realised, seed=seed), network=network, device="cpu")
        if not self.rungs:
            return evaluation
        error = 1 - self.landscape.true_score(realised)
        scores = {
            length: 1
            - error * (self.rungs[-1] / length) ** EXPONENT
            + self.landscape.noise * standard_normal(realised, seed, length)
            for length in self.rungs
        }
        return dataclasses.replace(evaluation, score=scores[self.rungs[-1]], rungs=scores)


def _sleep(_: int) -> None:
    time.sleep(0.15)


def _never_end(_: int) -> None:
    time.sleep(600)


def _fail_sometimes(call: int) -> None:
    if call % 3 == 0:
        raise TrialError("diverged", "the loss became NaN in epoch 1")


def _fail(_: int) -> None:
    raise TrialError("out-of-memory", "the network does not fit")


def _interrupt(call: int) -> None:
    if call == 5:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


class UnreachableObjective(NetworkObjective):
    """No network at all where depth takes more than half."""

    def network(self, constants: ScalingConstants):
        if shares_of_direction(Multipliers(*constants.as_tuple())).depth > 0.5:
            raise BudgetError("expected a shallower network")
        return super().network(constants)


class NanObjective(LandscapeObjective):
    """Scores that are not finite."""

    def evaluate(self, constants: ScalingConstants, *, seed: int) -> Evaluation:
        return Evaluation(score=float("inf"), seconds=0.0, device="cpu")


WITH_RUNGS = NetworkObjective(rungs=(1500, 3000, 6000, 12_000))
SLOW = NetworkObjective(act=_sleep)
STUCK = NetworkObjective(act=_never_end)
FAILS_SOMETIMES = NetworkObjective(act=_fail_sometimes)
ALWAYS_FAILS = NetworkObjective(act=_fail)
NOT_AN_OBJECTIVE = 7


def interrupted() -> NetworkObjective:
    return NetworkObjective(act=_interrupt)
