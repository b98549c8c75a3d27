"""Where things lie: index folder, collections, cache; known without loading anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from imgclust import config

CATALOG = "catalog.sqlite3"


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
