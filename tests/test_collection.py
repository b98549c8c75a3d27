from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imgclust import Collection, paths
from imgclust.collection import Event, find_index_folder, link_folder
from imgclust.collection.context import Context
from imgclust.errors import (
    ImgclustError,
    LockedError,
    NothingThereError,
    RecipeError,
    UsageError,
)
from imgclust.locks import FileLock
from tests.conftest import Open, inside, write_picture
from tests.fakes import FakeEmbedder


def links_of(collection: Collection) -> dict[str, set[str]]:
    """Targets of the links, by folder."""
    found: dict[str, set[str]] = {}
    for folder in sorted(collection.link_folder.iterdir()):
        found[folder.name] = {os.path.realpath(entry) for entry in folder.iterdir()}
    return found


def test_watch_once_takes_everything_in_clusters_and_links(
    open_collection: Open, drop: Path, embedder: FakeEmbedder
) -> None:
    collection = open_collection()
    result = collection.watch([drop], once=True)
    assert (result.seen, result.ingested, result.reused, result.quarantined) == (24, 24, 0, 0)
    assert sum(embedder.calls) == 24
    status = collection.status()
    assert (status.images, status.distinct, status.pending, status.unassigned) == (24, 24, 0, 0)
    assert status.roots == (os.fsencode(drop),)
    linked = [target for targets in links_of(collection).values() for target in targets]
    assert sorted(linked) == sorted(str(path) for path in drop.iterdir())
    assert collection.links(check=True).in_step


def test_a_second_pass_embeds_nothing(
    open_collection: Open, drop: Path, embedder: FakeEmbedder
) -> None:
    open_collection().watch([drop], once=True)
    embedder.calls.clear()
    result = open_collection().watch(once=True)
    assert (result.seen, result.ingested, result.unchanged) == (24, 0, 24)
    assert embedder.calls == []


def test_the_same_bytes_are_embedded_once(
    open_collection: Open, drop: Path, embedder: FakeEmbedder
) -> None:
    (drop / "sub").mkdir()
    for number in range(3):
        target = drop / "sub" / f"picture-{number:02d}.png"
        target.write_bytes((drop / f"picture-{number:02d}.png").read_bytes())
    collection = open_collection()
    result = collection.watch([drop], once=True)
    assert (result.ingested, result.reused) == (24, 3)
    assert sum(embedder.calls) == 24
    # equal base names in one cluster: both are linked
    assert sum(len(targets) for targets in links_of(collection).values()) == 27


def test_a_move_keeps_id_cluster_and_embedding(
    open_collection: Open, drop: Path, embedder: FakeEmbedder
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    before = collection.query(str(drop / "picture-05.png"), n=1).neighbours[0]
    embedder.calls.clear()
    (drop / "elsewhere").mkdir()
    os.rename(drop / "picture-05.png", drop / "elsewhere" / "renamed.png")
    result = collection.watch(once=True)
    after = collection.query(str(drop / "elsewhere" / "renamed.png"), n=1).neighbours[0]
    assert (after.id, after.cluster) == (before.id, before.cluster)
    assert (result.ingested, result.reused, result.missing) == (0, 1, 0)
    assert embedder.calls == []
    assert str(drop / "elsewhere" / "renamed.png") in set().union(*links_of(collection).values())


def test_add_takes_files_and_folders_once(
    open_collection: Open, drop: Path, tmp_path: Path
) -> None:
    collection = open_collection()
    alone = write_picture(tmp_path / "other" / "alone.png", 99)
    assert collection.add([alone]).ingested == 1
    result = collection.add([drop, alone])
    assert (result.seen, result.ingested, result.unchanged) == (25, 24, 1)
    assert collection.status().roots == ()
    assert collection.links(check=True).in_step


def test_query_by_id_path_and_content(open_collection: Open, drop: Path, tmp_path: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    by_path = collection.query(str(drop / "picture-07.png"), n=3, include_self=True)
    first = by_path.neighbours[0]
    assert first.path == os.fsencode(drop / "picture-07.png")
    assert first.score == pytest.approx(1.0, abs=1e-3)
    assert collection.query(first.id, n=3, include_self=True).neighbours == by_path.neighbours
    copy = tmp_path / "copy.png"
    copy.write_bytes((drop / "picture-07.png").read_bytes())
    assert collection.query(str(copy), n=1).neighbours[0].id == first.id
    strangers = collection.query(str(write_picture(tmp_path / "new.png", 7, hue=2)), n=5)
    assert strangers.image is None
    assert len(strangers.neighbours) == 5
    assert (
        collection.query(first.id, min_score=0.9999, include_self=True).neighbours[0].id == first.id
    )


def test_what_cannot_be_queried_is_said(open_collection: Open, drop: Path, tmp_path: Path) -> None:
    collection = open_collection()
    with pytest.raises(NothingThereError, match="no images yet"):
        collection.query("1")
    collection.watch([drop], once=True)
    with pytest.raises(NothingThereError, match="no image has the id 77"):
        collection.query(77)
    with pytest.raises(NothingThereError, match="there is no file"):
        collection.query(str(tmp_path / "absent.png"))
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    with pytest.raises(ImgclustError, match="cannot be used"):
        collection.query(str(text))


def test_embeddings_come_with_ids(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    ids, vectors = collection.embeddings()
    assert ids.tolist() == sorted(ids.tolist())
    assert vectors.shape == (24, 2048)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)


def test_three_plain_groups_are_found_and_keep_their_ids(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    first = collection.cluster(k=3)
    assert sorted(first.sizes.values()) == [8, 8, 8]
    groups = links_of(collection)
    for targets in groups.values():
        assert len({int(Path(target).stem[-2:]) % 3 for target in targets}) == 1
    again = collection.cluster(k=3, seed=5)
    assert again.sizes == first.sizes
    assert (again.moved, again.new, again.gone) == (0, (), ())
    assert links_of(collection) == groups


def test_a_dry_run_changes_nothing(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    before = links_of(collection)
    shown = collection.cluster(k=5, dry_run=True)
    assert (shown.clustering, shown.k, len(shown.new)) == (None, 5, 2)
    assert len(collection.clusters()) == 3
    assert links_of(collection) == before
    done = collection.cluster(k=5)
    assert (done.sizes, done.new, done.moved) == (shown.sizes, shown.new, shown.moved)


def test_undo_goes_back_with_ids_names_and_folders(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    collection.name_cluster(2, "green things")
    before = links_of(collection)
    collection.cluster(k=6)
    late = write_picture(drop / "picture-99.png", 99, hue=0)
    collection.watch(once=True)
    assert collection.undo().new == ()
    after = links_of(collection)
    (gained,) = set().union(*after.values()) - set().union(*before.values())
    assert gained == str(late)
    assert {name: targets - {gained} for name, targets in after.items()} == before
    assert "002-green things" in after


def test_a_named_cluster_keeps_its_folder(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    members = links_of(collection)["001"]
    row = collection.name_cluster(1, "blue / \u00fcber")
    assert row.name == "blue / \u00fcber"
    named = [name for name in links_of(collection) if name.startswith("001-")]
    assert len(named) == 1
    assert "/" not in named[0]
    collection.cluster(k=3, seed=3)
    assert links_of(collection)[named[0]] == members
    with pytest.raises(UsageError, match="already"):
        collection.name_cluster(2, "blue / \u00fcber")
    collection.name_cluster(1, None)
    assert links_of(collection)["001"] == members


def test_arrivals_join_the_cluster_that_they_look_like(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    like = collection.query(str(drop / "picture-01.png"), n=1).neighbours[0].cluster
    events: list[Event] = []
    write_picture(drop / "arrival.png", 500, hue=1)
    collection.watch(once=True, emit=events.append)
    (arrived,) = [event for event in events if event.kind == "ingested"]
    assert arrived.cluster == like
    assert collection.links(check=True).in_step


def test_sweep_is_stored_and_serves_cluster(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    swept = collection.sweep(k_max=8)
    assert swept.k == tuple(range(1, 9))
    assert all(a >= b for a, b in zip(swept.inertia, swept.inertia[1:], strict=False))
    assert swept.chart is not None
    assert swept.chart.read_bytes().startswith(b"\x89PNG")
    result = collection.cluster(k=5)
    assert result.inertia == pytest.approx(swept.inertia[4], rel=1e-5)


def test_k_larger_than_the_number_of_images(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    result = collection.cluster(k=1000)
    assert result.k == 24
    assert "1,000 was asked" in result.sentence


def test_one_image_makes_one_cluster(open_collection: Open, tmp_path: Path) -> None:
    collection = open_collection()
    write_picture(tmp_path / "drop" / "only.png", 1)
    collection.watch([tmp_path / "drop"], once=True)
    assert [row.size for row in collection.clusters()] == [1]
    assert collection.links(check=True).links == 1
    assert collection.view(method="pca").n == 1
    assert collection.view(method="tsne").n == 1


def test_an_empty_folder_is_no_error(open_collection: Open, tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    collection = open_collection()
    assert collection.watch([tmp_path / "drop"], once=True).seen == 0
    with pytest.raises(NothingThereError):
        collection.clusters()
    with pytest.raises(NothingThereError, match="no images"):
        collection.cluster()


def test_maps_are_drawn_and_arrivals_placed(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    first = collection.view(method="pca")
    assert (first.refitted, first.n, first.placed) == (True, 24, 0)
    write_picture(drop / "arrival.png", 500, hue=1)
    collection.watch(once=True)
    second = collection.view(method="pca")
    assert (second.refitted, second.n, second.placed) == (False, 25, 1)
    assert second.path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        collection.view(out=Path("map.pdf"))


def test_quarantine_and_retry(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    good = (drop / "picture-00.png").read_bytes()
    (drop / "cut.png").write_bytes(good[: len(good) // 2])
    (drop / "empty.jpg").write_bytes(b"")
    (drop / "text.jpg").write_text("hello")
    (drop / "notes.xmp").write_text("<x/>")
    result = collection.watch([drop], once=True)
    assert (result.quarantined, result.skipped) == (3, 1)
    reasons = {os.path.basename(row.path): row.reason for row in collection.quarantine()}
    assert len(set(reasons.values())) == 3
    assert collection.status().skipped == {".xmp": 1}
    write_picture(drop / "text.jpg", 600)
    assert collection.retry([drop / "text.jpg"]).ingested == 1
    assert len(collection.quarantine()) == 2
    with pytest.raises(NothingThereError, match="not in quarantine"):
        collection.retry([drop / "text.jpg"])


def test_a_removed_image_stays_away_until_it_is_added(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    path = drop / "picture-03.png"
    before = path.read_bytes()
    collection.remove(str(path))
    assert path.read_bytes() == before
    assert collection.watch(once=True).ingested == 0
    assert collection.status().images == 23
    assert str(path) not in set().union(*links_of(collection).values())
    assert collection.add([path]).ingested == 1


def test_an_index_folder_on_a_network_file_system_is_refused(
    open_collection: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "filesystem_type", lambda path: "nfs4")
    monkeypatch.setattr(paths, "is_network", lambda path: True)
    with pytest.raises(UsageError, match=r"network file system \(nfs4\).*such as --index /"):
        open_collection(index=tmp_path / "far")
    assert not (tmp_path / "far").exists()


def test_output_inside_input_is_refused(open_collection: Open, drop: Path) -> None:
    with pytest.raises(UsageError, match="inside"):
        open_collection(index=drop / "index", create_for=[os.fsencode(drop)])
    collection = open_collection()
    with pytest.raises(UsageError, match="inside each other"):
        collection.watch([drop], once=True, links=drop / "links")
    with pytest.raises(UsageError, match="inside each other"):
        collection.watch([collection.folders.root], once=True)
    (drop.parent / "alias").symlink_to(drop)
    with pytest.raises(UsageError, match="inside"):
        open_collection(index=drop.parent / "alias" / "x", create_for=[os.fsencode(drop)])


def test_a_second_ingest_is_refused(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    program = "import sys, time, imgclust.locks as l, pathlib\n"
    program += "lock = l.FileLock(pathlib.Path(sys.argv[1]), purpose='x'); lock.acquire()\n"
    program += "print('held', flush=True); time.sleep(60)"
    lock = collection.folders.lock("ingest")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            with pytest.raises(LockedError, match=str(holder.pid)):
                collection.watch(once=True)
            assert collection.status().watching
        finally:
            holder.kill()


def test_a_second_clustering_is_refused(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    lock = FileLock(collection.folders.lock("clustering"), purpose="clustering")
    with lock, pytest.raises(LockedError, match="clustering this collection"):
        collection.cluster(k=2)


def test_what_a_collection_is_lives_in_its_catalog(open_collection: Open, drop: Path) -> None:
    open_collection(flags={"links.mode": "copy"}).watch([drop], once=True)
    again = open_collection()
    assert again.settings.links.mode == "copy"
    with pytest.raises(UsageError, match="links --link-mode"):
        open_collection(flags={"links.mode": "symlink"})
    changed = open_collection(flags={"links.mode": "symlink"}, changing=frozenset({"links.mode"}))
    changed.links()
    assert all(
        entry.is_symlink() for folder in changed.link_folder.iterdir() for entry in folder.iterdir()
    )


def test_other_weights_are_refused(open_collection: Open, drop: Path) -> None:
    open_collection().watch([drop], once=True)
    other = open_collection(flags={"embedding.weights": "imagenet"})
    with pytest.raises(RecipeError, match=r"trunk.*imagenet"):
        other.watch(once=True)


def test_links_move_to_another_folder(open_collection: Open, drop: Path, tmp_path: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    old = collection.link_folder
    foreign = old / "001" / "mine.txt"
    foreign.write_text("keep me")
    result = collection.move_links(tmp_path / "elsewhere")
    assert result.links == 24
    assert collection.link_folder == tmp_path / "elsewhere"
    assert foreign.read_text() == "keep me"
    assert [entry.name for entry in old.rglob("*") if not entry.is_dir()] == ["mine.txt"]


def test_nobody_syncs_the_links_while_they_move(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    other = open_collection(index=inside(collection).index_folder.path, create_for=None)
    old = collection.link_folder
    clear = link_folder.clear

    def between(moving: Context) -> None:
        clear(moving)
        with pytest.raises(LockedError):
            inside(other).link_syncer().sync(whole=True, wait_s=0.0)

    monkeypatch.setattr(link_folder, "clear", between)
    collection.move_links(tmp_path / "elsewhere")
    assert not list(old.rglob("*.png"))
    assert other.links(check=True).in_step


def test_a_sync_that_waited_while_the_links_moved_makes_them_in_the_new_place(
    open_collection: Open, drop: Path, tmp_path: Path
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    old = collection.link_folder
    waiting = inside(open_collection()).link_syncer()
    collection.move_links(tmp_path / "elsewhere")
    assert waiting.sync(whole=True).links == 24
    assert not list(old.rglob("*.png"))
    assert collection.links(check=True).in_step


def test_the_index_folder_is_found(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_collection().watch([drop], once=True)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_index_folder(cwd=deep).path == tmp_path / "index"
    monkeypatch.setenv("IMGCLUST_INDEX", str(tmp_path / "other"))
    assert find_index_folder(cwd=deep).path == tmp_path / "other"
    assert find_index_folder(tmp_path / "given").path == tmp_path / "given"
    with pytest.raises(NothingThereError, match=str(tmp_path / "given")):
        Collection.open(tmp_path / "given")


def test_a_damaged_index_file_is_set_aside_and_made_again(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    expected = collection.query(1, n=5)
    collection.close()
    path = collection.folders.index_file
    path.write_bytes(path.read_bytes()[:-100])
    said: list[str] = []
    again = open_collection(say=said.append)
    assert again.query(1, n=5) == expected
    assert len(said) == 1
    assert "set aside" in said[0]
    assert len(list(again.folders.aside.iterdir())) == 1


def test_no_picture_takes_the_place_of_an_image(open_collection: Open, drop: Path) -> None:
    one = open_collection()
    one.watch([drop], once=True)
    original = drop / "picture-03.png"
    link = next(one.link_folder.glob("*/picture-03.png"))
    before = original.read_bytes()
    cluster = one.clusters()[0].id
    for place in (original, link, drop / "new.png"):
        with pytest.raises(UsageError):
            one.view(method="pca", out=place)
        with pytest.raises(UsageError):
            one.query(1, sheet=place)
        with pytest.raises(UsageError):
            one.cluster_details(cluster, sheet=place)
    assert original.read_bytes() == before
    assert link.is_symlink()
    assert not (drop / "new.png").exists()


def test_no_picture_takes_the_place_of_an_added_file(open_collection: Open, drop: Path) -> None:
    one = open_collection()
    original = drop / "picture-03.png"
    before = original.read_bytes()
    one.add([original, drop / "picture-04.png"])
    with pytest.raises(UsageError):
        one.view(method="pca", out=original)
    assert original.read_bytes() == before


def test_a_removed_image_stays_away_though_its_hard_link_goes(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection(flags={"links.mode": "hardlink"})
    images = collection.watch([drop], once=True, cluster=False).ingested
    collection.cluster(k=3)
    assert collection.status().link_mode == "hardlink"
    removed = collection.remove(1)
    assert os.stat(os.fsdecode(removed.path)).st_nlink == 1
    again = collection.watch(once=True, cluster=False)
    assert again.ingested == 0
    assert collection.status().images == images - 1
