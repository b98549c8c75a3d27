"""What people said and decided: corrections, contents taken out, copies found and dismissed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imgclust.catalog.cursor import Table

_COLUMNS = "id, kind, content, other, cluster, made_by, made, follows, near, ended, reason"
KINDS = ("in", "not_in", "together", "apart", "outlier")
NEVER_NEAR = 2.0  # no cosine reaches it


@dataclass(frozen=True)
class Correction:
    """What a person said about a content.

    Attributes
    ----------
    kind
        "in" or "not_in" a `cluster`, "together" with or "apart" from an `other` content, or
        "outlier".
    made_by, made
        "command", "folder" or "gallery", and the wall clock.
    follows
        Number of the correction that it follows: this content is a near copy of that one's, or
        this cluster a part of that one's.
    near
        Cosine from which on an image that arrives is a near copy of this content.
    ended, reason
        When it ended (None: it counts) and why: "removed", "replaced", "changed", "undone" or
        "contradicted".
    """

    id: int
    kind: str
    content: int
    other: int | None
    cluster: int | None
    made_by: str
    made: float
    follows: int | None = None
    near: float = NEVER_NEAR
    ended: float | None = None
    reason: str | None = None

    @property
    def contents(self) -> tuple[int, ...]:
        """The content, or both."""
        return (self.content,) if self.other is None else (self.content, self.other)


class CorrectionTable(Table):
    """The tables corrections and correction_steps; the caller holds the transaction."""

    def add(
        self,
        kind: str,
        content: int,
        *,
        other: int | None = None,
        cluster: int | None = None,
        made_by: str,
        follows: int | None = None,
        near: float = NEVER_NEAR,
    ) -> int:
        """Store a correction; returns its number. Of a pair the smaller content comes first."""
        if other is not None:
            content, other = min(content, other), max(content, other)
        self._execute(
            "INSERT INTO corrections (kind, content, other, cluster, made_by, made, follows, near) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (kind, content, other, cluster, made_by, time.time(), follows, near),
        )
        number = self._connection.last_insert_rowid()
        self._queue_pages([content] if other is None else [content, other])
        return number

    def active(self) -> list[Correction]:
        """Those that count, oldest first; their contents may have left."""
        return self._select("ended IS NULL ORDER BY id")

    def every(self) -> list[Correction]:
        """All that there ever were, oldest first."""
        return self._select("1 ORDER BY id")

    def numbered(self, number: int) -> Correction | None:
        """The correction with this number."""
        found = self._select("id = ?", number)
        return found[0] if found else None

    def about(self, contents: Iterable[int]) -> list[Correction]:
        """Those that count and are about one of these contents, oldest first."""
        keys = json.dumps(list(contents))
        among = "(SELECT value FROM json_each(?))"
        first = self._select(f"ended IS NULL AND content IN {among}", keys)
        second = self._select(f"ended IS NULL AND other IS NOT NULL AND other IN {among}", keys)
        return sorted({one.id: one for one in (*first, *second)}.values(), key=lambda one: one.id)

    @property
    def some(self) -> bool:
        """True when one counts."""
        sql = "SELECT 1 FROM corrections WHERE ended IS NULL LIMIT 1"
        return self._execute(sql).get is not None

    def counts(self) -> dict[str, int]:
        """How many count and are about contents that are there, by kind, without followers."""
        rows = self._execute(
            "SELECT kind, count(*) FROM corrections WHERE ended IS NULL AND follows IS NULL "
            "AND content IN (SELECT key FROM contents) "
            "AND (other IS NULL OR other IN (SELECT key FROM contents)) GROUP BY kind ORDER BY kind"
        )
        return {str(kind): int(count) for kind, count in rows}

    def leads(self) -> list[Correction]:
        """Those whose contents near copies follow."""
        return self._select(
            "ended IS NULL AND follows IS NULL AND near < ? "
            "AND content IN (SELECT key FROM contents) ORDER BY id",
            NEVER_NEAR,
        )

    def ever_followed(self, lead: int, content: int) -> bool:
        """True when a content follows this correction, or did until a person ended that."""
        sql = "SELECT 1 FROM corrections WHERE follows = ? AND content = ? LIMIT 1"
        return self._execute(sql, (lead, content)).get is not None

    def kept(self, clustering: int | None) -> tuple[int, ...]:
        """Ids of a clustering's clusters that contents which are there were put in, ascending."""
        rows = self._execute(
            "SELECT DISTINCT c.cluster FROM corrections c JOIN clustering_clusters cc "
            "ON cc.cluster = c.cluster AND cc.clustering = ? WHERE c.ended IS NULL "
            "AND c.kind = 'in' AND c.content IN (SELECT key FROM contents) ORDER BY 1",
            (clustering,),
        )
        return tuple(int(cluster) for (cluster,) in rows)

    def end(self, numbers: Iterable[int], reason: str) -> None:
        """These count no more, and neither do those that follow them."""
        now = time.time()
        for number in numbers:
            ended = self._execute(
                "UPDATE corrections SET ended = ?, reason = ? WHERE ended IS NULL "
                "AND (id = ? OR follows = ?) RETURNING content, other",
                (now, reason, number, number),
            ).fetchall()
            self._queue_pages(key for row in ended for key in row if key is not None)

    def end_of(self, content: int, reason: str) -> list[int]:
        """No correction of a content counts any more; returns their numbers."""
        found = [one.id for one in self.about([content])]
        self.end(found, reason)
        return found

    def move(self, steps: Mapping[int, int], *, clustering: int) -> None:
        """Corrections (by number) are about other clusters from this clustering on."""
        rows = [(number, after) for number, after in steps.items()]
        self._executemany(
            "INSERT OR IGNORE INTO correction_steps "
            "SELECT id, ?, cluster, ? FROM corrections WHERE id = ?",
            [(clustering, after, number) for number, after in rows],
        )
        self._executemany(
            "UPDATE corrections SET cluster = ? WHERE id = ?",
            [(after, number) for number, after in rows],
        )

    def extend(self, one: Correction, cluster: int, *, clustering: int) -> None:
        """The correction counts for another cluster too, from this clustering on."""
        number = self.add(
            one.kind,
            one.content,
            cluster=cluster,
            made_by=one.made_by,
            follows=one.follows or one.id,
        )
        self._execute(
            "INSERT INTO correction_steps VALUES (?, ?, NULL, ?)", (number, clustering, cluster)
        )

    def take_back(self, clustering: int) -> None:
        """Undo what a clustering made of corrections, but for those that changed since."""
        rows: list[Any] = self._execute(
            "SELECT s.correction, s.before FROM correction_steps s JOIN corrections c "
            "ON c.id = s.correction AND c.cluster = s.after WHERE s.clustering = ?",
            (clustering,),
        ).fetchall()
        self._executemany(
            "UPDATE corrections SET cluster = ? WHERE id = ?",
            [(before, number) for number, before in rows if before is not None],
        )
        self.end([number for number, before in rows if before is None], "undone")

    def contents_of(self, kinds: Sequence[str]) -> set[int]:
        """Contents of the corrections of these kinds that count."""
        return {key for one in self.active() if one.kind in kinds for key in one.contents}

    def among(self, contents: Iterable[int]) -> set[int]:
        """Those of these contents that a correction is about."""
        keys = set(contents)
        return keys.intersection(key for one in self.about(keys) for key in one.contents)

    def _queue_pages(self, contents: Iterable[Any]) -> None:
        """Pages on which these contents are marked, or no more, need to be made again."""
        self._executemany(
            "INSERT OR IGNORE INTO page_queue SELECT l.folder FROM images i "
            "JOIN link_ledger l ON l.image = i.id WHERE i.content = ?",
            [(content,) for content in contents],
        )

    def _select(self, condition: str, *values: object) -> list[Correction]:
        rows: list[Any] = self._execute(
            f"SELECT {_COLUMNS} FROM corrections WHERE {condition}", tuple(values)
        ).fetchall()
        return [Correction(*row) for row in rows]


class Removals(Table):
    """The tables removals and removals_unread."""

    def put(self, sha256: bytes, path: bytes, inode: int) -> None:
        """A file of this content was taken out, or stays out as others of its content were."""
        self._execute(
            "INSERT OR REPLACE INTO removals VALUES (?, ?, ?, ?)",
            (sha256, inode, path, time.time()),
        )

    def forget(self, sha256: bytes) -> None:
        """Files of this content come in again."""
        self._execute("DELETE FROM removals WHERE sha256 = ?", (sha256,))

    def among(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the SHA-256 whose content was taken out."""
        rows = self._executemany(
            "SELECT sha256 FROM removals WHERE sha256 = ? LIMIT 1", [(one,) for one in digests]
        )
        return {bytes(sha256) for (sha256,) in rows}

    def files(self, sha256: bytes) -> list[tuple[bytes, int]]:
        """The files of a content that are out, as last seen: path and inode."""
        rows = self._execute("SELECT path, inode FROM removals WHERE sha256 = ?", (sha256,))
        return [(bytes(path), int(inode)) for path, inode in rows]

    def unread(self) -> list[bytes]:
        """Paths that an older version took out without noting their content."""
        rows = self._execute("SELECT path FROM removals_unread ORDER BY path")
        return [bytes(path) for (path,) in rows]

    def read(self, path: bytes) -> None:
        """The content of such a path is noted, or the file is another one now."""
        self._execute("DELETE FROM removals_unread WHERE path = ?", (path,))


class Dismissals(Table):
    """The table dismissed: pairs of contents, the smaller key first."""

    def add(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These pairs of contents (a content with itself: its copies) are not duplicates."""
        self._executemany(
            "INSERT OR IGNORE INTO dismissed VALUES (?, ?)", [_ordered(pair) for pair in pairs]
        )

    def remove(self, pairs: Iterable[tuple[int, int]]) -> None:
        """These pairs of contents may be duplicates again."""
        self._executemany(
            "DELETE FROM dismissed WHERE content = ? AND other = ?",
            [_ordered(pair) for pair in pairs],
        )

    def pairs(self) -> set[tuple[int, int]]:
        """The pairs of contents that are not duplicates, the smaller key first."""
        rows = self._execute("SELECT content, other FROM dismissed")
        return {(int(content), int(other)) for content, other in rows}


def _ordered(pair: tuple[int, int]) -> tuple[int, int]:
    return min(pair), max(pair)


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
