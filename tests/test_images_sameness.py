"""Sameness: what encoding and size explain, and every small change that they do not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from imgclust.images.decoder import Picture, Undecodable, decode
from imgclust.images.headers import header
from imgclust.images.pixel_similarity import Sameness, sameness

MOST_PX = 1_000_000


def photo(seed: int = 0, size: tuple[int, int] = (240, 160)) -> Image.Image:
    """Blobs of colour with some grain, as in a photo."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float32)
    grain = np.asarray(
        Image.fromarray(rng.integers(0, 256, (size[1] // 3, size[0] // 3), np.uint8)).resize(size),
        np.float32,
    )
    return Image.fromarray((0.8 * smooth + 0.2 * grain[..., None]).clip(0, 255).astype(np.uint8))


def page(text: str) -> Image.Image:
    picture = Image.new("RGB", (900, 600), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for row in range(24):
        draw.text(
            (30, 20 + 24 * row), f"row {row} of a long table, total 18{row:02}", "black", font
        )
    draw.text((500, 300), text, "black", font)
    return picture


def drawing(seed: int, ink: str, side: int = 96) -> Image.Image:
    """Strokes on a transparent ground."""
    rng = np.random.default_rng(seed)
    mask = Image.new("L", (side, side), 0)
    for _ in range(3):
        one, other = rng.integers(8, side - 8, 2).tolist(), rng.integers(8, side - 8, 2).tolist()
        ImageDraw.Draw(mask).line((*one, *other), fill=255, width=6)
    picture = Image.new("RGBA", (side, side), ink)
    picture.putalpha(mask)
    return picture


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def whole(content: bytes) -> np.ndarray:
    found = decode(content, whole_px=MOST_PX)
    assert isinstance(found, Picture)
    return found.pixels


def compared(one: Image.Image, other: Image.Image, **encoding: object) -> Sameness:
    """Two pictures that are encoded in this way, PNG by default."""
    options = encoding or {"kind": "PNG"}
    return sameness(whole(encoded(one, **options)), whole(encoded(other, **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 75}),
        ("JPEG", {"quality": 60, "progressive": True}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 70}),
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
    ],
)
@pytest.mark.parametrize("draw", [photo, lambda: page("42")])
def test_the_same_encoded_again(draw, kind: str, options: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    picture = draw()
    again = whole(encoded(picture, kind, **options))
    assert sameness(whole(encoded(picture, "PNG")), again) is Sameness.SAME


@pytest.mark.parametrize("share", [0.25, 0.4, 0.5])
def test_smaller_copies_hold_less(share: float) -> None:
    picture = photo()
    small = picture.resize((round(share * 240), round(share * 160)), Image.Resampling.LANCZOS)
    one, other = whole(encoded(picture, "PNG")), whole(encoded(small, "JPEG", quality=85))
    assert sameness(one, other) is Sameness.FIRST
    assert sameness(other, one) is Sameness.SECOND


@pytest.mark.parametrize(
    "enlarge",
    [
        Image.Resampling.NEAREST,
        Image.Resampling.BOX,
        Image.Resampling.BILINEAR,
        Image.Resampling.BICUBIC,
    ],
)
def test_an_enlarged_copy_holds_no_more(enlarge: Image.Resampling) -> None:
    picture = photo()
    for size in ((480, 320), (360, 240)):
        assert compared(picture, picture.resize(size, enlarge)) is Sameness.SAME


@pytest.mark.parametrize("orientation", range(1, 9))
def test_copies_turned_by_exif(orientation: int) -> None:
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture, exif = photo(), Image.Exif()
    exif[0x0112] = orientation
    turned = picture if orientation == 1 else picture.transpose(back[orientation])
    again = whole(encoded(turned, "JPEG", quality=90, exif=exif))
    assert sameness(whole(encoded(picture, "PNG")), again) is Sameness.SAME


def test_deep_grey_is_the_same_grey() -> None:
    grey = photo().convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert compared(grey, deep) is Sameness.SAME


def test_one_digit_of_a_page() -> None:
    for one, other in (("total 18", "total 19"), ("3.10", "8.10"), ("total 18", "total")):
        assert compared(page(one), page(other)) is Sameness.OTHER
        assert compared(page(one), page(other), kind="JPEG", quality=80) is Sameness.OTHER


def changed(what: str) -> Image.Image:
    picture = photo()
    draw = ImageDraw.Draw(picture)
    match what:
        case "a small thing":
            draw.ellipse((100, 60, 110, 70), fill=(250, 30, 30))
        case "a caption":
            draw.text((20, 140), "holidays", "white", ImageFont.load_default(12))
        case "shifted":
            picture = picture.crop((2, 1, 240, 160)).resize((240, 160))
        case "cropped":
            picture = picture.crop((12, 8, 228, 152))
        case "mirrored":
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        case "one colour":
            blue = Image.new("RGB", (40, 40), (60, 60, 200))
            part = Image.blend(picture.crop((50, 50, 90, 90)), blue, 0.2)
            picture.paste(part, (50, 50))
        case "another hue":
            part = picture.crop((50, 50, 90, 90)).convert("YCbCr")
            light, one, other = part.split()
            part = Image.merge("YCbCr", (light, other, one)).convert("RGB")
            picture.paste(part, (50, 50))
        case "brighter":
            picture = picture.point(lambda value: min(255, value + 12))
        case "other":
            picture = photo(1)
    return picture


@pytest.mark.parametrize(
    "what",
    [
        "a small thing",
        "a caption",
        "shifted",
        "cropped",
        "mirrored",
        "one colour",
        "another hue",
        "brighter",
        "other",
    ],
)
def test_what_is_another_picture(what: str) -> None:
    assert compared(photo(), changed(what)) is Sameness.OTHER
    assert compared(photo(), changed(what), kind="JPEG", quality=70) is Sameness.OTHER


@pytest.mark.parametrize("ink", ["white", "black", "red"])
def test_drawings_on_transparency_are_told_apart(ink: str) -> None:
    for seed in range(1, 5):
        assert compared(drawing(0, ink), drawing(seed, ink)) is Sameness.OTHER
    again = whole(encoded(drawing(0, ink), "WEBP", lossless=True))
    assert sameness(whole(encoded(drawing(0, ink), "PNG")), again) is Sameness.SAME
    assert compared(drawing(0, "white"), drawing(0, "black")) is Sameness.OTHER


def test_a_flattened_copy_holds_less() -> None:
    for ink, ground in (("red", "white"), ("black", "white"), ("white", "black")):
        picture = drawing(0, ink)
        flat = Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture)
        assert compared(picture, flat.convert("RGB")) is Sameness.FIRST
        assert compared(flat.convert("RGB"), picture) is Sameness.SECOND
    plain = Image.new("RGB", (96, 96), "white")
    assert compared(drawing(0, "white"), plain) is Sameness.OTHER  # nothing is to be seen on it
    large = drawing(0, "red").resize((48, 48))
    flat = Image.alpha_composite(Image.new("RGBA", (96, 96), "white"), drawing(0, "red"))
    assert compared(large, flat.convert("RGB")) is Sameness.OTHER  # each has what the other lacks


@pytest.mark.parametrize("side", [16, 24, 32, 64])
def test_letters(side: int) -> None:
    def letter(sign: str) -> Image.Image:
        picture = Image.new("RGB", (side, side), "white")
        ImageDraw.Draw(picture).text(
            (side / 2, side / 2), sign, "black", ImageFont.load_default(0.8 * side), anchor="mm"
        )
        return picture

    for one, other in ("ce", "co", "il", "mn", "38", "OQ"):
        assert compared(letter(one), letter(other)) is Sameness.OTHER
        assert compared(letter(one), letter(one)) is Sameness.SAME
        if side > 16:
            again = whole(encoded(letter(one), "JPEG", quality=90))
            assert sameness(whole(encoded(letter(one), "PNG")), again) is Sameness.SAME


def test_files_with_several_pictures_are_not_compared() -> None:
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        content = encoded(photo(), kind, save_all=True, append_images=[photo(1)])
        assert isinstance(decode(content, whole_px=MOST_PX), Undecodable)
        assert isinstance(decode(content), Picture)


def test_whole_pictures_are_no_larger_than_asked() -> None:
    content = encoded(photo(size=(1200, 800)), "JPEG", quality=90)
    found = decode(content, whole_px=240_000)
    assert isinstance(found, Picture)
    assert (found.width, found.height) == (1200, 800)
    assert found.pixels.shape == (400, 600, 3)
    assert decode(encoded(drawing(0, "red"), "PNG"), whole_px=MOST_PX).pixels.shape == (96, 96, 4)  # type: ignore[union-attr]
    opaque = encoded(photo().convert("RGBA"), "PNG")
    assert decode(opaque, whole_px=MOST_PX).pixels.shape == (160, 240, 3)  # type: ignore[union-attr]


def test_headers(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "A camera"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 10:00:00"
    (tmp_path / "camera.jpg").write_bytes(encoded(photo(), "JPEG", exif=exif))
    (tmp_path / "plain.png").write_bytes(encoded(photo(), "PNG"))
    (tmp_path / "damaged.jpg").write_bytes(encoded(photo(), "JPEG", exif=exif)[:40])
    (tmp_path / "link.jpg").symlink_to("camera.jpg")

    def read(name: str) -> tuple[bool, str]:
        found = header(bytes(tmp_path / name))
        return found.camera, found.taken

    assert read("camera.jpg") == (True, "2024:05:01 10:00:00")
    for name in ("plain.png", "damaged.jpg", "link.jpg", "nothing.jpg", "."):
        assert read(name) == (False, "")
