"""What the last search for duplicates found, so that pages and reports can show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgclust.catalog.cursor import Table


@dataclass(frozen=True)
class KnownCopy:
    """An image of a group of copies: its relation to the best one, which comes first."""

    image: int
    content: int
    path: bytes
    format: str
    missing: bool
    relation: str


class DuplicateTable(Table):
    """The table duplicates; whoever writes holds the transaction."""

    def put(self, groups: Iterable[Sequence[tuple[int, int, str]]]) -> None:
        """Keep these groups instead of the earlier ones: image, content and relation of each."""
        self._execute("DELETE FROM duplicates")
        self._executemany(
            "INSERT INTO duplicates VALUES (?, ?, ?, ?, ?)",
            (
                (number, place, *copy)
                for number, group in enumerate(groups)
                for place, copy in enumerate(group)
            ),
        )

    def forget(self, images: Iterable[int]) -> None:
        """These images are in no group any more."""
        self._executemany("DELETE FROM duplicates WHERE image = ?", [(image,) for image in images])

    def groups(self) -> list[list[KnownCopy]]:
        """The groups whose images are still there and as they were, at least two of each."""
        found: dict[int, list[KnownCopy]] = {}
        rows = self._execute(
            "SELECT d.number, i.id, i.content, i.path, c.format, i.state = 'missing', "
            "d.relation FROM duplicates d "
            "JOIN images i ON i.id = d.image AND i.content = d.content "
            "JOIN contents c ON c.key = d.content "
            "ORDER BY d.number, d.place"
        )
        for number, image, content, path, kind, missing, relation in rows:
            copy = KnownCopy(
                int(image), int(content), bytes(path), str(kind), bool(missing), str(relation)
            )
            found.setdefault(int(number), []).append(copy)
        return [group for group in found.values() if len(group) > 1]
