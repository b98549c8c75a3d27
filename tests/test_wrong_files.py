"""Paths at which something other than a file is: refused at once, in one line."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import Run, make, runner
from tests.test_fs import NO_FILES, fifo

# `{}` stands for the path.
REFUSED = [
    "query {}",
    "query {} --region 0,0,1,1",
    "query 1 {}",
    "query 1 --sheet {}",
    "clusters show 1 --sheet {}",
    "view --out {}",
    "--config {} status",
    "weights verify {}",
    "reembed --weights {} --dry-run",
    "export --format csv --out {}",
    "report --out {}",
    "watch drop --once --log-file {}",
]


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("files"))


@pytest.fixture
def run(top: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(top)
    return runner(top, capsys, monkeypatch)


@pytest.mark.parametrize("command", REFUSED)
@pytest.mark.parametrize(("place", "kind"), NO_FILES)
def test_a_command_refuses_what_is_no_file(
    command: str, place: Callable[[Path], None], kind: str, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / ("a.html" if command.startswith("report") else "a.png")
    place(path)
    said = run(*shlex.split(command.format(path))).refused(2)
    assert path.name in said
    assert kind in said or "not a regular file" in said or "no plain file" in said


@pytest.mark.parametrize(("place", "kind"), [one for one in NO_FILES if one[1] != "a folder"])
def test_add_and_the_settings_refuse_it_too(
    place: Callable[[Path], None], kind: str, run: Run, tmp_path: Path, top: Path
) -> None:
    path = tmp_path / "a.png"
    place(path)
    assert kind in run("add", path).refused(2)
    (tmp_path / "w.toml").write_text(f'[embedding]\nweights = "{path}"\n')
    new = ["--index", tmp_path / "index", "--config", tmp_path / "w.toml"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IMGCLUST_EMBEDDING_WEIGHTS")
        assert kind in run(*new, "watch", top / "drop", "--once").refused(2)


OURS = [
    "index.faiss",
    "neighbourhood.bin",
    "ingest.lock",
    "links.lock",
    "clustering.lock",
    "duplicates.lock",
    "thumbnails",
    "index.faiss.tmp",
    "neighbourhood.bin.tmp",
    ".probe",
]


@pytest.mark.parametrize("name", OURS)
def test_a_pipe_in_the_place_of_a_file_of_ours_is_waited_for_by_nobody(
    name: str, run: Run, top: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    shutil.copytree(top / "index", index, symlinks=True)
    path = index / "default" / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for command in ("status", "query 1", "duplicates", f"add {top / 'drop'}"):
        assert run("--index", index, *shlex.split(command)).code == 0, command
    assert "fault" not in run("--index", index, "doctor").err


def test_a_catalog_that_is_no_file_is_said(run: Run, tmp_path: Path, top: Path) -> None:
    (tmp_path / "index" / "default").mkdir(parents=True)
    fifo(tmp_path / "index" / "default" / "catalog.sqlite3")
    for command in (["status"], ["query", "1"], ["add", str(top / "drop")]):
        said = run("--index", tmp_path / "index", *command).refused(1)
        assert "catalog.sqlite3 is a named pipe (FIFO)" in said


@pytest.mark.parametrize("path", ["/proc/self/pagemap", "/proc/self/mounts", "/proc/self/environ"])
def test_a_file_of_the_system_without_a_size_is_not_read_to_its_end(path: str, run: Run) -> None:
    assert path in run("query", path).refused(1)


def test_times_that_no_clock_shows_do_no_harm(run: Run, tmp_path: Path, top: Path) -> None:
    drop = tmp_path / "drop"
    shutil.copytree(top / "drop", drop)
    files = sorted(drop.glob("*.png"))
    for path, seconds in zip(files, (9223372037, -(2**40), 2**62, -1), strict=False):
        os.utime(path, (seconds, seconds))
    os.utime(files[4], ns=(-1, -1))
    for mode in ("symlink", "hardlink", "copy"):
        place = ["--index", tmp_path / mode]
        assert run(*place, "watch", drop, "--once", "--link-mode", mode).code == 0
        assert run(*place, "links", "--check").code == 0
        again = run(*place, "watch", "--once", "--json").document
        assert again["ingested"] == 0
        assert again["reused"] == (24 if mode == "hardlink" else 0)  # a hard link changes the ctime
        assert run(*place, "links", "--json").code == 0
    index = ["--index", tmp_path / "copy"]
    for command in ("query", "add"):
        assert run(*index, command, files[0]).code == 0
    for command in (
        "duplicates",
        "export --format json --out -",
        f"report --out {tmp_path / 'r.html'}",
        "status",
        "doctor",
    ):
        assert run(*index, *shlex.split(command)).code == 0, command
