"""What becomes of every kind of image file, of the names of folders, and of damaged archives."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from objectives.data import picture
from objectives.data.decode import decode_files
from objectives.data.folder import role_of, training_tree
from objectives.data.load import load_data, load_npz, load_test_part
from phiscale import DataError
from phiscale.text import printable


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, image: Image.Image | np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


def fill(folder: Path, count: int = 6, seed: int = 0, suffix: str = "png", size: tuple[int, int] = (8, 8)) -> Path:
    for index in range(count):
        save(folder / f"{index}.{suffix}", pixels(1000 * seed + index, *size, 3))
    return folder


def tree(root: Path, *names: str, count: int = 6, suffix: str = "png", size: tuple[int, int] = (8, 8)) -> Path:
    for name in names:
        fill(root / name, count, sum(map(ord, name)), suffix, size)
    return root


def decoded(tmp_path: Path, *files: Path, side: int | None = None) -> np.ndarray:
    return decode_files(files, side=side, cache=tmp_path / "cache").images


# pixels


def test_the_endings_are_those_of_pillow_for_these_formats():
    Image.init()
    for name, suffixes in picture.SUFFIXES.items():
        known = {suffix for suffix, of in Image.EXTENSION.items() if of == name or (name, of) == ("BMP", "DIB")}
        assert set(suffixes) == known


RAMP = np.tile(np.arange(8), (8, 1))


@pytest.mark.parametrize(
    ("name", "values", "white"),
    [
        ("whole.png", (RAMP * 9000).astype(np.uint16), 65535),
        ("twelve.png", (RAMP * 500).astype(np.uint16), 4095),
        ("fourteen.tif", (RAMP * 2000).astype(np.uint16), 16383),
        ("integers.tif", (RAMP * 8500).astype(np.int32), 65535),
        ("millions.tif", (RAMP * 1_000_000).astype(np.int32), 2**23 - 1),
        ("shares.tif", (RAMP / 7).astype(np.float32), 1),
        ("floats.tif", (RAMP * 100.5).astype(np.float32), 703.5),
        ("small.pfm", (RAMP / 10).astype(np.float32), 1),
    ],
)
def test_values_of_more_than_eight_bits_are_scaled(tmp_path, name, values, white):
    (image,) = decoded(tmp_path, save(tmp_path / name, values))
    assert image == pytest.approx(np.repeat(values[None] * (255 / white), 3, 0), abs=0.50001)


def test_negative_values_are_stretched_and_all_images_of_a_set_have_one_range(tmp_path):
    low = save(tmp_path / "low.tif", (RAMP / 10 - 1).astype(np.float32))
    high = save(tmp_path / "high.tif", (RAMP / 7 + 1).astype(np.float32))
    images = decoded(tmp_path, low, high)
    assert (images[0].min(), images[1].max()) == (0, 255)
    assert images[1].min() == round(2 / 3 * 255)
    assert np.array_equal(decoded(tmp_path, low, high), images)  # from the cache


def test_the_test_part_has_the_range_of_the_training_part(tmp_path):
    root = tmp_path / "data"
    for name in ("a", "b"):
        for index in range(6):
            save(root / "train" / name / f"{index}.png", (RAMP * (400 + index + 10 * (name == "b"))).astype(np.uint16))
            save(root / "test" / name / f"{index}.png", (RAMP * (100 + index + 10 * (name == "b"))).astype(np.uint16))
    searched = load_data(root, cache=tmp_path / "cache")
    assert "integers of more than 8 bits scaled from 0..4095" in searched.notes
    unseen = load_test_part(root, searched, cache=tmp_path / "cache").validation_images
    assert unseen.max() == round(115 * 7 * 255 / 4095)


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("nan.tif", np.full((8, 8), np.nan, np.float32), r"nan\.tif of mode F.*NaN"),
        ("unsigned.tif", np.full((8, 8), 2**31 + 5, np.uint32), r"unsigned\.tif.*32 bits exceed"),
    ],
)
def test_values_without_a_rule_are_refused(tmp_path, name, values, match):
    if name == "unsigned.tif":
        content = save(tmp_path / name, values.view(np.int32)).read_bytes()
        signed, unsigned = (b"\x53\x01\x03\0\1\0\0\0" + kind for kind in (b"\2", b"\1"))
        assert signed in content
        (tmp_path / name).write_bytes(content.replace(signed, unsigned))
    else:
        save(tmp_path / name, values)
    with pytest.raises(DataError, match=match):
        decoded(tmp_path, tmp_path / name)


def colours_of_sixteen_bits(path: Path, largest: int) -> Path:
    """A PNG of one colour with 16 bits a channel, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + struct.pack(">24H", *[largest - 8 * row] * 24) for row in range(8))
    head = struct.pack(">2I5B", 8, 8, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def test_colours_of_twelve_bits_in_sixteen_are_refused(tmp_path):
    (whole,) = decoded(tmp_path, colours_of_sixteen_bits(tmp_path / "whole.png", 65535))
    assert whole.max() == 255
    with pytest.raises(DataError, match=r"twelve\.png \(mode RGB;16\)"):
        decoded(tmp_path, colours_of_sixteen_bits(tmp_path / "twelve.png", 4095))


def glass(mode: str) -> Image.Image:
    """Black whose opacity grows from 0 to 255 by columns."""
    opacity = np.tile(np.linspace(0, 255, 8).astype(np.uint8), (8, 1))
    black = np.zeros((8, 8, 3), np.uint8)
    return Image.fromarray(np.dstack([black, opacity]), "RGBA").convert(mode)


@pytest.mark.parametrize(("mode", "name"), [("RGBA", "a.png"), ("LA", "b.png"), ("RGBA", "c.webp"), ("RGBA", "d.tif")])
def test_transparency_is_composited_on_white(tmp_path, mode, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    (image,) = decoded(tmp_path, save(tmp_path / name, glass(mode), **options))
    expected = 255 - np.linspace(0, 255, 8).astype(np.uint8)
    assert np.abs(image[0, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("mode", "transparency"),
    [("P", 0), ("P", bytes([0, 255])), ("L", 0), ("RGB", (0, 0, 0)), ("1", 0)],
    ids=["palette", "palette-of-opacity", "grey", "colour", "bilevel"],
)
def test_a_transparent_colour_is_white(tmp_path, mode, transparency):
    half = Image.fromarray(np.tile(np.array([0, 0, 0, 0, 90, 90, 90, 90], np.uint8), (8, 1)))
    if mode == "P":
        image = Image.fromarray((np.asarray(half) > 0).astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 90, 90, 90])
    else:
        image = half.point(lambda shade: 255 * (shade > 0), "1") if mode == "1" else half.convert(mode)
    (found,) = decoded(tmp_path, save(tmp_path / "a.png", image, transparency=transparency))
    assert (found[:, 0, 0] == 255).all()
    assert (found[:, 0, 7] == (255 if mode == "1" else 90)).all()


@pytest.mark.parametrize("name", ["a.jpg", "b.png", "c.tif", "d.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif_is_applied(tmp_path, name, orientation):
    corner = np.full((16, 32), 40, np.uint8)  # wide, bright at the upper left of its middle square
    corner[:8, 8:16] = 220
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = save(tmp_path / name, np.dstack([corner] * 3), exif=exif)
    (image,) = decoded(tmp_path, file)
    quarters = image[0].reshape(2, 8, 2, 8).mean((1, 3)).ravel()
    assert image.shape == (3, 16, 16)
    upper_left, upper_right, lower_left, lower_right = range(4)
    places = (upper_left, upper_right, lower_right, lower_left, upper_left, upper_right, lower_right, lower_left)
    assert quarters.argmax() == places[orientation - 1]


def test_damaged_exif_with_whole_pixels_does_no_harm(tmp_path):
    file = save(tmp_path / "a.jpg", pixels(0, 8, 8, 3), exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert decoded(tmp_path, file).shape == (1, 3, 8, 8)


def test_a_scan_beyond_the_limit_of_pillow_is_reduced_while_it_is_read(tmp_path, monkeypatch):
    shade = np.tile(np.linspace(0, 255, 400).astype(np.uint8), (400, 1))
    for name in ("a.jpg", "a.png"):
        save(tmp_path / name, shade)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (image,) = decoded(tmp_path, tmp_path / "a.jpg", side=40)
    assert np.abs(image[0, 0].astype(int) - np.linspace(0, 255, 40)).max() < 8
    with pytest.raises(DataError, match=r"a\.png.*exceeds limit.*JPEG"):
        decoded(tmp_path, tmp_path / "a.png", side=40)
    monkeypatch.setattr(picture, "_LARGEST_JPEG", 100_000)
    with pytest.raises(DataError, match="160,000 pixels"):
        decoded(tmp_path, tmp_path / "a.jpg", side=41)


def test_only_documented_formats_are_opened(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", None)
    for kind, content in {
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n",
        "dds": b"DDS " + bytes(124),
        "ico": b"\0\0\1\0\1\0",
    }.items():
        (tmp_path / f"{kind}.png").write_bytes(content)
        with pytest.raises(DataError, match=rf"{kind}\.png: it is not one of BMP, GIF, JPEG"):
            decoded(tmp_path, tmp_path / f"{kind}.png")
    content = io.BytesIO()
    Image.fromarray(pixels(0, 8, 8, 3)).save(content, "webp", lossless=True)
    (tmp_path / "named.png").write_bytes(content.getvalue())  # another documented format than its name says
    assert np.array_equal(decoded(tmp_path, tmp_path / "named.png")[0], pixels(0, 8, 8, 3).transpose(2, 0, 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.timeout(60)
def test_a_pipe_is_never_opened(tmp_path):
    root = tree(tmp_path / "data", "a", "b")
    os.mkfifo(root / "a" / "pipe.png")
    data = load_data(root, cache=tmp_path / "cache")
    assert any("1 not a regular file" in note for note in (*data.notes, *data.warnings))
    (root / "a" / "link.png").symlink_to(root / "a" / "pipe.png")
    with pytest.raises(DataError, match=r"link\.png: it is not a regular file"):
        load_data(root, cache=tmp_path / "cache")


# sets


def test_a_set_of_equal_or_black_images_is_refused(tmp_path):
    for name in ("a", "b"):
        for index in range(6):
            save(tmp_path / "same" / name / f"{index}.png", pixels(index % 2, 8, 8, 3))
            save(tmp_path / "black" / name / f"{index}.png", pixels(index, 8, 8, 3) // 128)
    with pytest.raises(DataError, match="got 2 different ones of 12"):
        load_data(tmp_path / "same", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="of one shade, 0 of 255"):
        load_data(tmp_path / "black", cache=tmp_path / "cache")
    np.savez(tmp_path / "zeros.npz", images=np.zeros((20, 8, 8, 3), np.uint8), labels=np.arange(20) % 2)
    with pytest.raises(DataError, match="of one shade"):
        load_data(tmp_path / "zeros.npz")


def test_what_is_cut_off_and_left_alone_is_said(tmp_path):
    root = tree(tmp_path / "data", "a", "b", count=30, suffix="jfif")
    save(root / "a" / "wide.png", pixels(7, 32, 320, 3))
    (root / "a" / "notes.txt").write_text("no image")
    (root / "b" / "film.mp4").write_text("no image")
    save(root / "loose.png", pixels(8, 8, 8, 3))
    data = load_data(root, cache=tmp_path / "cache")
    assert len(data.train_labels) + len(data.validation_labels) == 61
    assert data.warnings == ()
    cut, left = data.notes
    assert cut == "1 of 61 lose more than a tenth outside their middle square"
    assert left.startswith("3 files skipped (")
    assert all(f"1 {reason}" in left for reason in (".txt", ".mp4", "in no class folder"))
    again = load_data(root, cache=tmp_path / "cache")
    assert again.notes == data.notes


def test_many_files_left_alone_or_cut_are_warned_about(tmp_path):
    root = tree(tmp_path / "data", "a", "b", size=(32, 320))
    for index in range(9):
        (root / "a" / f"{index}.heic").write_text("an image that is not read")
    shapes, left = load_data(root, cache=tmp_path / "cache").warnings
    assert shapes.startswith("12 of 12 images lose half or more")
    assert "320 x 32 pixels keeps 10%" in shapes
    assert left == "9 files skipped (9 .heic) next to 12 images"


# names of folders


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *(
            (name, "train")
            for name in ("train", "TRAIN", "Training", "seg_train", "train_images", "trainSet", "train2")
        ),
        *((name, "test") for name in ("Testing", "seg_test", "test-images")),
        *((name, "validation") for name in ("val", "Valid", "VALIDATION", "imagenet_val")),
        *((name, "prediction") for name in ("seg_pred", "Predictions")),
        *((name, None) for name in ("cat", "trainer", "contest", "valley", "interval", "train_test")),
    ],
)
def test_parts_are_recognised_by_a_word_in_their_name(name, role):
    assert role_of(name) == role


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("seg_train", "seg_test"), ("train_images", "test_images"), ("TRAIN", "Valid")],
)
@pytest.mark.parametrize("nested", [False, True])
def test_the_training_part_is_read_and_the_untouched_part_confirms(tmp_path, train, test, nested):
    root = tmp_path / "data"
    tree(root / train / train if nested else root / train, "a", "b")
    tree(root / test / test if nested else root / test, "a", "b", count=2, size=(9, 9))
    fill(root / "seg_pred")
    data = load_data(root, cache=tmp_path / "cache")
    assert (data.classes, data.epoch_images) == (("a", "b"), 12)
    assert len(load_test_part(root, data, cache=tmp_path / "cache").validation_labels) == 4


@pytest.mark.parametrize(
    ("folders", "match"),
    [
        (("one/a", "one/b", "two/a", "two/b"), "hold the same folders"),
        (("cats/train", "cats/test", "dogs/train", "dogs/test"), "hold the same folders"),
        (("cats/test", "dogs/test"), "hold the same folders"),
        (("Testing/a", "Testing/b", "images/a", "images/b"), "named train"),
        (("cats", "dogs", "test"), "named train"),
        (("cats", "dogs", "Validation_Set"), "named train"),
        (("cats", "dogs", "seg_pred"), "named train"),
        (("train", "test"), "named train"),
        (("train", "labels"), "named train"),
        (("seg_pred", "seg_test"), "named train"),
        (("test/a", "test/b"), "named train"),
        (("my_test/a", "my_test/b"), "named train"),
        (("seg_train/a", "seg_train/b", "old_train/a", "old_train/b"), "one training part"),
    ],
)
def test_folders_that_could_be_parts_are_refused(tmp_path, folders, match):
    with pytest.raises(DataError, match=match):
        training_tree(tree(tmp_path / "data", *folders))


def test_names_that_look_like_parts_can_be_classes(tmp_path):
    assert training_tree(tree(tmp_path / "1", "bus", "plane", "train")).classes == ("bus", "plane", "train")
    assert training_tree(tree(tmp_path / "2", "flask", "bullet_train")).classes == ("bullet_train", "flask")
    tiny = tree(tmp_path / "3", "train/n01/images", "train/n02/images", "val/images")
    assert training_tree(tiny).classes == ("n01", "n02")


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names must be text there")
def test_names_that_are_not_text_are_escaped(tmp_path):
    strange = os.fsdecode(b"caf\xe9\x1b[31m")
    root = tree(tmp_path / strange, f"train/{strange}", "train/b", f"test/{strange}", "test/b")
    data = load_data(root, cache=tmp_path / "cache")
    shown = r"caf\udce9\x1b[31m"
    assert (data.name, data.classes) == (shown, ("b", shown))
    unseen = load_test_part(root, data, cache=tmp_path / "cache")
    assert np.bincount(unseen.validation_labels).tolist() == [6, 6]
    assert printable("Grüße, 数据") == "Grüße, 数据"


# archives


LABELS = np.arange(20) % 2


def archive(path: Path, compression: int = zipfile.ZIP_STORED, **arrays: np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, values in ({"images": pixels(0, 20, 6, 6), "labels": LABELS} | arrays).items():
            with file.open(f"{name}.npy", "w") as member:
                np.save(member, values) if isinstance(values, np.ndarray) else member.write(values)
    return path


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"classes": np.array("cat")}, r"classes .* as a row of names"),
        ({"classes": np.array([0.5, 1.5])}, r"classes .* as a row of names"),
        ({"classes": np.array(["x" * 5000, "y"])}, r"classes .* as a row of names"),
        ({"classes": np.array(["cat", "cat"])}, "one twice"),
        ({"images": pixels(0, 20, 3, 9, 3)}, "could be either"),
        ({"images": b"\x93NUMPY\x01\x00\x10\x00{'descr': broken"}, r"cannot read it"),
        ({"images": b"\x93NUMPY\x09\x00\x10\x00"}, r"cannot read it"),
        ({"images": b"text"}, r"cannot read it"),
        ({"labels": np.array([{}, 1], dtype=object)}, "Python objects"),
        ({"test_images": pixels(1, 3, 6, 6), "test_labels": np.array([0, 1, 2])}, "test_labels .* below 2"),
    ],
    ids=str,
)
def test_bad_archives_say_what_is_wrong(tmp_path, arrays, match):
    with pytest.raises(DataError, match=match) as caught:
        load_npz(archive(tmp_path / "data.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_encrypted_and_strange_compression_are_named(tmp_path):
    with pytest.raises(DataError, match="compression 12"):
        load_npz(archive(tmp_path / "bz2.npz", zipfile.ZIP_BZIP2))
    content = bytearray(archive(tmp_path / "data.npz").read_bytes())
    for at in range(len(content)):
        if content[at : at + 4] in (b"PK\x01\x02", b"PK\x03\x04"):
            content[at + (8 if content[at + 2] == 1 else 6)] |= 1
    (tmp_path / "data.npz").write_bytes(bytes(content))
    with pytest.raises(DataError, match="encrypted"):
        load_npz(tmp_path / "data.npz")


def test_sizes_are_read_before_anything_is_decompressed(tmp_path, monkeypatch):
    from objectives.data import decode

    monkeypatch.setattr(decode.os, "sysconf", lambda name: 1000)  # a page of 1,000 bytes, 1,000 of them
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("an array was read"))
    large = np.zeros((20, 200, 200), np.uint8)
    path = archive(tmp_path / "data.npz", zipfile.ZIP_DEFLATED, images=large, labels=np.zeros(10**6, np.int8))
    with pytest.raises(DataError, match="one for each image"):
        load_npz(path)
    monkeypatch.undo()
    monkeypatch.setattr(decode.os, "sysconf", lambda name: 1000)
    with pytest.raises(DataError, match="images of .* GiB are free"):
        load_npz(archive(tmp_path / "data.npz", zipfile.ZIP_DEFLATED, images=large))


def test_a_header_that_promises_more_than_is_there_is_refused(tmp_path):
    whole = io.BytesIO()
    np.save(whole, pixels(0, 20, 6, 6))
    with pytest.raises(DataError, match="the whole of images"):
        load_npz(archive(tmp_path / "data.npz", images=whole.getvalue()[:-7]))


def test_a_search_reads_no_image_of_the_test_part(tmp_path, monkeypatch):
    path = archive(tmp_path / "data.npz", test_images=pixels(1, 4, 6, 6), test_labels=LABELS[:4])
    read = []
    real = np.lib.format.read_array
    monkeypatch.setattr(
        np.lib.format, "read_array", lambda file, **named: (read.append(file.name), real(file, **named))[1]
    )
    data = load_data(path)
    assert sorted(read) == ["images.npy", "labels.npy", "test_labels.npy"]
    assert len(load_test_part(path, data).validation_labels) == 4


def test_a_fourth_channel_is_opacity(tmp_path):
    images = pixels(0, 20, 6, 6, 4)
    data = load_data(archive(tmp_path / "data.npz", images=images))
    assert data.notes == ("the fourth channel is opacity, composited on white",)
    opacity = images[..., 3:] / 255
    expected = (images[..., :3] * opacity + 255 * (1 - opacity)).transpose(0, 3, 1, 2)
    whole = np.concatenate([data.train_images, data.validation_images])
    distances = [np.abs(expected - image).max((1, 2, 3)).min() for image in whole]
    assert max(distances) <= 1


def test_a_small_file_of_very_many_deep_pixels_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(picture, "_LARGEST_DEEP", 100)
    for number in range(12):
        place = tmp_path / "images" / str(number % 2) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((12, 12), number * 900, np.uint16)).save(place)
    with pytest.raises(DataError, match="144 pixels of more than 8 bits, more than 100; make it smaller"):
        load_data(str(tmp_path / "images"), cache=tmp_path / "cache")
