"""Transparent pictures: what of them shows, and the ground on which it does."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Alpha below this everywhere shows nothing.
_VISIBLE = 8
# A drawing that differs by so many levels in such a share of its pixels shows on white.
_LEVELS, _SHARE = 32, 0.01
# One that shows so much more on black than on white is a white drawing.
_RATIO = 8.0


def shows(image: Image.Image) -> bool:
    """False for a picture that is transparent everywhere."""
    return image.mode != "RGBA" or int(np.asarray(image.getchannel("A")).max(initial=0)) >= _VISIBLE


def without_hiding_alpha(image: Image.Image) -> Image.Image:
    """The picture without an alpha that hides all of it: programs leave that behind unasked."""
    return image if shows(image) else image.convert("RGB")


def on_ground(image: Image.Image) -> Image.Image:
    """RGB: a transparent picture on white, or on black where it is a white drawing."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "black" if _is_white(image) else "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def _is_white(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    alpha = pixels[..., 3].astype(np.float32) / 255
    if alpha.min() > 0.99:
        return False  # no ground shows
    on_white = (255 - pixels[..., :3].min(axis=2)) * alpha
    on_black = pixels[..., :3].max(axis=2) * alpha
    drawn = int((alpha > 0.05).sum())
    if int((on_white > _LEVELS).sum()) >= max(1.0, _SHARE * drawn):
        return False
    return float(on_black.sum()) > _RATIO * float(on_white.sum())
