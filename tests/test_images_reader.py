"""Claims, each against the real thing on a real file system."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from imgclust import failpoints
from imgclust.images import reader
from imgclust.images.filestat import file_stat, stat_of, suffix_of
from imgclust.images.reader import Again, Decoded, Outcome, ReadFailed, Skipped, Unreadable, claim
from tests import pictures

GOOD = pictures.encoded(pictures.quadrants(), "JPEG", quality=95)


def placed(folder: Path, name: bytes, content: bytes) -> bytes:
    path = os.path.join(os.fsencode(folder), name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    path = placed(tmp_path, b"a.jpg", GOOD)
    got = claim(path)
    assert isinstance(got, Decoded)
    assert got.path == path
    assert got.stat == file_stat(os.stat(path)) == stat_of(path)
    assert got.sha256 == hashlib.sha256(GOOD).digest()
    assert (got.width, got.height, got.format) == (64, 32, "JPEG")
    assert got.pixels[20, 20, 0] > 250 > 5 > got.pixels[20, 20, 1]
    assert got.thumbnail is not None
    assert got.decode_s > 0


def test_every_setting_is_used(tmp_path: Path) -> None:
    path = placed(tmp_path, b"a.jpg", GOOD)
    got = claim(path, side=75, thumbnail_px=0)
    assert isinstance(got, Decoded)
    assert got.pixels.shape == (75, 75, 3)
    assert got.thumbnail is None
    capped = claim(path, pixel_cap=2000)
    assert isinstance(capped, Unreadable)
    assert "too many pixels" in capped.reason
    assert capped.sha256 == hashlib.sha256(GOOD).digest()
    large = claim(path, size_cap_bytes=len(GOOD) - 1)
    assert isinstance(large, Unreadable)
    assert "too large" in large.reason
    assert large.sha256 is None
    assert isinstance(claim(path, size_cap_bytes=len(GOOD)), Decoded)


def test_a_picture_under_another_name(tmp_path: Path) -> None:
    for name in (b"a.png", b"a.txt", b"a"):
        got = claim(placed(tmp_path, name, GOOD))
        assert isinstance(got, Decoded)
        assert got.format == "JPEG"


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [
        (b"a.XMP", b"<xml/>", ".xmp"),
        (b"a.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", ".mov"),
        (b"README", b"words", ""),
        (b"empty.txt", b"", ".txt"),
        (b"a.tar.gz", b"\x1f\x8b", ".gz"),
    ],
)
def test_no_images_are_skipped(tmp_path: Path, name: bytes, content: bytes, suffix: str) -> None:
    path = placed(tmp_path, name, content)
    found = stat_of(path)
    assert found is not None
    assert claim(path) == Skipped(path, found, suffix)


def test_no_image_is_not_read_beyond_its_first_bytes(tmp_path: Path) -> None:
    path = placed(tmp_path, b"large.bin", b"x")
    os.truncate(path, 2**40)
    assert isinstance(claim(path), Skipped)


@pytest.mark.parametrize("name", [b"a.jpg", b"a.PNG", b"a.HeIC", b"a.tiff"])
def test_empty_candidates(tmp_path: Path, name: bytes) -> None:
    got = claim(placed(tmp_path, name, b""))
    assert isinstance(got, Unreadable)
    assert (got.reason, got.empty) == ("the file is empty", True)


def test_bad_candidates_are_unreadable_each_for_its_reason(tmp_path: Path) -> None:
    reasons = set()
    for name, content in {
        b"text.jpg": b"words",
        b"page.jpg": b"<html>",
        b"cut.jpg": pictures.cut(GOOD, 0.7),
        b"bomb.png": pictures.bomb(),
        b"noise.webp": b"\x01\x02\x03",
    }.items():
        got = claim(placed(tmp_path, name, content))
        assert isinstance(got, Unreadable)
        assert got.sha256 == hashlib.sha256(content).digest()
        assert not got.empty
        reasons.add(got.reason)
    assert len(reasons) == 5


def test_raw_files_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = placed(tmp_path, b"a.NEF", b"II*\0" + bytes(100))
    monkeypatch.setattr(reader, "raw_installed", lambda: False)
    found = stat_of(path)
    assert found is not None
    assert claim(path) == Skipped(path, found, ".nef", raw=True)
    named = placed(tmp_path, b"jpeg.nef", GOOD)
    assert isinstance(claim(named), Decoded)


def test_raw_files_with_the_package(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    preview = pictures.encoded(pictures.quadrants(320, 240), "JPEG")
    got = claim(placed(tmp_path, b"a.DNG", pictures.dng(preview)))
    assert isinstance(got, Decoded)
    assert got.format == "DNG"


@pytest.mark.parametrize(
    "name",
    [
        b"not \xff\xfe utf-8.jpg",
        b"new\nline.jpg",
        b" .jpg ",
        b"-n $(x) '\".jpg",
        b"a" * 251 + b".jpg",
    ],
)
def test_every_legal_name(tmp_path: Path, name: bytes) -> None:
    path = placed(tmp_path, name, GOOD)
    got = claim(path)
    assert isinstance(got, Decoded)
    assert got.path == path


def fifo(path: bytes) -> None:
    os.mkfifo(path)


def sock(path: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fsdecode(path))


def link(path: bytes) -> None:
    os.symlink(placed(Path(os.fsdecode(os.path.dirname(path))), b"real.jpg", GOOD), path)


def loop(path: bytes) -> None:
    os.symlink(path, path)


def device(path: bytes) -> None:
    if os.geteuid():
        pytest.skip("making a device needs root")
    os.mknod(path, 0o20666, os.makedev(1, 5))  # /dev/zero: reading it would never end


@pytest.mark.parametrize(
    "made", [fifo, sock, os.mkdir, link, loop, device], ids=lambda made: made.__name__
)
def test_what_is_no_regular_file_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[bytes], object]
) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket is at most 107 bytes
    path = b"x.jpg"
    made(path)
    assert isinstance(claim(path), Again)
    assert stat_of(path) is None


def test_absent_paths(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "gone.jpg")
    assert claim(path) == Again(path, "it is no longer there")
    assert stat_of(path) is None
    assert stat_of(path + b"/below") is None


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read anything: be somebody else for a moment."""
    root = not os.geteuid()
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_without_permission() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = placed(Path(folder), b"a.jpg", GOOD)
        other = placed(Path(folder), b"a.xmp", b"x")
        below = Path(folder) / "below"
        below.mkdir()
        hidden = placed(below, b"a.jpg", GOOD)
        for closed in (path, other, os.fsencode(below)):
            os.chmod(closed, 0)
        found = stat_of(path)
        assert found is not None
        with as_nobody():
            assert claim(path) == Unreadable(path, found, None, "no permission to read it")
            assert isinstance(claim(other), Skipped)
            assert isinstance(claim(hidden), Again)
            with pytest.raises(PermissionError):
                stat_of(hidden)
        os.chmod(below, 0o700)


def test_a_file_with_a_writer_is_looked_at_again(tmp_path: Path) -> None:
    path = placed(tmp_path, b"a.jpg", GOOD)
    with open(path, "ab"):
        got = claim(path)
        if isinstance(got, Decoded):
            pytest.skip("this file system grants no leases")
        assert got == Again(path, "another program has it open for writing")
    assert isinstance(claim(path), Decoded)


def test_no_lease_is_left_behind_and_its_signal_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = placed(tmp_path, b"a.jpg", GOOD)

    def pass_point(name: str) -> None:
        if name == "claimed":
            # A lease that was still held would make this fail with EWOULDBLOCK.
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    monkeypatch.setattr(reader, "passing", pass_point)
    assert isinstance(claim(path), Decoded)

    # Break a lease as it is held, with no handler for any signal: the process must live.
    descriptor = os.open(path, os.O_RDONLY)
    real = fcntl.fcntl

    def broken(handle: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETLEASE and argument == fcntl.F_UNLCK:
            with pytest.raises(BlockingIOError):
                os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        return real(handle, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", broken)
    assert signal.getsignal(signal.SIGIO) == signal.SIG_DFL
    reader._has_writer(descriptor)
    os.close(descriptor)


def rewritten(path: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(b"\xff")
    os.utime(path, ns=(1, 1))


def grown(path: bytes) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def replaced(path: bytes) -> None:
    with open(path + b".new", "wb") as file:
        file.write(GOOD)
    os.rename(path + b".new", path)


@pytest.mark.parametrize("point", ["claimed", "read"])
@pytest.mark.parametrize(
    "change", [rewritten, grown, replaced, os.unlink], ids=lambda f: f.__name__
)
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    change: Callable[[bytes], None],
) -> None:
    path = placed(tmp_path, b"a.jpg", GOOD)

    def pass_point(name: str) -> None:
        if name == point:
            change(path)

    monkeypatch.setattr(reader, "passing", pass_point)
    assert isinstance(claim(path), Again)


def test_a_large_file_is_read_in_pieces_and_growth_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_CHUNK_BYTES", 100)
    path = placed(tmp_path, b"a.jpg", GOOD)
    got = claim(path)
    assert isinstance(got, Decoded)
    assert got.sha256 == hashlib.sha256(GOOD).digest()
    with open(path, "rb") as file:
        content, _ = reader._read(file.fileno(), 250)
    assert content == GOOD[:251]


@pytest.mark.parametrize("point", ["claimed", "read", "decoded"])
def test_failpoints_of_the_claim(tmp_path: Path, point: str) -> None:
    path = placed(tmp_path, b"a.jpg", GOOD)
    failpoints.arm(f"{point}=eio")
    try:
        assert claim(path) == ReadFailed(path, "the system reports: input/output error")
    finally:
        failpoints.arm("")


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ESTALE])
def test_errors_that_pass_mean_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert isinstance(refused(tmp_path, monkeypatch, code), Again)


@pytest.mark.parametrize("code", [errno.EIO, errno.EUCLEAN, errno.EINVAL])
def test_errors_that_may_stay_cost_a_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    assert isinstance(refused(tmp_path, monkeypatch, code), ReadFailed)


def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Outcome:
    path = placed(tmp_path, b"a.jpg", GOOD)

    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(reader, "open_regular", fail)
    got = claim(path)
    assert isinstance(got, Again | ReadFailed)
    assert os.strerror(code).lower() in got.reason
    return got


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    path = placed(tmp_path, b"a.jpg", GOOD)
    os.utime(path, ns=(10**9, 10**18))
    before = os.stat(path)
    assert isinstance(claim(path), Decoded)
    after = os.stat(path)
    assert (before.st_atime_ns, before.st_ctime_ns) == (after.st_atime_ns, after.st_ctime_ns)


def test_descriptors_are_closed_whatever_happens(tmp_path: Path) -> None:
    paths = [placed(tmp_path, b"a.jpg", GOOD), placed(tmp_path, b"b.jpg", b"x")]
    paths += [placed(tmp_path, b"c.txt", b"x"), os.fsencode(tmp_path)]
    for path in paths:
        claim(path)
    before = len(os.listdir("/proc/self/fd"))
    for path in paths:
        claim(path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("path", "suffix"),
    [
        (b"/a.b/c", ""),
        (b"a.JPG", ".jpg"),
        (b"a.", ""),
        (b"a.two words", ""),
        (b"a.\xff", ""),
        (b"a." + b"x" * 40, ""),
        (b".jpg", ""),
    ],
)
def test_suffixes(path: bytes, suffix: str) -> None:
    assert suffix_of(path) == suffix


def test_pixels_do_not_depend_on_the_way_in(tmp_path: Path) -> None:
    image = pictures.photo(640, 480)
    lossless = [pictures.encoded(image, kind) for kind in ("PNG", "BMP", "TIFF")]
    got = [claim(placed(tmp_path, b"%d" % i, content)) for i, content in enumerate(lossless)]
    arrays = [one.pixels for one in got if isinstance(one, Decoded)]
    assert len(arrays) == 3
    assert all(np.array_equal(arrays[0], other) for other in arrays[1:])
