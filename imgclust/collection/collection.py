"""Collection: one catalog, its index, its roots and its link folder; a method for each command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from imgclust import config, search
from imgclust.catalog import Catalog, Clustering
from imgclust.collection import (
    describing,
    folders,
    identity,
    ingesting,
    networks,
    overseeing,
    running,
)
from imgclust.collection.folders import Folders, IndexFolder
from imgclust.collection.results import (
    ClusterDetails,
    ClusterRow,
    MissingImage,
    Removed,
    Status,
)
from imgclust.config import Effective, Settings
from imgclust.doctor import DoctorResult
from imgclust.errors import NothingThereError, UsageError
from imgclust.images import ThumbnailStore
from imgclust.ingest import Emit, IngestResult
from imgclust.linking import Linking, LinksResult
from imgclust.maps import MapResult, draw, make_map
from imgclust.progress import Progress, StopFlag, silent
from imgclust.recluster import ClusterResult, Recluster, SweepResult
from imgclust.search import LiveIndex, QueryResult

# From so many images on, a person is asked before the trunk is used for want of a download.
MANY_IMAGES = 1000


def _ignore(event: object) -> None:
    """Listen to nothing."""


class Collection:
    """An open collection.

    Use `Collection.open`; a collection is a context manager, and used by one thread at a time.
    Results are frozen; every failure is an `ImgclustError`.
    """

    def __init__(
        self,
        name: str,
        place: Folders,
        index: IndexFolder,
        effective: Effective,
        *,
        progress: Progress = silent,
        say: Callable[[str], None] = _ignore,
        stop: StopFlag | None = None,
        changing: frozenset[str] = frozenset(),
        ask: Callable[[str], bool] | None = None,
    ) -> None:
        self.name = name
        self.folders = place
        self.index_folder = index
        self._effective = effective
        self._progress = progress
        self._say = say
        self._stop = stop or StopFlag()
        self._ask = ask
        self._changing = changing
        self.catalog = Catalog(place.catalog)
        try:
            self.settings: Settings = identity.settle(self.catalog, effective, changing=changing)
        except BaseException:
            self.catalog.close()
            raise
        self._live: LiveIndex | None = None

    @classmethod
    def open(
        cls,
        index: Path | str | None = None,
        name: str = "default",
        *,
        effective: Effective | None = None,
        create_for: Iterable[Path | str | bytes] | None = None,
        progress: Progress = silent,
        say: Callable[[str], None] = _ignore,
        stop: StopFlag | None = None,
        changing: frozenset[str] = frozenset(),
        ask: Callable[[str], bool] | None = None,
    ) -> Self:
        """Open a collection.

        Parameters
        ----------
        index
            The index folder; see `find_index_folder` for what is used without one.
        name
            Name of the collection.
        effective
            Settings and their origins; by default those of the environment.
        create_for
            Make the collection when it is absent, for images from these folders; without it an
            absent collection is an error.
        progress, say, stop
            Told of long work; gets lines for people; interrupts.
        changing
            Dotted names of kept settings that this use changes.
        ask
            Asks a person a yes-or-no question; None when nobody is there to answer.

        Raises
        ------
        NothingThereError
            When there is no such collection, naming the index folder.
        UsageError, StorageError, CatalogError
            When the place, the disk or the catalog is not right.
        """
        given = None if index is None else Path(index)
        found = folders.find_index_folder(given)
        if create_for is None:
            place = folders.existing(found, name)
        else:
            inputs = [os.fsencode(path) for path in create_for]
            place = folders.prepare(found, name, inputs)
            if place.root.parent != found.path:
                found = IndexFolder(place.root.parent, "outside the images")
                say(f"the index folder is {found.path}, since the default one lies in the images")
        return cls(
            name,
            place,
            found,
            effective or config.load(),
            progress=progress,
            say=say,
            stop=stop,
            changing=changing,
            ask=ask,
        )

    def close(self) -> None:
        """Close the catalog; nothing happens the second time."""
        if self._live is not None:
            self._live.close(save=False)
            self._live = None
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Images in

    def add(
        self, paths: Sequence[Path | str | bytes], *, emit: Emit = _ignore, cluster: bool = True
    ) -> IngestResult:
        """Ingest files, and the files of folders, once; assigned and linked when this returns.

        Beside another process that ingests the paths are queued, and this waits until they are in.

        Raises
        ------
        UsageError
            When a path does not exist, or overlaps with the collection's own folders.
        """
        return ingesting.add(self, [os.fsencode(path) for path in paths], emit, cluster=cluster)

    def watch(
        self,
        roots: Sequence[Path | str | bytes] = (),
        *,
        once: bool = False,
        links: Path | None = None,
        cluster: bool = True,
        emit: Emit = _ignore,
    ) -> IngestResult:
        """Ingest what is in the roots, then what arrives, until stopped.

        Without roots, those that the collection remembers; new ones are remembered. `once` stops
        when all of it is ingested, assigned and linked.

        Raises
        ------
        UsageError
            When a root is no folder, overlaps with our own folders, or none is known.
        LockedError
            When another process ingests into this collection.
        """
        return ingesting.watch(
            self,
            [os.fsencode(root) for root in roots],
            emit,
            once=once,
            links=links,
            cluster=cluster,
        )

    # Questions

    def query(
        self, what: Path | str | int, *, n: int = 10, min_score: float | None = None
    ) -> QueryResult:
        """The images most similar to an image of the collection (id or path) or to a file.

        Raises
        ------
        NothingThereError
            When the collection is empty, or there is no such image.
        """
        if n < 1:
            raise UsageError(f"-n {n}: ask for at least one image")
        recipe = self.recipe
        text = str(what)
        subject = search.known_subject(self.catalog, recipe, text)
        if subject is None:
            vector = networks.embed_file(self, os.fsencode(os.path.abspath(text)))
            subject = search.Subject(vector, None, None)
        return search.neighbours(
            self.catalog, self._index(), subject, what=text, n=n, min_score=min_score
        )

    def embeddings(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Image ids `(n,)`, ascending, and their embeddings `(n, d)` float32, as stored."""
        keys, vectors = self.catalog.contents.all_embeddings(self.recipe)
        row_of = {int(key): row for row, key in enumerate(keys)}
        pairs = [
            (image.id, row_of[image.content])
            for image in self.catalog.images.all()
            if image.content in row_of
        ]
        ids = np.array([image for image, _ in pairs], np.int64)
        return ids, vectors[[row for _, row in pairs]]

    def status(self) -> Status:
        """Counts, the current clustering, roots, links, whether a watcher runs."""
        return overseeing.status(self)

    # Clusters

    def sweep(
        self,
        *,
        k_min: int | None = None,
        k_max: int | None = None,
        space: str | None = None,
        seed: int | None = None,
    ) -> SweepResult:
        """Inertia of every k, the knee, and the elbow picture; the fits are kept."""
        rules = self.settings.clustering
        low = rules.k_min if k_min is None else k_min
        high = (rules.k_max or None) if k_max is None else k_max
        if low < 1 or (high is not None and high < low):
            raise UsageError(f"k from {low} to {high} is no range; use 1 <= k-min <= k-max")
        with self._with_links() as recluster:
            return recluster.sweep(
                k_min=low,
                k_max=high,
                space=_space(space or rules.space),
                seed=rules.seed if seed is None else seed,
            )

    def cluster(
        self,
        *,
        k: int | str | None = None,
        space: str | None = None,
        seed: int | None = None,
        dry_run: bool = False,
    ) -> ClusterResult:
        """Cluster now; ids, names and folders of clusters that stay are kept.

        Parameters
        ----------
        k
            A number, "auto", or None for what the settings say.
        dry_run
            Say what would change, and change nothing.
        """
        rules = self.settings.clustering
        if k is not None and str(k) != "auto" and (not str(k).isdigit() or int(k) < 1):
            raise UsageError(f"k = {k} is neither a number of clusters nor auto")
        with self._with_links(keep=not dry_run) as recluster:
            return recluster.cluster(
                k=str(rules.k if k is None else k),
                space=_space(space or rules.space),
                seed=rules.seed if seed is None else seed,
                chosen_by="config" if k is None else "user",
                dry_run=dry_run,
            )

    def undo(self) -> ClusterResult:
        """Go back to the clustering before the current one."""
        with self._with_links() as recluster:
            return recluster.undo()

    def clusters(self) -> tuple[ClusterRow, ...]:
        """All clusters of the current clustering, by id."""
        return describing.rows(self)

    def cluster_details(self, cluster: int, *, sheet: Path | None = None) -> ClusterDetails:
        """One cluster with representatives, neighbours and members; draws a contact sheet."""
        return describing.details(self, cluster, sheet=sheet)

    def name_cluster(self, cluster: int, name: str | None) -> ClusterRow:
        """Name a cluster (None or "" takes the name away); its folder follows."""
        row = describing.name(self, cluster, name)
        running.finish_links(self)
        return row

    def view(
        self,
        *,
        method: str | None = None,
        dims: int | None = None,
        out: Path | None = None,
        refit: bool = False,
    ) -> MapResult:
        """Draw the map of the collection."""
        chosen = method or self.settings.views.method
        size = dims or self.settings.views.dims
        if chosen not in {"pca", "tsne"} or size not in {2, 3}:
            raise UsageError(f"{chosen} in {size} dimensions is no map; pca or tsne, 2 or 3")
        path = out or self.folders.charts / f"map-{chosen}-{size}d.png"
        if path.suffix.lower() not in {".png", ".svg"}:
            raise UsageError(f"{path.name}: a map is a .png or .svg file")
        drawn = make_map(
            self.catalog,
            recipe=self.recipe,
            settings=self.settings,
            method=chosen,
            dims=size,
            refit=refit,
            progress=self._progress,
            stop=self._stop,
        )
        return draw(
            self.catalog,
            drawn,
            path.absolute(),
            method=chosen,
            thumbnail=self.thumbnail,
            most_thumbnails=self.settings.views.thumbnails,
            collection=self.name,
        )

    # Links, quarantine, missing

    def links(self, *, dry_run: bool = False, check: bool = False) -> LinksResult:
        """Bring the whole link folder in step, or say how far off it is."""
        linking = self.linking()
        if check:
            return linking.check(progress=self._progress, stop=self._stop)
        if dry_run:
            return linking.dry_run()
        result = linking.sync(whole=True, progress=self._progress, stop=self._stop)
        self._keep()
        return result

    def sync_links(self) -> LinksResult:
        """Bring in step what has changed."""
        return self.linking().sync(progress=self._progress, stop=self._stop)

    def move_links(self, to: Path) -> LinksResult:
        """Take our links out of the link folder and make them in another one."""
        return overseeing.move_links(self, to)

    def quarantine(self) -> tuple[Any, ...]:
        """Files that could not be read, with path, reason, tries and since."""
        return tuple(self.catalog.observations.quarantined())

    def retry(
        self, paths: Sequence[Path | str | bytes] = (), *, emit: Emit = _ignore
    ) -> IngestResult:
        """Read quarantined files again: those named, or all."""
        return ingesting.retry(self, [os.fsencode(path) for path in paths], emit)

    def remove(self, what: Path | str | int) -> Removed:
        """Take an image out of the collection; its file is not touched, and not added again."""
        removed, content = overseeing.remove(self, str(what))
        if content is not None:
            with contextlib.suppress(OSError):  # a cache
                self.thumbnails().remove(content)
        running.finish_links(self)
        return removed

    def missing(self) -> tuple[MissingImage, ...]:
        """Images that are not where they were."""
        return overseeing.missing(self)

    def accept_missing(self) -> tuple[MissingImage, ...]:
        """Believe that all missing images are gone; returns them."""
        gone = overseeing.accept_missing(self)
        running.finish_links(self)
        return gone

    def doctor(self, *, repair: bool = False) -> DoctorResult:
        """Hold disk, catalog, index and links against each other; mend them with `repair`.

        Writes nothing without `repair`, and works beside a watcher.
        """
        return overseeing.doctor(self, repair=repair)

    # Parts, for the modules of this package

    @property
    def recipe(self) -> str:
        """Name of the recipe of the embeddings.

        Raises
        ------
        NothingThereError
            Before the first ingest.
        """
        name = self.catalog.setting("recipe")
        if name is None:
            raise NothingThereError(
                f"the collection {self.name!r} in {self.index_folder.path} has no images yet; "
                "use imgclust add PATH or imgclust watch FOLDER"
            )
        identity.check_weights(self.catalog, self._effective)
        return str(name)

    @property
    def link_folder(self) -> Path:
        """The link folder."""
        kept = self.catalog.setting("link_folder")
        return Path(os.fsdecode(bytes.fromhex(kept))) if kept else self.folders.links

    @property
    def effective(self) -> Effective:
        """Settings as given, with their origins."""
        return self._effective

    @property
    def progress(self) -> Progress:
        return self._progress

    @property
    def say(self) -> Callable[[str], None]:
        return self._say

    @property
    def stop(self) -> StopFlag:
        return self._stop

    def accept_trunk(self, reason: str, waiting: int) -> bool:
        """Whether the trunk may be used instead of ImageNet's weights that cannot be had."""
        if self._ask is None or waiting <= MANY_IMAGES:
            return True
        return self._ask(
            f"{reason}. More than {MANY_IMAGES} images wait; with the embedded trunk they would "
            "have to be embedded again to change later. Go on with the trunk?"
        )

    def linking(self, catalog: Catalog | None = None) -> Linking:
        """The link folder's keeper, with what the collection keeps now."""
        catalog = catalog or self.catalog
        rules = identity.now(catalog, self.settings, changing=self._changing).links
        return Linking(
            catalog,
            root=self.link_folder,
            mode=rules.mode,
            names=rules,
            lock=self.folders.lock("links"),
        )

    def recluster(self, catalog: Catalog | None = None, progress: Progress = silent) -> Recluster:
        """The maker of clusterings; another thread brings a catalog of its own."""
        return Recluster(
            catalog or self.catalog,
            recipe=self.recipe if catalog is None else str(catalog.setting("recipe")),
            settings=self.settings,
            lock=self.folders.lock("clustering"),
            charts_folder=self.folders.charts,
            progress=progress,
            stop=self._stop,
        )

    def current(self) -> Clustering:
        """The current clustering.

        Raises
        ------
        NothingThereError
            Before the first.
        """
        clustering = self.catalog.clusterings.current()
        if clustering is None:
            raise NothingThereError("there are no clusters yet; make them with imgclust cluster")
        return clustering

    def thumbnail(self, content: int) -> bytes | None:
        """WebP bytes of a content's thumbnail, None where there is none."""
        with contextlib.suppress(OSError):
            return self.thumbnails().path(content).read_bytes()
        return None

    def thumbnails(self) -> ThumbnailStore:
        """The thumbnails of the collection."""
        return ThumbnailStore(self.folders.thumbnails)

    def _index(self) -> LiveIndex:
        if self._live is None:
            self._live = running.live_index(self, self.catalog, verify=False)
        return self._live

    @contextlib.contextmanager
    def _with_links(self, *, keep: bool = False) -> Iterator[Recluster]:
        """A recluster whose result is in the link folder when the block ends."""
        yield self.recluster(progress=self._progress)
        if keep:
            self._keep()
        running.finish_links(self)

    def _keep(self) -> None:
        identity.keep(self.catalog, self.settings, changing=self._changing)


def _space(name: str) -> str:
    if name not in {"embedding", "pca", "tsne"}:
        raise UsageError(f"there is no space {name!r}; use embedding, pca or tsne")
    return name
