"""The documentation: every command and snippet in README and docs is run or parsed, and the pages build.

Executed, in the order of each file, in one folder with tiny images and a record: every Python block, every
``python -m phiscale`` command, and those ``scripts`` commands that SMALL names, with its settings appended. The other
``python -m`` commands are parsed by the parsers of their modules; of ``make``, ``pip``, ``pytest`` and other people's
programs the target, the extras, the options and the files are looked up. A line that is none of these fails.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import phiscale
from phiscale.cli import main as phiscale_main
from scripts.shared import console
from tests.interop import require
from tests.markdown_blocks import code_blocks, inline_code
from tests.tiny_data import TINY, striped_images

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_SMALL_TRAINING = ("--train.images-seen", "96", "--train.batch-size", "4", "--train.train-images", "48")
_SMALL_TRAINING += ("--train.validation-images", "16")
SMALL = {
    "run_search": ("--trials", "2", "--baselines", "none", "--quiet", "--cache", "cache", *_SMALL_TRAINING),
    "confirm": ("--phis", "1", "--seeds", "1", "--images", "16", "--epochs", "2"),
    "calibrate_cost": ("--metric", "macs"),  # counted: times of a busy machine may fit nothing
    "check_proxy": ("--points", "6", "--seeds", "2", *_SMALL_TRAINING),
    "export_onnx": ("--phi", "1", "--budget", "nominal"),
}
"""Commands that are executed, and what is appended so that each takes about a second: a later option wins."""
PARSED_ONLY = ("--workers", "--rate-plane", "--storage", "--track mlflow", "--track wandb", "CUDA_VISIBLE_DEVICES")
"""What other processes, servers, files that a command writes only at need, large packages and GPUs are needed for."""
PROGRAMS = ("optuna-dashboard", "ray", "tensorboard")
"""Other people's programs that stay running: their options are looked up in their help."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder as the documentation assumes it, with tiny contents, and the state of the process kept."""
    images = striped_images(160, side=16)
    np.savez(
        tmp_path / "arrays.npz",
        images=np.concatenate([images.train_images, images.validation_images]),
        labels=np.concatenate([images.train_labels, images.validation_labels]),
    )
    for index, (pixels, label) in enumerate(zip(images.train_images, images.train_labels, strict=True)):
        place = tmp_path / "images" / "train" / str(label) / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(place)
    (tmp_path / "net.json").write_text(json.dumps(TINY.to_dict()))
    (tmp_path / "storage.txt").write_text("postgresql+psycopg://user:secret@host/db\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # as activated
    handlers = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield tmp_path
    for name, handler in handlers.items():
        signal.signal(name, handler)
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


def run_python(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch, *, parse_only: bool) -> None:
    """One ``python -m module words`` in this process."""
    name = module.removeprefix("scripts.")
    if module == "phiscale":
        assert phiscale_main(words) == 0, words
        return
    if module == "pytest":
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
        return
    if module in ("venv", "pip"):
        check_extras(words)
        return
    for word in words:
        if word.startswith(("timm:", "torchvision:")):
            require(word.partition(":")[0])
    command = importlib.import_module(module)
    assert command.__doc__
    assert f"python -m {module}" in command.__doc__ or "Run: phiscale " in command.__doc__
    if parse_only or name not in SMALL:
        parse(command, words, monkeypatch)
        return
    parse(command, words, monkeypatch)  # as it stands, before anything is appended
    own = {"--objective", "--command"} & {*words}  # which are refused together with options of the proxy training
    small = [word for word in SMALL[name] if not own or word not in _SMALL_TRAINING]
    monkeypatch.setattr(sys, "argv", [name, *words, *small])
    assert command.main() == 0, words


def parse(command: object, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command read its options by its own parser and do nothing."""
    monkeypatch.setattr(sys, "argv", ["command", *words])
    with monkeypatch.context() as patch:
        if hasattr(command, "run_command"):

            def read(options: type, _: Callable[..., None], description: str, name: str, **more: Any) -> int:
                return console.run_command(options, lambda given: None, description, name, **more)

            patch.setattr(command, "run_command", read)
            assert command.main() == 0, words
            return
        read_arguments = argparse.ArgumentParser.parse_args

        def stop(parser: argparse.ArgumentParser, *given: object) -> argparse.Namespace:
            read_arguments(parser, *given)
            raise _ReadError

        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(argparse.ArgumentParser, "error", _refuse)
        with contextlib.suppress(_ReadError):
            if words:
                command.main()


class _ReadError(Exception):
    """The options were read."""


def _refuse(_: argparse.ArgumentParser, message: str) -> None:
    raise AssertionError(message)


def check_extras(words: list[str]) -> None:
    """The extras of a local installation are there, and so are its files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in words:
        if match := re.fullmatch(r"\.\[(.*)\]", word):
            assert set(match[1].split(",")) <= set(project["optional-dependencies"]), word
        if word.endswith(".txt"):
            assert (ROOT / word).exists()


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of a block."""
    words = shlex.split(line, comments=True)
    parse_only = any(mark in line for mark in PARSED_ONLY)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "python" and arguments[0] == "-m":
        run_python(arguments[1], arguments[2:], monkeypatch, parse_only=parse_only)
    elif program == "make":
        assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in arguments)
    elif program == "pip":
        check_extras(arguments)
    elif program in PROGRAMS:
        subcommand = arguments[:1] if program == "ray" else []
        shown = subprocess.run(
            [str(Path(sys.executable).with_name(program)), *subcommand, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        assert all(word in shown for word in arguments if word.startswith("--"))
    else:
        raise AssertionError(f"not known as a command: {line!r}")


def is_tree(text: str) -> bool:
    """Whether a block lists folders with what is in them; they have to be there."""
    names = [line.split()[0] for line in text.splitlines() if line[:1] not in ("", " ")]
    return all(name.endswith("/") and (ROOT / name).is_dir() for name in names)


def is_formula(text: str) -> bool:
    return text.startswith(("alpha * beta**2", "log2(alpha)"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_snippets(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "--track" in page.read_text(encoding="utf-8"):
        require("tensorboard")
    if "ray start" in page.read_text(encoding="utf-8"):
        require("ray", extra="cluster")
    if "export_onnx" in page.read_text(encoding="utf-8"):
        for library in ("onnx", "onnxscript", "onnxruntime"):
            require(library)
    blocks = list(code_blocks(page.read_text(encoding="utf-8")))
    if any("results/demo" in block.text or "--study demo" in block.text for block in blocks):
        run_line("python -m scripts.run_search --study demo", monkeypatch)
    if any("--record constants.json" in block.text for block in blocks):
        (folder / "constants.json").write_bytes((folder / "results" / "demo" / "constants.json").read_bytes())
    for block in blocks:
        if block.title:
            (folder / block.title).write_text(block.text)
        if block.language == "python":
            exec(compile(block.text, f"{page.name}: {block.text[:40]}", "exec"), {})  # noqa: S102 - the subject
        elif block.language == "json":
            json.loads(block.text)
        elif is_tree(block.text) or is_formula(block.text):
            continue
        else:
            assert block.language in ("", "sh", "bash"), f"{page.name}: a block of {block.language!r} is not checked"
            for line in block.text.splitlines():
                for command in filter(None, line.split(" && ")):
                    run_line(command, monkeypatch)


def options_of(module: str) -> set[str]:
    """Every option in the help of a command."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        importlib.import_module(module).main()
    return set(re.findall(r"--[a-z][a-z.-]*[a-z]", out.getvalue()))


def test_every_option_that_is_mentioned_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.ExitStack() as stack:
        for name in (signal.SIGTERM, signal.SIGHUP):
            stack.callback(signal.signal, name, signal.getsignal(name))
        known = set().union(*(options_of(f"scripts.{path.stem}") for path in (ROOT / "scripts").glob("[a-z]*.py")
                              if "run_command(" in path.read_text()))  # fmt: skip
    for command in ("family", "export", "show", "scale"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            phiscale_main([command, "--help"])
        known |= set(re.findall(r"--[a-z][a-z-]*[a-z]", out.getvalue()))
    known |= {"--help", "--editable"}
    for page in PAGES:
        spans = " ".join(inline_code(page.read_text(encoding="utf-8")))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", spans):
            if page.name != "CONTRIBUTING.md":
                assert option in known, f"{page.name} mentions {option}"


def test_files_and_modules_that_are_mentioned_exist() -> None:
    for page in PAGES:
        for span in inline_code(page.read_text(encoding="utf-8")):
            if re.fullmatch(r"(scripts|objectives|search|report|benchmarks)\.(?!html|md)[a-z_]+", span):
                assert (ROOT / f"{span.replace('.', '/')}.py").exists(), f"{page.name} mentions {span}"
            if re.fullmatch(r"(scripts|objectives|search|report|benchmarks|docs|tests|phiscale)/[\w/]+\.\w+", span):
                assert (ROOT / span).exists(), f"{page.name} mentions {span}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages, from a copy of what they are made of; a warning of zensical ends the build."""
    require("zensical", extra="docs")
    place = tmp_path_factory.mktemp("pages")
    shutil.copy(ROOT / "zensical.toml", place)
    (place / "results").mkdir()
    shutil.copy(ROOT / "results" / "LOG.md", place / "results")
    for name in ("docs", "phiscale", "objectives", "search"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "site"


def test_the_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?:[^\s\">]+)", page.read_text())
        assert loaded == [], page


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    reference = (site / "api" / "phiscale.html").read_text(encoding="utf-8")
    documented = {anchor.rsplit(".", 1)[1] for anchor in re.findall(r"id=\"(phiscale\.[\w.]+)\"", reference)}
    assert set(phiscale.__all__) | {"export_member", "library_arguments", "LIBRARIES", "EXPORTS"} <= documented
    searched = (site / "api" / "search.html").read_text(encoding="utf-8")
    assert {"search.recommendation.recommend", "search.driver.run_study", "search.settings.SearchSettings"} <= set(
        re.findall(r"id=\"([\w.]+)\"", searched)
    )
    contract = (site / "api" / "objectives.html").read_text(encoding="utf-8")
    assert "objectives.contract.Objective" in re.findall(r"id=\"([\w.]+)\"", contract)
