"""What a person does with images: take them in, ask for similar ones, take them out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgclust import collection
from imgclust.collection.context import Opened, ignore


class ImageCommands(Opened):
    """Commands about images."""

    def add(
        self,
        paths: Sequence[Path | str | bytes],
        *,
        emit: collection.Emit = ignore,
        cluster: bool = True,
    ) -> collection.IngestResult:
        """Ingest files, and the files of folders, once; assigned and linked when this returns.

        Beside another process that ingests the paths are queued, and this waits until they are in.

        Raises
        ------
        UsageError
            When a path does not exist, or overlaps with the collection's own folders.
        """
        from imgclust.collection import ingest

        return ingest.add(self, [os.fsencode(path) for path in paths], emit, cluster=cluster)

    def watch(
        self,
        roots: Sequence[Path | str | bytes] = (),
        *,
        once: bool = False,
        links: Path | None = None,
        cluster: bool = True,
        exclude: Sequence[str] = (),
        exclude_fresh: bool = False,
        remove_excluded: bool = False,
        emit: collection.Emit = ignore,
    ) -> collection.IngestResult:
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
        UsageError
            When a root is not a folder, overlaps with our own folders, or none is known.
        LockedError
            When another process ingests into this collection.
        """
        from imgclust.collection import exclusions, ingest

        if exclude or exclude_fresh:
            exclusions.with_patterns(self, exclude, fresh=exclude_fresh)
        return ingest.watch(
            self,
            [os.fsencode(root) for root in roots],
            emit,
            once=once,
            links=links,
            cluster=cluster,
            remove_excluded=remove_excluded,
        )

    def excluded(
        self, *, exclude: Sequence[str] = (), exclude_fresh: bool = False
    ) -> tuple[collection.MissingImage, ...]:
        """Images that are in, in places that `watch` with these patterns leaves out."""
        from imgclust.collection import exclusions

        if exclude or exclude_fresh:
            exclusions.with_patterns(self, exclude, fresh=exclude_fresh)
        return exclusions.excluded(self)

    def query(
        self,
        what: Path | str | int | Sequence[Path | str | int],
        *,
        n: int = 10,
        min_score: float | None = None,
        cluster: int | None = None,
        region: collection.Region | None = None,
        selection: collection.Selection | None = None,
        sheet: Path | None = None,
    ) -> collection.QueryResult:
        """The images most similar to an image of the collection (id or path) or to a file.

        Several are asked for together: by the mean of their embeddings at unit length.

        Parameters
        ----------
        n, min_score, cluster
            How many; none below this cosine; only images of this cluster.
        region
            Ask for this part of the one image.
        selection
            Only images that were taken then, by that camera.
        sheet
            Draw the answer as a contact sheet there.

        Raises
        ------
        NothingThereError
            When the collection is empty, or there is no such image or cluster.
        UsageError
            For a region without pixels, or of several images, and a sheet of no known kind.
        """
        from imgclust.collection import query

        several = [what] if isinstance(what, str | int | os.PathLike) else what
        asked = [str(each) for each in several]
        return query.query(
            self,
            asked,
            n=n,
            min_score=min_score,
            cluster=cluster,
            region=region,
            selection=selection,
            sheet=sheet,
        )

    def pictures(self, images: Sequence[int]) -> tuple[bytes | None, ...]:
        """Small pictures of images, by id, as encoded bytes; None where there is none."""
        from imgclust.collection import query

        return query.pictures(self, images)

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

    def duplicates(
        self, *, min_score: float | None = None, keep: Sequence[Path | str | bytes] = ()
    ) -> collection.DuplicatesResult:
        """Exact copies, near duplicates, and similar images apart; changes no file.

        Images below the folders `keep` are preferred as the best copies.

        The threshold belongs to the recipe. Where none has been measured, copies of 200 images
        are embedded once, and what they score is kept.

        Raises
        ------
        NothingThereError
            When the collection is empty, or too few of its images can be read to measure.
        """
        from imgclust.collection import duplicates

        return duplicates.duplicates(
            self, min_score=min_score, keep=[os.fsencode(folder) for folder in keep]
        )

    def dismiss_duplicates(self, ids: Sequence[int], *, undo: bool = False) -> collection.Dismissed:
        """Remember that images are not duplicates of each other; `undo` forgets it.

        Raises
        ------
        NothingThereError
            When no image has such an id.
        """
        from imgclust.collection import duplicates

        return duplicates.dismiss(self, ids, undo=undo)

    def quarantine(self) -> tuple[collection.Quarantined, ...]:
        """Files that could not be read, with path, reason, tries and since."""
        return tuple(self.catalog.observations.quarantined())

    def damaged(self) -> tuple[collection.DamagedImage, ...]:
        """Images whose files are damaged and give a picture nevertheless."""
        from imgclust.collection.results import DamagedImage

        return tuple(DamagedImage(*row) for row in self.catalog.details.damaged())

    def retry(
        self, paths: Sequence[Path | str | bytes] = (), *, emit: collection.Emit = ignore
    ) -> collection.IngestResult:
        """Read quarantined files again: those named, or all."""
        from imgclust.collection import ingest

        return ingest.retry(self, [os.fsencode(path) for path in paths], emit)

    def remove(
        self, what: Path | str | int, *, copies: bool = False, dry_run: bool = False
    ) -> collection.Removed:
        """Take an image out of the collection; its file is not touched, and not added again.

        Its content is remembered: no file with the same bytes comes in, whatever its path, until
        `add` names one. Other images with the same bytes stay, unless `copies` takes them too.
        With `dry_run` say which image that is, and change nothing.
        """
        from imgclust.collection import images

        image = images.named(self, str(what))
        return self.remove_all([image.id], copies=copies, dry_run=dry_run)[0]

    def remove_all(
        self,
        what: Sequence[Path | str | int],
        *,
        copies: bool = False,
        dry_run: bool = False,
    ) -> tuple[collection.Removed, ...]:
        """Take images out of the collection: by id, path, folder or pattern; see `remove`.

        Raises
        ------
        NothingThereError
            When one of them does not name any image.
        """
        from imgclust.collection import images, link_folder

        found = images.chosen(self, [str(one) for one in what])
        if dry_run:
            return images.removable(self, found, copies=copies)
        removed, contents = images.remove(self, found, copies=copies)
        for content in contents:
            with contextlib.suppress(OSError):  # a cache
                self.thumbnails().remove(content)
        link_folder.finish_links(self)
        return removed

    def missing(
        self, *, selection: collection.Selection | None = None
    ) -> tuple[collection.MissingImage, ...]:
        """Images that are not where they were."""
        from imgclust.collection import images
        from imgclust.collection.selection import Selection, chosen, with_facts

        return chosen(with_facts(self, images.missing(self)), selection or Selection())

    def accept_missing(self) -> tuple[collection.MissingImage, ...]:
        """Believe that all missing images are gone; returns them."""
        from imgclust.collection import images, link_folder

        gone = images.accept_missing(self)
        link_folder.finish_links(self)
        return gone
