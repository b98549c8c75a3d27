"""Collection: one catalog, its index, its roots and its link folder; a method for each command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from imgclust import config, paths
from imgclust.catalog.copies import kept_catalogs
from imgclust.collection import exports, link_folder, results
from imgclust.collection import images as images_module
from imgclust.collection.context import Context, ignore
from imgclust.collection.images import Selection
from imgclust.progress import Progress, StopFlag, silent

AnyPath = Path | str | bytes


class Collection:
    """An open collection.

    Use `Collection.open`; a collection is a context manager, and used by one thread at a time.
    Results are frozen; every failure is an `ImgclustError`.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    @classmethod
    def open(
        cls,
        index: Path | str | None = None,
        name: str = "default",
        *,
        effective: config.Effective | None = None,
        create_for: Iterable[AnyPath] | None = None,
        progress: Progress = silent,
        say: Callable[[str], None] = ignore,
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
        found, place = paths.place_of(index, name, create_for, say)
        chosen = effective or config.load()
        return cls(Context(name, place, found, chosen, progress, say, stop, changing, ask))

    def close(self) -> None:
        """Close the catalog; nothing happens the second time."""
        self._context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._context.__exit__(kind, error, trace)

    @property
    def name(self) -> str:
        """Name of the collection."""
        return self._context.name

    @property
    def folders(self) -> results.Folders:
        """Where the files of the collection are."""
        return self._context.folders

    @property
    def settings(self) -> config.Settings:
        """The settings in use: those given, and what the collection keeps."""
        return self._context.settings

    @property
    def service(self) -> results.Service:
        """What a service shows beside the commands: pictures, pages of images, feed, jobs."""
        from imgclust.collection.service import Service

        return Service(self._context)

    @property
    def recipe(self) -> str:
        """Name of the recipe of the embeddings; a `NothingThereError` before the first ingest."""
        return self._context.recipe

    @property
    def link_folder(self) -> Path:
        """The link folder; one inside the collection's folder may be kept relative to that."""
        return self._context.link_folder

    @property
    def root_folders(self) -> tuple[bytes, ...]:
        """The folders that images come from; `roots` says more of them."""
        return tuple(root.path for root in self._context.catalog.roots.all())

    def add(
        self, paths: Sequence[AnyPath], *, emit: results.Emit = ignore, cluster: bool = True
    ) -> results.IngestResult:
        """Ingest files, and the files of folders, once; assigned and linked when this returns.

        Beside another process that ingests the paths are queued, and this waits until they are in.

        A `UsageError` when a path does not exist, or overlaps with the collection's own folders.
        """
        from imgclust.collection import ingest

        return ingest.add(self._context, list(map(os.fsencode, paths)), emit, cluster=cluster)

    def watch(
        self,
        roots: Sequence[AnyPath] = (),
        *,
        once: bool = False,
        links: Path | None = None,
        cluster: bool = True,
        exclude: Sequence[str] = (),
        exclude_fresh: bool = False,
        remove_excluded: bool = False,
        emit: results.Emit = ignore,
    ) -> results.IngestResult:
        """Ingest what is in the roots, then what arrives, until stopped.

        Without roots, those that the collection remembers; new ones are remembered. `once` stops
        when all of it is ingested, assigned and linked.

        Parameters
        ----------
        exclude
            Patterns of what to leave out, as in `.gitignore`; the collection remembers them.
            `exclude_fresh`: instead of those before.
        remove_excluded
            Take images out first that are in places that are left out; see `excluded`.

        Raises
        ------
        UsageError, LockedError, PausedError
            When a root is not a folder, overlaps with our own folders, or none is known; when
            another process ingests; with `once`, when the collection is paused.
        """
        from imgclust.collection import ingest

        return ingest.watch(
            self._context,
            list(map(os.fsencode, roots)),
            emit,
            once=once,
            links=links,
            cluster=cluster,
            exclude=exclude,
            exclude_fresh=exclude_fresh,
            remove_excluded=remove_excluded,
        )

    def pause(self) -> results.Paused:
        """Read no file until `resume`, in this and later runs; what arrives is queued."""
        from imgclust.collection.status import pause

        return pause(self._context, over=False)

    def resume(self) -> results.Paused:
        """Read files again."""
        from imgclust.collection.status import pause

        return pause(self._context, over=True)

    def excluded(
        self, *, exclude: Sequence[str] = (), exclude_fresh: bool = False
    ) -> tuple[results.MissingImage, ...]:
        """Images that are in, in places that `watch` with these patterns leaves out."""
        from imgclust.collection.images import excluded

        return excluded(self._context, exclude, fresh=exclude_fresh)

    def query(
        self,
        what: Path | str | int | Sequence[Path | str | int],
        *,
        n: int = 10,
        min_score: float | None = None,
        min_similarity: float | None = None,
        cluster: int | str | None = None,
        region: results.Region | None = None,
        selection: Selection | None = None,
        sheet: Path | None = None,
        include_self: bool = False,
        copies: bool = False,
    ) -> results.QueryResult:
        """The images most similar to images of the collection (ids or paths), or to files.

        Parameters
        ----------
        what, n, min_score, min_similarity, cluster, selection
            Several by the mean of their embeddings; how many; none below these; only those.
        region, sheet, include_self, copies
            By this part of the one image; draw a contact sheet; also those asked for; a row a copy.

        Raises
        ------
        NothingThereError, UsageError
            Without images, such an image or cluster; for a wrong region, or a sheet of no kind.
        """
        from imgclust.collection.query import query

        return query(
            self._context,
            what,
            n=n,
            min_score=min_score,
            min_similarity=min_similarity,
            cluster=cluster,
            region=region,
            selection=selection,
            sheet=sheet,
            include_self=include_self,
            copies=copies,
        )

    def pictures(self, images: Sequence[int]) -> tuple[bytes | None, ...]:
        """Small pictures of images, by id, as encoded bytes; None where there is none."""
        return images_module.pictures(self._context, images)

    def embeddings(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Image ids `(n,)`, ascending, and their embeddings `(n, d)` float32, as stored."""
        return images_module.embeddings(self._context)

    def duplicates(
        self, *, min_score: float | None = None, keep: Sequence[AnyPath] = ()
    ) -> results.DuplicatesResult:
        """Exact copies, near duplicates, and similar images apart; changes no file.

        Images below the folders `keep` are preferred as the best copies.

        The threshold belongs to the recipe. Where none has been measured, copies of 200 images
        are embedded once, and what they score is kept.
        A `NothingThereError` for an empty collection, or too few readable images to measure.
        """
        from imgclust.collection.duplicates import duplicates

        return duplicates(self._context, min_score=min_score, keep=list(map(os.fsencode, keep)))

    def dismiss_duplicates(self, ids: Sequence[int], *, undo: bool = False) -> results.Dismissed:
        """Remember that images are not duplicates of each other; `undo` forgets it.

        A `NothingThereError` when no image has such an id.
        """
        from imgclust.collection.duplicates import dismiss

        return dismiss(self._context, ids, undo=undo)

    def quarantine(self) -> tuple[results.Quarantined, ...]:
        """Files that could not be read, with path, reason, tries and since."""
        return tuple(self._context.catalog.observations.quarantined())

    def damaged(self) -> tuple[results.DamagedImage, ...]:
        """Images whose files are damaged and give a picture nevertheless."""
        return images_module.damaged(self._context)

    def retry(
        self, paths: Sequence[AnyPath] = (), *, emit: results.Emit = ignore
    ) -> results.IngestResult:
        """Read quarantined files again: those named, or all."""
        from imgclust.collection import ingest

        return ingest.retry(self._context, list(map(os.fsencode, paths)), emit)

    def remove(
        self, what: Path | str | int, *, copies: bool = False, dry_run: bool = False
    ) -> results.Removed:
        """Take an image out of the collection; its file is not touched, and not added again.

        Its content is remembered: no file with the same bytes comes in, whatever its path, until
        `add` names one. Other images with the same bytes stay, unless `copies` takes them too.
        With `dry_run` say which image that is, and change nothing.
        """
        return images_module.remove(
            self._context, [what], copies=copies, dry_run=dry_run, exact=True
        )[0]

    def remove_all(
        self, what: Sequence[Path | str | int], *, copies: bool = False, dry_run: bool = False
    ) -> tuple[results.Removed, ...]:
        """Take images out of the collection: by id, path, folder or pattern; see `remove`.

        One that names no image is a `NothingThereError`, and nothing changes.
        """
        return images_module.remove(self._context, what, copies=copies, dry_run=dry_run)

    def missing(self, *, selection: Selection | None = None) -> tuple[results.MissingImage, ...]:
        """Images that are not where they were."""
        return images_module.missing(self._context, selection)

    def accept_missing(self) -> tuple[results.MissingImage, ...]:
        """Believe that all missing images are gone; returns them."""
        return images_module.accept_missing(self._context)

    def roots(self) -> tuple[results.RootRow, ...]:
        """The folders that images come from, with the disks that are mounted below them."""
        from imgclust.collection.roots import roots

        return roots(self._context)

    def move_root(self, old: AnyPath, new: AnyPath, *, dry_run: bool = False) -> results.MovedRoot:
        """Say that a folder has moved: a root, or one below a root. Its images keep their ids.

        The files at the new place are compared with the catalog first. Images that have been
        ingested from there meanwhile are given up for the old ones. Nothing is embedded. The paths
        change in one transaction; a second call with the same folders changes nothing.

        Raises
        ------
        NothingThereError
            When no image comes from `old`.
        UsageError
            When `new` is not a folder, does not have the files, overlaps with our own folders, or
            one of the two lies in the other.
        LockedError
            When a process ingests into this collection.
        """
        from imgclust.collection.roots import move_root

        return move_root(self._context, os.fsencode(old), os.fsencode(new), dry_run=dry_run)

    def remove_root(
        self, folder: AnyPath, *, remove_images: bool = False, dry_run: bool = False
    ) -> results.RemovedRoot:
        """Watch a folder no more. Its images stay, unless `remove_images` takes them out.

        Images taken out so are not remembered as removed: they come back when the folder is
        watched or added again. Files are not touched.

        Raises
        ------
        NothingThereError
            When it is not among the folders.
        LockedError
            When a process ingests into this collection.
        """
        from imgclust.collection.roots import remove_root

        what = (self._context, os.fsencode(folder))
        return remove_root(*what, remove_images=remove_images, dry_run=dry_run)

    def sweep(
        self,
        *,
        k_min: int | None = None,
        k_max: int | None = None,
        space: str | None = None,
        seed: int | None = None,
    ) -> results.SweepResult:
        """Inertia of every k, the knee, and the elbow picture; the fits are kept."""
        from imgclust.collection import clusters

        return clusters.sweep(self._context, k_min, k_max, space=space, seed=seed)

    def cluster(
        self,
        *,
        k: int | str | None = None,
        space: str | None = None,
        seed: int | None = None,
        fresh: bool = False,
        step: str | None = None,
        dry_run: bool = False,
    ) -> results.ClusterResult:
        """Improve the clusters there are, or make the first; named clusters stay as they are.

        Parameters
        ----------
        k
            A number, "auto", or None for what the settings say; named clusters count.
        fresh
            Start from nothing; clusters keep id and folder where they resemble one from before.
        step, dry_run
            "finer" or "coarser", by splits or unions alone; say what would change, and no more.
        """
        from imgclust.collection import clusters

        return clusters.cluster(
            self._context, k, space=space, seed=seed, fresh=fresh, step=step, dry_run=dry_run
        )

    def undo(self) -> results.ClusterResult:
        """Go back to the clustering before the current one."""
        with self._context.reclustered() as clusters:
            return clusters.undo()

    @property
    def corrections(self) -> results.Corrections:
        """What people said about images: make, list and take back corrections."""
        return results.Corrections(self._context)

    def split_cluster(
        self, cluster: int | str, *, k: int | str = "auto", dry_run: bool = False
    ) -> results.ClusterResult:
        """Divide one cluster into `k` parts ("auto": its own knee); all others stay."""
        with self._context.reclustered() as clusters:
            return clusters.split(cluster, k=k, dry_run=dry_run)

    def merge_clusters(
        self, clusters: Sequence[int | str], *, name: str | None = None, dry_run: bool = False
    ) -> results.ClusterResult:
        """Put clusters into the largest, called `name` or as the largest named; others stay."""
        from imgclust.collection.clusters import merge

        return merge(self._context, clusters, name=name, dry_run=dry_run)

    def history(self) -> tuple[results.PastClustering, ...]:
        """All clusterings, newest first, and what happened to the clusters before each."""
        from imgclust.clusters.clustering_history import history

        return history(self._context.catalog)

    def cluster_life(self, cluster: int | str) -> results.ClusterLife:
        """What happened to one cluster, from its beginning."""
        from imgclust.clusters.clustering_history import life

        return life(self._context.catalog, cluster)

    def clusters(self) -> tuple[results.ClusterRow, ...]:
        """All clusters of the current clustering, by id."""
        from imgclust.collection import clusters

        return clusters.rows(self._context)

    def cluster_details(
        self, cluster: int | str, *, selection: Selection | None = None, sheet: Path | None = None
    ) -> results.ClusterDetails:
        """One cluster with representatives, neighbours and members; draws a contact sheet.

        With `selection` only the members that were taken then, by that camera.
        """
        from imgclust.collection import clusters

        return clusters.details(self._context, cluster, selection=selection, sheet=sheet)

    def name_cluster(
        self, cluster: int | str, name: str | None, *, release: bool = False
    ) -> results.ClusterRow:
        """Name a cluster, which freezes it: its images stay in it, and so do those that join it.

        None or "" removes the name and releases the cluster; with None `release` keeps the
        name. The clusters are not provisional any more, and the folder follows.
        """
        from imgclust.collection import clusters

        return clusters.name(self._context, cluster, name, release=release)

    def view(
        self,
        *,
        method: str | None = None,
        dims: int | None = None,
        out: Path | None = None,
        refit: bool = False,
    ) -> results.MapResult:
        """Draw the map of the collection."""
        return exports.view(self._context, method, dims, out, refit=refit)

    def status(self) -> results.Status:
        """Counts, the current clustering, roots, links, whether a watcher runs."""
        from imgclust.collection.status import status

        return status(self._context)

    def standing(self) -> results.Standing:
        """What a watcher shows of itself while it runs; cheap beside `status`."""
        from imgclust.collection.status import standing

        return standing(self._context)

    def engine(self) -> str | None:
        """Which engine and precision embeds on this machine and why; None while undecided."""
        from imgclust.collection.embedder import engine

        return engine(self._context)

    def links(self, *, dry_run: bool = False, check: bool = False) -> results.LinksResult:
        """Update the whole link folder, or say how far off it is."""
        return link_folder.update(self._context, dry_run=dry_run, check=check)

    def sync_links(self) -> results.LinksResult:
        """Update what has changed."""
        return link_folder.sync(self._context)

    def move_links(self, to: Path) -> results.LinksResult:
        """Take our links out of the link folder and make them in another one."""
        return link_folder.move_links(self._context, to)

    def doctor(self, *, repair: bool = False) -> results.DoctorResult:
        """Check that disk, catalog, index and links agree; `repair` makes them agree.

        Writes nothing without `repair`, and works beside a watcher.
        """
        from imgclust.collection.status import doctor

        return doctor(self._context, repair=repair)

    def reembed(self, *, dry_run: bool = False) -> results.ReembedResult:
        """Embed every image again by the weights that the settings say, then change over.

        Open the collection with the settings `embedding.weights` and, named in `changing`,
        `embedding.raw`. Until the change, which is one transaction with a clustering in the new
        space, everything continues with the old recipe; what a run has embedded, the next one
        keeps.

        Raises
        ------
        LockedError, ImgclustError
            When a process ingests; when files are gone or changed. Nothing changes then.
        """
        from imgclust.collection.embedder import reembed

        return reembed(self._context, dry_run=dry_run)

    def backup(self, to: Path | str) -> results.Backup:
        """Write the whole collection as it is now into a file, also while a watcher runs.

        The catalog with its settings is in it; index, thumbnails and links are made again from it
        and the images. `restore_collection` makes a collection from the file. An older backup of
        this collection is replaced by a finished one only.

        Raises
        ------
        UsageError, LockedError
            When something else exists there, or in our own folders; when another process writes it.
        CatalogError, StorageError
            When the catalog is damaged; when the disk is full or refuses.
        """
        return exports.backup(self._context, Path(to))

    def kept_catalogs(self) -> tuple[results.KeptCatalog, ...]:
        """The catalogs that were kept from before upgrades."""
        return tuple(kept_catalogs(self.folders.aside))

    def export(
        self,
        to: Path | BinaryIO | None,
        *,
        format: str,
        embeddings: bool = False,
        selection: Selection | None = None,
        cluster: int | str | None = None,
    ) -> results.ExportResult:
        """Write all images, or those of `selection` and `cluster`, with map coordinates.

        Parameters
        ----------
        to
            A path, replaced in one step, a binary stream, or for "xmp" None: beside the images.
        format
            "json", "csv", "parquet" (needs pyarrow), "classic", "projector" or "xmp" (folders).

        Raises `UsageError` for a path among the images or in our folders.
        """
        only = exports.chosen(self._context, selection, cluster)
        return exports.write(self._context, to, format=format, embeddings=embeddings, only=only)

    def report(self, to: Path | None = None) -> results.ReportResult:
        """Write the collection as one HTML page that needs no other file, of at most 20 MB.

        None is `charts/report.html` of the collection. Raises `NothingThereError` without images.
        """
        return exports.report(self._context, to)
