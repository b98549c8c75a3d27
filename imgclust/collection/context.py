"""An open collection: its catalog, settings and folders, and the parts that commands work with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from imgclust import devices
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.clusterings import Clustering as StoredClustering
from imgclust.collection import stored_settings
from imgclust.config import Clustering, Effective, Links, Settings
from imgclust.errors import NothingThereError
from imgclust.locks import FileLock, is_locked
from imgclust.paths import Folders, IndexFolder
from imgclust.progress import Monitor, Progress, StopFlag, silent
from imgclust.watcher.exclusion import Exclusion
from imgclust.wording import NO_CLUSTERS

if TYPE_CHECKING:
    from imgclust.clusters.service import Recluster
    from imgclust.clusters.similarity import Similarity
    from imgclust.collection.gallery import Gallery
    from imgclust.collection.query_cache import QueryCache
    from imgclust.embedding.recipe import Embedder
    from imgclust.images.reader import Outcome
    from imgclust.images.thumbnails import ThumbnailStore
    from imgclust.ingest.events import IngestResult
    from imgclust.links.syncer import LinkSyncer
    from imgclust.search.catalog_index import CatalogIndex

# From this many images on, a person is asked before the trunk is used because the download failed.
MANY_IMAGES = 1000


def ignore(event: object) -> None:
    """Listen to nothing."""


class Context:
    """What the methods of an open collection work with; each option as `Collection.open` has it."""

    def __init__(
        self,
        name: str,
        place: Folders,
        index: IndexFolder,
        effective: Effective,
        progress: Progress = silent,
        say: Callable[[str], None] = ignore,
        stop: StopFlag | None = None,
        changing: frozenset[str] = frozenset(),
        ask: Callable[[str], bool] | None = None,
    ) -> None:
        self.name = name
        self.folders = place
        self.index_folder = index
        self._effective = effective
        self.progress = progress
        self.say = say
        self.stop = stop or StopFlag()
        self._ask = ask
        self._changing = changing
        self.catalog = Catalog(place.catalog)
        try:
            self.settings: Settings = stored_settings.settle(
                self.catalog, effective, changing=changing
            )
        except BaseException:
            self.catalog.close()
            raise
        self._index: CatalogIndex | None = None
        # Reads files that are not of the collection; None: this process does.
        self.reader: Callable[..., Outcome] | None = None
        # What queries keep for the next one; None: each begins with nothing.
        self.query_cache: QueryCache | None = None
        # The similarity that was read last, and the clustering and recipe that it belongs to.
        self._similarity: tuple[tuple[int | None, str], Similarity] | None = None
        # The network, once it was needed, and the recipe that all that is loaded belongs to.
        self.network: Embedder | None = None
        self._opened = self._marks()
        # What the pages of a service show, once one was asked for.
        self.gallery: Gallery | None = None
        # Hears how an ingest fares.
        self.monitor = Monitor()
        # What the ingest that runs has done so far.
        self.counted: Callable[[], IngestResult] | None = None

    def close(self) -> None:
        """Close the catalog; nothing happens the second time."""
        if self._index is not None:
            self._index.close(save=False)
            self._index = None
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                self.catalog.explain(error)
        finally:
            self.close()

    @property
    def recipe(self) -> str:
        """See `Collection.recipe`."""
        name = self.catalog.setting("recipe")
        if name is None:
            raise NothingThereError(
                f"the collection {self.name!r} in {self.index_folder.path} has no images yet; "
                "use imgclust add PATH or imgclust watch FOLDER"
            )
        stored_settings.check_weights(self.catalog, self._effective)
        return str(name)

    def _marks(self) -> tuple[int, object]:
        return self.folders.catalog.stat().st_ino, self.catalog.setting("recipe")

    @property
    def is_current(self) -> bool:
        """See `Service.is_current`."""
        with contextlib.suppress(OSError):
            return self._marks() == self._opened
        return False

    @property
    def link_folder(self) -> Path:
        """See `Collection.link_folder`."""
        kept = self.catalog.setting("link_folder")
        if not kept:
            return self.folders.links
        return self.folders.root / os.fsdecode(bytes.fromhex(kept))

    def accept_trunk(self, reason: str, waiting: int) -> bool:
        """Whether the trunk may be used instead of ImageNet's weights that cannot be had.

        Before many images it is said what that means; a person is asked, elsewhere nobody is.
        """
        if waiting <= MANY_IMAGES:
            return True
        meaning = (
            f"more than {MANY_IMAGES:,} images wait, and the built-in weights (trunk) tell "
            "pictures apart less well; to change later, run imgclust reembed --weights imagenet "
            "with a network, which embeds all images again"
        )
        if self._ask is None:
            self.say(meaning)
            return True
        return self._ask(f"{reason}: {meaning}. Continue with the built-in weights?")

    @property
    def link_rules(self) -> Links:
        """The settings of the link folder, with what the collection keeps now."""
        return self.link_rules_of(self.catalog)

    def link_rules_of(self, catalog: Catalog) -> Links:
        """The same, read from another connection to the catalog."""
        return self._settings_now(catalog).links

    def _settings_now(self, catalog: Catalog) -> Settings:
        return stored_settings.now(catalog, self.settings, changing=self._changing)

    @property
    def clustering_rules(self) -> Clustering:
        """How to cluster, with what the collection keeps now, and the space that is next."""
        rules = self._settings_now(self.catalog).clustering
        return replace(rules, space="smoothed") if self.leaves_pca else rules

    @property
    def leaves_pca(self) -> bool:
        """See `stored_settings.moves_to_smoothed`."""
        return stored_settings.moves_to_smoothed(
            self.catalog, self._effective, changing=self._changing
        )

    def changes(self, key: str) -> bool:
        """Whether this setting of the collection is being changed."""
        return key in self._changing

    def settle_space(self, *, moves: bool) -> None:
        """See `stored_settings.settle_space`."""
        stored_settings.settle_space(self.catalog, moves=moves)

    def link_syncer(self, catalog: Catalog | None = None) -> LinkSyncer:
        """The link folder's keeper, with what the collection keeps now."""
        from imgclust.collection import link_corrections
        from imgclust.links.syncer import LinkSyncer

        catalog = catalog or self.catalog
        rules = self.link_rules_of(catalog)
        return LinkSyncer(
            catalog,
            root=lambda: self.link_folder,
            mode=rules.mode,
            names=rules,
            lock=self.folders.lock("links"),
            settle_s=self.settings.watch.settle_s,
            live_since=catalog.setting("watching_since") if self.is_watching else None,
            follow=partial(link_corrections.follow, self) if catalog is self.catalog else None,
        )

    def recluster(self, catalog: Catalog | None = None, progress: Progress = silent) -> Recluster:
        """The maker of clusterings; another thread brings a catalog of its own."""
        from imgclust.clusters.service import Recluster

        return Recluster(
            catalog or self.catalog,
            recipe=self.recipe if catalog is None else str(catalog.setting("recipe")),
            settings=self._settings_now(catalog or self.catalog),
            lock=self.folders.lock("clustering"),
            charts_folder=self.folders.charts,
            progress=progress,
            stop=self.stop,
        )

    @contextlib.contextmanager
    def reclustered(self, *, keep: bool = False) -> Iterator[Recluster]:
        """The maker of clusterings; what it has made is in the link folder when the block ends.

        `keep`: the settings named in `changing` are kept too.
        """
        from imgclust.collection import link_folder

        yield self.recluster(progress=self.progress)
        if keep:
            self.keep()
        if keep and "links.outliers" in self._changing:
            with self.catalog.transaction():
                far = self.catalog.assignments.all_outlying(self.current().id)
                self.catalog.ledger.queue_links_of(far)
        link_folder.finish_links(self)
        link_folder.finish_space(self)

    def current(self) -> StoredClustering:
        """The current clustering.

        Raises
        ------
        NothingThereError
            Before the first.
        """
        clustering = self.catalog.clusterings.current()
        if clustering is None:
            raise NothingThereError(NO_CLUSTERS)
        return clustering

    def similarity(self, clustering: StoredClustering | None) -> Similarity:
        """The similarity that was stored with a clustering, which is read once."""
        from imgclust.clusters.similarity import similarity_of

        wanted = None if clustering is None else clustering.id, self.recipe
        if self._similarity is None or self._similarity[0] != wanted:
            self._similarity = wanted, similarity_of(self.catalog, clustering, self.recipe)
        return self._similarity[1]

    def thumbnail(self, content: int) -> bytes | None:
        """WebP bytes of a content's thumbnail, None where there is none."""
        with contextlib.suppress(OSError):
            return self.thumbnails().get(content)
        return None

    def thumbnails(self) -> ThumbnailStore:
        """The thumbnails of the collection."""
        from imgclust.images.thumbnails import ThumbnailStore

        return ThumbnailStore(self.folders.thumbnails)

    def catalog_index(self) -> CatalogIndex:
        """The index, up to date with the catalog."""
        if self._index is None:
            self._index = self.open_index(self.catalog, mapped=True)
        return self._index

    def query_index(self) -> CatalogIndex:
        """The index for a query, up to date within its `searched`."""
        return (
            self.catalog_index()
            if self.query_cache is None
            else self.query_cache.catalog_index(self)
        )

    def open_index(
        self, catalog: Catalog, *, verify: bool = False, mapped: bool = False
    ) -> CatalogIndex:
        """Open the index beside another connection to the catalog; see `CatalogIndex`."""
        from imgclust.embedding.recipe import Recipe
        from imgclust.search.catalog_index import CatalogIndex

        devices.require("faiss")
        recipe = Recipe.parse(self.recipe)
        wanted = self.settings.index.device
        return CatalogIndex(
            catalog,
            self.folders.index_file,
            recipe=recipe.name,
            dimensions=recipe.dimensions,
            aside=self.folders.aside,
            device="cpu" if wanted == "cpu" else devices.choose(wanted, devices.faiss_gpus()),
            verify=verify,
            mapped=mapped,
            say=self.say,
        )

    def our_folders(self) -> list[bytes]:
        """Real paths of the folders that ingest never enters."""
        ours = (self.folders.root, self.link_folder)
        return [os.path.realpath(os.fsencode(folder)) for folder in ours]

    @property
    def exclusion(self) -> Exclusion:
        """What is left out in the watched folders."""
        rules = self.settings.watch
        return Exclusion(rules.exclude_folders, rules.exclude)

    def ingest_lock(self) -> FileLock:
        """The lock that one ingest at a time holds."""
        return FileLock(self.folders.lock("ingest"), purpose="ingesting into")

    @property
    def is_watching(self) -> bool:
        """Whether a process ingests into the collection now."""
        return is_locked(self.folders.lock("ingest"))

    def keep(self) -> None:
        """Keep in the catalog what the settings say the collection is."""
        stored_settings.keep(self.catalog, self.settings, changing=self._changing)
