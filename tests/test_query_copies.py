"""The queried image is left out of the answer, and copies of one image are one row."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgclust.collection import Collection, PictureWorkers
from imgclust.collection.json_documents import document
from imgclust.images import thumbnails
from imgclust.images.pixel_similarity import cells, outlines
from imgclust.images.thumbnails import small_pictures
from tests.command_line import Run, runner
from tests.conftest import write_picture


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    call = runner(tmp_path, capsys, monkeypatch)
    drop = tmp_path / "drop"
    for number in range(6):
        write_picture(drop / f"picture-{number}.png", number, hue=0)
    for number in range(30):  # equal bytes
        shutil.copy(drop / "picture-1.png", drop / f"same-{number:02d}.png")
    with Image.open(drop / "picture-2.png") as picture:  # the same picture in other files
        picture.save(drop / "near-a.bmp")
        picture.save(drop / "near-b.png", compress_level=1)
    assert call("watch", "--once", "-q", drop).code == 0
    return call


def rows(run: Run, *arguments: str | Path) -> dict[str, int]:
    """Names of an answer, and how many copies each stands for."""
    found = run("query", *arguments, "--json").document["neighbours"]
    return {os.path.basename(row["path"]): row["copies"] for row in found}


def test_copies_are_one_row_and_the_image_itself_is_none(run: Run, tmp_path: Path) -> None:
    found = rows(run, tmp_path / "drop" / "picture-0.png", "-n", "20")
    assert "picture-0.png" not in found
    assert len(found) == 5
    assert sorted(found.values()) == [0, 0, 0, 2, 30]
    (same,) = (name for name, copies in found.items() if copies == 30)
    (near,) = (name for name, copies in found.items() if copies == 2)
    assert same.startswith(("picture-1", "same"))
    assert near.startswith(("picture-2", "near"))


def test_copies_of_the_queried_image_are_a_row(run: Run, tmp_path: Path) -> None:
    found = rows(run, tmp_path / "drop" / "same-07.png", "-n", "3")
    assert len(found) == 3
    assert "same-07.png" not in found
    assert next(iter(found.values())) == 29
    near = rows(run, tmp_path / "drop" / "picture-2.png", "-n", "5")
    assert "picture-2.png" not in near
    assert {name: copies for name, copies in near.items() if "near" in name}.popitem()[1] == 1


def test_all_that_were_asked_for_are_left_out(run: Run, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    asked = (drop / "picture-0.png", drop / "picture-3.png")
    found = rows(run, *asked, "-n", "20")
    assert not {path.name for path in asked} & set(found)
    assert {path.name for path in asked} < set(rows(run, *asked, "-n", "20", "--include-self"))
    part = rows(run, asked[0], "--region", "0,0,0.5,1", "-n", "20")
    assert "picture-0.png" not in part


def test_each_copy_and_the_image_itself_when_asked_for(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "drop" / "picture-0.png"
    every = rows(run, picture, "-n", "100", "--copies", "--include-self")
    assert len(every) == 38
    assert next(iter(every)) == "picture-0.png"
    assert not any(every.values())
    assert len(rows(run, picture, "-n", "100", "--copies")) == 37


def test_what_the_table_says(run: Run, tmp_path: Path) -> None:
    said = run("query", tmp_path / "drop" / "picture-0.png").out
    assert "and 30 copies" in said
    assert "and 2 copies" in said
    assert "copies" not in run("query", tmp_path / "drop" / "picture-0.png", "--copies").out


def test_images_that_are_no_duplicates_are_not_folded(run: Run, tmp_path: Path) -> None:
    found = run("query", tmp_path / "drop" / "picture-2.png", "-n", "50", "--copies", "--json")
    ids = [
        str(row["id"])
        for row in found.document["neighbours"]
        if "near" in os.path.basename(row["path"])
    ]
    assert run("duplicates", "dismiss", *ids).code == 0
    near = rows(run, tmp_path / "drop" / "picture-2.png", "-n", "50")
    assert {name: copies for name, copies in near.items() if "near" in name} == {
        "near-a.bmp": 0,
        "near-b.png": 0,
    }


def test_a_copy_that_is_there_stands_for_missing_ones(run: Run, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    os.unlink(drop / "picture-1.png")
    assert run("watch", "--once", "-q").code == 0
    found = rows(run, drop / "picture-0.png", "-n", "20")
    assert "picture-1.png" not in found
    assert 30 in found.values()


def test_what_a_row_says_does_not_depend_on_how_many_there_are(run: Run, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    asked = (drop / "picture-0.png", "-n")
    every = rows(run, *asked, "20")
    assert sorted(every.values()) == [0, 0, 0, 2, 30]
    for number in (1, 2, 3):
        assert rows(run, *asked, str(number)) == dict(list(every.items())[:number])


def test_outlines_come_in_with_the_images(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (tmp_path / "drop" / "picture-0.png", "-n", "20")
    files = sorted((tmp_path / "index" / "default").glob("thumbnails/*/*.webp"))
    pictures = [cells(file.read_bytes()) for file in files]
    expected = rows(run, *asked)
    with Collection.open(tmp_path / "index") as collection:
        shown = [picture for picture in collection.pictures(range(1, 39)) if picture is not None]
    assert len(files) == 8  # contents
    assert len(shown) == 38
    assert {len(picture) + 400 for picture in shown} == {file.stat().st_size for file in files}

    def refuse(picture: bytes) -> np.ndarray:
        raise OSError("decoded")

    monkeypatch.setattr(thumbnails, "cells", refuse)
    found = small_pictures(b"\0".join(map(os.fsencode, files)))
    assert np.array_equal(found.outlines, outlines(np.stack(pictures)))
    assert rows(run, *asked) == expected


def documents(collection: Collection, ids: Sequence[int]) -> list[dict[str, Any]]:
    return [document(collection.query(one, n=n)) for one in ids for n in (2, 20)]


def test_a_process_that_goes_on_answers_as_one_that_begins(run: Run, tmp_path: Path) -> None:
    """What is kept of earlier queries changes no answer, whatever happens to files meanwhile."""
    index, drop = tmp_path / "index", tmp_path / "drop"
    workers = PictureWorkers()

    def answered(ids: Sequence[int]) -> list[dict[str, Any]]:
        """What a collection that is kept says, and one that is opened for this."""
        with Collection.open(index) as fresh:
            expected = documents(fresh, ids)
        assert documents(kept, ids) == expected
        return expected

    with contextlib.closing(workers), Collection.open(index) as kept:
        kept.service.keep_with(workers)
        every = [row["id"] for row in document(kept.query(1, n=99, copies=True))["neighbours"]]
        ids = [1, *every[:2]]
        first = answered(ids)
        assert any(row["copies"] for found in first for row in found["neighbours"])
        answered(ids)
        # A copy is away, and back.
        os.rename(drop / "near-a.bmp", tmp_path / "away.bmp")
        assert answered(ids) != first
        os.rename(tmp_path / "away.bmp", drop / "near-a.bmp")
        assert answered(ids) == first
        # It holds another picture, before and after that was noticed.
        before = os.stat(drop / "near-b.png")
        write_picture(drop / "near-b.png", 77)
        os.utime(drop / "near-b.png", ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        answered(ids)
        assert run("watch", "--once", "-q").code == 0
        answered(ids)
        # Outlines behind thumbnails are lost or damaged.
        for number, thumbnail in enumerate(sorted((index / "default").glob("thumbnails/*/*.webp"))):
            file = thumbnail.read_bytes()
            changed = file[: -400 if number % 2 else -200]
            thumbnail.write_bytes(file[:-8] + bytes(8) if number % 3 else changed)
        answered(ids)
        # Thumbnails are lost, a pair is dismissed, an image arrives.
        shutil.rmtree(index / "default" / "thumbnails")
        answered(ids)
        near = [row["id"] for row in answered([1])[-1]["neighbours"]]
        assert run("duplicates", "dismiss", str(near[0]), str(near[1])).code == 0
        answered(ids)
        shutil.copy(drop / "picture-2.png", drop / "new-name.png")
        with Image.open(drop / "picture-3.png") as picture:
            picture.save(drop / "new-near.bmp")
        assert run("watch", "--once", "-q").code == 0
        answered(ids)
