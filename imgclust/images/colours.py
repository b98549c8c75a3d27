"""Colours that Pillow does not convert by itself."""

from __future__ import annotations

from PIL import Image


def from_lab(image: Image.Image) -> Image.Image:
    """A picture in the colours L*a*b* as RGB."""
    from PIL import ImageCms

    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise ValueError("no conversion")
    return converted
