"""Transparency, depths and kinds of pictures: each right value against what was drawn."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imgclust.images.decoder import Picture, Undecodable, decode
from tests import pictures
from tests.test_images_decoder import CORNERS, corners, decoded, near

PHOTOS = Path(__file__).parents[1] / "scripts" / "samples" / "photos"
GREYS: Any = np.kron(np.array([[0, 85], [170, 255]], np.uint16), np.ones((16, 16), np.uint16))
GREY_CORNERS = [(v, v, v) for v in (0, 85, 170, 255)]


# Transparency


def drawing(number: int, colour: object, size: int = 300) -> Image.Image:
    """One of several drawings in one colour on a transparent ground."""
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20 * number, 30, 120 + 20 * number, 130), fill=colour)  # type: ignore[arg-type]
    draw.line((0, 40 * number, size, size - 10 * number), fill=colour, width=3)  # type: ignore[arg-type]
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "AVIF"])
@pytest.mark.parametrize("grey", [255, 245, 232])
def test_white_drawings_show(kind: str, grey: int) -> None:
    sharp: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}
    options = sharp.get(kind, {})
    found = [
        decoded(pictures.encoded(drawing(n, (grey, grey, grey, 255)), kind, **options)).pixels
        for n in range(5)
    ]
    for one, other in itertools.combinations(found, 2):
        assert np.abs(one.astype(int) - other).max() > 150
    ground = Image.new("RGBA", (300, 300), "black")
    wanted = Image.alpha_composite(ground, drawing(3, (grey, grey, grey, 255))).convert("RGB")
    expected = decoded(pictures.encoded(wanted, "PNG")).pixels.astype(int)
    assert np.abs(found[3] - expected).mean() < 2


@pytest.mark.parametrize("colour", ["black", "red", (200, 200, 200, 255), "yellow", (0, 0, 0, 40)])
def test_other_drawings_stay_on_white(colour: object) -> None:
    image = drawing(2, colour)
    white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    found = decoded(pictures.encoded(image, "PNG")).pixels.astype(int)
    assert np.abs(found - decoded(pictures.encoded(white, "PNG")).pixels).mean() < 1


def test_a_white_drawing_with_an_outline_stays_on_white() -> None:
    image = drawing(1, "white")
    ImageDraw.Draw(image).ellipse((20, 30, 140, 130), outline="black", width=3)
    assert corners(decoded(pictures.encoded(image, "PNG")).pixels)[3] == (255, 255, 255)


@pytest.mark.parametrize("alpha", [0, 1, 3])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "LA"])
def test_an_alpha_that_hides_everything_is_ignored(kind: str, alpha: int) -> None:
    plain = pictures.photo(200, 150, 4)
    plain = plain.convert("L") if kind == "LA" else plain
    hidden = plain.convert("LA" if kind == "LA" else "RGBA")
    hidden.putalpha(alpha)
    options: dict[str, Any] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    content = pictures.encoded(hidden, "PNG" if kind == "LA" else kind, **options)
    wanted = decoded(pictures.encoded(plain, "PNG"))
    assert np.array_equal(decoded(content).pixels, wanted.pixels)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("empty", [1, 3])
def test_the_first_frame_that_shows_something(kind: str, empty: int) -> None:
    nothing = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    shown = pictures.quadrants().convert("RGBA")
    frames = [nothing.copy() for _ in range(empty)]
    for number, frame in enumerate(frames):
        frame.putpixel((number, 0), (9, 9, 9, 1))  # else equal frames become one
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    content = pictures.encoded(
        frames[0], kind, save_all=True, append_images=[*frames[1:], shown], duration=50, **options
    )
    assert near(corners(decoded(content).pixels), CORNERS, within=12)


def test_an_animation_that_shows_nothing_gives_its_first_frame() -> None:
    frames = [Image.new("RGBA", (64, 32), (value, 0, 0, 0)) for value in (200, 100)]
    content = pictures.encoded(
        frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50
    )
    assert near(corners(decoded(content).pixels), [(200, 0, 0)] * 4)


# Depths


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "<", ">"])
def test_narrow_values_in_sixteen_bits_use_their_range(bits: int, kind: str) -> None:
    top = (1 << bits) - 1
    samples = np.round(GREYS / 255 * top).astype(np.uint16)
    content = pictures.png(samples, 0, 16) if kind == "png" else pictures.grey_tiff(samples, kind)
    wanted = [(int(v),) * 3 for v in np.round(samples[::16, ::16] / top * 255).ravel()]
    assert near(corners(decoded(content).pixels), wanted, within=1)


def tagged(samples: Any, **tags: int) -> bytes:
    """A 16-bit grey TIFF with tags of its own."""
    numbers = {"SMin": 340, "SMax": 341, "Min": 280, "Max": 281, "Photometric": 262}
    image = Image.fromarray(samples.astype(np.uint16))
    from PIL import TiffImagePlugin

    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info.tagtype[numbers[name]] = 3
        info[numbers[name]] = value
    return pictures.encoded(image, "TIFF", tiffinfo=info)


def test_the_files_own_tags_come_first() -> None:
    dark = (GREYS // 4).astype(np.uint16)  # 0..63: by its values it would be of 8 bits
    half = [(v // 4, v // 4, v // 4) for v in (0, 85, 170, 255)]
    assert near(corners(decoded(tagged(dark, SMin=0, SMax=255)).pixels), half, within=1)
    assert near(corners(decoded(tagged(dark, Min=0, Max=255)).pixels), half, within=1)
    shifted = (GREYS + 1000).astype(np.uint16)
    content = tagged(shifted, SMin=1000, SMax=1255)
    assert near(corners(decoded(content).pixels), GREY_CORNERS, within=1)
    wrong = tagged(GREYS * 257, SMin=0, SMax=100)  # it cannot be: values are larger
    assert near(corners(decoded(wrong).pixels), GREY_CORNERS, within=1)


def test_significant_bits_of_a_png_come_first() -> None:
    samples = (GREYS * 4).astype(np.uint16)  # 0..1020, of 12 bits
    quarter = [(v // 4, v // 4, v // 4) for v in (0, 85, 170, 255)]
    content = pictures.png(samples, 0, 16, sBIT=bytes([12]))
    assert near(corners(decoded(content).pixels), quarter, within=1)
    full = pictures.png(GREYS * 257, 0, 16, sBIT=bytes([12]))  # scaled up, as the format says
    assert near(corners(decoded(full).pixels), GREY_CORNERS, within=1)


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("kind", ["png", "tiff", "lzw"])
def test_narrow_colours_in_sixteen_bits(bits: int, kind: str) -> None:
    top = (1 << bits) - 1
    colours = (np.asarray(pictures.quadrants()).astype(np.uint16) // 255 * top).astype(np.uint16)
    if kind == "png":
        content = pictures.png(colours, 2, 16)
    else:
        content = written(colours, photometric="rgb", compression=None if kind == "tiff" else "lzw")
    assert near(corners(decoded(content).pixels), CORNERS, within=1)


def test_a_transparent_grey_of_sixteen_bits() -> None:
    content = pictures.png(GREYS * 257, 0, 16, tRNS=struct.pack(">H", 0))
    assert near(corners(decoded(content).pixels), [(255,) * 3, *GREY_CORNERS[1:]], within=1)


# Kinds, written by another library


def written(samples: Any, **options: Any) -> bytes:
    """A TIFF by tifffile."""
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


COLOURS = np.asarray(pictures.quadrants())
ALPHA = np.full((32, 64, 1), 255, np.uint8)
GREY8 = GREYS.astype(np.uint8)
WRITTEN: dict[str, tuple[Any, dict[str, Any], object]] = {
    "grey": (GREY8, {"photometric": "minisblack"}, GREY_CORNERS),
    "grey, white is zero": (255 - GREY8, {"photometric": "miniswhite"}, GREY_CORNERS),
    "16 bits": (GREYS * 257, {"photometric": "minisblack"}, GREY_CORNERS),
    "16 bits, white is zero": (65535 - GREYS * 257, {"photometric": "miniswhite"}, GREY_CORNERS),
    "16 bits, big endian": (
        GREYS * 257,
        {"photometric": "minisblack", "byteorder": ">"},
        GREY_CORNERS,
    ),
    "16 bits, deflate": (
        GREYS * 257,
        {"photometric": "minisblack", "compression": "zlib", "predictor": True},
        GREY_CORNERS,
    ),
    "32 bits": (GREYS.astype(np.uint32) * 257, {"photometric": "minisblack"}, GREY_CORNERS),
    "32 bits, all of them": (
        GREYS.astype(np.uint32) * 16843009,
        {"photometric": "minisblack"},
        GREY_CORNERS,
    ),
    "16 bits with a sign": (
        (GREYS.astype(np.int32) * 128).astype(np.int16),
        {"photometric": "minisblack"},
        GREY_CORNERS,
    ),
    "16-bit colours, planes": (
        np.moveaxis(COLOURS.astype(np.uint16) * 257, 2, 0).copy(),
        {"photometric": "rgb", "planarconfig": "separate"},
        CORNERS,
    ),
    "16-bit colours, planes, deflate": (
        np.moveaxis(COLOURS.astype(np.uint16) * 257, 2, 0).copy(),
        {"photometric": "rgb", "planarconfig": "separate", "compression": "zlib"},
        CORNERS,
    ),
    "16-bit colours, planes in tiles": (
        np.moveaxis(COLOURS.astype(np.uint16) * 257, 2, 0).copy(),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16)},
        CORNERS,
    ),
    "float": ((GREYS / 255).astype(np.float32), {"photometric": "minisblack"}, GREY_CORNERS),
    "grey, alpha": (
        np.dstack([GREY8, np.full_like(GREY8, 255)]),
        {"photometric": "minisblack", "extrasamples": ["unassalpha"]},
        GREY_CORNERS,
    ),
    "grey, multiplied alpha": (
        np.dstack([GREY8, np.full_like(GREY8, 255)]),
        {"photometric": "minisblack", "extrasamples": ["assocalpha"]},
        GREY_CORNERS,
    ),
    "colours": (COLOURS, {"photometric": "rgb"}, CORNERS),
    "colours, planes": (
        np.moveaxis(COLOURS, 2, 0).copy(),
        {"photometric": "rgb", "planarconfig": "separate"},
        CORNERS,
    ),
    "colours, tiles": (COLOURS, {"photometric": "rgb", "tile": (16, 16)}, CORNERS),
    "colours, packbits": (COLOURS, {"photometric": "rgb", "compression": "packbits"}, CORNERS),
    "colours, zstd": (COLOURS, {"photometric": "rgb", "compression": "zstd"}, CORNERS),
    "colours, alpha": (
        np.dstack([COLOURS, ALPHA]),
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        CORNERS,
    ),
    "colours, multiplied alpha": (
        np.dstack([COLOURS, ALPHA]),
        {"photometric": "rgb", "extrasamples": ["assocalpha"]},
        CORNERS,
    ),
    "16 bits, colours": (COLOURS.astype(np.uint16) * 257, {"photometric": "rgb"}, CORNERS),
    "16 bits, colours, alpha": (
        np.dstack([COLOURS, ALPHA]).astype(np.uint16) * 257,
        {"photometric": "rgb", "extrasamples": ["unassalpha"]},
        CORNERS,
    ),
    "ink": (255 - np.dstack([COLOURS, ALPHA]), {"photometric": "separated"}, CORNERS),
    "big tiff": (COLOURS, {"photometric": "rgb", "bigtiff": True}, CORNERS),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_tiffs_of_another_library_are_read_right_or_called_unsupported(name: str) -> None:
    samples, options, wanted = WRITTEN[name]
    picture = decode(written(samples, **options), suffix=".tif")
    if isinstance(picture, Undecodable):
        assert "not supported" in picture.reason, picture
        return
    assert near(corners(picture.pixels), wanted, within=10 if name == "ink" else 2)


@pytest.mark.parametrize("really", [True, False], ids=["a sign", "only the mark of one"])
def test_a_tiff_of_signed_bytes_looks_like_its_photo(really: bool) -> None:
    photos = sorted(PHOTOS.glob("*.jpg"))[::20]
    assert len(photos) > 10
    for photo in photos:
        grey = np.asarray(Image.open(photo).convert("L"))
        samples = (grey.astype(np.int16) - 128).astype(np.int8) if really else grey.view(np.int8)
        read = decode(written(samples, photometric="minisblack"), suffix=".tif")
        plain = decode(written(grey, photometric="minisblack"), suffix=".tif")
        assert isinstance(read, Picture)
        assert isinstance(plain, Picture)
        assert np.array_equal(read.pixels, plain.pixels), photo


def modes() -> dict[str, bytes]:
    """Every kind in every mode that Pillow writes it in."""
    found = {}
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        for mode in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"):
            image = pictures.photo(64, 48, 5)
            try:
                image = (
                    image.convert(mode)
                    if mode != "I;16"
                    else Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
                )
                found[f"{kind} {mode}"] = pictures.encoded(image, kind)
            except (OSError, ValueError, KeyError):
                continue
    return found


# libvips takes the uncompressed YCbCr of a TIFF for RGB.
@pytest.mark.parametrize("name", [name for name in modes() if name != "TIFF YCbCr"])
def test_every_mode_agrees_with_another_decoder(name: str) -> None:
    pyvips = pytest.importorskip("pyvips")
    content = modes()[name]
    try:
        image = pyvips.Image.new_from_buffer(content, "")
        if image.format in {"ushort", "uint", "float"} and name.endswith(("I;16", "RGB16")):
            image = image.msb() if image.format == "ushort" else image
        samples = image.colourspace("srgb").numpy() if image.bands >= 3 else image.numpy()
    except pyvips.Error as error:
        pytest.skip(f"libvips does not read it: {str(error).splitlines()[0]}")
    samples = samples[..., None] if samples.ndim == 2 else samples
    if samples.shape[2] in {1, 2}:
        samples = np.repeat(samples[..., :1], 3, axis=2)
    samples = np.clip(samples[..., :3], 0, 255).astype(np.uint8)
    wanted = Image.fromarray(samples).resize((299, 299), Image.Resampling.BILINEAR)
    found = decoded(content).pixels.astype(int)
    within = 20 if "CMYK" in name else 3  # ink is converted in several ways
    assert np.abs(found - np.asarray(wanted, int)).mean() < within


# Pages


def pages(*sizes: tuple[int, int], flag: int | None = None) -> bytes:
    """A TIFF whose pages are red, green, blue, and of these sizes."""
    colours = ["red", "lime", "blue"]
    images = [Image.new("RGB", size, colour) for size, colour in zip(sizes, colours, strict=False)]
    if flag is not None:
        from PIL import TiffImagePlugin

        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[254] = flag
        images[0].encoderinfo = {"tiffinfo": info}
        return pictures.encoded(
            images[0], "TIFF", save_all=True, append_images=images[1:], tiffinfo=info
        )
    return pictures.encoded(images[0], "TIFF", save_all=True, append_images=images[1:])


@pytest.mark.parametrize(
    ("content", "colour", "size"),
    [
        (pages((160, 120), (800, 600)), (0, 255, 0), (800, 600)),
        (pages((160, 107), (320, 213), (3000, 2000)), (0, 0, 255), (3000, 2000)),
        (pages((800, 600), (160, 120)), (255, 0, 0), (800, 600)),
        (pages((400, 300), (800, 600)), (255, 0, 0), (400, 300)),  # a smaller first page
        (pages((160, 120), (600, 800)), (255, 0, 0), (160, 120)),  # of another ratio
        (pages((400, 300), (800, 600), flag=1), (0, 255, 0), (800, 600)),
    ],
)
def test_a_first_page_that_is_a_thumbnail_gives_way(
    content: bytes, colour: tuple[int, ...], size: tuple[int, int]
) -> None:
    picture = decoded(content)
    assert near(corners(picture.pixels), [colour] * 4)
    assert (picture.width, picture.height) == size


# Reasons


def test_a_bitmap_without_a_file_header() -> None:
    dib = pictures.encoded(pictures.quadrants(), "DIB")
    assert near(corners(decoded(dib, suffix=".dib").pixels), CORNERS)
    assert isinstance(decode(dib, suffix=".jpg"), Undecodable)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"8BPS\0\1" + bytes(40), "a Photoshop file (PSD) under"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document under"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(40), "a video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "a JPEG XL picture under"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "a JPEG 2000 picture under"),
        (b"P6\n1 1\n255\n\1\2\3", "a Netpbm picture under"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing under"),
        (b"P6 is a name of a processor", "a Netpbm picture under"),
    ],
)
def test_another_kind_is_called_by_its_name(content: bytes, words: str) -> None:
    for suffix in (".jpg", ".heic", ".tif"):
        picture = decode(content, suffix=suffix)
        assert isinstance(picture, Undecodable)
        assert words in picture.reason
        assert "damaged" not in picture.reason


RAW_NAMES = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2")


@pytest.mark.parametrize("suffix", RAW_NAMES)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(range(7, 256)) * 9, "not a picture: unknown bytes under"),
        (b"8BPS\0\1" + bytes(40), "a Photoshop file (PSD) under"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document under"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(40), "a video"),
        (b"a letter to my aunt\n" * 9, "a text file under"),
    ],
)
def test_what_is_no_raw_file_is_not_called_a_damaged_one(
    content: bytes, words: str, suffix: str
) -> None:
    pytest.importorskip("rawpy")
    picture = decode(content, suffix=suffix)
    assert isinstance(picture, Undecodable)
    assert words in picture.reason
    assert suffix in picture.reason
    assert "damaged" not in picture.reason


@pytest.mark.parametrize("kind", ["BMP", "HEIC", "AVIF", "PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_under_a_raw_name_is_read_as_what_it_is(kind: str) -> None:
    content = pictures.HEIC if kind == "HEIC" else pictures.encoded(pictures.quadrants(), kind)
    for suffix in RAW_NAMES:
        assert decoded(content, suffix=suffix).format == kind


@pytest.mark.parametrize("suffix", RAW_NAMES)
@pytest.mark.parametrize(
    ("mode", "compression"), [("RGB", None), ("L", "tiff_lzw"), ("RGB", "jpeg"), ("I;16", None)]
)
def test_a_plain_tiff_under_a_raw_name_is_read(
    suffix: str, mode: str, compression: str | None
) -> None:
    pytest.importorskip("rawpy")
    image = pictures.quadrants()
    image = (
        image.convert("I").point(lambda v: v * 257).convert("I;16")
        if mode == "I;16"
        else image.convert(mode)
    )
    content = pictures.encoded(image, "TIFF", compression=compression)
    picture = decoded(content, suffix=suffix)
    assert picture.format == "TIFF"
    assert (picture.pixels == decoded(content, suffix=".tif").pixels).all()
    assert not isinstance(decode(content, suffix=suffix, whole_px=1 << 16), Undecodable)


def test_a_small_picture_of_a_raw_file_is_not_taken_for_it() -> None:
    """LibRaw reads no such files, and Pillow would show their thumbnails."""
    pytest.importorskip("rawpy")
    small = pictures.quadrants(160, 120)
    thumbnail = pictures.encoded(small, "TIFF", tiffinfo={254: 1})
    canon = bytearray(pictures.encoded(small, "TIFF", compression="tiff_lzw"))
    canon[8:10] = b"CR"
    for content in (thumbnail, bytes(canon)):
        picture = decode(content, suffix=".nef")
        assert isinstance(picture, Undecodable)
        assert picture.reason == (
            "a RAW file (.nef) of a camera that is not supported, or a damaged one"
        )


def test_a_plain_tiff_that_is_cut_short_and_a_damaged_raw_file_are_told_apart() -> None:
    pytest.importorskip("rawpy")
    whole = pictures.encoded(pictures.quadrants(), "TIFF")
    plain = decode(whole[: len(whole) // 2], suffix=".cr2")
    assert plain == decode(whole[: len(whole) // 2], suffix=".tif")
    assert isinstance(plain, Undecodable)
    for content in (
        *(b"II*\0" + bytes(500), b"FUJIFILMCCD-RAW 0201" + bytes(900), b"IIU\0" + bytes(900)),
        *(b"IIRO" + bytes(900), b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(900)),
    ):
        picture = decode(content, suffix=".cr2")
        assert isinstance(picture, Undecodable)
        assert picture.reason.startswith("damaged or cut short CR2")


def test_an_unsupported_sort_is_not_called_damaged() -> None:
    jpeg = bytearray(pictures.encoded(pictures.quadrants(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    for marker, words in ((0xC3, "lossless JPEG is not supported"), (0xC5, "hierarchical")):
        jpeg[frame + 1] = marker
        picture = decode(bytes(jpeg), suffix=".jpg")
        assert isinstance(picture, Undecodable)
        assert words in picture.reason
    jpeg[frame + 1], jpeg[frame + 4] = 0xC1, 12
    picture = decode(bytes(jpeg), suffix=".jpg")
    assert isinstance(picture, Undecodable)
    assert picture.reason == "JPEG with 12 bits a sample is not supported"
    tiff = bytearray(pictures.grey_tiff(GREYS, "<"))
    at = tiff.index(struct.pack("<HH", 259, 4))
    tiff[at + 8 : at + 10] = struct.pack("<H", 34892)  # lossy DNG
    picture = decode(bytes(tiff), suffix=".tif")
    assert isinstance(picture, Undecodable)
    assert "not supported" in picture.reason


def test_a_wrong_size_in_a_heic_is_no_lack_of_memory() -> None:
    for at in range(0, len(pictures.HEIC) - 4, 3):
        for wrong in (b"\x7f\xff\xff\xff", b"\0\0\0\5", b"\0\1\0\0"):
            content = pictures.HEIC[:at] + wrong + pictures.HEIC[at + 4 :]
            decode(content, suffix=".heic")  # MemoryError fails the test


# Damaged but readable


def overwritten(content: bytes, what: bytes, share: float = 0.5) -> bytes:
    at = int(len(content) * share)
    return content[:at] + what + content[at + len(what) :]


@pytest.mark.parametrize(
    ("size", "progressive"), [((640, 480), False), ((640, 480), True), ((3000, 2000), False)]
)
def test_a_jpeg_overwritten_in_the_middle_is_in_and_marked(
    progressive: bool, size: tuple[int, int]
) -> None:
    content = pictures.encoded(pictures.photo(*size, 3), "JPEG", progressive=progressive)
    assert decoded(content).damage == ""
    for what in (bytes(4096), b"overwritten " * 341, bytes(range(1, 200)) * 20):
        picture = decode(overwritten(content, what), suffix=".jpg")
        assert isinstance(picture, Picture)
        assert "damaged" in picture.damage


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\0\0", b"more", b"\xff" * 40])
def test_bytes_around_the_end_are_no_damage(tail: bytes) -> None:
    content = pictures.encoded(pictures.photo(640, 480, 3), "JPEG")
    assert decoded(content + tail).damage == ""
    assert decoded(content[:-2] + tail + content[-2:]).damage == ""


@pytest.mark.parametrize("size", [(640, 480), (1301, 907), (4001, 2999), (300, 2500)])
def test_jpegs_have_the_pixels_that_pillow_gives(size: tuple[int, int]) -> None:
    """Embeddings of before stay right: the decoder that tells damage gives the same pixels."""
    every: list[dict[str, Any]] = [{}, {"subsampling": 0}, {"keep_rgb": True}, {"quality": 20}]
    for image in (pictures.photo(*size, 1), pictures.photo(*size, 2).convert("L")):
        for options in every:
            content = pictures.encoded(image, "JPEG", **options)
            opened = Image.open(io.BytesIO(content))
            drafted = opened.draft(None, (299, 299))
            box = drafted[1] if drafted else None
            resized = opened.resize(
                (299, 299), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0
            )
            found = decoded(content).pixels
            assert np.array_equal(found, np.asarray(resized.convert("RGB"))), options


def test_a_png_with_a_wrong_checksum_is_read() -> None:
    content = pictures.png(
        np.asarray(pictures.quadrants()), 2, 8, tEXt=b"Comment\0hello", tIME=bytes(7)
    )
    spoiled = content.replace(b"hello", b"jello")
    picture = decoded(spoiled)
    assert near(corners(picture.pixels), CORNERS, within=1)
    at = content.index(b"IDAT") - 4
    length = int.from_bytes(content[at : at + 4], "big")
    body = content[: at + 8 + length]
    picture = decoded(body + b"\0\0\0\0" + content[at + 12 + length :])
    assert near(corners(picture.pixels), CORNERS, within=1)
    assert "checksum" in picture.damage
    assert zlib.crc32(content[at + 4 : at + 8 + length])
