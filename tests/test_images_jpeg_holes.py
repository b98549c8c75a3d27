"""Zeros over the data of a JPEG, which libjpeg decodes without a word, are found; nothing else."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclust.images.decoder import Picture, decode
from tests import pictures

PHOTOS = Path(__file__).parents[1] / "scripts" / "samples" / "photos"


def damage(content: bytes) -> str:
    found = decode(content, suffix=".jpg", thumbnail_px=0)
    assert isinstance(found, Picture), found
    return found.damage


def data_of(content: bytes) -> int:
    """Where the coded data begin."""
    start = content.index(b"\xff\xda")
    return start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")


def test_a_hole_of_zeros_is_found_nearly_always() -> None:
    given = random.Random(1)
    photos = sorted(PHOTOS.glob("*.jpg"))
    tried = found = 0
    for path in given.sample(photos, 60):
        whole = path.read_bytes()
        at = given.randrange(data_of(whole), len(whole) - 300)
        tried += 1
        found += bool(damage(whole[:at] + bytes(200) + whole[at + 200 :]))
    assert found >= 0.9 * tried


def test_no_photo_is_called_damaged() -> None:
    assert not [path.name for path in sorted(PHOTOS.glob("*.jpg")) if damage(path.read_bytes())]


@pytest.mark.parametrize("quality", [1, 30, 95, 100])
@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_flat_and_strange_pictures_are_whole(quality: int, optimize: bool, mode: str) -> None:
    numbers = np.random.default_rng(0)
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    drawn = [
        *(np.full((256, 256), level, np.uint8) for level in (0, 127, 128, 255)),
        *(checks, checks[::8, ::8].repeat(8, 0).repeat(8, 1)),
        *(numbers.integers(0, 256, (256, 256), np.uint8), np.indices((256, 256))[0]),
    ]
    for one in drawn:
        stream = io.BytesIO()
        image = Image.fromarray(np.asarray(one, np.uint8)).convert(mode)
        image.save(stream, "JPEG", quality=quality, optimize=optimize)
        assert damage(stream.getvalue()) == ""


def test_zeros_that_fill_up_a_file_are_no_hole() -> None:
    whole = pictures.encoded(pictures.photo(256, 256, 1), "JPEG")
    assert whole.endswith(b"\xff\xd9")
    assert damage(whole[:-2] + bytes(500) + b"\xff\xd9") == ""
    assert damage(whole + bytes(500)) == ""
    described = whole[:2] + b"\xff\xfe\x02\x00" + bytes(510) + whole[2:]  # a comment of zeros
    assert damage(described) == ""
