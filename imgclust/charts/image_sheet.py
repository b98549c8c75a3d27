"""Contact sheets, small pictures in rows with captions, and sprites, pictures in one grid."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from imgclust.charts.figure import new_picture

Picture = Image.Image | bytes | None

_MARGIN = 12
_CAPTION = 20
_HEADING = 36


def opened(picture: Picture) -> Image.Image | None:
    """The picture as RGB; None for none, or bytes that are not a picture."""
    if picture is None:
        return None
    if isinstance(picture, bytes):
        try:
            with Image.open(io.BytesIO(picture)) as image:
                return image.convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError):
            return None
    return picture.convert("RGB")


def contact_sheet(
    path: Path,
    pictures: Sequence[Picture],
    captions: Sequence[str],
    *,
    title: str = "",
    columns: int | None = None,
    cell_px: int = 160,
) -> Path:
    """Draw pictures in rows with captions below them.

    Parameters
    ----------
    path
        A .png (or other) file; replaced in one step.
    pictures
        Images, encoded bytes, or None (an empty frame), row by row.
    captions
        One for each picture.
    columns
        Pictures in a row; by default as square a sheet as their number allows.
    cell_px
        Side of the square that each picture is fitted into, in pixels.

    Raises
    ------
    ValueError
        When pictures and captions differ in number.
    StorageError
        When the sheet cannot be written.
    """
    if len(pictures) != len(captions):
        raise ValueError(f"{len(pictures)} pictures have {len(captions)} captions")
    count = max(1, len(pictures))
    across = columns or next(side for side in range(1, count + 1) if side * side >= count)
    down = -(-count // across)
    heading = _HEADING if title else _MARGIN
    width = across * (cell_px + _MARGIN) + _MARGIN
    height = heading + down * (cell_px + _CAPTION + _MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    if title:
        font = ImageFont.load_default(16)
        pen.text((_MARGIN, 9), _fitted(pen, title, font, width - 2 * _MARGIN), "black", font)
    font = ImageFont.load_default(11)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = _MARGIN + number % across * (cell_px + _MARGIN)
        top = heading + number // across * (cell_px + _CAPTION + _MARGIN)
        image = opened(picture)
        if image is None:
            pen.rectangle((left, top, left + cell_px - 1, top + cell_px - 1), outline="silver")
        else:
            image.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
            room_x, room_y = cell_px - image.width, cell_px - image.height
            sheet.paste(image, (left + room_x // 2, top + room_y // 2))
        pen.text((left, top + cell_px + 4), _fitted(pen, caption, font, cell_px), "black", font)
    with new_picture(path) as file:
        sheet.save(file, Image.registered_extensions()[path.suffix.lower()])
    return path


def _fitted(
    pen: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    width: float,
) -> str:
    shown = "".join(one if one.isprintable() else "?" for one in text)
    if pen.textlength(shown, font=font) <= width:
        return shown
    while shown and pen.textlength(shown + "…", font=font) > width:
        shown = shown[:-1]
    return shown + "…"


def sprite(path: Path, pictures: Iterable[Picture], *, count: int, cell_px: int) -> Path:
    """Draw a sprite.

    Parameters
    ----------
    path
        A .png file, in a folder that the caller makes and replaces in one step.
    pictures
        Images, encoded bytes, or None (an empty cell).
    count
        How many they are; the grid has the fewest columns whose square holds them all.
    cell_px
        Side of the square that each picture is fitted into, in pixels.

    Raises
    ------
    OSError
        When it cannot be written.
    """
    columns = next(side for side in range(1, count + 1) if side * side >= count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * cell_px, rows * cell_px), "white")
    for number, picture in enumerate(pictures):
        image = opened(picture)
        if image is None:
            continue
        image.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
        left = number % columns * cell_px + (cell_px - image.width) // 2
        top = number // columns * cell_px + (cell_px - image.height) // 2
        sheet.paste(image, (left, top))
    sheet.save(path)
    return path
