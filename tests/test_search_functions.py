"""A person's own function as an objective: which are taken, what tells them apart, what others are told."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest

from objectives.contract import Evaluation
from objectives.landscape import INTERIOR
from phiscale import FLOPS, ScalingConstants, SettingsError, StudyError
from scripts.shared.setup import load_objective
from search import search, suggest_constants
from search.functions import FunctionObjective, as_objective

PAPER = ScalingConstants(1.2, 1.1, 1.15)


def score(alpha: float, beta: float, gamma: float, seed: int = 0, *, rate: float = 0.1) -> float:
    return alpha + beta + gamma + 10 * seed + 100 * rate


class Scorer:
    def __init__(self, rate: float, data: Any = None) -> None:
        self.rate, self.data = rate, data

    def __call__(self, alpha: float, beta: float, gamma: float, seed: int) -> float:
        return score(alpha, beta, gamma, seed, rate=self.rate)

    def method(self, alpha: float, beta: float, gamma: float, seed: int) -> float:
        return self(alpha, beta, gamma, seed)


def made(rate: float) -> Callable[..., float]:
    def inner(alpha: float, beta: float, gamma: float) -> float:
        return alpha * rate

    return inner


def described(function: Any) -> Any:
    return as_objective(function, FLOPS).describe()


@pytest.mark.parametrize(
    "function",
    [
        score,
        functools.partial(score, rate=0.1),
        Scorer(0.1),
        Scorer(0.1).method,
        lambda alpha, beta, gamma, seed: score(alpha, beta, gamma, seed),
        lambda alpha, beta, gamma, **more: score(alpha, beta, gamma, more["seed"]),
        lambda trial: score(*suggest_constants(trial).as_tuple(), 2),
    ],
)
def test_functions_of_many_kinds_are_called_with_the_constants_and_the_seed(function: Any) -> None:
    found = as_objective(function, FLOPS)
    assert found.evaluate(PAPER, seed=2).score == pytest.approx(3.45 + 20 + 10)
    assert found.describe() == described(function)
    assert search(function, trials=1).direction == "maximize"


def test_a_function_of_a_module_is_known_by_its_name_and_an_objective_is_itself() -> None:
    assert described(score) == {"objective": f"{__name__}:score"}
    assert isinstance(as_objective(score, FLOPS), FunctionObjective)
    assert as_objective(INTERIOR, FLOPS) is INTERIOR


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda alpha, beta, gamma: alpha, lambda alpha, beta, gamma: beta),
        (lambda alpha, beta, gamma: alpha + 1, lambda alpha, beta, gamma: alpha + 2),
        (functools.partial(score, rate=0.1), functools.partial(score, rate=0.2)),
        (functools.partial(score, rate=0.1), score),
        (Scorer(0.1), Scorer(0.2)),
        (Scorer(0.1).method, Scorer(0.2).method),
        (Scorer(0.1, Scorer(1)), Scorer(0.1, Scorer(2))),
        (Scorer(0.1, np.zeros(3)), Scorer(0.1, np.ones(3))),
        (made(0.1), made(0.2)),
    ],
)
def test_functions_that_score_otherwise_are_told_apart(one: Any, other: Any) -> None:
    assert described(one) != described(other)
    assert described(one) == described(one)


def test_what_cannot_be_told_apart_is_never_resumed(tmp_path: Any) -> None:
    looped = Scorer(0.1)
    looped.data = [looped]
    for function in (Scorer(0.1, object()), Scorer(0.1, np.zeros(10_000)), looped):
        folder = tmp_path / str(id(function))
        search(function, trials=1, folder=folder)
        with pytest.raises(StudyError, match="cannot be compared .* that cannot be distinguished from others"):
            search(function, trials=2, folder=folder)


EXPECTED = r"expected a function score\(alpha, beta, gamma, seed\), one of Optuna's objective\(trial\), or an objective"


async def asynchronous(alpha: float, beta: float, gamma: float) -> float:
    return alpha


def generator(alpha: float, beta: float, gamma: float) -> Any:
    yield alpha


def by_position(alpha: float, beta: float, gamma: float, /) -> float:
    return alpha


def fails() -> Any:
    raise KeyError("no such thing")


class Undirected:
    describe = network = evaluate = Scorer.method

    @property
    def direction(self) -> str:
        raise KeyError("direction")


class Unmade:
    direction, describe, network, evaluate = "maximize", None, None, None

    def __init__(self, needed: int) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (exit, EXPECTED + ".* got Quitter"),
        (input, EXPECTED + ".* got input"),
        (print, EXPECTED + ".* got print"),
        (len, EXPECTED + ".* got len"),
        (int, EXPECTED + ".* got int"),
        (Scorer, EXPECTED + ".* got Scorer"),
        (Unmade, EXPECTED + ".* got Unmade"),
        (Undirected(), "Undirected, asked for its direction, raised KeyError: 'direction'"),
        (by_position, EXPECTED + r".* got by_position\(alpha: .*, /\)"),
        (lambda **more: 1.0, EXPECTED + r".* got .*<lambda>\(\*\*more\)"),
        (lambda *more: 1.0, EXPECTED),
        (lambda alpha: alpha, EXPECTED),
        (lambda alpha, beta, gamma, seed, rate: 1.0, EXPECTED + r".*rate\)"),
        (lambda constants: constants.alpha, EXPECTED + ".* raised AttributeError: .* for a trial of Optuna"),
        (lambda: 3, EXPECTED),
        (lambda: Scorer, EXPECTED),
        (fails, r"fails\(\).*, called for an objective, raised KeyError: 'no such thing'"),
        (asynchronous, "expected a function that returns a score, got an async function, asynchronous"),
        (functools.partial(asynchronous, beta=1), "to the search, got a partial that fixes beta"),
        (generator, "expected a function that returns a score, got a generator, generator"),
        (functools.partial(score, seed=7), "left to the search, got a partial that fixes seed; leave that out"),
        (functools.partial(functools.partial(score, seed=7), rate=1), "a partial that fixes seed"),
        (lambda trial: 1.0, "an objective that suggests alpha, beta, gamma, got one that suggests none of them"),
        (lambda trial: trial.suggest_float("alpha", 1, 2), "got one that suggests alpha; use search.suggest_constants"),
        (lambda trial: trial.suggest_float("alpha", 1, 1.5), r"suggest_float\('alpha', 1, 2\) or a wider range, got"),
        (lambda trial: trial.suggest_int("alpha", 1, 2), r"suggest_float\('alpha', 1, 2\) or a wider range, got Int"),
        (
            lambda trial: suggest_constants(trial).alpha + trial.suggest_float("rate", 0, 1),
            "suggests alpha, beta, gamma alone, got one that suggests 'rate' too; .* use search.ConstantsSampler",
        ),
        *(
            (lambda alpha, beta, gamma, bad=bad: bad, "objective to return a number or an Evaluation, got")
            for bad in ("0.5", b"", True, np.bool_(True), [0.5], 1j)
        ),
    ],
)
def test_what_is_no_objective_is_told_what_is_one(given: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        search(given, trials=1)
    assert "\n" not in str(caught.value)


def test_an_objective_that_prunes_is_told_where_that_works() -> None:
    def objective(trial: optuna.Trial) -> float:
        suggest_constants(trial)
        raise optuna.TrialPruned

    with pytest.raises(
        SettingsError, match="expected an objective that returns a score, got TrialPruned; use search.C"
    ):
        search(objective, trials=1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_scores_that_diverged_fail_their_trial(bad: float) -> None:
    record = search(lambda alpha, beta, gamma: bad if gamma > 1.2 else 1.0, trials=9, method="qmc")
    assert record.budget["trials"]["fail"] >= 1
    assert record.best_observed.score == 1.0


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.array(0.5), np.int64(1), 1])
def test_numbers_of_numpy_are_scores(number: Any) -> None:
    assert search(lambda alpha, beta, gamma: number, trials=1).best_observed.score == float(number)


def test_a_function_may_return_an_evaluation() -> None:
    def full(alpha: float, beta: float, gamma: float) -> Evaluation:
        return Evaluation(score=alpha, seconds=1, device="mine")

    assert search(full, trials=1).device == "mine"


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError


class Bare(BaseException):
    pass


@pytest.mark.parametrize("error", [UnspeakableError(), Bare("no")])
def test_whatever_a_function_raises_names_the_trial(error: BaseException) -> None:
    def raises(alpha: float, beta: float, gamma: float) -> float:
        raise error

    with pytest.raises(StudyError, match=rf"trial 0 .*: the objective raised {type(error).__name__}.*in raises\); the"):
        search(raises, trials=1)


@pytest.mark.parametrize("path", ["./ob.py", "ob.py", "sub/ob.py", "/home/me/ob.py", "sub\\ob", "./ob"])
def test_a_path_in_place_of_a_module_is_told_what_to_write(path: str) -> None:
    with pytest.raises(SettingsError, match="got the path .*; write ob:score and run from the folder of that file"):
        load_objective(f"{path}:score", FLOPS)
