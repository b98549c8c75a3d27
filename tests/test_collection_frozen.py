"""Named clusters through commands: 40 re-clusterings, names that are refused, an older catalog."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.migrations import MIGRATIONS
from imgclust.collection import Collection
from imgclust.errors import UsageError
from tests.command_line import Run
from tests.conftest import Open, inside, write_picture


def named_images(collection: Collection) -> dict[str, set[bytes]]:
    """Paths in each named cluster, by name."""
    return {
        row.name: {one.path for one in collection.cluster_details(row.id).members}
        for row in collection.clusters()
        if row.name is not None
    }


def assert_kept(collection: Collection, before: dict[str, set[bytes]], gone: set[bytes]) -> None:
    now = named_images(collection)
    assert now.keys() == before.keys()
    for name, images in before.items():
        assert images - gone <= now[name], name
    assert {row.name for row in collection.clusters() if row.frozen} == before.keys()


@pytest.mark.slow
def test_forty_reclusterings_keep_ten_named_clusters(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    for number in range(60):
        write_picture(drop / f"picture-{number:02d}.png", number, hue=number % 12)
    collection = open_collection()
    collection.watch([drop], once=True)
    assert inside(collection).current().provisional
    collection.cluster(k=14)
    ids = {row.id for row in sorted(collection.clusters(), key=lambda row: -row.size)[:10]}
    for cluster in ids:
        collection.name_cluster(cluster, f"name of {cluster}")
    folders = {row.id: row.folder for row in collection.clusters() if row.id in ids}
    choose = random.Random(5)
    late = 100
    for step in range(40):
        before, gone = named_images(collection), set[bytes]()
        kind = step % 8
        if kind == 1:
            collection.add([write_picture(drop / f"late-{late}.png", late, hue=late % 12)])
            late += 1
            assert_kept(collection, before, gone)
            before = named_images(collection)
        if kind == 2:
            victim = sorted(drop.glob("*.png"))[choose.randint(0, 40)]
            collection.remove(victim)
            gone = {bytes(victim)}
        if kind == 3:
            free = [row.id for row in collection.clusters() if not row.frozen]
            if len(free) > 1:
                collection.merge_clusters(free[:2])
        if kind == 4:
            collection.undo()
            assert_kept(collection, before, gone)
        if kind == 5 and step == 21:
            collection.close()
            collection = open_collection(
                flags={"embedding.raw": True},
                changing=frozenset({"embedding.raw"}),
                create_for=None,
            )
            collection.reembed()
            assert_kept(collection, before, gone)
        space = choose.choice(["pca", "embedding", "pca", "tsne" if step % 10 == 0 else "pca"])
        result = collection.cluster(k=choose.randint(10, 20), seed=step, space=space)
        assert set(result.frozen) == ids
        assert_kept(collection, before, gone)
    assert {row.id: row.folder for row in collection.clusters() if row.id in ids} == folders
    assert collection.links(check=True).in_step
    assert collection.doctor().ok


@pytest.mark.parametrize(
    "wrong",
    ["7", " 12 ", "1 2 3", "\u0663\u0664", "\uff17", "\u00b2", "7_0", "+7", "\u0967 \u0968"],
)
def test_a_number_is_no_name(open_collection: Open, drop: Path, wrong: str) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    first, second = [row.id for row in collection.clusters()][:2]
    with pytest.raises(UsageError, match="is a number, and a number is an id"):
        collection.name_cluster(first, wrong)
    with pytest.raises(UsageError, match="is a number, and a number is an id"):
        collection.merge_clusters([first, second], name=wrong)
    assert inside(collection).current().provisional
    assert collection.name_cluster(first, "7 cats").name == "7 cats"


@pytest.mark.parametrize(
    "name", ["👩🏿\u200d🚀", "می\u200cخواهم", "\U0001fae8", "1\ufe0f\u20e3", "海\u3000辺"]
)
def test_names_of_joined_letters_and_emoji(open_collection: Open, drop: Path, name: str) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    first = collection.clusters()[0].id
    collection.name_cluster(first, name)
    assert {row.id: row.name for row in collection.clusters()}[first] == name
    for bad in ("a\u200db", "\u200d", "x\u202ey", "a\tb", "\ue000"):
        with pytest.raises(UsageError, match="control characters"):
            collection.name_cluster(first, bad)


def test_a_name_makes_clusters_final_and_release_keeps_it(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    number = inside(collection).current().id
    cluster = collection.clusters()[0].id
    assert collection.name_cluster(cluster, "cats").frozen
    current = inside(collection).current()
    assert (current.id, current.provisional) == (number, False)
    released = collection.name_cluster(cluster, None, release=True)
    assert (released.name, released.frozen) == ("cats", False)
    assert collection.cluster(k=1).k == 1
    with pytest.raises(UsageError, match="cannot be combined"):
        collection.name_cluster(cluster, "dogs", release=True)
    with pytest.raises(UsageError, match="the name is empty"):
        collection.merge_clusters([cluster, cluster], name=" ")


def test_a_name_is_given_once(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    collection.cluster(k=4)
    ids = [row.id for row in collection.clusters()]
    others = [open_collection(create_for=None) for _ in ids]
    failed: list[str] = []
    for one, cluster in zip(others, ids, strict=True):
        try:
            one.name_cluster(cluster, "cats")
        except UsageError as error:
            failed.append(str(error))
    assert len(failed) == len(ids) - 1
    assert [row.name for row in collection.clusters()].count("cats") == 1


def test_named_clusters_of_an_older_catalog_are_frozen(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    raw = apsw.Connection(str(path))
    for step in MIGRATIONS[:2]:
        raw.execute(step)
    raw.execute("PRAGMA user_version = 2")
    raw.execute(f"PRAGMA application_id = {0x696D6763}")
    raw.execute("INSERT INTO recipes VALUES (1, 'r')")
    raw.execute("INSERT INTO clusters (id, name) VALUES (1, 'cats'), (2, NULL), (3, 'gone')")
    for number in (1, 2):
        raw.execute(
            "INSERT INTO clusterings VALUES "
            "(?, 1, NULL, 0, 0, 1, 'pca', 2, 'knee', 0, 0, 0, 1, NULL, 0, 2, 1, x'00', '{}')",
            (number,),
        )
    raw.execute("INSERT INTO settings VALUES ('current_clustering', '2')")
    for clustering, position, cluster in ((1, 0, 3), (1, 1, 2), (2, 0, 1), (2, 1, 2)):
        raw.execute(
            "INSERT INTO clustering_clusters VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0)",
            (clustering, position, cluster),
        )
    raw.close()
    with Catalog(path) as catalog:
        assert catalog.clusterings.frozen() == (1,)
        assert catalog.clusterings.names() == {1: "cats", 3: "gone"}
        assert catalog.clusterings.current_fit() == (2, False)
        assert catalog.checking.frozen_and_lost(2) == []
        assert catalog.damage() == []


# On the command line


def test_commands(run: Run, drop: Path) -> None:
    assert run("watch", "--once", "-q", drop).code == 0
    assert run("cluster", "-k", "4", "-q").code == 0
    rows = run("clusters", "--json").document["clusters"]
    assert [row["frozen"] for row in rows] == [False] * 4
    first, second = (str(row["id"]) for row in rows[:2])
    assert run("clusters", "name", first, "cats", "--json").document["frozen"] is True
    assert "its images stay in it" in run("clusters", "name", second, "dogs").out
    assert run("clusters", "show", first, "--json").document["frozen"] is True
    assert "  frozen" in run("clusters").out
    said = run("cluster", "-k", "1").refused(2)
    assert "k = 1 is less than the 2 named clusters" in said
    dry = run("cluster", "-k", "3", "--dry-run", "--fresh")
    assert "2 named clusters would be kept as they are" in dry.out
    done = run("cluster", "-k", "3", "--fresh", "--json").document
    assert done["frozen"] == [int(first), int(second)]
    assert run("cluster", "--undo", "--fresh").refused(2)
    assert "a number is an id" in run("clusters", "name", first, "12").refused(2)
    assert "no name given" in run("clusters", "name", first).refused(2)
    assert "cannot be combined" in run("clusters", "name", first, "x", "--release").refused(2)
    assert "cannot be combined" in run("clusters", "name", first, "", "--release").refused(2)
    merged = run("clusters", "merge", first, second)
    assert "; the name ends: " in merged.out
    assert run("cluster", "--undo").code == 0
    names = {row["id"]: row["name"] for row in run("clusters", "--json").document["clusters"]}
    assert (names[int(first)], names[int(second)]) == ("cats", "dogs")
    free = run("clusters", "name", first, "--release", "--json").document
    assert (free["name"], free["frozen"]) == ("cats", False)
    assert run("clusters", "name", second, "", "--json").document["frozen"] is False
