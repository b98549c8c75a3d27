"""The calls that change the link folder: make a link, put it in its place, tidy up.

None of them opens an original for writing, and none replaces anything that is already there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from imgclust.errors import StorageError
from imgclust.fs import open_regular, sync_folder
from imgclust.links.inspect import SYNCING, Tree, original_of
from imgclust.links.ledger import Mode
from imgclust.wording import printable

# What is tried, in order, when a mode is asked for.
FALL_BACKS: dict[Mode, tuple[Mode, ...]] = {
    "hardlink": ("hardlink", "symlink", "copy"),
    "symlink": ("symlink", "copy"),
    "copy": ("copy",),
}
_WORDS: dict[Mode, str] = {
    "hardlink": "hard links",
    "symlink": "symbolic links",
    "copy": "copies",
}
_REFUSED = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_REFUSALS: dict[Mode, frozenset[int]] = {
    "hardlink": _REFUSED | {errno.EXDEV, errno.EMLINK},
    "symlink": _REFUSED,
    "copy": frozenset(),
}
# The file system does not take this name (FAT: a colon; eCryptfs: more than 143 bytes).
NAME_REFUSED = frozenset({errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG})
_CHUNK = 1 << 20


class UnreadableOriginalError(Exception):
    """The original is not there, or cannot be read; its link cannot be made now."""


def make(tree: Tree, target: bytes, temporary: bytes, modes: Sequence[Mode]) -> tuple[Mode, str]:
    """Make a link to `target` at `temporary` in the first of `modes` that is not refused.

    Returns
    -------
    mode, fell_back
        How it was made, and what to tell the person if that is not the first mode (else empty).

    Raises
    ------
    UnreadableOriginalError
        For a hard link or copy whose original is not a readable regular file.
    OSError
        When the last mode is refused as well, or the disk fails.
    """
    refusal: OSError | None = None
    for mode in modes:
        try:
            _make_one(tree, target, temporary, mode)
        except OSError as error:
            if error.errno not in _REFUSALS[mode]:
                raise
            refusal = refusal or error
        else:
            if refusal is None:
                return mode, ""
            reason = f"{_WORDS[modes[0]]} refused by the file system ({refusal.strerror})"
            return mode, f"{reason}: {_WORDS[mode]} made instead"
    raise refusal or ValueError("no mode to make a link in")


def _make_one(tree: Tree, target: bytes, temporary: bytes, mode: Mode) -> None:
    text = tree.text(target)  # refuses originals inside the link folder, whatever the mode
    if mode == "symlink":
        os.symlink(text, temporary)
    elif mode == "hardlink":
        found = original_of(target)
        if found is None or not stat.S_ISREG(found.st_mode):
            raise UnreadableOriginalError
        try:
            os.link(target, temporary, follow_symlinks=False)
        except FileNotFoundError as error:
            raise UnreadableOriginalError from error
    else:
        _copy(target, temporary)


def _copy(target: bytes, temporary: bytes) -> None:
    with contextlib.ExitStack() as stack:
        try:
            # Never follow a link: what exists there may have changed kind.
            source = open_regular(target, follow=False)
            stack.callback(os.close, source)
            before = os.fstat(source)
        except OSError as error:
            raise UnreadableOriginalError from error
        copy = stack.enter_context(open(temporary, "xb"))
        for chunk in _chunks(source):
            copy.write(chunk)
        copy.flush()
        os.utime(copy.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))


def _chunks(source: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(source, _CHUNK)
        except OSError as error:
            raise UnreadableOriginalError from error
        if not chunk:
            return
        yield chunk


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return found


def place(source: bytes, destination: bytes) -> None:
    """Rename `source` to `destination`, which must be free.

    Raises
    ------
    FileExistsError
        When something is there; it is left as it is. Where the system can neither rename without
        replacing nor make hard links (some FUSE file systems), this is checked just before.
    OSError
        When the disk refuses.
    """
    rename = _renameat2()
    if rename is not None:
        at_working_directory, no_replace = -100, 1
        if rename(at_working_directory, source, at_working_directory, destination, no_replace) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), os.fsdecode(destination))
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _REFUSALS["hardlink"]:
            raise
        if os.path.lexists(destination):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(source, destination)
    else:
        os.unlink(source)


def remove_if_empty(tree: Tree, folder: bytes) -> None:
    """Remove a cluster's folder when nothing is in it."""
    with contextlib.suppress(OSError):
        os.rmdir(tree.path(folder))


def flush(tree: Tree, folders: set[bytes]) -> None:
    """Make what was removed from or moved between `folders` last through a loss of power.

    Otherwise an entry could come back that the ledger, which is durable, no longer knows.
    """
    for path in [tree.root, *(tree.path(folder) for folder in sorted(folders))]:
        # A folder that was empty is gone by now; some file systems cannot do this at all.
        with contextlib.suppress(OSError):
            sync_folder(path)


def clear(tree: Tree) -> None:
    """Remove `.syncing` and the temporary links in it, whoever left them."""
    path = tree.path(SYNCING)
    if tree.is_blocked(SYNCING):
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            if name.isdigit():
                os.unlink(os.path.join(path, name))
        os.rmdir(path)


@contextlib.contextmanager
def syncing(tree: Tree) -> Iterator[bytes]:
    """Hold `.syncing`, and give the path of the folder for temporary links.

    Raises
    ------
    StorageError
        When something that is not ours has that name.
    """
    path = tree.path(SYNCING)
    os.makedirs(tree.root, exist_ok=True)
    if tree.is_blocked(SYNCING):
        raise StorageError(
            f"{printable(path)} already exists and was not made by imgclust: move it elsewhere"
        )
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    try:
        yield path
    finally:
        clear(tree)
