"""What kind of file system a path is on, and what the system grants to watchers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Changes made by another machine (or on the other side of a virtual machine) raise no event here,
# and SQLite's WAL needs memory shared by everyone who opens the file.
_NETWORK = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "davfs2",
        "fuse.ceph",
        "fuse.cephfs",
        "fuse.curlftpfs",
        "fuse.davfs",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.google-drive-ocamlfuse",
        "fuse.gvfsd-fuse",
        "fuse.juicefs",
        "fuse.moosefs",
        "fuse.onedriver",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seaweedfs",
        "fuse.smbnetfs",
        "fuse.sshfs",
        "fuse.vmhgfs-fuse",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "prl_fs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    }
)

_MOUNTS = Path("/proc/self/mountinfo")
_LIMITS = Path("/proc/sys/fs/inotify")


@dataclass(frozen=True)
class WatchLimits:
    """What inotify grants here; None where it cannot be read.

    Attributes
    ----------
    watches
        Folders a user may have watched at once.
    queued_events
        Events that wait before the queue overflows.
    """

    watches: int | None
    queued_events: int | None


def watch_limits() -> WatchLimits:
    """Read the inotify limits of this system."""

    def read(name: str) -> int | None:
        try:
            return int((_LIMITS / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    return WatchLimits(read("max_user_watches"), read("max_queued_events"))


def filesystem_type(path: bytes) -> str:
    """Name of the file system that `path` is on or would be on, as the mount table has it.

    Parameters
    ----------
    path
        Any path; parts that do not exist yet belong to the folder above.

    Returns
    -------
    str
        Such as "ext4", "nfs4" or "fuse.sshfs"; empty where there is no mount table.
    """
    real = os.path.realpath(path)
    best, kind = -1, ""
    for point, found in _mounted():
        below = point.rstrip(b"/") + b"/"
        # Of two mounts on one point the later hides the earlier, hence >=.
        if (real + b"/").startswith(below) and len(below) >= best:
            best, kind = len(below), found
    return kind


def mount_points(folder: bytes) -> set[bytes]:
    """Paths in a folder, itself included, that something is mounted on, as the mount table says.

    This knows bind mounts, whose device is often that of the folder above; subvolumes of btrfs are
    not in it. Empty where there is no mount table.
    """
    top = folder.rstrip(b"/")
    return {point for point, _ in _mounted() if point == folder or point.startswith(top + b"/")}


def _mounted() -> Iterator[tuple[bytes, str]]:
    """Mount points and the types of their file systems, in the order of the mount table."""
    try:
        table = _MOUNTS.read_bytes()
    except OSError:
        return
    for line in table.splitlines():
        fields = line.split(b" ")
        try:
            yield (
                _unescaped(fields[4]),
                fields[fields.index(b"-", 6) + 1].decode("ascii", "replace"),
            )
        except (IndexError, ValueError):
            continue


def is_network(path: bytes) -> bool:
    """True when `path` is on a file system that others may change without an event here."""
    return filesystem_type(path) in _NETWORK


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
