"""scripts/sample_images.py and the photos it works with."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import sys
from collections import Counter
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps


def _script() -> ModuleType:
    path = Path(__file__).parents[1] / "scripts" / "sample_images.py"
    spec = importlib.util.spec_from_file_location("sample_images", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


script: Any = _script()


def _pixels(picture: Path | Image.Image, side: int = 48) -> NDArray[np.float64]:
    if isinstance(picture, Path):
        with Image.open(picture) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    small = picture.convert("RGB").resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)


def _source(made: Any) -> Path:
    path: Path = script.SAMPLES / "photos" / made.source
    return path


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.abs(a - b).mean())


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- the photos


def test_there_are_enough_photos_in_enough_categories() -> None:
    photos = script.samples()
    categories = script.categories()
    assert list(categories) == [photo.name for photo in photos]
    sizes = Counter(categories.values())
    assert len(photos) >= 200
    assert len(sizes) >= 10
    assert min(sizes.values()) >= 8
    assert sum(photo.stat().st_size for photo in photos) < 6e6


def test_photos_are_small_rgb_jpegs_and_no_two_look_the_same() -> None:
    seen = []
    for photo in script.samples():
        with Image.open(photo) as picture:
            assert picture.format == "JPEG"
            assert picture.mode == "RGB"
            assert 100 <= max(picture.size) <= 320
            seen.append(_pixels(picture, 8).ravel())
    points = np.array(seen)
    apart = np.abs(points[:, None] - points[None]).mean(axis=2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 3


def test_neither_names_nor_their_order_tell_the_category() -> None:
    categories = script.categories()
    assert all(name == f"photo-{i:03d}.jpg" for i, name in enumerate(categories, start=1))
    found = list(categories.values())
    neighbours = sum(a == b for a, b in itertools.pairwise(found)) / (len(found) - 1)
    by_chance = sum((n / len(found)) ** 2 for n in Counter(found).values())
    assert neighbours < by_chance + 0.1


def test_every_photo_has_an_author_and_a_licence() -> None:
    lines = (script.SAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    listed = [row for row in rows if row and row[0].startswith("photo-")]
    assert [row[0] for row in listed] == list(script.categories())
    for row in listed:
        assert len(row) == 5
        assert all(row)
        assert row[4].startswith(("Public domain", "CC0-1.0", "CC-BY-", "GPL-2"))
        assert "NC" not in row[4]
        assert "ND" not in row[4]


# --- copying


def test_copies_are_the_photos_and_a_second_run_touches_nothing(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    assert script.main([str(drop)]) == 0
    assert _contents(drop) == {photo.name: photo.read_bytes() for photo in script.samples()}
    for path in drop.iterdir():
        os.utime(path, ns=(1, 1))
    damaged = drop / "photo-002.jpg"
    damaged.write_bytes(b"no picture")
    script.main([str(drop)])
    touched = [path.name for path in drop.iterdir() if path.stat().st_mtime_ns != 1]
    assert touched == [damaged.name]
    assert damaged.read_bytes() == script.samples()[1].read_bytes()


def test_a_file_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"mine")
    script.main(["--variations", "1", str(tmp_path)])
    assert (tmp_path / "mine.jpg").read_bytes() == b"mine"


# --- variations


def test_each_kind_of_variation_does_what_it_says(tmp_path: Path) -> None:
    made = script.write_variations(tmp_path, 48)
    assert Counter(m.kind for m in made) == dict.fromkeys(
        ("crop", "flip", "exposure", "encoding"), 12
    )
    for one in made:
        before, after = _pixels(_source(one)), _pixels(tmp_path / one.path)
        if one.kind == "flip":
            assert _difference(before[:, ::-1], after) < 6
            if _difference(before[:, ::-1], before) > 20:
                assert _difference(before, after) > 14
        elif one.kind == "encoding":
            assert _difference(before, after) < 6
        elif one.kind == "exposure":
            expected = [np.clip(before * factor, 0, 255) for factor in script.EXPOSURES]
            assert min(_difference(e, after) for e in expected) < 8
            assert abs(after.mean() / before.mean() - 1) > 0.01
        else:
            assert _difference(before, after) > 0.5


def test_a_crop_is_nine_tenths_of_each_side_and_of_the_same_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    places = set()
    for seed in range(20):
        cut = np.asarray(script.crop(picture, script.random.Random(seed)))
        assert cut.shape == (36, 54, 3)
        (place,) = [
            (top, left)
            for top in range(5)
            for left in range(7)
            if np.array_equal(noise[top : top + 36, left : left + 54], cut)
        ]
        places.add(place)
    assert len(places) > 5


def test_variations_come_in_all_formats_and_in_different_sizes(tmp_path: Path) -> None:
    made = script.write_variations(tmp_path, 40)
    formats, scales = set(), set()
    for one in made:
        with Image.open(tmp_path / one.path) as picture, Image.open(_source(one)) as source:
            formats.add((picture.format, PurePosixPath(one.path).suffix))
            scales.add(round(picture.width / source.width, 1))
    assert formats == {("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")}
    assert len(scales) >= 5


def test_more_variations_than_photos_are_all_different(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without scaling there are so few ways to flip a photo that some are drawn twice
    monkeypatch.setattr(script, "SCALES", (1.0, 1.0))
    few = sorted(script.samples(), key=os.path.getsize)[:3]
    monkeypatch.setattr(script, "samples", lambda: few)
    made = script.write_variations(tmp_path, 90)
    assert len({m.path for m in made}) == 90
    assert len(set(_contents(tmp_path).values())) == 90
    assert Counter(m.source for m in made) == {photo.name: 30 for photo in few}
    assert len({m.kind for m in made if m.source == few[0].name}) == 4


def test_same_seed_same_bytes_another_seed_other_bytes_longer_run_same_start(
    tmp_path: Path,
) -> None:
    for name, count, seed in (("a", 12, 5), ("b", 12, 5), ("c", 12, 6), ("d", 16, 5)):
        script.main(["--variations", str(count), "--seed", str(seed), str(tmp_path / name)])
    a, b, c, d = (_contents(tmp_path / name) for name in "abcd")
    assert a == b
    assert not set(a.values()) & set(c.values())
    assert a.items() < d.items()


def test_none_at_all(tmp_path: Path) -> None:
    assert script.main(["--variations", "0", str(tmp_path / "drop")]) == 0
    assert _contents(tmp_path / "drop") == {}


# --- mixed


def test_mixed_folder_holds_what_it_promises(tmp_path: Path) -> None:
    drop, manifest = tmp_path / "drop", tmp_path / "made.json"
    script.main(["--mixed", "40", "--manifest", str(manifest), str(drop)])
    listed = json.loads(manifest.read_text(encoding="utf-8"))
    contents = _contents(drop)
    assert set(listed) == set(contents)
    assert len(set(contents.values())) == len(contents)
    fates = Counter(entry["fate"] for entry in listed.values())
    assert fates == {"read": 40, "quarantine": 3, "skip": 2}
    modes: dict[str, set[tuple[str | None, str]]] = {}
    for path, entry in listed.items():
        if entry["fate"] == "read":
            with Image.open(drop / path) as picture:
                picture.load()
                modes.setdefault(entry["kind"], set()).add((picture.format, picture.mode))
    assert modes == {
        "jpeg": {("JPEG", "RGB")},
        "alpha": {("PNG", "RGBA")},
        "webp": {("WEBP", "RGB")},
        "grey": {("JPEG", "L"), ("PNG", "L")},
        "turned": {("JPEG", "RGB")},
    }
    names = Counter(PurePosixPath(path).name for path in listed)
    assert max(names.values()) > 1
    for folder in {str(PurePosixPath(path).parent) for path in listed}:
        assert len({e["kind"] for p, e in listed.items() if p.startswith(folder)}) > 3


def test_mixed_pictures_show_their_source_upright(tmp_path: Path) -> None:
    made = script.write_mixed(tmp_path, 20)
    for one in made:
        if one.fate == "read" and one.kind not in {"alpha", "grey"}:
            assert _difference(_pixels(_source(one)), _pixels(tmp_path / one.path)) < 6
        if one.kind == "alpha":
            with Image.open(tmp_path / one.path) as picture:
                alpha = np.asarray(picture)[:, :, 3]
            assert alpha[0, 0] == alpha[-1, -1] == 0
            assert alpha[alpha.shape[0] // 2, alpha.shape[1] // 2] == 255
        if one.kind == "turned":
            with Image.open(tmp_path / one.path) as picture, Image.open(_source(one)) as source:
                assert (picture.width > picture.height) == (source.width < source.height)


def test_the_broken_ones_are_broken_in_their_own_way(tmp_path: Path) -> None:
    paths = {m.kind: tmp_path / m.path for m in script.write_mixed(tmp_path, 0)}
    assert set(paths) == {"truncated", "empty", "text", "xmp", "mov"}
    with Image.open(paths["truncated"]) as picture, pytest.raises(OSError, match="truncated"):
        picture.load()
    assert paths["empty"].read_bytes() == b""
    for kind in ("text", "xmp", "mov"):
        with pytest.raises(OSError, match="cannot identify"):
            Image.open(paths[kind])
    assert paths["text"].suffix == ".jpg"


# --- wrong usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["--variations", "-1", "drop"],
        ["--variations", "x", "drop"],
        ["--variations", "1", "--mixed", "1", "drop"],
        ["--manifest", "drop/made.json", "drop"],
        ["a-file"],
        [],
    ],
)
def test_wrong_usage_is_refused_before_anything_is_written(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-file").touch()
    with pytest.raises(SystemExit) as caught:
        script.main(arguments)
    assert caught.value.code == 2
    assert os.listdir() == ["a-file"]
