"""Collections side by side in an index folder, and how much each takes."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from imgclust.catalog import Catalog
from imgclust.collection import folders
from imgclust.collection.folders import Folders, IndexFolder
from imgclust.errors import ImgclustError
from imgclust.locks import is_locked
from imgclust.progress import Progress, silent


@dataclass(frozen=True)
class CollectionRow:
    """A collection of an index folder.

    `size_bytes` is what its folder takes on the disk (hard links to originals: nothing). Where the
    catalog cannot be read, `trouble` says why and the numbers are None.
    """

    name: str
    images: int | None
    distinct: int | None
    size_bytes: int
    roots: tuple[bytes, ...]
    watching: bool
    trouble: str | None = None


@dataclass(frozen=True)
class CollectionList:
    """The collections of an index folder, by name."""

    index: IndexFolder
    collections: tuple[CollectionRow, ...]


def list_collections(index: Path | None = None, *, progress: Progress = silent) -> CollectionList:
    """All collections of the index folder; see `find_index_folder` for which one that is.

    A collection that a crash has left half deleted is among them, with its trouble.
    """
    found = folders.find_index_folder(index)
    whole = folders.collections_in(found.path)
    names = sorted({*whole, *folders.half_deleted(found.path)})
    rows = []
    for done, name in enumerate(names):
        progress("measuring", done, len(names))
        rows.append(_row(folders.folders_of(found, name), name, whole=name in whole))
    progress("measuring", len(names), len(names))
    return CollectionList(found, tuple(rows))


def collection_row(name: str, index: Path | None = None) -> CollectionRow:
    """One collection of the index folder.

    Raises
    ------
    NothingThereError
        When there is none of that name.
    """
    found = folders.find_index_folder(index)
    place = folders.folders_of(found, name)
    whole = name not in folders.half_deleted(found.path)
    if whole:
        place = folders.existing(found, name)
    return _row(place, name, whole=whole)


def _row(place: Folders, name: str, *, whole: bool) -> CollectionRow:
    size, watching = _size(place.root), is_locked(place.lock("ingest"))
    if not whole:
        trouble = f"half deleted; imgclust collections delete {name} finishes that"
        return CollectionRow(name, None, None, size, (), watching, trouble)
    try:
        with Catalog(place.catalog) as catalog, catalog.snapshot():
            return CollectionRow(
                name=name,
                images=catalog.images.count(),
                distinct=catalog.contents.count(),
                size_bytes=size,
                roots=tuple(root.path for root in catalog.roots.all() if root.kind == "watched"),
                watching=watching,
            )
    except ImgclustError as error:
        return CollectionRow(name, None, None, size, (), watching, str(error))


def _size(folder: Path) -> int:
    """Bytes that a folder takes on the disk, but for files that have another name elsewhere."""
    total, waiting = 0, [os.fsencode(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_symlink():
                    found = entry.stat(follow_symlinks=False)
                    total += 512 * found.st_blocks if found.st_nlink == 1 else 0
    return total
