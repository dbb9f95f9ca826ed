"""README and documentation: every block is run or parsed in the order of its page, and the pages build.

Each page has one folder with tiny images, a stand-in for the reader's own training program, and a record. There it
runs every Python block and every ``phiscale`` command that SMALL or ``phiscale.cli`` names, with the settings of SMALL
appended. NOT_RUN names the commands that are parsed only, each with its reason. Of ``make`` the recipe is
looked up, and that of ``make search`` is run. Of ``pip``, ``pytest`` and other people's programs the extras, options
and files are looked up. A line that is none of these fails.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import itertools
import json
import os
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
from phiscale.cli import _parser
from phiscale.cli import main as phiscale_main
from phiscale.commands import SCRIPTS
from scripts.shared import console
from tests.interop import require
from tests.markdown_blocks import code_blocks, inline_code
from tests.sentences import LONGEST, long_sentences, prose
from tests.tiny_data import TINY, striped_images

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_SMALL_TRAINING = ("--train.images-seen", "96", "--train.batch-size", "4", "--train.train-images", "48")
_SMALL_TRAINING += ("--train.validation-images", "16")
_SMALL_SEARCH = ("--trials", "2", "--baselines", "none", "--quiet", "--workers", "1")
SMALL = {
    "run_search": (*_SMALL_SEARCH, "--cache", "cache", *_SMALL_TRAINING),
    "confirm": ("--phis", "1", "--seeds", "1", "--images", "16", "--epochs", "2", "--rivals", "paper"),
    "calibrate_cost": ("--metric", "macs"),  # counted: times of a busy machine may fit nothing
    "check_proxy": ("--points", "6", "--seeds", "2", "--no-rates", *_SMALL_TRAINING),
    "export_onnx": ("--phi", "1", "--budget", "nominal"),
    "report": (),
}
"""Commands that are run, and what is appended so that each takes about a second: a later option wins."""
NOT_RUN = {
    "--executor ray": "a cluster takes half a minute to start: test_scripts_cluster",
    "--rate-plane": "check writes that file only if it is needed: test_scripts_check_proxy",
    "--storage-file": "a PostgreSQL server: test_scripts_postgresql",
    "--track mlflow": "a large package that is not installed: test_scripts_tracking",
    "--track wandb": "a large package that is not installed: test_scripts_tracking",
    "mine-timm": "a search of a model of timm takes half a minute: test_objectives_libraries",
    "mine-vit": "takes 20 seconds: test_docs_networks",
    "phiscale dashboard": "stays running: test_report_live",
    "phiscale reproduce": "takes minutes at its smallest: test_scripts_reproduce",
    "python -m benchmarks.": "takes minutes: measurements are no tests",
    "python -m tests.fuzz": "takes minutes",
    "CUDA_VISIBLE_DEVICES": "a GPU",
}
"""Commands whose options are parsed only, and why; what runs them is named after it."""
PROGRAMS = ("optuna-dashboard", "ray", "tensorboard")
"""Other people's programs that stay running: their options are looked up in their help."""
README_LINES = 130


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
    (tmp_path / "train.py").write_text(
        "import json, sys\nprint(json.dumps({'score': 0.5 + 0.01 * float(sys.argv[2])}))\n"
    )
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


def run_script(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch, *, parse_only: bool) -> None:
    """A command of ``scripts``, or one of ``benchmarks`` and ``tests``, in this process."""
    for word in words:
        if word.startswith(("timm:", "torchvision:")):
            require(word.partition(":")[0])
    command = importlib.import_module(module)
    name = module.removeprefix("scripts.")
    parse(command, words, monkeypatch)  # as it stands, before anything is appended
    if parse_only or name not in SMALL:
        assert parse_only, f"{module} {words} has to be in SMALL or in NOT_RUN"
        return
    own = "--objective" in words or "--command" in words  # which are refused together with options of the training
    small = [word for word in SMALL[name] if not own or word not in _SMALL_TRAINING]
    monkeypatch.setattr(sys, "argv", [name, *words, *small])
    assert command.main() == 0, words


def run_phiscale(words: list[str], monkeypatch: pytest.MonkeyPatch, *, parse_only: bool) -> None:
    """One ``phiscale`` command; what follows ``>`` is the file that takes its output."""
    place = words.index(">") if ">" in words else len(words)
    out = io.StringIO()
    with contextlib.redirect_stdout(out) if place < len(words) else contextlib.nullcontext():
        if words[0] in SCRIPTS:
            run_script(f"scripts.{SCRIPTS[words[0]]}", words[1:place], monkeypatch, parse_only=parse_only)
        elif parse_only:
            _parser().parse_args(words[:place])
        else:
            assert phiscale_main(words[:place]) == 0, words
    for name in () if parse_only else words[place + 1 :]:
        Path(name).write_text(out.getvalue())
        compile(out.getvalue(), name, "exec")


def run_make(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read what a target would do in a fresh clone, and do the last of it if that is a search."""
    words = ["make", "--dry-run", "--always-make", "-C", str(ROOT), target]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    (last,) = [line for line in lines if not line.startswith("make")][-1:]
    if " search " in last:
        run_line(last, monkeypatch)


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
    parse_only = any(mark in line for mark in NOT_RUN)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "phiscale":
        run_phiscale(arguments, monkeypatch, parse_only=parse_only)
    elif program == "make":
        for target in arguments:
            run_make(target, monkeypatch)
    elif program == "pip" or (program == "python" and arguments[1] in ("venv", "pip")):
        check_extras(arguments)
    elif program == "python" and arguments[1] == "pytest":
        assert all((ROOT / word).exists() for word in arguments if word.startswith("tests/"))
    elif program == "python":
        run_script(arguments[1], arguments[2:], monkeypatch, parse_only=parse_only)
    elif line.split("#")[0].strip() == ". .venv/bin/activate":
        return
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
    if "phiscale onnx" in page.read_text(encoding="utf-8"):
        for library in ("onnx", "onnxscript", "onnxruntime"):
            require(library)
    blocks = list(code_blocks(page.read_text(encoding="utf-8")))
    if "demo" in " ".join(block.text for block in blocks) and not any("make search" in block.text for block in blocks):
        run_line("phiscale search --study demo", monkeypatch)
    for block in blocks:
        if block.title:
            (folder / block.title).write_text(block.text)
        if block.language == "python":
            exec(compile(block.text, f"{page.name}: {block.text[:40]}", "exec"), {})  # noqa: S102 - the subject
        elif block.language == "json":
            json.loads(block.text)
        elif is_tree(block.text) or is_formula(block.text) or (block.language == "text" and "-> 0." in block.text):
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short(page: Path) -> None:
    assert [found for part in prose(page.read_text(encoding="utf-8")) for found in long_sentences(part)] == []


def help_texts() -> Iterator[str]:
    """What the help of every command says: of the command itself, and of each option."""
    for path in (
        path for place in ("phiscale", "objectives", "search", "scripts") for path in (ROOT / place).rglob("*.py")
    ):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.parent.name == "scripts":
            parts = (ast.get_docstring(tree) or "").split("\n\n")
            yield from (part for part in parts if not part.startswith("Run:"))
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "help":
                yield " ".join(str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant))
            elif isinstance(node, ast.ClassDef) and node.name.endswith(("Options", "Settings")):
                for field, text in itertools.pairwise(node.body):
                    if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                        yield str(ast.literal_eval(text.value))


def test_sentences_of_help_are_short() -> None:
    texts = list(help_texts())
    assert len(texts) > 100
    assert [found for text in texts for part in prose(text) for found in long_sentences(part)] == []


def test_a_long_sentence_is_found() -> None:
    text = "# Title\n\n- Short. " + "word " * LONGEST + "`some code`.\n\n| " + "cell " * 40 + "|\n\n    indented code\n"
    assert [len(long_sentences(part)) for part in prose(text)] == [1]


def test_the_readme_is_short_and_reaches_another_project_in_five_commands() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert len(text.splitlines()) < README_LINES
    (block,) = [block for block in code_blocks(text) if "> model.py" in block.text]
    assert block.text.splitlines()[0] == "make search"
    assert len(block.text.splitlines()) <= 5


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
