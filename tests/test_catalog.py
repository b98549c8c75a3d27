from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from imgclust.catalog import connection as connection_module
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import DescribedCluster
from imgclust.catalog.connection import APPLICATION_ID, VERSION
from imgclust.catalog.contents import Content, key_of
from imgclust.catalog.migrations import MIGRATIONS
from imgclust.errors import CatalogError, StorageError

RECIPE = '{"recipe":1}'


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(tmp_path / "catalog.sqlite3") as opened:
        yield opened


def content(number: int) -> Content:
    sha256 = number.to_bytes(32, "big")[::-1]
    return Content(key_of(sha256), sha256, 10, 4, 3, "JPEG", 0.01)


def fill(catalog: Catalog, count: int, dimensions: int = 8) -> list[Content]:
    """`count` images with a content and an embedding each, in root /photos."""
    contents = [content(number + 1) for number in range(count)]
    with catalog.transaction():
        root = catalog.roots.put(b"/photos", "watched")
        for number, one in enumerate(contents):
            path = b"/photos/%04d.jpg" % number
            catalog.contents.put(one)
            vector = np.full(dimensions, (number + 1) / 1024, np.float32)
            catalog.contents.put_embedding(one.key, RECIPE, vector, "test")
            catalog.observations.see(path, root.id, (1, number, 10, 20, 30), due=0.0)
            catalog.observations.settle(path, "done")
            catalog.images.insert(path, root.id, one.key)
    return contents


def test_the_write_ahead_log_stays_small_beside_readers(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    with Catalog(path) as catalog, Catalog(path) as reader:
        for number in range(160):
            with reader.snapshot():  # short, as every reader of ours
                reader.setting("large")
            with catalog.transaction():
                catalog.store("large", chr(97 + number % 26) * 500_000)
        log = path.with_name(path.name + "-wal")
        assert 0 < log.stat().st_size < 32 << 20  # 80 MB went through it


def test_key_is_the_first_63_bits() -> None:
    assert key_of(b"\xff" * 32) == 2**63 - 1
    assert key_of(b"\x00" * 7 + b"\x03" + b"\xff" * 24) == 1


def test_what_is_committed_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    with Catalog(path) as catalog:
        contents = fill(catalog, 3)
    with Catalog(path) as catalog:
        keys, vectors = catalog.contents.all_embeddings(RECIPE)
        assert sorted(one.key for one in contents) == keys.tolist()
        rows = dict(zip(keys.tolist(), vectors[:, 0].tolist(), strict=True))
        assert [rows[one.key] for one in contents] == [1 / 1024, 2 / 1024, 3 / 1024]
        assert catalog.contents.sequence() == 3
        assert catalog.damage() == []


def test_a_failed_transaction_leaves_nothing(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.transaction():
            catalog.roots.put(b"/photos", "watched")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert catalog.roots.all() == []


def test_a_snapshot_that_sqlite_has_ended_hides_no_failure(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.snapshot():
            catalog._connection.execute("ROLLBACK")  # as SQLite does when the disk fails
            raise StorageError("the disk refuses")

    with pytest.raises(StorageError, match="refuses"):
        fail()


def test_the_log_is_durable_and_foreign_keys_hold(catalog: Catalog) -> None:
    connection = catalog._connection
    assert connection.execute("PRAGMA journal_mode").get == "wal"
    assert connection.execute("PRAGMA synchronous").get == 2
    with pytest.raises(apsw.ConstraintError), catalog.transaction():
        catalog.images.insert(b"/nowhere", 77, 99)


def test_a_path_and_an_embedding_are_there_once(catalog: Catalog) -> None:
    (one,) = fill(catalog, 1)
    with pytest.raises(apsw.ConstraintError), catalog.transaction():
        catalog.images.insert(b"/photos/0000.jpg", 1, one.key)
    before = catalog.contents.sequence()
    with catalog.transaction():
        catalog.contents.put_embedding(one.key, RECIPE, np.ones(8, np.float32), "again")
    assert catalog.contents.sequence() == before
    assert catalog.contents.embeddings([one.key], RECIPE)[0, 0] == 1 / 1024


def test_a_content_leaves_with_its_last_image(catalog: Catalog) -> None:
    (one,) = fill(catalog, 1)
    with catalog.transaction():
        catalog.images.insert(b"/photos/copy.jpg", 1, one.key)
    first, second = catalog.images.with_content(one.key)
    with catalog.transaction():
        assert catalog.remove_image(first) is False
    assert catalog.contents.has_embedding(one.key, RECIPE)
    with catalog.transaction():
        assert catalog.remove_image(second) is True
    assert catalog.contents.get(one.key) is None
    assert not catalog.contents.has_embedding(one.key, RECIPE)
    assert catalog.contents.changes_after(1, 10) == [(2, one.key, "remove")]
    assert catalog.ledger.queued_links(10)[1] == [first.id, second.id]


def test_two_contents_with_one_key_are_told_apart(catalog: Catalog) -> None:
    (one,) = fill(catalog, 1)
    other = one.sha256[:8] + b"\xaa" * 24
    assert key_of(other) == one.key
    with pytest.raises(CatalogError, match="63 bits"):
        catalog.contents.with_sha256(other)


def test_ids_are_never_used_again(catalog: Catalog) -> None:
    fill(catalog, 3)
    last = catalog.images.at(b"/photos/0002.jpg")
    assert last is not None
    with catalog.transaction():
        catalog.remove_image(last)
        again = catalog.images.insert(b"/photos/new.jpg", 1, content(1).key)
    assert again > last.id
    with catalog.transaction():
        number = begin(catalog)
        catalog.clusterings.set_clusters(number, [DescribedCluster(7, 0.0, 1.0, 0)])
        catalog._connection.execute("DELETE FROM clustering_clusters")
        catalog._connection.execute("DELETE FROM clusters WHERE id = 7")
    assert catalog.clusterings.next_cluster_id() == 8


def begin(catalog: Catalog) -> int:
    return catalog.clusterings.begin(
        provisional=True,
        space="embedding",
        chosen_by="user",
        inertia=1.0,
        mean_distance=0.5,
        seed=0,
        recipe=catalog.contents.recipe_id(RECIPE),
        projection=None,
        sequence=catalog.contents.sequence(),
        contents=catalog.contents.count(),
        centroids=np.zeros((1, 8), np.float32),
    )


def test_unpublished_clusterings_are_dropped_with_their_rows(catalog: Catalog) -> None:
    contents = fill(catalog, 5)
    with catalog.transaction():
        number = begin(catalog)
        catalog.clusterings.set_clusters(number, [DescribedCluster(1, 0.5, 1.0, contents[0].key)])
        catalog.assignments.assign(number, [(one.key, 1, 0.5) for one in contents], arrived=False)
    assert catalog.clusterings.current_id() is None
    left = []
    for finished in (False, False, True, True):
        with catalog.transaction():
            assert catalog.clusterings.drop_unpublished(rows=2) is finished
        left.append(catalog._connection.execute("SELECT count(*) FROM assignments").get)
    assert left == [3, 1, 0, 0]
    assert catalog._connection.execute("SELECT count(*) FROM clusterings").get == 0


def test_what_two_clusterings_do_not_have_in_the_same_cluster(catalog: Catalog) -> None:
    keys = [one.key for one in fill(catalog, 5)]
    with catalog.transaction():
        catalog.images.insert(b"/photos/copy.jpg", 1, keys[1])
        first, second = begin(catalog), begin(catalog)
        catalog.assignments.assign(
            first, [(keys[0], 1, 0.0), (keys[1], 1, 0.0), (keys[2], 2, 0.0)], arrived=False
        )
        catalog.assignments.assign(
            second, [(keys[0], 1, 0.0), (keys[1], 3, 0.0), (keys[3], 2, 0.0)], arrived=False
        )
    assert catalog.assignments.differing(first, second) == {keys[1], keys[2], keys[3]}
    with catalog.transaction():
        assert catalog.ledger.queue_links_of([keys[1], keys[3], 77]) == 3
        catalog.assignments.unassign(first, keys[:2])
    assert catalog.ledger.queued_links(9)[1] == [2, 6, 4]
    assert catalog.assignments.of(first)[0].tolist() == [keys[2]]


def test_images_of_a_cluster_come_nearest_first_and_outliers_are_beyond_the_limit(
    catalog: Catalog,
) -> None:
    keys = [one.key for one in fill(catalog, 5)]
    with catalog.transaction():
        copy = catalog.images.insert(b"/photos/copy.jpg", 1, keys[1])
        number, other = begin(catalog), begin(catalog)
        for one in (number, other):
            rows = [
                DescribedCluster(1, 0.5, 1.0, keys[0], outlier_from=0.7),
                DescribedCluster(2, 0.5, 1.0, keys[3], outlier_from=0.9),
                DescribedCluster(3, 0.5, 1.0, keys[4]),
            ]
            catalog.clusterings.set_clusters(one, rows)
        placed = [(keys[0], 1, 0.75), (keys[1], 1, 0.25), (keys[2], 2, 0.75), (keys[3], 2, 1.0)]
        catalog.assignments.assign(number, placed, arrived=False)
        catalog.assignments.assign(other, [(key, 1, 2.0) for key in keys], arrived=False)
    found = catalog.assignments.images_with_distances(number, 1)
    assert [(image, content, distance) for image, _, content, distance, _ in found] == [
        (2, keys[1], 0.25),
        (copy, keys[1], 0.25),
        (1, keys[0], 0.75),
    ]
    assert found[1][1] == b"/photos/copy.jpg"
    assert catalog.assignments.sizes(number) == {1: 3, 2: 2, 3: 0}
    assert catalog.assignments.unassigned(number, RECIPE) == [keys[4]]
    assert catalog.assignments.unassigned(number, "another") == []
    assert catalog.assignments.outliers(number) == {1: 1, 2: 1}
    assert catalog.assignments.all_outlying(number) == {keys[0], keys[3]}
    assert catalog.assignments.outlying(number, keys[:2]) == {keys[0]}


def test_a_step_queues_the_links_of_what_another_clustering_has_elsewhere(
    catalog: Catalog,
) -> None:
    keys = sorted(one.key for one in fill(catalog, 7))
    ids = {one.content: one.id for one in catalog.images.all()}
    with catalog.transaction():
        ids[-1] = catalog.images.insert(b"/photos/copy.jpg", 1, keys[1])
        catalog.ledger.unqueue_links(10**9)
        first, second = begin(catalog), begin(catalog)
        for one in (first, second):
            rows = [
                DescribedCluster(cluster, 0.5, 1.0, keys[0], outlier_from=1.0) for cluster in (1, 2)
            ]
            catalog.clusterings.set_clusters(one, rows)
        before = [(keys[0], 1, 0.1), (keys[1], 1, 0.1), (keys[2], 1, 0.1), (keys[3], 2, 0.1)]
        before += [(keys[4], 2, 2.0), (keys[6], 2, 1.0)]
        after = [(keys[0], 1, 0.9), (keys[1], 2, 0.1), (keys[2], 1, 1.1), (keys[4], 2, 0.1)]
        after += [(keys[5], 1, 0.1), (keys[6], 2, 0.5)]
        catalog.assignments.assign(first, before, arrived=False)
        catalog.assignments.assign(second, after, arrived=False)
        catalog.clusterings.publish(second, {})
        catalog.ledger.queue_review(first)
    taken = []
    assert catalog.ledger.share_to_review() == 1
    while catalog.ledger.reviews:
        with catalog.transaction():
            catalog.ledger.review(rows=3)
        assert catalog.ledger.share_to_review() < 1
        taken.append(sorted(catalog.ledger.queued_links(99)[1]))
    # Moved with its copy, out of the limit, gone from it, back inside it, come into it.
    expected = [ids[-1], ids[keys[1]], ids[keys[2]], ids[keys[3]], ids[keys[4]], ids[keys[5]]]
    assert taken[0] == sorted(expected[:3])
    assert taken[1:] == [sorted(expected)] * 2
    with catalog.transaction():
        catalog.ledger.unqueue_links(10**9)
        catalog.ledger.queue_review(second)
        catalog.ledger.queue_review(None)
        assert catalog.ledger.share_to_review() == 1
        catalog.ledger.review(rows=99)
    assert sorted(catalog.ledger.queued_links(99)[1]) == sorted(ids.values())
    assert not catalog.ledger.reviews


def test_files_that_moved_are_counted_once_each(catalog: Catalog) -> None:
    observations = catalog.observations
    gone = {b"/r/a": 1, b"/r/b": 2, b"/r/c": 2, b"/r/d": 4}  # with inodes
    waiting = {b"/r/new-a": 1, b"/r/new-b": 2, b"/r/other": 9, b"/r/twice": 4, b"/r/again": 4}
    with catalog.transaction():
        root = catalog.roots.put(b"/r", "watched").id
        for path, inode in (gone | waiting).items():
            observations.see(path, root, (1, inode, 10, 20, 30), due=0.0)
        observations.done(list(gone))
        observations.see(b"/r/new-size", root, (1, 2, 11, 20, 30), due=0.0)
    assert observations.moved([*gone, b"/r/unknown"]) == 3
    assert observations.moved(iter([b"/r/d"])) == 1
    assert observations.moved(waiting) == 0  # still to be read: not gone


def test_who_writes_piece_after_piece_lets_others_in(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    begun, enough = threading.Event(), threading.Event()
    pieces: list[int] = []

    def write() -> None:
        with Catalog(path) as one:
            while not enough.is_set() and len(pieces) < 500:
                with one.piece():
                    one.store("piece", len(pieces))
                    begun.set()
                    time.sleep(0.02)  # others come upon a file that is taken
                pieces.append(1)

    writer = threading.Thread(target=write)
    with Catalog(path) as other:
        writer.start()
        begun.wait()
        for number in range(3):
            with other.transaction():
                other.store("other", number)
        enough.set()
        writer.join()
    assert len(pieces) < 500


def test_pages_sizes_and_outliers_agree_with_the_plain_rows(catalog: Catalog) -> None:
    """Copies, contents that no image has any more, empty clusters, what people said."""
    random = np.random.default_rng(3)
    keys = [one.key for one in fill(catalog, 60)]
    with catalog.transaction():
        number, other = begin(catalog), begin(catalog)
        for one in (number, other):
            described = [
                DescribedCluster(c, 0.5, 1.0, keys[c], outlier_from=0.6 + c / 20) for c in (1, 2, 3)
            ]
            empty = DescribedCluster(4, 0.5, 1.0, keys[4])
            catalog.clusterings.set_clusters(one, [*described, empty])
        placed = {
            key: (int(random.integers(1, 4)), float(random.random())) for key in keys[: -1 - 4]
        }
        catalog.assignments.assign(
            number, [(key, *rest) for key, rest in placed.items()], arrived=False
        )
        catalog.assignments.assign(other, [(key, 1, 1.0) for key in keys], arrived=False)
        for copy in range(25):
            path = b"/photos/copy %02d.jpg" % (97 * copy % 100)
            catalog.images.insert(path, 1, keys[int(random.integers(20, 60))])
        gone = keys[:7]
        connection = catalog._connection
        connection.executemany("DELETE FROM images WHERE content = ?", [(one,) for one in gone])
        said = {"in": keys[10:30], "outlier": keys[25:45], "not_in": keys[40:50]}
        connection.executemany(
            "INSERT INTO corrections (kind, content, cluster, made_by, made, ended) "
            "VALUES (?, ?, 1, 'command', 0, ?)",
            [
                (kind, key, 1.0 if place % 3 == 0 else None)
                for kind, some in said.items()
                for place, key in enumerate(some)
            ],
        )
    images: list[Any] = connection.execute("SELECT id, content, path FROM images").fetchall()
    standing = connection.execute(
        "SELECT kind, content FROM corrections WHERE ended IS NULL"
    ).fetchall()
    kept = {key for kind, key in standing if kind == "in"}
    called = {key for kind, key in standing if kind == "outlier"}
    far = {key for key, (c, away) in placed.items() if away > 0.6 + c / 20 and key not in kept}
    outlying = far | (called & placed.keys())
    cluster_of = {key: c for key, (c, _) in placed.items()}
    of = {c: [row for row in images if cluster_of.get(row[1]) == c] for c in (1, 2, 3, 4)}
    found = catalog.assignments
    assert found.sizes(number) == {c: len(rows) for c, rows in of.items()}
    assert found.all_outlying(number) == found.outlying(number, keys) == outlying
    assert found.outliers(number) == {
        c: sum(row[1] in outlying for row in rows) for c, rows in of.items() if rows
    }
    assert catalog.listing.count_by_cluster(after=20, clustering=number) == {
        c: sum(cluster_of.get(row[1]) == c for row in images if row[0] > 20)
        for c in (None, 1, 2, 3)
    }
    for c, rows in of.items():
        wanted = {
            "distance": sorted(rows, key=lambda row: (placed[row[1]][1], row[0])),
            "newest": sorted(rows, reverse=True),
            "oldest": sorted(rows),
            "name": sorted(rows, key=lambda row: row[2]),
        }
        assert found.count_images_in(number, c) == len(rows)
        assert found.contents_in(number, c) == sorted(
            k for k, one in cluster_of.items() if one == c
        )
        for order, right in wanted.items():
            ids = [row[0] for row in right]
            for offset, limit in ((0, -1), (0, 3), (2, 5), (5, 100), (500, 5)):
                page = found.images_with_distances(
                    number, c, order=order, offset=offset, limit=limit
                )
                end = None if limit < 0 else offset + limit
                assert [row[0] for row in page] == ids[offset:end], (c, order, offset)


def test_sizes_speak_of_images_and_assignments_of_contents(catalog: Catalog) -> None:
    contents = fill(catalog, 3)
    with catalog.transaction():
        catalog.images.insert(b"/photos/copy.jpg", 1, contents[0].key)
        number = begin(catalog)
        catalog.clusterings.set_clusters(number, [DescribedCluster(1, 0.5, 1.0, contents[0].key)])
        catalog.assignments.assign(
            number, [(one.key, 1, 0.5) for one in contents[:2]], arrived=False
        )
        catalog.clusterings.publish(number, {"kept": []})
    assert catalog.assignments.sizes(number) == {1: 3}
    assert catalog.assignments.unassigned(number, RECIPE) == [contents[2].key]
    current = catalog.clusterings.current()
    assert current is not None
    assert (current.id, current.generation, current.provisional) == (number, 1, True)


def test_a_root_is_found_by_path_and_becomes_watched(catalog: Catalog) -> None:
    with catalog.transaction():
        added = catalog.roots.put(b"/one", "added")
        assert catalog.roots.put(b"/one", "watched").id == added.id
        assert catalog.roots.put(b"/one", "added").kind == "watched"


def test_below_takes_the_folder_and_not_its_neighbours(catalog: Catalog) -> None:
    with catalog.transaction():
        root = catalog.roots.put(b"/r", "watched")
        for path in (b"/r/a/1", b"/r/a/b/2", b"/r/a.jpg", b"/r/a0", b"/r/ab/3"):
            catalog.observations.see(path, root.id, (0, 0, 0, 0, 0), due=1.0)
    assert catalog.observations.below(b"/r/a", limit=9) == [b"/r/a/1", b"/r/a/b/2"]
    assert catalog.observations.below(b"/r/a", limit=1) == [b"/r/a/1"]
    assert catalog.observations.below(b"/r/a", after=b"/r/a/1", limit=9) == [b"/r/a/b/2"]


def test_names_are_bytes(catalog: Catalog) -> None:
    odd = b"/photos/\xff\n\xfe'\".jpg"
    with catalog.transaction():
        root = catalog.roots.put(b"/photos", "watched")
        catalog.observations.see(odd, root.id, (1, 2, 3, 4, 5), due=1.0)
        catalog.observations.quarantine(odd, "damaged", tries=4)
    known = catalog.observations.at(odd)
    assert known is not None
    assert (known.path, known.state, known.stat) == (odd, "quarantined", (1, 2, 3, 4, 5))
    assert [row.path for row in catalog.observations.quarantined()] == [odd]


def test_due_paths_come_in_order_and_restart_gives_all_a_new_time(catalog: Catalog) -> None:
    with catalog.transaction():
        root = catalog.roots.put(b"/r", "watched")
        for path, due in ((b"/r/1", 30.0), (b"/r/2", 10.0), (b"/r/3", 20.0)):
            catalog.observations.see(path, root.id, (0, 0, 0, 0, 0), due=due)
        catalog.observations.settle(b"/r/3", "done")
    assert [row.path for row in catalog.observations.due(40.0, 9)] == [b"/r/2", b"/r/1"]
    assert catalog.observations.next_due() == 10.0
    with catalog.transaction():
        assert catalog.observations.restart(15.0, rows=9)
    assert {row.due for row in catalog.observations.due(15.0, 9)} == {15.0}
    assert len(catalog.observations.due(15.0, 9)) == 2
    done = catalog.observations.at(b"/r/3")
    assert done is not None
    assert done.due == 20.0


def test_a_restart_changes_a_few_rows_at_a_time_and_goes_on_where_it_was_cut_off(
    catalog: Catalog,
) -> None:
    with catalog.transaction():
        root = catalog.roots.put(b"/r", "watched")
        for number in range(7):
            catalog.observations.see(b"/r/%d" % number, root.id, (0, 0, 0, 0, 0), due=10.0 * number)

    def rest(due: float) -> int:
        return 7 - sum(row.due == due for row in catalog.observations.due(1e9, 9))

    with catalog.transaction():
        assert not catalog.observations.restart(35.0, rows=3)
    assert rest(35.0) == 4
    left = []
    over = False
    while not over:  # the next run, with a clock of its own
        with catalog.transaction():
            over = catalog.observations.restart(25.0, rows=3)
        left.append(rest(25.0))
    assert left == [4, 1, 0]


def test_paths_of_a_root_are_put_off_a_few_at_a_time_the_first_first(catalog: Catalog) -> None:
    with catalog.transaction():
        one, other = (catalog.roots.put(path, "watched").id for path in (b"/r", b"/s"))
        for number in range(5):
            catalog.observations.see(b"/r/%d" % number, one, (0,) * 5, due=50.0 - number)
        catalog.observations.see(b"/s/0", other, (0,) * 5, due=1.0)
        catalog.observations.see(b"/r/later", one, (0,) * 5, due=200.0)
        catalog.observations.again(b"/r/4", due=46.0, tries=2, deaths=1)
    left = []
    over = False
    while not over:
        with catalog.transaction():
            over = catalog.observations.postpone(one, 100.0, rows=2)
        left.append([row.path for row in catalog.observations.due(99.0, 9)])
    assert left == [
        [b"/s/0", b"/r/2", b"/r/1", b"/r/0"],
        [b"/s/0", b"/r/0"],
        [b"/s/0"],
    ]
    known = catalog.observations.at(b"/r/4")
    assert known is not None
    assert (known.due, known.tries, known.deaths) == (100.0, 0, 1)


def test_a_newer_catalog_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    Catalog(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(CatalogError, match="upgrade imgclust"):
        Catalog(path)


def as_of_version_1(path: Path, extra: str = "") -> None:
    """A catalog as the first version made it, with a path that is due."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(MIGRATIONS[0] + extra)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO roots (path, kind) VALUES (x'2f72', 'watched')")
        connection.execute(
            "INSERT INTO observations VALUES (x'2f722f61', 1, 0, 0, 0, 0, 0, 0, "
            "'seen', 5, 0, 0, '')"
        )


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "CREATE TABLE link_steps (id INTEGER PRIMARY KEY AUTOINCREMENT, clustering INTEGER, "
        "after INTEGER NOT NULL DEFAULT -1) STRICT;",
    ],
)
def test_an_older_catalog_is_brought_up_to_date(tmp_path: Path, extra: str) -> None:
    as_of_version_1(tmp_path / "catalog.sqlite3", extra)
    with Catalog(tmp_path / "catalog.sqlite3") as catalog:
        assert [row.path for row in catalog.observations.due(9.0, 9)] == [b"/r/a"]
        with catalog.transaction():
            assert catalog.observations.postpone(1, 100.0, rows=9)
        assert catalog._connection.execute("PRAGMA user_version").get == VERSION
        if not extra:
            assert catalog.damage() == []
    Catalog(tmp_path / "catalog.sqlite3").close()


def test_a_table_that_is_not_as_it_was_made_is_damage_and_our_own_fault_is_none(
    tmp_path: Path,
) -> None:
    with Catalog(tmp_path / "sound.sqlite3") as catalog:
        with pytest.raises(apsw.SQLError) as ours:
            catalog._connection.execute("SELECT nothing FROM nowhere")
        catalog.explain(ours.value)
    path = tmp_path / "flipped.sqlite3"
    with Catalog(path) as catalog:
        catalog.checkpoint()
    content = path.read_bytes()
    assert content.count(b"sentence TEXT NOT NULL") == 1
    path.write_bytes(content.replace(b"sentence TEXT NOT NULL", b"sentenbe TEXT NOT NULL"))
    with Catalog(path) as catalog:
        with pytest.raises(apsw.SQLError) as flipped:
            catalog.events(5)
        with pytest.raises(CatalogError, match=r"damaged .table events is not as it was made"):
            catalog.explain(flipped.value)
    as_of_version_1(tmp_path / "older.sqlite3")
    content = (tmp_path / "older.sqlite3").read_bytes()
    (tmp_path / "older.sqlite3").write_bytes(
        content.replace(b"observations_due", b"obzervations_due")
    )
    with pytest.raises(CatalogError, match=r"damaged .index observations_due is not as it was"):
        Catalog(tmp_path / "older.sqlite3")


def test_a_catalog_that_another_process_has_open_is_never_taken_as_immutable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.sqlite3"

    def refuse(path: Path) -> apsw.Connection:
        raise apsw.FullError("database or disk is full")

    with Catalog(path) as catalog:
        catalog.checkpoint()
        monkeypatch.setattr(connection_module, "_for_writing", refuse)
        monkeypatch.setattr(
            connection_module, "why_not_writable", lambda folder: "its disk is full"
        )
        with Catalog(path) as reader:
            assert reader.setting("seen") is None
            with catalog.transaction():
                catalog.store("seen", True)
            assert reader.setting("seen") is True
    with Catalog(path) as reader:
        assert reader.setting("seen") is True


def test_a_foreign_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(CatalogError, match="not an imgclust catalog"):
        Catalog(path)
    with sqlite3.connect(path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")]
    connection.close()
    assert names == ["theirs"]


def test_a_damaged_catalog_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(CatalogError, match="damaged"):
        Catalog(path)


def test_an_absent_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        Catalog(tmp_path / "absent" / "catalog.sqlite3")


def test_a_commit_survives_kill(tmp_path: Path) -> None:
    """A process that dies right after a commit has committed; in mid-transaction it has not."""
    path = tmp_path / "catalog.sqlite3"
    program = f"""
import os
from pathlib import Path
from imgclust.catalog.catalog import Catalog
catalog = Catalog(Path({str(path)!r}))
with catalog.transaction():
    catalog.roots.put(b"/committed", "watched")
with catalog.transaction():
    catalog.roots.put(b"/not-committed", "watched")
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -9
    with Catalog(path) as catalog:
        assert [root.path for root in catalog.roots.all()] == [b"/committed"]


def test_half_precision_keeps_neighbours(catalog: Catalog) -> None:
    """What float16 storage costs: cosine to the float32 vector stays above 0.999999."""
    generator = np.random.default_rng(5)
    vectors = np.abs(generator.standard_normal((20, 2048))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contents = [content(number + 1) for number in range(len(vectors))]
    with catalog.transaction():
        for one, vector in zip(contents, vectors, strict=True):
            catalog.contents.put(one)
            catalog.contents.put_embedding(one.key, RECIPE, vector, "test")
    stored = catalog.contents.embeddings([one.key for one in contents], RECIPE)
    cosines = (stored * vectors).sum(axis=1) / np.linalg.norm(stored, axis=1)
    assert cosines.min() > 0.999999


def test_rows_written_together_are_as_those_written_one_by_one(tmp_path: Path) -> None:
    dumps = []
    for name in ("one", "all"):
        with Catalog(tmp_path / name) as catalog:
            contents = [content(number + 1) for number in range(5)]
            vectors = [np.full(8, number / 64, np.float32) for number in range(5)]
            paths = [b"/photos/%04d.jpg" % number for number in range(5)]
            with catalog.transaction():
                root = catalog.roots.put(b"/photos", "watched").id
                for path in paths:
                    catalog.observations.see(path, root, (1, 2, 3, 4, 5), due=0.0)
                catalog.observations.quarantine(paths[2], "damaged", tries=1)
                if name == "one":
                    for one, vector, path in zip(contents, vectors, paths, strict=True):
                        catalog.contents.put(one)
                        catalog.contents.put_embedding(one.key, RECIPE, vector, "test")
                        catalog.images.insert(path, root, one.key)
                        catalog.observations.release(path)
                        catalog.observations.settle(path, "done")
                else:
                    pairs = list(zip(contents, vectors, strict=True))
                    catalog.contents.put_embedded(pairs, RECIPE, "test")
                    rows = [
                        (path, root, one.key) for path, one in zip(paths, contents, strict=True)
                    ]
                    assert catalog.images.insert_all(rows[:2]) == [1, 2]
                    assert catalog.images.insert_all(rows[2:]) == [3, 4, 5]
                    catalog.observations.done(paths)
            dumps.append(
                [
                    catalog._connection.execute(f"SELECT {columns} FROM {table}").fetchall()
                    for table, columns in [
                        ("contents", "*"),
                        ("embeddings", "*"),
                        ("changes", "*"),
                        ("images", "id, path, root, content, state, misses"),
                        ("observations", "path, state, suffix"),
                        ("quarantine", "path"),
                    ]
                ]
            )
            assert catalog.images.occupied([paths[0], b"/other"]) == {paths[0]}
            assert catalog.contents.known([contents[0].key, 7]) == {contents[0].key}
    assert dumps[0] == dumps[1]
