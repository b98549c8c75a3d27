"""The doctor on real collections that something was done to."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgclust.collection import Collection
from imgclust.doctor import checks
from imgclust.doctor.checks import Check, DoctorResult, has_wal_fault
from imgclust.index.vector_index import VectorIndex
from imgclust.locks import FileLock
from imgclust.watcher.watcher import WatchLimits
from tests.conftest import inside
from tests.driver import quick_collection
from tests.pictures import encoded, photo

COUNT = 8


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    for seed in range(COUNT):
        (folder / f"{seed}.png").write_bytes(encoded(photo(24, 16, seed), "PNG"))
    return folder


@pytest.fixture
def collection(tmp_path: Path, drop: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collection]:
    with quick_collection(monkeypatch, tmp_path / "index", drop) as opened:
        opened.watch([drop], once=True)
        yield opened


def named(result: DoctorResult, name: str) -> Check:
    return next(check for check in result.checks if check.name == name)


def wrong(result: DoctorResult) -> set[str]:
    return {check.name for check in result.checks if not check.ok}


def execute(collection: Collection, *statements: str) -> None:
    """Meddle with the catalog behind everyone's back."""
    with sqlite3.connect(collection.folders.catalog) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def dump(collection: Collection) -> list[str]:
    with sqlite3.connect(collection.folders.catalog) as database:
        lines = list(database.iterdump())
    database.close()
    return lines


def test_a_sound_collection(collection: Collection, drop: Path) -> None:
    before = dump(collection), collection.folders.index_file.stat().st_mtime_ns
    result = collection.doctor()
    assert [check.name for check in result.checks] == ["disk", "catalog", "index", "links"]
    assert (result.ok, wrong(result)) == (True, set())
    assert [check.repaired for check in result.checks] == [None] * 4
    assert named(result, "catalog").sentence == "sound: 8 images, 8 distinct"
    assert named(result, "links").sentence == "8 links, all up to date"
    assert {advisory.name for advisory in result.advisories} == {
        "sqlite",
        "space",
        "watches",
        "weights",
    }
    assert (dump(collection), collection.folders.index_file.stat().st_mtime_ns) == before


def test_before_the_first_ingest(
    tmp_path: Path, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quick_collection(monkeypatch, tmp_path / "index", drop) as collection:
        assert collection.doctor().ok
        assert collection.doctor(repair=True).ok


def test_files_that_nobody_took_in_yet_are_no_disagreement(
    collection: Collection, drop: Path
) -> None:
    shutil.copy(drop / "0.png", drop / "new.png")
    result = collection.doctor()
    assert result.ok
    assert (
        "1 files are not ingested yet: the next watch takes them" in named(result, "disk").sentence
    )


def test_absent_and_changed_images_are_marked_and_read_again(
    collection: Collection, drop: Path
) -> None:
    (drop / "0.png").unlink()
    (drop / "1.png").write_bytes(encoded(photo(24, 16, 77), "PNG"))
    before = dump(collection)
    result = collection.doctor()
    assert wrong(result) == {"disk"}
    assert "1 images are not there and not marked missing" in named(result, "disk").sentence
    assert "1 images have changed" in named(result, "disk").sentence
    assert dump(collection) == before
    mended = collection.doctor(repair=True)
    assert mended.ok
    assert named(mended, "disk").repaired is not None
    assert [image.path for image in collection.missing()] == [os.fsencode(drop / "0.png")]
    assert collection.missing()[0].scans == 0
    assert collection.watch(once=True).ingested == 1
    assert collection.doctor().ok


@pytest.mark.parametrize("touch", ["link", "chmod", "rename", "copy"])
def test_new_links_and_permissions_are_no_change(
    collection: Collection, drop: Path, tmp_path: Path, touch: str
) -> None:
    picture = drop / "0.png"
    if touch == "link":
        os.link(picture, tmp_path / "link.png")
    elif touch == "chmod":
        picture.chmod(0o600)
    elif touch == "copy":
        shutil.copy2(picture, drop / "moved")
        (drop / "moved").replace(picture)
    else:
        picture.rename(drop / "moved")
        (drop / "moved").rename(picture)
    result = collection.doctor()
    assert result.ok
    assert "1 file has another change time or inode" in named(result, "disk").sentence
    stat = picture.stat()
    picture.write_bytes(encoded(photo(24, 16, 77), "PNG"))
    os.utime(picture, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert collection.watch(once=True).ingested == 1  # it was read again
    assert collection.doctor().ok


def test_a_collection_of_hard_links_is_sound(
    tmp_path: Path, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCLUST_LINKS_MODE", "hardlink")
    with quick_collection(monkeypatch, tmp_path / "index", drop) as opened:
        opened.watch([drop], once=True)
        assert opened.doctor().ok


def test_a_root_that_is_away_is_named(collection: Collection, drop: Path) -> None:
    drop.rename(drop.with_name("away"))
    result = collection.doctor()
    assert wrong(result) == {"disk"}
    assert f"the folder {drop} is not there" in named(result, "disk").sentence
    collection.doctor(repair=True)
    assert collection.status().images == COUNT, "only scans remove"


def test_contradictions_in_the_catalog_are_mended(collection: Collection) -> None:
    execute(
        collection,
        "DELETE FROM assignments WHERE content = (SELECT min(content) FROM assignments)",
        "INSERT INTO assignments SELECT min(clustering), 5, 1, 0.0, 0 FROM assignments",
        "INSERT INTO contents VALUES (7, x'00', 1, 1, 1, 'PNG', 0.0)",
        "INSERT INTO clusterings SELECT 99, generation, previous, created, NULL, provisional, "
        "space, k, chosen_by, inertia, mean_distance, seed, recipe, projection, sequence, "
        "contents, dims, centroids, lineage, similarity FROM clusterings LIMIT 1",
    )
    result = collection.doctor()
    sentence = named(result, "catalog").sentence
    for part in (
        "1 contents without an image",
        "1 contents without an embedding",
        "1 contents in no cluster",
        "1 assignments of no content",
        "1 unfinished clusterings",
    ):
        assert part in sentence
    mended = collection.doctor(repair=True)
    assert named(mended, "catalog") == Check("catalog", True, sentence, "the catalog was repaired")
    assert collection.doctor().ok


def test_a_lost_embedding_is_made_again_by_the_next_watch(collection: Collection) -> None:
    execute(
        collection,
        "DELETE FROM embeddings WHERE content = (SELECT min(content) FROM embeddings)",
    )
    result = collection.doctor()
    assert wrong(result) == {"catalog", "index"}
    assert named(result, "catalog").sentence == "1 contents without an embedding"
    mended = collection.doctor(repair=True)
    assert mended.ok
    assert named(mended, "catalog") == Check(
        "catalog",
        True,
        "1 contents without an embedding",
        "the catalog was repaired; 1 images wait to be read again by the next imgclust watch",
    )
    waiting = collection.doctor()
    assert waiting.ok
    assert "1 wait to be read" in named(waiting, "disk").sentence
    assert collection.watch(once=True).ingested == 1
    result = collection.doctor()
    assert (result.ok, result.checks[0].sentence) == (True, "8 images are as they were read")
    assert collection.status().images == COUNT


def test_an_embedding_with_nan_is_made_again(collection: Collection) -> None:
    execute(
        collection,  # its first number becomes NaN
        "UPDATE embeddings SET vector = CAST(x'007e' || substr(vector, 3) AS BLOB) "
        "WHERE content = (SELECT min(content) FROM embeddings)",
    )
    result = collection.doctor()
    assert named(result, "catalog").sentence == "1 embeddings that hold NaN or infinity"
    assert collection.doctor(repair=True).ok
    assert collection.watch(once=True).ingested == 1
    assert collection.doctor().ok
    assert collection.status().images == COUNT
    assert collection.cluster(k=2).k == 2


def test_a_lost_embedding_of_a_missing_image_is_made_again_when_it_is_back(
    collection: Collection, drop: Path
) -> None:
    away = drop.parent / "away.png"
    (drop / "0.png").rename(away)
    collection.watch(once=True)
    execute(
        collection,
        "DELETE FROM embeddings WHERE content = "
        "(SELECT content FROM images WHERE state = 'missing')",
    )
    assert "catalog" in wrong(collection.doctor())
    assert collection.doctor(repair=True).ok
    collection.watch(once=True)
    assert collection.doctor().ok
    assert len(collection.missing()) == 1
    away.rename(drop / "0.png")
    assert collection.watch(once=True).ingested == 1
    assert (collection.doctor().ok, collection.missing()) == (True, ())


def test_rows_that_say_different_things_of_a_path(collection: Collection, drop: Path) -> None:
    execute(
        collection,
        "DELETE FROM observations WHERE path = (SELECT path FROM images WHERE id = 1)",
        "UPDATE observations SET state = 'done', path = x'2f78' WHERE path = "
        "(SELECT path FROM images WHERE id = 2)",
    )
    result = collection.doctor()
    assert "2 images without a record of their file" in named(result, "catalog").sentence
    assert "1 files said to be in without an image" in named(result, "catalog").sentence
    mended = collection.doctor(repair=True)
    assert (mended.ok, wrong(mended)) == (True, set())
    collection.watch(once=True)
    assert collection.doctor().ok
    assert collection.status().images == COUNT


def test_a_damaged_catalog_is_said_and_not_touched(collection: Collection) -> None:
    inside(collection).catalog.checkpoint()
    execute(collection, "PRAGMA wal_checkpoint(TRUNCATE)")
    path = collection.folders.catalog
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 16384)
        file.write(b"\xff" * 64)
    result = collection.doctor()
    assert "catalog" in wrong(result)
    assert "damaged" in named(result, "catalog").sentence


# Index


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def another(path: Path) -> None:
    path.write_bytes(b"something else altogether")


@pytest.mark.parametrize("damage", [flip, cut, another])
def test_a_damaged_index_file_is_made_again(collection: Collection, damage: object) -> None:
    path = collection.folders.index_file
    assert callable(damage)
    damage(path)
    broken = path.read_bytes()
    assert wrong(collection.doctor()) == {"index"}
    assert path.read_bytes() == broken
    mended = collection.doctor(repair=True)
    assert (mended.ok, named(mended, "index").repaired is not None) == (True, True)
    assert (collection.folders.aside / path.name).read_bytes() == broken
    assert collection.doctor().ok
    assert collection.query(1, n=3, include_self=True).neighbours[0].id == 1


def test_an_index_file_with_other_contents_or_vectors(collection: Collection) -> None:
    path, recipe = collection.folders.index_file, collection.recipe
    keys, vectors = inside(collection).catalog.contents.all_embeddings(recipe)
    sequence = inside(collection).catalog.contents.sequence()

    def write(keys: object, vectors: object, sequence: int) -> str:
        made = VectorIndex(2048)
        made.add(keys, vectors)  # type: ignore[arg-type]
        made.save(path, recipe=recipe, sequence=sequence)
        result = collection.doctor()
        assert wrong(result) <= {"index"}
        return named(result, "index").sentence

    assert "lacks 1 contents and holds 0" in write(keys[1:], vectors[1:], sequence)
    more = [*keys[1:].tolist(), 12345]
    assert "lacks 1 contents and holds 1" in write(more, vectors, sequence)
    assert "8 vectors are not the catalog's" in write(keys, vectors[::-1], sequence)
    assert "ahead of the catalog" in write(keys, vectors, sequence + 1)
    first = [key for _, key, _ in inside(collection).catalog.contents.changes_after(0, 5)]
    early = inside(collection).catalog.contents.embeddings(first, recipe)
    assert "sound" in write(first, early, 5), "the rest is replayed"
    assert collection.doctor(repair=True).ok


def test_beside_a_watcher_the_index_file_is_left_to_it(collection: Collection) -> None:
    flip(collection.folders.index_file)
    with FileLock(collection.folders.lock("ingest"), purpose="ingesting into"):
        result = collection.doctor(repair=True)
    assert wrong(result) == {"index"}
    assert "a watcher is running" in named(result, "index").sentence


# Links


def test_links_are_brought_in_step(collection: Collection) -> None:
    links = sorted(path for path in collection.link_folder.rglob("*") if path.is_symlink())
    links[0].unlink()
    foreign = links[1].parent / "mine.txt"
    foreign.write_text("mine")
    result = collection.doctor()
    assert wrong(result) == {"links"}
    assert named(result, "links").sentence == (
        "1 link is not there or not right; 1 entry is not ours"
    )
    mended = collection.doctor(repair=True)
    assert (mended.ok, named(mended, "links").repaired is not None) == (True, True)
    assert links[0].is_symlink()
    assert foreign.read_text() == "mine"


# Advisories


@pytest.mark.parametrize(
    ("version", "faulty"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 1), False),
    ],
)
def test_which_sqlite_has_the_wal_reset_fault(version: tuple[int, int, int], faulty: bool) -> None:
    assert has_wal_fault(version) is faulty


def test_advisories_change_no_verdict(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks, "sqlite_version", lambda: (3, 40, 1))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1, 1, 1 << 20))
    monkeypatch.setattr(checks, "watch_limits", lambda: WatchLimits(1, 1))
    execute(
        collection,
        'UPDATE settings SET value = \'{"name": "file", "path": "/no"}\' WHERE key = \'weights\'',
    )
    result = collection.doctor()
    assert result.ok
    assert [advisory.ok for advisory in result.advisories] == [False] * 4
    for advisory, words in zip(
        result.advisories,
        ("WAL-reset", "only 0.0 GiB", "max_user_watches", "/no is gone"),
        strict=True,
    ):
        assert words in advisory.sentence
