"""Contents, their embeddings and burst groups, and the changes that the index replays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from imgclust.catalog.cursor import Table
from imgclust.errors import CollisionError
from imgclust.vectors import widened

_CHUNK = 2048


def key_of(sha256: bytes) -> int:
    """First 63 bits of a SHA-256, as a positive integer: the key of a content."""
    return int.from_bytes(sha256[:8], "big") >> 1


@dataclass(frozen=True)
class Content:
    """What is known of one sequence of bytes (sizes in pixels and bytes, time in seconds)."""

    key: int
    sha256: bytes
    bytes: int
    width: int
    height: int
    format: str
    decode_s: float


class Contents(Table):
    """The tables contents, recipes, embeddings and changes."""

    def get(self, key: int) -> Content | None:
        """The content `key`, None when there is none."""
        row = self._execute(
            "SELECT key, sha256, bytes, width, height, format, decode_s FROM contents "
            "WHERE key = ?",
            (key,),
        ).fetchone()
        return None if row is None else Content(*row)

    def formats(self) -> Iterator[tuple[int, str]]:
        """Keys of all contents and what kind of file each is, some at a time."""
        after = -1
        while True:
            rows: list[Any] = self._execute(
                "SELECT key, format FROM contents WHERE key > ? ORDER BY key LIMIT 5000", (after,)
            ).fetchall()
            yield from ((int(key), str(kind)) for key, kind in rows)
            if not rows:
                return
            after = int(rows[-1][0])

    def with_sha256(self, sha256: bytes) -> Content | None:
        """The content with exactly these bytes.

        Raises
        ------
        CollisionError
            When another content has the same 63-bit key.
        """
        content = self.get(key_of(sha256))
        if content is not None and content.sha256 != sha256:
            raise CollisionError("two different images share the first 63 bits of their SHA-256")
        return content

    def put(self, content: Content) -> None:
        """Insert a content; nothing happens when it is there."""
        self._execute(
            "INSERT INTO contents VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            _row(content),
        )

    def drop_orphan(self, key: int) -> bool:
        """Delete the content when no image has it any more; its last image took it along."""
        used = self._execute("SELECT 1 FROM images WHERE content = ? LIMIT 1", (key,)).fetchone()
        if used is not None:
            return False
        # Arrivals are counted in sums: its share of its cluster's is taken out.
        self._execute(
            "UPDATE arrivals SET contents = contents - 1, distances = distances * (contents - 1) / "
            "contents, squares = squares * (contents - 1) / contents WHERE contents > 0 "
            "AND (clustering, cluster) IN (SELECT clustering, cluster FROM assignments "
            "WHERE clustering IN (SELECT id FROM clusterings) AND content = ? AND arrived)",
            (key,),
        )
        # By primary key: an index by content alone would cost every arrival more than this.
        self._execute(
            "DELETE FROM assignments WHERE clustering IN (SELECT id FROM clusterings) "
            "AND content = ?",
            (key,),
        )
        self._execute(
            "DELETE FROM coordinates WHERE projection IN (SELECT id FROM projections) "
            "AND content = ?",
            (key,),
        )
        self._execute(
            "DELETE FROM burst_groups WHERE rule IN (SELECT id FROM burst_rules) AND content = ?",
            (key,),
        )
        self._execute("DELETE FROM contents WHERE key = ?", (key,))
        self._execute("INSERT INTO changes (content, action) VALUES (?, 'remove')", (key,))
        return True

    def recipe_id(self, name: str) -> int:
        """Number of the recipe `name`, made when it is new."""
        number = self._recipe_number(name)
        if number < 0:
            self._execute("INSERT INTO recipes (name) VALUES (?)", (name,))
            number = self._connection.last_insert_rowid()
        return number

    def put_embedded(
        self,
        rows: Sequence[tuple[Content, npt.NDArray[np.floating]]],
        recipe: str,
        provenance: str,
    ) -> None:
        """Insert contents that are new, each with its embedding `(d,)`, all at once."""
        number = self.recipe_id(recipe)
        self._executemany(
            "INSERT INTO contents VALUES (?, ?, ?, ?, ?, ?, ?)",
            [_row(content) for content, _ in rows],
        )
        self._executemany(
            "INSERT INTO embeddings VALUES (?, ?, ?, ?)",
            [(one.key, number, provenance, _stored(vector)) for one, vector in rows],
        )
        self._executemany(
            "INSERT INTO changes (content, action) VALUES (?, 'add')",
            [(content.key,) for content, _ in rows],
        )

    def known(self, keys: Iterable[int]) -> set[int]:
        """Those of the keys that are contents already."""
        rows = self._executemany("SELECT key FROM contents WHERE key = ?", [(key,) for key in keys])
        return {int(key) for (key,) in rows}

    def has_embedding(self, key: int, recipe: str) -> bool:
        """True when the content is embedded by this recipe."""
        row = self._execute(
            "SELECT 1 FROM embeddings JOIN recipes ON recipe = id WHERE content = ? AND name = ?",
            (key, recipe),
        ).fetchone()
        return row is not None

    def put_embedding(
        self, key: int, recipe: str, vector: npt.NDArray[np.floating], provenance: str
    ) -> None:
        """Store one embedding `(d,)` at half precision and note the change for the index."""
        self._execute(
            "INSERT INTO embeddings VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (key, self.recipe_id(recipe), provenance, _stored(vector)),
        )
        if self._connection.changes():
            self._execute("INSERT INTO changes (content, action) VALUES (?, 'add')", (key,))

    def drop_embeddings(self, recipe: str, *, limit: int) -> int:
        """Delete at most so many embeddings by a recipe; returns how many."""
        self._execute(
            "DELETE FROM embeddings WHERE rowid IN (SELECT rowid FROM embeddings WHERE recipe = ? "
            "LIMIT ?)",
            (self._recipe_number(recipe), limit),
        )
        return int(self._connection.changes())

    def drop_embedding(self, key: int, recipe: str) -> None:
        """Delete the embedding of a content, which the index then leaves out too."""
        self._execute(
            "DELETE FROM embeddings WHERE content = ? AND recipe = ?",
            (key, self._recipe_number(recipe)),
        )
        if self._connection.changes():
            self._execute("INSERT INTO changes (content, action) VALUES (?, 'remove')", (key,))

    def recipes(self) -> list[str]:
        """Names of all recipes that embeddings were ever made by."""
        return [str(name) for (name,) in self._execute("SELECT name FROM recipes")]

    def embeddings(
        self, keys: Sequence[int] | npt.NDArray[np.int64], recipe: str
    ) -> npt.NDArray[np.float32]:
        """Embeddings `(n, d)` float32 of the contents `keys`, in that order.

        Raises
        ------
        KeyError
            When one of them has none by this recipe.
        """
        vectors: npt.NDArray[np.float32] | None = None
        number = self._recipe_number(recipe)
        for row, key in enumerate(keys):
            blob = self._execute(
                "SELECT vector FROM embeddings WHERE content = ? AND recipe = ?",
                (int(key), number),
            ).get
            if blob is None:
                raise KeyError(int(key))
            vector = np.frombuffer(blob, "<f2")
            if vectors is None:
                vectors = np.empty((len(keys), len(vector)), np.float32)
            vectors[row] = vector
        return np.empty((0, 0), np.float32) if vectors is None else vectors

    def all_embeddings(self, recipe: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Keys `(n,)`, ascending, and embeddings `(n, d)` float32 of one recipe.

        The caller may change them: a copy of so much is better not made.
        """
        return self._together(recipe, np.dtype(np.float32))

    def stored_embeddings(
        self, recipe: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]:
        """The same as they are stored, float16, in half the memory."""
        return self._together(recipe, np.dtype(np.float16))

    def _together(
        self, recipe: str, kind: np.dtype[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        keys = self.embedded(recipe)
        vectors = np.empty((0, 0), kind)
        there = 0
        for found, part in self._stored_parts(keys, recipe):
            if not there:
                vectors = np.empty((len(keys), part.shape[1]), kind)
            until = there + len(found)
            keys[there:until] = found
            vectors[there:until] = part if kind == part.dtype else widened(part)
            there = until
        return keys[:there], vectors[:there]

    def embedding_parts(
        self, keys: npt.NDArray[np.int64], recipe: str
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Some at a time: those of the keys, ascending, that have an embedding, and these.

        Each part is one short statement, so that the write-ahead log is not held back.
        """
        for found, part in self._stored_parts(keys, recipe):
            yield found, widened(part)

    def _stored_parts(
        self, keys: npt.NDArray[np.int64], recipe: str
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]]:
        number = self._recipe_number(recipe)
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK].tolist()
            rows = self._execute(
                "SELECT content, vector FROM embeddings WHERE recipe = ? AND content BETWEEN ? "
                "AND ?",
                (number, part[0], part[-1]),
            )
            blobs: dict[int, bytes] = dict(rows)
            found = [key for key in part if key in blobs]
            if found:
                stored = np.frombuffer(b"".join(blobs[key] for key in found), "<f2")
                yield np.array(found), stored.reshape(len(found), -1)

    def embedded(self, recipe: str) -> npt.NDArray[np.int64]:
        """Keys `(n,)`, ascending, of the contents embedded by a recipe."""
        rows = self._execute(
            "SELECT content FROM embeddings WHERE recipe = ? ORDER BY content",
            (self._recipe_number(recipe),),
        )
        return np.fromiter((row[0] for row in rows), np.int64)

    def count(self, recipe: str | None = None) -> int:
        """Number of contents, or of those embedded by `recipe`."""
        if recipe is None:
            return int(self._execute("SELECT count(*) FROM contents").get)
        return int(
            self._execute(
                "SELECT count(*) FROM embeddings WHERE recipe = ?", (self._recipe_number(recipe),)
            ).get
        )

    def sequence(self) -> int:
        """Number of the last change, 0 before the first."""
        return int(self._execute("SELECT coalesce(max(sequence), 0) FROM changes").get)

    def counts_between(self, after: int, until: int) -> tuple[int, int]:
        """Embeddings that came, and contents that left, from change `after` + 1 to `until`."""
        row: Any = self._execute(
            "SELECT coalesce(sum(action = 'add'), 0), coalesce(sum(action = 'remove'), 0) "
            "FROM changes WHERE sequence > ? AND sequence <= ?",
            (after, until),
        ).fetchone()
        return int(row[0]), int(row[1])

    def added_between(self, after: int, until: int) -> npt.NDArray[np.int64]:
        """Keys `(n,)`, ascending, of what was embedded from change `after` + 1 to `until`.

        What has left since is among them.
        """
        rows = self._execute(
            "SELECT DISTINCT content FROM changes WHERE sequence > ? AND sequence <= ? "
            "AND action = 'add' ORDER BY content",
            (after, until),
        )
        return np.fromiter((row[0] for row in rows), np.int64)

    def changes_after(self, sequence: int, limit: int) -> list[tuple[int, int, str]]:
        """The next changes: (sequence, content, "add" or "remove")."""
        rows = self._execute(
            "SELECT sequence, content, action FROM changes WHERE sequence > ? "
            "ORDER BY sequence LIMIT ?",
            (sequence, limit),
        )
        return [(int(number), int(content), str(action)) for number, content, action in rows]

    def shapes(self) -> dict[int, tuple[int, int, int]]:
        """Width and height in pixels and size in bytes of every content."""
        rows = self._execute("SELECT key, width, height, bytes FROM contents")
        return {int(key): (int(width), int(height), int(size)) for key, width, height, size in rows}

    def provenances(self) -> dict[str, int]:
        """What computed the newest 1,000 embeddings, and how many of them."""
        rows = self._execute(
            "SELECT provenance, count(*) FROM (SELECT provenance FROM embeddings "
            "ORDER BY rowid DESC LIMIT 1000) GROUP BY provenance ORDER BY 2 DESC"
        )
        return {str(name): int(count) for name, count in rows}

    def _recipe_number(self, name: str) -> int:
        number = self._execute("SELECT id FROM recipes WHERE name = ?", (name,)).get
        return -1 if number is None else int(number)


_row = attrgetter("key", "sha256", "bytes", "width", "height", "format", "decode_s")


def _stored(vector: npt.NDArray[np.floating]) -> bytes:
    """An embedding as it is kept: at half precision."""
    return vector.astype("<f2").tobytes()


@dataclass(frozen=True)
class StoredBurstRule:
    """What decides the groups; `contents` are those that it was made from."""

    id: int
    recipe: str
    contents: int
    blob: bytes


class Bursts(Table):
    """The tables burst_rules and burst_groups.

    Groups are those of the current rule. A content that has no row is alone, as is one whose
    representative has left.
    """

    def current_id(self, recipe: str) -> int | None:
        """Number of the current rule, None where there is none for this recipe."""
        number = self._execute(
            "SELECT b.id FROM burst_rules b JOIN recipes r ON b.recipe = r.id "
            "WHERE b.current AND r.name = ?",
            (recipe,),
        ).get
        return None if number is None else int(number)

    def get(self, rule: int) -> StoredBurstRule:
        """One rule; it must exist."""
        row = self._execute(
            "SELECT b.id, r.name, b.contents, b.rule FROM burst_rules b "
            "JOIN recipes r ON b.recipe = r.id WHERE b.id = ?",
            (rule,),
        ).fetchone()
        if row is None:
            raise KeyError(rule)
        return StoredBurstRule(*row)

    def put(self, *, recipe: int, contents: int, blob: bytes) -> int:
        """Store a rule that is not the current one yet."""
        self._execute(
            "INSERT INTO burst_rules (recipe, contents, current, rule) VALUES (?, ?, 0, ?)",
            (recipe, contents, blob),
        )
        return self._connection.last_insert_rowid()

    def make_current(self, rule: int) -> None:
        """Use this rule, and its groups, from now on."""
        self._execute("UPDATE burst_rules SET current = (id = ?)", (rule,))

    def set_groups(self, rule: int, rows: Iterable[tuple[int, int, bytes | None]]) -> None:
        """Store (content, representative, place of a representative on the rule's axes) rows."""
        self._executemany(
            "INSERT OR REPLACE INTO burst_groups VALUES (?, ?, ?, ?)",
            ((rule, *row) for row in rows),
        )

    def groups(self, rule: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Contents `(n,)`, ascending, and the representative `(n,)` of each."""
        rows = self._execute(
            "SELECT content, representative FROM burst_groups WHERE rule = ? ORDER BY content",
            (rule,),
        ).fetchall()
        found = np.array(rows, np.int64).reshape(len(rows), 2)
        return found[:, 0].copy(), found[:, 1].copy()

    def representatives(self, rule: int) -> tuple[npt.NDArray[np.int64], list[bytes]]:
        """Contents `(n,)` that represent a group, and the place of each on the rule's axes."""
        rows: list[Any] = self._execute(
            "SELECT content, place FROM burst_groups WHERE rule = ? AND content = representative "
            "AND place IS NOT NULL",
            (rule,),
        ).fetchall()
        return np.array([row[0] for row in rows], np.int64), [row[1] for row in rows]

    def followed(self, recipe: str, contents: Sequence[int]) -> dict[int, int]:
        """The representative of those of the contents that another one represents."""
        rule = self.current_id(recipe)
        if rule is None:
            return {}
        rows = self._executemany(
            "SELECT content, representative FROM burst_groups WHERE rule = ? AND content = ? "
            "AND content <> representative",
            [(rule, int(content)) for content in contents],
        )
        return {int(content): int(other) for content, other in rows}

    def represents(self, rule: int, content: int) -> bool:
        """Whether a content represents a group, be it of itself alone."""
        row = self._execute(
            "SELECT 1 FROM burst_groups WHERE rule = ? AND content = ? AND representative = ?",
            (rule, content, content),
        ).fetchone()
        return row is not None

    def missing(self, rule: int, recipe: str, since: int, limit: int) -> list[int]:
        """Some contents that came after change `since` and have no group by the rule."""
        rows = self._execute(
            "SELECT DISTINCT c.content FROM changes c JOIN embeddings e ON e.content = c.content "
            "AND e.recipe = (SELECT id FROM recipes WHERE name = ?) WHERE c.sequence > ? "
            "AND NOT EXISTS (SELECT 1 FROM burst_groups g WHERE g.rule = ? "
            "AND g.content = c.content) LIMIT ?",
            (recipe, since, rule, limit),
        )
        return [int(content) for (content,) in rows]

    def drop_old(self, *, rows: int) -> bool:
        """Delete so many groups of rules that are not current, then these; True at the end."""
        for (rule,) in self._execute("SELECT id FROM burst_rules WHERE NOT current").fetchall():
            self._execute(
                "DELETE FROM burst_groups WHERE rule = ? AND content IN "
                "(SELECT content FROM burst_groups WHERE rule = ? LIMIT ?)",
                (rule, rule, rows),
            )
            if self._connection.changes():
                return False
            self._execute("DELETE FROM burst_rules WHERE id = ?", (rule,))
        return True
