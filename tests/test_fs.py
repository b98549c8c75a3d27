"""The folder itself is synced, and let go of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imgclust.fs import sync_folder


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
