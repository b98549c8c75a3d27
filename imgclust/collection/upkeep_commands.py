"""What a person does with a whole collection: look at it, link it, check it, write it out."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from imgclust import collection
from imgclust.collection.context import Opened


class UpkeepCommands(Opened):
    """Commands about the whole collection."""

    def status(self) -> collection.Status:
        """Counts, the current clustering, roots, links, whether a watcher runs."""
        from imgclust.collection.status import status

        return status(self)

    def standing(self) -> collection.Standing:
        """What a watcher shows of itself while it runs; cheap beside `status`."""
        from imgclust.collection.status import standing

        return standing(self)

    def engine(self) -> str | None:
        """Which engine and precision embeds on this machine and why; None while undecided."""
        from imgclust.collection import embedder

        return embedder.engine(self)

    def links(self, *, dry_run: bool = False, check: bool = False) -> collection.LinksResult:
        """Update the whole link folder, or say how far off it is."""
        from imgclust.collection import link_folder

        linking = self.linking()
        if check:
            return linking.check(progress=self.progress, stop=self.stop)
        if dry_run:
            return linking.dry_run()
        result = linking.sync(whole=True, progress=self.progress, stop=self.stop)
        self.keep()
        self.catalog.ledger.queue_all_pages()
        link_folder.finish_pages(self)
        return result

    def sync_links(self) -> collection.LinksResult:
        """Update what has changed."""
        return self.linking().sync(progress=self.progress, stop=self.stop)

    def move_links(self, to: Path) -> collection.LinksResult:
        """Take our links out of the link folder and make them in another one."""
        from imgclust.collection import link_folder

        link_folder.move_links(self, to)
        return self.links()

    def doctor(self, *, repair: bool = False) -> collection.DoctorResult:
        """Check that disk, catalog, index and links agree; `repair` makes them agree.

        Writes nothing without `repair`, and works beside a watcher.
        """
        from imgclust.collection import folders
        from imgclust.doctor import Doctor
        from imgclust.embedding import Recipe

        recipe = self.catalog.setting("recipe")
        return Doctor(
            self.catalog,
            recipe=recipe,
            dimensions=0 if recipe is None else Recipe.parse(recipe).dimensions,
            folder=self.folders.root,
            index_file=self.folders.index_file,
            aside=self.folders.aside,
            ingest_lock=self.folders.lock("ingest"),
            linking=self.linking(),
            recluster=None if recipe is None else self.recluster(self.catalog),
            ours=self.our_folders(),
            exclusion=self.exclusion,
            cache=folders.cache_folder() / "weights",
            progress=self.progress,
            stop=self.stop,
        ).examine(repair=repair)

    def reembed(self, *, dry_run: bool = False) -> collection.ReembedResult:
        """Embed every image again by the weights that the settings say, then change over.

        Open the collection with the settings `embedding.weights` and, named in `changing`,
        `embedding.raw`. Until the change, which is one transaction with a clustering in the new
        space, everything continues with the old recipe; what a run has embedded, the next one
        keeps.

        Raises
        ------
        LockedError
            When a process ingests into this collection.
        ImgclustError
            When files are gone or have changed; nothing changes then.
        """
        from imgclust.collection import reembed

        return reembed.to_recipe(self, dry_run=dry_run)

    def backup(self, to: Path | str) -> collection.Backup:
        """Write the whole collection as it is now into one file, also while a watcher runs.

        The catalog with its settings is in it; index, thumbnails and links are made again from it
        and the images. `restore_collection` makes a collection from the file.

        Parameters
        ----------
        to
            A file; an older backup of this collection is replaced by a finished one only.

        Raises
        ------
        UsageError
            When something else exists there, or it lies in our own folders.
        LockedError
            When another process writes the same file.
        CatalogError
            When the catalog is damaged.
        StorageError
            When the disk is full or refuses.
        """
        from imgclust.collection import exports

        return exports.backup(self, Path(to))

    def kept_catalogs(self) -> tuple[collection.KeptCatalog, ...]:
        """The catalogs that were kept from before upgrades."""
        from imgclust.catalog import kept_catalogs

        return tuple(kept_catalogs(self.folders.aside))

    def export(
        self,
        to: Path | BinaryIO,
        *,
        format: str,
        embeddings: bool = False,
        selection: collection.Selection | None = None,
    ) -> collection.ExportResult:
        """Write all images with cluster, distance and map coordinates.

        Parameters
        ----------
        to
            A path, replaced in one step, or a binary stream.
        format
            "json", "csv", "parquet" (needs pyarrow), "projector" (a folder) or "classic".
        selection
            Only images that were taken then, by that camera.

        Raises
        ------
        UsageError
            When the path lies among the images or in our own folders, or cannot take the format.
        """
        from imgclust.collection import exports

        return exports.write(self, to, format=format, embeddings=embeddings, selection=selection)

    def report(self, to: Path | None = None) -> collection.ReportResult:
        """Write the collection as one HTML page that needs no other file, of at most 20 MB.

        Parameters
        ----------
        to
            A file, replaced in one step; None for `charts/report.html` of the collection.

        Raises
        ------
        NothingThereError
            For a collection without images.
        UsageError
            When the path is a folder, or lies among the images or in our own folders.
        """
        from imgclust.collection import exports

        return exports.report(self, to)
