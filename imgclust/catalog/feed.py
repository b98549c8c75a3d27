"""The feed: what has changed, row by row, and the jobs that a service was asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imgclust.catalog.cursor import Table

_KEPT_JOBS = 200


@dataclass(frozen=True)
class FeedRow:
    """One change; `cluster` is that of the image now, or the cluster that has changed."""

    id: int
    at: float
    kind: str
    image: int | None
    cluster: int | None
    message: str | None


@dataclass(frozen=True)
class StoredJob:
    """A job; `arguments` and `document` as they were given, `process` the one that did it."""

    id: int
    command: str
    arguments: dict[str, Any]
    state: str
    process: str
    begun: float
    ended: float | None
    document: dict[str, Any] | None


class Feed(Table):
    """The table feed. Triggers fill and prune it: see the migrations."""

    def stream(self) -> str:
        """What tells this catalog's numbers from those of another one."""
        return str(self._execute("SELECT stream FROM feed_stream").get)

    def last(self) -> int:
        """The number of the newest change, 0 before the first; numbers are never used again."""
        row = self._execute("SELECT seq FROM sqlite_sequence WHERE name = 'feed'").get
        return 0 if row is None else int(row)

    def first(self) -> int:
        """The number of the oldest change that is kept; where none is, that of the next one."""
        row = self._execute("SELECT min(id) FROM feed").get
        return self.last() + 1 if row is None else int(row)

    def after(self, number: int, limit: int) -> list[FeedRow]:
        """The changes after this one, oldest first."""
        rows = self._execute(
            "SELECT f.id, f.at, f.kind, f.image, coalesce(f.cluster, a.cluster), f.message "
            "FROM feed f LEFT JOIN images i ON i.id = f.image "
            "LEFT JOIN assignments a ON a.content = i.content AND a.clustering = "
            "(SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'current_clustering') "
            "WHERE f.id > ? ORDER BY f.id LIMIT ?",
            (number, limit),
        )
        return [FeedRow(*row) for row in rows]


class Jobs(Table):
    """The table jobs."""

    def begin(self, command: str, arguments: dict[str, Any], *, process: str) -> int:
        """Note that a job runs now; returns its id. The oldest leave."""
        self._execute(
            "INSERT INTO jobs (command, arguments, state, process, begun) "
            "VALUES (?, ?, 'running', ?, ?)",
            (command, json.dumps(arguments), process, time.time()),
        )
        job = int(self._connection.last_insert_rowid())
        self._execute("DELETE FROM jobs WHERE id <= ?", (job - _KEPT_JOBS,))
        return job

    def end(self, job: int, state: str, document: dict[str, Any]) -> None:
        """Note how a job ended, and with what."""
        self._execute(
            "UPDATE jobs SET state = ?, ended = ?, document = ? WHERE id = ?",
            (state, time.time(), json.dumps(document), job),
        )

    def get(self, job: int) -> StoredJob | None:
        """One job."""
        return next(self._some("WHERE id = ?", job), None)

    def all(self) -> list[StoredJob]:
        """All jobs that are kept, newest first."""
        return list(self._some("ORDER BY id DESC"))

    def _some(self, where: str, *values: int) -> Iterator[StoredJob]:
        rows = self._execute(
            "SELECT id, command, arguments, state, process, begun, ended, document "
            f"FROM jobs {where}",
            values,
        )
        for number, command, arguments, state, process, begun, ended, document in rows:
            yield StoredJob(
                int(number),
                str(command),
                json.loads(arguments),
                str(state),
                str(process),
                float(begun),
                ended,
                None if document is None else json.loads(document),
            )
