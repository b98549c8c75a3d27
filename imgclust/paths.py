"""Where things lie: index folder, collections, cache, and what must not overlap."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from imgclust import config
from imgclust.errors import CatalogError, NothingThereError, StorageError, UsageError, reason_of
from imgclust.fs import (
    NotAFileError,
    filesystem_type,
    is_at_or_below,
    is_network,
    open_new,
    require_regular,
)
from imgclust.wording import printable

CATALOG = "catalog.sqlite3"
# Beside a catalog: what was put aside, and catalogs of earlier versions.
ASIDE = "set-aside"

# What is done to a collection by one process at a time, as those that wait read it.
LOCKS = {
    "ingest": "ingesting into",
    "clustering": "clustering",
    "links": "syncing the links of",
    "duplicates": "keeping the neighbours of",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class IndexFolder:
    """An index folder and why it is the one."""

    path: Path
    why: str
    # A person named it; one that nobody named may give way to another.
    chosen: bool = False


def find_index_folder(given: Path | None = None, *, cwd: Path | None = None) -> IndexFolder:
    """The index folder to use.

    The one given, else `$IMGCLUST_INDEX`, else the nearest `index/` upwards that holds
    collections, else the checkout's `index/`, else the user's data directory.
    """
    if given is not None:
        return IndexFolder(_absolute(given), "as given", chosen=True)
    variable = config.environment("IMGCLUST_INDEX")
    if variable:
        return IndexFolder(_absolute(Path(variable)), "from IMGCLUST_INDEX", chosen=True)
    here = (cwd or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        if collections_in(folder / "index"):
            return IndexFolder(folder / "index", "the nearest one upwards")
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file() and (checkout / "index" / "README.md").is_file():
        return IndexFolder(checkout / "index", "of the checkout")
    return user_index_folder()


def user_index_folder() -> IndexFolder:
    """The index folder in the user's data directory."""
    from platformdirs import user_data_path

    return IndexFolder(user_data_path("imgclust") / "index", "in your data directory")


def cache_folder() -> Path:
    """Folder of downloaded weights and other things that all collections share."""
    from platformdirs import user_cache_path

    variable = config.environment("IMGCLUST_CACHE")
    return _absolute(Path(variable)) if variable else user_cache_path("imgclust")


def collections_in(index: Path) -> list[str]:
    """Names of the collections of an index folder."""
    try:
        return sorted(child.name for child in index.iterdir() if (child / CATALOG).is_file())
    except OSError:
        return []


class Located:
    """A result about a file or folder: its `path` in bytes, as the system has it."""

    path: bytes

    @property
    def location(self) -> Path:
        """The same as a `Path`."""
        return as_path(self.path)


def as_path(raw: bytes) -> Path:
    """A path in bytes as a `Path`; every name stays what it is."""
    return Path(os.fsdecode(raw))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))


@dataclass(frozen=True)
class Folders:
    """Paths of one collection; everything but the catalog can be made again."""

    root: Path

    @property
    def catalog(self) -> Path:
        return self.root / CATALOG

    @property
    def index_file(self) -> Path:
        return self.root / "index.faiss"

    @property
    def neighbourhood(self) -> Path:
        return self.root / "neighbourhood.bin"

    @property
    def links(self) -> Path:
        return self.root / "links"

    @property
    def charts(self) -> Path:
        return self.root / "charts"

    @property
    def thumbnails(self) -> Path:
        return self.root / "thumbnails"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def aside(self) -> Path:
        return self.root / ASIDE

    def lock(self, what: str) -> Path:
        """The lock file of one kind of work, one of `LOCKS`."""
        return self.root / f"{what}.lock"


def folders_of(index: IndexFolder, name: str) -> Folders:
    """Paths of the collection `name`.

    Raises
    ------
    UsageError
        When the name cannot be a folder's name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a collection; use letters, digits, '.', '_' and '-'"
        )
    return Folders(index.path / name)


def existing(index: IndexFolder, name: str) -> Folders:
    """Paths of a collection that is there.

    Raises
    ------
    NothingThereError
        Naming the index folder that was looked in.
    UsageError
        When that is not a folder.
    """
    folders = folders_of(index, name)
    _require_folder(index)
    _require_catalog(folders)
    if not folders.catalog.is_file():
        there = collections_in(index.path)
        also = f"; there are {', '.join(there)}" if there else ""
        raise NothingThereError(
            f"there is no collection {name!r} in the index folder {index.path} ({index.why}){also}"
            "; make one with imgclust watch FOLDER or imgclust add PATH"
        )
    return folders


def place_of(
    index: Path | str | None,
    name: str,
    create_for: Iterable[Path | str | bytes] | None,
    say: Callable[[str], None],
) -> tuple[IndexFolder, Folders]:
    """The index folder and the paths of a collection in it; see `Collection.open`."""
    found = find_index_folder(None if index is None else Path(index))
    if create_for is None:
        return found, existing(found, name)
    place = prepare(found, name, [os.fsencode(path) for path in create_for])
    if place.root.parent != found.path:
        found = IndexFolder(place.root.parent, "outside the images")
        say(f"the index folder is {found.path}, since the default one lies in the images")
    return found, place


def prepare(index: IndexFolder, name: str, inputs: Iterable[bytes]) -> Folders:
    """Paths of a collection, its folder made; never inside a folder that images come from.

    A default index folder that would lie inside one gives way to the user's data directory.

    Raises
    ------
    UsageError
        When a chosen folder lies inside an input or an input inside it, or is on a network disk.
    StorageError
        When it cannot be made or written.
    """
    inputs = list(inputs)
    _require_folder(index)
    folders = folders_of(index, name)
    _require_catalog(folders)
    inside = next((one for one in inputs if overlaps(os.fsencode(folders.root), one)), None)
    if inside is not None and not index.chosen and not folders.catalog.exists():
        folders = folders_of(user_index_folder(), name)
        inside = next((one for one in inputs if overlaps(os.fsencode(folders.root), one)), None)
    if inside is not None:
        raise UsageError(
            f"the index folder {folders.root} and the images in {printable(inside)} lie inside "
            "each other; choose another place with --index DIR"
        )
    require_local(folders)
    try:
        folders.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders.root.chmod(0o700)
        probe = folders.root / ".probe"
        open_new(probe).close()
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"the index folder {folders.root} cannot be written ({reason_of(error)}); "
            "--index DIR chooses another"
        ) from None
    return folders


def require_local(folders: Folders) -> None:
    """Refuse a collection on a network disk.

    Raises
    ------
    UsageError
        Naming a local index folder.
    """
    nearest = os.fsencode(_nearest_existing(folders.root))
    if is_network(nearest):
        local = user_index_folder().path
        raise UsageError(
            f"the index folder {folders.root} is on a network file system "
            f"({filesystem_type(nearest)}), where the catalog cannot be kept safely; use a local "
            f"one, such as --index {local}"
        )


def _require_folder(index: IndexFolder) -> None:
    if index.path.exists() and not index.path.is_dir():
        raise UsageError(f"the index folder {index.path} ({index.why}) is a file")


def _require_catalog(folders: Folders) -> None:
    try:
        require_regular(folders.catalog)
    except NotAFileError as error:
        raise CatalogError(
            f"the catalog {folders.catalog} is {error.kind}; put the file back from a backup, or "
            "move away what is there"
        ) from None


def half_deleted(index: Path) -> list[str]:
    """Names of what has lost its catalog, and has a lock file still."""
    try:
        children = list(index.iterdir())
    except OSError:
        return []
    return [
        child.name
        for child in children
        if not (child / CATALOG).exists()
        and any(Folders(child).lock(what).is_file() for what in LOCKS)
    ]


def overlaps(one: bytes, other: bytes) -> bool:
    """True when one path is the other, or lies inside it, by real path or by device and inode."""
    first, second = os.path.realpath(one), os.path.realpath(other)
    return _inside(first, second) or _inside(second, first)


def _inside(inner: bytes, outer: bytes) -> bool:
    if is_at_or_below(inner, outer):
        return True
    outer_id = _identity(outer)
    folder = inner
    while outer_id is not None and folder not in {b"/", b""}:
        if _identity(folder) == outer_id:
            return True
        folder = os.path.dirname(folder)
    return False


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _nearest_existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
