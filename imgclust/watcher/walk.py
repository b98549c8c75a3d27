"""The full scan: every regular file below a folder, by stat alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator

from imgclust.watcher.exclusion import Exclusion


def scan(
    root: bytes,
    *,
    excluded: Callable[[bytes, bool], bool] | None = None,
    skip: Collection[bytes] = (),
    trouble: Callable[[bytes, OSError], None],
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Walk a folder, names in order, and yield its regular files.

    Symbolic links are not followed (`root` itself may be one). What vanishes meanwhile is left out.

    Parameters
    ----------
    root
        Where to begin, an absolute path.
    excluded
        Called with every path below `root`, and True for a folder; what it says True to is not
        yielded or entered. By default what an `Exclusion` without patterns leaves out.
    skip
        Absolute folders not to enter.
    trouble
        Called with a path that could not be read, and why. The scan continues, but says nothing
        about what is below that path: its files must not count as missing.

    Yields
    ------
    bytes, os.stat_result
        Path and `lstat` of a regular file.
    """
    if excluded is None:
        excluded = Exclusion().below(root)
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            if folder == root or not _vanished(error):
                trouble(folder, error)
            continue
        below = []
        while entries:
            entry = entries.pop()  # its stat goes with it: there may be 10^6 in one folder
            try:
                folder_too = entry.is_dir(follow_symlinks=False)
                if excluded(entry.path, folder_too):
                    continue
                if folder_too:
                    if entry.path not in skip:
                        below.append(entry.path)
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                if not _vanished(error):
                    trouble(entry.path, error)
                continue
            yield entry.path, status
        folders.extend(reversed(below))


def _vanished(error: OSError) -> bool:
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def ignore(path: bytes, error: OSError) -> None:
    """Leave it to the rescan to say that a folder cannot be read."""
