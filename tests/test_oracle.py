"""The oracle of the kill test finds what is wrong: each disagreement made by hand."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Open
from tests.oracle import Oracle, files_below, torn
from tests.pictures import photo

ROOT = "UPDATE roots SET held = 'the folder is gone'"


def judged(
    top: Path,
    *,
    away: bool = False,
    unmounted: Sequence[Path] = (),
    out: Collection[bytes] = (),
    settled: bool = True,
) -> list[str]:
    originals = files_below(top / "drop")
    bad = os.fsencode(top / "drop" / "bad.png")
    return Oracle(
        top / "index" / "default",
        roots=[top / "drop"],
        links=top / "index" / "default" / "links",
        originals={} if away else originals,
        foreign={},
        readable={digest for path, digest in originals.items() if path != bad},
        away=[top / "drop"] if away else [],
        unmounted=unmounted,
        out=out,
        settled=settled,
    ).judge()


@pytest.fixture
def top(open_collection: Open, drop: Path, tmp_path: Path) -> Path:
    """A collection at rest, of pictures and a file that is none."""
    (drop / "bad.png").write_bytes(b"no picture")
    with open_collection() as collection:
        collection.watch([drop], once=True)
    assert judged(tmp_path) == []
    return tmp_path


def rewritten(sql: str) -> Callable[[Path], None]:
    def rewrite(top: Path) -> None:
        with closing(sqlite3.connect(top / "index/default/catalog.sqlite3")) as database:
            assert database.execute(sql).rowcount > 0
            database.commit()

    return rewrite


def quarantine(top: Path) -> None:
    """A good picture is set aside, as if it were none, and nobody has taken a disk away."""
    path = os.fsencode(top / "drop" / "picture-03.png").hex()
    rewritten(f"INSERT INTO quarantine VALUES (x'{path}', 'damaged', 1, 0.0)")(top)


def absent(top: Path) -> None:
    path = b"/nowhere/else.png".hex()
    rewritten(f"INSERT INTO quarantine VALUES (x'{path}', 'damaged', 1, 0.0)")(top)


def unlink(top: Path) -> None:
    next((top / "index/default/links").glob("0*/picture-05.png")).unlink()


def litter(top: Path) -> None:
    next((top / "index/default/links").glob("0*")).joinpath("mine.txt").write_text("mine")


SPOILT: list[tuple[Callable[[Path], object], str]] = [
    (rewritten("UPDATE images SET state = 'missing' WHERE id = 3"), "is not in"),
    (
        rewritten(
            "UPDATE observations SET state = 'seen' WHERE CAST(path AS TEXT) LIKE '%-07.png'"
        ),
        "pending",
    ),
    (
        rewritten("DELETE FROM embeddings WHERE content IN (SELECT content FROM images LIMIT 1)"),
        "has 0 embeddings",
    ),
    (
        rewritten("DELETE FROM assignments WHERE content = (SELECT min(key) FROM contents)"),
        "1 contents are not assigned",
    ),
    (rewritten("INSERT INTO link_steps (clustering) VALUES (NULL)"), "no link was looked at"),
    (rewritten("INSERT INTO link_queue (image) VALUES (1)"), "links in the queue"),
    (rewritten("DELETE FROM quarantine"), "is neither set aside nor skipped"),
    (rewritten(ROOT), "held, and nobody took it away"),
    (quarantine, "is in quarantine"),
    (absent, "absent files that are known"),
    (
        rewritten("INSERT INTO clusters (id, name, frozen) VALUES (999, 'cats', 1)"),
        "frozen clusters that are not there: {999}",
    ),
    (rewritten("UPDATE clusters SET name = 'cats'"), "two clusters of one name"),
    (
        rewritten("UPDATE clusters SET frozen = 1"),
        "frozen clusters in a provisional clustering",
    ),
    (
        rewritten("INSERT INTO mounts VALUES (x'2f6d', 1, 5, 'nothing is mounted here any more')"),
        "mounts held that nobody took away",
    ),
    (unlink, "links that are not there"),
    (litter, "neither link nor foreign"),
    (lambda top: (top / "drop/picture-09.png").unlink(), "is not there, and an image"),
]


def test_what_is_wrong_is_found(top: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    kept = tmp_path_factory.mktemp("kept")
    shutil.copytree(top, kept, dirs_exist_ok=True, symlinks=True)
    for spoil, words in SPOILT:
        spoil(top)
        assert any(words in one for one in judged(top)), (words, judged(top))
        for folder in ("drop", "index"):
            shutil.rmtree(top / folder)
            shutil.copytree(kept / folder, top / folder, symlinks=True)
        assert judged(top) == []


def test_near_copies_that_lie_apart_are_found(
    open_collection: Open, drop: Path, tmp_path: Path
) -> None:
    for number in range(4):
        photo(40, 30, number).save(drop / f"{number}.png")
        photo(40, 30, number).save(drop / f"{number}.jpg", quality=95)
    with open_collection() as collection:
        collection.watch([drop], once=True)
        collection.cluster(k=2, space="smoothed")
    groups = "FROM burst_groups WHERE content <> representative"
    current = "(SELECT json(value) FROM settings WHERE key = 'current_clustering')"
    spoilt = (
        (
            f"UPDATE assignments SET cluster = 3 - cluster WHERE clustering = {current} "
            f"AND content = (SELECT min(content) {groups})",
            "which represents it",
        ),
        (f"DELETE {groups}", "has no group"),
    )
    with closing(sqlite3.connect(tmp_path / "index/default/catalog.sqlite3")) as database:
        assert torn(database, whole=True) == []
        for sql, sentence in spoilt:
            assert database.execute(sql).rowcount > 0
            assert sentence in " ".join(torn(database, whole=True))


def test_a_root_that_was_taken_away_has_to_be_held(top: Path) -> None:
    for path in (top / "drop").iterdir():
        path.unlink()
    assert any("taken away, and not held" in one for one in judged(top, away=True))
    rewritten(ROOT)(top)
    rewritten("UPDATE images SET state = 'missing'")(top)
    assert judged(top, away=True) == []


def test_what_was_taken_out_has_to_stay_out(top: Path, open_collection: Open) -> None:
    path = top / "drop" / "picture-03.png"
    assert any("taken out, and is in" in one for one in judged(top, out={os.fsencode(path)}))
    with open_collection() as collection:
        collection.remove(path)
    assert judged(top, out={os.fsencode(path)}) == []
    assert any("is not in" in one for one in judged(top))


def test_a_disk_that_was_unmounted_has_to_be_held(top: Path) -> None:
    usb = top / "drop" / "usb"
    assert any("unmounted, and not held" in one for one in judged(top, unmounted=[usb]))
    rewritten(f"INSERT INTO mounts VALUES (x'{os.fsencode(usb).hex()}', 1, 5, 'gone')")(top)
    assert judged(top, unmounted=[usb]) == []
