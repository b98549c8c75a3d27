#!/usr/bin/env python3
"""Make a drop folder from the sample photos in scripts/samples.

Without an option the photos are copied as they are. `--variations N` writes N altered copies
instead (crops, flips, other exposures, other sizes and encodings), `--mixed N` a folder as
people have it: N pictures of mixed kinds in sub-folders, some names twice, three files that
cannot be read, and two that are no pictures. All pictures of a folder differ in their bytes.
The same arguments give the same bytes (with the same Pillow), and the first pictures of a
longer run are those of a shorter one. A file that is already right is not touched.

  scripts/sample_images.py drop
  scripts/sample_images.py --variations 1000 --seed 7 --manifest made.json drop
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageOps

SAMPLES = Path(__file__).resolve().parent / "samples"
CROP_SIDE = 0.9  # of each side
EXPOSURES = (0.55, 0.7, 1.35, 1.6)  # factors on the pixel values
SCALES = (0.5, 1.25)  # least and most, of each side
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
FOLDERS = ("2023/spring", "2023/summer", "phone/DCIM", "Été à la mer")
ORIENTATION = 0x0112  # the EXIF tag; 6: turn by 90 degrees clockwise to see it upright

Fate = Literal["read", "quarantine", "skip"]
Making = Callable[[Image.Image, random.Random], tuple[bytes, str]]


@dataclass(frozen=True)
class Made:
    """One file of a drop folder.

    Attributes
    ----------
    path
        Relative to the drop folder, with slashes.
    source
        The sample photo it was made from, or None.
    kind
        How it was made.
    fate
        What a reader of the folder should do with it.
    """

    path: str
    source: str | None
    kind: str
    fate: Fate = "read"


def samples() -> list[Path]:
    """Return the sample photos, in order of their names."""
    return sorted((SAMPLES / "photos").glob("*.jpg"))


def categories() -> dict[str, str]:
    """Return the category of each sample photo, by file name."""
    found: dict[str, str] = json.loads((SAMPLES / "categories.json").read_text(encoding="utf-8"))
    return found


def write(path: Path, content: bytes) -> None:
    """Write a file in one step, unless it is already the same; its folder is made."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def copy_samples(folder: Path) -> list[Made]:
    """Copy every sample photo into a folder."""
    for photo in samples():
        write(folder / photo.name, photo.read_bytes())
    return [Made(photo.name, photo.name, "copy") for photo in samples()]


def write_variations(folder: Path, count: int, *, seed: int = 0) -> list[Made]:
    """Write altered copies of the sample photos, each different from the others."""
    made = []
    for i, (source, kind, content, suffix) in enumerate(_pictures(VARIATIONS, count, seed)):
        path = f"picture-{i + 1:05d}.{suffix}"
        write(folder / path, content)
        made.append(Made(path, source, kind))
    return made


def write_mixed(folder: Path, count: int, *, seed: int = 0) -> list[Made]:
    """Write readable pictures of mixed kinds, three broken ones and two files of other kinds.

    Each sub-folder counts its own pictures, so equal names stand in several of them.
    """
    made = []
    for i, (source, kind, content, suffix) in enumerate(_pictures(MIXED, count, seed)):
        number, place = divmod(i, len(FOLDERS))
        path = f"{FOLDERS[place]}/IMG_{number + 1:04d}.{suffix}"
        write(folder / path, content)
        made.append(Made(path, source, kind))
    whole = samples()[0]
    others: list[tuple[Made, bytes]] = [
        (
            Made("phone/DCIM/IMG_9001.jpg", whole.name, "truncated", "quarantine"),
            whole.read_bytes()[: whole.stat().st_size // 2],
        ),
        (Made("phone/DCIM/IMG_9002.jpg", None, "empty", "quarantine"), b""),
        (Made("phone/DCIM/notes.jpg", None, "text", "quarantine"), b"Bring the long lens.\n"),
        (
            Made("phone/DCIM/IMG_0001.xmp", None, "xmp", "skip"),
            b'<?xml version="1.0"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/"/>\n',
        ),
        (
            Made("phone/DCIM/IMG_0001.mov", None, "mov", "skip"),
            b"\0\0\0\x14ftypqt  \0\0\0\0qt  \0\0\0\x08mdat",
        ),
    ]
    for other, content in others:
        write(folder / other.path, content)
        made.append(other)
    return made


def _pictures(
    makings: tuple[tuple[str, Making], ...], count: int, seed: int
) -> Iterator[tuple[str, str, bytes, str]]:
    """Give (source, kind, content, suffix); each picture draws from a generator of its own."""
    photos = samples()
    seen: set[bytes] = set()
    for i in range(count):
        turn, which = divmod(i, len(photos))
        photo = photos[which]
        kind, making = makings[(which + turn) % len(makings)]  # another kind at each turn
        draw = random.Random(f"{seed}/{i}")
        with Image.open(photo) as picture:
            picture.load()
        while True:
            content, suffix = making(picture, draw)
            digest = hashlib.sha256(content).digest()
            if digest not in seen:
                break
        seen.add(digest)
        yield photo.name, kind, content, suffix


def _resized(picture: Image.Image, draw: random.Random) -> Image.Image:
    scale = draw.uniform(*SCALES)
    return picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
        Image.Resampling.LANCZOS,
    )


def _encoded(
    picture: Image.Image,
    draw: random.Random,
    formats: tuple[str, ...] = tuple(SUFFIXES),
    *,
    exif: Image.Exif | None = None,
) -> tuple[bytes, str]:
    """Encode as one of the formats, in a size and a quality that are drawn."""
    form = draw.choice(formats)
    packed = io.BytesIO()
    _resized(picture, draw).save(packed, form, quality=draw.randint(70, 95), exif=exif or b"")
    return packed.getvalue(), SUFFIXES[form]


def crop(picture: Image.Image, draw: random.Random) -> Image.Image:
    """Cut out a part of 90 % of each side, anywhere."""
    width, height = round(picture.width * CROP_SIDE), round(picture.height * CROP_SIDE)
    left = draw.randint(0, picture.width - width)
    top = draw.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def expose(picture: Image.Image, draw: random.Random) -> Image.Image:
    """Multiply the pixel values by one of the exposures."""
    pixels = np.asarray(picture, dtype=np.float32) * draw.choice(EXPOSURES)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def rounded(picture: Image.Image) -> Image.Image:
    """Make the corners transparent, outside of an ellipse."""
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, picture.width - 1, picture.height - 1), fill=255)
    cut = picture.convert("RGBA")
    cut.putalpha(mask)
    return cut


def _turned(picture: Image.Image, draw: random.Random) -> tuple[bytes, str]:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    return _encoded(turned, draw, ("JPEG",), exif=exif)


VARIATIONS: tuple[tuple[str, Making], ...] = (
    ("crop", lambda picture, draw: _encoded(crop(picture, draw), draw)),
    ("flip", lambda picture, draw: _encoded(ImageOps.mirror(picture), draw)),
    ("exposure", lambda picture, draw: _encoded(expose(picture, draw), draw)),
    ("encoding", _encoded),
)
MIXED: tuple[tuple[str, Making], ...] = (
    ("jpeg", lambda picture, draw: _encoded(picture, draw, ("JPEG",))),
    ("alpha", lambda picture, draw: _encoded(rounded(picture), draw, ("PNG",))),
    ("webp", lambda picture, draw: _encoded(picture, draw, ("WEBP",))),
    ("grey", lambda picture, draw: _encoded(picture.convert("L"), draw, ("JPEG", "PNG"))),
    ("turned", _turned),
)


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError(text)
    return count


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    usage, _, example = (__doc__ or "").partition("\n\n  ")
    parser = argparse.ArgumentParser(
        description=usage,
        epilog="examples:\n  " + example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DROP_FOLDER")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--variations", type=_count, metavar="N", help="write N altered copies")
    what.add_argument("--mixed", type=_count, metavar="N", help="write N pictures of mixed kinds")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default 0)")
    parser.add_argument(
        "--manifest", type=Path, metavar="FILE", help="say there, as JSON, what each file is"
    )
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    manifest: Path | None = options.manifest
    if folder.exists() and not folder.is_dir():
        parser.error(f"{folder} is a file; name a folder")
    if manifest is not None and manifest.resolve().is_relative_to(folder.resolve()):
        parser.error(f"{manifest} lies in the drop folder; put the manifest elsewhere")
    folder.mkdir(parents=True, exist_ok=True)
    if options.variations is not None:
        made = write_variations(folder, options.variations, seed=options.seed)
    elif options.mixed is not None:
        made = write_mixed(folder, options.mixed, seed=options.seed)
    else:
        made = copy_samples(folder)
    if manifest is not None:
        listed = {m.path: {"source": m.source, "kind": m.kind, "fate": m.fate} for m in made}
        write(manifest, (json.dumps(listed, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"{folder}: {len(made)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
