"""Linking: the link folder kept in step with the catalog's clusters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from imgclust.catalog import Catalog
from imgclust.config import Links
from imgclust.errors import StorageError
from imgclust.linking.ledger import CatalogLedger
from imgclust.links import (
    Mode,
    Wanted,
    apply,
    check,
    folder_name,
    plan,
    rename_folder,
)
from imgclust.locks import FileLock
from imgclust.progress import Progress, StopFlag, silent

# Queued images taken at a time; each is looked at once however often it was queued.
_QUEUE = 20_000
# Every cluster's folder has its id in its name, so that none is called this.
_OUTLIERS = b"outliers"


@dataclass(frozen=True)
class LinksResult:
    """The link folder after a sync, or as a check found it.

    `links` counts the entries that are right, `missing` and `stale` those that are not, `foreign`
    lists paths below the link folder that are not ours; `fell_back` says why another mode was
    used.
    """

    links: int
    created: int
    removed: int
    missing: int
    stale: int
    foreign: tuple[bytes, ...]
    moved: int = 0
    unmade: int = 0
    fell_back: str | None = None

    @property
    def in_step(self) -> bool:
        """True when every image has its link."""
        return not (self.missing or self.stale)


class Linking:
    """Keeps one link folder in step.

    Parameters
    ----------
    root
        The link folder.
    mode
        symlink, hardlink or copy.
    names
        Templates of the folder names.
    lock
        The lock file that one sync at a time holds.
    """

    def __init__(
        self, catalog: Catalog, *, root: Path, mode: str, names: Links, lock: Path
    ) -> None:
        self._catalog = catalog
        self._ledger = CatalogLedger(catalog)
        self._root = root
        self._mode = cast(Mode, mode)
        self._names = names
        self._lock = lock

    def sync(
        self,
        *,
        whole: bool = False,
        wait_s: float = 10.0,
        progress: Progress = silent,
        stop: StopFlag | None = None,
    ) -> LinksResult:
        """Bring the link folder in step: what is queued, or (`whole`) all of it.

        Raises
        ------
        LockedError
            When another process is at it for longer than `wait_s`.
        """
        created = removed = moved = unmade = 0
        foreign: list[bytes] = []
        fell_back: str | None = None
        with FileLock(self._lock, purpose="syncing the links of", wait_s=wait_s):
            try:
                self._root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"the link folder {self._root} cannot be made: {error.strerror}"
                ) from None
            if whole:
                with self._catalog.transaction():
                    self._catalog.images.queue_all_links()
                    self._catalog.images.queue_links(self._unwanted())
            while True:
                # Read together: a clustering may be published between two rounds.
                with self._catalog.snapshot():
                    until, images = self._catalog.images.queued_links(_QUEUE)
                    current, folders = self._folders()
                    wanted, gone = self._wishes(images, current, folders)
                self._rename_folders(folders)
                if not images:
                    break
                applied = apply(
                    plan(wanted, gone, self._ledger, self._root, self._mode),
                    self._root,
                    mode=self._mode,
                    ledger=self._ledger,
                    progress=progress,
                    stop=stop,
                )
                with self._catalog.transaction():
                    self._catalog.images.unqueue_links(until)
                created += applied.created
                removed += applied.removed
                moved += applied.moved
                unmade += len(applied.unmade)
                foreign.extend(applied.foreign)
                fell_back = applied.fell_back or fell_back
        return LinksResult(
            links=self._catalog.ledger.count(),
            created=created,
            removed=removed,
            moved=moved,
            unmade=unmade,
            missing=unmade,
            stale=0,
            foreign=tuple(foreign),
            fell_back=fell_back,
        )

    def clear(self, *, progress: Progress = silent, stop: StopFlag | None = None) -> LinksResult:
        """Take every entry of ours out of the link folder."""
        with FileLock(self._lock, purpose="syncing the links of", wait_s=10.0):
            images = sorted({row.image for row in self._ledger.all_rows()})
            planned = plan((), images, self._ledger, self._root, self._mode)
            applied = apply(
                planned,
                self._root,
                mode=self._mode,
                ledger=self._ledger,
                progress=progress,
                stop=stop,
            )
        return LinksResult(
            links=self._catalog.ledger.count(),
            created=0,
            removed=applied.removed,
            missing=0,
            stale=0,
            foreign=applied.foreign,
        )

    @property
    def queued(self) -> bool:
        """True when something waits to be brought in step."""
        return bool(self._catalog.images.queued_links(1)[1])

    def dry_run(self) -> LinksResult:
        """What a sync of everything would do; nothing is written."""
        with self._catalog.snapshot():
            images = [image.id for image in self._catalog.images.all()]
            wanted, gone = self._wishes([*images, *self._unwanted()], *self._folders())
        planned = plan(wanted, gone, self._ledger, self._root, self._mode)
        return LinksResult(
            links=planned.kept,
            created=len(planned.make) + len(planned.convert),
            removed=len(planned.remove) + len(planned.convert),
            moved=len(planned.move),
            missing=len(planned.make),
            stale=len(planned.remove) + len(planned.move) + len(planned.convert),
            foreign=planned.foreign,
        )

    def check(self, *, progress: Progress = silent, stop: StopFlag | None = None) -> LinksResult:
        """Hold the whole tree against the catalog; nothing is written."""
        with self._catalog.snapshot():
            images = [image.id for image in self._catalog.images.all()]
            wanted, _ = self._wishes(images, *self._folders())
        found = check(self._root, wanted, self._ledger, progress=progress, stop=stop)
        return LinksResult(
            links=found.links,
            created=0,
            removed=0,
            missing=len(found.missing),
            stale=len(found.stale),
            foreign=found.foreign,
        )

    def folder_of(self, cluster: int) -> Path | None:
        """Folder of a cluster below the link folder, None when the clustering has no such one."""
        name = self._folders()[1].get(cluster)
        return None if name is None else self._root / os.fsdecode(name)

    def _folders(self) -> tuple[int | None, dict[int, bytes]]:
        """The current clustering and the folder name of each of its clusters."""
        current = self._catalog.clusterings.current_id()
        if current is None:
            return None, {}
        names = self._catalog.clusterings.names()
        counts: dict[int, int] = {}
        if "{count" in self._names.folder + self._names.named_folder:
            counts = self._catalog.clusterings.sizes(current)
        folders: dict[int, bytes] = {}
        for cluster in self._catalog.clusterings.cluster_ids(current):
            name = names.get(cluster)
            folders[cluster] = folder_name(
                self._names.named_folder if name else self._names.folder,
                id=cluster,
                name=name,
                count=counts.get(cluster, 0),
            )
        return current, folders

    def _rename_folders(self, folders: dict[int, bytes]) -> None:
        """Give folders whose cluster has another name now (or another count) their new name."""
        stored = self._catalog.setting("link_folders") or {}
        renamed = False
        for cluster, folder in folders.items():
            old = stored.get(str(cluster))
            if old is not None and bytes.fromhex(old) != folder:
                rename_folder(bytes.fromhex(old), folder, self._root, self._ledger)
                renamed = True
        if renamed or len(stored) != len(folders) or set(map(int, stored)) != set(folders):
            with self._catalog.transaction():
                self._catalog.store(
                    "link_folders", {str(cluster): name.hex() for cluster, name in folders.items()}
                )

    def _wishes(
        self, images: Sequence[int], current: int | None, folders: dict[int, bytes]
    ) -> tuple[list[Wanted], list[int]]:
        """The links that these images should have, and those of them that should have none."""
        wanted: list[Wanted] = []
        gone: list[int] = []
        rows = self._catalog.images.some(images)
        outlying: set[int] = set()
        if self._names.outliers and current is not None:
            contents = {row.content for row in rows.values()}
            outlying = self._catalog.clusterings.outlying(current, contents)
        for image in dict.fromkeys(images):
            row = rows.get(image)
            cluster = None
            if row is not None and current is not None:
                cluster = self._catalog.clusterings.cluster_of(current, row.content)
            if row is None or cluster is None:
                gone.append(image)
                continue
            name = os.path.basename(row.path)
            folder = _OUTLIERS if row.content in outlying else folders[cluster]
            wanted.append(Wanted(image, folder, name, row.path))
        return wanted, gone

    def _unwanted(self) -> Iterator[int]:
        """Images in the ledger that the catalog does not have any more."""
        seen = {row.image for row in self._ledger.all_rows()}
        present = {image.id for image in self._catalog.images.all()}
        yield from sorted(seen - present)
