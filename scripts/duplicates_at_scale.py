"""Duplicates in a large made-up collection: one image in twenty is a near copy of another.

Embeddings are those of `synthetic_collection`; the pictures are made up too, coarse fields of
colour, of which a copy is the same at another quality. The files are JPEGs of 640 x 480 pixels,
filled up to the length that the catalog says.
"""

from __future__ import annotations

import hashlib
import io
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from synthetic_collection import DIMENSIONS, made_up, make, path_of, see, vectors_of

from imgclust import config
from imgclust.catalog.catalog import Catalog
from imgclust.catalog.contents import key_of
from imgclust.collection import Collection
from imgclust.images.thumbnails import ThumbnailStore
from imgclust.progress import Progress, silent

if TYPE_CHECKING:
    import PIL.Image

_BYTES = 100_000  # as the catalog says of each
_SHARE = 20
_NOISE = 0.002
_ARRIVALS = 100


@dataclass(frozen=True)
class Scaled:
    """What searches took: the first, one more, and one after 100 arrivals.

    CPU time is that of the whole process, peak memory the largest ever.
    """

    images: int
    copies: int
    found: int
    wrong: int
    seconds: float
    cpu_seconds: float
    again_seconds: float
    again_cpu_seconds: float
    arrived_seconds: float
    arrived_cpu_seconds: float
    arrived_found: int
    peak_mb: int


def drawn(number: int) -> PIL.Image.Image:
    """The picture of a made-up image."""
    from PIL import Image

    generator = np.random.default_rng((2, number))
    field = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
    return field.resize((640, 480), Image.Resampling.BICUBIC)


class Files:
    """The files of a made-up collection; the copies are those of the first images."""

    def __init__(self, n: int, copies: int) -> None:
        self._n, self._copies = n, copies

    def content(self, number: int) -> bytes:
        """The bytes of an image's file."""
        original, quality = self._shown(number)
        file = io.BytesIO()
        drawn(original).save(file, "JPEG", quality=quality, comment=b"%d" % number)
        return file.getvalue().ljust(_BYTES, b"\0")

    def thumbnail(self, number: int) -> bytes:
        """The thumbnail of an image."""
        original, quality = self._shown(number)
        file = io.BytesIO()
        drawn(original).resize((160, 120)).save(file, "WEBP", quality=quality, method=0)
        return file.getvalue()

    def digest_of(self, number: int) -> bytes:
        """SHA-256 of an image's file."""
        return hashlib.sha256(self.content(number)).digest()

    def _shown(self, number: int) -> tuple[int, int]:
        """Which picture a file shows, and at which quality."""
        if number >= self._n:  # of the arrivals, every second one is a copy
            place = number - self._n
            return (number, 75) if place % 2 else (place, 50)
        copied = number - (self._n - self._copies)
        return (copied, 50) if copied >= 0 else (number, 75)


def make_large(index: Path, photos: Path, n: int) -> int:
    """Make the collection; returns how many of its last images are copies of its first."""
    copies = n // _SHARE
    originals = np.empty((copies, DIMENSIONS), np.float32)

    def vectors(first: int, count: int) -> np.ndarray:
        found = vectors_of(first, count)
        early = originals[first : first + count]
        early[:] = found[: len(early)]
        for number in range(max(first, n - copies), first + count):
            found[number - first] = _copied(originals[number - (n - copies)], number)
        return found

    files = Files(n, copies)
    digests = [files.digest_of(number) for number in range(n)]
    make(
        index,
        n,
        photos=os.fsencode(photos),
        vectors_of=vectors,
        digest_of=digests.__getitem__,
    )
    store = ThumbnailStore(index / "default" / "thumbnails")
    for number in range(n):
        _place(store, photos, number, files)
    return copies


def _copied(vector: np.ndarray, number: int) -> np.ndarray:
    noise = np.random.default_rng((3, number)).standard_normal(DIMENSIONS, np.float32)
    found: np.ndarray = vector + np.float32(_NOISE) * noise
    return found


def _place(store: ThumbnailStore, photos: Path, number: int, files: Files) -> None:
    """The file of an image, and its thumbnail."""
    path = path_of(number, os.fsencode(photos))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = files.content(number)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, ns=(1, 1))  # as the catalog says
    store.put(key_of(hashlib.sha256(content).digest()), files.thumbnail(number))


def arrive(catalog: Catalog, recipe: str, store: ThumbnailStore, photos: Path, n: int) -> None:
    """New images, as a watcher takes them: every second one is a copy of one that is there."""
    count = _ARRIVALS
    numbers = range(n, n + count)
    vectors = vectors_of(n, count)
    root = catalog.roots.put(os.fsencode(photos), "watched").id
    files = Files(n, n // _SHARE)
    there = catalog.contents.embeddings(
        [key_of(files.digest_of(one)) for one in range(count)], recipe
    )
    for place in range(0, count, 2):
        vectors[place] = _copied(there[place], n + place)
    contents = [made_up(number, files.digest_of) for number in numbers]
    paths = [path_of(number, os.fsencode(photos)) for number in numbers]
    with catalog.transaction():
        see(catalog, numbers, root, os.fsencode(photos))
        catalog.contents.put_embedded(
            list(zip(contents, vectors, strict=True)), recipe, "synthetic"
        )
        catalog.images.insert_all(
            [(path, root, one.key) for path, one in zip(paths, contents, strict=True)]
        )
        catalog.observations.done(paths)
    for number in numbers:
        _place(store, photos, number, files)


def measure(folder: Path, n: int, *, progress: Progress = silent) -> Scaled:
    """Make a collection of `n` images in `folder`, and look for duplicates three times."""
    index, photos = folder / "index", folder / "photos"
    copies = make_large(index, photos, n)
    expected = {frozenset((number, number + n - copies)) for number in range(copies)}

    def search() -> tuple[set[frozenset[int]], float, float]:
        # Opened anew each time, as by the command line.
        with Collection.open(index, effective=config.load(), progress=progress) as collection:
            began, before = time.perf_counter(), time.process_time()
            groups = collection.duplicates().groups
            seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - before
        found = {
            frozenset(int(Path(os.fsdecode(image.path)).stem) for image in group.images)
            for group in groups
        }
        return found, seconds, cpu_seconds

    found, seconds, cpu_seconds = search()
    again, again_seconds, again_cpu_seconds = search()
    if again != found:
        raise SystemExit("the second search has found something else")
    with Collection.open(index, effective=config.load()) as collection:
        store = ThumbnailStore(collection.folders.thumbnails)
        with Catalog(collection.folders.catalog) as catalog:
            arrive(catalog, collection.recipe, store, photos, n)
    arrived, arrived_seconds, arrived_cpu_seconds = search()
    return Scaled(
        images=n,
        copies=copies,
        found=len(found & expected),
        wrong=len(found - expected),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        again_seconds=again_seconds,
        again_cpu_seconds=again_cpu_seconds,
        arrived_seconds=arrived_seconds,
        arrived_cpu_seconds=arrived_cpu_seconds,
        arrived_found=len({one for one in arrived if max(one) >= n}),
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )
