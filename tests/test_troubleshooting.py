"""docs/troubleshooting.md: each error that it explains is caused, with its exit code."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from imgclust import paths
from imgclust.catalog.catalog import Catalog
from imgclust.locks import FileLock
from tests.command_line import Run, Said, runner
from tests.test_earlier_catalogs import EARLIER, unpacked

TEXT = (Path(__file__).parents[1] / "docs" / "troubleshooting.md").read_text("utf-8")
ENTRIES = re.findall(r"^### `(.+)`\n\n\[([\d or]+)\]", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


class Place:
    """A command line, a collection that it works on, and the power to break things."""

    def __init__(self, run: Run, top: Path, patch: pytest.MonkeyPatch) -> None:
        self.run, self.top, self.patch = run, top, patch
        self.catalog = top / "index" / "default" / "catalog.sqlite3"

    def elsewhere(self) -> Said:
        return self.run("--index", self.top / "other", "status")

    def nothing_in_it(self) -> Said:
        assert self.run("collections", "create", "fresh").code == 0
        return self.run("--collection", "fresh", "query", "1")

    def no_clusters(self) -> Said:
        place = ["--collection", "unclustered"]
        done = self.run(*place, "watch", self.top / "drop", "--once", "--no-cluster")
        assert done.code == 0
        return self.run(*place, "clusters", "show", "1")

    def no_such_cluster(self) -> Said:
        return self.run("clusters", "show", "999")

    def no_such_name(self) -> Said:
        return self.run("clusters", "show", "nobody")

    def one_name_twice(self) -> Said:
        with Catalog(self.catalog) as catalog, catalog.transaction():
            for cluster in (1, 2):
                catalog.clusterings.name(cluster, "twins")
        return self.run("clusters", "show", "twins")

    def no_number(self) -> Said:
        return self.run("cluster", "-k", "\u00b2")

    def no_such_id(self) -> Said:
        return self.run("query", "999")

    def no_such_file(self) -> Said:
        return self.run("query", "nowhere.jpg")

    def no_such_folder(self) -> Said:
        return self.run("watch", self.top / "nowhere", "--once")

    def inside(self) -> Said:
        return self.run("watch", self.top / "index" / "default", "--once")

    def network(self) -> Said:
        self.patch.setattr(paths, "is_network", lambda path: True)
        return self.run("--collection", "shared", "watch", self.top / "drop", "--once")

    def second_watcher(self) -> Said:
        with FileLock(self.top / "index" / "default" / "ingest.lock", purpose="ingesting into"):
            return self.run("watch", self.top / "drop", "--once")

    def mistyped(self) -> Said:
        file = self.top / "mine.toml"
        file.write_text("[watch]\nsetle_s = 2\n")
        return self.run("--config", file, "status")

    def no_weights(self) -> Said:
        self.patch.setenv("IMGCLUST_EMBEDDING_WEIGHTS", "imagenet")
        self.patch.setenv("http_proxy", "http://127.0.0.1:9")
        self.patch.setenv("https_proxy", "http://127.0.0.1:9")
        return self.run("--collection", "best", "watch", self.top / "drop", "--once")

    def other_weights(self) -> Said:
        self.patch.setenv("IMGCLUST_EMBEDDING_WEIGHTS", "imagenet")
        return self.run("query", "1")

    def no_package(self) -> Said:
        find = importlib.util.find_spec
        self.patch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: None if name == "tensorflow" else find(name, *rest),
        )
        return self.run("watch", self.top / "drop", "--once")

    def no_backup(self) -> Said:
        return self.run("restore", self.top / "drop" / "picture-00.png")

    def damaged_backup(self) -> Said:
        assert self.run("backup", self.top / "b").code == 0
        os.truncate(self.top / "b", 5000)
        return self.run("restore", self.top / "b", "--to", self.top / "new")

    def taken(self) -> Said:
        assert self.run("backup", self.top / "b").code == 0
        return self.run("restore", self.top / "b")

    def no_room(self) -> Said:
        shutil.rmtree(self.top / "index")
        unpacked(EARLIER[-1], self.top / "index")
        full = SimpleNamespace(f_bavail=1, f_frsize=4096)
        self.patch.setattr(os, "statvfs", lambda _: full)
        return self.run("status")

    def damaged(self) -> Said:
        content = bytearray(self.catalog.read_bytes())
        content[100:4096] = b"\xff" * 3996
        self.catalog.write_bytes(content)
        return self.run("status")


CAUSES: dict[str, Callable[[Place], Said]] = {
    "there is no collection": Place.elsewhere,
    "has no images yet": Place.nothing_in_it,
    "there are no clusters yet": Place.no_clusters,
    "there is no cluster": Place.no_such_cluster,
    "no cluster is called": Place.no_such_name,
    "are all called": Place.one_name_twice,
    "is neither auto nor a whole number": Place.no_number,
    "no image has the id": Place.no_such_id,
    "there is no file": Place.no_such_file,
    "does not exist": Place.no_such_folder,
    "lie inside each other": Place.inside,
    "on a network file system": Place.network,
    "is ingesting into this collection": Place.second_watcher,
    "did you mean": Place.mistyped,
    "the ImageNet weights cannot be had": Place.no_weights,
    "embeddings of two recipes never mix": Place.other_weights,
    "is not installed": Place.no_package,
    "is damaged": Place.damaged,
    "is not an imgclust backup": Place.no_backup,
    "the backup": Place.damaged_backup,
    "is taken in the index folder": Place.taken,
    "is copied before it is brought up to date": Place.no_room,
}


def test_it_explains_what_is_caused_here() -> None:
    assert [words for words, _ in ENTRIES] == list(CAUSES)


@pytest.mark.parametrize(("words", "codes"), ENTRIES)
def test_the_words_and_the_exit_code(
    words: str,
    codes: str,
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    said = CAUSES[words](Place(runner(tmp_path, capsys, monkeypatch), tmp_path, monkeypatch))
    assert str(said.code) in codes.split(" or ")
    assert said.out == ""
    last = said.err.splitlines()[-1]
    assert last.startswith("imgclust: ")
    assert words in last
