"""Shared wording: paths, numbers and times as people read them, and sentences said in many places.

Plain ASCII but for names, so that it fits every terminal. A path becomes text in two ways only:
`printable` for a line (a terminal, a message, a log), and `path_text` for a document that has the
bytes beside it where they matter (JSON, CSV, HTML).
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence

# Log level of what a service says in passing, as commands do: more than information, no warning.
NOTE = 25

NO_CLUSTERS = "there are no clusters yet; make them with imgclust cluster"

# Of a list of ids or names, so many are named; the others are counted.
_NAMED = 12
_LONGEST_NAME = 100
_SURROGATE = re.compile("[\udc80-\udcff]")
# They join or part letters (Arabic and Indian scripts), and put emoji and flags together.
_JOINERS = frozenset({"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))})
# Where Unicode adds emoji, and Chinese characters.
_NEWER = (range(0x1F000, 0x1FB00), range(0x20000, 0x40000))


def printable(text: str | bytes | os.PathLike[str]) -> str:
    """Text or a path with what a terminal must not be sent escaped.

    Undecodable bytes become `\\xNN`; control characters (a file's name may hold them) and line
    breaks are escaped as in Python.
    """
    decoded = os.fsdecode(text)
    if decoded.isprintable():
        return decoded
    return "".join(map(_escaped, decoded, f" {decoded}"))


def shows(character: str, before: str) -> bool:
    """Whether a character after another one may be shown as it is.

    So may what joins letters and emoji, where it does, and emoji that are newer than this Python.
    """
    if character.isprintable():
        return True
    if character in _JOINERS:
        return not before.isascii()
    return any(ord(character) in part for part in _NEWER) and ord(character) & 0xFFFE != 0xFFFE


def _escaped(character: str, before: str) -> str:
    if _SURROGATE.match(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    if shows(character, before):
        return character
    return character.encode("unicode_escape").decode("ascii")


def path_text(path: bytes | os.PathLike[str]) -> str:
    """A path as UTF-8 with U+FFFD; where that `loses` something, `in_base64` says it exactly."""
    return os.fsencode(path).decode("utf-8", "replace")


def loses(path: bytes) -> bool:
    """Whether `path_text` is not the whole truth about a path."""
    return path_text(path).encode() != path


def in_base64(path: bytes) -> str:
    """The bytes of a path, exactly."""
    return base64.b64encode(path).decode("ascii")


def one_line(text: str) -> str:
    """A message on one line, printable."""
    return printable(" ".join(text.split()))


# Why images are in the order of their scores; each key is a reason of `clusters.Similarity`.
SIMILARITY_LACKING = {
    "clusters": "similarity is known after the first clustering (imgclust cluster)",
    "images": "similarity needs at least 20 different images when the clusters are made",
    "unfitted": "the current clusters have no similarity (made by an earlier version, or from "
    "fewer than 20 different images); imgclust cluster adds it",
    "recipe": "the current clusters are of other weights; imgclust cluster adds similarity",
    "damaged": "the stored similarity is damaged; imgclust cluster makes it again",
}


def suggested(kind: str, clusters: Sequence[int], images: int, groups: int) -> str:
    """What a person may do about clusters that new images have changed, and the command for it."""
    ids = " ".join(map(str, clusters))
    if kind == "split":
        number = {2: "two", 3: "three", 4: "four"}.get(groups, f"{groups:,}")
        return (
            f"cluster {ids} has become {number} groups: imgclust clusters split {ids} -k {groups}"
        )
    if kind == "merge":
        named = " and ".join(map(str, clusters))
        return f"clusters {named} show the same: imgclust clusters merge {ids}"
    fit = "fits" if images == 1 else "fit"
    return f"{counted(images, 'image')} {fit} no cluster: imgclust cluster"


def rarity(pairs: int | None) -> str:
    """How rare a similarity is: "1 in 500"; empty where that says nothing."""
    return f"1 in {pairs:,}" if pairs is not None and pairs > 1 else ""


def rarity_meant(rarities: Iterable[int | None]) -> str:
    """What rarities mean, by the first of them that says something; empty where none does."""
    first = next((one for one in rarities if rarity(one)), None)
    if first is None:
        return ""
    shown = rarity(first)
    return f"rarity {shown}: at most {shown} pairs of images in this collection is as similar"


def likeness(similarity: float, pairs: int | None) -> str:
    """Similarity and rarity in short: "0.61, 1 in 500"."""
    return ", ".join(filter(None, (f"{similarity:.2f}", rarity(pairs))))


# Why an image is the best copy.
BEST_COPY = {
    "keep": "below --keep",
    "camera": "camera data",
    "raw": "RAW beside it",
    "earliest": "taken earliest",
    "name": "original name",
    "lossless": "lossless",
    "pixels": "most pixels",
    "bytes": "most bytes",
    "oldest": "oldest file",
    "path": "shortest path",
    "first": "added first",
    "detail": "most detail",
    "enlarged": "not enlarged",
}

# What to do about images that are held.
NEXT_STEP = "bring them back, or remove them with imgclust missing accept"


def held(path: bytes, reason: str) -> str:
    """A folder whose images are held, why, and what to do."""
    return f"{printable(path)}: {printable(reason)}; {NEXT_STEP}"


# What to do about folders that cannot be read.
READABLE_STEP = (
    "its images are kept; allow this user to read it, or mount its disk again, "
    "then run imgclust watch"
)


def unreadable(path: bytes, reason: str) -> str:
    """A folder that cannot be read, why, and what to do."""
    return f"{printable(path)} cannot be read ({printable(reason)}): {READABLE_STEP}"


def offline(path: bytes, images: int) -> str:
    """A folder whose disk is not there."""
    return f"{printable(path)} is offline: {counted(images, 'image')} kept"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """ "1 image", "1,203 images"."""
    word = noun if number == 1 else plural or f"{noun}s"
    return f"{number:,} {word}"


def copies_shown(copies: int, before: str = "") -> str:
    """ "and 4,999 copies" of an image whose copies have no row; empty where there is none."""
    return f"{before}and {counted(copies, 'copy', 'copies')}" if copies else ""


def listed(items: Sequence[object]) -> str:
    """ "7, 41"; of many not all are named."""
    named = ", ".join(str(one) for one in items[:_NAMED])
    return named + (f" and {len(items) - _NAMED} more" if len(items) > _NAMED else "")


def joined(items: Sequence[object]) -> str:
    """ "3 and 9", "1, 2 and 3"; of many not all are named."""
    if 1 < len(items) <= _NAMED:
        return f"{listed(items[:-1])} and {items[-1]}"
    return listed(items)


def no_such_cluster(wanted: str, ids: Sequence[int], names: Sequence[str]) -> str:
    """That there is no cluster of this id or name, and which there are."""
    there = f"there are {len(ids):,} clusters" if len(ids) > 1 else "there is 1 cluster"
    there += f": {listed(sorted(ids))}"
    shown = cluster_shown(wanted)
    if not shown.startswith(("'", '"')):
        return f"there is no cluster {shown}; {there}"
    if names:
        return f"no cluster is called {shown}; these have a name: {listed(sorted(names))}"
    return f"no cluster is called {shown}, and none has a name; {there}"


def cluster_shown(wanted: str) -> str:
    """What a person gave for a cluster: an id, or a name in quotes, not all of it if it is long."""
    cut = wanted if len(wanted) <= _LONGEST_NAME else f"{wanted[:_LONGEST_NAME]}..."
    return cut if re.fullmatch(r"-?[0-9]+(\.\.\.)?", cut) else repr(cut)


def no_room(what: str, needed: int, folder: os.PathLike[str], free: int) -> str:
    """That a disk has too little room for something."""
    return f"{what} needs {size(needed)} in {printable(folder)}, and {size(free)} are free"


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """ "512 bytes", "11 MB" (powers of ten)."""
    if count < 1000:
        return counted(count, "byte")
    unit, scale = next(
        (unit, scale) for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if count >= scale
    )
    value = count / scale
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def suffixes(skipped: Mapping[str, int]) -> str:
    """ "1 .mov, 1 .xmp": how many of which suffix, the most first."""
    order = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {suffix or 'without suffix'}" for suffix, number in order)


def moment(wall: float) -> str:
    """A wall clock as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def minute(wall: float) -> str:
    """A wall clock as local date and time, without seconds."""
    return moment(wall)[:16]


def day(wall: float) -> str:
    """A wall clock as local date."""
    return moment(wall)[:10]
