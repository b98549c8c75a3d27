"""Review: pairs of images that a person is asked about, and the answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust.catalog import Image
from imgclust.collection.correction_results import Answer, Question, QuestionImage, Questions
from imgclust.collection.link_folder import finish_links
from imgclust.errors import UsageError

if TYPE_CHECKING:
    from imgclust.clustering import LocalGroups
    from imgclust.collection.context import Context


@dataclass(frozen=True, eq=False)
class _Ground:
    """The contents of a clustering, where they lie, and their local groups.

    `clustering` and `sequence` say of which state of the catalog.
    """

    clustering: int
    sequence: int
    keys: npt.NDArray[np.int64]
    points: npt.NDArray[np.float32]
    groups: LocalGroups


class Review:
    """Chooses what to ask; what it reads of the images is kept until they change."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._catalog = context.catalog
        self._ground: _Ground | None = None

    def questions(self, count: int, *, skipped: Iterable[tuple[int, int]] = ()) -> Questions:
        """See `Corrections.questions`."""
        from imgclust.clustering import next_pairs

        if count < 1:
            raise UsageError(f"{count} questions cannot be asked; use 1 or more")
        catalog = self._catalog
        ground = self._prepared()
        row = {key: place for place, key in enumerate(ground.keys.tolist())}
        with catalog.snapshot():
            active = [
                one for one in catalog.corrections.active() if one.kind in {"together", "apart"}
            ]
            now = catalog.assignments.clusters_of(ground.clustering, ground.keys.tolist())
            passed = catalog.images.some([image for pair in skipped for image in pair])
        assigned = np.array([now.get(key, -1) for key in ground.keys.tolist()])
        contents = {image: one.content for image, one in passed.items()}
        known = [one.contents for one in active]
        known += [
            (contents[one], contents[other])
            for one, other in skipped
            if one in contents and other in contents
        ]
        pairs = next_pairs(
            ground.points,
            assigned,
            ground.groups,
            count,
            known=[(row[pair[0]], row[pair[1]]) for pair in known if {*pair} <= row.keys()],
        )
        with catalog.snapshot():
            names = catalog.clusterings.names()
            images = {
                place: found[0]
                for pair in pairs
                for place in pair
                if (found := catalog.images.with_content(int(ground.keys[place])))
            }

        def pictured(place: int) -> QuestionImage:
            cluster = now.get(int(ground.keys[place]))
            name = None if cluster is None else names.get(cluster)
            return QuestionImage(images[place].id, images[place].path, cluster, name)

        return Questions(
            # One of the images may have left meanwhile.
            tuple(
                Question(pictured(one), pictured(other))
                for one, other in pairs
                if one in images and other in images
            ),
            together=sum(one.kind == "together" for one in active),
            apart=sum(one.kind == "apart" for one in active),
        )

    def _prepared(self) -> _Ground:
        from imgclust.clustering import local_groups
        from imgclust.clusters import Model

        catalog = self._catalog
        with catalog.snapshot():
            clustering = self._context.current()
            sequence = catalog.contents.sequence()
            if self._ground is not None and (
                (self._ground.clustering, self._ground.sequence) == (clustering.id, sequence)
            ):
                return self._ground
            keys, vectors = catalog.contents.all_embeddings(clustering.recipe)
            points = Model(catalog, clustering).points(vectors)
        self._ground = _Ground(clustering.id, sequence, keys, points, local_groups(points))
        return self._ground


def answered(context: Context, first: Image, second: Image, *, same: bool, made_by: str) -> Answer:
    """Store the answer about two images, and have the clusters follow."""
    from imgclust.clusters import Model, enforce

    catalog, kind = context.catalog, "together" if same else "apart"
    if first.content == second.content:
        raise UsageError("the two images have the same bytes; they are always together")
    with catalog.transaction():
        clustering = context.current()
        pair = {first.content, second.content}
        for old in catalog.corrections.about([first.content]):
            if old.kind == kind and set(old.contents) == pair:
                return Answer(old.id, kind, first.id, second.id, moved=0, already=True)
        number = catalog.corrections.add(kind, first.content, other=second.content, made_by=made_by)
        what = f"images {first.id} and {second.id} {kind}"
        moved = enforce(catalog, Model(catalog, clustering), new=[number], what=what)
        catalog.ledger.queue_links_of(moved)
        catalog.clusterings.confirm(clustering.id)
    finish_links(context)
    images = sum(len(catalog.images.with_content(key)) for key in moved)
    return Answer(number, kind, first.id, second.id, moved=images, already=False)
