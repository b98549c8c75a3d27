"""Queries: what is asked for, and the images most similar to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imgclust.catalog.catalog import Catalog
from imgclust.catalog.details import Facts
from imgclust.catalog.images import Image
from imgclust.errors import ImgclustError, NothingThereError, UsageError
from imgclust.fs import NotAFileError, open_to_read, stored
from imgclust.numbers import is_digits
from imgclust.paths import Located
from imgclust.search.catalog_index import CatalogIndex
from imgclust.wording import printable

# Embeddings compared at a time: 8 MiB.
_CHUNK = 1000
_DECIMALS = 6  # as the index rounds
_HASH_BYTES = 1 << 20
_NO_DIRECTION = 1e-6
# Pictures that are put in order, and looked at for copies of those in an answer, however short it
# is: so what a row says does not depend on how many rows there are.
_LOOKED_AT = 200
# Contents with at least this cosine count as one picture when it is decided whether enough pictures
# were found, and so many contents are enough whatever they show.
_ONE_PICTURE = 0.98
_MOST_LOOKED_AT = 2_000


@dataclass(frozen=True)
class Neighbour(Located):
    """A similar image; `name` is that of its cluster.

    Attributes
    ----------
    score
        The cosine of the embeddings.
    similarity
        The cosine after half whitening, which decides the order; None where none is stored.
    rarity
        At most one in so many pairs of different images of the collection is as similar; 1 where
        more are, None without a similarity.
    missing
        Its file is not there now.
    copies
        How many copies of it have no row.
    """

    id: int
    path: bytes
    score: float
    cluster: int | None
    name: str | None
    missing: bool = False
    facts: Facts = Facts()
    copies: int = 0
    similarity: float | None = None
    rarity: int | None = None


@dataclass(frozen=True)
class QueryResult:
    """Most similar images first; the queried one, where it is among them, first of all.

    `queries` is what was asked for, `query` the same in one text; `image` the queried image's id;
    `sheet` the contact sheet that was drawn. `order` is "similarity", or "score" where no
    similarity is stored; then `lacking` says why.
    """

    query: str
    queries: tuple[str, ...]
    image: int | None
    neighbours: tuple[Neighbour, ...]
    sheet: Path | None = None
    order: str = "score"
    lacking: str | None = None


@dataclass(frozen=True)
class Subject:
    """What is searched for: an embedding `(d,)`, and the content that it is of, if known."""

    vector: npt.NDArray[np.float32]
    content: int | None
    image: int | None
    # All images of the collection that were asked for.
    images: tuple[int, ...] = ()


def image_with_id(catalog: Catalog, digits: str) -> Image:
    """The image whose id a person has typed.

    Raises
    ------
    NothingThereError
        When no image has it.
    """
    image = catalog.images.numbered(digits)
    if image is None:
        raise NothingThereError(f"no image has the id {digits}; a file of that name is ./{digits}")
    return image


def known_subject(
    catalog: Catalog, recipe: str, what: str, *, size_cap_bytes: int
) -> Subject | None:
    """The subject when the collection knows it: by id, by path, or by its bytes.

    A file of more than `size_cap_bytes` is not read: the collection has none like it.

    Raises
    ------
    NothingThereError
        For an id that no image has, and for a path at which there is nothing.
    UsageError
        For a path at which there is something other than a file.
    """
    if is_digits(what):
        named = image_with_id(catalog, what)
        return _subject(catalog, recipe, named.content, named.id)
    path = os.fsencode(os.path.abspath(what))
    for spelling in dict.fromkeys((path, os.path.realpath(path))):
        image = catalog.images.at(spelling)
        observation = catalog.observations.at(spelling)
        if image is None or observation is None:
            continue
        try:
            found = os.stat(spelling)
        except OSError:
            return _subject(catalog, recipe, image.content, image.id)
        if (found.st_size, stored(found.st_mtime_ns)) == observation.stat[2:4]:
            return _subject(catalog, recipe, image.content, image.id)
    content = catalog.contents.with_sha256(_sha256(path, size_cap_bytes))
    if content is None or not catalog.contents.has_embedding(content.key, recipe):
        return None
    return _subject(catalog, recipe, content.key, None)


def mean_subject(subjects: Sequence[Subject]) -> Subject:
    """What several images have in common: the mean of their embeddings, each at unit length.

    Raises
    ------
    ImgclustError
        When they cancel out: there is no direction to search in.
    """
    if len(subjects) == 1:
        return subjects[0]
    mean = np.zeros_like(subjects[0].vector, np.float64)
    for subject in subjects:
        vector = subject.vector.astype(np.float64)
        mean += vector / (np.linalg.norm(vector) or 1.0)
    mean /= len(subjects)
    if np.linalg.norm(mean) < _NO_DIRECTION:
        raise ImgclustError("these images have nothing in common to search for; ask for fewer")
    asked = tuple(image for subject in subjects for image in subject.images)
    return Subject(mean.astype(np.float32), None, None, asked)


def neighbours(
    catalog: Catalog,
    live: CatalogIndex,
    subject: Subject,
    *,
    queries: Sequence[str],
    n: int,
    min_score: float | None,
    cluster: int | str | None = None,
    only: Collection[int] | None = None,
    include_self: bool = True,
    near: Near | None = None,
    compare: Compare | None = None,
    min_similarity: float | None = None,
) -> QueryResult:
    """The `n` most similar images, the queried one first, ties by id.

    The 200 pictures (or `n`, if that is more) with the highest scores are looked at, and put in
    the order of their similarities.

    Parameters
    ----------
    live
        Up to date: the caller is within its `searched`.
    queries
        What was asked for, as it was asked.
    min_score, min_similarity
        Leave out images below it; the second needs `compare`.
    cluster
        Only images of this cluster (id or name) of the current clustering; all of it is compared,
        so that the answer is right wherever its images stand among the others.
    only
        Only images with these ids.
    include_self
        False leaves out the images that were asked for.
    near
        Says which contents are near copies of one. Given, copies are folded into one row.
    compare
        Similarities of vectors to another one, and their rarities. Without it the order is that
        of the scores.

    Raises
    ------
    NothingThereError
        When there is no such cluster.
    """
    current = catalog.clusterings.current_id()
    members: Sequence[int] | None = None
    if cluster is not None:
        members = catalog.assignments.contents_in(current or 0, catalog.clusterings.find(cluster))
    if only is not None:
        chosen = {one.content for one in catalog.images.some([*only]).values()}
        members = sorted(chosen if members is None else chosen.intersection(members))
    left_out = frozenset() if include_self else frozenset(subject.images)
    looked_at = n if near is None and compare is None else max(n, _LOOKED_AT)
    wanted, near = looked_at + len(left_out), near and _Remembered(near)
    while True:
        if members is None:
            rows = _nearest(catalog, live, subject, wanted)
        else:
            rows = _nearest_in(catalog, live, subject, members, wanted, only)
        all_of_them = len(rows) < wanted or wanted > catalog.images.count()
        rows.sort(key=lambda row: (row[1] != subject.image, -row[0], row[1]))
        kept = [
            row
            for row in rows
            if row[1] not in left_out and (min_score is None or row[0] >= min_score)
        ]
        all_of_them |= len(kept) + len(left_out) < len(rows)
        ranked = _Ranked(live, subject, kept, compare, pictures=looked_at)
        if all_of_them or ranked.enough:
            chosen_rows = ranked.rows(min_similarity)
            folded = _Folded(catalog, near, most=n)
            shown = [(row, 0) for row in chosen_rows] if near is None else folded.of(chosen_rows)
            if all_of_them or len(shown) >= n or len(chosen_rows) < len(kept):
                break
        wanted = 2 * max(wanted, len(rows))
    names = catalog.clusterings.names()
    found = []
    for (score, image, path, key), copies in shown[:n]:
        its = None if current is None else catalog.assignments.cluster_of(current, key)
        name = None if its is None else names.get(its)
        likeness, rarity = ranked.of(key)
        found.append(
            Neighbour(
                image,
                path,
                min(score, 1.0),
                its,
                name,
                copies=copies,
                similarity=likeness,
                rarity=rarity,
            )
        )
    return QueryResult(
        " + ".join(queries),
        tuple(queries),
        subject.image,
        tuple(found),
        order="score" if compare is None else "similarity",
    )


_Row = tuple[float, int, bytes, int]
_Vectors = npt.NDArray[np.float32]
# Which of some contents are near copies of one.
Near = Callable[[int, Sequence[int]], list[bool]]
# Similarities of vectors (n, d) to one (d,), and their rarities.
Compare = Callable[[_Vectors, _Vectors], tuple[Sequence[float], Sequence[int]]]


class _Ranked:
    """Rows in the order of their scores, to be put in that of their similarities.

    `enough` says whether they show so many different `pictures`, or are enough in any case.
    """

    def __init__(
        self,
        live: CatalogIndex,
        subject: Subject,
        rows: Sequence[_Row],
        compare: Compare | None,
        *,
        pictures: int,
    ) -> None:
        self._subject = subject
        self._rows = rows
        self._compare = compare
        self._found: dict[int, tuple[float, int]] = {}
        self.enough = True
        if compare is None:
            return
        keys = [key for key in dict.fromkeys(row[3] for row in rows) if key in live.index]
        vectors = live.index.reconstruct(keys)
        likenesses, rarities = compare(subject.vector, vectors)
        if len(keys) < max(pictures, _MOST_LOOKED_AT):
            self.enough = len(keys) >= pictures and _different(vectors) >= pictures
        self._found = dict(zip(keys, zip(likenesses, rarities, strict=True), strict=True))
        if subject.content in self._found:
            self._found[subject.content] = (1.0, self._found[subject.content][1])

    def rows(self, least: float | None) -> list[_Row]:
        """The rows by similarity, those below the least left out; the queried image first."""
        if self._compare is None:
            return list(self._rows)
        likeness = {key: found[0] for key, found in self._found.items()}

        def place(row: _Row) -> tuple[bool, float, float, int]:
            return row[1] != self._subject.image, -likeness.get(row[3], 0.0), -row[0], row[1]

        rows = sorted(self._rows, key=place)
        return [row for row in rows if least is None or likeness.get(row[3], 0.0) >= least]

    def of(self, key: int) -> tuple[float | None, int | None]:
        """Similarity and rarity of a content."""
        return self._found.get(key, (None, None))


def _different(vectors: _Vectors) -> int:
    """How many different pictures vectors (n, d) show, near ones counted as one."""
    alike = vectors @ vectors.T >= _ONE_PICTURE
    seen, count = np.zeros(len(alike), np.bool_), 0
    for row, near in enumerate(alike):
        if not seen[row]:
            seen |= near
            count += 1
    return count


class _Remembered:
    """What says which contents are near copies, each pair once."""

    def __init__(self, near: Near) -> None:
        self._near = near
        self._known: dict[tuple[int, int], bool] = {}

    def __call__(self, key: int, others: Sequence[int]) -> list[bool]:
        new = [other for other in others if (key, other) not in self._known]
        for other, near in zip(new, self._near(key, new) if new else [], strict=True):
            self._known[key, other] = self._known[other, key] = near
        return [self._known[key, other] for other in others]


class _Folded:
    """Rows, each with its copies: images with the same bytes, and near copies of the first.

    The first `most` different contents are compared with those behind them, each pair once.
    """

    def __init__(self, catalog: Catalog, near: Near | None, *, most: int) -> None:
        self._catalog = catalog
        self._most = most
        self._near = near

    def of(self, rows: Sequence[_Row]) -> list[tuple[_Row, int]]:
        """The first row of each picture, and how many more there are."""
        leader_of = self._leaders(list(dict.fromkeys(row[3] for row in rows)))
        groups: dict[int, list[_Row]] = {}
        for row in rows:
            groups.setdefault(leader_of[row[3]], []).append(row)
        return [(self._first(group), len(group) - 1) for group in groups.values()]

    def _leaders(self, keys: Sequence[int]) -> dict[int, int]:
        """For each content the first one that it is a near copy of, or itself."""
        found: dict[int, int] = {}
        leaders = 0
        for place, key in enumerate(keys):
            if key in found:
                continue
            found[key] = key
            leaders += 1
            if self._near is not None and leaders <= self._most:
                behind = [other for other in keys[place + 1 :] if other not in found]
                same = self._near(key, behind)
                found |= {other: key for other, near in zip(behind, same, strict=True) if near}
        return found

    def _first(self, group: Sequence[_Row]) -> _Row:
        """The first whose file is there: among equal bytes a missing one says less."""
        same = [row for row in group if row[3] == group[0][3]]
        if len(same) > 1:
            images = self._catalog.images.with_content(group[0][3])
            there = {image.id for image in images if image.state == "present"}
            return next((row for row in same if row[1] in there), group[0])
        return group[0]


def _nearest(catalog: Catalog, live: CatalogIndex, subject: Subject, n: int) -> list[_Row]:
    """At least the `n` nearest of all images: score, id, path, content."""
    own: list[_Row] = []
    itself = None if subject.image is None else catalog.images.get(subject.image)
    if itself is not None:  # always first, also among copies that look just the same
        own = [(1.0, itself.id, itself.path, itself.content)]
    wanted = n + 1
    while True:
        found = live.index.search(subject.vector[None, :], min(wanted, len(live.index)))
        score_of = {
            key: score
            for key, score in zip(found.keys[0].tolist(), found.scores[0].tolist(), strict=True)
            if key >= 0
        }
        rows = [
            *own,
            *(
                (score_of[image.content], image.id, image.path, image.content)
                for image in catalog.images.with_contents(score_of)
                if image.id != subject.image
            ),
        ]
        if len(rows) >= n or wanted >= len(live.index):
            return rows
        wanted *= 2


def _nearest_in(
    catalog: Catalog,
    live: CatalogIndex,
    subject: Subject,
    members: Sequence[int],
    n: int,
    only: Collection[int] | None,
) -> list[_Row]:
    """At least the `n` nearest images of these contents, all of which are compared."""
    keys = np.array([key for key in members if key in live.index], np.int64)
    unit = subject.vector / (np.linalg.norm(subject.vector) or 1.0)
    scores = np.empty(len(keys), np.float32)
    for start in range(0, len(keys), _CHUNK):
        part = slice(start, start + _CHUNK)
        scores[part] = live.index.reconstruct(keys[part]) @ unit
    scores = np.clip(np.round(scores, _DECIMALS), -1.0, 1.0)
    rows: list[_Row] = []
    last = np.inf
    # The queried image may stand behind copies of it, and images of one score go by id.
    for position in np.lexsort((keys, -scores)):
        score, key = float(scores[position]), int(keys[position])
        if len(rows) >= n and score < last:
            break
        last = score
        rows.extend(
            (1.0 if image.id == subject.image else score, image.id, image.path, key)
            for image in catalog.images.with_content(key)
            if only is None or image.id in only
        )
    return rows


def _subject(catalog: Catalog, recipe: str, content: int, image: int | None) -> Subject:
    try:
        vector = catalog.contents.embeddings([content], recipe)[0]
        return Subject(vector, content, image, () if image is None else (image,))
    except KeyError:
        raise ImgclustError("this image has no embedding by the collection's recipe") from None


def _sha256(path: bytes, most_bytes: int) -> bytes:
    """SHA-256 of a file, of no bytes where it is too large to be an image of a collection."""
    import hashlib

    digest = hashlib.sha256()
    try:
        with open_to_read(path) as file:
            # No further: a file of /proc has no size and may never end.
            left = os.fstat(file.fileno()).st_size
            left = left if left <= most_bytes else 0
            while left > 0 and (chunk := file.read(min(left, _HASH_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
    except FileNotFoundError:
        raise NothingThereError(f"there is no file {printable(path)}") from None
    except NotAFileError as error:
        raise UsageError(f"{printable(path)} is {error.kind}; name an image") from None
    except OSError as error:
        raise ImgclustError(f"{printable(path)} cannot be read: {error.strerror}") from None
    return digest.digest()
