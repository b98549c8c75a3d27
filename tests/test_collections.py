"""Collections side by side: listed, made, renamed, deleted; and the settings explained."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.collection import link_folder, management
from imgclust.collection.context import Context
from imgclust.errors import StorageError
from imgclust.locks import FileLock, is_locked
from imgclust.paths import LOCKS
from imgclust.terminal.screen import Screen
from tests.command_line import Run
from tests.conftest import write_picture

ROW = ["name", "images", "distinct", "bytes", "roots", "watching", "trouble"]


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_no_collections(run: Run) -> None:
    assert run("collections").out.startswith("no collections in ")
    assert run("collections", "list", "--json").document["collections"] == []


def test_list(run: Run, ready: Path, tmp_path: Path) -> None:
    assert run("collections", "create", "empty").code == 0
    document = run("collections", "--json").document
    assert list(document) == ["index", "collections"]
    default, empty = document["collections"]
    assert list(default) == list(empty) == ROW
    assert (default["name"], default["images"], default["distinct"]) == ("default", 24, 24)
    assert default["roots"] == [str(ready / "drop")]
    assert default["watching"] is False
    assert (empty["name"], empty["images"], empty["roots"]) == ("empty", 0, [])
    files = [path for path in (tmp_path / "index" / "default").rglob("*") if not path.is_symlink()]
    blocks = sum(512 * path.stat().st_blocks for path in files if path.is_file())
    assert default["bytes"] == pytest.approx(blocks, rel=0.1)
    with FileLock(tmp_path / "index" / "default" / "ingest.lock", purpose="ingesting into"):
        assert run("collections", "--json").document["collections"][0]["watching"] is True
    said = run("collections")
    assert said.out.splitlines()[0].split() == [
        *("collection", "images", "distinct", "size", "watching", "roots")
    ]


def test_a_full_disk_leaves_no_half_made_collection(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "store", full)
        assert "full" in run("collections", "create", "new").refused(1)
    assert not (tmp_path / "index" / "new").exists()
    assert run("collections", "create", "new").code == 0


def test_who_is_second_does_not_take_back_what_the_first_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the collection after this one found its name free."""
    free = management._free

    def late(*arguments: Any) -> Any:
        found = free(*arguments)
        monkeypatch.setattr(management, "_free", free)
        assert run("collections", "create", "new").code == 0
        return found

    monkeypatch.setattr(management, "_free", late)
    assert "taken" in run("collections", "create", "new").refused(2)
    assert run("status", "--collection", "new", "--json").document["images"] == 0


def test_a_damaged_collection_does_not_hide_the_others(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    (tmp_path / "index" / "bad").mkdir()
    (tmp_path / "index" / "bad" / "catalog.sqlite3").write_bytes(b"no database" * 100)
    bad, default = run("collections", "--json").document["collections"]
    assert "damaged" in bad["trouble"]
    assert default["images"] == 24
    assert "bad: the catalog" in run("collections").out


def test_create(run: Run, tmp_path: Path) -> None:
    document = run("collections", "create", "paintings", "--json").document
    assert document == {"collection": "paintings", "path": str(tmp_path / "index" / "paintings")}
    assert run("collections", "create", "paintings").refused(2)
    assert run("status", "--collection", "paintings", "--json").document["images"] == 0


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a b", "x" * 65, "caf\xe9"])
def test_names_that_cannot_be(run: Run, ready: Path, name: str) -> None:
    assert "cannot be the name" in run("collections", "create", "--", name).refused(2)
    assert "cannot be the name" in run("collections", "rename", "default", "--", name).refused(2)
    assert "cannot be the name" in run("collections", "delete", "-y", "--", name).refused(2)


def test_an_empty_name(run: Run) -> None:
    assert "NAME is empty" in run("collections", "create", "--", "").refused(2)


def test_rename_keeps_links_and_ids(run: Run, ready: Path, tmp_path: Path) -> None:
    before = run("clusters", "--json").document
    document = run("collections", "rename", "default", "photos", "--json").document
    assert document == {"collection": "photos", "path": str(tmp_path / "index" / "photos")}
    assert run("status").refused(3)
    assert run("links", "--check", "--collection", "photos").code == 0
    after = run("clusters", "--json", "--collection", "photos").document
    for cluster in before["clusters"]:
        cluster["folder"] = cluster["folder"].replace("/default/", "/photos/")
    assert after == before
    links = (tmp_path / "index" / "photos" / "links").rglob("*.png")
    assert all(path.resolve().is_file() for path in links)
    run("collections", "create", "other")
    assert "taken" in run("collections", "rename", "photos", "other").refused(2)
    assert run("collections", "rename", "nosuch", "x").refused(3)


def test_rename_takes_a_link_folder_inside_along(run: Run, drop: Path, tmp_path: Path) -> None:
    inside = tmp_path / "index" / "default" / "tree"
    assert run("watch", "--once", "-q", drop, "--links", inside).code == 0
    assert run("collections", "rename", "default", "photos").code == 0
    place = run("status", "--collection", "photos", "--json").document["links"]["path"]
    assert place == str(tmp_path / "index" / "photos" / "tree")
    assert run("links", "--check", "--collection", "photos").code == 0
    assert not inside.exists()


def test_rename_by_another_path_to_the_index_folder(run: Run, drop: Path, tmp_path: Path) -> None:
    inside = tmp_path / "index" / "default" / "tree"
    assert run("watch", "--once", "-q", drop, "--links", inside).code == 0
    (tmp_path / "alias").symlink_to(tmp_path / "index")
    index = ("--index", tmp_path / "alias")
    assert run("collections", "rename", "default", "photos", *index).code == 0
    assert run("links", "--check", "--collection", "photos").code == 0
    assert not inside.exists()


@pytest.mark.parametrize("lock", ["ingest", "clustering", "links"])
def test_a_collection_that_is_worked_on_is_left_alone(
    run: Run, ready: Path, tmp_path: Path, lock: str
) -> None:
    with FileLock(tmp_path / "index" / "default" / f"{lock}.lock", purpose="testing"):
        assert "another process" in run("collections", "delete", "default", "-y").refused(4)
        assert "another process" in run("collections", "rename", "default", "photos").refused(4)
    assert run("status", "--json").document["images"] == 24
    assert run("links", "--check").code == 0


def test_delete_needs_a_yes(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "-y" in run("collections", "delete", "default").refused(2)
    dry = run("collections", "delete", "default", "--dry-run", "--json").document
    assert list(dry) == ROW
    monkeypatch.setattr(Screen, "can_ask", True)
    monkeypatch.setattr(Screen, "ask", lambda *_: False)
    said = run("collections", "delete", "default")
    assert said.code == 0
    assert "images      24; the files themselves stay" in said.out
    assert (tmp_path / "index" / "default" / "catalog.sqlite3").exists()
    monkeypatch.setattr(Screen, "ask", lambda *_: True)
    assert "deleted default: 24 links" in run("collections", "delete", "default").out
    assert not (tmp_path / "index" / "default").exists()


def test_delete_leaves_originals_and_what_is_foreign(run: Run, drop: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    assert run("watch", "--once", "-q", drop, "--links", tree, "--link-mode", "copy").code == 0
    originals = pictures(drop)
    folder = next(path for path in tree.iterdir() if path.is_dir())
    (folder / "mine.txt").write_text("mine")
    (tree / "empty" / "of mine").mkdir(parents=True)
    edited = next(path for path in folder.iterdir() if path.suffix == ".png")
    edited.write_bytes(b"edited by hand")
    place = tmp_path / "index" / "default"
    (place / "notes.txt").write_text("mine too")
    os.symlink(drop, place / "charts-of-mine")
    document = run("collections", "delete", "default", "-y", "--json").document
    assert list(document) == ["collection", "path", "links", "kept"]
    assert document["links"] == 23
    kept = {one["path"] for one in document["kept"]}
    assert kept == {
        *map(str, (folder / "mine.txt", edited, place / "notes.txt", place / "charts-of-mine"))
    }
    assert edited.read_bytes() == b"edited by hand"
    assert pictures(drop) == originals
    assert {path.name for path in tree.iterdir()} == {folder.name, "empty"}
    assert (tree / "empty" / "of mine").is_dir()
    assert run("collections", "--json").document["collections"] == []
    assert run("collections", "delete", "default", "-y").refused(3)
    shutil.rmtree(place)
    assert run("watch", "--once", "-q", drop).code == 0


def test_nobody_syncs_the_links_while_a_collection_is_deleted(
    run: Run, drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("watch", "--once", "-q", drop).code == 0
    locks = [tmp_path / "index" / "default" / f"{what}.lock" for what in LOCKS]
    clear = link_folder.clear
    held: list[bool] = []

    def between(going: Context) -> None:
        clear(going)
        held.extend(is_locked(lock) for lock in locks)

    monkeypatch.setattr(link_folder, "clear", between)
    assert run("collections", "delete", "default", "-y").code == 0
    assert held == [True] * len(locks)
    assert not (tmp_path / "index" / "default").exists()


@pytest.mark.parametrize("after", range(12))
def test_a_delete_that_crashes_is_finished_by_the_next(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    write_picture(tmp_path / "index" / "default" / "charts" / "elbow.png", 1)
    left = after

    def crashing(plain: object) -> object:
        def act(*arguments: object, **options: object) -> object:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return plain(*arguments, **options)  # type: ignore[operator]

        return act

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crashing(shutil.rmtree))
        patch.setattr(Path, "unlink", crashing(Path.unlink))
        code = run("collections", "delete", "default", "-y").code
    assert code in {0, 130}
    if code:
        (row,) = run("collections", "--json").document["collections"]
        assert row["trouble"] is None or "finishes that" in row["trouble"]
        assert run("collections", "create", "default").refused(2)
        assert run("collections", "delete", "default", "-y").code == 0
    assert not (tmp_path / "index" / "default").exists()
    assert len(pictures(ready / "drop")) == 26


# Settings


def test_config_show_without_a_collection(run: Run, tmp_path: Path) -> None:
    document = run("config", "show", "--json").document
    assert list(document) == ["index", "collection", "cache", "settings"]
    rows = {row["key"]: row for row in document["settings"]}
    assert rows["embedding.weights"] == {
        "key": "embedding.weights",
        "value": "trunk",
        "default": "auto",
        "from": "IMGCLUST_EMBEDDING_WEIGHTS",
    }
    assert rows["clustering.space"]["from"] == "default"
    assert not (tmp_path / "index").exists()


def test_config_show_says_what_the_collection_keeps(run: Run, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[watch]\nrescan_s = 7\n[clustering]\nk = 3\n")
    assert run("links", "--link-mode", "copy").code == 0
    options = ("--config", tmp_path / "my.toml")
    document = run("config", "show", "--changed", "--json", *options).document
    rows = {row["key"]: (row["value"], row["from"]) for row in document["settings"]}
    assert rows["watch.rescan_s"] == (7, str(tmp_path / "my.toml"))
    assert rows["clustering.k"] == ("3", str(tmp_path / "my.toml"))
    assert rows["links.mode"] == ("copy", "the collection")
    assert rows["embedding.weights"] == ("trunk", "the collection")
    assert rows["watch.settle_s"] == (0.02, "IMGCLUST_WATCH_SETTLE_S")
    assert "watch.polling" not in rows
    said = run("config", *options)
    assert [line for line in said.out.splitlines() if line.startswith("watch.rescan_s ")]
    assert "cache" in said.out.splitlines()[-1]


def test_config_show_refuses_what_every_command_refuses(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.toml").write_text("[wach]\nsettle_s = 2\n")
    assert "watch.settle_s" in run("config", "show", "--config", tmp_path / "my.toml").refused(2)
    (tmp_path / "my.toml").write_text("[clustering]\nspace = 'tsne'\n")
    said = run("config", "show", "--config", tmp_path / "my.toml").refused(2)
    assert "clustering.space is 'smoothed' for this collection" in said
    monkeypatch.setenv("IMGCLUST_WATCH_SETTEL_S", "1")
    assert "IMGCLUST_WATCH_SETTLE_S" in run("config", "show").refused(2)
