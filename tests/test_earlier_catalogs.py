"""Collections that were made by earlier versions, opened by the code of today."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.connection import VERSION
from imgclust.catalog.copies import kept_catalogs
from imgclust.errors import CatalogError, StorageError
from tests.command_line import Run
from tests.fixtures.facts import facts

FIXTURES = Path(__file__).parent / "fixtures" / "collections"
EARLIER = sorted(int(one.name.removeprefix("version-")) for one in FIXTURES.iterdir())
every_version = pytest.mark.parametrize("version", EARLIER)
# Written by the opening itself.
NEW_EVENTS = 1


def unpacked(version: int, index: Path) -> Path:
    """A copy of a fixture as the collection `default`; returns its folder."""
    folder = index / "default"
    shutil.copytree(FIXTURES / f"version-{version}", folder)
    packed = folder / "catalog.sqlite3.gz"
    (folder / "catalog.sqlite3").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return folder


def expected(version: int) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = json.loads(
        (FIXTURES / f"version-{version}" / "expected.json").read_text("utf-8")
    )
    return found


def version_of(file: Path) -> int:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        found = int(database.execute("PRAGMA user_version").fetchone()[0])
    database.close()
    return found


def test_there_is_a_fixture_of_every_earlier_version() -> None:
    assert list(range(1, VERSION)) == EARLIER
    size = sum(one.stat().st_size for one in FIXTURES.rglob("*") if one.is_file())
    assert size < 2_000_000


@every_version
def test_it_opens_with_all_that_was_in_it(version: int, tmp_path: Path) -> None:
    folder = unpacked(version, tmp_path)
    wanted = expected(version)
    assert facts(folder / "catalog.sqlite3") == wanted
    with Catalog(folder / "catalog.sqlite3") as catalog:
        assert catalog.damage() == []
    assert version_of(folder / "catalog.sqlite3") == VERSION
    found = facts(folder / "catalog.sqlite3")
    events = found.pop("events")
    assert events[: len(events) - NEW_EVENTS] == wanted.pop("events")
    assert found == wanted
    assert len(wanted["images"]) >= 14
    assert [row[1] for row in wanted["clusters"] if row[1]] == ["seaside", "the caf\u00e9"]


@pytest.fixture
def earlier(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line with the settings that the fixtures were made with."""
    monkeypatch.delenv("IMGCLUST_CLUSTERING_PCA_DIMS")
    return run


@every_version
def test_it_works_and_its_index_is_taken_or_made_again(
    version: int, tmp_path: Path, earlier: Run
) -> None:
    folder = unpacked(version, tmp_path / "index")
    index = (folder / "index.faiss").read_bytes()
    checks = {one["name"]: one for one in earlier("doctor", "--json").document["checks"]}
    assert checks["catalog"]["ok"]
    assert checks["index"]["ok"]
    assert "13 vectors" in checks["index"]["message"]
    found = earlier("query", "1", "-n", "20", "--json").document["neighbours"]
    assert {one["id"] for one in found} <= {row[0] for row in expected(version)["images"]}
    assert len(found) > 8
    taken = (folder / "index.faiss").read_bytes() == index
    assert taken or (folder / "set-aside" / "index.faiss").exists()
    names = {row["name"] for row in earlier("clusters", "--json").document["clusters"]}
    assert names >= {"seaside", "the caf\u00e9"}
    assert earlier("missing", "--json").document["missing"][0]["path"].endswith("08.jpg")
    assert earlier("duplicates", "--json").code == 0


@every_version
def test_the_catalog_of_before_is_kept_and_one_can_go_back(version: int, tmp_path: Path) -> None:
    folder = unpacked(version, tmp_path)
    Catalog(folder / "catalog.sqlite3").close()
    (kept,) = kept_catalogs(folder / "set-aside")
    assert (kept.version, version_of(kept.path)) == (version, version)
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert facts(kept.path) == expected(version)
    # A second upgrade keeps the newer state, once.
    shutil.copy(kept.path, folder / "catalog.sqlite3")
    with sqlite3.connect(folder / "catalog.sqlite3") as database:
        database.execute("UPDATE clusters SET name = 'later' WHERE name = 'seaside'")
    database.close()
    Catalog(folder / "catalog.sqlite3").close()
    Catalog(folder / "catalog.sqlite3").close()
    (kept,) = kept_catalogs(folder / "set-aside")
    assert "later" in {row[1] for row in facts(kept.path)["clusters"]}


def test_nothing_is_kept_of_a_new_catalog(tmp_path: Path) -> None:
    Catalog(tmp_path / "catalog.sqlite3").close()
    Catalog(tmp_path / "catalog.sqlite3").close()
    assert [one.name for one in tmp_path.iterdir()] == ["catalog.sqlite3"]


@every_version
def test_status_and_doctor_say_what_is_kept(version: int, tmp_path: Path, earlier: Run) -> None:
    unpacked(version, tmp_path / "index")
    name = f"catalog-v{version}.sqlite3"
    assert name in earlier("status", "-v").out
    advice = {
        one["name"]: one["message"] for one in earlier("doctor", "--json").document["advisories"]
    }
    assert f"version {version}" in advice["upgrade"]
    assert name in advice["upgrade"]


@every_version
def test_without_room_for_the_copy_nothing_changes(
    version: int, tmp_path: Path, earlier: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unpacked(version, tmp_path / "index")
    before = (folder / "catalog.sqlite3").read_bytes()

    class Full:
        f_bavail, f_frsize = 10, 4096

    with monkeypatch.context() as patch:
        patch.setattr("os.statvfs", lambda _: Full())
        with pytest.raises(StorageError, match=r"needs [\d.]+ [kM]B .* 41 kB are free; free some"):
            Catalog(folder / "catalog.sqlite3")
    assert (folder / "catalog.sqlite3").read_bytes() == before
    assert kept_catalogs(folder / "set-aside") == []
    assert earlier("status").code == 0


@every_version
@pytest.mark.parametrize(
    "armed",
    [
        *("upgrade.copied=crash", "upgrade.kept=crash", "upgrade.commit=crash"),
        *("upgrade.copied=enospc", "upgrade.kept=eio", "upgrade.commit=eio"),
    ],
)
def test_an_upgrade_that_is_cut_off_is_done_by_the_next_one(
    version: int, armed: str, tmp_path: Path
) -> None:
    folder = unpacked(version, tmp_path)
    code = (
        "import sys, pathlib; from imgclust.catalog.catalog import Catalog; "
        "Catalog(pathlib.Path(sys.argv[1]) / 'catalog.sqlite3')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={"IMGCLUST_FAILPOINTS": armed},
        cwd=FIXTURES.parents[2],
        capture_output=True,
    )
    assert ended.returncode == (-signal.SIGKILL if "crash" in armed else 1), ended.stderr
    wanted = expected(version)
    assert version_of(folder / "catalog.sqlite3") == version
    assert facts_of_running(folder) == wanted
    for kept in kept_catalogs(folder / "set-aside"):
        assert facts(kept.path) == wanted
    with Catalog(folder / "catalog.sqlite3") as catalog:
        assert catalog.damage() == []
    (kept,) = kept_catalogs(folder / "set-aside")
    assert facts(kept.path) == wanted
    assert [one.name for one in (folder / "set-aside").iterdir()] == [kept.path.name]


def facts_of_running(folder: Path) -> dict[str, list[list[Any]]]:
    """The facts with what a killed process has left in the write-ahead log."""
    copy = folder.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in folder.glob("catalog.sqlite3*"):
        shutil.copy(file, copy)
    with sqlite3.connect(copy / "catalog.sqlite3") as database:
        database.execute("PRAGMA journal_mode = DELETE").fetchall()
    database.close()
    return facts(copy / "catalog.sqlite3")


def test_a_newer_catalog_is_refused_and_not_copied(tmp_path: Path) -> None:
    folder = unpacked(EARLIER[-1], tmp_path)
    with sqlite3.connect(folder / "catalog.sqlite3") as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(CatalogError, match="upgrade imgclust"):
        Catalog(folder / "catalog.sqlite3")
    assert not (folder / "set-aside").exists()
