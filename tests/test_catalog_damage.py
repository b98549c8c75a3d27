"""A catalog file with flipped bytes or a cut end: every command ends with a line in our words."""

from __future__ import annotations

import random
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pytest

from imgclust.catalog.catalog import Catalog
from imgclust.errors import CatalogError, StorageError
from tests.command_line import Run

COMMANDS = (
    ("status",),
    ("query", "1", "-n", "3"),
    ("clusters",),
    ("clusters", "show", "1"),
    ("clusters", "history"),
    ("links", "--check"),
    ("quarantine",),
    ("doctor",),
    ("cluster", "-k", "3", "-y"),
    ("sweep", "--k-max", "4"),
    ("remove", "2", "-y"),
    ("links",),
    ("collections",),
)


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


def damaged(content: bytes, seed: int) -> bytes:
    """The same with its end cut off, a page of zeros, or some bytes flipped."""
    chance = random.Random(seed)
    kind = chance.choice(["cut", "zeros", "one", "many", "page"])
    found = bytearray(content)
    if kind == "cut":
        return bytes(found[: chance.randrange(100, len(found))])
    start = 4096 * chance.randrange(len(found) // 4096)
    if kind == "zeros":
        found[start : start + 4096] = bytes(4096)
    elif kind == "page":
        for place in range(start, start + 4096):
            found[place] ^= chance.randrange(256)
    else:
        for _ in range(1 if kind == "one" else 200):
            found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def is_right(command: tuple[str, ...], answer: Any, whole: Any) -> bool:
    """Whether the answer of a command that ended well is the one of the whole catalog.

    What is fitted anew has to be about all images; a flipped bit in a stored embedding, which
    SQLite does not notice, changes it a little (`doctor` compares them with the index file).
    """
    if command[0] == "cluster":
        return bool(answer["k"] == whole["k"] and sum(answer["sizes"].values()) == 24)
    if command[0] == "sweep":
        falls = all(a >= b for a, b in pairwise(answer["inertia"]))
        return falls and (answer["n"], answer["k"]) == (whole["n"], whole["k"])
    if command[:2] == ("clusters", "show"):  # what is computed from embeddings, as above
        left_out = {"similarity", "rarity"}
        images = [
            [{key: row[key] for key in row.keys() - left_out} for row in one["images"]]
            for one in (answer, whole)
        ]
        same = images[0] == images[1]
        return same and all(
            answer[key] == whole[key] for key in whole.keys() - {"representatives", "images"}
        )
    if command == ("collections",) and answer["collections"][0]["trouble"]:
        return len(answer["collections"]) == 1  # its line says that it is damaged
    return bool(answer == whole)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_no_damage_is_taken_for_a_fault_of_ours_or_leads_to_a_wrong_answer(
    run: Run, made: Path, tmp_path: Path, seed: int
) -> None:
    index = tmp_path / "index"

    def restore() -> Path:
        shutil.rmtree(index, ignore_errors=True)
        shutil.copytree(made / "index", index, symlinks=True)
        path = index / "default" / "catalog.sqlite3"
        with Catalog(path) as catalog:
            catalog.checkpoint()
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        return path

    for command in random.Random(seed).sample(COMMANDS, 5):
        restore()
        whole = run("--json", *command)
        path = restore()
        path.write_bytes(damaged(path.read_bytes(), seed))
        said = run("--json", *command)
        assert "fault of imgclust" not in said.err, (command, said.err)
        assert "Traceback" not in said.err
        if said.code == 0:
            assert is_right(command, said.document, whole.document), (command, said.out, whole.out)
        elif command not in {("doctor",), ("links", "--check")}:
            assert said.document["error"]["message"], (command, said.out)
            assert said.code in {1, 2, 3}


def test_reading_a_damaged_page_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite3"
    with Catalog(path) as catalog, catalog.transaction():
        for number in range(3000):
            catalog.event("note", f"line {number:0200d}")
    content = bytearray(path.read_bytes())
    content[-40 * 4096 :] = b"\xff" * 40 * 4096
    path.write_bytes(content)
    with Catalog(path) as catalog:
        with pytest.raises(CatalogError, match=r"is damaged .*imgclust doctor.*from a backup"):
            catalog.events(10_000)
        with pytest.raises(CatalogError, match="is damaged"):
            catalog.explain(KeyError("nobody has foreseen it"))
        catalog.explain(StorageError("foreseen"))
        assert catalog.damage()
    with Catalog(tmp_path / "sound.sqlite3") as catalog:
        catalog.explain(KeyError("a fault of ours"))


@pytest.mark.parametrize("read", ["iterate", "fetchall", "fetchone", "get", "executemany"])
def test_what_sqlite_raises_while_rows_are_read_is_said_in_our_words(
    tmp_path: Path, read: str
) -> None:
    with Catalog(tmp_path / "catalog.sqlite3") as catalog:
        connection = catalog._connection

        def refuse(*values: Any) -> Any:
            if values[0] > 3:
                raise apsw.IOError("disk I/O error")
            return values[0]

        connection.create_scalar_function("refuse", refuse)
        rows = "WITH RECURSIVE n(i) AS (SELECT {} UNION ALL SELECT i + 1 FROM n WHERE i < 9) "
        rows += "SELECT refuse(i) FROM n"

        def take() -> None:
            if read == "iterate":
                list(connection.execute(rows.format(1)))
            elif read == "fetchall":
                connection.execute(rows.format(1)).fetchall()
            elif read == "executemany":
                list(connection.executemany(rows.format("?"), [(1,), (2,)]))
            else:
                cursor = connection.execute(rows.format(3))
                while True:
                    cursor.fetchone() if read == "fetchone" else cursor.get

        with pytest.raises(StorageError, match="cannot be used: disk I/O error"):
            take()
