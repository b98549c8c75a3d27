"""Whether contents show the same pixels: small pictures first, then candidates with all theirs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgclust.duplicates.neighbour_cache import OUTLINE, Neighbourhood, Verdict
from imgclust.duplicates.thresholds import LIKE
from imgclust.images.pixel_similarity import (
    Sameness,
    cells,
    likeness,
    most_likeness,
    outlines,
    sameness,
)
from imgclust.progress import Progress, StopFlag

_BLOCK = 2048
# Cells that are kept, 3 KiB each: pairs that pass by their outlines are looked at soon.
_KEPT = 4096
_ROUNDING = 1e-4

# After so many in a row that differ from it, a content is compared with no more: bursts and films
# of a fixed camera would otherwise cost the square of their number.
_REFUTED_AT_MOST = 64

# Contents whose decoding is asked for before they are needed.
_AHEAD = 4

_VERDICTS = {
    Sameness.OTHER: Verdict.REFUTED,
    Sameness.SAME: Verdict.SAME,
    Sameness.FIRST: Verdict.FIRST,
    Sameness.SECOND: Verdict.SECOND,
}


class Pictures:
    """What contents look like.

    Each is read once, and its outline kept (772 bytes). Pairs whose outlines pass are
    compared in full.

    Parameters
    ----------
    read
        A small encoded picture of a content, None where there is none.
    """

    def __init__(self, read: Callable[[int], bytes | None]) -> None:
        self._read = read
        self._looked = functools.lru_cache(_KEPT)(self._look)
        self._row_of: dict[int, int] = {}  # -1: unknown
        self._outlines = outlines(np.empty((0, 3072), np.uint8))
        self._count = 0

    def cells(self, key: int) -> npt.NDArray[np.uint8] | None:
        """See `images.cells`; None where it is unknown."""
        return self._looked(key)

    def alike(
        self,
        some: npt.NDArray[np.int64],
        others: npt.NDArray[np.int64],
        *,
        least: float | npt.NDArray[np.float32],
        stop: StopFlag,
    ) -> npt.NDArray[np.bool_]:
        """Which pairs of contents `(m,)` have at least this likeness (each); read as needed."""
        least = np.broadcast_to(np.float32(least), len(some))
        found = np.zeros(len(some), bool)
        for start in range(0, len(some), _BLOCK):
            one = self._rows(some[start : start + _BLOCK], stop)
            other = self._rows(others[start : start + _BLOCK], stop)
            seen = np.flatnonzero((one >= 0) & (other >= 0))
            most = most_likeness(self._outlines[one[seen]], self._outlines[other[seen]])
            close = start + seen[most >= least[start + seen] - _ROUNDING]
            for at in close:
                first, second = self.cells(int(some[at])), self.cells(int(others[at]))
                if first is not None and second is not None:
                    found[at] = likeness(first[None], second[None])[0] >= least[at]
        return found

    def told(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of the contents `(m,)`, each asked for before, could be looked at."""
        return np.array([self._row_of[key] >= 0 for key in keys.tolist()], bool)

    @property
    def unseen(self) -> set[int]:
        """Contents asked for that could not be looked at."""
        return {key for key, row in self._row_of.items() if row < 0}

    def _rows(self, keys: npt.NDArray[np.int64], stop: StopFlag) -> npt.NDArray[np.int64]:
        """Where the outlines of contents are, -1 where there is none."""
        new = [key for key in dict.fromkeys(keys.tolist()) if key not in self._row_of]
        for start in range(0, len(new), _BLOCK):
            looks = []
            for key in new[start : start + _BLOCK]:
                stop.check()
                looks.append((key, self.cells(key)))
            self._row_of |= {key: -1 for key, own in looks if own is None}
            seen = [(key, own) for key, own in looks if own is not None]
            if seen:
                self._keep([key for key, _ in seen], outlines(np.stack([own for _, own in seen])))
        return np.array([self._row_of[key] for key in keys.tolist()], np.int64)

    def _keep(self, keys: Sequence[int], found: npt.NDArray[np.float32]) -> None:
        count = self._count + len(keys)
        if count > len(self._outlines):
            grown = np.empty((2 * count, self._outlines.shape[1]), np.float32)
            grown[: self._count] = self._outlines[: self._count]
            self._outlines = grown
        self._outlines[self._count : count] = found
        self._row_of |= zip(keys, range(self._count, count), strict=True)
        self._count = count

    def _look(self, key: int) -> npt.NDArray[np.uint8] | None:
        picture = self._read(key)
        try:
            return None if picture is None else cells(picture)
        except (OSError, ValueError):
            return None


class Originals(Protocol):
    """Whole pictures of contents."""

    def request(self, key: int) -> None:
        """Begin to decode a content; it will be needed soon."""

    def get(self, key: int) -> npt.NDArray[np.uint8] | None:
        """See `images.whole_picture`; None when it cannot be compared."""


class Verifier:
    """Compares contents with all their pixels; `keep` stores what was found.

    Parameters
    ----------
    neighbourhood
        Where verdicts are looked up, and kept.
    """

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        originals: Originals,
        *,
        progress: Progress,
        stop: StopFlag,
    ) -> None:
        self._neighbourhood = neighbourhood
        self._originals = originals
        self._progress = progress
        self._stop = stop
        self._new: dict[tuple[int, int], Verdict] = {}

    def compare(self, best: int, members: Sequence[int]) -> list[Verdict]:
        """The verdicts on each pair of `best` (the first) and a member (the second)."""
        keys = self._neighbourhood.keys
        pairs = np.stack([np.full(len(members), best), np.array(members, np.int64)], axis=1)
        known = self._neighbourhood.seen(np.searchsorted(keys, pairs))
        waiting = [
            member
            for member, verdict in zip(members, known.tolist(), strict=True)
            if verdict == Verdict.ALIKE
        ]
        found: list[Verdict] = []
        refuted = 0
        for member, verdict in zip(members, known.tolist(), strict=True):
            if refuted == _REFUTED_AT_MOST:
                found.append(Verdict.REFUTED)
                continue
            found.append(self._verdict(best, member, Verdict(verdict), waiting[:_AHEAD]))
            refuted = refuted + 1 if found[-1] == Verdict.REFUTED else 0
            if verdict == Verdict.ALIKE:
                del waiting[0]
        return found

    def keep(self) -> None:
        """Store the new verdicts in the neighbourhood."""
        if self._new:
            pairs = np.searchsorted(self._neighbourhood.keys, np.array(list(self._new), np.int64))
            self._neighbourhood.judge(pairs, np.array(list(self._new.values()), np.int8))
            self._new.clear()

    def _verdict(self, best: int, member: int, known: Verdict, coming: Sequence[int]) -> Verdict:
        pair = min(best, member), max(best, member)
        found = self._new.get(pair, known)
        if found == Verdict.ALIKE:
            self._stop.check()
            self._progress("comparing all pixels", len(self._new), None)
            for key in (best, *coming):
                self._originals.request(key)
            pictures = [self._originals.get(key) for key in pair]
            if pictures[0] is None or pictures[1] is None:
                return Verdict.REFUTED  # not kept: the file may be readable the next time
            found = self._new[pair] = _VERDICTS[sameness(pictures[0], pictures[1])]
        swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}
        return found if best < member else swapped.get(found, found)


Compare = Callable[[int, Sequence[int]], list[Verdict]]


# The network sees little in small pictures, so their copies are searched by their colours. A
# thumbnail and its original are far apart as embeddings: the network gets both at one size, and one
# of them is a blur. What both show in a few large cells is the same. So each small picture is
# compared with all larger ones of its shape, by 4 x 4 mean colours each, which can only make two
# pictures look more alike than they are.

# Pictures whose longer side is at most this are small; at half its size a photo of 320 pixels is
# still found by its embedding.
_SMALL_PX = 160
# Likeness from which such a pair is compared by all pixels: of 32 x 32 cells a picture of 30 x 20
# pixels has fewer than it shows. On the copies of docs/duplicates.md at a quarter of the size.
_LIKE_SMALL = 0.93
# Compared with pictures of at least so many times their area: others are as blurred as they are.
_LARGER = 2.0
# Sides of a copy are rounded to whole pixels, and some programs round to even ones.
_ROUNDED_PX = 1.5
# Colours are kept as whole numbers.
_SMALL_ROUNDING = 0.005
_NOISE = 32.0  # as in `images.likeness`
_READ, _SMALL, _OTHERS = 512, 256, 16_384

_Rows = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float32]


def small_pairs(sides: npt.NDArray[np.float64], pairs: _Rows) -> npt.NDArray[np.bool_]:
    """Which pairs `(m, 2)` are of a small picture and a larger one of the same shape.

    Parameters
    ----------
    sides
        Width and height of each content in pixels, `(n, 2)`.
    """
    one, other = sides[pairs[:, 0]], sides[pairs[:, 1]]
    swap = one.prod(axis=1) > other.prod(axis=1)
    one[swap], other[swap] = other[swap], one[swap]
    found: npt.NDArray[np.bool_] = (
        (one.max(axis=1) <= _SMALL_PX)
        & (other.prod(axis=1) >= _LARGER * one.prod(axis=1))
        & same_ratio(one, other)
    )
    return found


def least_likeness(sides: npt.NDArray[np.float64], pairs: _Rows) -> _Floats:
    """The likeness `(m,)` that the thumbnails of pairs `(m, 2)` must reach."""
    return np.where(small_pairs(sides, pairs), _LIKE_SMALL, LIKE).astype(np.float32)


def same_ratio(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether the sides `(m, 2)` could be one picture's, but for rounding to whole pixels."""
    off = np.abs(np.log(one[:, 0] * other[:, 1]) - np.log(one[:, 1] * other[:, 0]))
    least = np.minimum(one.min(axis=1), other.min(axis=1))
    found: npt.NDArray[np.bool_] = off <= np.log1p(_ROUNDED_PX / least)
    return found


def candidates(
    neighbourhood: Neighbourhood,
    *,
    sides: npt.NDArray[np.float64],
    pictures: Pictures,
    progress: Progress,
    stop: StopFlag,
) -> _Rows:
    """Pairs `(m, 2)` of a small picture and a larger one whose likeness may be enough.

    Each pair is returned once, also over several calls: `neighbourhood.matched` tells which
    contents were compared with all others. The caller sets it when the pairs are judged.

    Raises
    ------
    StoppedError
        The neighbourhood holds the outlines that were read until then.
    """
    ratio = np.log(sides[:, 0] / sides[:, 1])
    order = np.argsort(ratio, kind="stable")
    small = order[sides[order].max(axis=1) <= _SMALL_PX]
    reach = np.log1p(_ROUNDED_PX / sides[small].min(axis=1))
    first = np.searchsorted(ratio[order], ratio[small] - reach)
    last = np.searchsorted(ratio[order], ratio[small] + reach, side="right")
    _read(neighbourhood, _needed(order, small, sides, first, last), pictures, progress, stop)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(small), _SMALL):
        rows = small[start : start + _SMALL]
        progress("comparing small pictures", start, len(small))
        low, high = (
            int(first[start : start + _SMALL].min()),
            int(last[start : start + _SMALL].max()),
        )
        for begin in range(low, high, _OTHERS):
            stop.check()
            others = order[begin : min(begin + _OTHERS, high)]
            if neighbourhood.matched[rows].all():
                others = others[~neighbourhood.matched[others]]
            one, other = np.nonzero(
                _most_likeness(neighbourhood, rows, others) >= _LIKE_SMALL - _SMALL_ROUNDING
            )
            pairs = np.stack([rows[one], others[other]], axis=1)
            pairs = pairs[~neighbourhood.matched[pairs].all(axis=1)]
            found.append(pairs[small_pairs(sides, pairs)])
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def matching(neighbourhood: Neighbourhood, sides: npt.NDArray[np.float64]) -> _Rows:
    """All pairs `(m, 2)` of a small picture and a larger one whose thumbnails agree."""
    pairs = neighbourhood.judged[Verdict.agree(neighbourhood.verdicts)].astype(np.int64)
    return pairs[small_pairs(sides, pairs)]


def _needed(
    order: _Rows, small: _Rows, sides: npt.NDArray[np.float64], first: _Rows, last: _Rows
) -> _Rows:
    """The contents that have the shape of a small one and are larger, and these small ones."""
    area = sides.prod(axis=1)
    wanted = np.zeros(len(order), bool)
    for row, low, high in zip(small.tolist(), first.tolist(), last.tolist(), strict=True):
        larger = order[low:high][area[order[low:high]] >= _LARGER * area[row]]
        if len(larger):
            wanted[larger] = wanted[row] = True
    return np.flatnonzero(wanted)


def _read(
    neighbourhood: Neighbourhood,
    rows: _Rows,
    pictures: Pictures,
    progress: Progress,
    stop: StopFlag,
) -> None:
    """Read what is not known yet of these contents."""
    new = rows[neighbourhood.spreads[rows] < 0]
    for start in range(0, len(new), _READ):
        stop.check()
        progress("reading thumbnails", start, len(new))
        part = new[start : start + _READ]
        seen = [(row, pictures.cells(int(neighbourhood.keys[row]))) for row in part.tolist()]
        there = [(row, cells) for row, cells in seen if cells is not None]
        if there:
            found = outlines(np.stack([cells for _, cells in there]))
            at = [row for row, _ in there]
            fine = found[:, :-1].reshape(-1, 4, 2, 4, 2, 3)
            neighbourhood.outlines[at] = fine.mean(axis=(2, 4)).round().reshape(-1, OUTLINE)
            neighbourhood.spreads[at] = found[:, -1]


def _most_likeness(neighbourhood: Neighbourhood, rows: _Rows, others: _Rows) -> _Floats:
    """What the likeness `(m, n)` of contents is at most; see `images.most_likeness`."""
    one = neighbourhood.outlines[rows].astype(np.float32)
    other = neighbourhood.outlines[others].astype(np.float32)
    means = [cells.reshape(len(cells), OUTLINE // 3, 3).mean(axis=1) for cells in (one, other)]
    spread = neighbourhood.spreads[rows][:, None] + neighbourhood.spreads[others][None]
    whole = spread + _apart(means[0], means[1]) + _NOISE
    found: _Floats = 1 - _apart(one, other) / whole
    unknown = (neighbourhood.spreads[rows] < 0)[:, None] | (neighbourhood.spreads[others] < 0)
    found[unknown] = -1.0
    return found


def _apart(one: _Floats, other: _Floats) -> _Floats:
    """Mean squared difference of each row `(m, d)` with each `(n, d)`."""
    squares = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)[None]
    found: _Floats = np.maximum(squares - 2 * one @ other.T, 0) / one.shape[1]
    return found
