"""Objectives that behave in ways a search must cope with; named on command lines as tests.objectives_for_tests:X."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable

from objectives.contract import Evaluation, Report
from objectives.landscape import INTERIOR, LandscapeObjective
from phiscale import (
    PROXY_BASE,
    BudgetError,
    Multipliers,
    ScalingConstants,
    TrialError,
    match_budget,
    shares_of_direction,
)


class NetworkObjective:
    """A landscape over the shares of real matched networks, as a proxy training would see them, without training."""

    direction = "maximize"

    def __init__(self, noise: float = 0.01, act: Callable[[int], None] | None = None) -> None:
        self.landscape = dataclasses.replace(INTERIOR, noise=noise)
        self.act = act
        self.calls = 0

    def describe(self) -> dict[str, object]:
        return {"objective": "network", "phi": 2.0, "network": PROXY_BASE.to_dict(), "score": "accuracy"}

    def network(self, constants: ScalingConstants):
        return match_budget(PROXY_BASE, constants, phi=2)

    def evaluate(self, constants: ScalingConstants, *, seed: int, report: Report) -> Evaluation:
        self.calls += 1
        if self.act:
            self.act(self.calls)
        network = self.network(constants)
        shares = shares_of_direction(network.realised)
        realised = ScalingConstants(*(2**s for s in shares.as_tuple()))
        evaluation = self.landscape.evaluate(realised, seed=seed, report=report)
        return dataclasses.replace(evaluation, network=network, device="cpu")


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

    def evaluate(self, constants: ScalingConstants, *, seed: int, report: Report) -> Evaluation:
        return Evaluation(score=float("inf"), seconds=0.0, device="cpu")


SLOW = NetworkObjective(act=_sleep)
STUCK = NetworkObjective(act=_never_end)
FAILS_SOMETIMES = NetworkObjective(act=_fail_sometimes)
ALWAYS_FAILS = NetworkObjective(act=_fail)
NOT_AN_OBJECTIVE = 7


def interrupted() -> NetworkObjective:
    return NetworkObjective(act=_interrupt)
