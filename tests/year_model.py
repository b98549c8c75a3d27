"""What a person may rely on over the years: ids follow contents, named clusters keep theirs.

Shares no code with imgclust: it is told what the person did, and reads the catalog by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Seen:
    """What a catalog says: (id, path, SHA-256, state) of images; SHA-256 by cluster; names."""

    images: list[tuple[int, bytes, bytes, str]]
    clusters: dict[int, set[bytes]]
    names: dict[str, int]
    frozen: set[int]

    def members(self, name: str) -> set[bytes]:
        """Contents of the cluster of this name; empty when there is none."""
        return self.clusters.get(self.names.get(name, -1), set())


def seen(catalog: Path) -> Seen:
    """Read a catalog."""
    with contextlib.closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as database:

        def rows(sql: str, *values: object) -> list[Any]:
            return database.execute(sql, values).fetchall()

        images = rows(
            "SELECT id, path, sha256, state FROM images JOIN contents ON content = key ORDER BY id"
        )
        value = rows("SELECT value FROM settings WHERE key = 'current_clustering'")
        current = json.loads(value[0][0]) if value else None
        described = rows(
            "SELECT c.id, c.name, c.frozen FROM clusters c JOIN clustering_clusters k "
            "ON k.cluster = c.id WHERE k.clustering = ?",
            current,
        )
        clusters: dict[int, set[bytes]] = {number: set() for number, _, _ in described}
        for cluster, sha256 in rows(
            "SELECT cluster, sha256 FROM assignments JOIN contents ON content = key "
            "WHERE clustering = ?",
            current,
        ):
            clusters[cluster].add(sha256)
        names = {name: number for number, name, _ in described if name is not None}
        return Seen(images, clusters, names, {number for number, _, frozen in described if frozen})


class Model:
    """Ids by content and contents by name, as they have to stay.

    Attributes
    ----------
    named
        Contents of each named cluster; a person's command changes it.
    ids_checked, members_checked
        How much was compared so far.
    """

    def __init__(self) -> None:
        self.named: dict[str, set[bytes]] = {}
        self.ids_checked = 0
        self.members_checked = 0
        self._known: dict[bytes, set[int]] = {}
        self._owner: dict[int, bytes] = {}
        self._absent: Counter[bytes] = Counter()
        self._former: defaultdict[bytes, set[bytes]] = defaultdict(set)

    def edited(self, old: bytes, new: bytes) -> None:
        """A file has got another content: its image may keep the id."""
        self._former[new] |= {old} | self._former[old]

    def removed(self, sha256: bytes, number: int, *, last: bool) -> None:
        """A person took an image out, the last one of its content or not."""
        self._known[sha256].discard(number)
        if last:
            del self._known[sha256]
            for members in self.named.values():
                members.discard(sha256)

    def check(self, found: Seen, files: Mapping[bytes, bytes], away: Set[bytes]) -> list[str]:
        """What is wrong, in sentences; `files` have to be in, `away` ones of them as missing.

        Parameters
        ----------
        files
            SHA-256 by path.
        """
        wrong: list[str] = []
        paths = Counter(path for _, path, _, _ in found.images)
        wrong += [f"two images at {path!r}" for path, count in paths.items() if count > 1]
        by_path = {path: (number, sha256, state) for number, path, sha256, state in found.images}
        now: defaultdict[bytes, set[int]] = defaultdict(set)
        for path, sha256 in files.items():
            number, other, state = by_path.get(path, (0, b"", "nowhere"))
            right = other == sha256 and state == ("missing" if path in away else "present")
            if not right:
                wrong.append(f"{path!r} is {state}, with {'its' if other == sha256 else 'another'}")
            now[sha256].add(number)
        present = {path for _, path, _, state in found.images if state == "present"}
        wrong += [f"an image too many: {path!r}" for path in present - files.keys()]
        wrong += self._ids(now)
        wrong += self._names(found, set(now))
        return wrong

    def _ids(self, now: Mapping[bytes, set[int]]) -> list[str]:
        wrong: list[str] = []
        for sha256, before in self._known.items():
            ids = now.get(sha256)
            if ids is None:
                self._absent[sha256] += 1
                continue
            self.ids_checked += len(before)
            if self._absent.pop(sha256, 0) > 1:
                continue  # forgotten meanwhile, or just not
            if not (before <= ids or ids <= before):
                wrong.append(f"{short(sha256)} had the ids {sorted(before)}, now {sorted(ids)}")
        for sha256, ids in now.items():
            for number in ids:
                owner = self._owner.get(number, sha256)
                if owner != sha256 and owner not in self._former[sha256]:
                    wrong.append(
                        f"id {number} of {short(owner)} has come to {short(sha256)} "
                        f"(ids before: {sorted(self._known.get(sha256, ()))})"
                    )
                self._owner[number] = sha256
            self._known[sha256] = set(ids)
        for sha256 in [one for one, times in self._absent.items() if times > 1]:
            self._known.pop(sha256, None)
            del self._absent[sha256]
        self._former.clear()
        return wrong

    def _names(self, found: Seen, living: Set[bytes]) -> list[str]:
        wrong: list[str] = []
        if found.names.keys() != self.named.keys():
            wrong.append(f"names are {sorted(found.names)}, not {sorted(self.named)}")
        loose = {name for name, number in found.names.items() if number not in found.frozen}
        wrong += [f"{name} is not frozen" for name in sorted(loose)]
        for name, members in self.named.items():
            self.members_checked += len(members & living)
            lost = (members & living) - found.members(name)
            where = [
                (short(one), [number for number, has in found.clusters.items() if one in has])
                for one in sorted(lost)
            ]
            if lost:
                wrong.append(f"{name} has lost {where}")
            self.named[name] = found.members(name) & living
        return wrong


def short(sha256: bytes) -> str:
    """The beginning of a SHA-256, for people."""
    return sha256.hex()[:8]


def below(paths: Iterable[bytes], folders: Iterable[Path]) -> set[bytes]:
    """Those of the paths that lie in one of the folders."""
    tops = tuple(os.fsencode(folder) + b"/" for folder in folders)
    return {path for path in paths if path.startswith(tops)} if tops else set()
