"""Why bytes give no picture, in plain words."""

from __future__ import annotations

import contextlib
import io

from PIL import TiffImagePlugin, UnidentifiedImageError

from imgclust.images.headers import (
    CR3_SIGNATURE,
    HEAD_BYTES,
    RAW_FORMATS,
    RAW_SIGNATURES,
    TIFF_SIGNATURES,
)

# Kinds of files that are found under pictures' names: signature, where it is, what it is.
_OTHERS: tuple[tuple[bytes, int, str], ...] = (
    (b"8BPS", 0, "a Photoshop file (PSD)"),
    (b"%PDF-", 0, "a PDF document"),
    (b"%!PS", 0, "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", 0, "a PostScript file"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", 0, "a JPEG XL picture"),
    (b"\xff\x0a", 0, "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", 0, "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 picture"),
    (b"\0\0\1\0", 0, "a Windows icon (ICO)"),
    (b"\0\0\2\0", 0, "a Windows cursor (CUR)"),
    (b"icns", 0, "a macOS icon (ICNS)"),
    (b"\x76\x2f\x31\x01", 0, "an OpenEXR picture"),
    (b"#?RADIANCE", 0, "a Radiance picture (HDR)"),
    (b"DDS ", 0, "a DirectDraw picture (DDS)"),
    (b"gimp xcf", 0, "a GIMP file (XCF)"),
    (b"\x0a\x05\x01", 0, "a PCX picture"),
    (b"II\xbc\1", 0, "a JPEG XR picture"),
    (b"\x01\xda", 0, "an SGI picture"),
    (b"\x59\xa6\x6a\x95", 0, "a Sun raster picture"),
    (b"qoif", 0, "a QOI picture"),
    (b"BPG\xfb", 0, "a BPG picture"),
    (b"FORM", 0, "an IFF picture"),
    (b"PK\3\4", 0, "a ZIP archive"),
    (b"\x1f\x8b", 0, "a gzip archive"),
    (b"Rar!", 0, "a RAR archive"),
    (b"7z\xbc\xaf", 0, "a 7-Zip archive"),
    (b"\x1aE\xdf\xa3", 0, "a video (Matroska or WebM)"),
    (b"ftypcrx", 4, "a Canon RAW file (CR3)"),
    (b"ftyp", 4, "a video or another file of MP4's kind"),
    (b"moov", 4, "a video (QuickTime)"),
    (b"mdat", 4, "a video (QuickTime)"),
    (b"AVI ", 8, "a video (AVI)"),
    (b"WAVE", 8, "a sound (WAV)"),
    (b"ID3", 0, "a sound (MP3)"),
    (b"OggS", 0, "a sound or video (Ogg)"),
    (b"SQLite format 3", 0, "a database (SQLite)"),
    (b"\x7fELF", 0, "a program"),
    (b"MZ", 0, "a program"),
    (b"P1", 0, "a Netpbm picture"),
    (b"P2", 0, "a Netpbm picture"),
    (b"P3", 0, "a Netpbm picture"),
    (b"P4", 0, "a Netpbm picture"),
    (b"P5", 0, "a Netpbm picture"),
    (b"P6", 0, "a Netpbm picture"),
)
# Words of decoders for what they could read if they knew how.
_UNSUPPORTED = (
    *("unsupported", "not supported", "unknown pixel mode", "unknown compression"),
    *("not available", "cannot handle", "not implemented", "unknown raw mode", "only supported"),
    *("unknown data organization", "cannot be decoded by"),
)
_RARE = {34661: "JBIG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL"}
_CUT = ("truncated", "unexpected end", "not enough data", "buffer is not large enough")
# Start-of-frame markers of JPEG (ITU T.81, table B.1) that no common decoder knows.
_FRAMES = {
    0xC3: "lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical JPEG"),
    **dict.fromkeys((0xCB, 0xCD, 0xCE, 0xCF), "lossless or hierarchical JPEG"),
    0xF7: "JPEG-LS",
}


def describe_unknown(head: bytes, suffix: str) -> str:
    """Say in plain words what bytes are that no signature of a picture fits."""
    for signature, at, what in _OTHERS:
        if head[at : at + len(signature)] == signature and _is(signature, head):
            return f"{what} under a picture's name ({suffix}); imgclust does not read that kind"
    # The cut at the end of `head` may fall within a character.
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        text = ""
    if text and not any(ord(letter) < 32 and letter not in "\t\n\r\f\x1b" for letter in text):
        start = text.lstrip("\ufeff \t\r\n").lower()
        if start.startswith(("<!doctype html", "<html")):
            return f"a web page under a picture's name ({suffix})"
        if "<svg" in start:
            return f"an SVG drawing under a picture's name ({suffix})"
        return f"a text file under a picture's name ({suffix})"
    return f"not a picture: unknown bytes under a picture's name ({suffix})"


# Tags of TIFF, and kinds of pictures that only a RAW file has.
_SUBFILE, _PHOTOMETRIC, _SENSOR = 254, 262, (32803, 34892)
# SubIFDs, CFARepeatPatternDim, CFAPattern, DNGVersion.
_OF_RAW = frozenset({330, 33421, 33422, 50706})


def _is(signature: bytes, head: bytes) -> bool:
    """A signature of two letters begins texts too: white space follows Netpbm's."""
    if signature[:1] == b"P" and len(signature) == 2:
        return head[2:3] in {b" ", b"\n", b"\r", b"\t"}
    return signature != b"MZ" or b"\0" in head[:64]


def is_out_of_memory(error: BaseException) -> bool:
    """True for a lack of memory, and not for a size in a file that no memory would hold."""
    message = str(error).lower()
    short = any(word in message for word in ("out of memory", "cannot allocate", "memory alloc"))
    return short and not any(word in message for word in ("limit", "exceed", "security", "invalid"))


def reason(error: BaseException, kind: str, content: bytes) -> str:
    """Why a file of a known kind cannot be decoded."""
    error = _cause(error, content)
    message = str(error).lower()
    if kind in RAW_FORMATS and is_plain_tiff(content):
        kind = "TIFF"
    elif kind in RAW_FORMATS and (other := _not_raw(content, f".{kind.lower()}")):
        return other
    if kind == "TIFF" and isinstance(error, KeyError):
        return f"a TIFF file of a sort that is not supported (compression {_shown(error)})"
    if kind == "JPEG":
        frame = _frame(content)
        if frame:
            return f"{frame} is not supported"
    if kind == "TIFF" and (name := _rare_compression(content)):
        return f"a TIFF file of a sort that is not supported (compression {name})"
    if any(word in message for word in _UNSUPPORTED) and "not raw" not in message:
        return f"a {kind} file of a sort that is not supported ({_shown(error)})"
    if any(word in message for word in _CUT):
        return f"the {kind} file is cut short"
    if "limit" in message and ("exceed" in message or "security" in message):
        return f"damaged {kind}: a size in it is larger than the file can hold"
    if isinstance(error, UnidentifiedImageError):
        return f"damaged or cut short {kind}: its header cannot be read"
    return f"damaged or cut short {kind}: its contents cannot be decoded"


def is_plain_tiff(content: bytes, *, surely: bool = False) -> bool:
    """Whether the first page of a TIFF file is a picture: in a RAW file it is a small one.

    `surely`: nothing in it is as in a RAW file, of whatever camera.
    """
    if not content.startswith(TIFF_SIGNATURES) or content[8:10] == b"CR":
        return False
    try:
        tags = TiffImagePlugin.TiffImageFile(io.BytesIO(content)).tag_v2
        if int(tags.get(_SUBFILE, 0)) & 1 or tags.get(_PHOTOMETRIC) in _SENSOR:
            return False
    except Exception:  # an absurd header
        return False
    return not surely or _OF_RAW.isdisjoint(tags)


def _not_raw(content: bytes, suffix: str) -> str:
    """What it is that a RAW file's name leads astray about; "" for what may be a RAW file."""
    if content.startswith(TIFF_SIGNATURES):
        with contextlib.suppress(Exception):
            if 0 not in TiffImagePlugin.TiffImageFile(io.BytesIO(content)).size:
                return f"a RAW file ({suffix}) of a camera that is not supported, or a damaged one"
        return ""
    if content.startswith(RAW_SIGNATURES) or content[4:12] == CR3_SIGNATURE:
        return ""
    return describe_unknown(content[:HEAD_BYTES], suffix)


def _cause(error: BaseException, content: bytes) -> BaseException:
    """What made Pillow say that it cannot identify a file of a kind that it knows."""
    if isinstance(error, UnidentifiedImageError) and content.startswith(TIFF_SIGNATURES):
        try:
            TiffImagePlugin.TiffImageFile(io.BytesIO(content))
        except Exception as cause:
            first = cause.args[0] if cause.args else None
            return first if isinstance(first, Exception) else cause
    return error


def _rare_compression(content: bytes) -> str:
    """What a TIFF is compressed by, where Pillow's decoder may lack that; "" for others."""
    with contextlib.suppress(Exception):
        tags = TiffImagePlugin.TiffImageFile(io.BytesIO(content)).tag_v2
        return _RARE.get(tags.get(259, 1), "")
    return ""


def _shown(error: BaseException) -> str:
    first = error.args[0] if error.args else ""
    text = first.decode("ascii", "replace") if isinstance(first, bytes) else str(error)
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words.replace("<", "").replace(">", "")[:80]


def _frame(content: bytes) -> str:
    """What kind of JPEG it is, where that is one that decoders do not know; "" for others."""
    at = 2
    while at + 9 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker in _FRAMES:
            return _FRAMES[marker]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            bits = content[at + 4]
            return "" if bits == 8 else f"JPEG with {bits} bits a sample"
        if marker == 0xDA:
            return ""
        at += 2 if marker == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return ""
