"""Putting an ingest together: workers, watcher, index, links, clusterings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgclust import devices
from imgclust.catalog import Catalog, key_of
from imgclust.collection.networks import choose_recipe, embedder_opener, require_packages
from imgclust.embedding import Recipe
from imgclust.errors import (
    LockedError,
    StoppedError,
    StorageError,
    UsageError,
)
from imgclust.images import Decoded, DecodePool
from imgclust.ingest import (
    Emit,
    Event,
    Ingest,
    IngestResult,
    LocalDisk,
    Parts,
)
from imgclust.ingest.place import has_excluded_name
from imgclust.linking import LinksResult
from imgclust.locks import FileLock, is_locked
from imgclust.recluster import ArrivalAssigner, Automatic, ClusterResult
from imgclust.search import LiveIndex
from imgclust.watcher import Watcher, is_network

if TYPE_CHECKING:
    from imgclust.collection.collection import Collection


def live_index(collection: Collection, catalog: Catalog, *, verify: bool) -> LiveIndex:
    """The index of a collection, in step with its catalog."""
    devices.require("faiss")
    recipe = Recipe.parse(collection.recipe)
    wanted = collection.settings.index.device
    return LiveIndex(
        catalog,
        collection.folders.index_file,
        recipe=recipe.name,
        dimensions=recipe.dimensions,
        aside=collection.folders.aside,
        device="cpu" if wanted == "cpu" else devices.choose(wanted, devices.faiss_gpus()),
        verify=verify,
        say=collection.say,
    )


@dataclass
class _Keeper:
    """What an ingest does after each commit: index, thumbnails, links."""

    collection: Collection
    live: LiveIndex
    emit: Emit
    said: set[str] = field(default_factory=set)

    def after_commit(self, fresh: Sequence[Decoded]) -> None:
        """Store thumbnails, bring the index up to date, save it when that is due."""
        store = self.collection.thumbnails()
        for decoded in fresh:
            if decoded.thumbnail is not None:
                with contextlib.suppress(OSError):  # a cache
                    store.put(key_of(decoded.sha256), decoded.thumbnail)
        self.live.top_up()
        rules = self.collection.settings.index
        self.live.save_when_due(least=rules.checkpoint_images, share=rules.checkpoint_share)

    def links(self) -> bool:
        """Sync what is queued; False when another process is at it."""
        linking = self.collection.linking()
        if not linking.queued:
            return True
        try:
            self._say(linking.sync(wait_s=0.0, stop=None))
        except LockedError:
            return False
        except StorageError as error:
            self._once("links", f"{error}; the links are brought in step later")
            return False
        except UsageError as error:
            self._once("links", str(error))
            return False
        self.said.discard("links")
        return True

    def _say(self, result: LinksResult) -> None:
        if result.fell_back:
            self._once("fell back", result.fell_back)

    def _once(self, what: str, sentence: str) -> None:
        if what not in self.said:
            self.said.add(what)
            self.emit(Event("trouble", sentence))


def run(
    collection: Collection, emit: Emit, *, once: bool, scan: bool, cluster: bool
) -> IngestResult:
    """Run an ingest; the caller holds the ingest lock."""
    require_packages()
    catalog, settings = collection.catalog, collection.settings
    # Workers start first: they share nothing with what is loaded later.
    workers = settings.decode.workers or max(1, min(4, devices.cpu_count()))
    pool = _pool(collection, workers)
    try:
        choose_recipe(collection, waiting=_waiting(collection) if scan else 0)
        live = live_index(collection, catalog, verify=not once)
    except BaseException:
        pool.close()
        raise
    keeper = _Keeper(collection, live, emit)
    assigner = ArrivalAssigner(catalog)
    assigner.catch_up(collection.recipe)
    collection.recluster().drop_unfinished()
    automatic = Automatic(
        catalog,
        path=collection.folders.catalog,
        recipe=collection.recipe,
        settings=settings,
        make=collection.recluster,
        tell=lambda result: emit(Event("clustered", _clustered(result))),
    )
    ours = our_folders(collection)
    watched = [root for root in catalog.images.roots() if root.kind == "watched"]
    network = {
        root.id
        for root in catalog.images.roots()
        if settings.watch.polling or is_network(root.path)
    }
    ingest = Ingest(
        catalog,
        Parts(
            decoder=pool,
            open_embedder=embedder_opener(collection),
            assigner=assigner,
            after_commit=keeper.after_commit,
            links=keeper.links,
            clusters=automatic if cluster else _no_clusters,
            events=lambda on_path, on_trouble: Watcher(
                [root.path for root in watched],
                on_path,
                on_trouble=on_trouble,
                polling=settings.watch.polling,
                exclude=has_excluded_name,
                skip=ours,
            ),
        ),
        recipe=collection.recipe,
        settings=settings,
        ours=ours,
        network=network,
        workers=workers,
        emit=emit,
        progress=collection.progress,
        stop=collection.stop,
    )
    try:
        result = ingest.run(once=once, scan=scan)
    finally:
        automatic.close()
        live.close(save=True)
    if collection.linking().queued and not collection.stop.is_set():
        with contextlib.suppress(LockedError):
            collection.sync_links()
    if once and collection.stop.is_set():
        raise StoppedError("interrupted; what was ingested is kept, the same command goes on")
    return result


def _no_clusters(*, empty: bool, over: bool) -> None:
    """Make no clustering."""


def _clustered(result: ClusterResult) -> str:
    return f"{result.k} clusters ({result.sentence})"


def _pool(collection: Collection, workers: int) -> DecodePool:
    rules = collection.settings.decode
    return DecodePool(
        workers=workers,
        thumbnail_px=rules.thumbnail_px if rules.thumbnails else 0,
        time_limit_s=rules.time_limit_s,
        memory_limit_bytes=rules.memory_limit_mb << 20,
        size_cap_bytes=rules.size_cap_mb << 20,
        pixel_cap=rules.pixel_cap_mp * 1_000_000,
    )


def _waiting(collection: Collection) -> int:
    """Files in the roots, counted to a thousand and one: many, or not."""
    disk, count = LocalDisk(), 0
    for root in collection.catalog.images.roots():
        if root.kind != "watched":
            continue
        for _ in disk.scan(root.path, skip=our_folders(collection), trouble=lambda *_: None):
            count += 1
            if count > 1000:
                return count
    return count


def our_folders(collection: Collection) -> list[bytes]:
    """Real paths of the folders that ingest never enters."""
    return [
        os.path.realpath(os.fsencode(folder))
        for folder in (collection.folders.root, collection.link_folder)
    ]


@contextlib.contextmanager
def ingest_lock(collection: Collection) -> Iterator[None]:
    """Hold the lock that one ingest at a time holds."""
    with FileLock(collection.folders.lock("ingest"), purpose="ingesting into"):
        yield


def is_watching(collection: Collection) -> bool:
    """True when a process ingests into the collection now."""
    return is_locked(collection.folders.lock("ingest"))
