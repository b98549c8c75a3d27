"""Neighbourhood: the nearest others of each content and what was seen of them, kept between calls.

The file is a cache: what is damaged, of another recipe or of another version is made again.
"""

from __future__ import annotations

import contextlib
import enum
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgclust.fs import read_regular, replacing

# Of what is kept; another one starts over. The likeness that was judged by is part of it.
# Version 2: verdicts by all pixels. Other limits in images/pixel_similarity.py need a new version.
# Version 3: outlines of small pictures and of those that have their shape.
# Version 4: which of two holds more is compared with what encoding changes.
_VERSION = 4
_CHECKSUM_BYTES = 4
_CONTENTS = ("keys", "asked", "outlines", "spreads", "matched")
_FIELDS = (*_CONTENTS, "one", "other", "cosines", "judged", "verdicts")
# Numbers of an outline: 4 x 4 cells of three colours.
OUTLINE = 48

Positions = npt.NDArray[np.int32]


class Verdict(enum.IntEnum):
    """What is known of a pair of contents, the smaller key first.

    `OTHER`: their thumbnails differ. `ALIKE`: their thumbnails agree, and nothing more is known.
    The next ones agree in their thumbnails and were compared by all pixels: `SAME`; `FIRST` or
    `SECOND`, the same and that one holds more; `REFUTED`, not the same. `LINKED`: their thumbnails
    differ, and both agree with those of a third, so that they would be compared again.
    """

    OTHER = 0
    ALIKE = 1
    SAME = 2
    FIRST = 3
    SECOND = 4
    REFUTED = 5
    LINKED = 6

    @classmethod
    def agree(cls, verdicts: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
        """Where the thumbnails of pairs `(m,)` agree."""
        found: npt.NDArray[np.bool_] = (verdicts >= cls.ALIKE) & (verdicts <= cls.REFUTED)
        return found


@dataclass
class Neighbourhood:
    """What is known of `n` contents; pairs name them by their positions among the keys.

    Attributes
    ----------
    keys
        Contents, ascending, int64 `(n,)`.
    asked
        How many neighbours of each were asked for, int32 `(n,)`; 0: they have to be looked for.
    outlines, spreads, matched
        Mean colours of 4 x 4 cells, uint8 `(n, 48)`, and how far the colours lie from their mean,
        float32 `(n,)`, -1 where both are not known; whether these were compared with all others
        that are known, bool `(n,)`. See `small_pictures`.
    one, other, cosines
        A row `(m,)` for each neighbour of each content, int32, int32, float32: by content, the
        nearest first.
    judged, verdicts
        Pairs that were compared, int32 `(p, 2)`, the smaller first, each once, in order; and the
        `Verdict` of each, int8 `(p,)`.
    """

    keys: npt.NDArray[np.int64]
    asked: Positions
    outlines: npt.NDArray[np.uint8]
    spreads: npt.NDArray[np.float32]
    matched: npt.NDArray[np.bool_]
    one: Positions
    other: Positions
    cosines: npt.NDArray[np.float32]
    judged: Positions
    verdicts: npt.NDArray[np.int8]

    @classmethod
    def of(cls, keys: npt.NDArray[np.int64]) -> Neighbourhood:
        """Contents of which nothing is known."""
        empty = np.empty(0, np.int32)
        return cls(
            keys=keys,
            asked=np.zeros(len(keys), np.int32),
            outlines=np.zeros((len(keys), OUTLINE), np.uint8),
            spreads=np.full(len(keys), -1, np.float32),
            matched=np.zeros(len(keys), bool),
            one=empty,
            other=empty,
            cosines=np.empty(0, np.float32),
            judged=np.empty((0, 2), np.int32),
            verdicts=np.empty(0, np.int8),
        )

    def followed(self, keys: npt.NDArray[np.int64]) -> tuple[Neighbourhood, npt.NDArray[np.bool_]]:
        """The same for other contents `(k,)`, ascending, and which of them are new, bool `(k,)`.

        Of contents that left nothing stays; those that had them for a neighbour have to be asked
        again, as the next nearest takes that place.
        """
        at = np.searchsorted(keys, self.keys)
        at[at == len(keys)] = 0
        stays = keys[at] == self.keys if len(keys) else np.zeros(len(at), bool)
        position = np.where(stays, at, -1).astype(np.int32)
        new = np.ones(len(keys), bool)
        new[position[stays]] = False
        found = Neighbourhood.of(keys)
        for name in _CONTENTS[1:]:
            getattr(found, name)[position[stays]] = getattr(self, name)[stays]
        one, other = position[self.one], position[self.other]
        found.asked[one[(one >= 0) & (other < 0)]] = 0
        kept = (one >= 0) & (other >= 0)
        found.one, found.other, found.cosines = one[kept], other[kept], self.cosines[kept]
        judged = position[self.judged]
        known = (judged >= 0).all(axis=1)
        found.judged, found.verdicts = judged[known], self.verdicts[known]
        return found, new

    def reach(self) -> npt.NDArray[np.float32]:
        """From which cosine others would be neighbours of each content, float32 `(n,)`.

        Infinite for those that have to be asked again anyway, and less than any cosine for those
        that have fewer neighbours than were asked for.
        """
        least = np.full(len(self.keys), np.inf, np.float32)
        np.minimum.at(least, self.one, self.cosines)
        least[np.bincount(self.one, minlength=len(least)) < self.asked] = -np.inf
        least[self.asked == 0] = np.inf
        return least

    def add(
        self,
        parts: Sequence[
            tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
        ],
    ) -> None:
        """More neighbours: rows of `one`, `other`, `cosines`.

        Of each content as many stay as were asked for, the nearest.
        """
        if not parts:
            return
        one, other, cosines = (np.concatenate(column) for column in zip(*parts, strict=True))
        self.one = np.concatenate([self.one, one.astype(np.int32)])
        self.other = np.concatenate([self.other, other.astype(np.int32)])
        self.cosines = np.concatenate([self.cosines, cosines.astype(np.float32)])
        order = np.lexsort((self.other, -self.cosines, self.one))
        self._keep(order)
        self._keep(np.flatnonzero(self._ranks() < self.asked[self.one]))

    def narrow(self, least: int, *, by: int) -> bool:
        """Keep `by` times fewer neighbours where not all of so many are copies; False: nowhere.

        Those that were asked for further once, and would not be now, are so as if never asked.
        """
        ranks, copies = self._ranks(), self.copies()
        fewer = self.asked // by
        within = self.one[copies & (ranks < fewer[self.one])]
        narrower = (self.asked > least) & (np.bincount(within, minlength=len(fewer)) < fewer)
        self.asked[narrower] = fewer[narrower]
        self._keep(np.flatnonzero(ranks < self.asked[self.one]))
        return bool(narrower.any())

    def copies(self) -> npt.NDArray[np.bool_]:
        """Of each neighbour `(m,)` whether the thumbnails of both agree."""
        return Verdict.agree(self.seen(np.stack([self.one, self.other], axis=1).astype(np.int64)))

    def forget(self, rows: npt.NDArray[np.int64]) -> None:
        """Drop the neighbours of these contents: they have to be looked for."""
        self.asked[rows] = 0
        self._keep(np.flatnonzero(self.asked[self.one]))

    def pairs(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Each pair of neighbours once, int64 `(m, 2)`, the smaller first, and their cosines."""
        codes = self._codes(np.stack([self.one, self.other], axis=1))
        unique, first = np.unique(codes, return_index=True)
        return np.stack(np.divmod(unique, max(len(self.keys), 1)), axis=1), self.cosines[first]

    def seen(self, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """Of pairs `(m, 2)` the `Verdict`, -1 where there is none, int8 `(m,)`."""
        found = np.full(len(pairs), -1, np.int8)
        if len(self.judged):
            known, asked = self._codes(self.judged), self._codes(pairs)
            at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
            there = known[at] == asked
            found[there] = self.verdicts[at[there]]
        return found

    def judge(self, pairs: npt.NDArray[np.int64], verdicts: npt.NDArray[np.integer]) -> None:
        """Remember the verdicts of pairs `(m, 2)`, each once, in place of earlier ones."""
        judged = np.concatenate([np.sort(pairs, axis=1).astype(np.int32), self.judged])
        found = np.concatenate([verdicts.astype(np.int8), self.verdicts])
        _, first = np.unique(self._codes(judged), return_index=True)  # the new ones come first
        self.judged, self.verdicts = judged[first], found[first]

    def save(self, path: Path, *, recipe: str, likeness: float) -> None:
        """Write it to a file, whole or not at all; one process at a time.

        Raises
        ------
        OSError
            When the disk refuses; what was there is as it was.
        """
        # What was judged of pairs that are not neighbours any more leaves, but for contents whose
        # neighbours are still to be looked for, and pairs that others can link.
        near = self.verdicts >= Verdict.ALIKE
        near |= (self.asked[self.judged] == 0).any(axis=1)
        codes = self._codes(self.pairs()[0])  # ascending
        if len(codes):
            own = self._codes(self.judged)
            near |= codes[np.minimum(np.searchsorted(codes, own), len(codes) - 1)] == own
        content = io.BytesIO()
        np.savez(
            content,
            made_by=np.array([str(_VERSION), recipe, repr(likeness)]),
            **{name: getattr(self, name) for name in _FIELDS}
            | {"judged": self.judged[near], "verdicts": self.verdicts[near]},
        )
        with replacing(path, temporary=path.with_name(f"{path.name}.tmp")) as file:
            file.write(zlib.crc32(content.getbuffer()).to_bytes(_CHECKSUM_BYTES, "little"))
            file.write(content.getbuffer())

    @classmethod
    def load(cls, path: Path, *, recipe: str, likeness: float) -> Neighbourhood:
        """What was kept in a file; of no contents where nothing fits."""
        try:
            content = memoryview(read_regular(path))
        except OSError:
            content = memoryview(b"")
        checksum, content = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
        if content and int.from_bytes(checksum, "little") == zlib.crc32(content):
            # Another version may have other names, or another form altogether.
            with (
                contextlib.suppress(KeyError, ValueError, OSError, zipfile.BadZipFile),
                np.load(io.BytesIO(content), allow_pickle=False) as kept,
            ):
                if kept["made_by"].tolist() == [str(_VERSION), recipe, repr(likeness)]:
                    return cls(**{name: kept[name] for name in _FIELDS})
        return cls.of(np.empty(0, np.int64))

    def same_as(self, other: Neighbourhood) -> bool:
        """Whether both have the same neighbours."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in _FIELDS)

    def _ranks(self) -> npt.NDArray[np.int64]:
        """Of each neighbour `(m,)` how many of the same content are nearer."""
        found: npt.NDArray[np.int64] = np.arange(len(self.one)) - np.searchsorted(
            self.one, self.one
        )
        return found

    def _keep(self, rows: npt.NDArray[np.int64]) -> None:
        self.one, self.other, self.cosines = self.one[rows], self.other[rows], self.cosines[rows]

    def _codes(self, pairs: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        ordered = np.sort(pairs.astype(np.int64), axis=1)
        found: npt.NDArray[np.int64] = ordered[:, 0] * len(self.keys) + ordered[:, 1]
        return found
