"""Labelled pictures for `scripts/bench duplicates`: copies, and pictures that only look like it.

Made from the sample photos and by drawing, the same files for the same arguments. Each family
comes from one source. In a family of copies every file shows the same picture. In any other
family every two files show different pictures, however alike they look.
"""

from __future__ import annotations

import colorsys
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont

SAMPLES = Path(__file__).parent / "samples" / "photos"
_EXIF_ORIENTATION = 0x0112
# What turns a picture so that the orientation turns it back (EXIF 2.32, table 6).
_TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
_WORDS = (
    *("invoice", "total", "amount", "customer", "number", "date", "street", "order", "delivery"),
    *("payment", "account", "balance", "due", "monday", "tuesday", "june", "july", "meeting"),
    *("report", "summary", "page", "table", "figure", "result", "value", "sample", "north"),
    *("south", "river", "bridge", "garden", "window", "paper", "letter", "green", "yellow"),
    *("bright", "quiet", "early", "late", "always"),
)

_COPIED_LETTERS = "abeghkrt"

Picture = Image.Image


@dataclass(frozen=True)
class Family:
    """Files of one source; `held_out` is the half on which no threshold was chosen."""

    kind: str
    copies: bool
    held_out: bool
    files: tuple[Path, ...]

    def pairs(self) -> Iterator[tuple[Path, Path]]:
        """Every two of the files."""
        return itertools.combinations(self.files, 2)


def make(folder: Path, *, photos: int, seed: int = 0) -> list[Family]:
    """Write all files into `folder`; `photos` limits how many of the sample photos are used."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sorted(SAMPLES.glob("*.jpg"))[:photos]
    return [*_copies(folder, chosen, seed), *_others(folder, chosen, seed)]


# Copies


def _copies(folder: Path, photos: Sequence[Path], seed: int) -> Iterator[Family]:
    for number, path in enumerate(photos):
        rng = random.Random(f"{seed} copies {number}")
        photo = _opened(path)
        original = folder / f"copies-{number:03d}-original.jpg"
        original.write_bytes(path.read_bytes())
        files = [original, *_photo_copies(folder, f"copies-{number:03d}", photo, rng)]
        yield Family("photo", True, rng.random() < 0.5, tuple(files))
    for kind, number in [
        *(("screenshot", number) for number in range(len(photos) // 6)),
        *(("scan", number) for number in range(len(photos) // 10)),
        *(("letter", number) for number in range(len(_COPIED_LETTERS))),
    ]:
        rng = random.Random(f"{seed} copies {kind} {number}")
        held_out, name = rng.random() < 0.5, f"copies-{kind}-{number:03d}"
        if kind == "letter":
            picture = glyph(_COPIED_LETTERS[number], 64, _FONTS[0])
        else:
            picture = (screen if kind == "screenshot" else scanned)(rng, _page(rng))
        files = [_saved(picture, folder / f"{name}-original.png")]
        files += _drawing_copies(folder, name, picture)
        yield Family(kind, True, held_out, tuple(files))
    for number in range(max(8, len(photos) // 12)):
        rng = random.Random(f"{seed} copies transparent {number}")
        held_out, name = rng.random() < 0.5, f"copies-transparent-{number:03d}"
        yield Family("transparent", True, held_out, tuple(_transparent_copies(folder, name, rng)))


def _photo_copies(folder: Path, name: str, photo: Picture, rng: random.Random) -> Iterator[Path]:
    def at(rest: str) -> Path:
        return folder / f"{name}-{rest}"

    for quality in (95, 75, 60, 50):
        yield _saved(photo, at(f"jpeg{quality}.jpg"), quality=quality)
    yield _saved(photo, at("progressive.jpg"), quality=85, progressive=True)
    yield _saved(photo, at("webp75.webp"), quality=75)
    yield _saved(photo, at("avif.avif"), quality=60)
    yield _saved(photo, at("lossless.png"))
    yield _saved(photo, at("bitmap.bmp"))
    yield _saved(photo, at("tagged.tiff"))
    once = _saved(photo, at("once.jpg"), quality=80)
    twice = _saved(_opened(once), at("twice.jpg"), quality=70)
    once.unlink()
    yield twice
    filters = (
        Image.Resampling.LANCZOS,
        Image.Resampling.BICUBIC,
        Image.Resampling.BILINEAR,
        Image.Resampling.BOX,
    )
    for share in (0.25, 0.5, 0.75, 1.5, 2.0):
        size = (round(share * photo.width), round(share * photo.height))
        resized = photo.resize(size, rng.choice(filters))
        yield _saved(resized, at(f"size{round(100 * share)}.jpg"), quality=rng.choice((80, 90)))
    orientation = rng.randrange(2, 9)
    yield _turned(photo, at(f"turned{orientation}.jpg"), orientation)
    grey = photo.convert("L")
    if ImageChops.difference(photo, grey.convert("RGB")).getextrema() == ((0, 0),) * 3:
        yield _saved(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), at("deep.png"))


def _drawing_copies(folder: Path, name: str, picture: Picture) -> Iterator[Path]:
    def at(rest: str) -> Path:
        return folder / f"{name}-{rest}"

    for quality in (95, 80, 60):
        yield _saved(picture, at(f"jpeg{quality}.jpg"), quality=quality)
    yield _saved(picture, at("webp.webp"), quality=80)
    yield _saved(picture, at("lossless.webp"), lossless=True)
    yield _saved(picture, at("bitmap.bmp"))
    yield _saved(picture, at("tagged.tiff"), compression="tiff_lzw")
    for share in (0.5, 0.75, 2.0):
        size = (round(share * picture.width), round(share * picture.height))
        yield _saved(picture.resize(size, Image.Resampling.LANCZOS), at(f"size{share}.png"))
    yield _turned(picture, at("turned6.jpg"), 6)


def _transparent_copies(folder: Path, name: str, rng: random.Random) -> Iterator[Path]:
    picture = drawing(rng, (rng.randrange(200), rng.randrange(100), rng.randrange(120)))
    yield _saved(picture, folder / f"{name}-original.png")
    yield _saved(picture, folder / f"{name}-lossless.webp", lossless=True)
    yield _saved(picture, folder / f"{name}-lossy.webp", quality=85)
    yield _saved(picture, folder / f"{name}-tagged.tiff")
    half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    yield _saved(half, folder / f"{name}-half.png")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    yield _saved(flat, folder / f"{name}-flat.png")


# Pictures that look alike


def _others(folder: Path, photos: Sequence[Path], seed: int) -> Iterator[Family]:
    by_photo: list[tuple[str, Callable[[Picture, random.Random], list[Picture]]]] = [
        ("burst, something moves", _moving),
        ("burst, the camera shifts", _shifted),
        ("burst, a blink", _blinking),
        ("colours", _recoloured),
        ("crops", _cropped),
        ("mirrored", _mirrored),
        ("caption or watermark", _captioned),
    ]
    for kind, vary in by_photo:
        for number, path in enumerate(photos):
            rng = random.Random(f"{seed} {kind} {number}")
            held_out = rng.random() < 0.5
            pictures = vary(_opened(path), rng)
            yield _family(folder, kind, number, pictures, rng, held_out)
    few = max(4, len(photos) // 8)
    drawn: list[tuple[str, Callable[[random.Random], list[Picture]], int]] = [
        ("one digit, screenshot", _digits_on_screen, 2 * few),
        ("a few words, screenshot", _words_on_screen, 2 * few),
        ("one digit, scan", _digits_in_scan, 2 * few),
        ("moon phases", _moons, few // 2),
        ("a clock's hand", _clocks, few // 2),
        ("letters, sprites", _letters, few),
        ("dreidel letters", _dreidel, few),
        ("white on transparent", lambda rng: _drawings(rng, (255, 255, 255)), few),
        ("black on transparent", lambda rng: _drawings(rng, (0, 0, 0)), few),
    ]
    for kind, draw, count in drawn:
        for number in range(count):
            rng = random.Random(f"{seed} {kind} {number}")
            held_out = rng.random() < 0.5
            yield _family(folder, kind, number, draw(rng), rng, held_out)
    for number in range(few):
        rng = random.Random(f"{seed} template {number}")
        held_out = rng.random() < 0.5
        inner = [_opened(path) for path in rng.sample(list(photos), min(4, len(photos)))]
        pictures = _templates(inner, rng)
        yield _family(folder, "template, another photo", number, pictures, rng, held_out)


def _family(
    folder: Path,
    kind: str,
    number: int,
    pictures: Sequence[Picture],
    rng: random.Random,
    held_out: bool,
) -> Family:
    """Each picture in a file of its own, half of the families encoded with loss."""
    stem = f"{kind.replace(' ', '_').replace(',', '')}-{number:03d}"
    lossy = rng.random() < 0.5
    files = []
    for member, picture in enumerate(pictures):
        name = f"{stem}-{member:02d}"
        if picture.mode == "RGBA" or not lossy or picture.width < 48:
            files.append(_saved(picture, folder / f"{name}.png"))
        elif rng.random() < 0.2:
            files.append(_saved(picture, folder / f"{name}.webp", quality=rng.choice((70, 85))))
        else:
            files.append(
                _saved(picture, folder / f"{name}.jpg", quality=rng.choice((65, 75, 85, 95)))
            )
    return Family(kind, False, held_out, tuple(files))


def _moving(photo: Picture, rng: random.Random) -> list[Picture]:
    """Three frames in which a small thing moves on."""
    side = max(8, round(rng.uniform(0.04, 0.1) * photo.width))
    thing = Image.new("RGB", (side, side), _colour(rng))
    mask = Image.new("L", thing.size, 0)
    ImageDraw.Draw(mask).ellipse((1, 1, side - 2, side - 2), fill=255)
    left = rng.randrange(photo.width - 4 * side)
    top = rng.randrange(photo.height - side)
    frames, stride = [], rng.randrange(side // 2, side + 1)
    for step in range(3):
        frame = photo.copy()
        frame.paste(thing, (left + step * stride, top), mask)
        frames.append(frame)
    return frames


def _shifted(photo: Picture, rng: random.Random) -> list[Picture]:
    """Three frames of a camera that moves by a few pixels."""
    frames, steps = [], [(0, 0), (rng.randrange(2, 6), rng.randrange(3)), (rng.randrange(3), 6)]
    for right, down in steps:
        box = (right, down, photo.width - 6 + right, photo.height - 6 + down)
        frames.append(photo.crop(box))
    return frames


def _blinking(photo: Picture, rng: random.Random) -> list[Picture]:
    """Eyes open and shut, on a face that is drawn into the photo."""
    size = round(rng.uniform(0.25, 0.4) * photo.height)
    left, top = rng.randrange(photo.width - size), rng.randrange(photo.height - size)
    frames = []
    for shut in (False, True):
        frame = photo.copy()
        draw = ImageDraw.Draw(frame)
        draw.ellipse((left, top, left + size, top + size), fill=(224, 180, 150))
        for side in (0.3, 0.7):
            x, y, r = left + side * size, top + 0.4 * size, 0.07 * size
            if shut:
                draw.line((x - r, y, x + r, y), fill=(120, 80, 60), width=2)
            else:
                draw.ellipse((x - r, y - 0.7 * r, x + r, y + 0.7 * r), fill="white")
                draw.ellipse((x - r / 2, y - r / 2, x + r / 2, y + r / 2), fill=(40, 30, 20))
        frames.append(frame)
    return frames


def _recoloured(photo: Picture, rng: random.Random) -> list[Picture]:
    """As it is, all hues turned, warmer, and with one thing in another colour."""
    hsv = np.asarray(photo.convert("HSV")).copy()
    hsv[..., 0] += np.uint8(rng.randrange(15, 60))
    hsv[..., 1] = np.maximum(hsv[..., 1], 40)
    turned = Image.fromarray(hsv, "HSV").convert("RGB")
    frames = [photo, turned, ImageEnhance.Brightness(photo).enhance(rng.choice((0.85, 1.15)))]
    shirt = photo.copy()
    width, height = round(0.15 * photo.width), round(0.2 * photo.height)
    left, top = rng.randrange(photo.width - width), rng.randrange(photo.height - height)
    one, other = (_tint(shirt, (left, top, width, height), hue) for hue in (0.0, 0.6))
    return [*frames, one, other]


def _tint(photo: Picture, box: tuple[int, int, int, int], hue: float) -> Picture:
    left, top, width, height = box
    red, green, blue = (round(255 * value) for value in colorsys.hsv_to_rgb(hue, 0.6, 0.8))
    part = photo.crop((left, top, left + width, top + height))
    tinted = Image.blend(part, Image.new("RGB", part.size, (red, green, blue)), 0.4)
    mask = Image.new("L", part.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, width - 1, height - 1), 6, fill=255)
    frame = photo.copy()
    frame.paste(tinted, (left, top), mask)
    return frame


def _cropped(photo: Picture, rng: random.Random) -> list[Picture]:
    """The whole and parts of it of the same ratio, down from 0.98 of each side."""
    frames = [photo]
    for share in (0.98, 0.95, 0.9):
        width, height = round(share * photo.width), round(share * photo.height)
        left = rng.randrange(photo.width - width + 1)
        top = rng.randrange(photo.height - height + 1)
        frames.append(photo.crop((left, top, left + width, top + height)))
    return frames


def _mirrored(photo: Picture, rng: random.Random) -> list[Picture]:
    return [photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]


def _captioned(photo: Picture, rng: random.Random) -> list[Picture]:
    """As it is, with a caption, another caption, a date in a corner, and a faint watermark."""
    frames = [photo]
    font = _font(max(11, photo.height // 14))
    for text, at in (
        (_sentence(rng, 3), (8, photo.height - photo.height // 10)),
        (_sentence(rng, 3), (8, photo.height - photo.height // 10)),
        (f"2024-{rng.randrange(10, 13)}-{rng.randrange(10, 28)}", (photo.width // 2, 6)),
    ):
        frame = photo.copy()
        ImageDraw.Draw(frame).text(
            at, text, fill="white", stroke_fill="black", stroke_width=1, font=font
        )
        frames.append(frame)
    layer = Image.new("RGBA", photo.size, (255, 255, 255, 0))
    ImageDraw.Draw(layer).text(
        (photo.width // 8, photo.height // 3),
        _sentence(rng, 2),
        fill=(255, 255, 255, 70),
        stroke_fill=(0, 0, 0, 70),
        stroke_width=1,
        font=_font(photo.height // 6),
    )
    frames.append(Image.alpha_composite(photo.convert("RGBA"), layer).convert("RGB"))
    return frames


def screen(rng: random.Random, lines: Sequence[str]) -> Picture:
    """A window with lines of text."""
    width, height = rng.choice(((1280, 800), (1440, 900), (1920, 1080), (1080, 1920)))
    dark = rng.random() < 0.3
    ground, ink = ((30, 30, 34), (215, 215, 215)) if dark else ((255, 255, 255), (30, 30, 30))
    if rng.random() < 0.3:
        ink = (130, 130, 140)  # pale text
    picture = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width, 40), fill=(70, 90, 140))
    draw.rectangle(
        (0, 41, width // 6, height), fill=tuple((9 * part + 128) // 10 for part in ground)
    )
    px = rng.choice((13, 15, 18, 22))
    font = _font(px, rng.choice(_FONTS[:3]))
    for row, line in enumerate(lines):
        if 60 + row * (px + 9) < height - px:
            draw.text((width // 6 + 20, 60 + row * (px + 9)), line, fill=ink, font=font)
    return picture


def scanned(rng: random.Random, lines: Sequence[str]) -> Picture:
    """A page of paper, a little uneven and noisy."""
    noise = np.random.default_rng(rng.randrange(2**32))
    width, height = 1000, 1414
    picture = Image.new("L", (width, height), 244)
    draw = ImageDraw.Draw(picture)
    font = _font(20, _FONTS[3])
    for row, line in enumerate(lines[:38]):
        draw.text((90, 110 + row * 32), line, fill=45, font=font)
    picture = picture.filter(ImageFilter.GaussianBlur(0.6))
    shade = np.linspace(0, 10, width, dtype=np.float32)[None]
    pixels = np.asarray(picture, np.float32) - shade + noise.normal(0, 2.0, (height, width))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")


def _digits_on_screen(rng: random.Random) -> list[Picture]:
    return _pages(rng, screen, _other_digit)


def _words_on_screen(rng: random.Random) -> list[Picture]:
    return _pages(rng, screen, _other_words)


def _digits_in_scan(rng: random.Random) -> list[Picture]:
    return _pages(rng, scanned, _other_digit)


def _pages(
    rng: random.Random,
    draw: Callable[[random.Random, Sequence[str]], Picture],
    change: Callable[[random.Random, list[str]], list[str]],
) -> list[Picture]:
    """Three pages: each differs from the first in one place, and from the others in two."""
    lines, form = _page(rng), rng.random()
    changed = [change(rng, list(lines)) for _ in range(2)]
    if changed[0] == changed[1]:
        changed.pop()
    return [draw(random.Random(form), one) for one in (lines, *changed)]


def _page(rng: random.Random) -> list[str]:
    lines = []
    for _ in range(20):
        words = [rng.choice(_WORDS) for _ in range(6)]
        words.insert(rng.randrange(6), f"{rng.randrange(1000, 9999)}")
        lines.append(" ".join(words))
    return lines


def _other_digit(rng: random.Random, lines: list[str]) -> list[str]:
    row = rng.randrange(len(lines))
    places = [place for place, sign in enumerate(lines[row]) if sign.isdigit()]
    place = rng.choice(places)
    digit = rng.choice([sign for sign in "0123456789" if sign != lines[row][place]])
    lines[row] = lines[row][:place] + digit + lines[row][place + 1 :]
    return lines


def _other_words(rng: random.Random, lines: list[str]) -> list[str]:
    row = rng.randrange(len(lines))
    words = lines[row].split()
    for place in range(rng.randrange(1, 4)):
        words[-1 - place] = rng.choice([word for word in _WORDS if word != words[-1 - place]])
    lines[row] = " ".join(words)
    return lines


def _moons(rng: random.Random) -> list[Picture]:
    """Seven phases, all of the same moon in the same place."""
    side = rng.choice((48, 64, 128, 256, 480))
    share = rng.uniform(0.15, 0.45)
    y, x = np.mgrid[:side, :side] / side - 0.5
    disc = x**2 + y**2 < share**2
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, 2, (side, side))
    frames = []
    for phase in range(1, 8):
        edge = np.cos(math.pi * phase / 8) * np.sqrt(np.maximum(share**2 - y**2, 0))
        lit = disc & (x > edge)
        pixels = 12 + 6 * disc + 200 * lit + noise
        frame = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")
        frames.append(frame.filter(ImageFilter.GaussianBlur(0.7)))
    return frames


def _clocks(rng: random.Random) -> list[Picture]:
    """Seven times of a day, of which two are a few minutes apart."""
    side = rng.choice((64, 96, 160, 320, 640))
    ground, face = _colour(rng), (245, 240, 225)
    frames = []
    for minute in (0, 5, 12, 20, 31, 44, 57):
        frame = Image.new("RGB", (4 * side, 4 * side), ground)
        draw = ImageDraw.Draw(frame)
        middle, reach = 2 * side, 1.7 * side
        box = (middle - reach, middle - reach, middle + reach, middle + reach)
        draw.ellipse(box, fill=face, outline=(20, 20, 20), width=max(4, side // 20))
        for hour in range(12):
            a, b = (_hand(middle, share * reach, hour / 12) for share in (0.85, 0.95))
            draw.line((*a, *b), fill=(20, 20, 20), width=max(4, side // 25))
        hour_hand = _hand(middle, 0.5 * reach, (10 + minute / 60) / 12)
        draw.line((middle, middle, *hour_hand), fill=(20, 20, 20), width=max(6, side // 12))
        minute_hand = _hand(middle, 0.8 * reach, minute / 60)
        draw.line((middle, middle, *minute_hand), fill=(20, 20, 20), width=max(4, side // 25))
        frames.append(frame.resize((side, side), Image.Resampling.BOX))
    return frames


def _hand(middle: float, reach: float, turn: float) -> tuple[float, float]:
    angle = 2 * math.pi * turn
    return middle + reach * math.sin(angle), middle - reach * math.cos(angle)


def _letters(rng: random.Random) -> list[Picture]:
    """Eight letters or digits of one font, among them pairs that are hard to tell apart."""
    side = rng.choice((16, 24, 32, 48, 64, 96))
    signs = ["c", "e", "o", *rng.sample("abdfghijklmnpqrstuvwxyzABDEFGHKMNPQRS0123456789", 5)]
    font = rng.choice(_FONTS)
    ink, ground = (0, 0, 0), (255, 255, 255)
    if rng.random() < 0.5:
        ink, ground = _colour(rng), (250, 246, 230)
    return [glyph(sign, side, font, ink=ink, ground=ground) for sign in signs]


def _dreidel(rng: random.Random) -> list[Picture]:
    """Nun, gimel, he and shin on the same wood."""
    side = rng.choice((32, 64, 128, 240))
    ground = rng.choice(((196, 150, 98), (160, 110, 70), (240, 240, 240)))
    ink = rng.choice(((60, 30, 10), (20, 40, 120)))
    font = rng.choice(("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"))
    return [glyph(sign, side, font, ink=ink, ground=ground) for sign in "\u05e0\u05d2\u05d4\u05e9"]


def glyph(
    sign: str,
    side: int,
    font: str,
    *,
    ink: tuple[int, int, int] = (0, 0, 0),
    ground: tuple[int, int, int] = (255, 255, 255),
) -> Picture:
    """One letter in the middle of a square."""
    picture = Image.new("RGB", (side, side), ground)
    ImageDraw.Draw(picture).text(
        (side / 2, side / 2), sign, fill=ink, font=_font(round(0.8 * side), font), anchor="mm"
    )
    return picture


def _drawings(rng: random.Random, ink: tuple[int, int, int]) -> list[Picture]:
    """Five different drawings in one ink on a transparent ground."""
    state = rng.randrange(2**32)
    return [drawing(random.Random(f"{state} {number}"), ink, side=256) for number in range(5)]


def drawing(rng: random.Random, ink: tuple[int, int, int], *, side: int = 0) -> Picture:
    """A few strokes on a transparent ground of that colour."""
    side = side or rng.choice((64, 128, 256, 400))
    mask = Image.new("L", (4 * side, 4 * side), 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(rng.randrange(3, 6)):
        box = sorted(rng.randrange(4 * side) for _ in range(2))
        tall = sorted(rng.randrange(4 * side) for _ in range(2))
        shape = (box[0], tall[0], box[1] + 16, tall[1] + 16)
        width = max(8, side // 8)
        match rng.randrange(4):
            case 0:
                draw.ellipse(shape, outline=255, width=width)
            case 1:
                draw.rectangle(shape, outline=255, width=width)
            case 2:
                draw.line(shape, fill=255, width=width)
            case _:
                draw.arc(shape, rng.randrange(180), rng.randrange(200, 360), fill=255, width=width)
    mask = mask.resize((side, side), Image.Resampling.BOX)
    picture = Image.new("RGBA", (side, side), (*ink, 0))
    picture.putalpha(mask)
    return picture


def _templates(inner: Sequence[Picture], rng: random.Random) -> list[Picture]:
    """The same card around another photo."""
    width, height = rng.choice(((800, 600), (1200, 628)))
    card = Image.new("RGB", (width, height), _colour(rng))
    draw = ImageDraw.Draw(card)
    draw.text((40, 30), _sentence(rng, 3), fill="white", font=_font(48))
    draw.text((40, height - 80), _sentence(rng, 5), fill="white", font=_font(24))
    side = round(rng.uniform(0.1, 0.35) * width)
    place = (width - side - 60, height // 2 - side // 3)
    frames = []
    for photo in inner:
        frame = card.copy()
        frame.paste(photo.resize((side, 3 * side // 4)), place)
        frames.append(frame)
    return frames


# Files

_FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneral.ttf",
)


def _font(px: int, name: str = _FONTS[0]) -> ImageFont.FreeTypeFont:
    """A font that comes with Matplotlib."""
    import matplotlib as mpl

    return ImageFont.truetype(str(Path(mpl.get_data_path(), "fonts", "ttf", name)), px)


def _opened(path: Path) -> Picture:
    with Image.open(path) as opened:
        return opened.convert("RGB")


def _saved(picture: Picture, path: Path, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def _turned(picture: Picture, path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = orientation
    turn = _TURNED[orientation]
    return _saved(picture if turn is None else picture.transpose(turn), path, exif=exif, quality=90)


def _sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(words)).capitalize()


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(30, 226), rng.randrange(30, 226), rng.randrange(30, 226)
