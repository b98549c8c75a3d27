"""The nearest neighbours of new images, and which are copies; groups from pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgclust.duplicates.neighbour_cache import Neighbourhood, Verdict
from imgclust.duplicates.pixel_check import (
    Compare,
    Pictures,
    candidates,
    least_likeness,
    matching,
    same_ratio,
)
from imgclust.duplicates.thresholds import Thresholds
from imgclust.index.vector_index import RowSearch, VectorIndex
from imgclust.progress import Progress, StopFlag, silent
from imgclust.projection.pca import fit_pca


@dataclass(frozen=True)
class Pairs:
    """Pairs of contents: keys `(m, 2)` int64, the smaller first, and cosines `(m,)` float32."""

    keys: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, kept: npt.NDArray[np.bool_]) -> Pairs:
        """Those of the pairs that are marked."""
        return Pairs(self.keys[kept], self.scores[kept])

    @classmethod
    def of(cls, parts: Sequence[Pairs]) -> Pairs:
        """The pairs of all parts, each once, in the order of their keys."""
        keys = np.concatenate([np.empty((0, 2), np.int64), *(part.keys for part in parts)])
        scores = np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)])
        keys = np.sort(keys, axis=1)
        unique, first = np.unique(keys, axis=0, return_index=True)
        return cls(unique, scores[first])


# Members that the others are compared with, and how small they may be beside those, in pixels.
_THROUGH = 3
_SMALLER = 0.4


def grouped(
    pairs: Pairs,
    best_first: Mapping[int, tuple[object, ...]],
    *,
    without: Iterable[int] = (),
    compare: Compare | None = None,
    sizes: Mapping[int, int] | None = None,
    kept: Collection[int] = (),
    enlarged: Callable[[int, int], bool] = lambda one, other: False,
) -> list[list[tuple[int, float]]]:
    """Divide contents into groups, the best copy first in each; no content is in two.

    The best of all contents takes whatever passes against it, then the best of those left, and
    so on. So every member has passed against the best copy of its group itself, or (`sizes`)
    against a copy that has.

    Parameters
    ----------
    pairs
        The pairs that pass, or that are compared.
    best_first
        What each content is sorted by: the smallest is the best copy.
    without
        Contents that are left out.
    compare
        Gives the verdicts on a content and others; None: all pairs pass. A content that holds
        more than a better one comes before it.
    sizes
        Pixels of each content. Given, what fails against the best copy is compared with a few of
        its members that are not much smaller: two copies that were enlarged or encoded twice
        differ more from each other than both from their original.
    kept
        Contents that come first also where another one holds more.
    enlarged
        Whether the first content may be an enlarged copy of the second, if it holds no more.

    Returns
    -------
    list
        For each group its contents with the cosine to the first of them (1 for itself), the most
        similar first.
    """
    beside: dict[int, list[tuple[int, float]]] = {}
    for (one, other), score in zip(pairs.keys.tolist(), pairs.scores.tolist(), strict=True):
        beside.setdefault(one, []).append((other, score))
        beside.setdefault(other, []).append((one, score))
    order = sorted(beside, key=lambda key: (*best_first[key], key))
    place = {key: number for number, key in enumerate(order)}
    taken, asked = set(without), set[int]()
    groups = []
    waiting = order[::-1]
    while waiting:
        best = waiting.pop()
        if best in taken:
            continue
        members = [(key, score) for key, score in beside[best] if key not in taken]
        members.sort(key=lambda member: (-member[1], place[member[0]]))
        if compare is not None and members:
            verdicts = compare(best, [key for key, _ in members])
            more = [
                key
                for (key, _), verdict in zip(members, verdicts, strict=True)
                if (key in kept or best not in kept)
                and (verdict == Verdict.SECOND or (verdict == Verdict.SAME and enlarged(best, key)))
            ]
            if more and best not in asked:  # each once: those that hold more come before it
                asked.add(best)
                waiting += [best, *sorted(more, key=lambda key: -place[key])]
                continue
            left = members
            members = _passed(members, verdicts, best in kept)
            for other, _ in sorted(members, key=lambda member: place[member[0]])[:_THROUGH]:
                linked = {key for key, _ in beside[other]}
                known = {key for key, _ in members}
                tried = [
                    (key, score)
                    for key, score in left
                    if key in linked
                    and key not in known
                    and sizes is not None
                    and sizes[other] >= _SMALLER * sizes[key]
                ]
                if tried:
                    members += _passed(tried, compare(other, [key for key, _ in tried]))
            members.sort(key=lambda member: (-member[1], place[member[0]]))
        if members:
            groups.append([(best, 1.0), *members])
            taken.update(key for key, _ in groups[-1])
    return groups


def _passed(
    members: Sequence[tuple[int, float]], verdicts: Sequence[Verdict], kept: bool = False
) -> list[tuple[int, float]]:
    """The members that are the same, and hold no more than what they were compared with.

    `kept`: what they were compared with is preferred, whatever it holds.
    """
    passing = {Verdict.SAME, Verdict.FIRST} | ({Verdict.SECOND} if kept else set())
    return [member for member, verdict in zip(members, verdicts, strict=True) if verdict in passing]


# Candidates of each content; asked for again, four times as many, where all of them are copies.
_NEIGHBOURS = 16
_MORE = 4
_BLOCK = 512
# Pairs whose pictures are compared before it is remembered.
_JUDGED = 4096
# Up to this share of all contents, and this number, the new ones are compared with all others one
# by one: of more, a search of its own for all is the cheaper one.
_FEW = 1 / 20
_FEW_AT_MOST = 10_000
# Of the contents that look like one, so many are compared with each other.
_LINKED_AT_MOST = 64
# Rows of the index that are multiplied at once, and with how many others.
_ROWS = 4096
_OTHERS = 1024
# Above so many contents the neighbours are searched in fewer dimensions, and scored in all.
_MANY = 5000
_FEWER_DIMS = 256
# Above so many the rows are divided into parts, of which the nearest are searched.
_VERY_MANY = 20_000
_PCA_ROWS = 4096

_Rows = npt.NDArray[np.int64]
# Positions (m, count) of the neighbours of some contents, these themselves among them.
_Search = Callable[[_Rows, int], _Rows]


def updated_neighbourhood(
    kept: Neighbourhood,
    index: VectorIndex,
    keys: _Rows,
    *,
    progress: Progress = silent,
    stop: StopFlag,
) -> Neighbourhood:
    """A neighbourhood brought to the contents `(n,)`, ascending, that there are now.

    New images are inserted among the neighbours of existing ones; `search_pairs` asks for theirs.
    So what is found does not depend on the order in which they came.

    Raises
    ------
    StoppedError
        What is kept is as it was.
    """
    found, new = kept.followed(keys)
    came = np.flatnonzero(new)
    if not _are_few(len(came), len(keys)):
        found.asked[:] = 0
        return found
    reach = found.reach()
    parts = []
    for start in range(0, len(came), _OTHERS):
        progress("placing new images", start, len(came))
        rows = came[start : start + _OTHERS]
        for first, cosines in _products(index, keys, rows, stop):
            here, beside = np.nonzero(cosines > reach[first : first + cosines.shape[1]])
            known = first + beside
            exact = _cosines(index, keys, rows, here, known)
            parts.append((known, rows[here], exact))
    found.add(parts)
    return found


def search_pairs(
    index: VectorIndex,
    neighbourhood: Neighbourhood,
    *,
    shapes: Mapping[int, tuple[int, int, int]],
    thresholds: Thresholds,
    pictures: Pictures,
    progress: Progress,
    stop: StopFlag,
) -> tuple[Pairs, Pairs]:
    """Pairs whose thumbnails agree, and similar ones; the neighbourhood remembers both.

    Raises
    ------
    StoppedError
        The neighbourhood holds what was done until then.
    """
    keys = neighbourhood.keys
    sides = np.array([shapes[int(key)][:2] for key in keys], np.float64).reshape(-1, 2)
    search: _Search | None = None
    asked, number = np.flatnonzero(neighbourhood.asked == 0), _NEIGHBOURS
    while True:
        if len(asked) and len(keys) > 1:
            if search is None:
                search = _search(index, keys, len(asked), progress, stop)
            _ask(neighbourhood, asked, number, index, search, progress, stop)
        pairs, cosines = neighbourhood.pairs()
        alike = (cosines >= thresholds.near) & same_ratio(sides[pairs[:, 0]], sides[pairs[:, 1]])
        _judge(neighbourhood, pairs[alike], sides, pictures, progress, stop)
        asked = _full(neighbourhood)
        if len(asked):
            number = _MORE * int(neighbourhood.asked[asked].min())
            asked = asked[neighbourhood.asked[asked] < number]
        elif not neighbourhood.narrow(_NEIGHBOURS, by=_MORE):
            break
    same = alike & Verdict.agree(neighbourhood.seen(pairs))
    found = Pairs(keys[pairs], cosines)
    linked = _linked(pairs[same], len(keys))
    linked = linked[same_ratio(sides[linked[:, 0]], sides[linked[:, 1]])]
    linked = linked[neighbourhood.seen(linked) != Verdict.OTHER]
    _judge(neighbourhood, linked, sides, pictures, progress, stop, other=Verdict.LINKED)
    linked = linked[Verdict.agree(neighbourhood.seen(linked))]
    small = candidates(neighbourhood, sides=sides, pictures=pictures, progress=progress, stop=stop)
    _judge(neighbourhood, small, sides, pictures, progress, stop)
    neighbourhood.matched = neighbourhood.spreads >= 0
    others = np.concatenate([linked, matching(neighbourhood, sides)])
    near = Pairs.of([found.where(same), Pairs(keys[others], _paired_cosines(index, keys, others))])
    return near, found.where(~same & (cosines >= thresholds.similar))


def _linked(pairs: _Rows, count: int) -> _Rows:
    """Pairs `(m, 2)` of contents that both are in pairs with a third; the smaller first.

    A copy may have so many look-alikes that its original is not among its neighbours.
    """
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    starts = np.flatnonzero(np.diff(both[:, 0], prepend=-1))
    codes = [np.empty(0, np.int64)]
    for beside in np.split(both[:, 1], starts[1:]):
        few = beside[:_LINKED_AT_MOST]
        one, other = np.triu_indices(len(few), 1)
        codes.append(few[one] * count + few[other])  # ascending: the smaller first
    return np.stack(np.divmod(np.unique(np.concatenate(codes)), max(count, 1)), axis=1)


def _paired_cosines(index: VectorIndex, keys: _Rows, pairs: _Rows) -> npt.NDArray[np.float32]:
    scores = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _BLOCK):
        part = keys[pairs[start : start + _BLOCK]]
        one, other = index.reconstruct(part[:, 0]), index.reconstruct(part[:, 1])
        scores[start : start + _BLOCK] = np.einsum("ij,ij->i", one, other)
    return scores


def _ask(
    neighbourhood: Neighbourhood,
    asked: _Rows,
    number: int,
    index: VectorIndex,
    search: _Search,
    progress: Progress,
    stop: StopFlag,
) -> None:
    """Look up so many neighbours of some contents again."""
    neighbourhood.forget(asked)
    parts = []
    try:
        for start in range(0, len(asked), _BLOCK):
            stop.check()
            progress("comparing images", start, len(asked))
            rows = asked[start : start + _BLOCK]
            beside = search(rows, number + 1)
            here = np.repeat(np.arange(len(rows)), beside.shape[1])
            other = beside.reshape(-1)
            real = (other >= 0) & (other != rows[here])
            here, other = here[real], other[real]
            cosines = _cosines(index, neighbourhood.keys, rows, here, other)
            neighbourhood.asked[rows] = number
            parts.append((rows[here], other, cosines))
    finally:
        neighbourhood.add(parts)


def _judge(
    neighbourhood: Neighbourhood,
    pairs: _Rows,
    sides: npt.NDArray[np.float64],
    pictures: Pictures,
    progress: Progress,
    stop: StopFlag,
    *,
    other: Verdict = Verdict.OTHER,
) -> None:
    """Compare the thumbnails of pairs that have no verdict yet; `other`: those that differ."""
    new = pairs[neighbourhood.seen(pairs) < 0]
    keys = neighbourhood.keys
    for start in range(0, len(new), _JUDGED):
        progress("comparing pictures", start, len(new))
        part = new[start : start + _JUDGED]
        first, second = keys[part[:, 0]], keys[part[:, 1]]
        same = pictures.alike(first, second, least=least_likeness(sides, part), stop=stop)
        told = pictures.told(first) & pictures.told(second)
        verdicts = np.where(same, int(Verdict.ALIKE), int(other)).astype(np.int8)
        neighbourhood.judge(part[told], verdicts[told])


def _full(neighbourhood: Neighbourhood) -> _Rows:
    """Contents of which every neighbour that was asked for is a copy: there may be more."""
    copies = neighbourhood.one[neighbourhood.copies()]
    count = len(neighbourhood.keys)
    full = np.bincount(copies, minlength=count) >= neighbourhood.asked
    found: _Rows = np.flatnonzero(
        full & (neighbourhood.asked > 0) & (neighbourhood.asked < count - 1)
    )
    return found


def _search(
    index: VectorIndex, keys: _Rows, number: int, progress: Progress, stop: StopFlag
) -> _Search:
    """What finds the neighbours of contents: one by one for a few, else by a search of its own."""
    if _are_few(number, len(keys)):
        return lambda rows, count: _nearest(index, keys, rows, count, stop)
    if len(keys) <= _MANY:
        points = index.reconstruct(keys)
    else:
        progress("comparing images", 0, None)
        sample = np.linspace(0, len(keys) - 1, _PCA_ROWS).astype(np.int64)
        projection = fit_pca(index.reconstruct(keys[sample]), dims=_FEWER_DIMS)
        points = np.empty((len(keys), projection.dims), np.float32)
        for start in range(0, len(keys), _BLOCK):
            stop.check()
            part = slice(start, start + _BLOCK)
            points[part] = projection.transform(index.reconstruct(keys[part]))
    parts = round(2 * len(keys) ** 0.5) if len(keys) > _VERY_MANY else 1
    search = RowSearch(points, parts=parts)
    return lambda rows, count: search.nearest(points[rows], count)


def _are_few(number: int, contents: int) -> bool:
    return number <= min(max(1, _FEW * contents), _FEW_AT_MOST)


def _nearest(index: VectorIndex, keys: _Rows, rows: _Rows, count: int, stop: StopFlag) -> _Rows:
    """Positions `(m, count)` of the contents nearest to some, in any order; exact."""
    best = np.empty((len(rows), 0), np.float32)
    positions = np.empty((len(rows), 0), np.int64)
    for first, cosines in _products(index, keys, rows, stop):
        here = np.broadcast_to(np.arange(first, first + cosines.shape[1]), cosines.shape)
        best, positions = np.hstack([best, cosines]), np.hstack([positions, here])
        if best.shape[1] > count:
            kept = np.argpartition(-best, count - 1, axis=1)[:, :count]
            best = np.take_along_axis(best, kept, 1)
            positions = np.take_along_axis(positions, kept, 1)
    return positions


def _products(
    index: VectorIndex, keys: _Rows, rows: _Rows, stop: StopFlag
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Cosines of some contents with all, some at a time: first of these, float32 `(m, some)`."""
    own = index.reconstruct(keys[rows])
    for first in range(0, len(keys), _ROWS):
        stop.check()
        yield first, own @ index.reconstruct(keys[first : first + _ROWS]).T


def _cosines(
    index: VectorIndex, keys: _Rows, rows: _Rows, here: _Rows, other: _Rows
) -> npt.NDArray[np.float32]:
    """Cosines `(m,)` of the contents `rows[here]` with the contents `other`."""
    own = index.reconstruct(keys[rows])
    scores = np.empty(len(other), np.float32)
    for start in range(0, len(other), _BLOCK):
        part = slice(start, start + _BLOCK)
        beside = index.reconstruct(keys[other[part]])
        scores[part] = np.einsum("ij,ij->i", own[here[part]], beside)
    return scores
