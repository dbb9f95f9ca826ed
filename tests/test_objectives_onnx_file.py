"""ONNX files: onnxruntime computes what torch computes, for any number of images; a file that differs is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from objectives.networks import onnx_file
from objectives.networks.build import build_network
from objectives.networks.onnx_file import largest_difference, network_with_weights, to_onnx, write_checked
from phiscale import EFFICIENTNET_B0, FLOPS, PUBLISHED_RULES, DataError, Observed, SearchRecord, generate_family
from tests.interop import require
from tests.tiny_data import TINY

ROOT = Path(__file__).parent.parent


def images(count: int, side: int) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7))


def shaken(network: nn.Module) -> nn.Module:
    """Every parameter and statistic away from its start, so that no layer is without effect."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]:
            tensor.mul_(1 + 0.3 * torch.rand(tensor.shape, generator=generator)).add_(0.05)
    return network.eval()


@pytest.fixture(scope="module", autouse=True)
def _libraries() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        require(name)


def test_a_member_of_a_family_in_onnxruntime(tmp_path: Path) -> None:
    member = generate_family(EFFICIENTNET_B0, PUBLISHED_RULES["paper"].constants, [-3])[0]
    network = shaken(build_network(member.network.spec, 0))
    content = to_onnx(network, member.network.spec)
    for count in (1, 3):
        assert largest_difference(network, content, images(count, member.network.resolution)) < 1e-5
    other = shaken(build_network(member.network.spec, 1))
    assert largest_difference(other, content, images(1, member.network.resolution)) > 1e-3


def test_the_file_names_its_input_and_output(tmp_path: Path) -> None:
    onnx = require("onnx")
    place = tmp_path / "new" / "net.onnx"
    assert write_checked(shaken(build_network(TINY, 0)), TINY, place) < 1e-5
    model = onnx.load(place)
    onnx.checker.check_model(model, full_check=True)
    (given,), (got,) = model.graph.input, model.graph.output
    sizes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in (given, got)]
    assert (given.name, got.name, sizes) == ("images", "logits", [["n", 3, 8, 8], ["n", 2]])


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = to_onnx(shaken(build_network(TINY, 1)), TINY)
    monkeypatch.setattr(onnx_file, "to_onnx", lambda network, spec: wrong)
    with pytest.raises(DataError, match="expected onnxruntime to compute what torch computes"):
        write_checked(shaken(build_network(TINY, 0)), TINY, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights(tmp_path: Path) -> None:
    trained = shaken(build_network(TINY, 0))
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    loaded = network_with_weights(build_network(TINY, 1), tmp_path / "trained.pt")
    assert torch.equal(loaded(images(2, 8)), trained(images(2, 8)))
    fresh = network_with_weights(build_network(TINY, 0), None)
    assert all(bool((m.weight == 1).all()) for m in fresh.modules() if isinstance(m, nn.BatchNorm2d))
    (tmp_path / "damaged.pt").write_bytes(b"no weights")
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    for name in ("damaged.pt", "other.pt", "missing.pt"):
        with pytest.raises(DataError, match=rf"expected .*{name} to hold the state dictionary of this network"):
            network_with_weights(build_network(TINY, 1), tmp_path / name)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "scripts.export_onnx", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_the_command(tmp_path: Path) -> None:
    constants = PUBLISHED_RULES["equal"].constants
    SearchRecord(
        study="s", created="2025-01-02T03:04:05Z", constants=constants, cost_model=FLOPS, phi=2.0, network=TINY,
        score_name="accuracy", direction="maximize", expected=None, noise=None,
        best_observed=Observed("trial 7", constants, 0.83, 2),
    ).save(tmp_path / "s" / "constants.json")  # fmt: skip
    output = tmp_path / "net.onnx"
    done = command("--study", "s", "--results", tmp_path, "--phi", "1", "--budget", "nominal", "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tiny phi=1: " in done.stdout
    assert "differ by at most" in done.stdout
    assert output.stat().st_size > 1000
    wrong = command("--study", "s", "--results", tmp_path, "--output", tmp_path / "net.pt")
    assert (wrong.returncode, "expected --output to end in .onnx" in wrong.stderr) == (2, True)
