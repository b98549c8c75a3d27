"""Backups and collections made from them: equal, whole, or refused in one line."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from imgclust.backup import restore as restoring
from imgclust.backup import write as writing
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.connection import VERSION
from imgclust.collection import Collection, restore_collection
from imgclust.errors import BackupError, CatalogError, StoppedError, UsageError
from imgclust.failpoints import arm
from imgclust.progress import StopFlag
from tests.command_line import Run
from tests.conftest import write_picture
from tests.fixtures.facts import facts
from tests.test_earlier_catalogs import EARLIER, expected, unpacked

CHECKOUT = Path(__file__).parents[1]
# What a restore itself adds or changes, and what opening does.
CHANGED = {"events", "settings"}


@pytest.fixture
def named(run: Run, ready: Path) -> Path:
    """The collection of `ready`, with a name, a second clustering and a backup; its folder."""
    assert run("clusters", "name", "2", "seaside").code == 0
    assert run("cluster", "-k", "4", "-y").code == 0
    return ready


def rows(folder: Path) -> dict[str, Any]:
    found = facts(folder / "catalog.sqlite3")
    return {name: value for name, value in found.items() if name not in CHANGED}


def tree(links: Path) -> dict[str, str]:
    """Where each link leads, by its path below the link folder."""
    return {
        str(path.relative_to(links)): os.path.realpath(path)
        for path in links.rglob("*")
        if path.is_symlink()
    }


def parts_left(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir() if one.name.startswith(".imgclust")]


# Equal


def test_a_restored_collection_is_equal(run: Run, named: Path, tmp_path: Path) -> None:
    file = tmp_path / "photos.imgclust"
    said = run("backup", file, "--json").document
    assert (said["images"], said["names"], said["replaced"]) == (24, 1, False)
    assert said["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    made = run("restore", file, "--to", tmp_path / "other", "--json").document
    assert made["path"] == str(tmp_path / "other" / "default")
    assert (made["images"], made["absent"], made["links_moved"]) == (24, [], False)
    before, after = tmp_path / "index" / "default", tmp_path / "other" / "default"
    assert rows(before) == rows(after)
    place = ["--index", tmp_path / "other"]
    assert run(*place, "watch", "--once").code == 0
    assert tree(after / "links") == tree(before / "links")
    assert len(tree(after / "links")) == 24
    assert run(*place, "doctor").code == 0
    clusters = json.dumps(run(*place, "clusters", "--json").document)
    assert clusters.replace("/other/", "/index/") == json.dumps(run("clusters", "--json").document)
    assert sorted(one.name for one in (tmp_path / "other").iterdir()) == ["default"]


def test_the_name_is_that_of_the_backup_or_the_one_given(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    file = tmp_path / "b"
    assert run("collections", "rename", "default", "photos").code == 0
    assert run("--collection", "photos", "backup", file).code == 0
    assert "with --collection NAME" in run("restore", file).refused(2)
    assert run("restore", file, "--collection", "trial").code == 0
    assert run("--collection", "again", "restore", file).code == 0
    names = [one["name"] for one in run("collections", "--json").document["collections"]]
    assert names == ["again", "photos", "trial"]
    assert "cannot be the name" in run("restore", file, "--collection", "a/b").refused(2)


def test_on_another_machine_nothing_is_removed_while_the_images_are_away(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    shutil.copytree(ready / "drop", tmp_path / "drop")
    assert run("--collection", "mine", "watch", tmp_path / "drop", "--once").code == 0
    assert run("--collection", "mine", "backup", tmp_path / "b").code == 0
    (tmp_path / "drop").rename(tmp_path / "elsewhere")
    said = run("restore", tmp_path / "b", "--to", tmp_path / "new")
    assert f"not on this machine: {tmp_path}/drop" in said.out
    assert "roots move" in said.out
    place = ["--index", tmp_path / "new", "--collection", "mine"]
    before = rows(tmp_path / "new" / "mine")["images"]
    for _ in range(4):
        run(*place, "watch", "--once")
    document = run(*place, "status", "--json").document
    assert (document["images"], document["missing"]) == (24, 24)
    # The images are back, as a copy with other inodes: ids and contents stay.
    shutil.copytree(tmp_path / "elsewhere", tmp_path / "drop")
    assert run(*place, "watch", "--once").code == 0
    after = rows(tmp_path / "new" / "mine")["images"]
    assert [row[:4] for row in after] == [row[:4] for row in before]
    assert run(*place, "status", "--json").document["missing"] == 0


@pytest.mark.parametrize("version", EARLIER)
def test_a_backup_of_an_older_catalog_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    """As imgclust of that version would have made it, with the file's format of today."""
    folder = unpacked(version, tmp_path / "index")
    file = tmp_path / "b"
    older = expected(version)
    with sqlite3.connect(folder / "catalog.sqlite3") as database:
        database.execute("PRAGMA journal_mode = DELETE").fetchall()
    database.close()
    write_older(folder / "catalog.sqlite3", file, version)
    restore_collection(file, tmp_path / "new")
    found = facts(tmp_path / "new" / "default" / "catalog.sqlite3")
    assert {one: found[one] for one in found.keys() - CHANGED} == {
        one: older[one] for one in older.keys() - CHANGED
    }
    with Catalog(tmp_path / "new" / "default" / "catalog.sqlite3") as catalog:
        assert catalog.damage() == []


def write_older(catalog: Path, file: Path, version: int) -> None:
    from imgclust.backup.file import APPLICATION_ID, Manifest, finish
    from imgclust.catalog.copies import mark
    from imgclust.progress import silent

    shutil.copy(catalog, file)
    mark(file, APPLICATION_ID)
    manifest = Manifest("x", "default", b"/srv", 1e9, "0.0.1", version, 14, 13, 4, 2, ())
    with file.open("r+b") as stream:
        finish(stream, manifest, progress=silent, stop=StopFlag())


# While others write


class Noting:
    """Lets a commit happen between two steps of a copy, which must not begin again for it."""

    def __init__(self, commits: list[int]) -> None:
        self._commits = commits
        self._copied = 0

    def __call__(self, step: str, done: int, total: int | None) -> None:
        if step == "copying the catalog":
            assert done > self._copied
            self._copied = done
            before = len(self._commits)
            while len(self._commits) == before:
                time.sleep(0.001)


def test_it_is_one_state_while_a_writer_never_rests(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer keeps two numbers equal; the copy, taken page by page, has them equal too."""
    from imgclust.catalog import copies

    monkeypatch.setattr(copies, "_PAGES", 20)
    path = tmp_path / "index" / "default" / "catalog.sqlite3"
    enough = threading.Event()
    commits: list[int] = []

    def write() -> None:
        with Catalog(path) as one:
            while not enough.is_set():
                with one.transaction():
                    one.store("first", len(commits))
                    one.store("filling", os.urandom(20_000).hex())
                    one.store("second", len(commits))
                commits.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            before = len(commits)
            with Collection.open(tmp_path / "index", progress=Noting(commits)) as collection:
                collection.backup(tmp_path / f"b{number}")
            assert len(commits) > before  # and the writer went on meanwhile
    finally:
        enough.set()
        writer.join()
    for number in range(4):
        name = f"c{number}"
        restore_collection(tmp_path / f"b{number}", tmp_path / "new", name=name)
        with Catalog(tmp_path / "new" / name / "catalog.sqlite3") as catalog:
            assert catalog.setting("first") == catalog.setting("second")


def test_a_second_process_at_the_same_file_is_refused(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    with writing._temporary(tmp_path / "b"):
        assert "is writing" in run("backup", tmp_path / "b").refused(4)
    assert run("backup", tmp_path / "b").code == 0
    work = tmp_path / "new"
    with restoring._workplace(work):
        assert "restoring" in run("restore", tmp_path / "b", "--to", work).refused(4)
    assert run("restore", tmp_path / "b", "--to", work).code == 0


# What is refused


@pytest.mark.parametrize("what", ["folder", "fifo", "device", "picture", "empty", "database"])
def test_what_stands_at_the_target_is_not_replaced(
    what: str, run: Run, ready: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    if what == "folder":
        target.mkdir()
    elif what == "fifo":
        os.mkfifo(target)
    elif what == "device":
        target = Path("/dev/null")
    elif what == "picture":
        write_picture(tmp_path / "target.png", 1).rename(target)
    elif what == "empty":
        target.touch()
    else:
        shutil.copy(tmp_path / "index" / "default" / "catalog.sqlite3", target)
    before = os.lstat(target)
    assert str(target) in run("backup", target).refused(2)
    assert str(target) in run("restore", target).refused(2)
    after = os.lstat(target)
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
    )
    assert parts_left(tmp_path) == []


def test_places_that_cannot_be(run: Run, ready: Path, tmp_path: Path) -> None:
    for place in ("index/b", "index/default/b", "index/default/links/b", "index/new/b"):
        run("backup", tmp_path / place).refused(2)
    assert "does not exist" in run("backup", tmp_path / "away" / "b").refused(2)
    assert "there is no file" in run("restore", tmp_path / "b").refused(3)
    assert run("backup", tmp_path / "b").code == 0
    inside = ready / "drop" / "index"
    assert "inside" in run("restore", tmp_path / "b", "--to", inside).refused(2)
    assert not inside.exists()


def test_an_older_backup_of_the_same_collection_only_is_replaced(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    file = tmp_path / "b"
    assert run("backup", file).code == 0
    assert run("backup", file, "--json").document["replaced"] is True
    assert run("collections", "create", "other").code == 0
    before = file.read_bytes()
    assert "another collection" in run("--collection", "other", "backup", file).refused(2)
    file.write_bytes(before[:-1])
    assert "damaged" in run("backup", file).refused(2)
    file.write_bytes(before)
    # A copy of the collection goes on with its backups.
    assert run("collections", "rename", "default", "renamed").code == 0
    assert run("--collection", "renamed", "backup", file).code == 0


def test_every_flipped_bit_and_every_cut_is_noticed(run: Run, ready: Path, tmp_path: Path) -> None:
    file, new = tmp_path / "b", tmp_path / "new"
    assert run("backup", file).code == 0
    whole = file.read_bytes()
    places = random.Random(5)
    ends = [*range(20), *range(len(whole) - 700, len(whole))]
    for at in [*ends[::7], *(places.randrange(len(whole)) for _ in range(60))]:
        content = bytearray(whole)
        content[at] ^= 1 << places.randrange(8)
        file.write_bytes(content)
        with pytest.raises((BackupError, UsageError)):
            restore_collection(file, new)
    for length in (0, 1, 63, 64, 4096, len(whole) // 2, len(whole) - 64, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises((BackupError, UsageError)):
            restore_collection(file, new)
    file.write_bytes(whole + b"\n")
    assert run("restore", file, "--to", new, "--dry-run").refused(1)
    file.write_bytes(whole)
    assert "is whole" in run("restore", file, "--to", new, "--dry-run").out
    assert not list(new.iterdir()) if new.exists() else True
    assert run("restore", file, "--to", new).code == 0


def test_a_newer_backup_is_refused(run: Run, ready: Path, tmp_path: Path) -> None:
    file = tmp_path / "b"
    write_older(tmp_path / "index" / "default" / "catalog.sqlite3", file, VERSION + 1)
    assert "newer imgclust" in run("restore", file, "--to", tmp_path / "new").refused(1)
    assert not (tmp_path / "new").exists()


def test_a_damaged_catalog_never_replaces_a_good_backup(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    file, catalog = tmp_path / "b", tmp_path / "index" / "default" / "catalog.sqlite3"
    assert run("backup", file).code == 0
    good = file.read_bytes()
    content = bytearray(catalog.read_bytes())
    content[-4096:] = b"\xff" * 4096
    content[-3 * 4096 : -2 * 4096] = b"\x00" * 4096
    catalog.write_bytes(content)
    with Collection.open(tmp_path / "index") as collection, pytest.raises(CatalogError):
        collection.backup(file)
    assert file.read_bytes() == good
    assert parts_left(tmp_path) == []


# Disks


def test_without_room_nothing_is_half_made(
    run: Run, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        f_bavail, f_frsize = 100, 4096

    assert run("backup", tmp_path / "b").code == 0
    monkeypatch.setattr("os.statvfs", lambda _: Full())
    assert " are free" in run("backup", tmp_path / "c").refused(1)
    assert " are free" in run("restore", tmp_path / "b", "--to", tmp_path / "new").refused(1)
    assert not (tmp_path / "c").exists()
    assert list((tmp_path / "new").iterdir()) == []
    assert parts_left(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_disk_that_is_really_full(ready: Path, tmp_path: Path, run: Run) -> None:
    assert run("backup", tmp_path / "whole").code == 0
    script = f"""
        mount -t tmpfs -o size=300k none {tmp_path}/disk || exit 77
        cd {CHECKOUT}
        for what in 'backup {tmp_path}/disk/b' 'restore {tmp_path}/whole --to {tmp_path}/disk'; do
            {sys.executable} -c 'from imgclust.cli import app; app()' $what
            echo "code $?"
        done
        find {tmp_path}/disk -type f
    """
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("nothing can be mounted here")
    assert done.stdout.splitlines() == ["code 1", "code 1"], (done.stdout, done.stderr)
    assert done.stderr.count("are free") == 2


@pytest.mark.parametrize("point", ["backup.copied", "backup.written", "backup.renamed"])
@pytest.mark.parametrize("error", ["enospc", "eio"])
def test_a_disk_that_refuses(point: str, error: str, run: Run, ready: Path, tmp_path: Path) -> None:
    try:
        arm(f"{point}={error}")
        assert "cannot be written" in run("backup", tmp_path / "b").refused(1)
    finally:
        arm("")
    assert parts_left(tmp_path) == []
    assert (tmp_path / "b").exists() == (point == "backup.renamed")


def test_a_person_who_stops_it(ready: Path, run: Run, tmp_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    with (
        Collection.open(tmp_path / "index", stop=stop) as collection,
        pytest.raises(StoppedError),
    ):
        collection.backup(tmp_path / "b")
    assert run("backup", tmp_path / "c").code == 0
    with pytest.raises(StoppedError):
        restore_collection(tmp_path / "c", tmp_path / "new", stop=stop)
    assert not (tmp_path / "b").exists()
    assert parts_left(tmp_path) == []
    assert list((tmp_path / "new").iterdir()) == []


# Kills


def killed(point: str, *arguments: Path | str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from imgclust.cli import app; app()", *map(str, arguments)],
        env={**os.environ, "IMGCLUST_FAILPOINTS": f"{point}=crash"},
        cwd=CHECKOUT,
        capture_output=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("point", ["backup.copied", "backup.written", "backup.renamed"])
def test_a_killed_backup(point: str, run: Run, ready: Path, tmp_path: Path) -> None:
    file = tmp_path / "b"
    killed(point, "backup", file)
    if file.exists():
        assert point == "backup.renamed"
        assert run("restore", file, "--dry-run", "--collection", "x").code == 0
    assert run("backup", file).code == 0
    good = file.read_bytes()
    write_picture(ready / "drop" / f"new-{point}.png", 99)
    killed(point, "backup", file)  # over an older one
    assert (file.read_bytes() == good) == (point != "backup.renamed")
    assert run("restore", file, "--dry-run", "--collection", "x").code == 0
    assert run("backup", file).code == 0
    assert parts_left(tmp_path) == []
    (ready / "drop" / f"new-{point}.png").unlink()


@pytest.mark.parametrize("point", ["restore.copied", "restore.prepared", "restore.renamed"])
def test_a_killed_restore(point: str, run: Run, ready: Path, tmp_path: Path) -> None:
    file, new = tmp_path / "b", tmp_path / "new"
    assert run("backup", file).code == 0
    killed(point, "restore", file, "--to", new)
    there = run("--index", new, "collections", "--json").document["collections"]
    assert [one["name"] for one in there] == ["default"] * (point == "restore.renamed")
    if there:
        assert there[0]["images"] == 24
        assert run("restore", file, "--to", new).refused(2)
        assert run("restore", file, "--to", new, "--collection", "second").code == 0
    else:
        assert run("--index", new, "status").refused(3)
        assert run("restore", file, "--to", new).code == 0
    assert rows(new / "default") == rows(tmp_path / "index" / "default")
    assert not (new / ".restoring").exists()


# Link folders


@pytest.fixture
def outside(run: Run, ready: Path, tmp_path: Path) -> Path:
    """The collection's links in a folder outside of it; returns that folder."""
    assert run("links", "--links", tmp_path / "clusters").code == 0
    return tmp_path / "clusters"


def test_a_tree_of_a_collection_that_is_lost_is_taken_over(
    run: Run, outside: Path, tmp_path: Path
) -> None:
    assert run("backup", tmp_path / "b").code == 0
    before = {path: os.lstat(path).st_ino for path in outside.rglob("*") if path.is_symlink()}
    shutil.rmtree(tmp_path / "index")
    made = run("restore", tmp_path / "b", "--json").document
    assert (made["links"], made["links_moved"]) == (str(outside), False)
    assert run("links").code == 0
    after = {path: os.lstat(path).st_ino for path in outside.rglob("*") if path.is_symlink()}
    assert after == before
    assert len(after) == 24


@pytest.mark.parametrize("mode", ["symlink", "hardlink", "copy"])
def test_links_made_after_the_backup_are_not_doubled(
    run: Run, outside: Path, ready: Path, tmp_path: Path, mode: str
) -> None:
    drop = ready / "drop"
    assert run("links", "--link-mode", mode).code == 0
    assert run("backup", tmp_path / "b").code == 0
    for number in range(24, 27):
        write_picture(drop / f"picture-{number:02d}.png", number, hue=number % 3)
    assert run("watch", "--once").code == 0
    mine = next(path for path in outside.iterdir() if path.is_dir()) / "mine.txt"
    mine.write_text("a person's")

    def entries() -> dict[Path, int]:
        files = [path for path in outside.rglob("*.png") if not path.is_dir()]
        return {path: os.lstat(path).st_ino for path in files}

    before = entries()
    assert len(before) == 27
    shutil.rmtree(tmp_path / "index")
    assert run("restore", tmp_path / "b").code == 0
    assert run("watch", "--once").code == 0
    assert entries() == before
    assert mine.read_text() == "a person's"
    checked = run("links", "--check", "--json").document
    assert (checked["links"], checked["missing"], checked["foreign"]) == (27, 0, 1)


def test_the_tree_of_a_collection_that_is_still_there_is_not_touched(
    run: Run, outside: Path, tmp_path: Path
) -> None:
    assert run("backup", tmp_path / "b").code == 0
    before = tree(outside)
    made = run("restore", tmp_path / "b", "--to", tmp_path / "new", "--json").document
    assert made["links_moved"] is True
    assert made["links"] == str(tmp_path / "new" / "default" / "links")
    place = ["--index", tmp_path / "new"]
    assert run(*place, "cluster", "-k", "2", "-y").code == 0
    assert run(*place, "links").code == 0
    assert tree(outside) == before
    assert run("links", "--check").code == 0
    # The same beside it, in the same index folder.
    made = run("restore", tmp_path / "b", "--collection", "second", "--json").document
    assert made["links_moved"] is True


def test_links_inside_the_collection_go_along(run: Run, ready: Path, tmp_path: Path) -> None:
    assert run("links", "--links", tmp_path / "index" / "default" / "links" / "deep").code == 0
    assert run("backup", tmp_path / "b").code == 0
    made = run("restore", tmp_path / "b", "--to", tmp_path / "new", "--json").document
    assert made["links"] == str(tmp_path / "new" / "default" / "links" / "deep")
    assert run("--index", tmp_path / "new", "links").code == 0
    assert len(tree(tmp_path / "new" / "default" / "links" / "deep")) == 24
