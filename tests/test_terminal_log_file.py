"""The log file of a watcher: its lines and parts, what is counted, and what it keeps out."""

from __future__ import annotations

import logging
import re
import stat
from pathlib import Path

import pytest

from imgclust.collection import Event
from imgclust.errors import UsageError
from imgclust.terminal.log_file import LogFile, without_secrets


class Clock:
    """A wall clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0  # 2023-11-14T22:13:20Z

    def __call__(self) -> float:
        return self.now


def test_a_line_an_event(tmp_path: Path) -> None:
    path = tmp_path / "watch.log"
    with LogFile(path, clock=Clock()) as log:
        log.event(Event("ingested", "embedded", b"/a\xff\n.jpg", 1, 7, "the sea"))
        log.event(Event("quarantined", "the file is empty", b"/b.jpg"))
        log.event(Event("scanned", "scanned in 0.1 s"))
        log.event(Event("trouble", "cannot be read", b"/c"))
        log.write("error", "ended: no\nmore")
    assert path.read_text().splitlines() == [
        "2023-11-14T22:13:20Z info ingested /a\\xff\\n.jpg -> cluster 7 the sea",
        "2023-11-14T22:13:20Z info quarantined /b.jpg: the file is empty",
        "2023-11-14T22:13:20Z warning trouble /c: cannot be read",
        "2023-11-14T22:13:20Z error ended: no more",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with LogFile(path, clock=Clock()) as log:  # a later run goes on
        log.write("info", "again")
    assert len(path.read_text().splitlines()) == 5


def test_parts_of_a_size(tmp_path: Path) -> None:
    path = tmp_path / "watch.log"
    with LogFile(path, clock=Clock(), limit_bytes=2_000) as log:
        for number in range(500):
            log.write("info", f"line {number:04d} of many")
    parts = [tmp_path / "watch.log.2", tmp_path / "watch.log.1", path]
    assert sorted(tmp_path.iterdir()) == sorted(parts)
    assert all(part.stat().st_size <= 2_000 for part in parts)
    assert {stat.S_IMODE(part.stat().st_mode) for part in parts} == {0o600}
    kept = [int(n) for part in parts for n in re.findall(r"line (\d+)", part.read_text())]
    assert kept == list(range(kept[0], 500))


def test_what_comes_again_is_counted(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "watch.log"

    def said() -> list[str]:
        return [line.split(" ", 1)[1] for line in path.read_text().splitlines()]

    with LogFile(path, clock=clock) as log:
        for _ in range(1000):  # two in turn
            log.write("warning", "a")
            log.write("warning", "b")
            clock.now += 0.1
        assert said() == ["warning a", "warning b"]
        clock.now += 600
        log.write("warning", "a")
        log.write("warning", "a")
        assert said()[2:] == [
            "warning a (and 999 more like it)",
            "warning b (and 999 more like it)",
            "warning a",
        ]
    assert said()[5:] == ["warning a (and 1 more like it)"]


def test_few_different_lines_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "watch.log"
    with LogFile(path, clock=Clock()) as log:
        for number in range(5000):
            log.write("info", f"line {number}")
            log.write("info", f"line {number}")
        assert len(log.repeats) <= 1000
    assert len(path.read_text().splitlines()) == 10_000


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("got https://me:secret@host/weights.h5", "got https://host/weights.h5"),
        ("https://host/w?token=secret&x=1 failed", "https://host/w?... failed"),
        ("http://me@host:80/ and ftp://a:b@c", "http://host:80/ and ftp://c"),
        ("/home/me/what? this@that.jpg", "/home/me/what? this@that.jpg"),
    ],
)
def test_no_secrets(given: str, written: str) -> None:
    assert without_secrets(given) == written


def test_log_records_of_every_level_from_info_on(tmp_path: Path) -> None:
    logger = logging.getLogger("imgclust.somewhere")
    path = tmp_path / "watch.log"
    before = logging.getLogger("imgclust").level
    with LogFile(path, clock=Clock()) as log, log.records():
        logger.debug("not that")
        logger.info("this from %s", "https://me:secret@host")
        try:
            raise ValueError("by chance")
        except ValueError:
            logger.exception("a fault")
    logger.error("not that either")
    first, second = path.read_text().splitlines()
    assert first.endswith("info this from https://host")
    assert " error a fault Traceback " in second
    assert second.endswith("ValueError: by chance")
    assert logging.getLogger("imgclust").level == before


def test_a_file_that_is_no_log_of_ours_is_left_alone(tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0 a picture")
    with pytest.raises(UsageError, match="is left alone"):
        LogFile(picture)
    (tmp_path / "log.2").write_text("mine")
    with pytest.raises(UsageError, match="is left alone"):
        LogFile(tmp_path / "log")
    with pytest.raises(UsageError, match="not a regular file"):
        LogFile(tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        LogFile(tmp_path / "nowhere" / "log")
    assert picture.read_bytes() == b"\xff\xd8\xff\xe0 a picture"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.2", "picture.jpg"]


def test_a_log_that_cannot_be_written_any_more_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    with LogFile(folder / "watch.log", clock=Clock(), limit_bytes=100) as log:
        log.write("info", "a line")
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        for number in range(20):
            log.write("info", f"line {number} that would begin a new part")
    assert capsys.readouterr() == ("", "")
