"""Details: what a file says of its picture beside the pixels, and what was found wrong with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from imgclust.catalog.cursor import Table

_CHUNK = 5000


@dataclass(frozen=True)
class Details:
    """What the file of a content says: `taken` as its camera's clock showed, `damage` in words."""

    taken: str | None = None
    camera: str | None = None
    damage: str = ""


@dataclass(frozen=True)
class Facts:
    """When and by what an image was taken, and what is damaged about it.

    `taken` is ISO 8601, with an offset where it is known; `taken_from` is "exif", or "file" for
    the time of the last change of the file, or None where neither is known.
    """

    taken: str | None = None
    taken_from: str | None = None
    camera: str | None = None
    damage: str = ""


_FACTS = """
SELECT i.id, d.taken, d.camera, coalesce(d.damage, ''), o.mtime_ns FROM images i
LEFT JOIN details d ON d.content = i.content LEFT JOIN observations o ON o.path = i.path
"""


class DetailTable(Table):
    """The table details."""

    def put(self, rows: Iterable[tuple[int, Details]]) -> None:
        """Note the details of contents; earlier ones are replaced."""
        self._executemany(
            "INSERT INTO details VALUES (?, ?, ?, ?) ON CONFLICT (content) DO UPDATE SET "
            "taken = excluded.taken, camera = excluded.camera, damage = excluded.damage",
            [(key, one.taken, one.camera, one.damage) for key, one in rows],
        )

    def lacking(self, *, after: int, limit: int) -> list[int]:
        """Contents above `after` whose details were never read, in the order of their keys."""
        rows = self._execute(
            "SELECT key FROM contents c WHERE key > ? AND NOT EXISTS "
            "(SELECT 1 FROM details d WHERE d.content = c.key) ORDER BY key LIMIT ?",
            (after, limit),
        )
        return [int(key) for (key,) in rows]

    def count_damaged(self) -> int:
        """Number of images whose file is damaged and gives a picture nevertheless."""
        return int(
            self._execute(
                "SELECT count(*) FROM details d JOIN images i ON i.content = d.content "
                "WHERE d.damage <> ''"
            ).get
        )

    def damaged(self, *, limit: int = -1) -> list[tuple[int, bytes, str]]:
        """These images: id, path, and what is damaged, by path; `limit` unless it is -1."""
        rows = self._execute(
            "SELECT i.id, i.path, d.damage FROM details d JOIN images i ON i.content = d.content "
            "WHERE d.damage <> '' ORDER BY i.path LIMIT ?",
            (limit,),
        )
        return [(int(image), bytes(path), str(damage)) for image, path, damage in rows]

    def of_images(self, images: Sequence[int]) -> dict[int, Facts]:
        """The facts of images, by id."""
        found: dict[int, Facts] = {}
        for start in range(0, len(images), _CHUNK):
            part = json.dumps([int(one) for one in images[start : start + _CHUNK]])
            rows = self._execute(
                f"{_FACTS} WHERE i.id IN (SELECT value FROM json_each(?))", (part,)
            )
            found.update(_facts(rows))
        return found

    def all(self) -> Iterator[tuple[int, Facts]]:
        """The facts of all images, some at a time, by id."""
        after = 0
        while True:
            rows = self._execute(f"{_FACTS} WHERE i.id > ? ORDER BY i.id LIMIT ?", (after, _CHUNK))
            page = list(_facts(rows))
            yield from page
            if len(page) < _CHUNK:
                return
            after = page[-1][0]


def _facts(
    rows: Iterable[tuple[int, str | None, str | None, str, int | None]],
) -> Iterator[tuple[int, Facts]]:
    for image, taken, camera, damage, changed in rows:
        if taken is not None:
            yield image, Facts(taken, "exif", camera, damage)
        else:
            by_file = _local(changed)
            yield image, Facts(by_file, by_file and "file", camera, damage)


def _local(changed_ns: int | None) -> str | None:
    """A file's time in the time of this machine; None for one that no calendar has."""
    if changed_ns is None or changed_ns <= 0:
        return None
    try:
        moment = time.localtime(changed_ns // 10**9)
        offset = time.strftime("%z", moment)
        text = time.strftime("%Y-%m-%dT%H:%M:%S", moment)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{text}{offset[:3]}:{offset[3:5]}" if len(text) == 19 and offset else None
