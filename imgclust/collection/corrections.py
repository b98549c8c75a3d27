"""Corrections: what people say about images, made, listed and taken back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust.catalog.clusterings import DescribedCluster
from imgclust.catalog.corrections import Correction
from imgclust.catalog.images import Image
from imgclust.collection.correction_results import (
    AcceptedLinks,
    Answer,
    Corrected,
    CorrectedImage,
    CorrectionList,
    CorrectionRow,
    LookAlike,
    Paired,
    PutBackLink,
    Question,
    Questions,
    WaitingLink,
)
from imgclust.collection.images import chosen
from imgclust.collection.link_folder import finish_links
from imgclust.collection.review import Review, answered, finish_answers
from imgclust.errors import NothingThereError, UsageError
from imgclust.wording import printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context

_LOOK_ALIKE = 20  # images that are proposed at most
_MUTUAL = 5  # an image looks like another that is among so many nearest of it
_SEEDS = 50  # of more corrected images the first are looked at
_COPIES = 100  # near copies of one image that follow it at once
_SAMPLE = 500


# By content: from which cosine on another is a near copy of it, and those that are there.
NearCopies = Mapping[int, tuple[float, tuple[int, ...]]]


class _UndoneError(Exception):
    """Ends a transaction that is not to last."""


class Corrections:
    """The corrections of a collection, as `Collection.corrections` gives them.

    Images are named by id, path, folder or pattern, clusters by id or name. A correction counts
    for the content: for all files with the same bytes. Contradictions are a `UsageError` that
    names the other correction.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._catalog = context.catalog
        self._review: Review | None = None

    def move(
        self,
        images: Sequence[Path | str | int],
        *,
        to: int | str,
        similar: bool = False,
        made_by: str = "command",
        dry_run: bool = False,
    ) -> Corrected:
        """Put images into a cluster, where they stay; with `similar` those that look like them."""
        found = self._images(images)
        cluster = self._catalog.clusterings.find(to)
        return self._put_in(
            found, lambda: cluster, similar=similar, made_by=made_by, dry_run=dry_run
        )

    def new(
        self,
        name: str,
        images: Sequence[Path | str | int],
        *,
        made_by: str = "command",
        dry_run: bool = False,
    ) -> Corrected:
        """Make a named cluster of images."""
        called = self.free_name(name)
        found = self._images(images)
        return self._put_in(
            found,
            lambda: self.make_cluster(called, found),
            similar=False,
            made_by=made_by,
            dry_run=dry_run,
        )

    def exclude(
        self,
        images: Sequence[Path | str | int],
        *,
        of: int | str,
        made_by: str = "command",
        dry_run: bool = False,
    ) -> Corrected:
        """Take images out of a cluster: they join the nearest other one, and never this."""
        found = self._images(images)
        cluster = self._catalog.clusterings.find(of)
        return self._make("not_in", found, lambda: cluster, made_by=made_by, dry_run=dry_run)

    def outlier(
        self, images: Sequence[Path | str | int], *, made_by: str = "command", dry_run: bool = False
    ) -> Corrected:
        """Say that images are outliers, whatever their distances are."""
        return self._make(
            "outlier", self._images(images), lambda: None, dry_run=dry_run, made_by=made_by
        )

    def together(self, one: Path | str | int, other: Path | str | int) -> int:
        """Say that two images belong into one cluster; returns the correction's number."""
        return self.answer(one, other, same=True).correction

    def apart(self, one: Path | str | int, other: Path | str | int) -> int:
        """Say that two images belong into different clusters; returns the correction's number."""
        return self.answer(one, other, same=False).correction

    def pair(
        self,
        images: Sequence[Path | str | int],
        *,
        same: bool,
        made_by: str = "command",
        dry_run: bool = False,
    ) -> Paired:
        """Say that images belong into one cluster, or that two belong into different ones."""
        found = {image.content: image for image in self._images(images)}
        first, *others = found.values()
        if not others:
            one = "all of them have the same bytes" if len(images) > 1 else "that is one image"
            raise UsageError(f"{one}; name two images that differ")
        if not same and len(others) > 1:
            raise UsageError(f"{len(found):,} images are named; two can be kept apart at a time")
        return answered(
            self._context,
            [(first, other) for other in others],
            same=same,
            made_by=made_by,
            dry_run=dry_run,
        )

    def questions(self, count: int = 20, *, skipped: Iterable[tuple[int, int]] = ()) -> Questions:
        """Pairs of images to ask a person about, the most telling first; never one again.

        `skipped` are pairs of ids that a person did not want to answer.
        """
        if self._review is None:
            self._review = Review(self._context)
        return self._review.questions(count, skipped=skipped)

    def pictures(self, question: Question) -> tuple[bytes | None, bytes | None]:
        """The thumbnails of a question's images, WebP; None where there is none."""
        found = self._catalog.images.some([question.image.id, question.other.id])
        one, other = (
            self._context.thumbnail(found[image.id].content) if image.id in found else None
            for image in (question.image, question.other)
        )
        return one, other

    def answer(
        self,
        one: Path | str | int,
        other: Path | str | int,
        *,
        same: bool,
        made_by: str = "command",
        finish: bool = True,
    ) -> Answer:
        """Say whether two images are of the same group: they are together or apart from now on.

        With `finish` links and pages follow at once, else with `finish_answers`.
        """
        pair = self._single(one), self._single(other)
        done = answered(self._context, [pair], same=same, made_by=made_by, finish=finish)
        return done.answers[0]

    def finish_answers(self, *, moved: bool) -> None:
        """Have links and pages follow answers; `moved`: whether one has moved an image."""
        finish_answers(self._context, moved=moved)

    def rows(self, *, ended: bool = False) -> tuple[CorrectionRow, ...]:
        """The corrections that count, oldest first; with `ended` those that ended too."""
        catalog = self._catalog
        with catalog.snapshot():
            table = catalog.corrections
            found = table.every() if ended else table.active()
            current = catalog.clusterings.current_id()
            here = set() if current is None else set(catalog.clusterings.cluster_ids(current))
            names = catalog.clusterings.names()
            images: dict[int, list[Image]] = {}
            for one in found:
                for key in one.contents:
                    if key not in images:
                        images[key] = catalog.images.with_content(key)
        return tuple(self._row(one, images, here, names) for one in found)

    def listed(self, *, ended: bool = False) -> CorrectionList:
        """The corrections, as `rows` gives them, and the links that wait."""
        return CorrectionList(self.rows(ended=ended), self.waiting())

    def remove(self, numbers: Sequence[int]) -> tuple[CorrectionRow, ...]:
        """Take corrections back; images stay where they are until the clusters change.

        Raises
        ------
        NothingThereError
            When there is no correction with such a number, or it has ended; nothing changes then.
        """
        catalog = self._catalog
        with catalog.transaction():
            for number in numbers:
                one = catalog.corrections.numbered(number)
                if one is None or one.ended is not None:
                    why = "has ended" if one else "does not exist"
                    raise NothingThereError(
                        f"correction {number} {why}; see imgclust clusters corrections"
                    )
            gone = tuple(row for row in self.rows() if row.id in set(numbers))
            active = catalog.corrections.active()
            ending = [one for one in active if {one.id, one.follows} & set(numbers)]
            catalog.corrections.end(numbers, "removed")
            catalog.ledger.queue_links_of({key for one in ending for key in one.contents})
        finish_links(self._context)
        return gone

    def accept(self) -> AcceptedLinks:
        """Make corrections of links that wait for a person; what cannot be one is put back."""
        waiting = self.waiting()
        refused = self._context.link_syncer().accept() if waiting else {}
        if waiting:
            finish_links(self._context)
        return AcceptedLinks(
            tuple(one for one in waiting if one.id not in refused),
            tuple(
                PutBackLink(one.id, one.path, one.link, one.cluster, refused[one.id])
                for one in waiting
                if one.id in refused
            ),
        )

    def reject(self) -> int:
        """Have links that wait for a person put back; returns how many."""
        from imgclust.collection.link_corrections import reject

        back = reject(self._context)
        finish_links(self._context)
        return back

    def waiting(self) -> tuple[WaitingLink, ...]:
        """Links that were moved in the link folder and wait for a person."""
        moves = {one.image: one for one in self._catalog.link_tree.moves("waiting")}
        images = self._catalog.images.some(list(moves))
        clusters = self._context.link_syncer().clusters()
        return tuple(
            WaitingLink(
                image.id, image.path, os.path.join(one.folder, one.entry), clusters.get(one.folder)
            )
            for image in images.values()
            if (one := moves[image.id])
        )

    # Making corrections

    def _put_in(
        self,
        found: Sequence[Image],
        cluster: Callable[[], int],
        *,
        similar: bool,
        dry_run: bool,
        made_by: str,
    ) -> Corrected:
        if not similar:
            return self._make("in", found, cluster, dry_run=dry_run, made_by=made_by, propose=True)
        alike = self._look_alike(found, cluster())
        more = self._catalog.images.some([one.id for one in alike])
        done = self._make("in", [*found, *more.values()], cluster, dry_run=dry_run, made_by=made_by)
        return replace(done, similar=alike, similar_moved=True)

    def _make(
        self,
        kind: str,
        found: Sequence[Image],
        cluster: Callable[[], int | None],
        *,
        dry_run: bool,
        made_by: str,
        propose: bool = False,
    ) -> Corrected:
        """Store a correction of one kind for images, and have the clusters follow."""
        catalog = self._catalog
        contents = list(dict.fromkeys(image.content for image in found))
        copies = self.near_copies(contents)
        result: Corrected | None = None
        try:
            with catalog.transaction():
                clustering = self._context.current()
                about = cluster()
                result = self.apply(
                    kind, contents, about, made_by=made_by, copies=copies, named=len(found)
                )
                catalog.clusterings.confirm(clustering.id)
                if dry_run:
                    raise _UndoneError
        except _UndoneError:
            assert result is not None
            return replace(result, dry_run=True, similar=self._proposed(found, result, propose))
        finish_links(self._context)
        return replace(result, similar=self._proposed(found, result, propose))

    def _proposed(
        self, found: Sequence[Image], result: Corrected, propose: bool
    ) -> tuple[LookAlike, ...]:
        if not propose or result.cluster is None:
            return ()
        return self._look_alike(found, result.cluster, but=result.near_copies)

    def apply(
        self,
        kind: str,
        contents: Sequence[int],
        cluster: int | None,
        *,
        made_by: str,
        copies: NearCopies,
        named: int,
    ) -> Corrected:
        """Store corrections and have the current clusters satisfy them, in the transaction."""
        from imgclust.clusters.correction_demands import enforce
        from imgclust.clusters.model import Model

        catalog = self._catalog
        clustering = self._context.current()
        before = catalog.assignments.clusters_of(clustering.id, contents)
        made: list[int] = []
        followers: list[int] = []
        already = 0
        for content in contents:
            same, old = self._standing(kind, content, cluster)
            if same:
                already += 1
                continue
            catalog.corrections.end(old, "changed")
            near, others = copies.get(content, (2.0, ()))
            number = catalog.corrections.add(
                kind, content, cluster=cluster, made_by=made_by, near=near
            )
            made.append(number)
            for other in others:
                own = [one for one in catalog.corrections.about([other]) if one.follows is None]
                if own or other in contents:
                    continue
                _, old = self._standing(kind, other, cluster)
                catalog.corrections.end(old, "changed")
                made.append(
                    catalog.corrections.add(
                        kind, other, cluster=cluster, made_by=made_by, follows=number
                    )
                )
                followers.append(other)
        model = Model(catalog, self._context.current())
        moved = enforce(catalog, model, new=made, what=self._what(kind, contents, cluster))
        touched = {*moved, *contents, *followers}
        catalog.ledger.queue_links_of(touched)
        after = catalog.assignments.clusters_of(clustering.id, contents)
        images = tuple(
            CorrectedImage(image.id, image.path, before.get(content), after.get(content))
            for content in contents
            for image in catalog.images.with_content(content)
        )
        return Corrected(
            kind=kind,
            cluster=cluster,
            name=None if cluster is None else catalog.clusterings.names().get(cluster),
            images=images,
            same_bytes=len(images) - named,
            near_copies=tuple(
                image.id for key in followers for image in catalog.images.with_content(key)
            ),
            moved=sum(len(catalog.images.with_content(key)) for key in moved),
            similar=(),
            similar_moved=False,
            corrections=tuple(made),
            already=already,
            dry_run=False,
        )

    def _standing(self, kind: str, content: int, cluster: int | None) -> tuple[bool, list[int]]:
        """Whether a content is corrected so already, and corrections that a new one replaces."""
        replaced: list[int] = []
        for one in self._catalog.corrections.about([content]):
            if one.kind == kind and one.cluster == cluster and one.other is None:
                if one.follows is None:
                    return True, []
                replaced.append(one.id)
            elif {one.kind, kind} <= {"in", "outlier"}:
                replaced.append(one.id)
        return False, replaced

    def make_cluster(self, name: str, found: Sequence[Image]) -> int:
        """A new cluster in the current clustering; the caller holds the transaction."""
        from imgclust.clusters.model import Model

        self.free_name(name)
        catalog, clustering = self._catalog, self._context.current()
        contents = list(dict.fromkeys(image.content for image in found))
        embedded = [
            key for key in contents if catalog.contents.has_embedding(key, clustering.recipe)
        ]
        if not embedded:
            raise NothingThereError("none of these images has an embedding; see imgclust doctor")
        vectors = catalog.contents.embeddings(embedded, clustering.recipe)
        points = Model(catalog, clustering).points(vectors)
        centroid = points.mean(axis=0, dtype=np.float64).astype(np.float32)
        apart = np.linalg.norm(points - centroid, axis=1)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        coherence = float(np.linalg.norm((vectors / lengths).mean(axis=0)))
        cluster = catalog.clusterings.next_cluster_id()
        row = DescribedCluster(
            cluster,
            mean_distance=float(apart.mean()),
            coherence=coherence,
            medoid=embedded[int(np.argmin(apart))],
            contents=len(embedded),
        )
        catalog.clusterings.replace_clusters(
            clustering.id,
            [*clustering.described, row],
            np.vstack([clustering.centroids, centroid]),
            changed=[cluster],
        )
        catalog.clusterings.note_new(clustering.id, cluster)
        catalog.clusterings.name(cluster, name)
        return cluster

    def free_name(self, name: str) -> str:
        """A name as it is kept, which no cluster has."""
        from imgclust.collection.clusters import whole_name

        called = whole_name(name)
        names = self._catalog.clusterings.names()
        for cluster in self._context.current().cluster_ids:
            if names.get(cluster) == called:
                raise UsageError(
                    f"cluster {cluster} is called {called!r} already; choose another name, or use "
                    f"imgclust clusters move --to {cluster}"
                )
        return called

    # Images

    def _images(self, what: Sequence[Path | str | int]) -> list[Image]:
        if not what:
            raise UsageError("no image given; name at least one")
        self._context.current()
        found: dict[int, Image] = {}
        for one in what:
            there = chosen(self._context, [str(one)], shown=True)
            present = [image for image in there if image.state != "missing"]
            if not present:
                which = f"image {there[0].id} is missing: {printable(there[0].path)}"
                if len(there) > 1:
                    which = f"all images of {printable(str(one))} are missing"
                raise NothingThereError(f"{which}; put it back first, see imgclust missing")
            found.update((image.id, image) for image in present)
        return list(found.values())

    def _single(self, what: Path | str | int) -> Image:
        found = self._images([what])
        if len(found) > 1:
            raise UsageError(f"{what} names {len(found):,} images; name one")
        return found[0]

    def _what(self, kind: str, contents: Sequence[int], cluster: int | None) -> str:
        images = self._catalog.images.with_content(contents[0])
        which = f"image {images[0].id}" if len(contents) == 1 else f"{len(contents):,} images"
        return {
            "in": f"{which} in cluster {cluster}",
            "not_in": f"{which} not in cluster {cluster}",
            "outlier": f"{which} as an outlier",
        }[kind]

    def near_copies(self, contents: Sequence[int]) -> NearCopies:
        """For each content from which cosine on another is a near copy of it, and those there."""
        from imgclust.clustering.burst_groups import sampled_rule

        catalog, recipe = self._catalog, self._context.recipe
        live = self._context.catalog_index().index
        with catalog.snapshot():  # beside a watcher contents leave
            keys = catalog.contents.embedded(recipe)
            known = [key for key in contents if catalog.contents.has_embedding(key, recipe)]
            if not known:
                return {}
            sample = keys[:: max(1, -(-len(keys) // _SAMPLE))]
            rule = sampled_rule(_unit(catalog.contents.embeddings(sample, recipe)))
            rows = _unit(catalog.contents.embeddings(known, recipe))
        bounds = rule.bounds(rows)
        near = live.search(rows, min(_COPIES + 1, len(live)))
        found = {}
        for place, key in enumerate(known):
            others = tuple(
                int(other)
                for other, score in zip(near.keys[place], near.scores[place], strict=True)
                if other not in (-1, key) and score >= bounds[place]
            )
            found[key] = (float(bounds[place]), others)
        return found

    def _look_alike(
        self, found: Sequence[Image], cluster: int, *, but: Iterable[int] = ()
    ) -> tuple[LookAlike, ...]:
        """Images elsewhere that look like these: each among the nearest of the other."""
        catalog, recipe = self._catalog, self._context.recipe
        clustering = self._context.current()
        live = self._context.catalog_index().index
        seeds = list(dict.fromkeys(image.content for image in found))[:_SEEDS]
        with catalog.snapshot():  # beside a watcher contents leave
            seeds = [key for key in seeds if catalog.contents.has_embedding(key, recipe)]
            vectors = catalog.contents.embeddings(seeds, recipe)
        if not seeds:
            return ()
        near = live.search(vectors, min(_LOOK_ALIKE + 1, len(live)))
        best: dict[int, float] = {}
        of: dict[int, set[int]] = {}
        for place, seed in enumerate(seeds):
            for key, score in zip(near.keys[place].tolist(), near.scores[place], strict=True):
                if key not in (-1, *seeds):
                    best[key] = max(best.get(key, -1.0), float(score))
                    of.setdefault(key, set()).add(seed)
        spoken = {key for one in catalog.corrections.about(best) for key in one.contents}
        now = catalog.assignments.clusters_of(clustering.id, best)
        frozen, skipped = set(catalog.clusterings.frozen()), set(but)
        with catalog.snapshot():
            elsewhere = [
                key
                for key in best
                if key not in spoken and now.get(key) != cluster and now.get(key) not in frozen
                if catalog.contents.has_embedding(key, recipe)
            ]
            elsewhere.sort(key=best.__getitem__, reverse=True)
            vectors = catalog.contents.embeddings(elsewhere, recipe)
        rows: list[LookAlike] = []
        for place, key in enumerate(elsewhere):
            if place % _SEEDS == 0:  # a search takes long: no more than are proposed
                if len(rows) >= _LOOK_ALIKE and round(best[key], 6) < rows[-1].score:
                    break
                back = live.search(vectors[place : place + _SEEDS], min(_MUTUAL + 1, len(live)))
            if of[key].intersection(back.keys[place % _SEEDS].tolist()):
                for image in catalog.images.with_content(key):
                    if image.id not in skipped:
                        rows.append(LookAlike(image.id, image.path, round(best[key], 6)))
        rows.sort(key=lambda row: (-row.score, row.id))
        return tuple(rows[:_LOOK_ALIKE])

    def _row(
        self,
        one: Correction,
        images: dict[int, list[Image]],
        here: set[int],
        names: dict[int, str],
    ) -> CorrectionRow:
        mine = images[one.content]
        others = images[one.other] if one.other is not None else []
        there = bool(mine) and (one.other is None or bool(others))
        return CorrectionRow(
            id=one.id,
            kind=one.kind,
            image=mine[0].id if mine else None,
            path=mine[0].path if mine else None,
            other=others[0].id if others else None,
            other_path=others[0].path if others else None,
            cluster=one.cluster,
            name=None if one.cluster is None else names.get(one.cluster),
            made_by=one.made_by,
            made=one.made,
            follows=one.follows,
            files=len(mine),
            applies=one.ended is None and there and (one.cluster is None or one.cluster in here),
            ended=one.ended,
            reason=one.reason,
        )


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
