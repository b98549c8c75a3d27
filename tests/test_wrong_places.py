"""Places where nothing can be written: commands that only read work, the others refuse in one line.

The disks are real ones in memory, which root alone can make.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command_line import Run, make, runner

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk in memory")

READING = """
status
clusters
clusters show 1
clusters history
config show
query 1 -n 3
duplicates
quarantine
missing
doctor
collections
export --format csv --out -
report --out ../there.html
view --method pca --out ../there.png
""".strip().splitlines()
WRITING = """
add new
watch --once
cluster -k 4
clusters name 1 cat
clusters split 1 -k 2
sweep
links
links --folder {id}_{count}
view
report
remove 3 -y
quarantine retry
export --format json --out disk.json
export --format csv --out there.csv
query 1 --sheet there.png
""".strip().splitlines()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drop` and its `index`."""
    return make(tmp_path_factory.mktemp("wrong-places"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def run(
    made: Path, disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """The command line on a collection on the disk, with the disk as the current folder."""
    shutil.copytree(made / "index", disk / "index", symlinks=True)
    call = runner(disk, capsys, monkeypatch)
    assert call("links", "-q").code == 0  # relative links do not survive the copying
    shutil.copytree(made / "drop", disk / "new")
    monkeypatch.setenv("IMGCLUST_CACHE", str(made / "cache"))
    monkeypatch.chdir(disk)
    return call


def fill(disk: Path, *, leave: int = 0) -> None:
    """Leave so many bytes of the disk free."""
    found = os.statvfs(disk)
    with (disk / "filler").open("wb", buffering=0) as file:
        file.write(bytes(found.f_bavail * found.f_frsize - leave))


def make_read_only(disk: Path) -> None:
    """Let nothing be written."""
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


@pytest.mark.parametrize("spoil", [fill, make_read_only])
def test_what_only_reads_works(spoil: Callable[[Path], None], run: Run, disk: Path) -> None:
    spoil(disk)
    for command in READING:
        said = run(*shlex.split(command))
        assert (said.code, said.err) == (0, ""), command


@pytest.mark.parametrize("spoil", [fill, make_read_only])
def test_what_writes_says_why_it_cannot(
    spoil: Callable[[Path], None], run: Run, disk: Path
) -> None:
    spoil(disk)
    words = "full", "No space left", "ead-only file system", "file system is read-only"
    for command in WRITING:
        said = run(*shlex.split(command)).refused(1)
        assert any(word in said for word in words), command
        assert "this is a fault" not in said
    assert sorted(path.name for path in disk.iterdir()) in (
        ["filler", "index", "new"],
        ["index", "new"],
    )


@pytest.mark.parametrize("leave", [80_000, 200_000])
def test_a_disk_that_fills_up_loses_nothing(leave: int, run: Run, disk: Path) -> None:
    before = run("export", "--format", "csv", "--out", "-").out
    fill(disk, leave=leave)
    for command in (
        "links --folder x{id}",
        "sweep",
        "view",
        "report",
        "export --format json --embeddings --out all.json",
        "cluster -k 4",
    ):
        said = run(*shlex.split(command))
        assert said.code == 0 or said.refused(1)
        assert "this is a fault" not in said.err
    (disk / "filler").unlink()
    assert run("links").code == 0
    assert run("doctor").code == 0
    after = run("export", "--format", "csv", "--out", "-").out
    assert [line.split(",")[:2] for line in after.splitlines()] == [
        line.split(",")[:2] for line in before.splitlines()
    ]
    assert not [path for path in disk.rglob("*") if path.name.endswith((".part", ".tmp"))]


def test_a_full_disk_lets_a_collection_be_deleted(run: Run, disk: Path) -> None:
    fill(disk)
    assert run("collections", "delete", "default", "-y").code == 0
    assert not (disk / "index" / "default").exists()


def test_a_log_that_was_not_moved_is_not_ignored(run: Run, disk: Path) -> None:
    log = disk / "index" / "default" / "catalog.sqlite3-wal"
    log.write_bytes(b"what a crash has left" * 100)
    make_read_only(disk)
    assert "read-only" in run("status").refused(1)
