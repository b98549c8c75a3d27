"""PNG files taken apart: what Pillow does not tell, and files with wrong checksums."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE_BYTES = 8
# Chunks that change the picture although they are not critical.
_KEPT = {b"tRNS"}
# Without these the first picture of an animation is left.
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_LOWER = 0x20  # this bit of a chunk's first letter says that it can be left out


def significant_bits(content: bytes) -> int | None:
    """What sBIT says of a grey picture: how many bits of its samples count."""
    for name, body, _ in _chunks(content):
        if name == b"sBIT":
            return body[0] if len(body) in {1, 2} else None
        if name == b"IDAT":
            break
    return None


def wrong_checksum(content: bytes) -> str:
    """What is damaged about a PNG that decodes: Pillow reads pixels whatever their checksum."""
    if any(not good and _counts(name) for name, _, good in _chunks(content)):
        return "a checksum is wrong: a part of the picture may be wrong"
    return ""


def repaired(content: bytes) -> bytes:
    """The first picture without damaged chunks that can be spared, the other checksums right."""
    parts = [content[:_SIGNATURE_BYTES]]
    for name, body, good in _chunks(content):
        if name not in _ANIMATION and (good or _counts(name)):
            checksum = zlib.crc32(name + body)
            parts.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum))
    return b"".join(parts)


def _counts(name: bytes) -> bool:
    """True for a chunk without which there is another picture, or none."""
    return not name[0] & _LOWER or name in _KEPT


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Name and body of each whole chunk, and whether its checksum is right."""
    at = _SIGNATURE_BYTES
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        name, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        checksum = content[at + 8 + length : at + 12 + length]
        if len(checksum) < 4:
            return
        yield name, body, int.from_bytes(checksum, "big") == zlib.crc32(name + body)
        at += 12 + length
