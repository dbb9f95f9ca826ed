"""Models of timm and torchvision as factories: matched, and exported as that which was counted."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from objectives.networks.factory import Factory
from objectives.networks.libraries import library_networks
from objectives.networks.libraries._library import attention
from objectives.proxy import ProxyObjective
from objectives.training.settings import TrainSettings
from phiscale import SettingsError
from phiscale.cli import main
from phiscale.factory import factory_name
from phiscale.record import SearchRecord
from scripts import confirm, run_search
from scripts.shared.setup import ObjectiveSettings, choose_baseline
from search import factory_family
from search.factory_family import count_members
from search.settings import SearchSettings
from tests.interop import require
from tests.tiny_data import striped_images

TIMM = ("resnet18", "convnext_atto", "efficientnet_b0", "vit_tiny_patch16_224")
TORCHVISION = ("vit_b_16", "convnext_tiny", "efficientnet_b0")
TRAIN = TrainSettings(train_images=64, validation_images=32, images_seen=128, rungs=2, device="cpu")


def made(name: str, resolution: int = 32, classes: int = 10) -> Factory:
    require(name.partition(":")[0])
    build = library_networks(name)
    assert build is not None
    return Factory(name=name, build=build, resolution=resolution, classes=classes)


def built(text: str) -> nn.Module:
    names: dict[str, nn.Module] = {}
    exec(text, names)  # noqa: S102  the code that is exported is what is tested
    images = torch.zeros(2, *names["INPUT_SIZE"])
    assert names["model"].eval()(images).shape == (2, 2)
    return names["model"]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def record_of(factory: Factory, folder: Path) -> None:
    """A record of the factory in a folder, with the members at phi 0 and 1 that a search would have counted."""
    golden = json.loads((Path(__file__).parent / "golden" / "old_record.json").read_text())["record"]
    objective = ProxyObjective(factory, striped_images(64), TRAIN, phi=1.0)
    plain = {**golden, "network": None, "constants": {"alpha": 1.0, "beta": 1.0, "gamma": 2**0.5}}
    record = SearchRecord.from_dict({**plain, "shares": {"depth": 0.0, "width": 0.0, "resolution": 1.0}})
    counted = objective.growth.base.describe() | count_members(objective.growth, record, (0.0, 1.0))
    dataclasses.replace(record, details={"factory": counted}).save(folder / "constants.json")


@pytest.mark.parametrize(
    "name", [*(f"timm:{model}" for model in TIMM), *(f"torchvision:{model}" for model in TORCHVISION)]
)
def test_a_model_is_matched_and_its_export_has_the_parameters_that_were_counted(name, tmp_path, capsys):
    factory, folder = made(name), tmp_path
    record_of(factory, folder)
    members = SearchRecord.load(folder).details["factory"]
    assert factory_name(SearchRecord.load(folder)) == name
    for budget, phi in (("nominal", 0), ("matched", 1)):
        member, place = members[budget][phi], [str(folder), "--phi", str(phi), "--budget", budget]
        assert main(["export", *place, "--to", name.split(":")[0]]) == 0
        assert parameters(built(capsys.readouterr().out)) == member["params"]
        assert main(["family", *place, "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["resolution"] == member["resolution"]
    assert members["matched"][1]["growth"] == pytest.approx(2, rel=0.02)
    assert members["matched"][1]["resolution"] % factory.step == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnt18", r"expected a model of timm, got 'resnt18'; near are resnet18"),
        ("timm:swin_tiny_patch4_window7_224", r"cannot scale timm:swin_.* known here, only those of convnext, deit"),
        ("timm:efficientnet_b0_gn", "its argument norm_layer is not a plain value"),
        ("torchvision:resnet18", "torchvision has no arguments for its depth and width, only for those of ConvNeXt"),
        ("torchvision:resnt18", "expected a model of torchvision, got 'resnt18'; near are resnet18"),
    ],
)
def test_what_a_library_cannot_scale_is_refused_with_the_reason(name, message):
    require(name.partition(":")[0])
    with pytest.raises(SettingsError, match=message):
        choose_baseline(ObjectiveSettings(factory=name), 64)


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingsError, match="expected timm for --factory timm:"):
        library_networks("timm:resnet18")
    assert library_networks("mynet:build") is None


def test_a_torchvision_of_another_torch_is_said_with_what_to_do(monkeypatch):
    def fail(_name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(SettingsError) as caught:
        library_networks("timm:resnet18")
    assert str(caught.value) == (
        "cannot import timm of --factory: RuntimeError: operator torchvision::nms does not exist; "
        "install the torchvision that was built for this torch"
    )


@pytest.mark.parametrize("name", [f"timm:{model}" for model in TIMM])
def test_a_model_at_its_own_size_is_the_model_of_the_library(name):
    timm = require("timm")
    model = name.partition(":")[2]
    with torch.device("meta"):
        ours = made(name, 224).baseline.make("meta")
        theirs = timm.create_model(model, num_classes=10)
    shapes = [{key: value.shape for key, value in module.state_dict().items()} for module in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_heads_keep_about_their_channels():
    assert attention(192, 3, 1) == (192, 3)
    for width in (0.3, 0.5, 1.1, 1.4, 2, 3.3):
        embedding, heads = attention(192, 3, width)
        assert embedding % heads == 0
        assert embedding == pytest.approx(192 * width, abs=heads)
    assert attention(192, 3, 2) == (384, 6)


def test_a_model_of_timm_is_searched_confirmed_and_exported(tmp_path, monkeypatch):
    require("timm")
    monkeypatch.setattr(factory_family, "MEMBER_PHIS", (1.0,))  # larger ones take long to count
    measure = ObjectiveSettings(factory="timm:resnet18", resolution=8, phi=1.0, cache=tmp_path / "cache")
    settings = SearchSettings(method="qmc", trials=3, baselines="none")
    run_search.search(
        run_search.SearchOptions(study="t", search=settings, measure=measure, train=TRAIN, results=tmp_path, quiet=True)
    )
    record = SearchRecord.load(tmp_path / "t")
    assert factory_name(record) == "timm:resnet18"
    confirm.confirm(confirm.ConfirmOptions(study="t", phis="1", seeds=1, images=32, rivals="paper", results=tmp_path))
    assert "confirmation" in SearchRecord.load(tmp_path / "t").details
    member = record.details["factory"]["matched"][0]
    assert main(["export", str(tmp_path / "t"), "--phi", "1", "--budget", "matched", "--to", "timm"]) == 0
    assert member["growth"] == pytest.approx(2, rel=0.02)
