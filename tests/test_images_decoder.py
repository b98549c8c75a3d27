"""Decoding, judged by the pixels that come out."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from imgclust.images.decoder import Picture, Undecodable, decode
from imgclust.images.headers import recognise
from tests import pictures
from tests.pictures import BLUE, GREEN, RED, WHITE

CORNERS = (RED, GREEN, BLUE, WHITE)
# What makes each kind keep colours.
SHARP: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "TIFF": {},
    "AVIF": {"quality": 95},
}


def decoded(content: bytes, **options: object) -> Picture:
    picture = decode(content, **options)  # type: ignore[arg-type]
    assert isinstance(picture, Picture), picture
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == 3
    return picture


def corners(pixels: pictures.Pixels) -> tuple[tuple[int, ...], ...]:
    """Colours in the middle of the four quarters: upper left, upper right, lower left, right."""
    height, width = pixels.shape[:2]
    places = [(height // 4, width // 4), (height // 4, 3 * width // 4)]
    places += [(3 * height // 4, width // 4), (3 * height // 4, 3 * width // 4)]
    return tuple(tuple(int(value) for value in pixels[place]) for place in places)


def near(got: object, wanted: object, within: int = 6) -> bool:
    return bool(np.abs(np.asarray(got, int) - np.asarray(wanted, int)).max() <= within)


@pytest.mark.parametrize("kind", pictures.MAKERS)
def test_every_kind_gives_its_pixels_size_and_thumbnail(kind: str) -> None:
    _, maker = pictures.MAKERS[kind]
    picture = decoded(maker(pictures.quadrants(400, 200)))
    assert (picture.width, picture.height, picture.format) == (400, 200, kind)
    assert picture.pixels.shape == (299, 299, 3)
    assert near(corners(picture.pixels), CORNERS)
    assert picture.thumbnail is not None
    thumbnail = Image.open(io.BytesIO(picture.thumbnail))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (160, 80))
    assert near(corners(np.asarray(thumbnail.convert("RGB"))), CORNERS, within=12)


@pytest.mark.parametrize(
    ("content", "size", "wanted"),
    [
        (pictures.HEIC, (64, 32), CORNERS),
        (pictures.HEIC_TURNED, (32, 64), (BLUE, RED, WHITE, GREEN)),
    ],
)
def test_heic(content: bytes, size: tuple[int, int], wanted: object) -> None:
    picture = decoded(content)
    assert (picture.width, picture.height, picture.format) == (*size, "HEIC")
    assert near(corners(picture.pixels), wanted)


def test_thumbnails_are_optional_and_never_larger_than_the_picture() -> None:
    content = pictures.encoded(pictures.quadrants(40, 20), "PNG")
    assert decoded(content, thumbnail_px=0).thumbnail is None
    thumbnail = decoded(content).thumbnail
    assert thumbnail is not None
    assert Image.open(io.BytesIO(thumbnail)).size == (40, 20)


# What each orientation shows when the file holds red, green / blue, white (EXIF 2.32, 4.6.4).
ORIENTED = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    content = pictures.turned(pictures.quadrants(800, 400), kind, orientation, **SHARP[kind])
    picture = decoded(content)
    assert (picture.width, picture.height) == ((400, 800) if orientation > 4 else (800, 400))
    assert near(corners(picture.pixels), ORIENTED[orientation])


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientation_without_meaning_is_ignored(orientation: int) -> None:
    picture = decoded(pictures.turned(pictures.quadrants(), "PNG", orientation))
    assert near(corners(picture.pixels), CORNERS)


def test_damaged_metadata_does_not_cost_the_picture() -> None:
    content = pictures.encoded(pictures.quadrants(), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff")
    assert near(corners(decoded(content).pixels), CORNERS)


def ramp(bits: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    top = 2**bits - 1
    quarters = np.array([[0, top // 4], [top // 2, top]], np.uint16)
    return np.kron(quarters, np.ones((16, 16), np.uint16))


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_is_scaled_and_not_clipped(bits: int) -> None:
    picture = decoded(pictures.png(ramp(bits), 0, bits))
    assert near(corners(picture.pixels), [(v, v, v) for v in (0, 63, 127, 255)], within=1)


def test_sixteen_bit_colour_png() -> None:
    samples = np.asarray(pictures.quadrants()).astype(np.uint16) * 257
    assert near(corners(decoded(pictures.png(samples, 2, 16)).pixels), CORNERS, within=1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey_tiff(order: str) -> None:
    content = pictures.grey_tiff(ramp(16), order)
    picture = decoded(content)
    assert near(corners(picture.pixels), [(v, v, v) for v in (0, 63, 127, 255)], within=1)


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        (np.array([[0.0, 0.25], [0.5, 1.0]]), (0, 64, 128, 255)),
        (np.array([[-300.0, 0.0], [300.0, np.nan]]), (0, 128, 255, 128)),
        (np.array([[0.0, 32768.0], [65535.0, 257.0]]), (0, 128, 255, 1)),
    ],
)
def test_floating_point_tiff(samples: object, wanted: tuple[int, ...]) -> None:
    image = Image.fromarray(np.kron(np.asarray(samples, np.float32), np.ones((16, 16), "f4")))
    picture = decoded(pictures.encoded(image, "TIFF"))
    assert near(corners(picture.pixels), [(v, v, v) for v in wanted], within=2)


def test_one_bit_and_greyscale_jpeg() -> None:
    white_right = Image.new("1", (64, 64))
    white_right.paste(1, (32, 0, 64, 64))
    one_bit = decoded(pictures.encoded(white_right, "PNG"))
    grey = decoded(pictures.encoded(white_right.convert("L"), "JPEG", quality=95))
    for picture in (one_bit, grey):
        assert near(corners(picture.pixels), [(0,) * 3, WHITE, (0,) * 3, WHITE])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    content = pictures.encoded(pictures.quadrants().convert("CMYK"), kind)
    assert near(corners(decoded(content).pixels), CORNERS, within=10)


def test_cmyk_jpeg_without_adobes_mark_is_not_inverted() -> None:
    # Pillow writes ink upside down as Adobe does; what it is given inverted comes out upright.
    ink = 255 - np.asarray(pictures.quadrants().convert("CMYK"))
    adobe = pictures.encoded(Image.fromarray(ink, "CMYK"), "JPEG", quality=95)
    picture = decoded(pictures.without_adobe(adobe))
    assert near(corners(picture.pixels), CORNERS, within=10)


def test_lab_tiff() -> None:
    lab = np.zeros((32, 32, 3), np.uint8)
    lab[:16, :, 0], lab[16:, :, 0] = 0, 255
    content = pictures.encoded(Image.fromarray(lab, "LAB"), "TIFF")
    black_over_white = [(0,) * 3, (0,) * 3, WHITE, WHITE]
    assert near(corners(decoded(content).pixels), black_over_white, within=3)


def see_through() -> Image.Image:
    """Quadrants whose upper half is transparent: red and green must not show."""
    image = pictures.quadrants().convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 64, 16))
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_transparent_parts_are_white(kind: str) -> None:
    content = pictures.encoded(see_through(), kind, **SHARP[kind])
    assert near(corners(decoded(content).pixels), (WHITE, WHITE, BLUE, WHITE))


def test_half_transparent_is_half_white_without_a_fringe() -> None:
    samples = np.zeros((64, 64, 4), np.uint8)
    samples[:, :32] = (255, 0, 0, 128)
    samples[:, 32:] = (0, 255, 0, 0)
    pixels = decoded(pictures.png(samples, 6, 8)).pixels
    assert near(corners(pixels), [(255, 127, 127), WHITE, (255, 127, 127), WHITE], within=2)
    # Between red and see-through green there is no trace of green: red never sinks.
    assert pixels[..., 0].min() >= 253


def test_grey_with_alpha() -> None:
    samples = np.zeros((32, 32, 2), np.uint8)
    samples[16:, :, 1] = 255
    picture = decoded(pictures.png(samples, 4, 8))
    assert near(corners(picture.pixels), [WHITE, WHITE, (0,) * 3, (0,) * 3], within=1)


def test_palette_with_alpha_and_colour_keys() -> None:
    indices = np.kron(np.array([[0, 1], [2, 3]], np.uint8), np.ones((16, 16), np.uint8))
    palette = bytes([*RED, *GREEN, *BLUE, *WHITE])
    alpha = decoded(pictures.png(indices, 3, 8, PLTE=palette, tRNS=bytes([0, 128])))
    assert near(corners(alpha.pixels), (WHITE, (127, 255, 127), BLUE, WHITE), within=2)
    plain = decoded(pictures.png(indices, 3, 8, PLTE=palette))
    assert near(corners(plain.pixels), CORNERS, within=1)
    key = decoded(pictures.png(ramp(8).astype(np.uint8), 0, 8, tRNS=b"\0\0"))
    assert corners(key.pixels)[0] == WHITE
    colour_key = pictures.png(
        np.asarray(pictures.quadrants()), 2, 8, tRNS=bytes([0, 255, 0, 0, 0, 0])
    )
    assert near(corners(decoded(colour_key).pixels), (WHITE, GREEN, BLUE, WHITE), within=1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_animated_files_give_their_first_frame(kind: str) -> None:
    picture = decoded(pictures.animated(kind, **SHARP[kind]))
    assert picture.format == kind
    # A GIF of several frames is dithered into one palette.
    assert near(corners(picture.pixels), CORNERS, within=12)


def test_a_jpeg_of_several_pictures_gives_the_first() -> None:
    content = pictures.encoded(
        pictures.quadrants(640, 320),
        "MPO",
        save_all=True,
        append_images=[Image.new("RGB", (640, 320))],
        quality=95,
    )
    picture = decoded(content)
    assert picture.format == "JPEG"
    assert near(corners(picture.pixels), CORNERS)


def test_twelve_megapixel_jpeg_agrees_with_full_decoding() -> None:
    content = pictures.encoded(pictures.photo(4001, 2999), "JPEG", quality=90)
    picture = decoded(content)
    full = Image.open(io.BytesIO(content)).convert("RGB")
    wanted = np.asarray(full.resize((299, 299), Image.Resampling.BILINEAR), int)
    assert (picture.width, picture.height) == (4001, 2999)
    assert np.abs(picture.pixels.astype(int) - wanted).mean() < 1.0


def test_the_whole_picture_is_squeezed_and_not_cropped() -> None:
    wide = pictures.quadrants(3000, 310)
    assert near(corners(decoded(pictures.encoded(wide, "JPEG", quality=95)).pixels), CORNERS)
    assert near(corners(decoded(pictures.encoded(wide, "PNG"), side=31).pixels), CORNERS)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1)])
def test_smallest_pictures(size: tuple[int, int]) -> None:
    picture = decoded(pictures.encoded(Image.new("RGB", size, RED), "PNG"))
    assert near(corners(picture.pixels), [RED] * 4, within=1)
    assert picture.thumbnail is not None


BAD = {
    "empty": (b"", ".jpg", "the file is empty"),
    "text": (b"just some words\n" * 200, ".jpg", "a text file under a picture's name (.jpg)"),
    "page": (b"<!DOCTYPE html><p>gone", ".png", "a web page under a picture's name (.png)"),
    "noise": (bytes(range(7, 90)), ".gif", "unknown bytes under a picture's name (.gif)"),
    "jpeg": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "JPEG")),
        ".jpg",
        "the JPEG file is cut short",
    ),
    "progressive": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "JPEG", progressive=True)),
        ".jpg",
        "the JPEG file is cut short",
    ),
    "draft": (
        pictures.cut(pictures.encoded(pictures.photo(1300, 1200), "JPEG")),
        ".jpg",
        "the JPEG file is cut short",
    ),
    "png": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "PNG")),
        ".png",
        "the PNG file is cut short",
    ),
    "gif": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "GIF")),
        ".gif",
        "the GIF file is cut short",
    ),
    "bmp": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "BMP")),
        ".bmp",
        "the BMP file is cut short",
    ),
    "webp": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "WEBP")),
        ".webp",
        "damaged or cut short WEBP",
    ),
    "tiff": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "TIFF")),
        ".tif",
        "the TIFF file is cut short",
    ),
    "avif": (
        pictures.cut(pictures.encoded(pictures.photo(300, 200), "AVIF")),
        ".avif",
        "damaged or cut short AVIF",
    ),
    "heic": (pictures.cut(pictures.HEIC), ".heic", "damaged or cut short HEIC"),
    "header": (b"\x89PNG\r\n\x1a\n" + bytes(60), ".png", "damaged or cut short PNG"),
    "start": (b"\xff\xd8\xff\xe0", ".jpg", "damaged or cut short JPEG: its header"),
    "bomb": (pictures.bomb(), ".png", "too many pixels: 60000 x 60000 is over the limit of 250"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_say_why_in_one_plain_line(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, suffix, wanted = BAD[name]
    picture = decode(content, suffix=suffix)
    assert isinstance(picture, Undecodable)
    assert wanted in picture.reason
    assert picture.empty == (name == "empty")
    assert "\n" not in picture.reason
    assert "<" not in picture.reason
    assert capfd.readouterr() == ("", "")


def test_pixel_cap_counts_by_the_header_in_every_kind() -> None:
    for _, maker in pictures.MAKERS.values():
        picture = decode(maker(pictures.quadrants(40, 30)), pixel_cap=1199)
        assert isinstance(picture, Undecodable)
        assert "too many pixels: 40 x 30" in picture.reason
        assert isinstance(decode(maker(pictures.quadrants(40, 30)), pixel_cap=1200), Picture)


def test_pillows_own_limits_and_warnings_are_left_as_they_were() -> None:
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Over Pillow's limit of 89 megapixels and under ours.
        content = pictures.encoded(Image.new("1", (10_000, 9_100)), "PNG")
        assert isinstance(decode(content), Picture)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("head", "suffix", "kind"),
    [
        (b"\xff\xd8\xff\xe0", ".txt", "JPEG"),
        (b"\xff\xd8\xff\xe0", ".dng", "JPEG"),
        (b"II*\0", ".tif", "TIFF"),
        (b"II*\0", "", "TIFF"),
        (b"II*\0", ".nef", "NEF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", ".cr3", "CR3"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0qt  ", ".mov", None),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", ".mp4", None),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", ".bin", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ".bin", "HEIC"),
        (b"BM the car maker, a text of some length", ".txt", None),
        (b"RIFF\x10\0\0\0WAVEfmt ", ".wav", None),
        (b"%PDF-1.7", ".jpg", None),
        (b"", ".jpg", None),
    ],
)
def test_recognise(head: bytes, suffix: str, kind: str | None) -> None:
    assert recognise(head, suffix) == kind


RAW_CASES = {1: CORNERS, 3: ORIENTED[3], 6: ORIENTED[6], 8: ORIENTED[8]}


@pytest.mark.parametrize("orientation", RAW_CASES)
def test_raw_files_give_their_preview_upright(orientation: int) -> None:
    pytest.importorskip("rawpy")
    preview = pictures.encoded(pictures.quadrants(320, 240), "JPEG", quality=95)
    picture = decoded(pictures.dng(preview, orientation=orientation), suffix=".dng")
    assert picture.format == "DNG"
    assert (picture.width, picture.height) == ((48, 64) if orientation > 4 else (64, 48))
    assert near(corners(picture.pixels), RAW_CASES[orientation])


def test_raw_preview_with_an_orientation_of_its_own() -> None:
    pytest.importorskip("rawpy")
    preview = pictures.turned(pictures.quadrants(320, 240), "JPEG", 3, quality=95)
    # As cameras write it: EXIF first, no JFIF segment (20 bytes with the start mark) before it.
    preview = preview[:2] + preview[20:]
    picture = decoded(pictures.dng(preview, orientation=6), suffix=".dng")
    assert near(corners(picture.pixels), ORIENTED[3])


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("left", [b"", b"\xff"])
def test_a_jpeg_without_the_marker_that_ends_it_is_whole(mode: str, left: bytes) -> None:
    image = pictures.quadrants(203, 101).convert(mode)
    content = pictures.encoded(image, "JPEG", quality=90)
    assert content.endswith(b"\xff\xd9")
    picture = decoded(content[:-2] + left, suffix=".jpg")
    assert picture.damage == ""
    assert np.abs(picture.pixels.astype(int) - decoded(content, suffix=".jpg").pixels).max() <= 8


@pytest.mark.parametrize("missing", [6, 40, 2000])
def test_a_jpeg_without_its_last_pixels_is_cut_short(missing: int) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 130, 3), np.uint8)
    content = pictures.encoded(Image.fromarray(noise), "JPEG", quality=90)
    picture = decode(content[:-missing], suffix=".jpg")
    assert picture == Undecodable("the JPEG file is cut short")


def test_a_progressive_jpeg_without_its_last_scans_is_cut_short() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 130, 3), np.uint8)
    content = pictures.encoded(Image.fromarray(noise), "JPEG", quality=90, progressive=True)
    first = content.index(b"\xff\xda")
    scans = [at for at in range(first + 2, len(content) - 1) if content[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for at in scans:
        before = content.rindex(b"\xff\xc4", 0, at)  # the tables of the scan come before it
        for end in (before, at):
            assert decode(content[:end], suffix=".jpg") == Undecodable("the JPEG file is cut short")


def test_damaged_raw() -> None:
    pytest.importorskip("rawpy")
    picture = decode(b"II*\0" + bytes(500), suffix=".nef")
    assert picture == Undecodable("damaged or cut short NEF: its contents cannot be decoded")
