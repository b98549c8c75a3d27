"""Real processes on real disks: kills, and every fault that Linux lets a test make."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.connection import VERSION
from imgclust.collection import Collection
from imgclust.errors import CatalogError, UsageError
from tests.driver import BURST_POINTS, MOVE_POINTS, Driver, Process, quick_collection
from tests.oracle import torn as torn_groups
from tests.pictures import encoded, photo

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def picture(seed: int) -> bytes:
    return encoded(photo(24, 16, seed), "PNG")


def rows(index: Path, sql: str) -> list[Any]:
    """Ask the catalog; nothing while it does not exist."""
    path = index / "default" / "catalog.sqlite3"
    if not path.exists():
        return []
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute(sql).fetchall()
    except sqlite3.OperationalError:  # it is being made
        return []
    finally:
        database.close()


def paths_in(index: Path) -> set[bytes]:
    """Paths of the images that are in and present."""
    return {path for (path,) in rows(index, "SELECT path FROM images WHERE state = 'present'")}


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def fill(folder: Path, count: int, first: int = 0) -> list[Path]:
    made = [folder / f"{seed:03d}.png" for seed in range(first, first + count)]
    for seed, path in enumerate(made, first):
        path.write_bytes(picture(seed))
    return made


# Kills


def survive(folder: Path, *, kills: int, seed: int, more: dict[str, str] | None = None) -> None:
    driver = Driver(folder, seed, more=more)
    driver.kills(kills)
    assert driver.verdict() == [], f"scripts/torture --kills {kills} --seed {seed}"


@pytest.mark.slow
def test_forty_kills(tmp_path: Path) -> None:
    survive(tmp_path, kills=40, seed=1)


@pytest.mark.slow
def test_kills_of_a_move_of_a_root(tmp_path: Path) -> None:
    driver = Driver(tmp_path, 4)
    driver.kills(2 * len(MOVE_POINTS), points=MOVE_POINTS)
    assert driver.verdict() == []


@pytest.mark.slow
@pytest.mark.parametrize("point", BURST_POINTS)
def test_kills_while_burst_groups_are_stored(drop: Path, index: Path, point: str) -> None:
    fill(drop, 12)
    with Process("once", index, drop) as once:
        assert once.wait() == 0, once.said
    with Process("cluster", index) as cluster:
        assert cluster.wait() == 0, cluster.said
    for path in fill(drop, 12, first=100):  # enough for another rule; each with a near copy
        near = Image.open(path).point(lambda value: min(value + 1, 255))
        near.save(path.with_name(f"near {path.name}"))
    with Process("once", index, drop) as once:
        assert once.wait() == 0, once.said
    with Process("cluster", index, IMGCLUST_FAILPOINTS=f"{point}=crash") as cluster:
        assert cluster.wait() == -signal.SIGKILL, cluster.said
    more = fill(drop, 1, first=200)
    Image.open(more[0]).point(lambda value: min(value + 1, 255)).save(drop / "near 200.png")
    for mode in ("once", "cluster", "once"):
        with Process(mode, index, drop) as process:
            assert process.wait() == 0, process.said
    with contextlib.closing(sqlite3.connect(index / "default/catalog.sqlite3")) as database:
        assert torn_groups(database, whole=True) == []
        (groups,) = database.execute(
            "SELECT count(DISTINCT representative) FROM burst_groups"
        ).fetchone()
    assert groups == 25


@pytest.mark.slow
def test_three_kills_with_the_real_network(tmp_path: Path) -> None:
    survive(tmp_path, kills=3, seed=3, more={"TEST_IMGCLUST_BACKBONE": "real"})


# Two processes


def test_beside_a_watcher(drop: Path, index: Path, tmp_path: Path) -> None:
    fill(drop, 6)
    single = tmp_path / "single.png"
    single.write_bytes(picture(50))
    with Process("watch", index, drop) as watch:
        assert watch.until(lambda: len(paths_in(index)) == 6), watch.said
        with Process("watch", index, drop) as second:
            assert second.wait() == 4, second.said
        with Process("add", index, single) as add:
            assert add.wait() == 0, add.said
            assert os.fsencode(single) in paths_in(index)
            assert "ingested=1" in add.said
        # The watcher's own first clustering; seven images are too few for another one.
        assert watch.until(lambda: "\nclustered" in watch.said), watch.said
        with Process("cluster", index, TEST_IMGCLUST_K="2") as cluster:
            assert cluster.wait() == 0, cluster.said
        fill(drop, 1, first=60)
        assert watch.until(lambda: len(paths_in(index)) == 8), watch.said
        due = "SELECT image FROM link_queue UNION ALL SELECT id FROM link_steps"
        assert watch.until(lambda: not rows(index, due)), watch.said
        with Process("ask", index, drop / "000.png") as ask:
            assert ask.wait() == 0, ask.said
        assert "\nstatus - 8 True\n" in ask.said
        assert "\nquery - 7\n" in ask.said  # all but itself
        in_step = "LinksResult(links=8, created=0, removed=0, missing=0, stale=0, foreign=(), "
        assert f"synced - {in_step}" in ask.said, ask.said
        assert f"checked - {in_step}" in ask.said, ask.said
        unassigned = rows(
            index,
            "SELECT key FROM contents WHERE key NOT IN (SELECT content FROM assignments "
            "JOIN settings ON settings.key = 'current_clustering' AND clustering = value)",
        )
        assert unassigned == []
        watch.send(signal.SIGHUP)
        began = time.monotonic()
        watch.send(signal.SIGTERM)
        assert watch.wait() == 0, watch.said
        assert time.monotonic() - began < 10
    assert (index / "default" / "index.faiss").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("claimed=sleep:1", signal.SIGINT),
        ("decoded=sleep:1", signal.SIGTERM),
        ("embedded=sleep:1", signal.SIGTERM),
        ("commit.before=sleep:1", signal.SIGINT),
        ("commit.after=sleep:1", signal.SIGTERM),
        ("checkpoint.temporary=sleep:3", signal.SIGINT),
        ("links.made=sleep:0.2", signal.SIGTERM),
    ],
)
def test_a_signal_ends_a_busy_watcher_and_loses_nothing(
    drop: Path, index: Path, point: str, number: signal.Signals
) -> None:
    fill(drop, 12)
    with Process("watch", index, drop, IMGCLUST_FAILPOINTS=point) as watch:
        assert watch.until(lambda: "scanned" in watch.said), watch.said
        began = time.monotonic()
        watch.send(number)
        assert watch.wait() == 0, watch.said
        assert time.monotonic() - began < 10
    with Process("once", index, drop) as once:
        assert once.wait() == 0, once.said
    assert len(paths_in(index)) == 12


@pytest.mark.slow
def test_sigterm_leaves_a_clustering_behind_that_does_not_end(drop: Path, index: Path) -> None:
    fill(drop, 24)
    begun = "SELECT 1 FROM clusterings WHERE published IS NULL"
    with Process("watch", index, drop, IMGCLUST_FAILPOINTS="recluster.chunk=sleep:600") as watch:
        assert watch.until(lambda: bool(rows(index, begun))), watch.said
        watch.send(signal.SIGTERM)
        assert watch.wait() == 0, watch.said
    assert "clustering" not in watch.said
    with Process("once", index, drop) as once:
        assert once.wait() == 0, once.said
    assert len(paths_in(index)) == 24
    assert rows(index, begun) == []
    assert len(rows(index, "SELECT 1 FROM clusterings")) == 1


# Files


def test_files_of_every_sort_in_one_folder(drop: Path, index: Path, tmp_path: Path) -> None:
    root = os.fsencode(drop)
    outside = tmp_path / "outside.png"
    outside.write_bytes(picture(90))
    names = [b"new\nline.png", b"\xff\xfe.png", b"n" * 251 + b".png", b"a%s{}.png", b"-n.png"]
    for seed, name in enumerate(names):
        with open(os.path.join(root, name), "wb") as file:
            file.write(picture(seed))
    os.mkfifo(drop / "fifo.png")
    with contextlib.chdir(drop), socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")  # the name of a socket is short
    (drop / "folder.png").mkdir()
    (drop / "link.png").symlink_to(outside)
    (drop / "tree").symlink_to(tmp_path)
    (drop / "locked.png").write_bytes(picture(9))
    (drop / "Case.png").write_bytes(picture(10))
    (drop / "case.png").write_bytes(picture(11))
    (drop / "empty.png").write_bytes(b"")
    with Process("once", index, drop) as once:
        assert once.wait() == 0, once.said
    expected = {os.path.join(root, name) for name in names}
    expected |= {os.path.join(root, name) for name in (b"locked.png", b"Case.png", b"case.png")}
    assert paths_in(index) == expected
    assert rows(index, "SELECT path FROM quarantine") == [(os.path.join(root, b"empty.png"),)]
    entries = [
        os.path.join(top, name)
        for top, _, found in os.walk(os.fsencode(index / "default" / "links"))
        for name in found
        if not name.endswith(b".html")
    ]
    assert {os.path.realpath(entry) for entry in entries} == expected
    assert len(entries) == len(expected)


def test_a_slow_writer_with_pauses(drop: Path, index: Path) -> None:
    content = encoded(photo(60, 40, 3), "PNG")
    path = drop / "slow.png"
    with Process("watch", index, drop) as watch:
        assert watch.until(lambda: "scanned" in watch.said), watch.said
        with path.open("wb") as file:
            for start in range(0, len(content), len(content) // 4 + 1):
                file.write(content[start : start + len(content) // 4 + 1])
                file.flush()
                time.sleep(0.3)  # longer than the settle delay
        assert watch.until(lambda: os.fsencode(path) in paths_in(index)), watch.said
    assert rows(index, "SELECT bytes FROM contents") == [(len(content),)]
    assert rows(index, "SELECT * FROM quarantine") == []


# Vanishing


def test_most_of_a_root_deleted_is_held_until_accepted(
    monkeypatch: pytest.MonkeyPatch, drop: Path, index: Path
) -> None:
    paths = fill(drop, 20)
    with quick_collection(monkeypatch, index, drop) as collection:
        collection.watch([drop], once=True)
        for path in paths[:12]:
            path.unlink()
        for _ in range(4):
            result = collection.watch(once=True)
        assert result.held == ((os.fsencode(drop), "12 of 20 images vanished at once"),)
        assert (collection.status().images, collection.status().missing) == (20, 12)
        assert collection.links(check=True).links == 20
        assert len(collection.accept_missing()) == 12
        assert collection.watch(once=True).held == ()
        assert collection.status().images == 8
        assert (collection.links(check=True).links, collection.links(check=True).stale) == (8, 0)
        assert collection.doctor().ok


@contextlib.contextmanager
def mounted(point: Path, *arguments: str) -> Iterator[None]:
    try:
        subprocess.run(["mount", *arguments, str(point)], check=True, capture_output=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(point)], check=True, capture_output=True)


@as_root
def test_an_unmounted_root_is_held_and_an_empty_one_in_its_place_too(
    monkeypatch: pytest.MonkeyPatch, drop: Path, index: Path
) -> None:
    with quick_collection(monkeypatch, index, drop) as collection:
        with mounted(drop, "-t", "tmpfs", "tmpfs"):
            fill(drop, 5)
            collection.watch([drop], once=True)
        for _ in range(4):
            assert collection.watch(once=True).held == ((os.fsencode(drop), "the folder is empty"),)
        (drop / "other.png").write_bytes(picture(70))
        for _ in range(4):
            assert collection.watch(once=True).held
        assert collection.status().images == 6
        assert collection.links(check=True).in_step


@as_root
def test_an_index_folder_inside_a_root_by_another_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, drop: Path, tmp_path: Path
) -> None:
    alias = tmp_path / "alias"
    alias.mkdir()
    with mounted(alias, "--bind", str(drop)), pytest.raises(UsageError, match="inside each other"):
        quick_collection(monkeypatch, alias / "index", drop)
    assert list(drop.iterdir()) == []


@contextlib.contextmanager
def loop_device(image: Path) -> Iterator[str]:
    try:
        found = subprocess.run(
            ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
        )
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"no loop device can be had here: {error}")
    try:
        yield found.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", found.stdout.strip()], check=True)


@as_root
def test_a_disk_that_comes_back_under_another_device_number_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch, drop: Path, index: Path, tmp_path: Path
) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    devices = []
    with quick_collection(monkeypatch, index, drop) as collection, contextlib.ExitStack() as held:
        with loop_device(image) as device, mounted(drop, device):
            fill(drop, 5)
            collection.watch([drop], once=True)
            devices.append(drop.stat().st_dev)
        assert collection.watch(once=True).held
        blank = tmp_path / "blank.img"
        blank.write_bytes(bytes(1 << 20))
        held.enter_context(loop_device(blank))  # takes the number that was free
        with loop_device(image) as device, mounted(drop, device):
            devices.append(drop.stat().st_dev)
            before = rows(index, "SELECT path, inode, changed FROM observations")
            result = collection.watch(once=True)
            assert (result.held, result.ingested, result.reused) == ((), 0, 0)
            assert rows(index, "SELECT path, inode, changed FROM observations") == before
            assert len(paths_in(index)) == 5
    assert devices[0] != devices[1]


@pytest.mark.slow
@as_root
def test_a_watcher_outlives_a_lost_mount(drop: Path, index: Path) -> None:
    with Process("watch", index, drop) as watch:
        with mounted(drop, "-t", "tmpfs", "tmpfs"):
            assert watch.until(lambda: "scanned" in watch.said), watch.said
            fill(drop, 5)
            assert watch.until(lambda: len(paths_in(index)) == 5), watch.said
        held = "SELECT 1 FROM roots WHERE held IS NOT NULL"
        assert watch.until(lambda: bool(rows(index, held))), watch.said
        (late,) = fill(drop, 1, first=30)
        assert watch.until(lambda: os.fsencode(late) in paths_in(index)), watch.said
        assert len(rows(index, "SELECT 1 FROM images")) == 6


@pytest.mark.slow
@as_root
def test_a_full_disk_makes_the_watcher_wait_and_go_on_alone(drop: Path, index: Path) -> None:
    index.mkdir()
    fill(drop, 3)
    with (
        mounted(index, "-t", "tmpfs", "-o", "size=40m", "tmpfs"),
        Process("watch", index, drop) as watch,  # its log lies on another disk
    ):
        assert watch.until(lambda: len(paths_in(index)) == 3), watch.said
        ballast = index / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        fill(drop, 40, first=10)
        assert watch.until(lambda: "waiting until it works again" in watch.said), watch.said
        assert watch.running
        assert watch.said.count("waiting until it works again") == 1
        ballast.unlink()
        done = "SELECT 1 FROM observations WHERE state = 'done'"
        assert watch.until(lambda: len(rows(index, done)) == 43), watch.said
        assert len(paths_in(index)) == 43
        watch.send(signal.SIGTERM)
        assert watch.wait() == 0


@pytest.mark.slow
@as_root
def test_a_watcher_that_waits_for_the_disk_can_be_stopped(drop: Path, index: Path) -> None:
    index.mkdir()
    fill(drop, 3)
    with mounted(index, "-t", "tmpfs", "-o", "size=40m", "tmpfs"):
        with Process("watch", index, drop) as watch:
            assert watch.until(lambda: len(paths_in(index)) == 3), watch.said
            ballast = index / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            fill(drop, 40, first=10)
            assert watch.until(lambda: "waiting until it works again" in watch.said), watch.said
            scans = watch.said.count("\nscanned")
            time.sleep(3)  # the rescan time is half a second: this is six of them
            assert watch.said.count("\nscanned") == scans
            began = time.monotonic()
            watch.send(signal.SIGTERM)
            assert watch.wait() == 0, watch.said
            assert time.monotonic() - began < 10
        ballast.unlink()
        with Process("once", index, drop) as once:
            assert once.wait() == 0, once.said
        assert len(paths_in(index)) == 43


@pytest.mark.slow
@as_root
def test_a_disk_that_turns_read_only_is_waited_for(drop: Path, index: Path, tmp_path: Path) -> None:
    """What ext4 does after an error on its disk, made by the kernel's own trigger for it."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    index.mkdir()
    fill(drop, 3)
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    with loop_device(image) as device:
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        with (
            mounted(index, "-o", "errors=remount-ro", device),
            Process("watch", index, drop) as watch,
        ):
            if not os.access(trigger, os.W_OK):
                pytest.skip("this kernel has no trigger for errors")
            assert watch.until(lambda: len(paths_in(index)) == 3), watch.said
            trigger.write_text("an error for a test of imgclust")
            fill(drop, 5, first=10)
            assert watch.until(lambda: "waiting until it works again" in watch.said), watch.said
            watch.send(signal.SIGTERM)
            assert watch.wait() == 0, watch.said
        subprocess.run(["e2fsck", "-p", "-f", device], check=False, capture_output=True)
        with mounted(index, device):
            with Process("once", index, drop) as once:
                assert once.wait() == 0, once.said
            assert len(paths_in(index)) == 8


# Catalogs that cannot be used


def made(folder: Path) -> Path:
    path = folder / "catalog.sqlite3"
    Catalog(path).close()
    return path


def from_a_newer_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()


def of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA application_id = 7")
    database.close()


def no_database(path: Path) -> None:
    path.write_bytes(b"something else" * 5000)


def torn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (from_a_newer_version, "upgrade imgclust"),
        (of_another_program, "not an imgclust catalog"),
        (no_database, "is damaged"),
        (torn, "is damaged"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_refused_untouched(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    (tmp_path / "default").mkdir()
    path = made(tmp_path / "default")
    damage(path)
    before = path.read_bytes()
    with pytest.raises(CatalogError, match=re.escape(words)):
        Collection.open(tmp_path)
    assert path.read_bytes() == before
