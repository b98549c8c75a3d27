"""Which images are one file: hard links, or names of it through several mounts or roots."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from imgclust.catalog import Image
from imgclust.images import Listings


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
