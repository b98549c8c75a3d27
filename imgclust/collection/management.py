"""Collections by name: listed, made, renamed, restored and deleted; the settings of one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgclust import config, paths
from imgclust.catalog.catalog import Catalog
from imgclust.collection import link_folder, results
from imgclust.collection.context import Context
from imgclust.collection.query_client import SOCKET
from imgclust.collection.stored_settings import KEPT, REPLACED
from imgclust.errors import ImgclustError, UsageError
from imgclust.fs import sync_folder
from imgclust.locks import FileLock, is_locked
from imgclust.paths import LOCKS, Folders, IndexFolder, as_path
from imgclust.progress import Progress, StopFlag, silent
from imgclust.wording import printable


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

    @property
    def root_locations(self) -> tuple[Path, ...]:
        """`roots` as `Path`s."""
        return tuple(map(as_path, self.roots))


@dataclass(frozen=True)
class CollectionList:
    """The collections of an index folder, by name."""

    index: IndexFolder
    collections: tuple[CollectionRow, ...]


def list_collections(index: Path | None = None, *, progress: Progress = silent) -> CollectionList:
    """All collections of the index folder; see `find_index_folder` for which one that is.

    A collection that a crash has left half deleted is among them, with its trouble.
    """
    found = paths.find_index_folder(index)
    whole = paths.collections_in(found.path)
    names = sorted({*whole, *paths.half_deleted(found.path)})
    rows = []
    for done, name in enumerate(names):
        progress("measuring", done, len(names))
        rows.append(_row(paths.folders_of(found, name), name, whole=name in whole))
    progress("measuring", len(names), len(names))
    return CollectionList(found, tuple(rows))


def collection_row(name: str, index: Path | None = None) -> CollectionRow:
    """One collection of the index folder.

    Raises
    ------
    NothingThereError
        When there is none of that name.
    """
    found = paths.find_index_folder(index)
    place = paths.folders_of(found, name)
    whole = name not in paths.half_deleted(found.path)
    if whole:
        place = paths.existing(found, name)
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


# What imgclust makes in the folder of a collection, beside the link folder and the catalog.
_OUR_FOLDERS = ("charts", "log", "set-aside", "thumbnails")
_OUR_FILES = ("index.faiss*", "neighbourhood.bin*", ".probe", SOCKET)
_CATALOG_FILES = (paths.CATALOG, f"{paths.CATALOG}-wal", f"{paths.CATALOG}-shm")


@dataclass(frozen=True)
class CollectionPlace:
    """Where a collection is that was made or renamed."""

    name: str
    path: Path


@dataclass(frozen=True)
class Deleted:
    """A collection that was deleted; `kept` are paths that are not ours and stay."""

    name: str
    path: Path
    links: int
    kept: tuple[bytes, ...]


def create_collection(
    name: str, index: Path | None = None, *, effective: config.Effective | None = None
) -> CollectionPlace:
    """Make an empty collection, which keeps what the settings say it is; whole, or not at all.

    Raises
    ------
    UsageError
        When there is one of that name, or the name cannot be one.
    StorageError
        When the disk refuses.
    """
    found = paths.find_index_folder(index)
    place = _free(found, name)
    ours = _claimed(place)
    try:
        made = paths.prepare(found, name, ())
        with Context(name, made, found, effective or config.load()):
            return CollectionPlace(name, made.root)
    except BaseException:
        if ours:
            _take_back(place)
        raise


def _claimed(place: Folders) -> bool:
    """True when this process made the folder, False where the disk refused (`open` says why).

    Who asks for the same name at the same moment must not take back what the other made.
    """
    try:
        place.root.parent.mkdir(parents=True, exist_ok=True)
        place.root.mkdir(mode=0o700)
    except FileExistsError:
        raise _taken(place) from None
    except OSError:
        return False
    return True


def _take_back(place: Folders) -> None:
    """Remove what a failure has left of a new collection, unless somebody works in it already."""
    with contextlib.suppress(OSError):  # the disk may refuse that too
        if not any(is_locked(place.lock(what)) for what in LOCKS):
            _remove_files(place)
            place.root.rmdir()


def rename_collection(name: str, to: str, index: Path | None = None) -> CollectionPlace:
    """Give a collection another name; its links stay right.

    Raises
    ------
    NothingThereError
        When there is no such collection.
    UsageError
        When the new name is taken or cannot be one.
    LockedError
        When another process works on the collection.
    """
    found = paths.find_index_folder(index)
    paths.folders_of(found, to)
    place = paths.existing(found, name)
    target = _free(found, to)
    with _all_locks(place):
        with Catalog(place.catalog) as catalog:
            kept = catalog.setting("link_folder")
            inside = kept and _below(place.root / os.fsdecode(bytes.fromhex(kept)), place.root)
            if inside:  # relative to the collection's folder, so that it is right at any moment
                with catalog.transaction():
                    catalog.store("link_folder", os.fsencode(inside).hex())
        os.rename(place.root, target.root)
        sync_folder(found.path)
    return CollectionPlace(to, target.root)


def restore_collection(
    file: Path,
    index: Path | None = None,
    *,
    name: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> results.Restored:
    """Make a collection from a backup; whole, or not at all.

    Parameters
    ----------
    file
        What `Collection.backup` wrote.
    name
        Name of the new collection, by default that which the backup has.
    dry_run
        Verify the backup only.

    Raises
    ------
    NothingThereError
        When there is no such file.
    UsageError
        When it is not a backup, or there is a collection of that name.
    BackupError
        When it is damaged, or of a newer version.
    StorageError
        When the disk is full or refuses.
    """
    from imgclust.backup.file import read_manifest
    from imgclust.backup.restore import restore_into

    found = paths.find_index_folder(index)
    if name is not None:
        paths.folders_of(found, name)
    manifest = read_manifest(file)
    place = _free(found, name or manifest.collection, how=" with --collection NAME")
    paths.require_local(place)
    for root in manifest.roots:
        if paths.overlaps(os.fsencode(place.root), root):
            raise UsageError(
                f"the index folder {place.root} and the images in {printable(root)} lie inside "
                "each other; choose another place with --to DIR"
            )
    return restore_into(file, place.root, dry_run=dry_run, progress=progress, stop=stop)


def delete_collection(
    name: str,
    index: Path | None = None,
    *,
    progress: Progress = silent,
    stop: StopFlag | None = None,
) -> Deleted:
    """Delete a collection: its links, wherever they are, and what is in its folder.

    Originals stay, and so does every file that is not ours. The catalog leaves last: what a crash
    leaves is a collection still, or its empty shell, and deleting it again finishes the work.

    Raises
    ------
    NothingThereError
        When there is no such collection.
    LockedError
        When another process works on it; nothing was deleted then.
    """
    found = paths.find_index_folder(index)
    place = paths.folders_of(found, name)
    if name not in paths.half_deleted(found.path):
        place = paths.existing(found, name)
    links, kept = 0, []
    with _all_locks(place):
        if place.catalog.is_file():
            # Makes the room that the catalog needs on a full disk to take the links out.
            place.index_file.unlink(missing_ok=True)
            plain = config.Effective(
                config.Settings(), dict.fromkeys(config.flatten(config.Settings()), "default")
            )
            with Context(name, place, found, plain, progress=progress, stop=stop) as going:
                links = going.link_syncer().clear(progress=progress, stop=stop).removed
                link_folder.clear(going)
                folder = going.link_folder
            kept = _left_in(folder)
            with contextlib.suppress(OSError):  # something foreign is in it
                os.rmdir(folder)
        _remove_files(place)
        for what in LOCKS:
            place.lock(what).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something foreign is in it
            os.rmdir(place.root)
    if place.root.is_dir():
        kept += [path for path in _left_in(place.root) if path not in kept]
    return Deleted(name, place.root, links, tuple(sorted(kept)))


def _free(index: IndexFolder, name: str, *, how: str = "") -> Folders:
    place = paths.folders_of(index, name)
    if name in paths.half_deleted(index.path):
        raise UsageError(
            f"{name!r} is half deleted; imgclust collections delete {name} finishes that"
        )
    if os.path.lexists(place.root):
        raise _taken(place, how)
    return place


def _taken(place: Folders, how: str = "") -> UsageError:
    name, index = place.root.name, place.root.parent
    return UsageError(f"{name!r} is taken in the index folder {index}; choose another name{how}")


@contextlib.contextmanager
def _all_locks(place: Folders) -> Iterator[None]:
    """Nobody ingests, clusters or syncs links meanwhile."""
    with contextlib.ExitStack() as stack:
        for what, purpose in LOCKS.items():
            stack.enter_context(FileLock(place.lock(what), purpose=purpose))
        yield


def _remove_files(place: Folders) -> None:
    """Remove what is ours in the folder of a collection, the catalog last."""
    for name in _OUR_FOLDERS:
        folder = place.root / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
    for pattern in _OUR_FILES:
        for path in place.root.glob(pattern):
            path.unlink()
    for name in _CATALOG_FILES:
        (place.root / name).unlink(missing_ok=True)


def _left_in(folder: Path) -> list[bytes]:
    """Files below a folder of ours whose own are gone."""
    left = []
    for top, below, files in os.walk(os.fsencode(folder)):
        left += [os.path.join(top, name) for name in files]
        left += [
            path for path in (os.path.join(top, name) for name in below) if os.path.islink(path)
        ]
    return left


def _below(path: Path, folder: Path) -> str | None:
    """The path relative to a folder that it lies in, else None; links are followed."""
    try:
        return str(Path(os.path.realpath(path)).relative_to(os.path.realpath(folder)))
    except ValueError:
        return None


KEPT_BY = "the collection"


@dataclass(frozen=True)
class SettingRow:
    """A setting by dotted name; `origin` is "default", a file, a variable, or "the collection"."""

    key: str
    value: Any
    default: Any
    origin: str

    @property
    def changed(self) -> bool:
        """True when the value is not the default one."""
        return bool(self.value != self.default)


@dataclass(frozen=True)
class EffectiveSettings:
    """The settings that commands work with, and the folders that they work in."""

    index: IndexFolder
    collection: str
    cache: Path
    settings: tuple[SettingRow, ...]


def effective_settings(
    index: Path | None = None, name: str = "default", *, effective: config.Effective | None = None
) -> EffectiveSettings:
    """Every setting with its value and origin; a collection need not be there.

    Raises
    ------
    UsageError
        When a file or variable says something else than what the collection keeps.
    """
    found = paths.find_index_folder(index)
    place = paths.folders_of(found, name)
    given = effective or config.load()
    values, origin = config.flatten(given.settings), dict(given.origin)
    if place.catalog.is_file():
        with Context(name, paths.existing(found, name), found, given) as context:
            values = config.flatten(context.settings)
            replaced = {key for key in REPLACED if origin[key] != "default"}
            origin |= dict.fromkeys(KEPT.keys() - replaced, KEPT_BY)
            weights = context.catalog.setting("weights")
            if weights is not None:
                _ = context.recipe  # other weights are refused, as by every command
                chosen = weights["path"] if weights["name"] == "file" else weights["name"]
                values["embedding.weights"] = chosen
                origin["embedding.weights"] = KEPT_BY
    defaults = config.flatten(config.Settings())
    return EffectiveSettings(
        index=found,
        collection=name,
        cache=paths.cache_folder(),
        settings=tuple(
            SettingRow(key, values[key], defaults[key], origin[key]) for key in defaults
        ),
    )
