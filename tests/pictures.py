"""Builders of picture files for tests: good ones with known pixels, and bad ones of every kind."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants(width: int = 64, height: int = 32) -> Image.Image:
    """Red, green / blue, white: no turn or flip of it looks the same."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = WHITE
    return Image.fromarray(pixels)


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Something like a photo: soft colours, edges and grain, different for each seed."""
    rng = np.random.default_rng(seed)
    y, x = (side.astype(np.float32) for side in np.ogrid[0:height, 0:width])
    pixels = np.empty((height, width, 3))
    for layer in range(3):
        a, b, c, d = rng.uniform(1, 9, 4)
        waves = np.sin(a * x / width + b) * np.cos(c * y / height + d)
        pixels[..., layer] = 110 + 90 * waves
    for _ in range(8):
        left, top = rng.integers(0, width), rng.integers(0, height)
        pixels[top : top + height // 5, left : left + width // 5] += rng.uniform(-60, 60, 3)
    pixels += rng.normal(0, 4, pixels.shape[:2])[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """`image` as the bytes of a file of Pillow's format `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(image: Image.Image, kind: str, orientation: int, **options: object) -> bytes:
    """`image` as it is, with an EXIF tag that says to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif.tobytes(), **options)


def animated(kind: str, **options: object) -> bytes:
    """Three frames: quadrants, then all black, then all blue."""
    first = quadrants()
    rest = [Image.new("RGB", first.size, colour) for colour in ("black", "blue")]
    return encoded(first, kind, save_all=True, append_images=rest, duration=50, **options)


def png(samples: NDArray[np.generic], colour_type: int, bits: int, **chunks: bytes) -> bytes:
    """A PNG written by hand (PNG specification, section 11).

    `samples` is (height, width) or (height, width, channels) of uint8 or uint16; `chunks` go
    between header and pixels.
    """
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    return png_of(width, height, bits, colour_type, zlib.compress(raw), **chunks)


def png_of(
    width: int, height: int, bits: int, colour_type: int, squeezed: bytes, **chunks: bytes
) -> bytes:
    """A PNG with this header, whatever its compressed pixels say."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(name.encode(), body) for name, body in chunks.items()),
            chunk(b"IDAT", squeezed),
            chunk(b"IEND", b""),
        ]
    )


def grey_tiff(samples: NDArray[np.uint16], order: str) -> bytes:
    """A 16-bit greyscale TIFF written by hand; `order` is "<" or ">"."""
    height, width = samples.shape
    body = samples.astype(f"{order}u2").tobytes()
    fields = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 200), (277, 1)]
    fields += [(278, height), (279, len(body))]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in fields)
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, len(fields)) + entries + bytes(4)
    return head.ljust(200, b"\0") + body


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A few kilobytes that say they are a picture of 3,600 megapixels."""
    return png_of(width, height, 8, 0, zlib.compress(bytes(1_000_000)))


def cut(content: bytes, share: float = 0.6) -> bytes:
    """The first part of a file, as an interrupted copy leaves it."""
    return content[: int(len(content) * share)]


def without_adobe(jpeg: bytes) -> bytes:
    """A JPEG less its APP14 segment, which is where Adobe says how ink is stored."""
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]


def dng(preview: bytes, width: int = 64, height: int = 48, orientation: int = 1) -> bytes:
    """A RAW file written by hand: a colour mosaic, and `preview` (a JPEG) beside it.

    Adobe's DNG specification 1.4: the first directory is the preview, its SubIFD the sensor.
    """
    mosaic = np.full((height, width), 8000, "<u2").tobytes()
    size = Image.open(io.BytesIO(preview)).size

    def directory(at: int, fields: list[tuple[int, int, list[int]]]) -> bytes:
        packing = {1: "B", 3: "H", 4: "I"}
        entries, tail = b"", b""
        tail_at = at + 2 + 12 * len(fields) + 4
        for tag, kind, values in sorted(fields):
            body = struct.pack(f"<{len(values)}{packing[kind]}", *values)
            if len(body) > 4:
                place = struct.pack("<I", tail_at + len(tail))
                tail += body
            else:
                place = body.ljust(4, b"\0")
            entries += struct.pack("<HHI", tag, kind, len(values)) + place
        return struct.pack("<H", len(fields)) + entries + b"\0\0\0\0" + tail

    def text(words: str) -> list[int]:
        return [*words.encode(), 0]

    first_at, sensor_at, mosaic_at = 8, 1000, 2000
    preview_at = mosaic_at + len(mosaic)
    camera = text("imgclust test camera")
    first = directory(
        first_at,
        [
            (254, 4, [1]),
            (256, 4, [size[0]]),
            (257, 4, [size[1]]),
            (258, 3, [8, 8, 8]),
            (259, 3, [7]),
            (262, 3, [6]),
            (271, 1, text("imgclust")),
            (272, 1, camera),
            (273, 4, [preview_at]),
            (274, 3, [orientation]),
            (277, 3, [3]),
            (278, 4, [size[1]]),
            (279, 4, [len(preview)]),
            (330, 4, [sensor_at]),
            (50706, 1, [1, 4, 0, 0]),
            (50708, 1, camera),
        ],
    )
    sensor = directory(
        sensor_at,
        [
            (254, 4, [0]),
            (256, 4, [width]),
            (257, 4, [height]),
            (258, 3, [16]),
            (259, 3, [1]),
            (262, 3, [32803]),
            (273, 4, [mosaic_at]),
            (277, 3, [1]),
            (278, 4, [height]),
            (279, 4, [len(mosaic)]),
            (33421, 3, [2, 2]),
            (33422, 1, [0, 1, 1, 2]),
            (50714, 3, [0]),
            (50717, 3, [65535]),
        ],
    )
    head = struct.pack("<2sHI", b"II", 42, first_at) + first
    body = head.ljust(sensor_at, b"\0") + sensor
    return body.ljust(mosaic_at, b"\0") + mosaic + preview


# `quadrants()` as HEIC, and the same stored to be turned by 90 degrees clockwise. Made once with
# an encoder (x265) that the project neither needs nor ships.
HEIC = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004fZDn*}000000000XXk=`10000000000aA{+7000000000000000"
    "00000B57=IV*mgE07O6l0RRC200001p#T8@00000008*_001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn"
    "01j|zbZr0t000010002}X>f9I0002pX>en20001XXm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU"
    "00093kN^M!000939=ZZRVE_RDDnbDP18@KU0|1Z!00RI30{|YNAb|yz>g1-mxCm%4AOHXZ10VnZ0{|gn00967L;=Bb"
    "z=;3=025<xY;ta6Y<K_x01W^JfB*mh6lrsCWdHyG00000KmY&$KmY&$C}V74Z~y=RKmY&$0RR91AOHXW0RR9100000"
    "0{{R2-~a#s0ssI25O8UDX#fBK00RgJ2mk;87-?{AVE_OC000000RRC7fdT^sga7~m0c~VqbN~PV^(X<a3E&|)G#~%+"
    "JHP+(uy$X(N2(NxKl{dLukiD@|Jf~E?8Oy``=v!VoIUMP)o3AsA9J-z#Y`4^R1FTw!jhZsdbbbpTo3=8lz00b1^>!1"
    "4Z=33|AD%lJ_2hO&((L^|G?gj5_Gra&${y4?SCom%ZAJQR%qTU1L74{J~z><WDM_JETrQOZ>(rGj(?bjqzN!orh;x+"
    "t(FILv^c;G4s_y+`_S~M+eE6|-C8bs{_V;Eh06ePIK8SzIB;wnJozvFaP_?b$iSz9Glupi+cva_QH!)}#nOq}vVEu7"
    "+7J4)Xbo?RcSj<*a_{V{v(5"
)
HEIC_TURNED = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0005VZDn*}000000000XXk=`10000000000aA{+7000000000000000"
    "00000G-+&aV*mgE07O6l0ssL300001>;M4(00000008*_0ssI200QLz0RR9100000Bme*aIB98aW&i*H00062000$f"
    "Zf0cy000000RRAKc4ILB0000LX>Mj^0ssI300IC2MR;ju000004sdC7Z2$lO00031009SSaB^?}008D`aAR)(004Gq"
    "c4I>U18@KU0FVFx0000U@BsY%`1k+-4+CHT0RR|40Sp2E{{wIU00RJ!0009300RIXx&lC90096hLID8-Z~y=U0FVFx"
    "0{{R603M(qfd!W8<fgf}2xu@M00096AOHXZ03l)k0RRR>0l{;?i2wiq6Ju{|a&BX6cmM$a4FCp!0000KX>)L800000"
    "0000$0000$0000eV{Bn?0000$000010000W000010000000002|NsBs000020000GaA|mH000000|*ER00009X>xCL"
    "0{{R38EJ5BVE_OC000000RRC8fdT^sgoXeB02*m>Wo7^X0000001jhhb7KGk009620003cZDe6|0002>C;_ht;2}9Q"
    "AOG?@zyI>Ec3-?lsuYSp`^IRm@bkF;*)3e`#TAJArA0WLJ?&A|Xd!_gbG1svOcr}o4Gzk}lAG^(w-51L5C5E$cl#X$"
    "|H?59!ZxS>fx4YO0&5q~)py(fz}}4#bhqWty7JrYe<|+EhRgd_Xx=LW;uTgtH_@zQ4DVemq~i{6tY|ilf0%}(2{2Tq"
    "f^J!@mIrjSIKT}KbmEKq(DbR>M5^4~S}uD2?aBd#%K&mXy{bnzaBLhr`7i!(^}PYez^8&UhV~}gHnfOQi?nRT(uv!$"
    "eW%&l5Bjud4R4EgM<Tg$@9eCz&Hw-a21R&jW&i+9O#mtY000O80Ra*K0{{R30RRR70000000"
)

# Each kind with the name of its suffix and a maker of its bytes from an image.
MAKERS: dict[str, tuple[str, Callable[[Image.Image], bytes]]] = {
    "JPEG": (".jpg", lambda image: encoded(image, "JPEG", quality=95, subsampling=0)),
    "PNG": (".png", lambda image: encoded(image, "PNG")),
    "WEBP": (".webp", lambda image: encoded(image, "WEBP", lossless=True)),
    "GIF": (".gif", lambda image: encoded(image, "GIF")),
    "BMP": (".bmp", lambda image: encoded(image, "BMP")),
    "TIFF": (".tif", lambda image: encoded(image, "TIFF", compression="tiff_lzw")),
    "AVIF": (".avif", lambda image: encoded(image, "AVIF", quality=95, subsampling="4:4:4")),
}
