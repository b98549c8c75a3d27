"""Collections beside other processes: locks held by others, catalogs changed meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import Contents
from imgclust.catalog.images import Image
from imgclust.collection import Collection, Event, embedder, ingest, link_folder, stored_settings
from imgclust.collection import ingest as ingest_module
from imgclust.errors import NothingThereError, StoppedError, StorageError, UsageError
from imgclust.links import syncer
from imgclust.links.syncer import LinkSyncer
from imgclust.locks import FileLock
from imgclust.progress import StopFlag
from imgclust.search.catalog_index import CatalogIndex
from imgclust.weights import resolver
from tests.conftest import Open, inside, write_picture


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "_WAIT_S", 0.01)
    monkeypatch.setattr(link_folder, "_LINKS_WAIT_S", 0.01)


class Releasing(StopFlag):
    """A stop flag that frees a lock when somebody waits: the other process has finished."""

    def __init__(self) -> None:
        super().__init__()
        self.lock: FileLock | None = None

    def wait(self, seconds: float) -> bool:
        if self.lock is not None:
            self.lock.release()
        return super().wait(seconds)


def lock_of(collection: Collection, what: str) -> FileLock:
    """A lock that another process takes."""
    return FileLock(collection.folders.lock(what), purpose="busy with")


def locked(collection: Collection, what: str) -> FileLock:
    """A lock as another process holds it."""
    lock = lock_of(collection, what)
    lock.acquire()
    return lock


def folders_of(collection: Collection) -> set[str]:
    return {folder.name for folder in collection.link_folder.iterdir()}


# Two ingests


def test_an_add_goes_on_alone_when_the_other_ingest_ends(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    lock = locked(collection, "ingest")
    said: list[str] = []

    def emit(event: Event) -> None:
        if event.kind == "note":
            said.append(event.sentence)
            assert (
                inside(collection).catalog.setting("recipe") is None
            )  # chosen under the lock only
            lock.release()

    result = collection.add([drop], emit=emit)
    assert said == ["another process is ingesting; it takes the files"]
    assert (result.seen, result.ingested) == (24, 24)
    assert not inside(collection).catalog.requests.oldest(1)
    assert collection.links(check=True).in_step


def test_an_add_is_content_when_the_other_ingest_takes_its_files(
    open_collection: Open, drop: Path
) -> None:
    collection, other = open_collection(), open_collection()
    other.watch([drop], once=True)
    (drop.parent / "more").mkdir()
    copy = drop.parent / "more" / "copy.png"
    copy.write_bytes((drop / "picture-00.png").read_bytes())
    new = write_picture(drop.parent / "more" / "new.png", 77)
    lock = locked(collection, "ingest")

    def emit(event: Event) -> None:
        if event.kind == "note":
            lock.release()
            other.watch(once=True)

    result = collection.add([copy, new, drop / "picture-01.png"], emit=emit)
    assert (result.seen, result.ingested, result.reused, result.unchanged) == (3, 1, 1, 1)


def test_an_add_can_be_interrupted_while_it_waits(open_collection: Open, drop: Path) -> None:
    stop = StopFlag()
    collection = open_collection(stop=stop)
    with lock_of(collection, "ingest"), pytest.raises(StoppedError, match="stay queued"):
        collection.add([drop], emit=lambda event: stop.set())
    assert len(inside(collection).catalog.requests.oldest(100)) == 24
    assert open_collection().add([drop / "picture-00.png"]).ingested == 24


def test_a_retry_waits_its_turn(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    (drop / "late.png").write_bytes(b"not yet")
    collection.watch([drop], once=True)
    write_picture(drop / "late.png", 88)
    lock = locked(collection, "ingest")
    assert collection.retry(emit=lambda event: lock.release()).ingested == 1


def test_a_recipe_that_was_settled_during_a_download_stays(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    choose = resolver.choose

    def slowly(*words: Any, **options: Any) -> Any:
        with Catalog(collection.folders.catalog) as other, other.transaction():
            other.store("recipe", "the first one")
            other.store("weights", {"name": "trunk", "path": "", "sha256": ""})
        return choose(*words, **options)

    monkeypatch.setattr(resolver, "choose", slowly)
    embedder.choose_recipe(inside(collection), waiting=1)
    assert collection.recipe == "the first one"


# Contents that leave between two statements


def brings_up_to_date(collection: Collection) -> object:
    return len(
        collection.query(
            write_picture(collection.folders.catalog.with_name("asked.png"), 200)
        ).neighbours
    )


LEAVING: list[Callable[[Collection], object]] = [
    lambda one: one.corrections.move([3, 4], to=1, dry_run=True),
    lambda one: one.corrections.exclude([5, 6], of=1, dry_run=True),
    lambda one: one.corrections.questions(5),
    lambda one: one.cluster_details(1),
    lambda one: one.query(7),
    lambda one: one.view(),
    lambda one: one.status(),
    lambda one: one.clusters(),
    lambda one: one.duplicates(),
    brings_up_to_date,
]


def test_contents_that_leave_between_two_statements_are_left_out(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the watcher takes out while a command beside it reads."""
    collection = open_collection()
    collection.watch([drop], once=True)
    collection.view()
    write_picture(drop / "new.png", 99)
    collection.watch(once=True)
    collection.close()
    collection = open_collection()
    left: list[int] = []
    writing: list[Catalog] = []
    there, transaction = Contents.has_embedding, Catalog.transaction

    @contextmanager
    def noted(self: Catalog) -> Iterator[None]:
        writing.append(self)
        try:
            with transaction(self):
                yield
        finally:
            writing.pop()

    def leaving(self: Contents, key: int, recipe: str) -> bool:
        found = there(self, key, recipe)
        if found and not left and not writing:
            left.append(key)
            with Catalog(collection.folders.catalog) as other, other.transaction():
                for image in other.images.with_content(key):
                    other.remove_image(image)
        return found

    monkeypatch.setattr(Catalog, "transaction", noted)
    monkeypatch.setattr(Contents, "has_embedding", leaving)
    gone = 0
    for work in LEAVING:
        left.clear()
        work(collection)
        gone += len(left)
    assert gone >= 4


# The link folder is busy


def test_what_has_succeeded_is_returned_though_the_links_are_busy(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_folder, "_LINKS_PATIENCE_S", 0.0)
    said: list[str] = []
    collection = open_collection(say=said.append)
    collection.watch([drop], once=True, cluster=False)
    (drop / "picture-23.png").unlink()
    collection.watch(once=True, cluster=False)
    with lock_of(collection, "links"):
        assert collection.cluster(k=3).k == 3
        assert collection.name_cluster(1, "blue").name == "blue"
        assert collection.remove(drop / "picture-01.png").path == os.fsencode(
            drop / "picture-01.png"
        )
        assert len(collection.accept_missing()) == 1
        write_picture(drop / "new.png", 99)
        assert collection.watch(once=True).ingested == 1
    assert len(said) == 5
    assert all("the links follow later" in line for line in said)
    collection.sync_links()
    assert collection.links(check=True).in_step


def test_finished_work_waits_for_the_links(open_collection: Open, drop: Path) -> None:
    stop = Releasing()
    said: list[str] = []
    collection = open_collection(stop=stop, say=said.append)
    collection.watch([drop], once=True, cluster=False)
    stop.lock = locked(collection, "links")
    collection.cluster(k=3)
    assert said == []
    assert collection.links(check=True).in_step


def test_a_stop_ends_the_wait_for_the_links(open_collection: Open, drop: Path) -> None:
    stop = StopFlag()
    said: list[str] = []
    collection = open_collection(stop=stop, say=said.append)
    collection.watch([drop], once=True)
    with lock_of(collection, "links"):
        stop.set()
        collection.remove(1)
    assert len(said) == 1
    assert inside(collection).link_syncer().queued


def test_a_stop_ends_a_sync_between_its_rounds(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncer, "_QUEUE", 2)
    monkeypatch.setattr(syncer, "_CONTENTS", 5)
    stop = StopFlag()
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=2)
    inside(collection).link_syncer().clear()
    linked: list[int] = []

    def made(step: str, done: int, total: int | None) -> None:
        linked.append(done)
        if done:  # the first is said before anything is done
            stop.set()

    with pytest.raises(StoppedError):
        inside(collection).link_syncer().sync(whole=True, progress=made, stop=stop)
    assert linked == [0, 2]  # a round is finished, the next is not begun
    steps = inside(collection).catalog.ledger.share_to_review()
    with pytest.raises(StoppedError):
        inside(collection).link_syncer().sync(stop=stop)
    assert inside(collection).catalog.ledger.share_to_review() == steps
    assert inside(collection).catalog.ledger.count() == 2
    collection.sync_links()
    assert collection.links(check=True).in_step
    assert (
        inside(collection).link_syncer().sync(stop=stop).links == 24
    )  # nothing is left to be stopped


def test_a_sync_asks_once_where_the_link_folder_is(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=2)
    asked: list[Path] = []

    def where() -> Path:
        asked.append(collection.link_folder)
        return asked[-1]

    rules = inside(collection).link_rules
    lock = collection.folders.lock("links")
    link_syncer = LinkSyncer(
        inside(collection).catalog, root=where, mode=rules.mode, names=rules, lock=lock
    )
    link_syncer.sync(whole=True)
    assert len(asked) == 1


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), StoppedError("stopped")])
def test_a_link_folder_in_trouble_does_not_end_an_ingest(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    inside(collection).catalog.ledger.queue_links([1])
    said: list[Event] = []
    live = inside(collection).open_index(inside(collection).catalog, verify=False)
    keeper = ingest._Keeper(inside(collection), live, said.append)

    def fail(*_: Any, **options: Any) -> None:
        assert options["stop"] is inside(collection).stop
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(LinkSyncer, "advance", fail)
        assert [keeper.links(), keeper.links()] == [False, False]
    assert [event.kind for event in said] == ["trouble"] * isinstance(error, OSError)
    assert keeper.links()
    live.close(save=False)


def test_changed_links_settings_reach_who_is_running(open_collection: Open, drop: Path) -> None:
    watcher = open_collection()
    watcher.watch([drop], once=True, cluster=False)
    watcher.cluster(k=3)
    assert folders_of(watcher) == {"001", "002", "003"}
    changing = frozenset({"links.folder"})
    other = open_collection(flags={"links.folder": "group {id}"}, changing=changing)
    other.links()
    write_picture(drop / "new.png", 99)
    watcher.watch(once=True)
    watcher.cluster(k=3, seed=4)  # keeps what is kept
    assert {name[:6] for name in folders_of(watcher)} == {"group "}
    assert open_collection().settings.links.folder == "group {id}"
    assert watcher.links(check=True).in_step
    kept = stored_settings.now(inside(watcher).catalog, watcher.settings, changing=changing)
    assert kept.links.folder == watcher.settings.links.folder


# Starts that fail, and refusals that leave nothing behind


def test_a_failed_start_leaves_no_thread_and_no_worker(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    closed: list[bool] = []
    close = CatalogIndex.close

    def fail(path: bytes) -> bool:
        raise OSError(5, "Input/output error")

    def closing(live: CatalogIndex, *, save: bool) -> None:
        closed.append(save)
        close(live, save=save)

    monkeypatch.setattr(ingest, "is_network", fail)
    monkeypatch.setattr(CatalogIndex, "close", closing)
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="Input"):
        collection.watch([drop], once=True)
    assert set(threading.enumerate()) <= before
    assert closed == [True]


def test_a_refused_link_folder_is_not_kept(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    with pytest.raises(UsageError, match="inside each other"):
        collection.watch([drop], once=True, links=drop / "links")
    assert inside(collection).catalog.setting("link_folder") is None
    assert inside(collection).catalog.roots.all() == []
    collection.watch([drop], once=True, links=drop.parent / "elsewhere")
    assert collection.link_folder == drop.parent / "elsewhere"


def test_a_chosen_index_folder_does_not_give_way(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCLUST_INDEX", str(drop / "index"))
    with pytest.raises(UsageError, match="inside each other"):
        open_collection(index=None)
    assert not (drop / "index").exists()


def test_an_id_beyond_64_bits_is_unknown(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    for number in (2**63 - 1, 2**63, 99999999999999999999):
        with pytest.raises(NothingThereError):
            collection.query(number)
        with pytest.raises(NothingThereError):
            collection.remove(number)


def test_a_removed_image_takes_its_thumbnail_along(open_collection: Open, drop: Path) -> None:
    (drop / "copy.png").write_bytes((drop / "picture-00.png").read_bytes())
    collection = open_collection()
    collection.watch([drop], once=True)
    image = inside(collection).catalog.images.at(os.fsencode(drop / "copy.png"))
    assert image is not None
    collection.remove(drop / "copy.png")
    assert inside(collection).thumbnail(image.content) is not None
    collection.remove(drop / "picture-00.png")
    assert inside(collection).thumbnail(image.content) is None


# Roots of added files


def roots_of(collection: Collection) -> dict[str, str]:
    return {os.fsdecode(root.path): root.kind for root in inside(collection).catalog.roots.all()}


def test_added_files_share_the_root_of_their_folder(
    open_collection: Open, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_module, "_CHUNK", 5)
    some, others = tmp_path / "some", tmp_path / "others"
    first = [write_picture(some / f"{seed}.png", seed) for seed in range(100, 107)]
    below = write_picture(others / "deep" / "below.png", 200)
    collection = open_collection()
    assert collection.add(first).ingested == 7
    assert roots_of(collection) == {str(some): "added"}
    assert collection.add([others]).ingested == 1
    below = write_picture(others / "deep" / "late.png", 201)
    assert collection.add([below]).ingested == 1
    collection.watch([drop], once=True)
    assert collection.add([write_picture(drop / "sub" / "x.png", 300)]).ingested == 1
    assert roots_of(collection) == {str(some): "added", str(others): "added", str(drop): "watched"}


def test_an_added_file_that_leaves_its_folder_is_gone_and_a_lost_folder_is_held(
    open_collection: Open, drop: Path, tmp_path: Path
) -> None:
    alone = write_picture(tmp_path / "some" / "alone.png", 100)
    write_picture(tmp_path / "some" / "never-added.png", 101)
    away = write_picture(tmp_path / "disk" / "away.png", 102)
    collection = open_collection()
    collection.add([alone, away])
    alone.unlink()
    away.unlink()  # as after an unmount: the folder is there and empty
    collection.watch([drop], once=True)
    for _ in range(3):
        held = collection.watch(once=True).held
    assert held == ((os.fsencode(away.parent), "the folder is empty"),)
    assert [image.path for image in collection.missing()] == [os.fsencode(away)]


def test_an_image_is_removed_as_it_is_now(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    path = os.fsencode(drop / "picture-02.png")
    at = inside(collection).catalog.images.at

    def looked_up(wanted: bytes) -> Image | None:
        """Nobody else can write between the look and the removal."""
        with Catalog(collection.folders.catalog) as other:
            other._connection.set_busy_timeout(0)
            with pytest.raises(StorageError, match="locked"), other.transaction():
                pass
        return at(wanted)

    monkeypatch.setattr(inside(collection).catalog.images, "at", looked_up)
    assert collection.remove(os.fsdecode(path)).path == path
