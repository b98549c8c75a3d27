"""Contact sheets, small pictures in rows with captions, and sprites, pictures in one grid."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, UnidentifiedImageError

from imgclust.charts.figure import new_picture
from imgclust.charts.fonts import fonts_for
from imgclust.charts.fonts import opened as font_of

Picture = Image.Image | bytes | None

_MARGIN = 12
_LINE = 16
_TITLE = 30
_CAPTION_PX, _TITLE_PX = 11, 16
# A title has room for a name, however few the pictures are.
_LEAST_COLUMNS = 3


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
    captions: Sequence[Sequence[str]],
    *,
    title: str = "",
    subtitle: str = "",
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
        Lines for each picture: its name, then numbers, as many as there are.
    title, subtitle
        What the sheet shows; of how many.
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
    heading = _MARGIN + (_TITLE if title else 0) + (_LINE + 4 if subtitle else 0)
    below = _LINE * max(map(len, captions), default=0)
    width = max(across, _LEAST_COLUMNS) * (cell_px + _MARGIN) + _MARGIN
    height = heading + down * (cell_px + below + 2 * _MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    pen = _Pen(sheet, [title, subtitle, *(line for lines in captions for line in lines)])
    pen.write((_MARGIN, _MARGIN + 4), title, _TITLE_PX, width - 2 * _MARGIN)
    at = _MARGIN + (_TITLE if title else 0)
    pen.write((_MARGIN, at), subtitle, _CAPTION_PX, width - 2 * _MARGIN, "dimgrey")
    for number, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        left = _MARGIN + number % across * (cell_px + _MARGIN)
        top = heading + number // across * (cell_px + below + 2 * _MARGIN)
        image = opened(picture)
        if image is None:
            pen.frame((left, top, left + cell_px - 1, top + cell_px - 1))
        else:
            image.thumbnail((cell_px, cell_px), Image.Resampling.LANCZOS)
            room_x, room_y = cell_px - image.width, cell_px - image.height
            sheet.paste(image, (left + room_x // 2, top + room_y // 2))
        for row, line in enumerate(lines):
            place = (left, top + cell_px + 4 + row * _LINE)
            pen.write(place, line, _CAPTION_PX, cell_px, "dimgrey" if row else "black")
    with new_picture(path) as file:
        sheet.save(file, Image.registered_extensions()[path.suffix.lower()])
    return path


class _Pen:
    """Writes lines of text on a picture, each part of a line with a font that draws it."""

    def __init__(self, sheet: Image.Image, texts: Sequence[str]) -> None:
        self._pen = ImageDraw.Draw(sheet)
        self._fonts = fonts_for(texts)

    def frame(self, box: tuple[int, int, int, int]) -> None:
        """The place of a picture that is not there."""
        self._pen.rectangle(box, outline="silver")

    def write(
        self, at: tuple[int, int], text: str, size: int, width: int, fill: str = "black"
    ) -> None:
        """A line of at most this width whose letters hang from `at`."""
        left, base = float(at[0]), at[1] + size
        for part, path in self._fonts.runs(self._fonts.fitted(text, size, width)):
            font = font_of(path, size)
            self._pen.text((left, base), part, fill, font, anchor="ls")
            left += font.getlength(part)


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
