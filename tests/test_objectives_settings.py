from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import math
import subprocess
import sys

import pytest

from objectives.training.settings import TrainSettings
from phiscale import SettingsError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", "fast"),
        ("momentum", 0.0),  # Nesterov momentum needs one
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("label_smoothing", 1.0),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("train_images", 0),
        ("validation_images", 0),
        ("flip", 1),
        ("crop", "yes"),
        ("score", "error"),
        ("score", ["accuracy"]),
        ("device", ""),
        ("threads", -1),
        ("precision", "float16"),
    ],
)
def test_a_setting_outside_its_range_is_named_with_the_value(name, value):
    with pytest.raises(SettingsError, match=name) as caught:
        TrainSettings(**{name: value})
    assert repr(value) in str(caught.value) or str(value) in str(caught.value)


def test_direction_follows_the_score():
    assert TrainSettings(score="accuracy").direction == "maximize"
    assert TrainSettings(score="log_loss").direction == "minimize"
    assert TrainSettings(score="train_loss").direction == "minimize"


def test_describe_has_all_that_changes_scores_and_nothing_else():
    described = TrainSettings().describe()
    assert json.loads(json.dumps(described)) == described
    names = {field.name for field in dataclasses.fields(TrainSettings)}
    assert set(described) == names - {"device", "threads", "compile", "cuda_graph", "epochs"}
    assert TrainSettings(threads=2, device="cpu").describe() == described
    assert TrainSettings(images_seen=3000).describe() != described


def test_every_field_has_help_of_its_own():
    body = ast.parse(inspect.getsource(TrainSettings)).body[0].body
    for field, after in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(after, ast.Expr), field.target.id
            assert isinstance(after.value.value, str)


@pytest.mark.parametrize(
    "module", ["objectives", "objectives.contract", "objectives.training.settings", "objectives.landscape"]
)
def test_light_modules_load_nothing_heavy(module):
    code = (
        f"import sys, {module}; "
        "heavy = {'torch', 'numpy', 'optuna', 'scipy', 'PIL'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_torch_is_loaded_by_the_first_training_only():
    code = (
        "import sys, objectives.data.load, objectives.proxy, objectives.data.embedded; "
        "sys.exit(', '.join({'torch', 'optuna', 'scipy'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
