"""Small pictures: the network sees little in them, so their copies are searched by their colours.

A thumbnail and its original are far apart as embeddings: the network gets both at one size, and
one of them is a blur. What both show in a few large cells is the same. So each small picture is
compared with all larger ones of its shape, by 4 x 4 mean colours each, which can only make two
pictures look more alike than they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imgclust.duplicates.neighbour_cache import OUTLINE, Neighbourhood, Verdict
from imgclust.duplicates.pixel_check import Pictures
from imgclust.duplicates.thresholds import LIKE
from imgclust.images.pixel_similarity import outlines
from imgclust.progress import Progress, StopFlag

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
_ROUNDING = 0.005
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
                _most_likeness(neighbourhood, rows, others) >= _LIKE_SMALL - _ROUNDING
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
