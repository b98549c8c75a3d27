"""Folders that are there and cannot be read are not shown as if all were well."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgclust.collection import Collection
from imgclust.fs import unreadable
from imgclust.terminal import collections as tables
from imgclust.terminal import status
from imgclust.terminal.screen import Screen
from tests.driver import quick_collection
from tests.test_survival import fill


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    fill(folder, 4)
    return folder


@pytest.fixture
def collection(
    monkeypatch: pytest.MonkeyPatch, archive: Path, tmp_path: Path
) -> Iterator[Collection]:
    with quick_collection(monkeypatch, tmp_path / "index", archive) as opened:
        opened.watch([archive], once=True)
        yield opened


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, error: int, call: str) -> None:
    real = getattr(os, call)

    def refused(path: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(path, int) and os.fsencode(path) == os.fsencode(folder):
            raise OSError(error, os.strerror(error), path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, call, refused)


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ENOTCONN, errno.ESTALE])
@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_it_is_shown_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, collection: Collection, archive: Path, error: int, call: str
) -> None:
    refuse(monkeypatch, archive, error, call)
    reason = os.strerror(error).lower()
    (row,) = collection.roots()
    assert (row.state, row.reason, row.images, row.missing) == ("unreadable", reason, 4, 0)
    assert collection.status().unreadable == ((os.fsencode(archive), reason),)
    disk = next(check for check in collection.doctor().checks if check.name == "disk")
    assert f"{archive} cannot be read ({reason})" in disk.sentence
    assert "are kept" in disk.sentence
    assert "is not there" not in disk.sentence
    for _ in range(4):
        collection.watch(once=True)
    assert (collection.status().images, collection.status().missing) == (4, 0)
    monkeypatch.undo()
    assert unreadable(os.fsencode(archive)) is None


def test_what_is_not_there_and_what_is_a_file_are_not_unreadable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "nothing", "file/below", "."):
        assert unreadable(os.fsencode(tmp_path / name)) is None


def test_people_read_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    collection: Collection,
    archive: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refuse(monkeypatch, archive, errno.EACCES, "scandir")
    monkeypatch.setenv("COLUMNS", "300")
    screen = Screen()
    tables.roots(screen, collection.roots())
    status.status(screen, collection.status())
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("cannot be read (permission denied)") == 2
    assert said.count("allow this user to read it") == 2
