"""Exports, read back by readers that know nothing of imgclust."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgclust import config
from imgclust.collection import Collection, embedder
from imgclust.errors import (
    MissingPackageError,
    NothingThereError,
    StoppedError,
    StorageError,
    UsageError,
)
from imgclust.export import run
from imgclust.progress import StopFlag
from tests.command_line import make
from tests.conftest import DIMENSIONS, Open, inside, write_picture
from tests.fakes import FakeEmbedder

QUICK = {
    "embedding.weights": "trunk",
    "watch.settle_s": 0.02,
    "watch.young_s": 0.0,
    "clustering.pca_dims": 8,
    "decode.workers": 1,
}
NASTY = b'a\n"b", \xe9\t\r.png'  # a line break, quotes, a comma, no UTF-8, a tab


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drop` and its `index`: clusters, a name, a map, a name that is no text."""
    top = make(tmp_path_factory.mktemp("made"))
    write_picture(top / "nasty.png", 70, hue=1)
    nasty = os.fsencode(top / "drop") + b"/" + NASTY
    os.rename(top / "nasty.png", nasty)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder, "open_embedder", lambda *_, **__: FakeEmbedder(DIMENSIONS))
        with Collection.open(top / "index", effective=config.load(flags=QUICK)) as one:
            one.add([nasty])
            one.cluster(k=3)
            one.name_cluster(one.clusters()[0].id, "first, \u00fcber all")
            one.view(method="pca")
    return top


@pytest.fixture
def collection(made: Path, tmp_path: Path) -> Iterator[Collection]:
    """A copy of it, opened."""
    shutil.copytree(made / "index", tmp_path / "index", ignore=shutil.ignore_patterns("links"))
    with Collection.open(tmp_path / "index", effective=config.load(flags=QUICK)) as one:
        yield one


def expected(collection: Collection) -> dict[bytes, dict[str, Any]]:
    """What each row must say, from the commands that say it one by one."""
    ids, vectors = collection.embeddings()
    vector_of = dict(zip(ids.tolist(), vectors, strict=True))
    found = {}
    for row in collection.clusters():
        for member in collection.cluster_details(row.id).members:
            found[member.path] = {
                "id": member.id,
                "cluster": row.id,
                "name": row.name,
                "distance": pytest.approx(member.distance),
                "embedding": vector_of[member.id],
            }
    assert len(found) == 25
    return found


def path_of(row: dict[str, Any]) -> bytes:
    """The path of a row of JSON or CSV, by the rule of the JSON documents."""
    if row.get("path_bytes"):
        raw = base64.b64decode(row["path_bytes"])
        assert row["path"] == raw.decode("utf-8", "replace")
        return raw
    return str(row["path"]).encode()


def test_json(collection: Collection, tmp_path: Path) -> None:
    result = collection.export(tmp_path / "out.json", format="json", embeddings=True)
    assert (result.images, result.of, result.path) == (25, 25, tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_bytes())
    assert (document["map"], result.map) == ("pca-2d", "pca-2d")
    rows = document["images"]
    assert all(row["cluster_name"] == row["name"] for row in rows)
    wanted = expected(collection)
    assert {path_of(row) for row in rows} == wanted.keys()
    for row in rows:
        right = wanted[path_of(row)]
        assert {key: row[key] for key in ("id", "cluster", "name", "distance")} == {
            key: right[key] for key in ("id", "cluster", "name", "distance")
        }
        assert np.array_equal(np.float32(row["embedding"]), right["embedding"])
    assert sum("path_bytes" in row for row in rows) == 1
    # the map by PCA: its axes are those of the embeddings themselves
    x = np.array([row["x"] for row in rows])
    centred = np.array([row["embedding"] for row in rows])
    centred -= centred.mean(axis=0)
    first = np.linalg.svd(centred, full_matrices=False)[2][0]
    assert abs(np.corrcoef(x, centred @ first)[0, 1]) > 0.999


FACTS = ("taken", "taken_from", "camera", "damage")


def test_csv(collection: Collection, tmp_path: Path) -> None:
    collection.export(tmp_path / "out.csv", format="csv", embeddings=True)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, strict=True))
    wanted = expected(collection)
    assert list(rows[0]) == [
        *(
            "id",
            "path",
            "cluster",
            "name",
            "distance",
            "x",
            "y",
            "missing",
            "taken",
            "taken_from",
            "camera",
            "damage",
            "cluster_name",
            "map",
            "corrected",
            "path_bytes",
            "embedding",
        )
    ]
    assert {path_of(row) for row in rows} == wanted.keys()
    for row in rows:
        right = wanted[path_of(row)]
        assert (int(row["id"]), int(row["cluster"])) == (right["id"], right["cluster"])
        assert row["cluster_name"] == row["name"]
        assert row["map"] == "pca-2d"
        assert (row["name"] or None, float(row["distance"])) == (right["name"], right["distance"])
        assert np.array_equal(np.float32(json.loads(row["embedding"])), right["embedding"])
        assert float(row["x"]) ** 2 + float(row["y"]) ** 2 < 10


def test_parquet(collection: Collection, made: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    collection.export(tmp_path / "out.parquet", format="parquet", embeddings=True)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == [
        *("id", "path", "cluster", "distance", "x", "y", "missing", "corrected", *FACTS, "name"),
        *("cluster_name", "map", "path_bytes", "embedding"),
    ]
    assert str(table.schema.field("embedding").type) == "list<element: float>"
    wanted = expected(collection)
    for row in table.to_pylist():
        right = wanted[row["path_bytes"] or row["path"].encode()]
        assert (row["id"], row["cluster"]) == (right["id"], right["cluster"])
        assert row["distance"] == right["distance"]
        assert row["cluster_name"] == row["name"] == right["name"]
        assert row["map"] == "pca-2d"
        assert np.array_equal(np.float32(row["embedding"]), right["embedding"])
    collection.remove(os.fsdecode(os.fsencode(made / "drop") + b"/" + NASTY))
    collection.view(method="pca", dims=3)
    collection.export(tmp_path / "out.parquet", format="parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == [
        *("id", "path", "cluster", "distance", "x", "y", "z", "missing", "corrected", *FACTS),
        *("name", "cluster_name", "map"),
    ]
    assert table["z"].null_count == 0


def test_parquet_names_its_extra(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"imgclust\[parquet\]"):
        collection.export(tmp_path / "out.parquet", format="parquet")
    assert not (tmp_path / "out.parquet").exists()


def read_projector(folder: Path) -> tuple[np.ndarray, list[dict[str, str]], Image.Image, int]:
    """Vectors, metadata and sprite, as TensorBoard finds them."""
    config = (folder / "projector_config.pbtxt").read_text("utf-8")
    named = dict(re.findall(r'(\w+_path): "([^"]+)"', config))
    vectors = np.loadtxt(folder / named["tensor_path"], delimiter="\t", dtype=np.float32, ndmin=2)
    assert list(map(int, re.findall(r"tensor_shape: (\d+)", config))) == list(vectors.shape)
    lines = (folder / named["metadata_path"]).read_text("utf-8").split("\n")
    titles, *rows = [line.split("\t") for line in lines[:-1]]
    cells = [dict(zip(titles, row, strict=True)) for row in rows]
    across, down = map(int, re.findall(r"single_image_dim: (\d+)", config))
    assert across == down
    with Image.open(folder / named["image_path"]) as sprite:
        return vectors, cells, sprite.convert("RGB"), across


def test_projector(collection: Collection, tmp_path: Path) -> None:
    place = tmp_path / "new" / "projector"
    with pytest.raises(UsageError, match="make it first"):  # no folder is made unasked
        collection.export(place, format="projector")
    assert not place.parent.exists()
    place.parent.mkdir()
    for _ in range(2):  # an earlier export is replaced
        result = collection.export(place, format="projector")
    assert result.embeddings
    assert os.listdir(place.parent) == ["projector"]
    vectors, rows, sprite, cell = read_projector(place)
    wanted = {right["id"]: (path, right) for path, right in expected(collection).items()}
    assert sprite.size == (5 * cell, 5 * cell)
    for number, (vector, row) in enumerate(zip(vectors, rows, strict=True)):
        path, right = wanted[int(row["id"])]
        assert row["cluster_name"] == row["name"]
        exact = base64.b64decode(row["path_bytes"]) if row["path_bytes"] else row["path"].encode()
        assert exact == path
        assert np.array_equal(vector, right["embedding"])
        assert row["cluster"] == str(right["cluster"])
        left, top = number % 5 * cell, number // 5 * cell
        shown = np.asarray(sprite.crop((left, top, left + cell, top + cell)))
        with Image.open(path) as original:
            mean = np.asarray(original.convert("RGB")).mean(axis=(0, 1))
        inside = shown[cell // 8 + 2 : -cell // 8 - 2].mean(axis=(0, 1))
        assert np.abs(inside - mean).max() < 12
    assert "first, \u00fcber all" in {row["name"] for row in rows}


def test_a_large_collection_is_sampled_for_the_projector(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.MOST_IMAGES * 64 * 64 == 8192 * 8192
    monkeypatch.setattr(run, "MOST_IMAGES", 10)
    result = collection.export(tmp_path / "projector", format="projector")
    vectors, rows, sprite, cell = read_projector(tmp_path / "projector")
    assert (result.images, result.of, len(vectors), len(rows)) == (10, 25, 10, 10)
    assert sprite.size == (4 * cell, 3 * cell)
    assert "random sample of 10 of 25" in result.notes[0]
    assert len({row["id"] for row in rows}) == 10


def test_classic(collection: Collection, tmp_path: Path) -> None:
    collection.export(tmp_path / "out.json", format="classic")
    document = json.loads((tmp_path / "out.json").read_bytes())
    assert list(document) == ["data"]
    wanted = expected(collection)
    assert sorted((row["img_file"], row["label"]) for row in document["data"]) == sorted(
        (os.path.basename(path).decode("utf-8", "replace"), str(right["cluster"]))
        for path, right in wanted.items()
    )
    assert {row["prob"] for row in document["data"]} == {"1.0"}
    exact = [base64.b64decode(row["path_bytes"]) for row in document["data"] if "path_bytes" in row]
    assert exact == [path for path in wanted if path.decode("utf-8", "replace").encode() != path]


def test_before_clusters_and_maps(open_collection: Open, drop: Path, tmp_path: Path) -> None:
    one = open_collection()
    with pytest.raises(NothingThereError, match="no images"):
        one.export(tmp_path / "out.json", format="json")
    one.watch([drop], once=True, cluster=False)
    with pytest.raises(NothingThereError, match="imgclust cluster"):
        one.export(tmp_path / "out.json", format="classic")
    stream = io.BytesIO()
    result = one.export(stream, format="json")
    assert (result.path, result.images) == (None, 24)
    rows = json.loads(stream.getvalue())["images"]
    assert {(row["cluster"], row["distance"], row["x"], row["y"]) for row in rows} == {
        (None, None, None, None)
    }
    assert one.export(tmp_path / "projector", format="projector").images == 24


def test_pages_join_without_loss(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgclust.export.rows._PAGE", 7)
    stream = io.BytesIO()
    collection.export(stream, format="json")
    ids = [row["id"] for row in json.loads(stream.getvalue())["images"]]
    assert ids == sorted(right["id"] for right in expected(collection).values())


@pytest.mark.parametrize("format", ["json", "csv", "parquet", "projector", "classic"])
def test_a_stop_leaves_what_stood_there(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    place = tmp_path / "out"
    collection.export(place, format=format)

    def stood() -> dict[str, bytes]:
        files = place.iterdir() if place.is_dir() else [place]
        return {file.name: file.read_bytes() for file in files}

    before = stood()
    flag = StopFlag()
    flag.set()
    monkeypatch.setattr(inside(collection), "stop", flag)
    with pytest.raises(StoppedError):
        collection.export(place, format=format)
    assert stood() == before
    assert sorted(os.listdir(tmp_path)) == ["index", "out"]


def test_a_map_that_goes_meanwhile_is_said(collection: Collection) -> None:
    class Sink(io.BytesIO):
        def close(self) -> None:
            raise AssertionError("the stream is the caller's")

    progress = inside(collection).progress

    def refit(step: str, done: int, total: int | None) -> None:
        if step == "exporting" and done == 0:
            inside(collection).progress = progress
            collection.view(method="pca", refit=True)

    inside(collection).progress = refit
    with pytest.raises(StorageError, match="export again"):
        collection.export(Sink(), format="csv")


def test_where_an_export_may_not_go(collection: Collection, made: Path, tmp_path: Path) -> None:
    drop = made / "drop"
    (tmp_path / "link").symlink_to(drop)
    for place in (
        drop / "out.json",
        drop / "below" / "out.json",
        tmp_path / "link" / "out.json",
        collection.folders.catalog,
        collection.link_folder / "out.json",
        tmp_path,
        Path(os.devnull),
    ):
        with pytest.raises(UsageError):
            collection.export(place, format="json")
    for place in (tmp_path, drop, collection.folders.root.parent):
        with pytest.raises(UsageError):
            collection.export(place, format="projector")
    for format in ("parquet", "projector"):
        with pytest.raises(UsageError, match="standard output"):
            collection.export(io.BytesIO(), format=format)
    with pytest.raises(UsageError, match="classic"):
        collection.export(io.BytesIO(), format="classic", embeddings=True)
    with pytest.raises(UsageError, match="parquet"):
        collection.export(io.BytesIO(), format="excel")
    with pytest.raises(StorageError, match="cannot be written"):
        collection.export(Path("/proc/out.json"), format="json")


def test_a_symbolic_link_is_written_through(collection: Collection, tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("old")
    (tmp_path / "link.json").symlink_to("there.json")
    collection.export(tmp_path / "link.json", format="json")
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "there.json").read_bytes())["images"]
