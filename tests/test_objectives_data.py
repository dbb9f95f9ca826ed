from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objectives.data import decode, folder
from objectives.data.imageset import ImageSet, split_labels
from objectives.data.load import load_data, load_image_folder, load_npz, load_test_part
from objectives.training import memory
from phiscale import DataError, SettingsError


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def make_tree(root: Path, classes: int = 3, each: int = 10, side: int = 8, first_seed: int = 0) -> Path:
    for label in range(classes):
        for index in range(each):
            save(root / f"class{label}" / f"{index:02}.png", pixels(first_seed + 100 * label + index, side, side, 3))
    return root


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def seen_by(data: ImageSet) -> set[bytes]:
    return {image.tobytes() for part in (data.train_images, data.validation_images) for image in part}


# image folders


def test_a_folder_of_classes_is_split_with_all_classes_in_both_parts(tmp_path, cache):
    data = load_image_folder(make_tree(tmp_path / "data"), cache=cache)
    assert data.classes == ("class0", "class1", "class2")
    assert data.name == "data"
    assert data.resolution == 8
    assert data.augmentations == {"flip", "crop"}
    assert np.bincount(data.validation_labels).tolist() == [2, 2, 2]
    assert np.bincount(data.train_labels).tolist() == [8, 8, 8]
    assert len(seen_by(data)) == 30
    expected = np.asarray(Image.open(tmp_path / "data/class1/00.png")).transpose(2, 0, 1)
    parts = [(data.train_images, data.train_labels), (data.validation_images, data.validation_labels)]
    labels = [
        int(label)
        for images, of in parts
        for image, label in zip(images, of, strict=True)
        if np.array_equal(image, expected)
    ]
    assert labels == [1]


def test_images_of_the_train_folder_alone_are_read(tmp_path, cache, monkeypatch):
    """Of the part that a confirmation takes, only the names of the files are."""
    root = tmp_path / "data"
    make_tree(root / "train")
    for name in ("test", "val", "validation"):
        make_tree(root / name, first_seed=1000)
        for image in (root / name).rglob("*.png"):
            image.write_bytes(b"broken")
    opened = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (opened.append(Path(path).relative_to(root)), real(path))[1])
    assert len(seen_by(load_data(str(root), cache=cache))) == 30
    assert {path.parts[:1] for path in opened} == {(), ("train",), ("test",)}


def test_every_mode_and_size_becomes_one_square_rgb_image(tmp_path, cache):
    root = make_tree(tmp_path / "data", each=20)
    extra = root / "class0"
    ramp = np.tile(np.arange(12, dtype=np.uint8) * 20, (8, 1))
    save(extra / "grey.png", ramp)
    save(extra / "bilevel.png", ramp, "1")
    save(extra / "alpha.png", pixels(1, 8, 8, 4))
    save(extra / "grey-alpha.png", pixels(1, 8, 8, 2))
    save(extra / "cmyk.jpg", pixels(1, 30, 20, 3), "CMYK")
    save(extra / "wide.bmp", pixels(2, 3, 400, 3))
    save(extra / "one.gif", pixels(3, 1, 1, 3))
    save(extra / "UPPER.JPEG", pixels(4, 40, 50, 3))
    Image.fromarray(ramp.astype(np.uint16) * 256).save(extra / "deep.png")
    palette = Image.fromarray(pixels(5, 8, 8, 3)).convert("P")
    palette.save(extra / "palette.png", transparency=bytes(range(256)))
    (extra / "notes.txt").write_text("no image")
    (extra / ".hidden.png").write_bytes(b"no image")
    data = load_image_folder(root, cache=cache)
    assert len(data.train_labels) + len(data.validation_labels) == 70
    assert data.resolution == 8
    squares = {image.tobytes() for image in data.train_images}.union(
        image.tobytes() for image in data.validation_images
    )
    grey = np.repeat(ramp[None, :, 2:10], 3, axis=0)
    assert grey.tobytes() in squares  # the middle of the grey ramp, three equal channels; the 16-bit one is the same


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_eight(tmp_path, suffix):
    ramp = np.tile(np.arange(0, 64_000, 8_000, dtype=np.uint16), (8, 1))
    Image.fromarray(ramp).save(tmp_path / f"deep.{suffix}")
    (image,) = decode.decode_files([tmp_path / f"deep.{suffix}"], cache=tmp_path).images
    assert np.array_equal(image, np.repeat(np.rint(ramp[None] / 257), 3, axis=0))


def test_images_are_resized_without_aliasing(tmp_path, cache):
    stripes = np.tile(np.array([10, 255], np.uint8), (64, 32))
    for name in ("a", "b"):
        for index in range(5):
            save(tmp_path / "data" / name / f"{index}.png", np.abs(stripes - np.uint8(index + 5 * (name == "a"))))
    data = load_image_folder(tmp_path / "data", side=16, cache=cache)
    middle = data.train_images[:, :, 2:-2, 2:-2].astype(int)
    assert np.abs(middle - 127).max() <= 12


def test_the_common_side_is_the_commonest_or_the_median_and_has_a_limit():
    assert decode._common_side([32] * 6 + [500, 400, 300, 200]) == 32
    assert decode._common_side([10, 20, 30, 40, 50]) == 30
    assert decode._common_side([500] * 3) == decode.LARGEST_COMMON_SIDE


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_a_damaged_file_is_named(tmp_path, cache, content):
    root = make_tree(tmp_path / "data")
    bad = root / "class1" / "03.png"
    bad.write_bytes(bad.read_bytes()[:60] if content is None else content)
    with pytest.raises(DataError, match=r"class1/03\.png.*remove"):
        load_image_folder(root, cache=cache)
    assert not list(cache.glob("*")) if cache.exists() else True


def test_a_truncated_body_is_found_while_decoding(tmp_path, cache):
    root = make_tree(tmp_path / "data")
    bad = save(root / "class2" / "big.png", pixels(0, 64, 64, 3))
    bad.write_bytes(bad.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"class2/big\.png"):
        load_image_folder(root, cache=cache)


def test_a_huge_image_is_refused(tmp_path, cache, monkeypatch):
    root = make_tree(tmp_path / "data", side=20)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="exceeds limit"):
        load_image_folder(root, cache=cache)


def test_bad_trees_say_what_is_wrong(tmp_path, cache):
    def refuses(root, match):
        with pytest.raises(DataError, match=match):
            load_data(str(root), cache=cache)

    refuses(tmp_path / "missing", "nothing at that path")
    refuses(tmp_path / "null\0byte", "nothing at that path")
    (tmp_path / "empty").mkdir()
    refuses(tmp_path / "empty", "got 0")
    refuses(make_tree(tmp_path / "one", classes=1), "got 1")
    gap = make_tree(tmp_path / "gap")
    (gap / "unfilled").mkdir()
    refuses(gap, "none in unfilled")
    (gap / "unfilled" / "notes.txt").write_text("no image")
    refuses(gap, "none in unfilled")
    (tmp_path / "flat").mkdir()
    save(tmp_path / "flat" / "a.png", pixels(0, 8, 8, 3))
    refuses(tmp_path / "flat", "one for each class")
    make_tree(tmp_path / "untrained" / "test")
    make_tree(tmp_path / "untrained" / "other")
    refuses(tmp_path / "untrained", "folder named train")
    refuses(make_tree(tmp_path / "few", classes=2, each=1), "at least 5 images")
    refuses(save(tmp_path / "file.png", pixels(0, 8, 8, 3)), "another ending")


def test_a_folder_without_permission_is_named(tmp_path, cache, monkeypatch):
    root = make_tree(tmp_path / "data")
    real = os.scandir

    def scandir(path):
        if Path(path).name == "class1":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"class1: Permission denied"):
        load_image_folder(root, cache=cache)


def test_a_file_without_permission_is_named(tmp_path, cache, monkeypatch):
    root = make_tree(tmp_path / "data")
    real = Image.open

    def refuse(path, **named):
        if Path(path).name == "04.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **named)

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"04\.png: Permission denied"):
        load_image_folder(root, cache=cache)


def test_links_are_followed_and_circles_end(tmp_path, cache):
    root = make_tree(tmp_path / "data")
    elsewhere = make_tree(tmp_path / "elsewhere", classes=1, first_seed=5000) / "class0"
    (root / "class0" / "more").symlink_to(elsewhere)
    (root / "class0" / "circle").symlink_to(root / "class0")
    (root / "class0" / "dangling.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"dangling\.png"):
        load_image_folder(root, cache=cache)
    (root / "class0" / "dangling.png").unlink()
    assert len(seen_by(load_image_folder(root, cache=cache))) == 40


# the cache


def test_images_are_decoded_once(tmp_path, cache, monkeypatch):
    root = make_tree(tmp_path / "data")
    first = load_image_folder(root, cache=cache)
    monkeypatch.setattr(decode, "read_square", None)
    again = load_image_folder(root, cache=cache)
    assert again.fingerprint == first.fingerprint
    with pytest.raises(TypeError):  # another split needs the same images, another side does not
        load_image_folder(root, side=4, cache=cache)
    assert load_image_folder(root, seed=5, cache=cache).fingerprint != first.fingerprint


def test_a_changed_file_is_decoded_anew(tmp_path, cache):
    root = make_tree(tmp_path / "data")
    first = load_image_folder(root, cache=cache)
    changed = root / "class0" / "00.png"
    save(changed, pixels(9999, 8, 8, 3))
    os.utime(changed, ns=(1, 1))
    assert load_image_folder(root, cache=cache).fingerprint != first.fingerprint


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "pickle", "fewer"])
def test_a_damaged_cache_is_rebuilt(tmp_path, cache, damage):
    root = make_tree(tmp_path / "data")
    first = load_image_folder(root, cache=cache)
    (stored,) = cache.iterdir()
    good = stored.read_bytes()
    if damage == "fewer":
        np.savez(stored, images=first.train_images)
    elif damage == "pickle":
        np.savez(stored, images=np.array([{}], dtype=object))
    else:
        middle = len(good) // 2
        flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
        stored.write_bytes({"empty": b"", "cut": good[:-100], "flipped": flipped, "text": b"text"}[damage])
    assert load_image_folder(root, cache=cache).fingerprint == first.fingerprint
    assert stored.read_bytes() == good
    assert list(cache.iterdir()) == [stored]


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path):
    (tmp_path / "file").write_text("no folder")
    data = load_image_folder(make_tree(tmp_path / "data"), cache=tmp_path / "file")
    assert len(seen_by(data)) == 30


def test_the_default_cache_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    load_image_folder(make_tree(tmp_path / "data"))
    assert len(list((tmp_path / "home" / ".cache" / "phiscale").iterdir())) == 1


def test_only_the_images_that_are_used_are_decoded(tmp_path, cache, monkeypatch):
    root = make_tree(tmp_path / "data", each=40)
    decoded = []
    real = decode.read_square
    monkeypatch.setattr(decode, "read_square", lambda file, *rest: (decoded.append(file), real(file, *rest))[1])
    data = load_image_folder(root, train_images=12, validation_images=6, cache=cache)
    assert len(decoded) == 18
    assert np.bincount(data.train_labels).tolist() == [4, 4, 4]
    assert np.bincount(data.validation_labels).tolist() == [2, 2, 2]


def test_images_that_do_not_fit_the_memory_are_refused(tmp_path, cache):
    with pytest.raises(DataError, match=r"GiB are free; use fewer"):
        load_image_folder(make_tree(tmp_path / "data"), side=200_000, cache=cache)


# the split


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_disjoint_and_in_proportion(seed):
    labels = np.repeat([0, 1, 2], [500, 100, 2]).astype(np.int64)
    split = split_labels(labels, "abc", train_images=300, validation_images=60, seed=seed)
    everything = np.concatenate((split.train, split.validation, split.spare))
    assert sorted(everything) == list(range(602))
    assert len(split.train) == 300
    assert len(split.validation) == 60
    assert np.bincount(labels[split.train], minlength=3) == pytest.approx([249, 50, 1], abs=1)
    assert np.bincount(labels[split.validation], minlength=3) == pytest.approx([50, 10, 0], abs=1)


def test_the_split_comes_from_its_seed_and_validation_does_not_depend_on_the_training_size():
    labels = np.arange(100, dtype=np.int64) % 4

    def split(seed, train):
        return split_labels(labels, "abcd", train_images=train, validation_images=20, seed=seed)

    assert np.array_equal(split(0, 40).validation, split(0, None).validation)
    assert np.array_equal(split(0, 40).train, split(0, 40).train)
    assert not np.array_equal(split(0, 40).validation, split(1, 40).validation)
    assert len(split(0, None).spare) == 0
    assert len(split(0, 40).spare) == 40


def test_validation_takes_at_most_a_fifth_and_leaves_every_class_an_image():
    labels = np.array([0] * 9 + [1], dtype=np.int64)
    split = split_labels(labels, "ab", train_images=None, validation_images=1500, seed=0)
    assert len(split.validation) == 2
    assert set(labels[split.train]) == {0, 1}
    single = np.array([0] * 5 + [1, 2, 3, 4, 5], dtype=np.int64)
    assert set(single[split_labels(single, "abcdef", train_images=None, validation_images=9, seed=0).train]) == set(
        range(6)
    )


def test_impossible_splits_are_refused():
    with pytest.raises(DataError, match="none in b"):
        split_labels(np.zeros(20, np.int64), "ab", train_images=None, validation_images=4, seed=0)
    with pytest.raises(DataError, match="train_images of at least 2"):
        split_labels(np.arange(20) % 2, "ab", train_images=1, validation_images=4, seed=0)


@pytest.mark.parametrize(
    "sizes", [{"train_images": 0}, {"validation_images": 0}, {"seed": -1}, {"side": 0}, {"side": 2.5}], ids=str
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(SettingsError, match=next(iter(sizes))):
        load_data("embedded", **sizes)


# arrays


def write(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


LABELS = np.arange(20) % 2


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (grey := pixels(0, 20, 6, 6), np.repeat(grey[:, None], 3, 1)),
        (last := pixels(1, 20, 6, 6, 3), last.transpose(0, 3, 1, 2)),
        (first := pixels(2, 20, 3, 6, 6), first),
        (
            alpha := pixels(3, 20, 6, 6, 4) | np.array([0, 0, 0, 255], np.uint8),
            alpha[..., :3].transpose(0, 3, 1, 2),
        ),
        (single := pixels(4, 20, 6, 6, 1), np.repeat(single.transpose(0, 3, 1, 2), 3, 1)),
        (wide := pixels(5, 20, 6, 9, 3), wide[:, :, 1:7].transpose(0, 3, 1, 2)),
        (pixels(6, 20, 6, 6, 3) / 255, pixels(6, 20, 6, 6, 3).transpose(0, 3, 1, 2)),
        ((pixels(7, 20, 6, 6) / 255).astype(np.float32), np.repeat(pixels(7, 20, 6, 6)[:, None], 3, 1)),
    ],
    ids=["grey", "channels-last", "channels-first", "alpha", "one-channel", "wide", "float64", "float32"],
)
def test_all_layouts_become_square_rgb(tmp_path, images, expected):
    data = load_data(str(write(tmp_path / "data.npz", images=images, labels=LABELS)))
    assert data.train_images.shape == (16, 3, 6, 6)
    assert data.validation_images.shape == (4, 3, 6, 6)
    assert seen_by(data) == {image.tobytes() for image in expected}


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"images": pixels(0, 20, 6, 6)}, "named labels"),
        ({"labels": LABELS}, "named images"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS[:-1]}, "one for each image"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS[:, None]}, "one for each image"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS.astype(float)}, "whole numbers"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS - 1}, "from 0, got -1"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS * 2}, "none of class 1"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS * 0}, "none of class 1"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS.astype(np.uint64) + np.uint64(2**40)}, "below the number"),
        ({"images": pixels(0, 20, 36), "labels": LABELS}, r"\(n, h, w\)"),
        ({"images": pixels(0, 20, 6, 6, 2), "labels": LABELS}, r"\(20, 6, 6, 2\)"),
        ({"images": pixels(0, 20, 0, 6, 3), "labels": LABELS}, r"\(20, 0, 6, 3\)"),
        ({"images": pixels(0, 0, 6, 6), "labels": LABELS[:0]}, "at least one image"),
        ({"images": pixels(0, 20, 6, 6).astype(int), "labels": LABELS}, "uint8, or float"),
        ({"images": pixels(0, 20, 6, 6).astype(float), "labels": LABELS}, r"in 0\.\.1.*scale them"),
        ({"images": np.full((20, 6, 6), np.nan), "labels": LABELS}, "NaN"),
        ({"images": np.array([{}] * 20, dtype=object), "labels": LABELS}, "plain arrays"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS, "classes": np.array(["a"])}, "1 classes"),
        ({"images": pixels(0, 20, 6, 6), "labels": LABELS, "classes": np.array(["a", "b", "c"])}, "none of class 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arrays_say_what_is_wrong(tmp_path, arrays, match):
    with pytest.raises(DataError, match=match):
        load_npz(write(tmp_path / "data.npz", **arrays))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz"):
        load_data(tmp_path / "data.npz")


def test_one_array_alone_is_no_archive(tmp_path):
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, pixels(0, 4, 4))
    with pytest.raises(DataError, match=r"numpy\.savez"):
        load_data(tmp_path / "data.npz")


def test_a_damaged_archive_is_named(tmp_path):
    path = write(tmp_path / "data.npz", images=pixels(0, 20, 6, 6), labels=LABELS)
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"data\.npz"):
        load_data(path)


def test_class_names_and_a_side_can_be_given(tmp_path):
    path = write(tmp_path / "data.npz", images=pixels(0, 20, 6, 6), labels=LABELS, classes=np.array(["cat", "dog"]))
    data = load_npz(path, side=3)
    assert data.classes == ("cat", "dog")
    assert data.resolution == 3


# the test part


def test_the_test_folder_is_scored_on_by_confirmation_alone(tmp_path, cache):
    root = tmp_path / "data"
    make_tree(root / "train")
    make_tree(root / "test", classes=2, each=4, side=20, first_seed=7000)
    searched = load_data(root, cache=cache)
    confirmed = load_test_part(root, searched, cache=cache)
    assert np.array_equal(confirmed.train_images, searched.train_images)
    assert confirmed.validation_images.shape == (8, 3, 8, 8)
    assert np.bincount(confirmed.validation_labels).tolist() == [4, 4]
    assert confirmed.fingerprint != searched.fingerprint
    parts = [load_test_part(root, searched, images=3, seed=seed, cache=cache).validation_images for seed in range(9)]
    assert {len(part) for part in parts} == {3}
    assert len({part.tobytes() for part in parts}) > 1


def test_a_test_folder_of_other_classes_is_passed_over(tmp_path):
    root = tmp_path / "data"
    make_tree(root / "train")
    make_tree(root / "test", classes=4)
    assert folder.test_tree(root, ("class0", "class1", "class2")) is None
    make_tree(root / "val", classes=3, each=1)
    tree = folder.test_tree(root, ("class0", "class1", "class2"))
    assert tree.root == root / "val"
    assert tree.labels.tolist() == [0, 1, 2]


def test_without_a_test_folder_the_spare_training_images_are_taken(tmp_path, cache):
    root = make_tree(tmp_path / "data")
    sizes = {"train_images": 12, "validation_images": 6, "seed": 3}
    searched = load_data(root, **sizes, cache=cache)
    confirmed = load_test_part(root, searched, **sizes, cache=cache)
    assert len(confirmed.validation_labels) == 12
    fresh = {image.tobytes() for image in confirmed.validation_images}
    assert not fresh & seen_by(searched)
    with pytest.raises(DataError, match="not used"):
        load_test_part(root, load_data(root, cache=cache), cache=cache)


def test_as_many_images_are_taken_as_an_eighth_of_the_memory_holds(tmp_path, cache, monkeypatch):
    root = make_tree(tmp_path / "data", each=20)
    whole = load_image_folder(root, cache=cache)
    assert (len(whole.train_labels), len(whole.validation_labels), whole.epoch_images) == (48, 12, 60)
    monkeypatch.setattr(memory, "total_memory", lambda _: 8 * 40 * 3 * 8 * 8)
    most = load_image_folder(root, validation_images=12, cache=cache)
    assert (len(most.train_labels), len(most.validation_labels), most.epoch_images) == (28, 12, 60)
    assert len(load_image_folder(root, train_images=40, validation_images=12, cache=cache).train_labels) == 40
    monkeypatch.setattr(memory, "total_memory", lambda _: 1)
    few = load_image_folder(root, validation_images=12, cache=cache)
    assert np.bincount(few.train_labels).tolist() == [1, 1, 1]


def test_the_spare_images_are_those_that_the_search_left_out_whatever_memory_there_is(tmp_path, cache, monkeypatch):
    root = make_tree(tmp_path / "data", each=20)
    monkeypatch.setattr(memory, "total_memory", lambda _: 8 * 40 * 3 * 8 * 8)
    searched = load_data(root, validation_images=12, cache=cache)
    for total in (8 * 40 * 3 * 8 * 8, 8 * 20 * 3 * 8 * 8):  # another machine
        monkeypatch.setattr(memory, "total_memory", lambda _, total=total: total)
        confirmed = load_test_part(root, searched, validation_images=12, cache=cache)
        assert len(confirmed.validation_labels) == 20
        assert not {image.tobytes() for image in confirmed.validation_images} & seen_by(searched)


def test_an_epoch_is_the_whole_training_part(tmp_path, cache):
    root = make_tree(tmp_path / "data")
    assert load_image_folder(root, train_images=6, cache=cache).epoch_images == 30
    arrays = write(tmp_path / "a.npz", images=pixels(0, 40, 6, 6), labels=np.arange(40) % 2)
    assert load_npz(arrays, train_images=10).epoch_images == 40
    assert load_data(train_images=140, validation_images=70).epoch_images == 140


def test_the_test_part_of_arrays(tmp_path):
    arrays = {"images": pixels(0, 40, 6, 6), "labels": np.arange(40) % 2}
    alone = write(tmp_path / "alone.npz", **arrays)
    sizes = {"train_images": 10, "validation_images": 4}
    searched = load_data(alone, **sizes)
    fresh = {image.tobytes() for image in load_test_part(alone, searched, **sizes).validation_images}
    assert len(fresh) == 26
    assert not fresh & seen_by(searched)
    test = {"test_images": pixels(1, 6, 6, 6), "test_labels": LABELS[:6]}
    both = write(tmp_path / "both.npz", **arrays, **test)
    confirmed = load_test_part(both, load_data(both, **sizes), **sizes)
    assert np.array_equal(confirmed.validation_images[:, 0], test["test_images"])
    test["test_labels"] = LABELS[:6] + 1
    with pytest.raises(DataError, match="test_labels"):
        load_data(write(tmp_path / "both.npz", **arrays, **test))


# image sets


def test_parts_that_do_not_fit_together_are_refused():
    images, labels = pixels(0, 4, 3, 6, 6), np.array([0, 1, 0, 1])
    good = {
        "name": "x",
        "train_images": images,
        "train_labels": labels,
        "validation_images": images,
        "validation_labels": labels,
        "classes": ("a", "b"),
    }
    ImageSet(**good)
    for change, match in [
        ({"classes": ("a",)}, "two classes"),
        ({"train_images": images[:, :1]}, "uint8"),
        ({"train_images": images / 255}, "uint8"),
        ({"train_images": images[..., :4]}, "side"),
        ({"train_labels": labels[:3]}, "one int64 label"),
        ({"train_labels": labels.astype(np.int32)}, "one int64 label"),
        ({"train_labels": labels + 1}, "1 to 2"),
        ({"validation_labels": labels - 1}, "-1 to 0"),
        ({"validation_images": images[:0], "validation_labels": labels[:0]}, "at least one"),
        ({"validation_images": images[..., :4, :4]}, "one size"),
        ({"augmentations": frozenset({"rotate"})}, "rotate"),
    ]:
        with pytest.raises(DataError, match=match):
            ImageSet(**good | change)


def test_channel_statistics_are_those_of_the_training_images(tmp_path):
    data = load_npz(
        write(tmp_path / "data.npz", images=pixels(0, 20, 6, 6, 3) // np.array([1, 2, 3], np.uint8), labels=LABELS)
    )
    mean, std = data.channel_statistics
    assert mean == pytest.approx(data.train_images.mean((0, 2, 3)))
    assert std == pytest.approx(data.train_images.std((0, 2, 3)))


def test_the_fingerprint_tells_content_split_and_classes_apart(tmp_path):
    path = write(tmp_path / "data.npz", images=pixels(0, 20, 6, 6), labels=LABELS)
    data = load_npz(path)
    assert load_npz(path).fingerprint == data.fingerprint
    other = write(tmp_path / "other.npz", images=pixels(0, 20, 6, 6) ^ 1, labels=LABELS)
    named = write(tmp_path / "named.npz", images=pixels(0, 20, 6, 6), labels=LABELS, classes=np.array(["a", "b"]))
    assert (
        len({data.fingerprint, *(load_npz(p, seed=s).fingerprint for p, s in [(path, 1), (other, 0), (named, 0)])}) == 4
    )


@pytest.mark.parametrize("kind", ["folder", "npz", "empty test", "unsorted test", "foreign val"])
def test_a_search_of_all_images_without_a_test_part_keeps_a_tenth_for_the_confirmation(kind: str, tmp_path) -> None:
    drawn = np.random.default_rng(0)
    pixels, labels = drawn.integers(0, 256, (150, 8, 8, 3), dtype=np.uint8), np.arange(150) % 3
    if kind == "npz":
        source = tmp_path / "a.npz"
        np.savez(source, images=pixels, labels=labels)
    else:
        source = tmp_path / "images"
        classes = source if kind == "folder" else source / "train"
        next_to_it = {"empty test": "test/0", "unsorted test": "test", "foreign val": "val/other"}.get(kind)
        if next_to_it:
            (source / next_to_it).mkdir(parents=True)
        if kind in ("unsorted test", "foreign val"):
            Image.fromarray(pixels[0]).save(source / str(next_to_it) / "a.png")
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            (classes / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(classes / str(label) / f"{number}.png")
    data = load_data(str(source), cache=tmp_path / "cache")
    assert (len(data.train_labels), len(data.validation_labels)) == (105, 30)
    assert data.notes[0] == "15 kept for phiscale confirm"
    unseen = load_test_part(str(source), data, cache=tmp_path / "cache")
    assert len(unseen.validation_labels) == 15
    used = {image.tobytes() for image in (*data.train_images, *data.validation_images)}
    assert not used & {image.tobytes() for image in unseen.validation_images}
    asked = load_data(str(source), train_images=120, cache=tmp_path / "cache")
    assert len(asked.train_labels) == 120
