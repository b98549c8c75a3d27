"""The file system: opening and replacing files, names and folders, what a path is mounted on."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
}

_TEMPORARY_SUFFIXES = (b".part", b".crdownload", b".tmp", b".filepart", b"~")
# What systems keep in folders of people's pictures; a photo in the trash has left the collection.
SYSTEM_FOLDERS = (
    *("#recycle", "@Recycle", "@Recently-Snapshot", "$RECYCLE.BIN", "RECYCLER", ".Trash*"),
    *("#snapshot", "~snapshot", ".snapshot", "__MACOSX", "lost+found"),
    *("System Volume Information", "@eaDir"),
)

# A folder that cannot be synced, as on some network disks, is as good as one that is.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)

# Changes made by another machine (or on the other side of a virtual machine) raise no event here,
# and SQLite's WAL needs memory shared by everyone who opens the file.
_NETWORK = frozenset(
    [
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
    ]
)

_MOUNTS = Path("/proc/self/mountinfo")


class NotAFileError(OSError):
    """Something other than a regular file has the name.

    Attributes
    ----------
    kind
        What it is, in words: "a folder", "a named pipe (FIFO)".
    """

    def __init__(self, kind: str, path: Path | str | bytes) -> None:
        super().__init__(errno.ENODEV, f"it is {kind}, not a regular file", os.fsdecode(path))
        self.kind = kind


def stored(number: int) -> int:
    """A number of the system as SQLite can hold it: signed, of 64 bits.

    Inode and device numbers are unsigned, and times in nanoseconds end in 2262. What does not fit
    wraps around, so that two numbers that differ still differ. -1 becomes -2: the catalog writes
    -1 where no stat is to fit.
    """
    wrapped = (number + (1 << 63)) % (1 << 64) - (1 << 63)
    return -2 if wrapped == -1 else wrapped


def kind_of(mode: int) -> str:
    """What a file mode that is not a regular file's says, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something of an unknown kind")


def require_regular(path: Path | str | bytes) -> None:
    """Refuse a path at which something other than a regular file is; absent ones pass.

    Raises
    ------
    NotAFileError
        Saying what it is.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        raise NotAFileError(kind_of(mode), path)


def open_regular(path: Path | str | bytes, *, follow: bool = True) -> int:
    """Open a regular file for reading; returns the descriptor.

    Nothing else is opened for longer than it takes to see what it is, and nothing is waited for: a
    FIFO has no writer, a device may do something when it is read. Where the system allows it, the
    read leaves no trace in the access time.

    Parameters
    ----------
    follow
        False: a symbolic link is refused, with ELOOP.

    Raises
    ------
    NotAFileError
        When it is something else.
    OSError
        When it cannot be opened.
    """
    mode = os.stat(path, follow_symlinks=follow).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise NotAFileError(kind_of(mode), path)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    flags |= 0 if follow else os.O_NOFOLLOW
    try:
        # Our reads should leave no trace; only the owner of a file may ask for that.
        descriptor = os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):  # it was replaced in between
        os.close(descriptor)
        raise NotAFileError(kind_of(mode), path)
    return descriptor


def open_to_read(path: Path | str | bytes) -> BufferedReader:
    """`open(path, "rb")` for regular files only; see `open_regular`."""
    return os.fdopen(open_regular(path), "rb")


def read_regular(path: Path | str | bytes, *, most_bytes: int | None = None) -> bytes:
    """All bytes of a regular file.

    Parameters
    ----------
    most_bytes
        A larger file is refused, with EFBIG.

    Raises
    ------
    OSError
        As `open_regular`.
    """
    with open_to_read(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most_bytes is None:
            # Files of /proc have no size and may never end: of them nothing is taken.
            return file.read(size)
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", os.fsdecode(path))
    return content


def open_new(path: Path | str | bytes, *, mode: int = 0o666) -> BinaryIO:
    """A new file to write; what had its name, such as what a crash has left, is removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode))


@contextlib.contextmanager
def replacing(
    path: Path,
    *,
    temporary: Path | None = None,
    mode: int = 0o666,
    lasting: bool = True,
    check: Callable[[Path], object] | None = None,
) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends well.

    A reader finds the old file or the new one, each whole, also after a crash or a loss of power.
    When anything fails, the old file stays and the new one is gone.

    Parameters
    ----------
    temporary
        Where it is written: for a file that only one process writes, a fixed name, so that the
        next one takes away what a crash left. By default a hidden name of this thread's.
    mode
        Its permissions, less the umask.
    lasting
        False for a cache: the disk may take its time, and a loss of power may cost the file.
    check
        Called with the finished file just before it replaces `path`; what it raises prevents that.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    made = temporary or _beside(path)
    try:
        with open_new(made, mode=mode) as file:
            yield file
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        if check is not None:
            check(made)
        if lasting:
            put_in_place(made, path)
        else:
            os.replace(made, path)
    finally:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)


def put_in_place(finished: Path, path: Path) -> None:
    """Rename a file that is on disk to `path`, whatever was there, and have the name last.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    os.replace(finished, path)
    try:
        sync_folder(path.parent)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


@contextlib.contextmanager
def making_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder`, a cache, when the block ends well.

    Another process may make the same meanwhile: the one that is there first stays.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name.partition('-')[0]}-"))
    try:
        yield made
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(FileExistsError):
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A hidden name, which no watcher takes in, of one length however long that of `path` is."""
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".imgclust-{mark}-{threading.get_native_id()}.part")


def sync_file(path: Path) -> None:
    """Wait until the disk has the bytes of a file.

    Raises
    ------
    OSError
        When the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path | bytes) -> None:
    """Wait until the disk has what was made, renamed and removed in a folder.

    Raises
    ------
    OSError
        When it is not a folder, or its file system cannot do this.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Room that is left to this user on the disk of a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def is_below(path: bytes, folder: bytes) -> bool:
    """True when `path` lies inside `folder`, at any depth (both absolute); a folder is not below
    itself.
    """
    return path.startswith(folder if folder.endswith(b"/") else folder + b"/") and path != folder


def is_at_or_below(path: bytes, folder: bytes) -> bool:
    """True when `path` is `folder` or lies inside it."""
    return path == folder or is_below(path, folder)


def is_excluded(name: bytes) -> bool:
    """Whether a file or folder of this name (one path component) is left alone.

    Hidden names, and names of unfinished downloads and copies.
    """
    return name.startswith(b".") or name.lower().endswith(_TEMPORARY_SUFFIXES)


def has_excluded_name(path: bytes) -> bool:
    """Whether the last component of a path is a name that is left alone."""
    return is_excluded(os.path.basename(path))


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
    return {point for point, _ in _mounted() if is_at_or_below(point, folder)}


def mount_of(path: bytes) -> bytes:
    """The folder at or above `path` that its file system is mounted on.

    Parts of the path that do not exist belong to the folder above. A folder whose device differs
    from that above it is one too: subvolumes are not in the mount table.
    """
    folder = os.path.realpath(path)
    points = {point for point, _ in _mounted()}
    below: int | None = None
    inner = folder
    while True:
        try:
            device = os.lstat(folder).st_dev
        except OSError:
            device = None
        if below is not None and device is not None and device != below:
            return inner
        if folder in points or folder == b"/":
            return folder
        below, inner, folder = device, folder, os.path.dirname(folder)


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


def unreadable(folder: bytes) -> str | None:
    """Why a folder (or a file) that is there cannot be read; None when it can, or is not there."""
    try:
        if stat.S_ISDIR(os.stat(folder).st_mode):
            with os.scandir(folder) as entries:
                next(entries, None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def volume_number(folder: bytes) -> int | None:
    """A number for this folder of this file system, the same after each mount of it.

    None where nothing tells one disk from another: on network disks, and where a file system has
    neither an identifier nor a serial number.
    """
    if is_network(folder):
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        label = _volume_label(descriptor, found.st_dev)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if not label:
        return None
    digest = hashlib.blake2b(b"%s/%d" % (label, found.st_ino), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


# FS_IOC_GETFSUUID and FAT_IOCTL_GET_VOLUME_ID of Linux, with the size of the answer.
_IDENTIFIERS = ((0x80111500, 17), (0x80047213, 4))
_DISKS = Path("/dev/disk/by-uuid")


def _volume_label(descriptor: int, device: int) -> bytes:
    """What identifies a file system other than its device number; empty when nothing does."""
    label = b""
    for request, size in _IDENTIFIERS:
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(descriptor, request, bytes(size))
            label += answer if any(answer[-4:]) else b""
    number = os.fstatvfs(descriptor).f_fsid
    minor = os.minor(device)
    # Some file systems have no other number than this.
    of_device = minor & 0xFF | os.major(device) << 8 | (minor & ~0xFF) << 12
    if number not in (0, of_device):
        label += b"%d" % number
    if not label:
        with contextlib.suppress(OSError):
            for entry in sorted(_DISKS.iterdir()):
                if entry.stat().st_rdev == device:
                    label += os.fsencode(entry.name)
    return label


def is_network(path: bytes) -> bool:
    """True when `path` is on a file system that others may change without an event here."""
    return filesystem_type(path) in _NETWORK


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
