"""Putting an ingest together: workers, watcher, index, links, clusterings."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from imgclust import devices, reembed
from imgclust.catalog import key_of
from imgclust.clusters import ArrivalAssigner, Automatic, ClusterResult
from imgclust.collection import link_folder
from imgclust.collection.context import MANY_IMAGES, Opened
from imgclust.collection.embedder import choose_recipe, embedder_opener, require_packages
from imgclust.collection.finishing import finish_links
from imgclust.collection.root_list import moved_folders
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
from imgclust.ingest.environment import has_excluded_name
from imgclust.links import Linking
from imgclust.watcher import Watcher, is_network

if TYPE_CHECKING:
    from imgclust.search import LiveIndex

# How often a watcher holds the whole link folder against the catalog (10 s at 100,000 links).
_WHOLE_TREE_S = 6 * 3600.0
# How long a watcher is at the links before it looks after what comes in again, and how often it
# renames folders whose name holds the number of their images.
_LINKS_S = 0.5
_RECOUNT_S = 600.0
# How often a watcher makes the pages of folders that have changed.
_PAGES_S = 60.0


@dataclass
class _Keeper:
    """What an ingest does after each commit: index, thumbnails, links."""

    collection: Opened
    live: LiveIndex
    emit: Emit
    said: set[str] = field(default_factory=set)
    checked: float = field(default_factory=time.monotonic)
    counted: float = field(default_factory=time.monotonic)
    paged: float = field(default_factory=time.monotonic)

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
        """Sync some of what is queued, now and then everything; False when another is at it."""
        linking = self.collection.linking()
        now = time.monotonic()
        self._pages(linking, now)
        whole = now - self.checked >= _WHOLE_TREE_S
        recount = linking.counts_images and now - self.counted >= _RECOUNT_S
        if not whole and not recount and not linking.queued:
            return True
        # What was committed before a stop is linked all the same; copying it may take long.
        stopping = self.collection.stop.is_set() and linking.mode != "copy"
        stop = None if stopping else self.collection.stop
        try:
            fell_back = linking.advance(budget_s=_LINKS_S, whole=whole, recount=recount, stop=stop)
        except (LockedError, StoppedError):
            return False
        except (StorageError, OSError) as error:
            self._once("links", f"{error}; the links are brought in step later")
            return False
        except UsageError as error:
            self._once("links", str(error))
            return False
        self.said.discard("links")
        if fell_back:
            self._once("fell back", fell_back)
        self.checked = now if whole else self.checked
        self.counted = now if recount else self.counted
        return True

    def _pages(self, linking: Linking, now: float) -> None:
        """Make pages again, some at a time, when the links are in step."""
        if now - self.paged < _PAGES_S or linking.queued:
            return
        try:
            if link_folder.write(self.collection, budget_s=_LINKS_S):
                self.paged = now
        except (LockedError, StoppedError):
            return
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            self.paged = now
            self._once("pages", f"the pages of the link folder are made later: {error}")

    def _once(self, what: str, sentence: str) -> None:
        if what not in self.said:
            self.said.add(what)
            self.emit(Event("trouble", sentence))


def run(collection: Opened, emit: Emit, *, once: bool, scan: bool, cluster: bool) -> IngestResult:
    """Run an ingest; the caller holds the ingest lock."""
    require_packages()
    with contextlib.ExitStack() as stack:  # no start that fails leaves a process or thread behind
        ingest = _prepared(collection, emit, stack, once=once, scan=scan, cluster=cluster)
        collection.counted = ingest.result
        try:
            result = ingest.run(once=once, scan=scan)
        finally:
            collection.counted = None
    if not collection.stop.is_set():
        finish_links(collection)
    if once and collection.stop.is_set():
        raise StoppedError("interrupted; what was ingested is kept, the same command goes on")
    if once and (result.ingested or result.reused):
        result = replace(result, suggestions=moved_folders(collection.catalog))
    return result


def _prepared(
    collection: Opened,
    emit: Emit,
    stack: contextlib.ExitStack,
    *,
    once: bool,
    scan: bool,
    cluster: bool,
) -> Ingest:
    """The ingest with all its parts; what must be closed after it is on the stack."""
    catalog, settings = collection.catalog, collection.settings
    # Workers start first: they share nothing with what is loaded later.
    wanted = settings.embedding
    workers = settings.decode.workers or devices.decode_workers(
        device=wanted.device, engine=wanted.engine
    )
    decoder = pool(collection, workers)
    stack.callback(decoder.close)
    choose_recipe(collection, waiting=_waiting(collection, scan=scan))
    live = collection.open_index(catalog, verify=not once)
    stack.callback(live.close, save=True)
    keeper = _Keeper(collection, live, emit)
    assigner = ArrivalAssigner(catalog)
    assigner.catch_up(collection.recipe)
    collection.recluster().drop_unfinished()
    with contextlib.suppress(StoppedError):  # the next one goes on
        reembed.drop_retired(catalog, progress=collection.progress, stop=collection.stop)
    automatic = Automatic(
        catalog,
        path=collection.folders.catalog,
        recipe=collection.recipe,
        settings=settings,
        make=collection.recluster,
        tell=lambda result: emit(Event("clustered", _clustered(result))),
        stop=collection.stop,
    )
    stack.callback(automatic.close)
    ours = collection.our_folders()
    watched = [root for root in catalog.roots.all() if root.kind == "watched"]
    network = {
        root.id for root in catalog.roots.all() if settings.watch.polling or is_network(root.path)
    }
    return Ingest(
        catalog,
        Parts(
            decoder=decoder,
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


def _no_clusters(*, empty: bool, over: bool) -> None:
    """Make no clustering."""


def _clustered(result: ClusterResult) -> str:
    return "; ".join((f"{result.k} clusters ({result.sentence})", *result.notes))


def pool(collection: Opened, workers: int) -> DecodePool:
    """Decode workers by the settings of the collection; they start at once."""
    rules = collection.settings.decode
    return DecodePool(
        workers=workers,
        thumbnail_px=rules.thumbnail_px if rules.thumbnails else 0,
        time_limit_s=rules.time_limit_s,
        memory_limit_bytes=rules.memory_limit_mb << 20,
        size_cap_bytes=rules.size_cap_mb << 20,
        pixel_cap=rules.pixel_cap_mp * 1_000_000,
    )


def _waiting(collection: Opened, *, scan: bool) -> int:
    """Files asked for and (`scan`) in the roots, counted until they are more than `MANY_IMAGES`."""
    catalog = collection.catalog
    disk, count = LocalDisk(), len(catalog.requests.oldest(MANY_IMAGES + 1))
    for root in catalog.roots.all():
        if root.kind != "watched" or not scan or count > MANY_IMAGES:
            continue
        for _ in disk.scan(root.path, skip=collection.our_folders(), trouble=lambda *_: None):
            count += 1
            if count > MANY_IMAGES:
                return count
    return count
