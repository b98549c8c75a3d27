"""Clusters one at a time, their history, and odd collections, through the command line."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from imgclust.cli import context
from tests.command_line import Run
from tests.conftest import write_picture


@pytest.fixture(scope="module")
def made(made_once: Path) -> Path:
    return made_once


@pytest.fixture
def ready(made: Path, run: Run, tmp_path: Path) -> Path:
    """A copy of the ingested index of `made`, in four clusters."""
    shutil.copytree(made / "index", tmp_path / "index", symlinks=True)
    assert run("links").code == 0  # relative links do not survive the copying
    assert run("cluster", "-k", "4").code == 0
    return made


def folders(tmp_path: Path) -> dict[str, set[str]]:
    """Names of the links, by folder."""
    top = tmp_path / "index" / "default" / "links"
    return {
        one.name: {entry.name for entry in one.iterdir()}
        for one in top.iterdir()
        if one.is_dir() and not one.name.startswith(".")
    }


def sizes(run: Run) -> dict[int, int]:
    """Images by cluster, as `clusters` says."""
    return {row["id"]: row["size"] for row in run("clusters", "--json").document["clusters"]}


def test_split_merge_and_back(run: Run, ready: Path, tmp_path: Path) -> None:
    keys = list(run("cluster", "-k", "4", "--dry-run", "--json").document)
    before, linked = sizes(run), folders(tmp_path)
    large = max(before, key=lambda one: (before[one], -one))
    dry = run("clusters", "split", str(large), "-k", "2", "--dry-run", "--json").document
    assert list(dry) == keys
    assert (dry["clustering"], sizes(run), folders(tmp_path)) == (None, before, linked)
    done = run("clusters", "split", str(large), "-k", "2", "--json").document
    assert list(done) == keys
    assert (done["k"], done["chosen_by"], done["sizes"]) == (5, "user", dry["sizes"])
    others = {name: links for name, links in linked.items() if name != f"{large:03d}"}
    now = folders(tmp_path)
    assert others.items() <= now.items()
    (part,) = done["new"]
    assert now[f"{large:03d}"] | now[f"{part:03d}"] == linked[f"{large:03d}"]
    assert run("links", "--check").code == 0

    assert run("clusters", "name", str(part), "a part").code == 0
    merged = run("clusters", "merge", str(part), str(large), "--json").document
    assert merged["merged"] == [{"from": [large, part], "into": large}]
    assert merged["gone"] == [{"id": part, "name": "a part"}]
    now = folders(tmp_path)
    assert now[f"{large:03d}-a part"] == linked[f"{large:03d}"]
    assert run("links", "--check").code == 0
    undone = run("cluster", "--undo", "--json").document
    assert undone["sizes"] == done["sizes"]
    assert (undone["split"], undone["merged"]) == ([{"from": large, "into": [large, part]}], [])
    assert {f"{large:03d}", f"{part:03d}-a part"} <= folders(tmp_path).keys()
    assert run("clusters", "name", str(part), "").code == 0  # else it stays, as it has a name
    back = run("cluster", "--undo", "--json").document
    assert {"id", "images", "jaccard"} == set(back["kept"][0])
    assert (back["split"], back["merged"]) == ([], [{"from": [large, part], "into": large}])
    assert folders(tmp_path) == linked
    assert run("links", "--check").code == 0
    again = run("clusters", "split", str(large), "-k", "2", "--json").document
    assert min(again["new"]) > part  # also an undone id is never used again


def test_history(run: Run, ready: Path) -> None:
    before = sizes(run)
    large = max(before, key=lambda one: (before[one], -one))
    (part,) = run("clusters", "split", str(large), "-k", "2", "--json").document["new"]
    assert run("cluster", "--undo").code == 0
    rows = run("clusters", "history", "--json").document["clusterings"]
    assert list(rows[0]) == [
        *("id", "generation", "previous", "published", "current", "undone", "provisional", "k"),
        *("chosen_by", "space", "inertia", "moved", "kept", "split", "merged", "new", "gone"),
        "words",
    ]
    assert [(row["current"], row["undone"]) for row in rows[:2]] == [(False, True), (True, False)]
    assert rows[0]["words"] == [f"{large} split into {large}, {part}"]
    said = run("clusters", "history").out
    assert f"  {large} split into {large}, {part}\n" in said
    assert "(undone)  k = 5 by user, smoothed; " in said
    document = run("clusters", "history", str(part), "--json").document
    assert list(document) == ["id", "name", "alive", "life"]
    assert list(document["life"][0]) == [
        *("clustering", "generation", "published", "current", "undone", "images", "words")
    ]
    assert document["alive"] is False
    assert run("clusters", "history", str(part)).out.startswith(f"cluster {part}, gone\n")
    assert "never was a cluster 99" in run("clusters", "history", "99").refused(3)


def test_a_person_is_asked_before_a_split(
    run: Run, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []
    answers = [False, True]

    def ask(self: context.Call, question: str) -> bool:
        questions.append(question)
        return answers.pop(0)

    monkeypatch.setattr("imgclust.terminal.screen.Screen.can_ask", True)
    monkeypatch.setattr(context.Call, "ask", ask)
    before = sizes(run)
    large = max(before, key=lambda one: (before[one], -one))
    assert "would be" in run("clusters", "split", str(large), "-k", "2").out
    assert sizes(run) == before
    assert run("clusters", "split", str(large), "-k", "2").code == 0
    assert len(sizes(run)) == 5
    first, second = sorted(sizes(run))[:2]
    assert run("clusters", "merge", str(first), str(second), "-y").code == 0
    assert len(sizes(run)) == 4
    assert len(questions) == 2


def test_what_cannot_be_done_is_one_line(run: Run, ready: Path) -> None:
    assert "there is no cluster 99; there are" in run("clusters", "split", "99").refused(3)
    one = str(min(sizes(run)))
    assert "there is no cluster 99" in run("clusters", "merge", one, "99").refused(3)
    assert "two or more different" in run("clusters", "merge", one, one).refused(2)
    assert "neither auto nor a whole number from 2" in run(
        "clusters", "split", one, "-k", "1"
    ).refused(2)
    document = run("clusters", "split", "99", "--json").document
    assert document["error"]["code"] == "nothing"


def test_another_seed_and_new_images_keep_folders_and_names(
    run: Run, ready: Path, tmp_path: Path
) -> None:
    before = sizes(run)
    for cluster in before:
        assert run("clusters", "name", str(cluster), f"name of {cluster}").code == 0
    for number in range(2):
        write_picture(tmp_path / "more" / f"new-{number}.png", 500 + number, hue=number)
    assert run("add", tmp_path / "more", "-q").code == 0
    linked = folders(tmp_path)
    done = run("cluster", "-k", "5", "--seed", "3", "--json").document
    kept = {row["id"] for row in done["kept"]}
    gone = {row["id"]: row["name"] for row in done["gone"]}
    assert kept | gone.keys() == before.keys()
    assert gone == {one: f"name of {one}" for one in before.keys() - kept}
    now = folders(tmp_path)
    assert {f"{one:03d}-name of {one}" for one in kept} <= now.keys() & linked.keys()
    assert len(now) == done["k"]
    for one in done["kept"]:
        name = f"{one['id']:03d}-name of {one['id']}"
        assert len(now[name] & linked[name]) == one["images"]


@pytest.mark.parametrize("k", ["1", "24", "100", "auto"])
def test_any_k_of_24_images(run: Run, ready: Path, tmp_path: Path, k: str) -> None:
    said = run("cluster", "-k", k, "--json")
    assert said.code == 0
    assert len(folders(tmp_path)) == said.document["k"]
    if k != "auto":
        assert said.document["k"] == min(int(k), 24)
    assert sum(said.document["sizes"].values()) == 24
    if k == "100":
        said = run("cluster", "-k", k)
        assert "k = 24: there are only 24 distinct embeddings; 100 was asked" in said.out
        assert "100 as asked" not in said.out
    assert run("links", "--check").code == 0


def test_one_image(run: Run, tmp_path: Path) -> None:
    write_picture(tmp_path / "drop" / "one.png", 1)
    assert run("watch", "--once", tmp_path / "drop", "-q").code == 0
    assert "there is nothing to split" in run("clusters", "split", "1").refused(3)
    assert run("cluster", "-k", "3", "--json").document["sizes"] == {"1": 1}
    assert run("cluster", "-k", "auto", "--json").document["k"] == 1
    assert run("sweep", "--json").document["k"] == [1]


def test_images_that_are_all_alike(run: Run, tmp_path: Path) -> None:
    first = write_picture(tmp_path / "drop" / "one.png", 1)
    for number in range(5):  # other bytes, the same picture
        copy = tmp_path / "drop" / f"copy-{number}.png"
        copy.write_bytes(first.read_bytes() + bytes(number))
    assert run("watch", "--once", tmp_path / "drop", "-q").code == 0
    assert "have identical embeddings" in run("clusters", "split", "1").refused(3)
    said = run("cluster", "-k", "3")
    assert "k = 1: there is only 1 group of images that the space smoothed tells apart" in said.out
    done = run("cluster", "-k", "auto", "--json").document
    assert (done["k"], done["chosen_by"], done["inertia"]) == (1, "rule", pytest.approx(0))


def test_nan_in_an_old_row(run: Run, ready: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "index" / "default" / "catalog.sqlite3") as connection:
        (key,) = connection.execute("SELECT min(content) FROM images").fetchone()
        connection.execute(
            "UPDATE embeddings SET vector = ? WHERE content = ?",
            (np.full(2048, np.nan, "<f2").tobytes(), key),
        )
        (path,) = connection.execute("SELECT path FROM images WHERE content = ?", (key,)).fetchone()
        (cluster,) = connection.execute(
            "SELECT cluster FROM assignments WHERE content = ? ORDER BY clustering DESC", (key,)
        ).fetchone()
        connection.execute("DELETE FROM representatives")
    connection.close()
    name = Path(path.decode()).name
    for arguments in (
        ["cluster", "-k", "2"],
        ["sweep"],
        ["clusters", "split", str(cluster)],
        ["view", "--refit"],
        ["view", "--method", "pca"],
    ):
        said = run(*arguments).refused(1)
        assert f"{name}) holds NaN" in said
    # What only shows pictures leaves it out
    assert run("clusters", "show", str(cluster)).code == 0
    assert run("links").code == 0
    assert run("report").code == 0
    assert run("add", "-q", write_picture(tmp_path / "late.png", 99)).code == 0
    assert run("remove", path.decode(), "-y").code == 0
    assert run("add", path.decode(), "-q").code == 0
    assert sum(run("cluster", "-k", "2", "--json").document["sizes"].values()) == 25
