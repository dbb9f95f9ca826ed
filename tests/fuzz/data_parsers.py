"""The readers of images: single files, folders, archives."""

from __future__ import annotations

import functools
import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from objectives.data.arrays import read_arrays, read_test_arrays
from objectives.data.folder import role_of, training_tree
from objectives.data.picture import (
    SUFFIXES,
    fit_square,
    quiet_pillow,
    ranges_of,
    read_extremes,
    read_header,
    read_square,
)
from tests.fuzz.mutation import damaged
from tests.fuzz.running import Parser

_LOSSLESS = {
    "png": "L LA RGB RGBA 1 P I;16",
    "tif": "L LA RGB RGBA 1 P I;16 I F CMYK",
    "webp": "RGB RGBA",
    "bmp": "L RGB",
}
_LOSSLESS |= {"gif": "L P", "ppm": "RGB", "pgm": "L", "pfm": "F", "jpg": "L RGB CMYK"}
_KINDS = [(suffix, mode) for suffix, modes in _LOSSLESS.items() for mode in modes.split()]
_OTHERS = (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", b"DDS " + bytes(124), b"\0\0\1\0\1\0", b"GIF89a", b"")


@functools.cache
def _picture(suffix: str, mode: str, shade: int = 90, size: tuple[int, int] = (8, 8)) -> bytes:
    """An image of one shade."""
    values = np.full((size[1], size[0]), shade, np.uint8)
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(values.astype(np.int32) * 257)
    elif mode == "1":
        image = Image.fromarray(values >= 128)
    elif mode == "F":
        image = Image.fromarray((values / 255).astype(np.float32))
    elif mode == "P":
        image = Image.fromarray(values, "P")
        image.putpalette([shade for shade in range(256) for _ in range(3)])
    else:
        image = Image.fromarray(values).convert(mode)
    content = io.BytesIO()
    kind = {"tif": "TIFF", "jpg": "JPEG", "pgm": "PPM", "pfm": "PPM"}.get(suffix, suffix.upper())
    image.save(content, kind, **({"lossless": True} if suffix == "webp" else {}))
    return content.getvalue()


@st.composite
def _whole_pictures(draw: st.DrawFn) -> tuple[bytes, int | None]:
    """A whole file and its shade."""
    suffix, mode = draw(st.sampled_from(_KINDS))
    shade = draw(st.sampled_from([0, 3, 90, 200, 255]))
    size = draw(st.sampled_from([(8, 8), (1, 1), (3, 17), (40, 9)]))
    content = _picture(suffix, mode, shade, size)
    deep = (
        mode in ("I", "I;16") and (shade * 257).bit_length() <= 14
    )  # a dark image alone: the range of its set is less
    return content, 255 * (shade >= 128) if mode == "1" else None if deep else shade


def _read_picture(given: tuple[str, tuple[bytes, int | None]], folder: Path) -> None:
    suffix, (content, shade) = given
    file = folder / f"x{suffix}"
    file.write_bytes(content)
    try:
        with quiet_pillow():
            header = read_header(file)
            ranges = ranges_of([(header.mode, read_extremes(file))] if header.is_deep else [])
            square = read_square(file, 8, ranges)
    finally:
        file.unlink()
    assert (square.dtype, square.shape) == (np.uint8, (3, 8, 8))
    if shade is not None:
        assert np.abs(square.astype(int) - shade).max() <= 2, f"{header} of shade {shade} became {square.ravel()[:3]}"


_suffixes = st.sampled_from([suffix for suffixes in SUFFIXES.values() for suffix in suffixes])
_damaged_pictures = st.tuples(damaged([*(_picture(*kind) for kind in _KINDS), *_OTHERS]), st.none())
PICTURES = Parser("images", st.tuples(_suffixes, _whole_pictures() | _damaged_pictures), _read_picture)


_NAMES = (
    "a",
    "b",
    "cats",
    "dogs",
    "train",
    "Training",
    "seg_train",
    "TEST",
    "test",
    "test_images",
    "val",
    "Validation",
)
_NAMES += ("seg_pred", "images", "x.png", "y.JPG", "z.txt", ".hidden", "no\udcfftext", "\x1b[31m", "ä", " ", "train2")


def _make(folder: Path, tree: dict[str, Any] | None) -> None:
    if tree is None:
        folder.touch()
        return
    folder.mkdir()
    for name, inside in tree.items():
        _make(folder / name, inside)


def _read_folder(tree: dict[str, Any], folder: Path) -> None:
    root = folder / "tree"
    _make(root, tree)
    try:
        found = training_tree(root)
        assert len(found.classes) >= 2
        assert all(name.isprintable() for name in (*found.classes, *found.left_alone))
        assert sorted(set(found.labels.tolist())) == list(range(len(found.classes)))
        assert len(found.files) == len(found.labels) == len(set(found.files))
        for file in found.files:
            assert file.is_file()
            outer = file.relative_to(root).parts[0]
            assert outer.lower() not in ("test", "val", "validation", "test_images"), f"{file} is of an untouched part"
            if role_of(outer) not in (None, "train"):
                raise AssertionError(f"{file} is read for training")
    finally:
        shutil.rmtree(root)


_names = st.sampled_from(_NAMES)
_leaf = st.dictionaries(_names, st.none(), max_size=3) | st.just({"p.png": None, "q.png": None})
_full = st.just({"p.png": None, "q.png": None})
_classes = st.dictionaries(_names, _leaf, max_size=4) | st.dictionaries(_names, _full, min_size=2, max_size=4)
_trees = _classes | st.dictionaries(_names, _classes | _leaf | st.none(), max_size=4)
_trees |= st.dictionaries(_names, st.dictionaries(_names, _classes, max_size=2), max_size=2)
FOLDERS = Parser("folders", _trees, _read_folder)


@functools.cache
def _archive(deflated: bool, test: bool, names: bool) -> bytes:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {"images": generator.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)}
    arrays["labels"] = np.arange(12) % 3
    if test:
        arrays |= {"test_images": arrays["images"][:4], "test_labels": arrays["labels"][:4]}
    if names:
        arrays["classes"] = np.array(["one", "two", "three"])
    content = io.BytesIO()
    (np.savez_compressed if deflated else np.savez)(content, **arrays)
    return content.getvalue()


_WHOLE = [_archive(bool(kind & 1), bool(kind & 2), bool(kind & 4)) for kind in range(8)]


@st.composite
def _arrays(draw: st.DrawFn) -> bytes:
    """An archive of arrays of any type and shape, of which the headers may be damaged while the checksums fit."""
    content = io.BytesIO()
    kinds = st.sampled_from(["u1", "f4", "f8", "f2", "i8", "u2", "?", "U5", "S3", "c8", "O", "M8[s]", ">f4", "i4,f4"])
    sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 12])
    count = draw(sizes)
    with zipfile.ZipFile(content, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for name in draw(
            st.sets(st.sampled_from(["images", "labels", "classes", "test_images", "test_labels", "other"]))
        ):
            shape = (count, *draw(st.lists(sizes, max_size=3))) if "images" in name else (count,)
            if name == "classes" or draw(st.integers(0, 9)) == 0:
                shape = tuple(draw(st.lists(sizes, max_size=2)))
            plain = np.random.default_rng(0).integers(0, 3, shape)
            likely = "u1" if "images" in name else "U5" if name == "classes" else "i8"
            kind = draw(st.just(likely) | kinds)
            try:
                values = plain.astype(kind)
            except (TypeError, ValueError):
                values = np.zeros(shape, kind)
            member = io.BytesIO()
            np.save(member, values, allow_pickle=True)
            archive.writestr(f"{name}.npy", draw(st.just(member.getvalue()) | damaged([member.getvalue()])))
    return content.getvalue()


def _read_archive(content: bytes, folder: Path) -> None:
    file = folder / "data.npz"
    file.write_bytes(content)
    found = read_arrays(file, 4)
    assert (found.images.dtype, found.images.shape[1:]) == (np.uint8, (3, 4, 4))
    assert len(found.images) == len(found.labels) == len(found.sizes)
    assert sorted(set(found.labels.tolist())) == list(range(len(found.classes)))
    assert all(isinstance(name, str) and name.isprintable() for name in found.classes)
    if content in _WHOLE:
        expected = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
        squares = [fit_square(Image.fromarray(image[:5]), 4) for image in expected]
        assert np.array_equal(found.images, np.stack([np.asarray(square).transpose(2, 0, 1) for square in squares]))
    test = read_test_arrays(file, 4)
    if test is not None:
        assert len(test.images) == len(test.labels)
        assert test.labels.max() < len(test.classes)


ARCHIVES = Parser("archives", st.sampled_from(_WHOLE) | damaged(_WHOLE) | _arrays(), _read_archive)
