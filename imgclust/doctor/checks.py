"""The examination: four checks, each with its repair; and what is worth knowing besides."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.copies import kept_catalogs
from imgclust.catalog.integrity import damaged_embeddings, sqlite_version
from imgclust.clusters.correction_conflicts import ContradictionError
from imgclust.clusters.correction_demands import enforce, violations
from imgclust.clusters.model import ArrivalAssigner, Model
from imgclust.clusters.service import Recluster
from imgclust.doctor.disk import DiskFindings, compare_disk, mark_differences, reread_sentence
from imgclust.errors import IndexFileError, LockedError, StorageError
from imgclust.index.index_file import header_of, set_aside
from imgclust.index.vector_index import VectorIndex
from imgclust.links.syncer import LinksResult, LinkSyncer
from imgclust.locks import FileLock, is_locked
from imgclust.paths import ASIDE
from imgclust.progress import Progress, StopFlag, silent
from imgclust.search.catalog_index import CatalogIndex
from imgclust.watcher.exclusion import Exclusion
from imgclust.watcher.watcher import watch_limits
from imgclust.weights import resolver
from imgclust.wording import counted, size

# The index keeps unit vectors at half precision: this is more than its rounding.
_TOLERANCE = 2e-3
# A watcher at work is out of step for moments: looked at so often, so many seconds apart.
_LOOKS, _APART_S = 5, 1.0


@dataclass(frozen=True)
class Check:
    """One comparison of two parts of the collection.

    `ok` says that they agree now; `repaired` what was done about it, None when nothing was.
    """

    name: str
    ok: bool
    sentence: str
    repaired: str | None = None


@dataclass(frozen=True)
class DoctorResult:
    """Everything that was found; `ok` counts the checks only, never the advisories."""

    checks: tuple[Check, ...]
    advisories: tuple[Advisory, ...]

    @property
    def ok(self) -> bool:
        """True when disk, catalog, index and links agree."""
        return all(check.ok for check in self.checks)


class Doctor:
    """Examines one collection.

    Parameters
    ----------
    recipe
        Name of the collection's recipe, None before the first ingest.
    dimensions
        Numbers in an embedding by it.
    folder
        The collection's folder: `index_file`, `aside` and `ingest_lock` lie in it.
    ours
        Folders that are never scanned.
    exclusion
        What is left out in the watched folders.
    cache
        Folder of downloaded weights.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        recipe: str | None,
        dimensions: int,
        folder: Path,
        index_file: Path,
        aside: Path,
        ingest_lock: Path,
        link_syncer: LinkSyncer,
        recluster: Recluster | None,
        ours: Sequence[bytes],
        exclusion: Exclusion,
        cache: Path,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> None:
        self._catalog = catalog
        self._recipe = recipe
        self._dimensions = dimensions
        self._folder = folder
        self._index_file = index_file
        self._aside = aside
        self._ingest_lock = ingest_lock
        self._link_syncer = link_syncer
        self._recluster = recluster
        self._ours = ours
        self._exclusion = exclusion
        self._cache = cache
        self._progress = progress
        self._stop = stop or StopFlag()

    def examine(self, *, repair: bool) -> DoctorResult:
        """Look at everything; writes nothing without `repair`."""
        self._progress("examining the catalog", 0, None)
        catalog = self._examine_catalog(repair)
        self._progress("examining the disk", 0, None)
        disk, folders = self._examine_disk(repair)
        self._progress("examining the index", 0, None)
        file = self._examine_index(repair)
        links = self._examine_links(repair)
        advisories = advise(
            self._catalog, folder=self._folder, cache=self._cache, watched_folders=folders
        )
        return DoctorResult((disk, catalog, file, links), tuple(advisories))

    @property
    def _watching(self) -> bool:
        return is_locked(self._ingest_lock)

    # Catalog

    def _examine_catalog(self, repair: bool) -> Check:
        damage = self._catalog.damage()
        if damage:
            return Check(
                "catalog",
                False,
                f"the file is damaged ({damage[0]}); put it back from a backup, or move it away "
                "and start over: the originals are untouched",
            )
        found = self._contradictions()
        if found and repair:
            again = self._mend_catalog()
            left = self._contradictions()
            done = "the catalog was repaired"
            if again:
                done += f"; {reread_sentence(again, watching=self._watching)}"
            return Check("catalog", not left, "; ".join(left or found), done)
        if found:
            return Check("catalog", False, "; ".join(found))
        images = self._catalog.images.count()
        distinct = self._catalog.contents.count()
        return Check("catalog", True, f"sound: {images:,} images, {distinct:,} distinct")

    def _contradictions(self) -> list[str]:
        checking = self._catalog.checking
        with self._catalog.snapshot():
            current = self._catalog.clusterings.current()
            counts: dict[str, int] = {
                "contents without an image": len(checking.contents_without_images()),
                "images without a record of their file": len(checking.images_without_observation()),
                "files said to be in without an image": len(checking.done_without_image()),
            }
            if self._recipe is not None:
                missing = checking.contents_without_embedding(self._recipe)
                counts["contents without an embedding"] = len(missing)
            if current is not None:
                late = self._catalog.assignments.unassigned(current.id, current.recipe)
                counts["contents in no cluster"] = len(late)
                strays = checking.assignments_without_content(current.id)
                counts["assignments of no content"] = len(strays)
                lost = checking.frozen_and_lost(current.id)
                counts["named clusters that are not among the clusters"] = len(lost)
                counts["images not where corrections want them"] = len(violations(self._catalog))
            if self._recluster is not None and not self._recluster.busy:
                counts["unfinished clusterings"] = len(checking.unpublished())
        if self._recipe is not None:
            damaged = damaged_embeddings(self._catalog, self._recipe)
            counts["embeddings that hold NaN or infinity"] = len(damaged)
        return [f"{count:,} {what}" for what, count in counts.items() if count]

    def _mend_catalog(self) -> int:
        """Drop what belongs to nothing; returns how many images ingest is to read again.

        They wait like new files: that is not a disagreement, and the next examination says so too.
        """
        catalog, checking = self._catalog, self._catalog.checking
        damaged = [] if self._recipe is None else damaged_embeddings(catalog, self._recipe)
        with catalog.transaction():
            for key in checking.contents_without_images():
                catalog.contents.drop_orphan(key)
            for path in checking.done_without_image():
                catalog.observations.forget(path)
            again = checking.images_without_observation()
            if self._recipe is not None:
                for key in damaged:
                    catalog.contents.drop_embedding(key, self._recipe)
                for key in checking.contents_without_embedding(self._recipe):
                    again += [
                        (image.path, image.root) for image in catalog.images.with_content(key)
                    ]
            for path, root in again:
                catalog.observations.read_again(path, root)
            current = catalog.clusterings.current_id()
            if current is not None:
                catalog.assignments.drop_strays(current)
                for one in checking.frozen_and_lost(current):
                    catalog.clusterings.freeze(one, False)
                model = Model(catalog, catalog.clusterings.get(current))
                with contextlib.suppress(ContradictionError):  # what cannot be, a person decides
                    catalog.ledger.queue_links_of(enforce(catalog, model, what="the catalog"))
        if self._recipe is not None:
            ArrivalAssigner(catalog).catch_up(self._recipe)
        if self._recluster is not None:
            self._recluster.drop_unfinished()
        return len(again)

    # Disk

    def _examine_disk(self, repair: bool) -> tuple[Check, int]:
        found = self._look_at_disk()
        if self._watching and found.disagrees:  # what changed just now is on its way in
            self._stop.wait(_APART_S)
            found = self._look_at_disk()
        sentence = found.sentence
        if not found.disagrees:
            return Check("disk", True, sentence), found.folders
        if not repair:
            return Check("disk", False, sentence), found.folders
        mark_differences(self._catalog, found)
        done = []
        if found.absent:
            done.append(f"{len(found.absent):,} images are marked missing")
        if found.changed:
            done.append(reread_sentence(len(found.changed), watching=self._watching))
        return Check("disk", True, sentence, "; ".join(done)), found.folders

    # Index

    def _look_at_disk(self) -> DiskFindings:
        return compare_disk(
            self._catalog, ours=self._ours, exclusion=self._exclusion, stop=self._stop
        )

    def _examine_index(self, repair: bool) -> Check:
        if self._recipe is None or not self._index_file.exists():
            return Check("index", True, "there is no file; a clean stop of watch or add makes it")
        wrong = self._index_wrong()
        if wrong is None:
            count = header_of(self._index_file).count
            return Check("index", True, f"every block is sound: {count:,} vectors, as cataloged")
        if not repair:
            return Check("index", False, f"{wrong}; it is made again from the catalog by --repair")
        try:
            with FileLock(self._ingest_lock, purpose="ingesting into"):
                set_aside(self._index_file, self._aside)
                live = CatalogIndex(
                    self._catalog,
                    self._index_file,
                    recipe=self._recipe,
                    dimensions=self._dimensions,
                    aside=self._aside,
                )
                live.close(save=True)
        except LockedError:
            return Check("index", False, f"{wrong}; a watcher is running, stop it to repair this")
        except (StorageError, OSError) as error:
            return Check("index", False, f"{wrong}; it cannot be made again now: {error}")
        again = self._index_wrong()
        done = f"the file was set aside in {self._aside} and made again"
        return Check("index", again is None, again or wrong, done)

    def _index_wrong(self) -> str | None:
        """What is wrong with the index file, None when it is what the catalog says."""
        assert self._recipe is not None
        try:
            stored, sequence = VectorIndex.load(
                self._index_file, recipe=self._recipe, dimensions=self._dimensions, verify=True
            )
        except FileNotFoundError:
            return None
        except IndexFileError as error:
            return str(error).removesuffix("; it has to be rebuilt")
        contents = self._catalog.contents
        with self._catalog.snapshot():
            if sequence > contents.sequence():
                return "the index file is ahead of the catalog"
            late = {key for _, key, _ in contents.changes_after(sequence, 1 << 60)}
            keys = contents.embedded(self._recipe)
        expected = set(keys.tolist()) - late
        there = set(stored.keys().tolist()) - late
        if expected != there:
            return (
                f"the index file lacks {len(expected - there):,} contents and holds "
                f"{len(there - expected):,} that the catalog does not"
            )
        for part, vectors in contents.embedding_parts(keys, self._recipe):
            rows = [row for row, key in enumerate(part.tolist()) if key in there]
            if not rows:
                continue
            lengths = np.linalg.norm(vectors[rows], axis=1, keepdims=True)
            unit = vectors[rows] / np.maximum(lengths, 1e-38)
            apart = np.abs(stored.reconstruct(part[rows]) - unit).max(axis=1)
            if (apart > _TOLERANCE).any():
                return f"{int((apart > _TOLERANCE).sum()):,} vectors are not the catalog's"
        return None

    # Links

    def _examine_links(self, repair: bool) -> Check:
        if (offline := self._link_syncer.offline) is not None:
            return Check("links", True, offline)
        found = self._link_syncer.check(progress=self._progress, stop=self._stop)
        for _ in range(_LOOKS):
            if found.in_step or not self._watching:
                break
            self._stop.wait(_APART_S)
            found = self._link_syncer.check(progress=self._progress, stop=self._stop)
        sentence = _links_sentence(found)
        if found.in_step or not repair:
            return Check("links", found.in_step, sentence)
        try:
            self._link_syncer.sync(whole=True, progress=self._progress, stop=self._stop)
        except (LockedError, StorageError) as error:
            return Check("links", False, f"{sentence}; not repaired: {error}")
        again = self._link_syncer.check(progress=self._progress, stop=self._stop)
        return Check("links", again.in_step, sentence, "the link folder was updated")


def _links_sentence(found: LinksResult) -> str:
    foreign = ""
    if found.waiting:
        foreign += f"; {found.waiting:,} of them were moved by hand and wait for a person"
    if found.foreign:
        foreign += f"; {counted(len(found.foreign), 'entry is', 'entries are')} not ours"
    if found.dangling:
        foreign += f"; {found.dangling:,} lead to images that are missing (imgclust missing)"
    if found.in_step:
        return f"{found.links:,} links, all up to date{foreign}"
    wrong = [
        f"{counted(found.missing, 'link is', 'links are')} not there or not right"
        if found.missing
        else "",
        f"{found.stale:,} should not be there" if found.stale else "",
        f"{found.unread:,} were moved by hand and not read yet" if found.unread else "",
    ]
    return ", ".join(filter(None, wrong)) + foreign


# The WAL-reset fault (https://sqlite.org/wal.html#walresetbug), and the releases that fix it.
_FAULTY = ((3, 7, 0), (3, 51, 2))
_BACKPORTS = ((3, 44, 6), (3, 50, 7))
_LITTLE_BYTES = 1 << 30


@dataclass(frozen=True)
class Advisory:
    """One fact about this machine; `ok` False asks for attention and changes no exit code."""

    name: str
    ok: bool
    sentence: str


def has_wal_fault(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite may damage a catalog that two processes write and checkpoint."""
    low, high = _FAULTY
    fixed = any(version[:2] == fix[:2] and version >= fix for fix in _BACKPORTS)
    return low <= version <= high and not fixed


def advise(
    catalog: Catalog, *, folder: Path, cache: Path, watched_folders: int
) -> Sequence[Advisory]:
    """SQLite, free space, watches, weights, and what is kept from before upgrades."""
    return (
        _sqlite(),
        _space(folder),
        _watches(watched_folders),
        _weights(catalog, cache),
        *_upgrades(folder / ASIDE),
    )


def _sqlite() -> Advisory:
    version = sqlite_version()
    text = ".".join(map(str, version))
    if has_wal_fault(version):
        return Advisory(
            "sqlite", False, f"SQLite {text} has the WAL-reset fault; upgrade the package apsw"
        )
    return Advisory("sqlite", True, f"SQLite {text} is free of the WAL-reset fault")


def _space(folder: Path) -> Advisory:
    free = shutil.disk_usage(folder).free
    sentence = f"{free / 2**30:,.1f} GiB are free at {folder}"
    if free < _LITTLE_BYTES:
        return Advisory("space", False, f"only {sentence}; ingest waits when there is none")
    return Advisory("space", True, sentence)


def _watches(folders: int) -> Advisory:
    limit = watch_limits().watches
    if limit is None:
        return Advisory("watches", True, f"{folders:,} folders; this system reports no watch limit")
    if folders >= limit:
        return Advisory(
            "watches",
            False,
            f"{folders:,} folders, but only {limit:,} may be watched: roots are scanned instead; "
            "raise fs.inotify.max_user_watches",
        )
    return Advisory("watches", True, f"{folders:,} of {limit:,} watches are needed")


def _weights(catalog: Catalog, cache: Path) -> Advisory:
    kept = catalog.setting("weights")
    if kept is None:
        return Advisory("weights", True, "none are chosen before the first ingest")
    name = str(kept["name"])
    if name == "file":
        there = os.path.isfile(kept["path"])
        sentence = f"{kept['path']} is {'there' if there else 'gone: put it back to embed more'}"
        return Advisory("weights", there, sentence)
    for listed in resolver.listing(cache):
        if listed.name == name and listed.state == "ready" and listed.sha256 == kept["sha256"]:
            return Advisory("weights", True, f"{name} ({kept['sha256'][:12]}) is ready")
    return Advisory(
        "weights",
        False,
        f"{name} ({kept['sha256'][:12]}) is not on this machine; new images cannot be embedded "
        "until it is (imgclust weights download)",
    )


def _upgrades(aside: Path) -> list[Advisory]:
    return [
        Advisory(
            "upgrade",
            True,
            f"the catalog as it was before the upgrade from version {one.version} "
            f"({size(one.bytes)}) is kept in {one.path}; delete it when you will not go "
            "back to the older imgclust",
        )
        for one in kept_catalogs(aside)
    ]
