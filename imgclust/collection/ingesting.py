"""Putting an ingest together: lock, recipe, workers, watcher, index, links, clusterings."""

from __future__ import annotations

import contextlib
import os
import stat as stat_bits
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust import devices, weights
from imgclust.catalog import Catalog, key_of
from imgclust.collection import folders
from imgclust.embedding import Embedder, Recipe, open_embedder, recipe_of
from imgclust.errors import (
    ImgclustError,
    LockedError,
    NothingThereError,
    RecipeError,
    StoppedError,
    StorageError,
    UsageError,
)
from imgclust.images import Decoded, DecodePool, claim
from imgclust.ingest import (
    Counts,
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

# How often `add` looks whether the watcher has taken its paths.
_WAIT_S = 0.2


def watch(
    collection: Collection,
    paths: Sequence[bytes],
    emit: Emit,
    *,
    once: bool,
    links: Path | None,
    cluster: bool,
) -> IngestResult:
    """See `Collection.watch`."""
    catalog = collection.catalog
    roots = [_root(path) for path in paths]
    _choose_links(collection, links)
    for root in roots:
        _keep_apart(collection, root)
    with _ingest_lock(collection):
        with catalog.transaction():
            for root in roots:
                catalog.images.put_root(root, "watched")
        watched = [root for root in catalog.images.roots() if root.kind == "watched"]
        if not watched:
            raise UsageError(
                f"the collection {collection.name!r} watches no folder yet; "
                "name one: imgclust watch FOLDER"
            )
        for known in watched:
            if known.path not in roots and not os.path.isdir(known.path):
                emit(Event("trouble", "this folder is not there now", known.path))
        return _run(collection, emit, once=once, scan=True, cluster=cluster)


def add(
    collection: Collection, paths: Sequence[bytes], emit: Emit, *, cluster: bool
) -> IngestResult:
    """See `Collection.add`."""
    if not paths:
        raise UsageError("add what? name at least one file or folder")
    catalog = collection.catalog
    tops: list[tuple[bytes, bool]] = []
    for path in paths:
        absolute = os.path.abspath(path)
        try:
            mode = os.stat(absolute).st_mode
        except OSError as error:
            raise UsageError(f"{os.fsdecode(absolute)} cannot be added: {error.strerror}") from None
        if not stat_bits.S_ISDIR(mode) and not stat_bits.S_ISREG(mode):
            raise UsageError(f"{os.fsdecode(absolute)} is neither a file nor a folder")
        real = os.path.realpath(absolute)
        _keep_apart(collection, real)
        tops.append((real, stat_bits.S_ISDIR(mode)))
    _choose_recipe(collection, waiting=len(tops))
    requested: list[bytes] = []
    with catalog.transaction():
        for top, is_folder in tops:
            root = catalog.images.put_root(top, "added").id
            for file in _files(top, emit) if is_folder else [top]:
                catalog.observations.request(file, root)
                requested.append(file)
    try:
        with _ingest_lock(collection):
            return _run(collection, emit, once=True, scan=False, cluster=cluster)
    except LockedError:
        emit(Event("note", "a watcher is running; it takes the files"))
        return _wait_for_watcher(collection, requested)


def retry(collection: Collection, paths: Sequence[bytes], emit: Emit) -> IngestResult:
    """See `Collection.retry`."""
    catalog = collection.catalog
    wanted = [row.path for row in catalog.observations.quarantined()]
    if paths:
        asked = {os.path.abspath(path) for path in paths}
        unknown = asked - set(wanted)
        if unknown:
            name = os.fsdecode(min(unknown))
            raise NothingThereError(f"{name} is not in quarantine; see imgclust quarantine")
        wanted = sorted(asked)
    if not wanted:
        raise NothingThereError("nothing is in quarantine")
    with catalog.transaction():
        for path in wanted:
            known = catalog.observations.at(path)
            if known is not None:
                catalog.observations.request(path, known.root)
                catalog.observations.forget(path)
    try:
        with _ingest_lock(collection):
            return _run(collection, emit, once=True, scan=False, cluster=True)
    except LockedError:
        emit(Event("note", "a watcher is running; it reads the files again"))
        return _wait_for_watcher(collection, wanted)


def embed_file(collection: Collection, path: bytes) -> npt.NDArray[np.float32]:
    """Embedding `(d,)` of a file that the collection does not hold.

    Raises
    ------
    ImgclustError
        When the file cannot be read as an image, with the reason.
    """
    outcome = claim(path, thumbnail_px=0)
    if not isinstance(outcome, Decoded):
        reason = getattr(outcome, "reason", "it is no image of a known kind")
        raise ImgclustError(f"{os.fsdecode(path)} cannot be used: {reason}")
    embedder = _embedder_opener(collection)()
    return np.asarray(embedder.embed(outcome.pixels[None])[0], np.float32)


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


def _run(
    collection: Collection, emit: Emit, *, once: bool, scan: bool, cluster: bool
) -> IngestResult:
    """Run an ingest; the caller holds the ingest lock."""
    _require_packages()
    catalog, settings = collection.catalog, collection.settings
    # Workers start first: they share nothing with what is loaded later.
    workers = settings.decode.workers or max(1, min(4, devices.cpu_count()))
    pool = _pool(collection, workers)
    try:
        _choose_recipe(collection, waiting=_waiting(collection) if scan else 0)
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
            open_embedder=_embedder_opener(collection),
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


def _require_packages() -> None:
    devices.require("faiss")
    devices.require("tensorflow")


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


def _choose_recipe(collection: Collection, *, waiting: int) -> None:
    """Settle on weights at the first ingest; later, check that they are still the same."""
    catalog = collection.catalog
    if catalog.setting("recipe") is not None:
        _ = collection.recipe
        return
    wanted = collection.settings.embedding
    chosen = weights.choose(
        wanted.weights,
        cache=folders.cache_folder() / "weights",
        say=collection.say,
        accept_trunk=lambda reason: collection.accept_trunk(reason, waiting),
        progress=collection.progress,
        stop=collection.stop,
    )
    recipe = recipe_of(chosen, raw=wanted.raw)
    with catalog.transaction():
        catalog.store("recipe", recipe.name)
        catalog.store(
            "weights",
            {"name": chosen.name, "path": str(chosen.path.absolute()), "sha256": chosen.sha256},
        )


def _embedder_opener(collection: Collection) -> Callable[[], Embedder]:
    """What loads the network of the collection's recipe, in any thread: the catalog is read now.

    The loader raises RecipeError when the weights are not those of the recipe any more.
    """
    _require_packages()
    recipe = Recipe.parse(collection.recipe)
    kept = collection.catalog.setting("weights")
    rules = collection.settings.embedding

    def load() -> Embedder:
        chosen = weights.choose(
            kept["path"] if kept["name"] == "file" else kept["name"],
            cache=folders.cache_folder() / "weights",
            say=collection.say,
            progress=collection.progress,
        )
        if chosen.sha256 != recipe.weights_sha256:
            raise RecipeError(
                f"the collection was embedded with weights {recipe.weights_sha256[:12]}, but "
                f"{chosen.name} is {chosen.sha256[:12]} now; embeddings of two recipes never mix"
            )
        return open_embedder(
            chosen,
            recipe=recipe,
            cache=folders.cache_folder() / "networks",
            device=rules.device,
            precision=rules.precision,
            engine=rules.engine,
            say=collection.say,
        )

    return load


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


def _root(path: bytes) -> bytes:
    real = os.path.realpath(path)
    shown = os.fsdecode(path)
    if not os.path.lexists(path):
        raise UsageError(f"the folder {shown} does not exist")
    if not os.path.isdir(real):
        raise UsageError(f"{shown} is not a folder; use imgclust add {shown} for a file")
    if not os.access(real, os.R_OK | os.X_OK):
        raise UsageError(f"the folder {shown} cannot be read; check its permissions")
    return real


def our_folders(collection: Collection) -> list[bytes]:
    """Real paths of the folders that ingest never enters."""
    return [
        os.path.realpath(os.fsencode(folder))
        for folder in (collection.folders.root, collection.link_folder)
    ]


def _keep_apart(collection: Collection, path: bytes) -> None:
    for ours in (collection.folders.root, collection.link_folder):
        if folders.overlaps(os.fsencode(ours), path):
            raise UsageError(
                f"{os.fsdecode(path)} and our own folder {ours} lie inside each other; "
                "links of links would be ingested: choose other folders"
            )


def _choose_links(collection: Collection, links: Path | None) -> None:
    """Keep the link folder that a new collection is given."""
    if links is None:
        return
    wanted = Path(os.path.abspath(links.expanduser()))
    catalog = collection.catalog
    if catalog.setting("link_folder") is None and not catalog.images.count():
        for root in catalog.images.roots():
            if folders.overlaps(os.fsencode(wanted), root.path):
                raise UsageError(
                    f"the link folder {wanted} and the images in {os.fsdecode(root.path)} lie "
                    "inside each other; choose another place with --links DIR"
                )
        with catalog.transaction():
            catalog.store("link_folder", os.fsencode(wanted).hex())
    elif wanted != collection.link_folder:
        raise UsageError(
            f"the links of this collection are in {collection.link_folder}; "
            f"imgclust links --links {links} moves them"
        )


@contextlib.contextmanager
def _ingest_lock(collection: Collection) -> Iterator[None]:
    with FileLock(collection.folders.lock("ingest"), purpose="ingesting into"):
        yield


def is_watching(collection: Collection) -> bool:
    """True when a process ingests into the collection now."""
    return is_locked(collection.folders.lock("ingest"))


def _files(top: bytes, emit: Emit) -> Iterator[bytes]:
    def trouble(folder: bytes, reason: str) -> None:
        emit(Event("trouble", f"cannot be read: {reason}", folder))

    for path, _ in LocalDisk().scan(top, skip=(), trouble=trouble):
        yield path


def _wait_for_watcher(collection: Collection, paths: Sequence[bytes]) -> IngestResult:
    """Wait until the watcher has taken the requested paths in; count from the catalog."""
    catalog = collection.catalog
    began = time.monotonic()
    sequence = catalog.contents.sequence()
    before = {path for path in paths if catalog.images.at(path) is not None}
    waiting: list[bytes] = list(paths)
    while waiting:
        collection.progress("waiting for the watcher", len(paths) - len(waiting), len(paths))
        if collection.stop.wait(_WAIT_S):
            raise StoppedError("interrupted; the watcher takes the queued files all the same")
        if not is_watching(collection):
            raise ImgclustError(
                "the watcher has ended; the files are queued, run imgclust watch or add again"
            )
        waiting = [path for path in waiting if not _at_rest(catalog, path)]
    while catalog.images.queued_links(1)[1] and is_watching(collection):
        if collection.stop.wait(_WAIT_S):
            break
    fresh = {
        content
        for _, content, action in catalog.contents.changes_after(sequence, 10**9)
        if action == "add"
    }
    counts = Counts(seen=len(paths))
    for path in paths:
        image = catalog.images.at(path)
        known = catalog.observations.at(path)
        if image is not None and image.content in fresh:
            fresh.discard(image.content)
            counts.ingested += 1
        elif image is not None:
            counts.unchanged += path in before
            counts.reused += path not in before
        elif known is not None:
            counts.skipped += known.state == "skipped"
            counts.quarantined += known.state == "quarantined"
    return counts.result(seconds=time.monotonic() - began)


def _at_rest(catalog: Catalog, path: bytes) -> bool:
    if catalog.observations.is_requested(path):
        return False
    known = catalog.observations.at(path)
    return known is None or known.state != "seen"
