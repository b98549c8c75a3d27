"""Camera RAW files: the preview that the camera embedded (needs the extra `raw`)."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

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
