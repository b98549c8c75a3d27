"""The exception tree: every failure that a caller may want to tell apart.

Each class carries a short `code` (for JSON) and the process `exit_code` that the command line
answers with. Messages are one line: what is wrong, then what to do about it.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

DISK_FULL = "the disk is full; free some space"
_CURES = {
    errno.EDQUOT: "; free some space",
    errno.EIO: "; check the disk",
    errno.EACCES: "; correct its permissions",
    errno.EPERM: "; correct its permissions",
    errno.EROFS: "; use another place",
}


def reason_of(error: OSError) -> str:
    """Why the system refuses, and where that is known what to do about it, in words for people."""
    if error.errno == errno.ENOSPC:
        return DISK_FULL
    return (error.strerror or str(error)) + _CURES.get(error.errno or 0, "")


class ImgclustError(Exception):
    """The work failed (exit code 1). Root of every error that imgclust raises on purpose."""

    code = "failed"
    exit_code = 1


class UsageError(ImgclustError):
    """The request cannot be meant as given: absent folder, output inside input, bad setting."""

    code = "usage"
    exit_code = 2


class NothingThereError(ImgclustError):
    """Nothing was found: an empty collection, an unknown image or cluster."""

    code = "nothing"
    exit_code = 3


class LockedError(ImgclustError):
    """Another process holds the lock that this work needs."""

    code = "locked"
    exit_code = 4


class PausedError(ImgclustError):
    """The collection is paused: nothing is read until it is resumed."""

    code = "paused"


class StoppedError(ImgclustError):
    """The person asked to stop; what was finished so far is kept."""

    code = "interrupted"
    exit_code = 130


class WeightsError(ImgclustError):
    """Weights cannot be had, or are not what they should be."""

    code = "weights"


class RecipeError(ImgclustError):
    """Embeddings of two recipes would have been mixed."""

    code = "recipe"


class EmbeddingError(ImgclustError):
    """The network returned something that is not an embedding (wrong shape, NaN)."""

    code = "embedding"


class CatalogError(ImgclustError):
    """The catalog cannot be opened, is damaged, or is from a newer version."""

    code = "catalog"


class CollisionError(CatalogError):
    """Two contents cannot be told apart by the key that they would have."""


class BackupError(ImgclustError):
    """A backup is damaged, cut short, or from a newer version."""

    code = "backup"


class IndexFileError(ImgclustError):
    """The index file is damaged, truncated, newer or foreign; it can be rebuilt."""

    code = "index_file"


class ClusteringError(ImgclustError):
    """A clustering or projection cannot be computed from these embeddings."""

    code = "clustering"


class StorageError(ImgclustError):
    """The disk refused: full, read-only, or an input/output error."""

    code = "storage"


class MissingPackageError(ImgclustError):
    """An optional package is not installed; the message names the extra that brings it."""

    code = "missing_package"


@contextlib.contextmanager
def writing(shown: str) -> Iterator[None]:
    """Raise a `StorageError` that names what is written when the system refuses it."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{shown} cannot be written: {reason_of(error)}") from None
