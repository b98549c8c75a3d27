"""The best copy: the original before what was made from it, then the one with the most pixels."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from imgclust.catalog.images import Image
from imgclust.fs import is_below
from imgclust.images.filestat import Listings
from imgclust.images.headers import RAW_SUFFIXES, Header, header

# Names that messengers, screenshots, editors and file managers give to what they make.
_DERIVED = re.compile(
    r"""
    ^(img|vid|ptt)-\d{8}-wa\d+ | whatsapp | ^received_ | ^signal-\d | telegram | ^fb_img
    | ^photo_\d{4}-\d\d-\d\d_ | ^screen[ _-]?shot | ^thumb(nail)?[s_\d-] | ^copy[ ]of
    | [ _-]copy([ _-]?\(?\d+\)?)?$ | \(\d+\)$ | [ _-](edited|edit|resized|small|preview|thumb)$
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Why one image is better than another, in the order in which they are compared.
REASONS = (
    *("keep", "camera", "raw", "earliest", "name", "lossless", "pixels", "bytes"),
    *("oldest", "path", "first"),
)
DETAIL, ENLARGED = "detail", "enlarged"
# Places in a rank: what says that a file is the original comes before the number of its pixels.
_ORIGIN, _PIXELS = 5, REASONS.index("pixels")

Rank = tuple[int | str, ...]


@dataclass(frozen=True)
class Ranking:
    """Sorts images, the best first.

    Attributes
    ----------
    keep
        Folders whose images are preferred, resolved.
    header
        What reads the header of a file.
    """

    keep: Sequence[bytes] = ()
    header: Callable[[bytes], Header] = header

    def rank(
        self,
        image: Image,
        shape: tuple[int, int, int],
        known: Header,
        raw: set[bytes],
        *,
        written: int = 0,
    ) -> Rank:
        """What an image is sorted by; one place for each of `REASONS`.

        Parameters
        ----------
        shape
            Width and height in pixels and size in bytes.
        known
            The header of its file.
        raw
            Paths of RAW files without their suffix.
        written
            When the file was written last.
        """
        width, height, size = shape
        stem, suffix = os.path.splitext(image.path)
        itself = os.fsdecode(suffix).lower() in RAW_SUFFIXES  # a picture under such a name
        return (
            int(not any(is_below(image.path, folder) for folder in self.keep)),
            int(not known.camera),
            int(stem not in raw or itself),
            known.taken or "~",
            int(is_derived(image.path)),
            int(not known.lossless),
            -width * height,
            -size,
            written,
            len(image.path),
            image.id,
        )


def is_kept(rank: Rank) -> bool:
    """Whether the image is below one of the folders that a person prefers."""
    return rank[0] == 0


def may_be_enlarged(best: Rank, other: Rank) -> bool:
    """Whether nothing but its pixels says that an image is not made from a smaller other one."""
    same = best[:_ORIGIN] == other[:_ORIGIN]
    return same and pixels_of(best) > LARGER * pixels_of(other)


def pixels_of(rank: Rank) -> int:
    """The pixels of an image."""
    return -int(rank[_PIXELS])


# A picture with so many times the pixels of another one is another size of it.
LARGER = 1.1


def is_derived(path: bytes) -> bool:
    """Whether the name says that a program made the file from another picture."""
    stem = os.path.splitext(os.path.basename(path))[0]
    return _DERIVED.search(os.fsdecode(stem)) is not None


def raw_beside(paths: Sequence[bytes]) -> set[bytes]:
    """Paths, without suffix, of the RAW files in the folders of `paths`; each is listed once."""
    found: set[bytes] = set()
    for folder in {os.path.dirname(path) for path in paths}:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    stem, suffix = os.path.splitext(entry.name)
                    if os.fsdecode(suffix).lower() in RAW_SUFFIXES:
                        found.add(os.path.join(folder, stem))
        except OSError:
            continue
    return found


def reason(ranks: Sequence[Rank]) -> str:
    """Why the first of several ranks is the best copy: one of `REASONS`, or `DETAIL`.

    The first of `REASONS` by which it is better than any of the others.
    `DETAIL`: another one ranks higher, but lacks detail or transparency. `ENLARGED`: another one
    has more pixels, and no more detail.
    """
    best, others = ranks[0], ranks[1:]
    better = [one for one in others if one < best]
    if better:
        return ENLARGED if all(may_be_enlarged(one, best) for one in better) else DETAIL
    places = range(len(REASONS))
    return REASONS[min(place for place in places for one in others if one[place] != best[place])]


def by_file(
    images: Iterable[tuple[Image, os.stat_result]],
    tops: Mapping[int, bytes],
    listings: Listings,
) -> list[list[Image]]:
    """Images, in their order, put together by the file that they are: device and inode.

    A name that a stat finds and no listing has is none: another one represents that file.

    Parameters
    ----------
    tops
        Folder of every root, by its number.
    """
    files: dict[tuple[int, int], list[Image]] = {}
    for image, there in images:
        files.setdefault((there.st_dev, there.st_ino), []).append(image)
    found = []
    for same in files.values():
        if len(same) > 1:
            listed = [one for one in same if listings.has(one.path, tops.get(one.root, b"/"))]
            same = listed or same[:1]
        found.append(same)
    return found
