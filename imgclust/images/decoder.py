"""Bytes in, one square of RGB and a thumbnail out; previews and regions; RAW."""

from __future__ import annotations

import contextlib
import io
import math
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Image.open finds a format among the plugins that are imported, and imports only five by itself.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from imgclust.errors import UsageError
from imgclust.images import jpeg
from imgclust.images.headers import (
    HEAD_BYTES,
    PICTURE_SUFFIXES,
    PREVIEWED_FORMATS,
    RAW_FORMATS,
    Origin,
    origin_of,
    raw_origin,
    recognise,
)
from imgclust.images.png import repaired, significant_bits, wrong_checksum
from imgclust.images.reasons import describe_unknown, is_out_of_memory, is_plain_tiff, reason
from imgclust.images.samples import (
    is_series,
    main_page,
    next_that_shows,
    on_ground,
    packing_of,
    plain,
    reduced,
    shows,
    whole_picture,
    without_hiding_alpha,
)

# LibRaw's `flip` (libraw_types.h, libraw_image_sizes_t) as an EXIF orientation.
_FLIPS = {3: 3, 5: 8, 6: 6}


@dataclass(frozen=True)
class RawPicture:
    """The preview, the orientation still to be applied to it, and the sensor picture's size.

    `orientation` is 0 where the preview's own EXIF decides. `size` is before orientation.
    """

    image: Image.Image
    orientation: int
    size: tuple[int, int]


def raw_picture(content: bytes, check_size: Callable[[tuple[int, int]], None]) -> RawPicture:
    """Find the picture in a RAW file.

    `check_size` is called with the sensor picture's (width, height) before anything is decoded
    and refuses by raising. A file without a preview is developed at half its size.
    """
    import rawpy

    with rawpy.imread(io.BytesIO(content)) as raw:
        size = (raw.sizes.width, raw.sizes.height)
        check_size(size)
        orientation = _FLIPS.get(raw.sizes.flip, 1)
        try:
            preview = raw.extract_thumb()
        except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
            developed = raw.postprocess(half_size=True, use_camera_wb=True, user_flip=0)
            return RawPicture(Image.fromarray(developed), orientation, size)
        if preview.format == rawpy.ThumbFormat.BITMAP:
            return RawPicture(Image.fromarray(preview.data), orientation, size)
    image = Image.open(io.BytesIO(preview.data), formats=(JpegImagePlugin.JpegImageFile.format,))
    return RawPicture(image, 0 if 0x0112 in image.getexif() else orientation, size)


def _raw_or_tiff(
    content: bytes, check_size: Callable[[tuple[int, int]], None]
) -> RawPicture | None:
    """As `raw_picture`; None where it is a plain TIFF file under a RAW file's name."""
    import rawpy

    if is_plain_tiff(content, surely=True):  # LibRaw would take grey ones for a sensor's
        return None
    try:
        return raw_picture(content, check_size)
    except rawpy.LibRawError:
        if is_plain_tiff(content):
            return None
        raise


class Region(NamedTuple):
    """Left, top, width and height of a part of an upright picture.

    Fractions of the picture's width and height when none of the four is above 1, else pixels.
    """

    x: float
    y: float
    width: float
    height: float


def region_box(region: Region, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the region in a picture of this size, in pixels.

    What lies outside the picture is cut off.

    Raises
    ------
    UsageError
        When nothing is left.
    """
    across, down = (width, height) if max(region) <= 1 else (1, 1)
    left, top = region.x * across, region.y * down
    right, bottom = left + region.width * across, top + region.height * down
    # Cut off before they are rounded: sums of what a person types may be infinite.
    box = (
        math.floor(min(max(0, left), width)),
        math.floor(min(max(0, top), height)),
        math.ceil(max(0, min(width, right))),
        math.ceil(max(0, min(height, bottom))),
    )
    if region.width <= 0 or region.height <= 0 or box[0] >= box[2] or box[1] >= box[3]:
        shown = ",".join(f"{one:g}" for one in region)
        raise UsageError(f"the region {shown} has no pixel of this picture of {width} x {height}")
    return box


SIDE = 299
THUMBNAIL_PX = 160
PIXEL_CAP = 250_000_000

_PLUGINS = {
    "JPEG": JpegImagePlugin.JpegImageFile.format,
    "PNG": PngImagePlugin.PngImageFile.format,
    "WEBP": WebPImagePlugin.WebPImageFile.format,
    "GIF": GifImagePlugin.GifImageFile.format,
    "BMP": BmpImagePlugin.BmpImageFile.format,
    "TIFF": TiffImagePlugin.TiffImageFile.format,
    "AVIF": AvifImagePlugin.AvifImageFile.format,
    "HEIC": "HEIF",
}
_ORIENTATION = 0x0112
# EXIF 2.32, table 6: what undoes each orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# An ICC profile of a printer is larger than the 1 MiB that Pillow lets a PNG chunk inflate to.
_PNG_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Picture:
    """A decoded picture; the attributes are those of `Decoded`."""

    width: int
    height: int
    format: str
    pixels: NDArray[np.uint8] = field(repr=False)
    thumbnail: bytes | None = field(repr=False)
    damage: str = ""
    origin: Origin = Origin()
    preview: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Undecodable:
    """Bytes that give no picture, and why, in plain words on one line."""

    reason: str
    empty: bool = False


class _RefusedError(Exception):
    """Raised inside `decode` only: the message is the reason."""


def decode(
    content: bytes,
    *,
    suffix: str = "",
    side: int = SIDE,
    thumbnail_px: int = THUMBNAIL_PX,
    pixel_cap: int = PIXEL_CAP,
    region: Region | None = None,
    whole_px: int = 0,
    preview_px: int = 0,
) -> Picture | Undecodable:
    """Decode one picture in this process.

    The first frame that shows something (of a TIFF the largest page, where the first is its
    thumbnail), upright (EXIF orientation), in RGB. Where it is transparent, on white, or on black
    when it is a white drawing. Wider samples are scaled by the bits that they use. A
    JPEG is scaled while decoding (libjpeg decodes 1/2, 1/4 or 1/8 of each side in the DCT domain),
    to no less than `side`; the rest is antialiased bilinear resizing. What fails is tried
    again in a slower way that forgives more.

    Parameters
    ----------
    content
        The whole file.
    suffix
        Its lower-case suffix with the dot; tells RAW files from TIFF files.
    side
        Length of both sides of the result: the whole picture is squeezed into a square.
    thumbnail_px
        Longer side of the thumbnail in pixels, 0 for none.
    pixel_cap
        A picture of more pixels by its header is not decoded.
    region
        The part to decode, None for the whole: see `Region`.
    whole_px
        Not 0: return `whole_picture` with at most so many pixels instead of a square.
    preview_px
        Longer side of the preview of a kind that browsers do not show, 0 for none.

    Raises
    ------
    UsageError
        When the region has no pixel of the picture.
    MemoryError
        When decoding needs more memory than the process may have.
    """
    if not content:
        return Undecodable("the file is empty", empty=True)
    kind = recognise(content[:HEAD_BYTES], suffix)
    if kind is None:
        if suffix not in PICTURE_SUFFIXES:
            return Undecodable("not a kind of picture that imgclust reads")
        return Undecodable(describe_unknown(content[:HEAD_BYTES], suffix))
    wanted = _Wanted(side, thumbnail_px, pixel_cap, region, whole_px, preview_px)
    first: Exception | None = None
    for slow in (False, True):
        try:
            with _pillow_limits_off():
                return _picture(content, kind, wanted, slow=slow)
        except (MemoryError, UsageError):
            raise
        except _RefusedError as refusal:
            return Undecodable(str(refusal))
        # Decoders of damaged files raise nearly anything: ValueError, IndexError, struct.error.
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError(f"decoding {kind}") from error
            first = first or error
    assert first is not None
    return Undecodable(reason(first, kind, content))


class _Wanted(NamedTuple):
    """What `decode` is asked for."""

    side: int
    thumbnail_px: int
    pixel_cap: int
    region: Region | None
    whole_px: int
    preview_px: int


def _picture(content: bytes, kind: str, wanted: _Wanted, *, slow: bool) -> Picture:
    """Decode, or (`slow`) try what reads files that are not quite right, in full size."""
    side, thumbnail_px, pixel_cap, region, whole_px, preview_px = wanted
    orientation, damage = 0, ""
    preview: RawPicture | None = None
    if kind in RAW_FORMATS:
        preview = _raw_or_tiff(content, lambda size: _check_pixels(size, pixel_cap))
        kind = kind if preview else "TIFF"
        if whole_px and preview:
            raise _RefusedError("RAW files are not compared")
    if preview:
        image, orientation = preview.image, preview.orientation
        width, height = preview.size
    else:
        if kind == "PNG":
            damage = wrong_checksum(content)
            content = repaired(content) if slow else content
        if slow and kind == "JPEG":
            content = jpeg.with_end(jpeg.without_descriptions(content))
        image = _opened(content, kind, slow=slow)
        image = image if slow or kind != "TIFF" else main_page(image)
        width, height = image.size
    _check_pixels(image.size, pixel_cap)

    # The scaled picture covers `box`: its last row and column may be cut pixels.
    if whole_px and is_series(image):
        raise _RefusedError("it holds several pictures")
    least = reduced(image.size, whole_px) if whole_px else (side, side)
    drafted = None if region or slow else image.draft(None, least)
    box = drafted[1] if drafted else None
    shown: Image.Image | None = None
    if kind == "JPEG":
        scale = max(1, round(width / image.width))
        pixels, damage = jpeg.pixels_of(content, image, scale)
        shown = None if pixels is None else Image.fromarray(pixels)
    if shown is None:
        shown = _shown(image, content, kind, slow=slow)
        if drafted is None and kind not in RAW_FORMATS:
            width, height = shown.size
        _check_pixels(shown.size, pixel_cap)
    orientation = orientation or _orientation(image)
    if orientation > 4:
        width, height = height, width

    if whole_px:
        found = whole_picture(shown, least, box, _UPRIGHT.get(orientation))
        return Picture(width, height, kind, found, None, damage)
    if region is not None:  # it is one of the upright picture
        shown = shown.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else shown
        shown = shown.crop(region_box(region, width, height))
        (width, height), orientation = shown.size, 1
    square = shown.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    if orientation in _UPRIGHT:
        square = square.transpose(_UPRIGHT[orientation])
    square = on_ground(square)
    thumbnail = _thumbnail(square, width, height, thumbnail_px) if thumbnail_px else None
    origin = _origin(content, image, kind)
    large = None
    if preview_px and kind in PREVIEWED_FORMATS:
        large = _preview(content, kind, shown, orientation, wanted)
    return Picture(width, height, kind, np.asarray(square), thumbnail, damage, origin, large)


def _origin(content: bytes, image: Image.Image, kind: str) -> Origin:
    """When and by what it was taken; a RAW file's preview knows it too."""
    try:
        found = origin_of(image.getexif())
    # Damaged metadata must not lose the picture.
    except Exception:
        found = Origin()
    own = raw_origin(content) if kind in RAW_FORMATS else Origin()
    return Origin(own.taken or found.taken, own.camera or found.camera)


def _shown(image: Image.Image, content: bytes, kind: str, *, slow: bool) -> Image.Image:
    """The first frame that shows something, as 8-bit L, RGB or RGBA."""
    place = image.tell()

    def reopen() -> ImageFile.ImageFile:
        again = _opened(content, kind, slow=slow)
        again.seek(place)
        return again

    packing = packing_of(image)
    image.load()
    if kind == "PNG" and image.mode.startswith("I;16"):
        image.info["sbit"] = significant_bits(content)
    first = plain(image, packing, reopen)
    found = first
    if not shows(first):
        first = first.copy()  # it may be the picture whose frames follow
    while not shows(found) and next_that_shows(image):
        place, packing = image.tell(), packing_of(image)
        image.load()
        found = plain(image, packing, reopen)
    return found if shows(found) else without_hiding_alpha(first)


def _opened(content: bytes, kind: str, *, slow: bool) -> ImageFile.ImageFile:
    if kind == "HEIC":
        import pi_heif

        pi_heif.register_heif_opener(
            thumbnails=False, decode_threads=1, allow_incorrect_headers=slow
        )
    formats = (_PLUGINS[kind], "DIB") if kind == "BMP" else (_PLUGINS[kind],)
    return Image.open(io.BytesIO(content), formats=formats)


def _check_pixels(size: tuple[int, int], pixel_cap: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise _RefusedError(f"it has no pixels: {width} x {height}")
    if width * height > pixel_cap:
        raise _RefusedError(
            f"too many pixels: {width} x {height} is over the limit of "
            f"{pixel_cap / 1e6:,.0f} million"
        )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation that is still to be applied; 1 when there is none or it makes no sense.

    To be asked after loading: a PNG may carry it behind the pixels, and the plugins for TIFF and
    HEIC have applied it by then and say so.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    # Damaged metadata must not lose the picture.
    except Exception:
        return 1
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def _thumbnail(square: Image.Image, width: int, height: int, longer_px: int) -> bytes:
    """WebP of the square, brought back to the original's proportions and never beyond its size."""
    scale = min(1.0, longer_px / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    buffer = io.BytesIO()
    # Method 1 takes a third of the time of the default for a tenth more bytes.
    square.resize(size, Image.Resampling.BILINEAR).save(buffer, "WEBP", quality=75, method=1)
    return buffer.getvalue()


def _preview(
    content: bytes, kind: str, shown: Image.Image, orientation: int, wanted: _Wanted
) -> bytes | None:
    """WebP of the whole picture; None where that fails, since the picture itself is there."""
    longest = wanted.preview_px
    with contextlib.suppress(Exception):
        if kind in RAW_FORMATS:  # it was scaled down to the square while it was decoded
            shown = raw_picture(content, lambda size: _check_pixels(size, wanted.pixel_cap)).image
            shown.draft("RGB", (longest, longest))
            shown = shown.convert("RGB")
        scale = min(1.0, longest / max(shown.size))
        size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
        small = shown.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        if orientation in _UPRIGHT:
            small = small.transpose(_UPRIGHT[orientation])
        buffer = io.BytesIO()
        on_ground(small).save(buffer, "WEBP", quality=80, method=1)
        return buffer.getvalue()
    return None


_limits_lock = threading.Lock()


@contextlib.contextmanager
def _pillow_limits_off() -> Iterator[None]:
    """Let `pixel_cap` decide instead of Pillow's own limits, and keep its warnings in.

    Both are settings of the whole process, hence the lock and the way back.
    """
    with _limits_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, _PNG_CHUNK_BYTES
        # Several workers share the cores: one thread each.
        threads, AvifImagePlugin.DEFAULT_MAX_THREADS = AvifImagePlugin.DEFAULT_MAX_THREADS, 1
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = kept
            AvifImagePlugin.DEFAULT_MAX_THREADS = threads
