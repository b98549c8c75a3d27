from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclust.images import thumbnails
from imgclust.images.pixel_similarity import cells, outlines
from imgclust.images.thumbnails import ThumbnailStore, small_pictures
from tests.conftest import write_picture

KEY = 0x123456789ABCDEF0


def webp(seed: int) -> bytes:
    """A small photo-like picture, as thumbnails are encoded."""
    field = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(field).resize((160, 120)).save(file, "WEBP", quality=75)
    return file.getvalue()


def seen(*paths: Path) -> np.ndarray:
    """Outlines of the pictures in these files, each of which is one."""
    found = small_pictures(b"\0".join(map(os.fsencode, paths)))
    assert found.places == tuple(range(len(paths)))
    return found.outlines


def damaged(picture: bytes) -> Iterator[bytes]:
    """A picture with one byte changed, of those that can still be decoded."""
    for place in range(len(picture) - 1, 100, -1):
        changed = picture[:place] + bytes([picture[place] ^ 0x55]) + picture[place + 1 :]
        with contextlib.suppress(OSError):
            cells(changed)
            yield changed


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(picture: bytes) -> np.ndarray:
        raise OSError("decoded")

    monkeypatch.setattr(thumbnails, "cells", refuse)


def test_put_read_replace_remove(tmp_path: Path) -> None:
    store = ThumbnailStore(tmp_path / "thumbnails")
    store.remove(KEY)
    store.put(KEY, b"one")
    assert store.path(KEY).read_bytes() == b"one"
    store.put(KEY, b"two")
    assert store.get(KEY) == store.path(KEY).read_bytes() == b"two"
    assert [path.name for path in store.path(KEY).parent.iterdir()] == ["123456789abcdef0.webp"]
    store.remove(KEY)
    assert not store.path(KEY).exists()
    with pytest.raises(FileNotFoundError):
        store.get(KEY)


def test_contents_are_spread_and_small_keys_have_a_place_of_their_own(tmp_path: Path) -> None:
    store = ThumbnailStore(tmp_path)
    for key in range(600):
        store.put(key, b"%d" % key)
    assert len(list(tmp_path.iterdir())) == 256
    assert all(store.path(key).read_bytes() == b"%d" % key for key in range(600))


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    store = ThumbnailStore(tmp_path)
    store.path(KEY).mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        store.put(KEY, b"x")
    assert list(store.path(KEY).parent.iterdir()) == [store.path(KEY)]


def test_many_small_pictures_by_name(tmp_path: Path) -> None:
    names, expected = [], []
    for number in range(4):
        name = write_picture(tmp_path / f"odd\n name {number}.png", number)
        names.append(os.fsencode(name))
        expected.append(cells(name.read_bytes()))
    (tmp_path / "text").write_bytes(b"no picture")
    names[1:1] = [os.fsencode(tmp_path / "text"), os.fsencode(tmp_path / "not there")]
    found = small_pictures(b"\0".join(names))
    assert found.places == (0, 3, 4, 5)
    assert np.array_equal(found.outlines, outlines(np.stack(expected)))
    assert small_pictures(names[1]).places == ()


def test_an_outline_is_kept_behind_a_thumbnail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pictures = ThumbnailStore(tmp_path), [webp(seed) for seed in range(3)]
    for key, picture in enumerate(pictures):
        store.put(key, picture)
        assert store.get(key) == picture
        assert store.path(key).stat().st_size == len(picture) + 400
        with Image.open(store.path(key)) as shown, Image.open(io.BytesIO(picture)) as alone:
            assert shown.tobytes() == alone.tobytes()
    expected = outlines(np.stack([cells(picture) for picture in pictures]))
    no_decoding(monkeypatch)
    assert np.array_equal(seen(*(store.path(key) for key in range(3))), expected)


def test_what_was_not_kept_is_kept_when_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pictures = ThumbnailStore(tmp_path), [webp(seed) for seed in range(5)]
    paths = [store.path(key) for key in range(5)]
    for key, picture in enumerate(pictures):
        store.put(key, picture)
    whole = [path.read_bytes() for path in paths]
    for key in (0, 1, 3):  # as they were before there were outlines
        paths[key].write_bytes(pictures[key])
    expected = outlines(np.stack([cells(picture) for picture in pictures]))
    assert np.array_equal(seen(*paths), expected)
    assert [path.read_bytes() for path in paths] == whole
    no_decoding(monkeypatch)
    assert np.array_equal(seen(*paths), expected)


def test_an_outline_that_is_cut_or_damaged_is_made_again(tmp_path: Path) -> None:
    store, picture = ThumbnailStore(tmp_path), webp(1)
    store.put(KEY, picture)
    path, expected = store.path(KEY), outlines(cells(picture)[None])
    whole = path.read_bytes()
    for length in range(len(picture), len(whole), 7):
        path.write_bytes(whole[:length])
        assert np.array_equal(seen(path), expected)
        assert path.read_bytes() == whole
    for place in range(len(picture), len(whole)):
        file = bytearray(whole)
        file[place] ^= 1 << place % 8
        path.write_bytes(file)
        assert np.array_equal(seen(path), expected)
        assert path.read_bytes() == whole
    path.write_bytes(picture + bytes(1000))
    assert np.array_equal(seen(path), expected)
    assert np.array_equal(seen(path), expected)
    assert store.get(KEY) == picture


def test_an_outline_is_of_the_picture_before_it(tmp_path: Path) -> None:
    store, picture, other = ThumbnailStore(tmp_path), webp(1), webp(2)
    store.put(KEY, picture)
    path = store.path(KEY)
    kept = path.read_bytes()[len(picture) :]
    path.write_bytes(other + kept)
    assert np.array_equal(seen(path), outlines(cells(other)[None]))
    shown = next(one for one in damaged(picture) if not np.array_equal(cells(one), cells(picture)))
    path.write_bytes(shown + kept)
    assert np.array_equal(seen(path), outlines(cells(shown)[None]))


def test_files_that_are_no_thumbnails_are_only_read(tmp_path: Path) -> None:
    own = tmp_path / "own.webp"
    own.write_bytes(webp(1))
    folder = tmp_path / "thumbnails"
    write_picture(folder / "other.png", 1)
    (folder / "cut.webp").write_bytes(webp(2)[:-40])
    (folder / "text.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    os.symlink(own, folder / "link.webp")
    paths = sorted(folder.iterdir())
    before = [path.read_bytes() for path in paths]
    found = small_pictures(b"\0".join(map(os.fsencode, paths)))
    assert {paths[place].name for place in found.places} >= {"link.webp", "other.png"}
    assert [path.read_bytes() for path in paths] == before
    assert own.read_bytes() == webp(1)


@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_thumbnail_that_changes_while_it_is_seen(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = ThumbnailStore(tmp_path), webp(2)
    path = store.path(KEY)
    path.parent.mkdir()
    path.write_bytes(webp(1))
    changes: dict[str, Callable[[], None]] = {
        "removed": lambda: store.remove(KEY),
        "replaced": lambda: store.put(KEY, other),
    }

    def meanwhile(found: np.ndarray) -> np.ndarray:
        monkeypatch.undo()
        changes[change]()
        return outlines(found)

    expected = outlines(cells(webp(1))[None])
    monkeypatch.setattr(thumbnails, "outlines", meanwhile)
    assert np.array_equal(seen(path), expected)
    if change == "removed":
        assert not path.exists()
    else:
        assert store.get(KEY) == other
        assert np.array_equal(seen(path), outlines(cells(other)[None]))


def test_a_picture_that_would_fill_the_memory_is_left_out(tmp_path: Path) -> None:
    store = ThumbnailStore(tmp_path)
    store.put(KEY, webp(1))
    bomb, broken = tmp_path / "bomb.webp", tmp_path / "broken.webp"
    Image.new("1", (15_000, 15_000)).save(bomb, "PNG")
    picture = io.BytesIO()
    Image.new("L", (9, 9)).save(picture, "PNG")
    broken.write_bytes(picture.getvalue()[:30] + b"????" * 9)
    found = small_pictures(b"\0".join(map(os.fsencode, (bomb, store.path(KEY), broken))))
    assert found.places == (1,)
    assert thumbnails.with_outline(bomb.read_bytes()) == bomb.read_bytes()


def test_a_thumbnail_with_another_name_is_only_read(tmp_path: Path) -> None:
    """A snapshot of the index by hard links stays as it is."""
    store, picture = ThumbnailStore(tmp_path), webp(1)
    store.put(KEY, picture)
    store.path(KEY).write_bytes(picture)
    os.link(store.path(KEY), tmp_path / "snapshot")
    assert len(seen(store.path(KEY))) == 1
    assert (tmp_path / "snapshot").read_bytes() == picture
