"""Judges a collection at rest; shares no code with imgclust: sqlite3, os and hashlib only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIMENSIONS = 2048


def digest_of(path: bytes | Path) -> bytes:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def files_below(folder: Path) -> dict[bytes, bytes]:
    """Path and SHA-256 of every regular file below a folder; links are not followed."""
    found: dict[bytes, bytes] = {}
    for top, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(top, name)
            if not os.path.islink(path) and os.path.isfile(path):
                found[path] = digest_of(path)
    return found


class Oracle:
    """What is wrong with a collection, in sentences.

    Parameters
    ----------
    folder
        The collection's folder.
    roots
        Watched folders, real paths.
    links
        The link folder.
    originals
        SHA-256 of every file that whoever drove the test put into the roots, by path.
    foreign
        SHA-256 of every file in the link folder that is not ours.
    readable
        SHA-256 of the files that are pictures: at rest such a file is an image, any other is none.
    away
        Roots that whoever drove the test has taken away, as a disk that is not mounted: these have
        to be held, with all that is known of them, and no others.
    unmounted
        Folders below roots whose disk was unmounted: held like a root, and no others.
    out
        Paths of files that a person took out, or that have the content of such a file: no images.
    settled
        Nothing is pending, and every root was scanned often enough: what the roots hold must be
        in, and nothing else may.
    """

    def __init__(
        self,
        folder: Path,
        *,
        roots: Sequence[Path],
        links: Path,
        originals: Mapping[bytes, bytes],
        foreign: Mapping[bytes, bytes],
        readable: Collection[bytes],
        away: Sequence[Path] = (),
        unmounted: Sequence[Path] = (),
        out: Collection[bytes] = (),
        settled: bool = True,
    ) -> None:
        self._folder = folder
        self._roots = roots
        self._links = links
        self._originals = dict(originals)
        self._foreign = dict(foreign)
        self._readable = frozenset(readable)
        self._away = [os.fsencode(root) for root in away]
        self._unmounted = [os.fsencode(folder) for folder in unmounted]
        self._out = frozenset(out)
        self._settled = settled
        self.wrong: list[str] = []

    def judge(self) -> list[str]:
        """Every disagreement between disk, catalog, index file and links; empty when all agree."""
        self._database = sqlite3.connect(self._folder / "catalog.sqlite3")
        self._database.text_factory = bytes
        try:
            self._sound()
            self._exactly_once()
            self._originals_unchanged()
            if self._settled:
                self._files_are_in()
                self._assigned()
                self._frozen()
                self._say(found := violated(self._database), f"corrections: {found}")
                self._linked()
                self._index_file()
        finally:
            self._database.close()
        return self.wrong

    def _rows(self, sql: str) -> list[Any]:
        return self._database.execute(sql).fetchall()

    def _say(self, condition: object, sentence: str) -> None:
        if condition:
            self.wrong.append(sentence)

    def _sound(self) -> None:
        self._say(self._rows("PRAGMA integrity_check") != [(b"ok",)], "integrity_check")
        self._say(self._rows("PRAGMA foreign_key_check"), "foreign_key_check")

    def _exactly_once(self) -> None:
        paths = Counter(path for (path,) in self._rows("SELECT path FROM images"))
        self._say([path for path, count in paths.items() if count > 1], "two rows for a path")
        images = Counter(content for (content,) in self._rows("SELECT content FROM images"))
        contents = dict(self._rows("SELECT key, sha256 FROM contents"))
        embeddings = Counter(content for (content,) in self._rows("SELECT content FROM embeddings"))
        for key, sha256 in contents.items():
            self._say(key != struct.unpack(">Q", sha256[:8])[0] >> 1, f"key of content {key}")
            self._say(not images[key], f"content {key} has no image")
            self._say(embeddings[key] != 1, f"content {key} has {embeddings[key]} embeddings")
        self._say(set(images) - set(contents), "images without a content")
        self._say(set(embeddings) - set(contents), "embeddings without a content")
        sizes = {len(vector) for (vector,) in self._rows("SELECT vector FROM embeddings")}
        self._say(sizes - {2 * DIMENSIONS}, f"embeddings of {sizes} bytes")
        strays = self._rows(
            "SELECT content FROM assignments JOIN clusterings ON clustering = id "
            "WHERE published IS NOT NULL AND content NOT IN (SELECT key FROM contents)"
        )
        self._say(strays, f"{len(strays)} assignments of no content")
        live: dict[int, bytes] = {}
        for content, action in self._rows("SELECT content, action FROM changes ORDER BY sequence"):
            live[content] = action
        added = {content for content, action in live.items() if action == b"add"}
        self._say(added != set(contents), "the changes do not add up to the contents")

    def _originals_unchanged(self) -> None:
        there: dict[bytes, bytes] = {}
        for root in self._roots:
            there |= files_below(root)
        for path, digest in self._originals.items():
            self._say(there.get(path) != digest, f"the original {path!r} was changed or removed")
        self._say(set(there) - set(self._originals), "files in the roots that nobody put there")
        for path, digest in self._foreign.items():
            same = os.path.isfile(path) and digest_of(path) == digest
            self._say(not same, f"the foreign file {path!r} was changed or removed")

    def _files_are_in(self) -> None:
        images = {
            path: (state, sha256)
            for path, state, sha256 in self._rows(
                "SELECT path, state, sha256 FROM images JOIN contents ON content = key"
            )
        }
        states = dict(self._rows("SELECT path, state FROM observations"))
        quarantine = dict(self._rows("SELECT path, reason FROM quarantine"))
        for path, digest in self._originals.items():
            stand = (images.get(path, (None,))[0], states.get(path), quarantine.get(path))
            if path in self._out:
                self._say(path in images, f"{path!r} was taken out, and is in: {stand}")
                self._say(states.get(path) != b"removed", f"{path!r} is not known as out: {stand}")
                self._say(path in quarantine, f"{path!r} is out, and in quarantine: {stand}")
                continue
            if digest in self._readable:
                right = images.get(path) == (b"present", digest) and states.get(path) == b"done"
                self._say(not right, f"the picture {path!r} is not in: {stand}")
                self._say(path in quarantine, f"the picture {path!r} is in quarantine: {stand}")
                continue
            aside = bool(quarantine.get(path)) and states.get(path) == b"quarantined"
            skipped = path not in quarantine and states.get(path) == b"skipped"
            self._say(not (aside or skipped), f"{path!r} is neither set aside nor skipped: {stand}")
            self._say(path in images, f"{path!r} is no picture, and in: {stand}")
        held = {path for (path,) in self._rows("SELECT path FROM roots WHERE held IS NOT NULL")}
        self._say(held - set(self._away), f"held, and nobody took it away: {held}")
        self._say(set(self._away) - held, f"taken away, and not held: {self._away}")
        lost = {path for (path,) in self._rows("SELECT path FROM mounts WHERE held IS NOT NULL")}
        self._say(lost - set(self._unmounted), f"mounts held that nobody took away: {lost}")
        self._say(set(self._unmounted) - lost, f"unmounted, and not held: {self._unmounted}")
        # Of a root whose disk is away nothing is forgotten, of any other all that is not there.
        below = tuple(root + b"/" for root in (*self._away, *self._unmounted))
        for path, (state, _) in images.items():
            if path not in self._originals:
                kept = path.startswith(below) and state == b"missing"
                self._say(not kept, f"{path!r} is not there, and an image: {state!r}")
        absent = [
            path
            for path in (states.keys() | quarantine.keys()) - images.keys() - set(self._originals)
            if not path.startswith(below)
        ]
        self._say(absent, f"absent files that are known: {absent}")
        pending = [path for path, state in states.items() if state == b"seen"]
        self._say(pending, f"pending: {pending}")
        self._say(self._rows("SELECT * FROM requests"), "open requests")
        count = len(self._rows("SELECT 1 FROM clusterings WHERE published IS NULL"))
        self._say(count > 0, f"{count} unpublished clusterings")

    def _current(self) -> int | None:
        rows = self._rows("SELECT value FROM settings WHERE key = 'current_clustering'")
        return json.loads(rows[0][0]) if rows else None

    def _assigned(self) -> None:
        current = self._current()
        contents = {key for (key,) in self._rows("SELECT key FROM contents")}
        if current is None:
            self._say(contents, "images and no clustering")
            return
        assigned = {
            key
            for (key,) in self._rows(
                f"SELECT content FROM assignments WHERE clustering = {current}"
            )
        }
        self._say(assigned != contents, f"{len(contents - assigned)} contents are not assigned")

    def _frozen(self) -> None:
        """Every frozen cluster is in the current clustering, and final; no two have one name."""
        frozen = {number for (number,) in self._rows("SELECT id FROM clusters WHERE frozen")}
        current = self._current()
        if current is None:
            self._say(frozen, "frozen clusters and no clustering")
            return
        described = self._rows(
            "SELECT cluster, name, coalesce(frozen, 0) FROM clustering_clusters "
            f"JOIN clusters ON cluster = clusters.id WHERE clustering = {current}"
        )
        there = {number for number, _, _ in described}
        self._say(frozen - there, f"frozen clusters that are not there: {frozen - there}")
        names = Counter(name for _, name, _ in described if name is not None)
        self._say([name for name, count in names.items() if count > 1], "two clusters of one name")
        assigned = {
            number
            for (number,) in self._rows(
                f"SELECT DISTINCT cluster FROM assignments WHERE clustering = {current}"
            )
        }
        self._say(assigned - there, f"images in clusters that are not there: {assigned - there}")
        provisional = self._rows(f"SELECT provisional FROM clusterings WHERE id = {current}")
        self._say(frozen and provisional != [(0,)], "frozen clusters in a provisional clustering")

    def _linked(self) -> None:
        current = self._current()
        wanted: Counter[tuple[int, bytes]] = Counter()
        if current is not None:
            wanted.update(
                (cluster, os.path.realpath(os.path.dirname(path)) + b"/" + os.path.basename(path))
                for cluster, path in self._rows(
                    "SELECT cluster, path FROM images JOIN assignments "
                    f"ON images.content = assignments.content AND clustering = {current}"
                )
            )
        found: Counter[tuple[int, bytes]] = Counter()
        for folder in _listed(self._links):
            if folder.name == b".pages" or (
                folder.name == b"index.html" and folder.path not in self._foreign
            ):
                continue  # what shows the folders in a browser
            if not folder.is_dir(follow_symlinks=False):
                self._say(folder.path not in self._foreign, f"in the link folder: {folder.path!r}")
                continue
            entries = list(_listed(folder.path))
            self._say(not entries, f"empty link folder {folder.path!r}")
            for entry in entries:
                if entry.path in self._foreign:
                    continue
                if not entry.is_symlink():
                    self._say(True, f"neither link nor foreign: {entry.path!r}")
                    continue
                real = os.path.realpath(os.path.dirname(entry.path))
                target = os.path.normpath(os.path.join(real, os.readlink(entry.path)))
                found[_number(folder.name), target] += 1
        self._say(wanted - found, f"links that are not there: {list(wanted - found)[:5]}")
        self._say(found - wanted, f"links too many: {list(found - wanted)[:5]}")
        ledger = self._rows("SELECT state FROM link_ledger")
        self._say({state for (state,) in ledger} - {b"done"}, "open intents in the ledger")
        self._say(len(ledger) != wanted.total(), "the ledger counts other links")
        self._say(self._rows("SELECT * FROM link_queue"), "links in the queue")
        self._say(self._rows("SELECT * FROM link_steps"), "contents that no link was looked at for")

    def _index_file(self) -> None:
        path = self._folder / "index.faiss"
        if not path.exists():
            return
        content = path.read_bytes()
        magic, _, length, checksum = struct.unpack_from("<8sIII", content)
        header_text = content[20 : 20 + length]
        self._say(magic != b"imgclust", "the index file's first bytes")
        self._say(zlib.crc32(header_text) != checksum, "the index file's header")
        header: dict[str, Any] = json.loads(header_text)
        last = self._rows("SELECT coalesce(max(sequence), 0) FROM changes")[0][0]
        self._say(header["sequence"] > last, "the index file is ahead of the catalog")
        if header["sequence"] != last:
            return  # topped up when it is opened
        count, start = header["count"], 20 + length
        keys = np.frombuffer(content, "<i8", count, start).tolist()
        rows = np.frombuffer(content, "<f2", count * DIMENSIONS, start + 8 * count)
        rows = rows.reshape(count, DIMENSIONS).astype(np.float32)
        vectors: dict[int, bytes] = dict(self._rows("SELECT content, vector FROM embeddings"))
        self._say(Counter(keys) != Counter(vectors.keys()), "the index file holds other contents")
        for key, row in zip(keys, rows, strict=True):
            vector = np.frombuffer(vectors.get(key, bytes(2 * DIMENSIONS)), "<f2")
            unit = vector.astype(np.float32) / max(float(np.linalg.norm(vector)), 1e-9)
            self._say(np.abs(unit - row).max() > 2e-3, f"the index file's vector of {key}")


def violated(database: sqlite3.Connection) -> list[str]:
    """Corrections that count, and that the current clustering does not satisfy, in sentences."""
    current = database.execute(
        "SELECT json(value) FROM settings WHERE key = 'current_clustering'"
    ).fetchone()
    if current is None:
        return []
    number = int(current[0])
    there = {
        cluster
        for (cluster,) in database.execute(
            f"SELECT cluster FROM clustering_clusters WHERE clustering = {number}"
        )
    }
    at = dict(
        database.execute(f"SELECT content, cluster FROM assignments WHERE clustering = {number}")
    )
    wrong = []
    rows = database.execute(
        "SELECT id, kind, content, other, cluster FROM corrections WHERE ended IS NULL"
    )
    for one, kind, content, other, cluster in rows:
        kind = kind.decode() if isinstance(kind, bytes) else kind
        here = at.get(content)
        if here is None:
            continue
        if kind == "in" and cluster in there and here != cluster:
            wrong.append(f"{one}: content {content} in {here} instead of {cluster}")
        if kind == "not_in" and here == cluster:
            wrong.append(f"{one}: content {content} in {cluster}, where it is not to be")
        beside = at.get(other)
        if kind == "together" and beside is not None and here != beside:
            wrong.append(f"{one}: contents {content} and {other} in {here} and {beside}")
        if kind == "apart" and here == beside:
            wrong.append(f"{one}: contents {content} and {other} both in {here}")
    return wrong


def torn(database: sqlite3.Connection, *, whole: bool = False) -> list[str]:
    """Members of a burst group that are in another cluster than what represents it, in sentences.

    Those that a person has put somewhere, by a name or a correction, are free. It holds after a
    clustering in the space `smoothed`. `whole`: every content has to have a group.
    """
    groups = dict(
        database.execute(
            "SELECT content, representative FROM burst_groups WHERE rule = "
            "(SELECT id FROM burst_rules WHERE current)"
        )
    )
    at = dict(
        database.execute(
            "SELECT content, cluster FROM assignments WHERE clustering = "
            "(SELECT json(value) FROM settings WHERE key = 'current_clustering')"
        )
    )
    frozen = {one for (one,) in database.execute("SELECT id FROM clusters WHERE frozen")}
    free = {
        one
        for row in database.execute("SELECT content, other FROM corrections WHERE ended IS NULL")
        for one in row
    }
    wrong = [
        f"content {one} in {at[one]}, and {other}, which represents it, in {at[other]}"
        for one, other in groups.items()
        if one in at and other in at and at[one] != at[other]
        if at[one] not in frozen and one not in free
    ]
    alone = [one for one in at if one not in groups] if whole else []
    return wrong + [f"content {one} has no group" for one in alone]


def _number(name: bytes) -> int:
    """The cluster of a link folder, -1 where its name does not begin with one."""
    digits = re.match(rb"\d+", name)
    return int(digits[0]) if digits else -1


def _listed(folder: Path | bytes) -> Iterable[os.DirEntry[bytes]]:
    if not os.path.isdir(folder):
        return []
    with os.scandir(os.fsencode(folder)) as entries:
        return sorted(entries, key=lambda entry: entry.name)
