"""Corrections that cannot all be satisfied: which of them prevent it, and what to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.corrections import Correction
from imgclust.clustering.constraints import Demands, can_be_satisfied, smallest_conflict
from imgclust.errors import UsageError
from imgclust.wording import counted

_NAMED = 3  # contradicting corrections that a message names
_TRIED = 50  # of so many links it is tried which of them are needed


class ContradictionError(UsageError):
    """Corrections that contradict each other, or what a person wants now.

    Attributes
    ----------
    numbers
        The others.
    """

    def __init__(self, message: str, numbers: Sequence[int]) -> None:
        super().__init__(message)
        self.numbers = tuple(numbers)


class TooFewClustersError(ContradictionError):
    """Corrections that more clusters could satisfy.

    Attributes
    ----------
    clusters, needed
        How many there are, and how many there have to be.
    """

    def __init__(self, message: str, numbers: Sequence[int], *, clusters: int, needed: int) -> None:
        super().__init__(message, numbers)
        self.clusters = clusters
        self.needed = needed


def correction_text(one: Correction, catalog: Catalog) -> str:
    """A correction in words."""

    def image(content: int) -> str:
        images = catalog.images.with_content(content)
        return f"image {images[0].id}" if images else "an image that has left"

    if one.kind in {"in", "not_in"}:
        near = ", a near copy" if one.follows else ""
        how = "in" if one.kind == "in" else "not in"
        return f"{image(one.content)} {how} cluster {one.cluster}{near}"
    if one.kind == "outlier":
        return f"{image(one.content)} is an outlier"
    assert one.other is not None
    return f"{image(one.content)} and {image(one.other)} {one.kind}"


def contradiction(
    catalog: Catalog, others: Sequence[Correction], what: str, *, every: bool = False
) -> UsageError:
    """The error that names corrections which something contradicts.

    One of them has to be taken back, or (`every`) all of them.
    """
    if not others:
        return UsageError(f"{what}: it cannot be done with the clusters there are")
    return ContradictionError(
        f"{what} contradicts {_named(others, catalog)}; to take {_back(others, every=every)}",
        [one.id for one in others],
    )


def _named(others: Sequence[Correction], catalog: Catalog) -> str:
    noun = "correction" if len(others) == 1 else "corrections"
    shown = "; ".join(f"{one.id}: {correction_text(one, catalog)}" for one in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return f"{noun} {shown}{more}"


def _back(others: Sequence[Correction], *, every: bool = False) -> str:
    """How to take corrections back: "it back: imgclust ..."."""
    numbers = [str(one.id) for one in others[:_NAMED]]
    command = "imgclust clusters corrections --remove"
    if len(others) == 1:
        return f"it back: {command} {numbers[0]}"
    if every:
        return f"them back: {command} {' --remove '.join(numbers)}"
    return f"one of them back: {command} {numbers[0]} (or {', or '.join(numbers[1:])})"


@dataclass(frozen=True, eq=False)
class Demanded:
    """Corrections as demands on the contents that they are about.

    Attributes
    ----------
    keys
        Those contents, ascending, as far as a clustering has them.
    demands
        On the rows of `keys`.
    idle
        Corrections that are about a cluster that the clustering does not have, "in" ones only.
    """

    keys: npt.NDArray[np.int64]
    demands: Demands
    idle: tuple[Correction, ...]


def demanded(
    active: Sequence[Correction], there: Iterable[int], clusters: Sequence[int]
) -> Demanded:
    """What corrections ask of contents that are `there`, in a clustering with these clusters."""
    known = set(there)
    about = {key for one in active for key in one.contents if one.kind != "outlier"}
    keys = np.array(sorted(known & about), np.int64)
    row = {key: place for place, key in enumerate(keys.tolist())}
    place_of = {cluster: place for place, cluster in enumerate(clusters)}
    group = list(range(len(keys)))
    fixed = np.full(len(keys), -1, np.int32)
    barred: list[tuple[int, int]] = []
    apart: list[tuple[int, int]] = []
    idle: list[Correction] = []

    def root(place: int) -> int:
        while group[place] != place:
            group[place] = group[group[place]]
            place = group[place]
        return place

    for one in active:
        if one.kind == "outlier" or not all(key in row for key in one.contents):
            continue
        mine = row[one.content]
        if one.other is not None:
            pair = (mine, row[one.other])
            if one.kind == "apart":
                apart.append(pair)
            else:
                group[root(pair[0])] = root(pair[1])
        elif one.cluster in place_of:
            place = place_of[one.cluster]
            if one.kind == "in":
                fixed[mine] = place
            else:
                barred.append((mine, place))
        elif one.kind == "in":
            idle.append(one)
    groups = np.array([root(place) for place in range(len(keys))], np.int64)
    return Demanded(keys, Demands(groups, fixed, tuple(barred), tuple(apart)), tuple(idle))


def linked(active: Sequence[Correction], contents: Iterable[int]) -> list[Correction]:
    """The corrections about these contents, and about those that these are tied to by others."""
    reached, due = set(contents), list(contents)
    of: dict[int, list[Correction]] = {}
    for one in active:
        for key in one.contents:
            of.setdefault(key, []).append(one)
    while due:
        for one in of.get(due.pop(), ()):
            fresh = set(one.contents) - reached
            reached |= fresh
            due += fresh
    return [one for one in active if one.content in reached]


def possible(
    active: Sequence[Correction], there: Iterable[int], clusters: Sequence[int], *, more: int = 0
) -> bool:
    """Whether corrections can be satisfied in a clustering with `more` clusters than these."""
    ids = (*clusters, *range(-more, 0))
    return can_be_satisfied(demanded(active, there, ids).demands, len(ids))


def refusal(
    catalog: Catalog,
    active: Sequence[Correction],
    there: Collection[int],
    clusters: Sequence[int],
    *,
    new: Collection[int] = (),
    every: Sequence[Correction] | None = None,
    what: str | None = None,
) -> UsageError:
    """The error that says why corrections cannot be satisfied, and names no others than prevent it.

    Without `what` the clusters are the ones that someone wants to make, as many as it takes for
    `every` correction.
    """
    given = [one for one in active if one.id in new]
    others = [one for one in active if one.id not in new]
    k, ample = len(clusters), 2 * len(every or active)  # a cluster for each content, if need be

    def conflict(more: int) -> list[Correction] | None:
        return _conflict(
            given, others, there, lambda some: possible(some, there, clusters, more=more)
        )

    preventing = conflict(ample)
    if preventing is not None:
        return contradiction(catalog, preventing, what or f"to make {counted(k, 'cluster')}")
    if every is None or not possible(every, there, clusters, more=ample):
        every = active
    less, enough = 0, ample
    while less < enough:
        middle = (less + enough) // 2
        if possible(every, there, clusters, more=middle):
            enough = middle
        else:
            less = middle + 1
    needed, preventing = k + enough, conflict(0) or []
    named = _named(preventing, catalog) if preventing else ""
    if what is None:  # there may be other conflicts: what helps is the number
        few = f"{counted(k, 'cluster')} {'is' if k == 1 else 'are'} too few for what was said"
        message = (
            f"{few}, such as {named}; use -k {needed} or more, or see imgclust clusters corrections"
        )
    else:
        few = "not possible in " + ("one cluster" if k == 1 else f"the {k:,} clusters there are")
        frozen = {*clusters} <= {*catalog.clusterings.frozen()}
        which = f"clusters split {clusters[0] if k == 1 else 'ID'}" if frozen else "cluster"
        beside = f", beside {named}" if named else ""
        back = f", or take {_back(preventing)}" if preventing else ""
        message = f"{what}: {few}{beside}; make more with imgclust {which} -k {needed}{back}"
    return TooFewClustersError(message, [one.id for one in preventing], clusters=k, needed=needed)


def _conflict(
    given: Sequence[Correction],
    others: Sequence[Correction],
    there: Collection[int],
    satisfiable: Callable[[Sequence[Correction]], bool],
) -> list[Correction] | None:
    """Those of the others that cannot be met with what is given, as few as can be.

    Images that are together may be many, and in long chains. So they are one at first, and the
    links between those that the rest is about are looked up.
    """
    links = [one for one in others if one.kind == "together"]
    rest = [one for one in others if one.kind != "together"]
    tied = [one for one in (*given, *links) if one.kind == "together"]
    first = _first_of_each(tied, there)

    def of_groups(some: Sequence[Correction]) -> bool:
        return satisfiable(
            [
                replace(
                    one,
                    content=first.get(one.content, one.content),
                    other=None if one.other is None else first.get(one.other, one.other),
                )
                for one in some
                if one.kind != "together"
            ]
        )

    found = smallest_conflict(given, rest, of_groups)
    if found is None:
        return None
    ends = {key for one in (*given, *found) for key in one.contents}
    between = _between(ends, [one for one in given if one.kind == "together"], links)
    if len(between) <= _TRIED:
        between = smallest_conflict([*given, *found], between, satisfiable) or []
    return sorted([*found, *between], key=lambda one: one.id)


def _first_of_each(tied: Sequence[Correction], there: Collection[int]) -> dict[int, int]:
    """For contents that are tied together the first one of them."""
    first: dict[int, int] = {}

    def root(key: int) -> int:
        while first.get(key, key) != key:
            first[key] = first.get(first[key], first[key])
            key = first[key]
        return key

    for one in tied:
        if one.other is not None and one.content in there and one.other in there:
            low, high = sorted((root(one.content), root(one.other)))
            first[high] = low
    return {key: root(key) for key in [*first]}


def _between(
    ends: Collection[int], given: Sequence[Correction], links: Sequence[Correction]
) -> list[Correction]:
    """The links on the shortest ways from one of the ends to those that are tied to it."""
    beside: dict[int, list[Correction]] = {}
    for one in (*given, *links):
        for key in one.contents:
            beside.setdefault(key, []).append(one)
    came: dict[int, tuple[int, Correction] | None] = {}
    needed: dict[int, Correction] = {}
    for end in sorted(ends):
        if end not in came:
            came[end] = None
            due = deque([end])
            while due:
                key = due.popleft()
                for one in beside.get(key, ()):
                    for other in one.contents:
                        if other not in came:
                            came[other] = key, one
                            due.append(other)
        step = came[end]
        while step is not None:
            needed[step[1].id] = step[1]
            step = came[step[0]]
    ours = {one.id for one in given}
    return [one for number, one in needed.items() if number not in ours]
