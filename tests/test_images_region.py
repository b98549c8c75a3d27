"""A part of a picture: where its pixels are, whatever the orientation says."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from imgclust.errors import UsageError
from imgclust.images.decoder import Picture, Region, decode, region_box


@pytest.mark.parametrize(
    ("region", "box"),
    [
        (Region(0, 0, 1, 1), (0, 0, 200, 100)),
        (Region(0.5, 0.25, 0.25, 0.5), (100, 25, 150, 75)),
        (Region(10, 20, 30, 40), (10, 20, 40, 60)),
        (Region(1, 1, 2, 2), (1, 1, 3, 3)),
        (Region(190, 90, 1000, 1000), (190, 90, 200, 100)),
        (Region(0.999, 0, 0.5, 0.001), (199, 0, 200, 1)),
    ],
)
def test_boxes(region: Region, box: tuple[int, int, int, int]) -> None:
    assert region_box(region, 200, 100) == box


@pytest.mark.parametrize(
    "region",
    [Region(200, 0, 10, 10), Region(0, 100, 10, 10), Region(0, 0, 0, 5), Region(5, 5, 9, -1)],
)
def test_regions_without_pixels(region: Region) -> None:
    with pytest.raises(UsageError, match="no pixel of this picture of 200 x 100"):
        region_box(region, 200, 100)


# EXIF orientation -> how a viewer turns what is stored, and its way back.
_STORED = {
    1: lambda upright: upright,
    3: lambda upright: upright.rotate(180),
    6: lambda upright: upright.rotate(90, expand=True),
    8: lambda upright: upright.rotate(-90, expand=True),
}


@pytest.mark.parametrize("orientation", _STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_region_is_one_of_the_upright_picture(orientation: int, kind: str) -> None:
    upright = Image.new("RGB", (400, 200), "blue")
    upright.paste("red", (300, 0, 400, 100))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    _STORED[orientation](upright).save(buffer, kind, exif=exif)
    picture = decode(buffer.getvalue(), region=Region(0.75, 0, 0.25, 0.5))
    assert isinstance(picture, Picture)
    assert (picture.width, picture.height) == (100, 100)
    inner = picture.pixels[20:-20, 20:-20].reshape(-1, 3).astype(int)
    assert (abs(inner - np.array([254, 0, 0])) < 20).all()
    with pytest.raises(UsageError):
        decode(buffer.getvalue(), region=Region(400, 0, 5, 5))
