"""The command duplicates on the command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.command_line import Run, runner

IMAGE = [
    *("id", "path", "score", "width", "height", "bytes", "hard_links", "relation"),
    *("similarity", "rarity"),
]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process, with a stand-in for the network."""
    return runner(tmp_path, capfd, monkeypatch)


@pytest.fixture
def ready(run: Run, drop: Path) -> Path:
    """`drop`, ingested, with an exact and a near copy of its first picture."""
    first = drop / "picture-00.png"
    shutil.copy(first, drop / "same.png")
    Image.open(first).resize((160, 120)).save(drop / "large.png")
    assert run("watch", "--once", "--no-cluster", "-q", drop).code == 0
    return drop


def test_groups(run: Run, ready: Path) -> None:
    document = run("duplicates", "--json").document
    assert list(document) == ["groups", "similar", "thresholds", "images", "unseen", "hard_links"]
    assert [group["kind"] for group in document["groups"]] == ["near"]
    assert list(document["groups"][0]) == ["kind", "images", "reason", "beside"]
    assert document["groups"][0]["reason"] == "enlarged"
    assert all(list(one) == IMAGE for group in document["groups"] for one in group["images"])
    assert document["groups"][0]["images"][0]["path"] == str(ready / "picture-00.png")
    said = run("duplicates")
    assert "1 group (1 near) among 26 images; 2 copies besides the best take" in said.out
    assert "near: score 0.75 or more" in said.out
    assert "score" in run("duplicates", "--similar").out
    quiet = run("duplicates", "-q").out
    assert len(quiet.splitlines()) == 5
    assert "not enlarged" in said.out


def test_paths_for_other_programs(run: Run, ready: Path) -> None:
    lines = run("duplicates", "-f").out.splitlines()
    assert len(lines) == 2
    assert set(lines) == {str(ready / "large.png"), str(ready / "same.png")}
    assert run("duplicates", "-0").out.split("\0")[:-1] == lines
    assert all(os.path.exists(line) for line in lines)
    assert "without" in run("duplicates", "-f", "--similar").refused(2)


def test_keep(run: Run, ready: Path) -> None:
    (ready / "kept").mkdir()
    Image.open(ready / "picture-00.png").save(ready / "kept" / "small.bmp")
    assert run("watch", "--once", "--no-cluster", "-q", ready).code == 0
    (group,) = run("duplicates", "--keep", ready / "kept", "--json").document["groups"]
    assert (group["images"][0]["path"], group["reason"]) == (str(ready / "kept/small.bmp"), "keep")
    assert {one["relation"] for one in group["images"]} == {"best", "near"}
    assert "below --keep" in run("duplicates", "--keep", ready / "kept").out
    lines = run("duplicates", "--keep", ready / "kept", "-f").out.splitlines()
    assert str(ready / "kept/small.bmp") not in lines
    assert len(lines) == 3
    assert "not a folder" in run("duplicates", "--keep", ready / "nothing").refused(2)


def test_dismiss(run: Run, ready: Path) -> None:
    images = run("duplicates", "--json").document["groups"][0]["images"]
    near = [one for one in images if one["relation"] == "near"]
    ids = [str(one["id"]) for one in (images[0], near[0])]
    said = run("duplicates", "dismiss", *ids)
    assert said.out == f"the images {', '.join(ids)} are not duplicates of each other\n"
    assert [group["kind"] for group in run("duplicates", "--json").document["groups"]] == ["exact"]
    document = run("duplicates", "dismiss", *ids, "--undo", "--json").document
    assert document == {"images": [int(one) for one in ids], "dismissed": False}
    assert len(run("duplicates", "--json").document["groups"]) == 1
    assert "99" in run("duplicates", "dismiss", "1", "99").refused(3)
    assert "no image has" in run("duplicates", "dismiss", "1", str(1 << 63)).refused(3)


def test_no_duplicates(run: Run, drop: Path) -> None:
    assert run("watch", "--once", "--no-cluster", "-q", drop).code == 0
    assert run("duplicates").out.startswith("no duplicates among 24 images\n")
    assert run("duplicates", "-f").out == ""


def test_an_empty_collection(run: Run, tmp_path: Path) -> None:
    run("duplicates").refused(3)
