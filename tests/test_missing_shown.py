"""Images whose files are not there are marked wherever images are shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.driver import quick_collection
from tests.test_survival import fill


@pytest.mark.parametrize("scanned", [False, True])
def test_a_query_and_a_check_of_links_mark_missing_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scanned: bool
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    paths = fill(drop, 20)
    with quick_collection(monkeypatch, tmp_path / "index", drop) as collection:
        collection.watch([drop], once=True)
        assert not any(row.missing for row in collection.query(paths[19], n=20).neighbours)
        assert collection.links(check=True).dangling == 0
        for path in paths[:12]:
            path.unlink()
        if scanned:
            collection.watch(once=True)
        marked = {row.path for row in collection.query(19, n=20).neighbours if row.missing}
        assert marked == set(map(os.fsencode, paths[:12]))
        assert collection.links(check=True).dangling == 12
        links = next(one for one in collection.doctor().checks if one.name == "links")
        assert "12 lead to images that are missing" in links.sentence
        if scanned:
            disk = next(one for one in collection.doctor().checks if one.name == "disk")
            assert "12 of them are held" in disk.sentence
            members = [
                member
                for row in collection.clusters()
                for member in collection.cluster_details(row.id).members
            ]
            assert {one.path for one in members if one.missing} == marked
