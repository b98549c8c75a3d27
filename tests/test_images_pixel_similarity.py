"""Likeness: the same pixels at another size and encoding, against other pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclust.images.pixel_similarity import (
    cells,
    copies,
    likeness,
    most_likeness,
    outlines,
)
from tests.conftest import write_picture


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_cells_are_mean_colours() -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 64:] = (10, 20, 30)
    found = cells(encoded(pixels)).reshape(32, 32, 3)
    assert (found[:, :16] == 0).all()
    assert (found[:, 16:] == (10, 20, 30)).all()


def test_likeness_of_known_pictures() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (1, 3072)).astype(np.uint8)
    assert likeness(one, one)[0] == pytest.approx(1)
    assert likeness(one, 255 - one)[0] == pytest.approx(-1, abs=0.02)
    assert abs(likeness(one, rng.permuted(one, axis=1))[0]) < 0.1
    # Lin's coefficient by hand, the damping small beside the variances: 2 * v / (2 * v + shift^2)
    darker = one // 2
    brighter = darker + 100
    variance = float(darker.astype(np.float64).reshape(-1, 3).var(axis=0).mean())
    expected = (2 * variance + 32) / (2 * variance + 100**2 + 32)
    assert likeness(darker, brighter)[0] == pytest.approx(expected, rel=1e-4)


def test_no_likeness_is_above_what_the_outlines_allow() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (300, 3072)).astype(np.uint8)
    # Noise of all sizes, in small cells and in large ones: from the same to unrelated.
    fine = rng.normal(0, 1, (300, 3072)) * np.linspace(0, 90, 300)[:, None]
    broad = rng.normal(0, 1, (300, 8, 1, 8, 1, 3)) * np.ones((1, 1, 4, 1, 4, 1))
    broad = broad.reshape(300, 3072) * rng.permutation(np.linspace(0, 90, 300))[:, None]
    other = np.clip(one + fine + broad, 0, 255).astype(np.uint8)
    found, most = likeness(one, other), most_likeness(outlines(one), outlines(other))
    assert (most >= found - 1e-5).all()
    assert (most[found < 0.5] < 0.975).any()
    assert most_likeness(outlines(one), outlines(one)) == pytest.approx(1)


def test_outlines_are_mean_colours_and_their_spread() -> None:
    rng = np.random.default_rng(0)
    found = rng.integers(0, 256, (5, 3072)).astype(np.uint8)
    found[1] = 255  # the largest sums
    found[2].reshape(32, 32, 3)[:, 16:] = 0
    made = outlines(found)
    assert made.shape == (5, 193)
    assert made.dtype == np.float32
    for own, outline in zip(found.reshape(5, 32, 32, 3), made, strict=True):
        for row in range(8):
            for column in range(8):
                larger = own[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
                colour = larger.reshape(16, 3).mean(axis=0)
                assert (outline[:-1].reshape(8, 8, 3)[row, column] == colour).all()
        assert outline[-1] == pytest.approx(own.reshape(1024, 3).var(axis=0).mean(), rel=1e-6)
    assert made[1, -1] == 0
    assert outlines(found[:0]).shape == (0, 193)


def test_plain_pictures_of_one_colour_are_alike() -> None:
    grey = np.full((1, 3072), 90, np.uint8)
    assert likeness(grey, grey + 1)[0] > 0.96
    assert likeness(grey, grey + 100)[0] < 0.1


def test_copies_look_like_the_original_and_others_do_not(tmp_path: Path) -> None:
    first = write_picture(tmp_path / "one.png", 1).read_bytes()
    second = write_picture(tmp_path / "two.png", 2).read_bytes()
    made = copies(first)
    assert [Image.open(io.BytesIO(one)).format for one in made] == ["JPEG", "WEBP", "JPEG"]
    assert [Image.open(io.BytesIO(one)).size for one in made] == [(80, 60), (80, 60), (40, 30)]
    own = np.stack([cells(first)] * 3)
    assert likeness(own, np.stack([cells(one) for one in made])).min() > 0.96
    assert likeness(own[:1], cells(second)[None])[0] < 0.9


def test_what_is_no_picture() -> None:
    with pytest.raises(OSError, match="cannot identify"):
        cells(b"nothing")
