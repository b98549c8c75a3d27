from __future__ import annotations

from pathlib import Path

import pytest

from imgclust.images.thumbnails import ThumbnailStore

KEY = 0x123456789ABCDEF0


def test_put_read_replace_remove(tmp_path: Path) -> None:
    store = ThumbnailStore(tmp_path / "thumbnails")
    store.remove(KEY)
    store.put(KEY, b"one")
    assert store.path(KEY).read_bytes() == b"one"
    store.put(KEY, b"two")
    assert store.path(KEY).read_bytes() == b"two"
    assert [path.name for path in store.path(KEY).parent.iterdir()] == ["123456789abcdef0.webp"]
    store.remove(KEY)
    assert not store.path(KEY).exists()


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
