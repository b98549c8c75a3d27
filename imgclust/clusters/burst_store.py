"""The burst groups of a collection: found at arrival and at fits, kept in the catalog."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.clustering.burst_groups import BurstRule, Representatives, burst_rule, group_bursts
from imgclust.errors import ClusteringError
from imgclust.failpoints import passing
from imgclust.vectors import Rows

Vectors = npt.NDArray[np.float32]

# A rule is made again when the collection has grown to so many times what it was made from, or
# shrunk as much: what is near in a few photos need not be near in many.
_GROWN = 1.5
# Groups written, and arrivals followed, in one transaction.
_CHUNK = 5_000
_FOLLOWED = 250
_BLOCK = 1_000


@dataclass(frozen=True, eq=False)
class Bursts:
    """The burst groups of the contents of a fit.

    Attributes
    ----------
    leaders
        The row that represents each row's group, int64 (n,).
    rule
        What decides about others.
    stored
        The number of the rule in the catalog; None for one that is new.
    fresh
        Rows whose group is not stored, int64 (m,).
    places
        Where the rows lie on the axes of the rule, float16 (n, q); None where none is fresh.
    """

    leaders: npt.NDArray[np.int64]
    rule: BurstRule
    stored: int | None
    fresh: npt.NDArray[np.int64]
    places: npt.NDArray[np.float16] | None = None


def bursts_of(catalog: Catalog, keys: npt.NDArray[np.int64], rows: Rows, *, recipe: str) -> Bursts:
    """The groups of contents (n,), ascending, with embeddings (n, d) of unit length.

    Those that are stored stay, as long as their representative is there.
    """
    n = len(keys)
    known = np.full(n, -1, np.int64)
    with catalog.snapshot():
        rule, made = None, 0
        if (number := catalog.bursts.current_id(recipe)) is not None:
            rule, made = _rule(catalog, number)
            contents, representatives = catalog.bursts.groups(number)
    if rule is not None:
        places, others = _places(keys, contents), _places(keys, representatives)
        there = (places >= 0) & (others >= 0)
        known[places[there]] = others[there]
        # A representative that is none any more leaves its members to be grouped again.
        grouped = np.flatnonzero(known >= 0)
        known[grouped[known[known[grouped]] != known[grouped]]] = -1
    renewed = rule is None or n > _GROWN * made or made > _GROWN * n
    if rule is None or renewed:
        rule = burst_rule(rows)
        _let_go(rows, known, rule)
    fresh = np.flatnonzero(known < 0)
    if not fresh.size and not renewed:
        return Bursts(known, rule, number, fresh)
    bounds, on_axes = np.ones(n), np.empty((n, len(rule.axes)), np.float32)
    new = known < 0
    for start in range(0, n, _BLOCK):  # of each row once: it is converted
        part = slice(start, start + _BLOCK)
        block = rows[part]
        on_axes[part] = rule.on_axes(block)
        if new[part].any():
            bounds[part][new[part]] = rule.bounds(block[new[part]])
    leaders = group_bursts(rows, bounds=bounds, known=known, on_axes=on_axes)
    halved = on_axes.astype(np.float16)
    if renewed:
        return Bursts(leaders, rule, None, np.arange(n), halved)
    return Bursts(leaders, rule, number, fresh, halved)


def _rule(catalog: Catalog, number: int) -> tuple[BurstRule | None, int]:
    """A stored rule, None where it is damaged, and how many contents it was made from."""
    stored = catalog.bursts.get(number)
    with contextlib.suppress(ClusteringError):
        return BurstRule.from_bytes(stored.blob), stored.contents
    return None, stored.contents


def _places(keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The row of each key, -1 where it has none."""
    rows = np.searchsorted(keys, wanted)
    rows[rows == len(keys)] = 0
    return np.where(keys[rows] == wanted, rows, -1)


def _let_go(rows: Rows, known: npt.NDArray[np.int64], rule: BurstRule) -> None:
    """Members that by another rule are not near enough have no group any more."""
    members = np.flatnonzero((known >= 0) & (known != np.arange(len(known))))
    for start in range(0, len(members), _BLOCK):
        part = members[start : start + _BLOCK]
        cosines = np.einsum("ij,ij->i", rows[part], rows[known[part]], dtype=np.float64)
        known[part[cosines < rule.bounds(rows[part])]] = -1


def keep(
    catalog: Catalog, bursts: Bursts, keys: npt.NDArray[np.int64], *, recipe: str, since: int
) -> None:
    """Store the groups of contents (n,), those at change `since`; what came later joins them."""
    number = bursts.stored
    if number is None:
        with catalog.transaction():
            number = catalog.bursts.put(
                recipe=catalog.contents.recipe_id(recipe),
                contents=len(keys),
                blob=bursts.rule.to_bytes(),
            )
        passing("bursts.rule")
    for start in range(0, len(bursts.fresh), _CHUNK):
        part = bursts.fresh[start : start + _CHUNK]
        leading = bursts.leaders[part] == part
        assert bursts.places is not None
        places = iter(bursts.places[part[leading]])
        with catalog.piece():
            there = catalog.contents.known(keys[part].tolist())
            catalog.bursts.set_groups(
                number,
                [
                    row
                    for row in zip(
                        keys[part].tolist(),
                        keys[bursts.leaders[part]].tolist(),
                        [next(places).tobytes() if one else None for one in leading],
                        strict=True,
                    )
                    if row[0] in there
                ],
            )
        passing("bursts.chunk")
    if bursts.stored is not None:
        return
    finder = BurstFinder(catalog, number)
    while True:
        with catalog.piece():
            late = catalog.bursts.missing(number, recipe, since, _FOLLOWED)
            if late:
                finder.take_in(late, _unit(catalog.contents.embeddings(late, recipe)))
            if len(late) < _FOLLOWED:
                catalog.bursts.make_current(number)
        if len(late) < _FOLLOWED:
            passing("bursts.current")
            return


def drop_old(catalog: Catalog) -> None:
    """Delete the groups of rules that are not current; the caller holds the clustering lock."""
    done = False
    while not done:
        with catalog.piece():
            done = catalog.bursts.drop_old(rows=_CHUNK)
        passing("bursts.dropped")


class BurstFinder:
    """Finds the burst group of each arrival by a stored rule.

    It compares with all representatives on few axes, and with the nearest of these in full.
    """

    def __init__(self, catalog: Catalog, rule: int) -> None:
        """Read what there is.

        Raises
        ------
        ClusteringError
            When the rule is damaged: the next fit makes another.
        """
        self._catalog = catalog
        self.number = rule
        stored = catalog.bursts.get(rule)
        self._recipe = stored.recipe
        self._rule = BurstRule.from_bytes(stored.blob)
        keys, blobs = catalog.bursts.representatives(rule)
        places = np.frombuffer(b"".join(blobs), np.float16).reshape(len(keys), len(self._rule.axes))
        self._known = Representatives(self._rule, keys, places)

    def take_in(self, keys: Sequence[int], vectors: Vectors) -> None:
        """Store the groups of arrivals (n, d), of unit length; the caller holds the transaction."""
        bounds, places = self._rule.bounds(vectors), self._rule.places(vectors)
        near = self._known.near(places, bounds)
        found: list[int] = []
        new: list[int] = []
        for row, key in enumerate(keys):
            best, chosen = float(bounds[row]), key
            for other, vector in self._candidates(near[row], key):
                cosine = float(vectors[row].astype(np.float64) @ vector)
                if cosine >= best:
                    best, chosen = cosine, other
            for place in new:
                cosine = float(vectors[row].astype(np.float64) @ vectors[place])
                if cosine >= best and keys[place] != key:
                    best, chosen = cosine, keys[place]
            if chosen == key:
                new.append(row)
            found.append(chosen)
        self._catalog.bursts.set_groups(
            self.number,
            [
                (int(key), int(other), places[row].tobytes() if key == other else None)
                for row, (key, other) in enumerate(zip(keys, found, strict=True))
            ],
        )
        self._known.add(np.array([keys[row] for row in new], np.int64), places[new])

    def _candidates(
        self, near: npt.NDArray[np.int64], key: int
    ) -> list[tuple[int, npt.NDArray[np.float32]]]:
        """Those that are still there; what was taken in is forgotten where it was rolled back."""
        contents, bursts = self._catalog.contents, self._catalog.bursts
        there = [
            int(other)
            for other in near
            if other != key
            and bursts.represents(self.number, int(other))
            and contents.has_embedding(int(other), self._recipe)
        ]
        if not there:
            return []
        return list(zip(there, _unit(contents.embeddings(there, self._recipe)), strict=True))


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
