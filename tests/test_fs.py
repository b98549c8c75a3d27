"""The file system: files are opened, replaced and left alone as they should be."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgclust import fs
from imgclust.fs import (
    NotAFileError,
    filesystem_type,
    has_excluded_name,
    is_at_or_below,
    is_below,
    is_excluded,
    is_network,
    making_folder,
    open_new,
    open_regular,
    read_regular,
    replacing,
    require_regular,
    stored,
    sync_folder,
)
from imgclust.images.filestat import file_stat


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


NO_FILES = [
    (fifo, "a named pipe (FIFO)"),
    (link_to_fifo, "a named pipe (FIFO)"),
    (listening, "a socket"),
    (link_to_device, "a device"),
    (folder, "a folder"),
]


@pytest.mark.parametrize(("make", "kind"), NO_FILES)
def test_what_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, make: Callable[[Path], None], kind: str
) -> None:
    path = tmp_path / "a"
    make(path)
    for use in (open_regular, read_regular, require_regular):
        with pytest.raises(NotAFileError) as caught:
            use(path)
        assert caught.value.kind == kind
        assert caught.value.strerror == f"it is {kind}, not a regular file"


def test_files_of_the_system_that_never_end_give_nothing() -> None:
    assert read_regular("/proc/self/pagemap") == b""
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_regular("/proc/self/environ", most_bytes=10)


def test_a_regular_file_is_read_and_links_are_followed_where_they_may_be(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"content")
    link.symlink_to(path)
    assert read_regular(link) == read_regular(path, most_bytes=7) == b"content"
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(link, follow=False)


def test_a_new_file_takes_the_place_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with open_new(tmp_path / "a") as file:
        file.write(b"content")
    assert (tmp_path / "a").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (2**63, -(2**63)),
        (2**64 - 2, -2),
        (2**64 - 1, -2),
        (-1, -2),
        (9223372037 * 10**9, 9223372037 * 10**9 - 2**64),
        (-(2**64) + 5, 5),
    ],
)
def test_every_number_fits_and_none_is_the_mark_of_the_catalog(number: int, kept: int) -> None:
    assert stored(number) == kept
    assert -(2**63) <= kept < 2**63


def test_a_stat_with_numbers_beyond_64_bits_is_told_from_others() -> None:
    def of(inode: int, device: int, seconds: int) -> os.stat_result:
        times = (float(seconds), float(seconds), float(seconds))
        return os.stat_result(
            (0o100644, inode, device, 1, 0, 0, 5, seconds, seconds, seconds, *times),
            {"st_mtime_ns": seconds * 10**9, "st_ctime_ns": seconds * 10**9},
        )

    stats = [
        file_stat(of(2**64 - 5, 2**63 + 7, 9223372037)),
        file_stat(of(2**64 - 6, 2**63 + 7, 9223372037)),
        file_stat(of(2**64 - 5, 2**63 + 7, 9223372038)),
        file_stat(of(2**64 - 5, 2**63 + 7, -(2**40))),
    ]
    assert len(set(stats)) == len(stats)
    assert all(-(2**63) <= number < 2**63 for found in stats for number in found)


def test_the_folder_is_synced_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, os.stat_result]] = []
    monkeypatch.setattr(os, "fsync", lambda one: synced.append((one, os.fstat(one))))
    for folder in (tmp_path, os.fsencode(tmp_path)):
        sync_folder(folder)
        descriptor, found = synced.pop()
        assert os.path.samestat(found, tmp_path.stat())
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "absent")


@pytest.mark.parametrize("lasting", [True, False])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, lasting: bool) -> None:
    path = tmp_path / ("x" * 255)  # no room for a longer name beside it
    path.write_bytes(b"old")
    with replacing(path, lasting=lasting) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        (other,) = (one for one in tmp_path.iterdir() if one != path)
        assert has_excluded_name(os.fsencode(other))  # no watcher takes it in
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("at", ["writing", "checking", "renaming", "syncing"])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "no")

    if at in {"renaming", "syncing"}:
        monkeypatch.setattr(os, "replace" if at == "renaming" else "fsync", fail)

    def replace() -> None:
        with replacing(path, check=fail if at == "checking" else None) as file:
            file.write(b"new")
            if at == "writing":
                fail()

    with pytest.raises(OSError, match="no"):
        replace()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_disk_has_the_file_before_its_name_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("folder" if folder else "file")
        sync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        steps.append("name")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    with replacing(tmp_path / "a", check=lambda made: steps.append(made.read_text())) as file:
        file.write(b"new")
    assert steps == ["file", "new", "name", "folder"]
    steps.clear()
    with replacing(tmp_path / "a", lasting=False) as file:
        file.write(b"new")
    assert steps == ["name"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_a_folder_that_cannot_be_synced_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(folder: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fs, "sync_folder", refused)
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_fixed_temporary_name_takes_away_what_a_crash_left(tmp_path: Path) -> None:
    path, left = tmp_path / "a", tmp_path / "a.tmp"
    left.write_bytes(b"half of it")
    left.chmod(0o644)
    with replacing(path, temporary=left, mode=0o600) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not left.exists()


def test_two_threads_that_replace_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def put(content: bytes) -> None:
        for _ in range(20):
            with replacing(path, lasting=False) as file:
                file.write(content)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(put, contents))
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "graph-1"

    def fail() -> None:
        with making_folder(target) as made:
            (made / "x").touch()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not list((tmp_path / "cache").iterdir())
    for content in ("old", "new"):
        with making_folder(target) as made:
            (made / "x").write_text(content)
        assert (target / "x").read_text() == content
    with making_folder(target) as made:
        (made / "x").write_text("mine")
        shutil.rmtree(target)
        with making_folder(target) as theirs:
            (theirs / "x").write_text("theirs")
    assert (target / "x").read_text() == "mine"
    assert list((tmp_path / "cache").iterdir()) == [target]


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [
        (b"/a/b", b"/a", True),
        (b"/a/b/c", b"/a", True),
        (b"/a", b"/a", False),
        (b"/ab", b"/a", False),
        (b"/a", b"/a/b", False),
        (b"/a", b"/", True),
        (b"/", b"/", False),
        (b"/a/b", b"/a/", True),
        (b"/a/", b"/a/", False),
        (b"/\xff/x", b"/\xff", True),
    ],
)
def test_below(path: bytes, folder: bytes, below: bool) -> None:
    assert is_below(path, folder) is below
    assert is_at_or_below(path, folder) is (below or path == folder)


@pytest.mark.parametrize(
    ("name", "excluded"),
    [
        (b"a.jpg", False),
        (b".a.jpg", True),
        (b".stfolder", True),
        (b"@eaDir", False),
        (b"@eadir.jpg", False),
        (b"a.jpg.part", True),
        (b"a.PART", True),
        (b"a.crdownload", True),
        (b"a.tmp", True),
        (b"a.filepart", True),
        (b"a.jpg~", True),
        (b"part", False),
        (b"\xff.jpg", False),
    ],
)
def test_excluded_names(name: bytes, excluded: bool) -> None:
    assert is_excluded(name) == excluded


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        (b"/a/b.jpg", False),
        (b"/.a/b.jpg", False),
        (b"/a/.b.jpg", True),
        (b"/a/@eaDir", False),
        (b"/a/b.jpg.part", True),
        (b"/a/B.CRDOWNLOAD", True),
        (b"/a/b.tmp", True),
        (b"/a/b.filepart", True),
        (b"/a/b.jpg~", True),
        (b"/a/part", False),
    ],
)
def test_excluded_names_of_paths(path: bytes, excluded: bool) -> None:
    assert has_excluded_name(path) is excluded


MOUNTS = rb"""22 1 0:1 / / rw shared:1 - ext4 /dev/sda1 rw
23 22 0:2 / /proc rw - proc proc rw
24 22 0:3 / /net rw - autofs auto rw
25 24 0:4 / /net/photos rw shared:2 master:3 - nfs4 server:/photos rw,vers=4.2
26 22 0:5 / /net/with\040space rw - fuse.sshfs me@server: rw
27 25 8:2 / /net/photos/local rw - xfs /dev/sdb rw
28 22 0:6 / /over rw - cifs //server/share rw
29 28 0:7 / /over rw - tmpfs none rw
a line that cannot be read
"""


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        (b"/home/me", "ext4", False),
        (b"/net/photos", "nfs4", True),
        (b"/net/photos/2024/not/there/yet", "nfs4", True),
        (b"/net/photos-of-mine", "autofs", False),
        (b"/net/with space/x", "fuse.sshfs", True),
        (b"/net/photos/local/x", "xfs", False),
        (b"/over/x", "tmpfs", False),
    ],
)
def test_file_system_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: bytes, kind: str, network: bool
) -> None:
    (tmp_path / "mountinfo").write_bytes(MOUNTS)
    monkeypatch.setattr(fs, "_MOUNTS", tmp_path / "mountinfo")
    assert filesystem_type(path) == kind
    assert is_network(path) is network


def test_file_system_types_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filesystem_type(b"/proc/self") == "proc"
    assert filesystem_type(os.fsencode(tmp_path)) != ""
    monkeypatch.setattr(fs, "_MOUNTS", tmp_path / "absent")
    assert filesystem_type(b"/") == ""
    assert not is_network(b"/")
