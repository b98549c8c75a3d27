"""Review: pairs of images that a person is asked about, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgclust.catalog.corrections import Correction
from imgclust.catalog.images import Image
from imgclust.collection.correction_results import (
    Answer,
    Paired,
    Question,
    QuestionImage,
    Questions,
)
from imgclust.collection.link_folder import finish_links, finish_pages
from imgclust.errors import UsageError

if TYPE_CHECKING:
    from imgclust.clustering.pair_choice import Known, PairChoice
    from imgclust.collection.context import Context

# Of more contents an even sample can be asked about.
_SAMPLE = 20_000
# Numbers of rows whose cluster a person gave: a cluster's id, or one for what has left it.
_FREE = -1


@dataclass(frozen=True, eq=False)
class _Ground:
    """What can be asked about in one state of the catalog.

    Attributes
    ----------
    state
        Which state.
    keys
        Contents, ascending, int64 (n,).
    choice
        Chooses among them by their place.
    """

    state: tuple[int, int, int, bytes]
    keys: npt.NDArray[np.int64]
    choice: PairChoice


class Review:
    """Chooses what to ask; what it reads of the images is kept until they change."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._catalog = context.catalog
        self._ground: _Ground | None = None

    def questions(self, count: int, *, skipped: Iterable[tuple[int, int]] = ()) -> Questions:
        """See `Corrections.questions`."""
        if count < 1:
            raise UsageError(f"{count} questions cannot be asked; use 1 or more")
        catalog = self._catalog
        with catalog.snapshot():  # beside a watcher contents leave
            active = catalog.corrections.active()
            ground = self._prepared(active)
            known = self._known(ground, active, list(skipped))
        pairs = ground.choice.pairs(count, known)
        with catalog.snapshot():
            names = catalog.clusterings.names()
            keys = {row: int(ground.keys[row]) for pair in pairs for row in pair}
            now = catalog.assignments.clusters_of(ground.state[0], keys.values())
            images = {
                row: found[0]
                for row, key in keys.items()
                if (found := [one for one in catalog.images.with_content(key) if _there(one)])
            }

        def pictured(row: int) -> QuestionImage:
            cluster = now.get(keys[row])
            name = None if cluster is None else names.get(cluster)
            return QuestionImage(images[row].id, images[row].path, cluster, name)

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

    def _prepared(self, active: Sequence[Correction]) -> _Ground:
        from imgclust.clustering.pair_choice import PairChoice
        from imgclust.clusters.model import Model

        catalog = self._catalog
        clustering = self._context.current()
        here = catalog.images.present_contents()
        state = (clustering.id, clustering.k, catalog.contents.sequence(), here.tobytes())
        if self._ground is not None and self._ground.state == state:
            return self._ground
        keys = np.intersect1d(catalog.contents.embedded(clustering.recipe), here)
        rule = catalog.bursts.current_id(clustering.recipe)
        asked = [key for one in active for key in one.contents]
        if rule is not None:  # of a burst group one image can be asked about
            contents, representatives = catalog.bursts.groups(rule)
            followers = contents[contents != representatives]
            keys = keys[~np.isin(keys, followers) | np.isin(keys, asked)]
        if len(keys) > _SAMPLE:
            some = keys[:: -(-len(keys) // _SAMPLE)]
            keys = np.union1d(some, keys[np.isin(keys, asked)])
        vectors = catalog.contents.embeddings(keys.tolist(), clustering.recipe)
        points = Model(catalog, clustering).points(vectors)
        sound = np.isfinite(points).all(axis=1)
        keys, points = keys[sound], points[sound]
        self._ground = _Ground(state, keys, PairChoice(points, clustering.k))
        return self._ground

    def _known(
        self, ground: _Ground, active: Sequence[Correction], skipped: Sequence[tuple[int, int]]
    ) -> Known:
        from imgclust.clustering.pair_choice import Known

        catalog = self._catalog
        row = {key: place for place, key in enumerate(ground.keys.tolist())}
        fixed = np.full(len(ground.keys), _FREE, np.int64)
        frozen = catalog.clusterings.frozen()
        if frozen:
            contents, owners = catalog.assignments.members(ground.state[0], frozen)
            for key, cluster in zip(contents.tolist(), owners.tolist(), strict=True):
                if key in row:
                    fixed[row[key]] = cluster
        said: dict[str, list[tuple[int, int]]] = {"together": [], "apart": []}
        there = set(catalog.clusterings.cluster_ids(ground.state[0]))
        for one in active:
            if one.kind == "in" and one.content in row and one.cluster in there:
                fixed[row[one.content]] = one.cluster
            elif one.other is not None and one.content in row and one.other in row:
                said[one.kind].append((row[one.content], row[one.other]))
        images = catalog.images.some([image for pair in skipped for image in pair])
        content = {number: image.content for number, image in images.items()}
        passed = [(content.get(one, -1), content.get(other, -1)) for one, other in skipped]
        return Known(
            together=said["together"],
            apart=said["apart"],
            fixed=fixed,
            skipped=[(row[one], row[two]) for one, two in passed if one in row and two in row],
        )


def _there(image: Image) -> bool:
    return image.state != "missing"


class _UndoneError(Exception):
    """Ends a transaction that is not to last."""


def answered(
    context: Context,
    pairs: Sequence[tuple[Image, Image]],
    *,
    same: bool,
    made_by: str,
    dry_run: bool = False,
    finish: bool = True,
) -> Paired:
    """Store what a person says about pairs of images, and have the clusters follow.

    Without `finish` the links and pages are left to who calls this, so that a session of many
    answers does not wait for them each time.
    """
    from imgclust.clusters.correction_demands import enforce
    from imgclust.clusters.model import Model

    catalog, kind = context.catalog, "together" if same else "apart"
    pairs = [pair for pair in pairs if pair[0].content != pair[1].content]
    if not pairs:
        raise UsageError("the two images have the same bytes; they are always together")
    what = f"images {pairs[0][0].id} and {pairs[0][1].id} {kind}"
    if len(pairs) > 1:
        what = f"{len(pairs) + 1:,} images {kind}"
    try:
        with catalog.transaction():
            current = context.current()
            answers = [_stored(context, *pair, kind=kind, made_by=made_by) for pair in pairs]
            new = [one.correction for one in answers if not one.already]
            moved = enforce(catalog, Model(catalog, current), new=new, what=what) if new else []
            catalog.ledger.queue_links_of(moved)
            catalog.clusterings.confirm(current.id)
            of = {key: len(catalog.images.with_content(key)) for key in moved}
            if dry_run:
                raise _UndoneError
    except _UndoneError:
        pass
    else:
        if finish:
            finish_answers(context, moved=bool(moved))
    images = sum(of.values())
    if len(pairs) == 1:  # others may have moved with the two
        answers = [replace(answers[0], moved=images)]
    else:
        others = [other.content for _, other in pairs]
        answers = [
            replace(one, moved=of.get(key, 0)) for one, key in zip(answers, others, strict=True)
        ]
    return Paired(kind, tuple(answers), moved=images, dry_run=dry_run)


def _stored(context: Context, first: Image, second: Image, *, kind: str, made_by: str) -> Answer:
    """Store one answer, unless it is there; the caller holds the transaction."""
    corrections = context.catalog.corrections
    pair = {first.content, second.content}
    for old in corrections.about([first.content]):
        if old.kind == kind and set(old.contents) == pair:
            return Answer(old.id, kind, first.id, second.id, moved=0, already=True)
    number = corrections.add(kind, first.content, other=second.content, made_by=made_by)
    return Answer(number, kind, first.id, second.id, moved=0, already=False)


def finish_answers(context: Context, *, moved: bool) -> None:
    """Bring links and pages up to date; pages alone are soon made by a watcher that runs."""
    if moved:
        finish_links(context)
    elif not context.is_watching:
        finish_pages(context)
