"""Choosing k by looking: the curve of the last sweep, and the clusters of each k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgclust.catalog.sweeps import StoredSweep
from imgclust.clusters.stored_sweeps import Previewer
from imgclust.errors import NothingThereError

if TYPE_CHECKING:
    from imgclust.collection.context import Context


@dataclass(frozen=True)
class SweepCurve:
    """The last sweep of the space that clusters are made in.

    `kept` are the k whose clusters can be shown. `current`: no image came or left since. `clusters`
    is how many there are now, 0 before the first clustering. `knee` is None where the curve has
    none; `chosen` is the suggested k in any case.
    """

    space: str
    distinct: int
    k: tuple[int, ...]
    inertia: tuple[float | None, ...]
    knee: int | None
    chosen: int
    sentence: str
    complete: bool
    created: float
    kept: tuple[int, ...]
    current: bool
    clusters: int


def stored(context: Context) -> StoredSweep:
    """The last sweep of the space of the settings.

    Raises
    ------
    NothingThereError
        When there is none by the weights in use.
    """
    space = context.clustering_rules.space
    found = context.catalog.sweeps.newest(space)
    if found is None or found.recipe != context.recipe:
        raise NothingThereError(f"there is no sweep of the space {space} yet; run imgclust sweep")
    return found


def curve(context: Context) -> SweepCurve:
    """See `Gallery.sweep_curve`."""
    found, catalog = stored(context), context.catalog
    summary = found.summary
    clustering = catalog.clusterings.current_id()
    return SweepCurve(
        space=found.space,
        distinct=found.contents,
        k=tuple(summary["k"]),
        inertia=tuple(summary["inertia"]),
        knee=summary["knee"],
        chosen=int(summary["chosen"]),
        sentence=str(summary["sentence"]),
        complete=bool(summary["complete"]),
        created=found.created,
        kept=tuple(sorted(catalog.sweeps.fit_bytes(found.id))),
        current=found.sequence == catalog.contents.sequence(),
        clusters=0 if clustering is None else catalog.clusterings.count(clustering),
    )


def previewer(context: Context, last: Previewer | None) -> Previewer:
    """What shows the fits of the last sweep; `last` again where it is still of that one.

    Raises
    ------
    NothingThereError
        When there is no sweep.
    """
    found = stored(context)
    if last is not None and last.sweep == found.id:
        return last
    return Previewer(context.catalog, found)
