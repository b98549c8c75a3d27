"""Reembed: another recipe beside the old, a change in one transaction, resumed after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imgclust import failpoints, reembed
from imgclust.collection import Collection
from imgclust.embedding.recipe import Recipe
from imgclust.errors import ImgclustError, LockedError, RecipeError
from imgclust.locks import FileLock
from tests.command_line import Run
from tests.conftest import Open, inside
from tests.fakes import FakeEmbedder

RAW = {"embedding.raw": True}
RAW_CHANGES = frozenset({"embedding.raw"})
COUNT = 24


@pytest.fixture(autouse=True)
def disarmed() -> object:
    yield
    failpoints.arm("")


def ingested(open_collection: Open, drop: Path) -> Collection:
    one = open_collection()
    one.watch([drop], once=True)
    one.name_cluster(one.clusters()[0].id, "first")
    return one


def other(open_collection: Open, **options: object) -> Collection:
    """The collection, opened to be changed to the raw recipe, in batches of 8."""
    return open_collection(
        flags=RAW | {"embedding.batch": 8}, changing=RAW_CHANGES, create_for=None, **options
    )


def test_the_change(open_collection: Open, drop: Path, embedder: FakeEmbedder) -> None:
    one = ingested(open_collection, drop)
    before = {row.id: (row.name, row.size) for row in one.clusters()}
    one.close()
    embedder.calls.clear()
    changed = other(open_collection)
    result = changed.reembed()
    assert sum(embedder.calls) == result.embedded == result.contents == COUNT
    assert (result.waiting, result.clusters, result.kept) == (0, len(before), len(before))
    assert result.before != result.after
    assert not Recipe.parse(changed.recipe).square_root
    # The stand-in embeds the same whatever the recipe: every image stays where it was.
    assert {row.id: (row.name, row.size) for row in changed.clusters()} == before
    assert inside(changed).catalog.contents.count(changed.recipe) == COUNT
    assert [one.id for one in inside(changed).catalog.clusterings.history()] == [
        inside(changed).current().id
    ]
    assert changed.links(check=True).missing == 0
    assert len(changed.query(1, n=3).neighbours) == 3
    assert changed.doctor().ok
    changed.close()
    # What the collection is now needs no flag any more, and takes arrivals.
    with open_collection(create_for=None) as again:
        assert again.settings.embedding.raw
        assert again.watch((), once=True).unchanged == COUNT


def test_it_goes_on_where_it_was_stopped(
    open_collection: Open, drop: Path, embedder: FakeEmbedder
) -> None:
    one = ingested(open_collection, drop)
    old = one.recipe
    one.close()
    embedder.calls.clear()
    failpoints.arm("reembed.commit=eio@2")
    half = other(open_collection)
    with pytest.raises(OSError, match="failpoint"):
        half.reembed()
    assert inside(half).catalog.setting("recipe") == old
    assert len(half.query(1, n=3).neighbours) == 3  # by the old recipe, meanwhile
    failpoints.arm("")
    plan = half.reembed(dry_run=True)
    assert (plan.waiting, plan.embedded, plan.dry_run) == (COUNT - 16, 0, True)
    embedder.calls.clear()
    assert half.reembed().embedded == COUNT - 16
    assert sum(embedder.calls) == COUNT - 16


def test_a_failure_in_the_change_leaves_all_as_it_was(open_collection: Open, drop: Path) -> None:
    one = ingested(open_collection, drop)
    old, clustering = one.recipe, inside(one).current().id
    one.close()
    failpoints.arm("reembed.change=eio")
    half = other(open_collection)
    with pytest.raises(OSError, match="failpoint"):
        half.reembed()
    assert (inside(half).catalog.setting("recipe"), inside(half).current().id) == (old, clustering)
    assert inside(half).catalog.contents.count(old) == COUNT
    failpoints.arm("")
    assert half.reembed().embedded == 0
    assert half.doctor().ok


def test_files_that_are_gone_or_changed_keep_the_old_recipe(
    open_collection: Open, drop: Path
) -> None:
    one = ingested(open_collection, drop)
    old = one.recipe
    one.close()
    (drop / "picture-03.png").rename(drop / "away.hidden")
    half = other(open_collection)
    with pytest.raises(ImgclustError, match=r"1 of 24 .*picture-03\.png.*missing accept"):
        half.reembed()
    assert inside(half).catalog.setting("recipe") == old
    (drop / "away.hidden").rename(drop / "picture-03.png")
    assert half.reembed().embedded == 1


def test_a_watcher_keeps_it_away(open_collection: Open, drop: Path) -> None:
    one = ingested(open_collection, drop)
    with inside(one).ingest_lock():
        with pytest.raises(LockedError):
            one.reembed()
        assert one.reembed(dry_run=True).waiting == 0


def test_what_a_crash_leaves_of_the_recipe_before_goes_with_the_next_ingest(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ingested(open_collection, drop)
    before = one.recipe
    one.close()
    with monkeypatch.context() as crash:
        crash.setattr(reembed, "drop_old", lambda *_, **__: None)
        other(open_collection).reembed()
    changed = open_collection(create_for=None)
    catalog = inside(changed).catalog
    assert changed.recipe != before
    assert catalog.contents.count(before) == COUNT
    key = next(iter(catalog.contents.shapes()))
    with catalog.transaction():  # begun by a third recipe, and to be gone on with
        catalog.contents.put_embedding(key, "third", np.ones(8, np.float32), "")
    monkeypatch.setattr(reembed, "_CHUNK", 7)
    changed.watch([drop], once=True)
    assert catalog.contents.count(before) == 0
    assert catalog.contents.count(changed.recipe) == COUNT
    assert catalog.contents.count("third") == 1
    assert catalog.setting("retired_recipes") == []


def test_the_way_back_from_a_recipe_whose_removal_was_cut_off(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ingested(open_collection, drop)
    before = one.recipe
    one.close()
    with monkeypatch.context() as crash:
        crash.setattr(reembed, "drop_old", lambda *_, **__: None)
        other(open_collection).reembed()
    back = open_collection(
        flags={"embedding.raw": False, "embedding.batch": 8},
        changing=RAW_CHANGES,
        create_for=None,
    )
    with inside(back).catalog.transaction():
        inside(back).catalog.contents.drop_embeddings(before, limit=20)
    failpoints.arm("reembed.commit=eio@1")
    with pytest.raises(OSError, match="failpoint"):
        back.reembed()
    failpoints.arm("")
    assert inside(back).catalog.contents.count(before) == COUNT - 12
    open_collection(create_for=None).watch([drop], once=True)
    assert back.reembed().embedded == 12
    assert back.recipe == before


def test_without_clusters(open_collection: Open, drop: Path) -> None:
    one = open_collection()
    one.watch([drop], once=True, cluster=False)
    one.close()
    result = other(open_collection).reembed()
    assert (result.clusters, result.embedded) == (None, COUNT)


@pytest.mark.parametrize("work", ["cluster", "sweep", "undo"])
def test_clusters_of_the_recipe_before_come_too_late(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    one = ingested(open_collection, drop)
    begun = inside(one).recluster()
    monkeypatch.setattr(reembed, "drop_old", lambda *_, **__: 0)  # not there yet
    changed = other(open_collection)
    changed.reembed()
    number = inside(changed).current().id
    late = {
        "cluster": lambda: begun.cluster(k="3", space="pca", seed=0),
        "sweep": lambda: begun.sweep(k_min=1, k_max=3, space="pca", seed=0),
        "undo": begun.undo,
    }
    with pytest.raises(RecipeError, match="another recipe"):
        late[work]()
    assert inside(changed).current().id == number
    assert inside(changed).current().recipe == changed.recipe


def test_without_clusters_a_clustering_in_the_making_keeps_it_away(
    open_collection: Open, drop: Path
) -> None:
    one = open_collection()
    one.watch([drop], once=True, cluster=False)
    old = one.recipe
    one.close()
    changed = other(open_collection)
    with (
        FileLock(changed.folders.lock("clustering"), purpose="clustering"),
        pytest.raises(LockedError),
    ):
        changed.reembed()
    assert inside(changed).catalog.setting("recipe") == old


def test_other_weights_are_refused_with_the_command_to_change(
    open_collection: Open, drop: Path
) -> None:
    ingested(open_collection, drop).close()
    one = open_collection(flags={"embedding.weights": "imagenet"}, create_for=None)
    with pytest.raises(RecipeError, match="imgclust reembed"):
        _ = one.recipe


# On the command line


def test_command(run: Run, drop: Path) -> None:
    assert run("watch", "--once", "-q", drop).code == 0
    assert "already" in run("reembed").out
    plan = run("reembed", "--raw", "--dry-run")
    assert "24 of 24 distinct images would be embedded again" in plan.out
    assert "that takes about" in plan.out
    document = run("reembed", "--raw", "-y", "--json").document
    assert list(document) == [
        *("from", "to", "distinct", "embedded", "waiting", "clusters", "kept", "seconds"),
        "dry_run",
    ]
    assert (document["embedded"], document["waiting"]) == (24, 0)
    assert "raw" in document["to"]
    assert run("links", "--check").code == 0
    said = run("reembed", "--no-raw")
    assert "24 distinct images embedded by" in said.out
    assert "continue one from before" in said.out


@pytest.mark.parametrize("weights", ["imagenet", "auto"])
def test_a_dry_run_downloads_nothing(
    run: Run, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    assert run("watch", "--once", "-q", drop).code == 0

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a dry run downloads")

    monkeypatch.setattr("imgclust.weights.resolver.download", refused)
    there = {path for path in tmp_path.rglob("*") if "index" not in path.parts}
    plan = run("reembed", "--weights", weights, "--dry-run")
    assert plan.code == 0
    assert "24 of 24 distinct images would be embedded again" in plan.out
    assert "would be downloaded first (88 MB)" in plan.out
    assert "nan" not in plan.out
    document = run("reembed", "--weights", weights, "--dry-run", "--json").document
    assert (document["waiting"], document["seconds"]) == (24, None)
    assert {path for path in tmp_path.rglob("*") if "index" not in path.parts} == there


def test_killed_in_the_middle(run: Run, drop: Path, tmp_path: Path) -> None:
    assert run("watch", "--once", "-q", drop).code == 0
    code = (
        "from imgclust.collection import embedder\n"
        "from tests.fakes import FakeEmbedder\n"
        "embedder.open_embedder = lambda *_, **__: FakeEmbedder(2048)\n"
        "from imgclust.cli import main\n"
        "raise SystemExit(main(['reembed', '--raw', '-y']))\n"
    )
    environment = os.environ | {"IMGCLUST_EMBEDDING_BATCH": "8"}
    for point in ("reembed.commit=crash@2", "reembed.change=crash"):
        ended = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | {"IMGCLUST_FAILPOINTS": point},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert run("query", "1").code == 0
    document = run("reembed", "--raw", "-y", "--json").document
    assert document["embedded"] == 0  # 16 before the first kill, 8 before the second
    assert run("doctor").code == 0
    assert run("links", "--check").code == 0
