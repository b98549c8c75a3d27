"""The sets of `bench replay`: embeddings with labels, and the orders in which they arrive."""

from __future__ import annotations

import io
import json
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bench_quality import SAMPLES

Array = npt.NDArray[Any]
Picture = tuple[Path | bytes, str]

FIRST = 0.4  # of the images are there when clusters are made
BATCHES = 10
_BLOCK = 32
_FRAMES = 1_000
_STOPS = 3  # one category in so many ends
_SEASON_NOISE = 0.15
SCENARIOS = ("shuffled", "season", "tenfold", "flood", "ending")


@dataclass(frozen=True)
class LabelledSet:
    """Embeddings float32 (n, d) in the order of their content, and the category of each."""

    name: str
    vectors: Array
    labels: Array
    k: int


@dataclass(frozen=True)
class Replay:
    """What arrives and leaves: rows of `vectors`, first all at once, then in batches.

    Labels are -1 for images that count in no agreement.
    """

    vectors: Array
    labels: Array
    first: Array
    batches: tuple[Array, ...]
    leaving: tuple[Array, ...]
    watched: int | None = None  # the batch before and after which agreement is compared


def load(spec: str, cache: Path) -> LabelledSet:
    """A set by name (photos, digits) or as NAME=FOLDER[,depth=N][,least=N][,most=N][,k=N]."""
    name, place, chosen = _parts(spec)
    cached = cache / f"{name}.npz"
    if cached.exists():
        with np.load(cached) as archive:
            vectors, categories = archive["v"], archive["labels"]
    elif place and (Path(place) / "catalog.sqlite3").exists():
        return _history(name, Path(place), chosen.get("k"))
    else:
        vectors, categories = embedded(_pictures(name, place, chosen))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(cached, v=vectors, labels=categories)
    _, labels = np.unique(categories, return_inverse=True)
    return LabelledSet(
        name, vectors.astype(np.float32), labels, chosen.get("k", int(labels.max()) + 1)
    )


def pictures_of(spec: str) -> Iterable[Picture]:
    """The pictures of a set by name, or of NAME=FOLDER, as `load` reads them."""
    return _pictures(*_parts(spec))


def _parts(spec: str) -> tuple[str, str, dict[str, int]]:
    name, _, rest = spec.partition("=")
    place, *options = rest.split(",")
    return name, place, {key: int(value) for key, _, value in (o.partition("=") for o in options)}


def _pictures(name: str, place: str, options: dict[str, int]) -> Iterable[Picture]:
    if place:
        return _in_folders(Path(place), **{k: v for k, v in options.items() if k != "k"})
    if name == "photos":
        categories = json.loads((SAMPLES / "categories.json").read_text("utf-8"))
        return [(SAMPLES / "photos" / file, one) for file, one in sorted(categories.items())]
    if name == "digits":
        return _digits(900)
    raise SystemExit(f"no set is called {name}; use photos, digits or NAME=FOLDER")


def _in_folders(
    folder: Path, *, depth: int = 9, least: int = 8, most: int = 60
) -> Iterable[Picture]:
    """PNG and JPEG files with the first `depth` folders of their path as category.

    Categories of fewer than `least` are left out, of larger ones `most` are drawn.
    """
    listed = folder / "categories.json"
    by: dict[str, list[Path]] = {}
    if listed.exists():
        for file, category in json.loads(listed.read_text("utf-8")).items():
            by.setdefault(category, []).append(folder / file)
    else:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in {".png", ".jpg", ".jpeg"} and path.is_file():
                parts = path.relative_to(folder).parts[:-1]
                by.setdefault("/".join(parts[:depth]), []).append(path)
    drawn = random.Random(0)
    for category, paths in sorted(by.items()):
        if len(paths) >= least:
            drawn.shuffle(paths)
            for path in paths[:most]:
                yield path, category


def _digits(count: int) -> Iterable[Picture]:
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for image, digit in list(zip(found.images, found.target, strict=True))[:count]:
        picture = Image.fromarray((image * 15.9).astype("uint8"))
        stream = io.BytesIO()
        picture.resize((128, 128), Image.Resampling.BICUBIC).save(stream, "PNG")
        yield stream.getvalue(), str(digit)


def embedded(
    pictures: Iterable[Picture], *, change: Callable[[Path | bytes], bytes] | None = None
) -> tuple[Array, Array]:
    """Embeddings of the pictures that can be read, each content once, and their categories.

    With `change` those of what it makes of each picture.
    """
    from imgclust.embedding.engine_selection import open_embedder
    from imgclust.embedding.recipe import recipe_of
    from imgclust.images.reader import Decoded, claim
    from imgclust.weights import loader

    trunk = loader.trunk()
    embedder = open_embedder(trunk, recipe=recipe_of(trunk))
    seen: set[bytes] = set()
    rows, pixels, categories = [], [], []
    # A file that is open for writing is not read.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        for picture, category in pictures:
            if isinstance(picture, bytes):
                path.write_bytes(picture)
            read = path if isinstance(picture, bytes) else picture
            outcome = claim(os.fsencode(read), thumbnail_px=0)
            if not isinstance(outcome, Decoded) or outcome.sha256 in seen:
                continue
            seen.add(outcome.sha256)
            if change is not None:
                path.write_bytes(change(picture))
                outcome = claim(os.fsencode(path), thumbnail_px=0)
                assert isinstance(outcome, Decoded)
            pixels.append(outcome.pixels)
            categories.append(category)
            if len(pixels) == _BLOCK:
                rows.append(embedder.embed(np.stack(pixels)))
                pixels = []
    if pixels:
        rows.append(embedder.embed(np.stack(pixels)))
    return np.concatenate(rows), np.array(categories)


def frames(cache: Path) -> Array:
    """Embeddings of a thousand frames of one scene, as a camera at rest takes them."""
    cached = cache / "frames.npz"
    if not cached.exists():
        vectors, _ = embedded((frame, "") for frame in _camera(_FRAMES))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(cached, v=vectors)
    with np.load(cached) as archive:
        return np.asarray(archive["v"], np.float32)


def _camera(count: int) -> Iterable[bytes]:
    """A sample photo moved by up to 6 %, brighter or darker by 7 %, with noise, as JPEG."""
    from PIL import Image

    scene = Image.open(sorted((SAMPLES / "photos").iterdir())[7]).convert("RGB")
    width, height = scene.size
    drawn = np.random.default_rng(0)
    for _ in range(count):
        share = 1 - drawn.uniform(0, 0.06)
        wide, high = int(width * share), int(height * share)
        left = int(drawn.integers(0, width - wide + 1))
        top = int(drawn.integers(0, height - high + 1))
        part = scene.crop((left, top, left + wide, top + high)).resize(scene.size)
        pixels = np.asarray(part, np.float32) * drawn.uniform(0.93, 1.07)
        pixels += drawn.normal(0, drawn.uniform(1, 5), pixels.shape)
        stream = io.BytesIO()
        taken = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        taken.save(stream, "JPEG", quality=int(drawn.integers(60, 93)))
        yield stream.getvalue()


def _history(name: str, folder: Path, k: int | None) -> LabelledSet:
    """A collection's embeddings in the order they came; its current clusters are the labels.

    A copy is read: opening a catalog may write to it.
    """
    from imgclust.catalog.catalog import Catalog

    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "catalog.sqlite3"
        with (
            closing(sqlite3.connect(f"file:{folder / copy.name}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        with Catalog(copy) as catalog:
            recipe = catalog.contents.recipes()[-1]
            keys, vectors = catalog.contents.all_embeddings(recipe)
            changes = catalog.contents.changes_after(0, 2**62)
            current = catalog.clusterings.current_id()
            ids: dict[int, int] = {}
            if current is not None:
                ids = catalog.assignments.clusters_of(current, keys.tolist())
    place = {int(key): number for number, key in enumerate(keys)}
    came = dict.fromkeys(content for _, content, _ in changes if content in place)
    order = np.array([place[content] for content in came])
    _, labels = np.unique([ids.get(int(keys[row]), -1) for row in order], return_inverse=True)
    return LabelledSet(name, vectors[order], labels, k or max(2, len(set(labels.tolist()))))


def replay_of(found: LabelledSet, scenario: str, seed: int, cache: Path) -> Replay:
    """The arrivals of a scenario.

    "shuffled" and "season" (categories one after the other) come in ten equal batches; in
    "tenfold" the fifth is ten times as large as the others; with the fifth of "flood" come a
    thousand frames of one scene; in "ending" all images of a third of the categories leave, a
    few categories after each batch. "history" keeps the order of the set.
    """
    vectors, labels = found.vectors, found.labels
    drawn = np.random.default_rng(seed)
    n = len(vectors)
    order = np.arange(n) if scenario == "history" else drawn.permutation(n)
    if scenario == "season":
        when = drawn.random(labels.max() + 1)[labels] + drawn.normal(0, _SEASON_NOISE, n)
        order = np.argsort(when)
    count = int(FIRST * n)
    sizes = np.ones(BATCHES)
    watched = None
    if scenario == "tenfold":
        sizes[4], watched = 10, 4
    ends = count + np.round((n - count) * np.cumsum(sizes) / sizes.sum()).astype(int)
    batches = np.split(order[count:], ends[:-1] - count)
    leaving = [np.empty(0, np.int64) for _ in batches]
    if scenario == "flood":
        watched = 4
        flood = frames(cache)
        batches[4] = np.concatenate([batches[4], n + np.arange(len(flood))])
        vectors = np.concatenate([vectors, flood])
        labels = np.concatenate([labels, np.full(len(flood), -1)])
    if scenario == "ending":
        ended = drawn.permutation(labels.max() + 1)[: (labels.max() + 1) // _STOPS]
        for number, categories in enumerate(np.array_split(ended, BATCHES)):
            leaving[number] = np.flatnonzero(np.isin(labels, categories))
    return Replay(vectors, labels, order[:count], tuple(batches), tuple(leaving), watched)
