"""Rank correlations between settings, and the command that measures them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from phiscale import DataError
from search.fidelity import fidelity
from tests.test_scripts import command


def test_the_same_order_is_1_and_the_reverse_is_minus_1() -> None:
    values = list(range(10))
    same, reverse = fidelity(values, [v**3 for v in values]), fidelity(values, [-v for v in values])
    assert (same.spearman.value, same.kendall.value) == pytest.approx((1, 1))
    assert (reverse.spearman.value, reverse.kendall.value) == pytest.approx((-1, -1))
    assert same.spearman.low == pytest.approx(1)


def test_kendall_and_spearman_against_a_worked_example() -> None:
    # 1 2 3 4 5 6 against 2 1 4 3 6 5: 3 of 15 pairs are discordant; sum of squared rank differences 6
    found = fidelity([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5])
    assert found.kendall.value == pytest.approx((12 - 3) / 15)
    assert found.spearman.value == pytest.approx(1 - 6 * 6 / (6 * 35))


def test_intervals_hold_the_truth() -> None:
    generator, held = np.random.default_rng(0), 0
    for draw in range(40):
        a = generator.standard_normal(25)
        held += fidelity(a, 0.8 * a + 0.6 * generator.standard_normal(25), seed=draw).spearman.low < 0.786
    assert held >= 34


@pytest.mark.parametrize(
    ("cheap", "reference", "message"),
    [
        ([1, 2, 3], [1, 2, 3], "6 networks or more"),
        ([1] * 6, range(6), "equal ones"),
        ([1, 2, 3, 4, 5, float("nan")], range(6), "finite scores"),
        (range(7), range(6), "got 7 and 6"),
    ],
)
def test_scores_without_an_order_are_refused(cheap, reference, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fidelity(list(cheap), list(reference))


def test_a_check_resumes_and_answers(tmp_path: Path) -> None:
    tiny = ("--train.train-images", "80", "--train.validation-images", "60", "--points", "6", "--phi", "1")
    arguments = ("--study", "c", "--results", tmp_path, "--epochs", "1", "--reference-epochs", "2", *tiny)
    done = command("check_proxy", *arguments)
    assert done.returncode == 0, done.stderr
    assert "Spearman" in done.stdout
    assert "order" in done.stdout
    found = json.loads((tmp_path / "c" / "fidelity.json").read_text())
    assert found["conclusion"] in done.stdout
    assert set(found["settings"][0]) == {"setting", "seconds", "spearman", "kendall", "networks"}
    path = tmp_path / "c" / "fidelity.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:-2]) + "\n")
    again = command("check_proxy", *arguments)
    assert again.stdout.count("seed 0") == 2
    table = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["score"] for row in table] == [row.split(",")[5] for row in rows[1:]]
    path.write_text(rows[0] + "\nx,1")
    damaged = command("check_proxy", *arguments)
    assert (damaged.returncode, "damaged table" in damaged.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [("--points", "3"), ("--epochs", "0"), ("--epochs", "x"), ("--reference-epochs", "0"), ("--keep", "nan")],
)
def test_mistakes_end_in_one_sentence(tmp_path: Path, arguments: tuple[str, str]) -> None:
    done = command("check_proxy", "--study", "c", "--results", tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
