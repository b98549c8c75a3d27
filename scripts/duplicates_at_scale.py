"""Duplicates in a large made-up collection: one image in twenty is a near copy of another.

Embeddings are those of `synthetic_collection`; the pictures are made up too, coarse fields of
colour, of which a copy is the same at another quality. The files are there, as long as the
catalog says, and without content.
"""

from __future__ import annotations

import io
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from synthetic_collection import DIMENSIONS, digest_of, make, path_of, vectors_of

from imgclust import config
from imgclust.catalog import key_of
from imgclust.collection import Collection
from imgclust.images import ThumbnailStore
from imgclust.progress import Progress, silent

_BYTES = 100_000  # as the catalog says of each
_SHARE = 20
_NOISE = 0.002


@dataclass(frozen=True)
class Scaled:
    """What a search took; CPU time is that of the whole process, peak memory the largest ever."""

    images: int
    copies: int
    found: int
    wrong: int
    seconds: float
    cpu_seconds: float
    peak_mb: int


def picture_of(number: int, quality: int) -> bytes:
    """A thumbnail of a made-up image."""
    from PIL import Image

    generator = np.random.default_rng((2, number))
    field = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
    file = io.BytesIO()
    field.resize((160, 120), Image.Resampling.BICUBIC).save(file, "WEBP", quality=quality, method=0)
    return file.getvalue()


def make_large(index: Path, photos: Path, n: int) -> int:
    """Make the collection; returns how many of its last images are copies of its first."""
    copies = n // _SHARE
    originals = np.empty((copies, DIMENSIONS), np.float32)
    generator = np.random.default_rng(3)

    def vectors(first: int, count: int) -> np.ndarray:
        found = vectors_of(first, count)
        early = originals[first : first + count]
        early[:] = found[: len(early)]
        for number in range(max(first, n - copies), first + count):
            noise = _NOISE * generator.standard_normal(DIMENSIONS, np.float32)
            found[number - first] = originals[number - (n - copies)] + noise
        return found

    make(index, n, photos=os.fsencode(photos), vectors_of=vectors)
    store = ThumbnailStore(index / "default" / "thumbnails")
    for number in range(n):
        path = path_of(number, os.fsencode(photos))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(_BYTES)
        os.utime(path, ns=(1, 1))  # as the catalog says
        copied = number - (n - copies)
        webp = picture_of(number, 75) if copied < 0 else picture_of(copied, 50)
        store.put(key_of(digest_of(number)), webp)
    return copies


def measure(folder: Path, n: int, *, progress: Progress = silent) -> Scaled:
    """Make a collection of `n` images in `folder` if it is not there, and look for duplicates."""
    index, photos = folder / "index", folder / "photos"
    copies = n // _SHARE
    if not index.exists():
        make_large(index, photos, n)
    with Collection.open(index, effective=config.load(), progress=progress) as collection:
        began, before = time.perf_counter(), time.process_time()
        result = collection.duplicates()
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - before
    expected = {frozenset((number, number + n - copies)) for number in range(copies)}
    found = [
        frozenset(int(Path(os.fsdecode(image.path)).stem) for image in group.images)
        for group in result.groups
    ]
    right = sum(group in expected for group in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return Scaled(n, copies, right, len(found) - right, seconds, cpu_seconds, peak)
