"""Opening files by path: what is no regular file is refused at once; numbers that fit."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from imgclust.fs import (
    NotAFileError,
    open_new,
    open_regular,
    read_regular,
    require_regular,
    stored,
)
from imgclust.images import file_stat


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
