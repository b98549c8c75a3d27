"""The best copy, and one group for each image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from imgclust.collection import Collection, DuplicateGroup, DuplicatesResult, Thresholds, duplicates
from imgclust.duplicates.best import is_derived
from imgclust.duplicates.neighbour_cache import Verdict
from imgclust.duplicates.pair_search import Pairs, grouped
from imgclust.errors import UsageError
from tests.conftest import Open
from tests.test_images_sameness import photo

CAMERA = Image.Exif()
CAMERA[0x010F] = "Maker"
CAMERA[0x0110] = "Model"
CAMERA.get_ifd(0x8769)[0x9003] = "2024:05:01 10:00:00"


@pytest.fixture
def loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of the stand-in for the network say little: let pixels decide."""
    monkeypatch.setattr(duplicates, "known", lambda *_, **__: Thresholds(0.2, 0.2, 0))


def found(one: Collection, drop: Path, *, keep: Sequence[Path] = ()) -> DuplicatesResult:
    one.watch([drop], once=True, cluster=False)
    return one.duplicates(keep=keep)


def only(result: DuplicatesResult) -> DuplicateGroup:
    (group,) = result.groups
    return group


def first_of(group: DuplicateGroup) -> str:
    return os.path.basename(os.fsdecode(group.images[0].path))


@pytest.mark.parametrize(
    ("name", "derived"),
    [
        ("IMG-20240101-WA0001.jpg", True),
        ("received_123456.jpeg", True),
        ("signal-2024-01-01-120000.jpg", True),
        ("telegram-cloud-photo.jpg", True),
        ("Screenshot 2024-01-01.png", True),
        ("Screenshot_2024.png", True),
        ("beach copy.jpg", True),
        ("beach - Copy (2).jpg", True),
        ("Copy of beach.jpg", True),
        ("IMG_1234 (1).jpg", True),
        ("IMG_1234_edited.jpg", True),
        ("IMG_1234.jpg", False),
        ("IMG_20240101_120000.jpg", False),
        ("copyright.jpg", False),
        ("DSC (old) 17.jpg", False),
        ("photocopy.jpg", False),
    ],
)
def test_names_of_what_is_made_from_another_picture(name: str, derived: bool) -> None:
    assert is_derived(os.fsencode(f"/some (1)/folder copy/{name}")) is derived


@pytest.mark.usefixtures("loose")
def test_a_cameras_own_file_wins_over_a_huge_bitmap(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    picture = photo()
    picture.save(drop / "a.jpg", quality=95, exif=CAMERA)
    Image.open(drop / "a.jpg").convert("RGB").resize((480, 320)).save(drop / "huge.bmp")
    picture.save(drop / "b.png")
    group = only(found(open_collection(), drop))
    assert (first_of(group), group.reason, len(group.images)) == ("a.jpg", "camera", 3)


@pytest.mark.usefixtures("loose")
def test_a_small_copy_with_camera_data_does_not_win_over_detail(
    open_collection: Open, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    photo().save(drop / "large.png")
    photo().resize((120, 80), Image.Resampling.LANCZOS).save(drop / "small.jpg", exif=CAMERA)
    group = only(found(open_collection(), drop))
    assert (first_of(group), group.reason) == ("large.png", "detail")


@pytest.mark.usefixtures("loose")
def test_reasons(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    (drop / "kept").mkdir(parents=True)
    later = Image.Exif()
    later[0x010F] = "Maker"
    later.get_ifd(0x8769)[0x9003] = "2024:06:01 10:00:00"

    def add(seed: int, name: str, **options: Any) -> None:
        photo(seed).save(drop / f"{name}.jpg", quality=90, **options)

    add(1, "one-first", exif=later)
    add(1, "one-second", exif=CAMERA)
    add(2, "two_edited")
    shutil.copy(drop / "two_edited.jpg", drop / "two.jpg")
    add(3, "three-plain")
    shutil.copy(drop / "three-plain.jpg", drop / "three.jpg")
    (drop / "three.NEF").write_bytes(b"raw")
    photo(4).resize((480, 320)).save(drop / "four-large.png")
    photo(4).save(drop / "four.png")
    photo(5).save(drop / "five.png")
    add(5, "five-less")
    photo(6).save(drop / "six-less.jpg", quality=70)
    photo(6).save(drop / "six.jpg", quality=95)
    for name, seed in (("seven", 7), ("eight", 8)):
        add(seed, f"{name}-other")
        shutil.copy2(drop / f"{name}-other.jpg", drop / f"{name}.jpg")
    add(9, "nine")
    shutil.copy(drop / "nine.jpg", drop / "a-nine.nef")
    os.utime(drop / "nine.jpg", (1, 1))
    os.utime(drop / "seven.jpg", (1, 1))
    result = found(open_collection(), drop)
    assert {first_of(group): group.reason for group in result.groups} == {
        "one-second.jpg": "earliest",
        "two.jpg": "name",
        "three.jpg": "raw",
        "four.png": "enlarged",
        "five.png": "lossless",
        "six.jpg": "bytes",
        "seven.jpg": "oldest",
        "eight.jpg": "path",
        "nine.jpg": "oldest",
    }


PHOTOS = sorted(
    (Path(__file__).parents[1] / "scripts" / "samples" / "photos").rglob("*.jpg"),
    key=lambda path: (path.stat().st_size, path),
)[::-29][:7]


def resized(picture: Image.Image, share: float) -> Image.Image:
    size = round(picture.width * share), round(picture.height * share)
    return picture.resize(size, Image.Resampling.LANCZOS)


@pytest.mark.usefixtures("loose")
@pytest.mark.parametrize(
    ("original", "copy", "expected"),
    [
        # A lossless scan that takes fewer bytes than a copy with loss, or has fewer pixels.
        (("PNG", 1, {}), ("JPEG", 1, {"quality": 100, "subsampling": 0}), "lossless"),
        (("TIFF", 1, {"compression": "tiff_lzw"}), ("JPEG", 1, {"quality": 95}), "lossless"),
        (("WEBP", 1, {"lossless": True}), ("WEBP", 1, {"quality": 90}), "lossless"),
        (("TIFF", 1, {}), ("JPEG", 1.5, {"quality": 95}), "lossless"),
        # A copy that was enlarged, with or without loss.
        (("JPEG", 1, {"quality": 92}), ("WEBP", 2, {"quality": 80}), "enlarged"),
        (("JPEG", 1, {"quality": 92}), ("PNG", 2, {}), "enlarged"),
        (("JPEG", 1, {"quality": 85}), ("JPEG", 1.5, {"quality": 90}), "enlarged"),
        (("JPEG", 1, {"quality": 92, "exif": CAMERA}), ("WEBP", 2, {"quality": 80}), "camera"),
        # A smaller copy, also one without loss, or with the camera's data.
        (("JPEG", 1, {"quality": 90}), ("PNG", 0.6, {}), "detail"),
        (("JPEG", 1, {"quality": 90}), ("WEBP", 0.6, {"quality": 90}), "pixels"),
        (("PNG", 1, {}), ("JPEG", 0.6, {"quality": 90, "exif": CAMERA}), "detail"),
    ],
)
def test_the_original_of_real_photos_is_the_best(
    open_collection: Open,
    tmp_path: Path,
    original: tuple[str, float, dict[str, Any]],
    copy: tuple[str, float, dict[str, Any]],
    expected: str,
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    for number, path in enumerate(PHOTOS):
        with Image.open(path) as opened:
            source = opened.convert("RGB")
        for name, (kind, share, options) in (("zz", original), ("aa", copy)):
            resized(source, share).save(drop / f"{name}{number}.{kind.lower()}", **options)
            with Image.open(drop / f"zz{number}.{original[0].lower()}") as made:
                source = made.convert("RGB")  # the copy is made from the original
    groups = found(open_collection(), drop).groups
    reasons = {first_of(group): group.reason for group in groups}
    # Not all small copies of noisy pictures are near ones.
    assert len(groups) > len(PHOTOS) // 2
    assert all(name.startswith("zz") for name in reasons), reasons
    assert set(reasons.values()) == {expected}


@pytest.mark.usefixtures("loose")
@pytest.mark.parametrize("share", [0.6, 1, 2])
def test_keep_wins_over_everything(open_collection: Open, tmp_path: Path, share: float) -> None:
    drop = tmp_path / "drop"
    (drop / "kept").mkdir(parents=True)
    for number, path in enumerate(PHOTOS):
        with Image.open(path) as opened:
            source = opened.convert("RGB")
        source.save(drop / f"{number}.png", exif=CAMERA)
        name = drop / "kept" / f"IMG-20240101-WA000{number}.webp"
        resized(source, share).save(name, quality=85)
    one = open_collection()
    before = found(one, drop).groups
    groups = one.duplicates(keep=[drop / "kept"]).groups
    assert len(groups) >= len(before) > len(PHOTOS) // 2
    assert {group.reason for group in groups} == {"keep"}
    assert all(os.fsencode(drop / "kept") in group.images[0].path for group in groups)


@pytest.mark.usefixtures("loose")
def test_keep_prefers_a_folder(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    for folder in ("archive", "archive2", "phone"):
        (drop / folder).mkdir(parents=True)
    photo().save(drop / "phone" / "a.jpg", quality=95, exif=CAMERA)
    photo().save(drop / "archive2" / "c.png")
    photo().save(drop / "archive" / "b.jpg", quality=80)
    one = open_collection()
    assert only(found(one, drop)).reason == "camera"
    group = only(one.duplicates(keep=[drop / "archive"]))
    assert (first_of(group), group.reason) == ("b.jpg", "keep")
    group = only(one.duplicates(keep=[drop / "archive2", drop / "archive"]))
    assert (first_of(group), group.reason) == ("c.png", "keep")
    with pytest.raises(UsageError, match="not a folder"):
        one.duplicates(keep=[drop / "nothing"])


@pytest.mark.usefixtures("loose")
def test_no_image_is_in_two_groups(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    for seed in range(3):
        picture = photo(seed)
        picture.save(drop / f"{seed}.png")
        picture.save(drop / f"{seed}-near.jpg", quality=80)
        shutil.copy(drop / f"{seed}.png", drop / f"{seed}-exact.png")
        shutil.copy(drop / f"{seed}-near.jpg", drop / f"{seed}-near-exact.jpg")
        picture.crop((6, 4, 234, 156)).save(drop / f"{seed}-crop.png")
    result = found(open_collection(), drop)
    shown = [one.id for group in (*result.groups, *result.similar) for one in group.images]
    assert len(shown) == len(set(shown))
    for group in result.groups:
        number = first_of(group)[0]
        relations = {os.path.basename(os.fsdecode(one.path)): one.relation for one in group.images}
        assert relations == {
            f"{number}.png": relations[f"{number}.png"],
            f"{number}-exact.png": relations[f"{number}-exact.png"],
            f"{number}-near.jpg": "near",
            f"{number}-near-exact.jpg": "near",
        }
        assert sorted(relations.values()) == ["best", "exact", "near", "near"]
    leaders = {group.images[0].id for group in result.groups}
    for group in result.similar:
        assert group.beside is None or group.beside.id in leaders


@given(st.data())
def test_groups_are_a_partition_and_hold_what_was_compared(data: st.DataObject) -> None:
    """Whatever the verdicts: each content once, each member the same as its best copy."""
    count = data.draw(st.integers(2, 9))
    pairs = [(one, other) for one in range(count) for other in range(one + 1, count)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    known = {pair: data.draw(st.sampled_from(list(Verdict)[2:])) for pair in chosen}
    swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}

    def compare(best: int, members: Sequence[int]) -> list[Verdict]:
        verdicts = [known[min(best, one), max(best, one)] for one in members]
        return [
            verdict if best < one else swapped.get(verdict, verdict)
            for one, verdict in zip(members, verdicts, strict=True)
        ]

    rows = Pairs(np.array(chosen, np.int64), np.linspace(0.5, 1, len(chosen), dtype=np.float32))
    groups = grouped(rows, {key: (key,) for key in range(count)}, compare=compare)
    members = [key for group in groups for key, _ in group]
    assert len(members) == len(set(members))
    for group in groups:
        assert len(group) > 1
        best = group[0][0]
        for key, _ in group[1:]:
            assert compare(best, [key])[0] in {Verdict.SAME, Verdict.FIRST}


def test_what_holds_more_comes_first() -> None:
    rows = Pairs(np.array([[1, 2]], np.int64), np.array([0.9], np.float32))
    order = {1: (1,), 2: (2,)}
    groups = grouped(
        rows, order, compare=lambda best, _: [Verdict.SECOND if best == 1 else Verdict.FIRST]
    )
    assert [[key for key, _ in group] for group in groups] == [[2, 1]]
