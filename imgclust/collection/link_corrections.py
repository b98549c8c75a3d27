"""What people did in the link folder becomes corrections and names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.catalog.images import Image
from imgclust.catalog.links import LinkMove
from imgclust.collection.corrections import Corrections, NearCopies
from imgclust.errors import ImgclustError, NothingThereError, UsageError
from imgclust.wording import counted, printable

if TYPE_CHECKING:
    from imgclust.collection.context import Context
    from imgclust.links.tree_changes import TreeChanges

_SHOWN = 3


def follow(context: Context, changes: TreeChanges) -> dict[int, str]:
    """Make corrections of what the catalog has noted of the tree; the caller holds the links lock.

    What cannot be one is put back by the sync that follows, and said; returns why, by image.
    """
    from imgclust.links.tree_changes import RENAMED

    catalog = context.catalog
    if changes.before:
        _forget(context)
    said = catalog.setting(RENAMED) or {}
    for cluster, folder in said.items():
        _name(context, int(cluster), bytes.fromhex(folder))
    if said:
        with catalog.transaction():
            catalog.store(RENAMED, {})
    groups: dict[bytes, list[LinkMove]] = {}
    for one in catalog.link_tree.moves("moved"):
        groups.setdefault(one.folder, []).append(one)
    refused: dict[int, str] = {}
    for folder, moves in groups.items():
        refused |= _correct(context, folder, moves)
    if changes.waiting and not changes.before:
        links = f"{counted(changes.waiting, 'link was', 'links were')} moved in the link folder"
        why = "while no watcher ran, or more than 20 at once"
        them = "it" if changes.waiting == 1 else "them"
        _tell(
            context,
            f"{links} ({why}); if you did that, run imgclust clusters corrections --accept, and "
            f"--reject to put {them} back",
        )
    if changes.lost:
        gone = f"{counted(changes.lost, 'link was', 'links were')} deleted in the link folder"
        again = "it is made again" if changes.lost == 1 else "they are made again"
        _tell(context, f"{gone}; {again} (imgclust remove takes an image out)")
    return refused


def reject(context: Context) -> int:
    """Have links that wait for a person put back; returns how many."""
    catalog = context.catalog
    with catalog.transaction():
        waiting = [one.image for one in catalog.link_tree.moves("waiting")]
        _put_back(context, waiting)
    return len(waiting)


def _forget(context: Context) -> None:
    """What was moved before this version read the tree does not count."""
    from imgclust.links.tree_changes import RENAMED

    catalog = context.catalog
    with catalog.transaction():
        moves = catalog.link_tree.moves()
        _put_back(context, [one.image for one in moves])
        catalog.store(RENAMED, {})
    if moves:
        shown = ", ".join(printable(os.path.join(one.folder, one.entry)) for one in moves[:_SHOWN])
        more = f" and {len(moves) - _SHOWN} more" if len(moves) > _SHOWN else ""
        _tell(
            context,
            f"{counted(len(moves), 'link was', 'links were')} moved before corrections were read "
            f"from the link folder, which does not count: {shown}{more}; put back",
        )


def _put_back(context: Context, images: Sequence[int]) -> None:
    context.catalog.link_tree.forget(images)
    context.catalog.ledger.queue_links(images)


def _correct(context: Context, folder: bytes, moves: Sequence[LinkMove]) -> dict[int, str]:
    """Links that were moved into one folder; returns why some were put back, by image.

    Where one cannot be a correction, the two halves are tried, and so on: few have to be alone.
    """
    catalog = context.catalog
    images = [one.image for one in moves]
    try:
        rows = list(catalog.images.some(images).values())
        copies = Corrections(context).near_copies([row.content for row in rows])
        with catalog.transaction():
            said = _apply(context, folder, rows, copies)
            _put_back(context, images)  # where they belong now
        if said:
            _tell(context, said)
    except ImgclustError as error:
        if len(moves) > 1 and not isinstance(error, NothingThereError):
            half = len(moves) // 2
            return _correct(context, folder, moves[:half]) | _correct(context, folder, moves[half:])
        with catalog.transaction():
            _put_back(context, images)
        what = f"{counted(len(images), 'link')} moved to {printable(folder)}"
        _tell(context, f"{what}: {error}; put back")
        return dict.fromkeys(images, str(error))
    return {}


def _apply(context: Context, folder: bytes, rows: Sequence[Image], copies: NearCopies) -> str:
    """Make the corrections, in the caller's transaction; returns what to say."""
    from imgclust.links.names import OUTLIERS

    catalog, link_syncer = context.catalog, context.link_syncer()
    corrections = Corrections(context)
    current = context.current()
    contents = list(dict.fromkeys(row.content for row in rows))
    if not contents:
        return ""
    was: int | None = link_syncer.clusters().get(folder)
    if was is None:
        was = link_syncer.left(folder)
    cluster = None if was is None else _heir(context, was)
    kind = "in"
    if cluster is None and folder == OUTLIERS and context.link_rules.outliers:
        kind = "outlier"
    elif cluster is None:
        cluster = corrections.make_cluster(_text(folder), rows)
        link_syncer.note(cluster, folder)
    done = corrections.apply(
        kind, contents, cluster, made_by="folder", copies=copies, named=len(rows)
    )
    catalog.clusterings.confirm(current.id)
    where = "outliers" if cluster is None else f"cluster {cluster}"
    if done.name:
        where += f" ({done.name})"
    if was not in (None, cluster):
        where += f", which cluster {was} has merged into"
    stay = "image stays in" if len(rows) == 1 else "images stay in"
    too = "the files with the same bytes too" if done.same_bytes else ""
    near = counted(len(done.near_copies), "near copy", "near copies") if done.near_copies else ""
    more = " and ".join(filter(None, (too, near and f"{near} with it")))
    return f"moved in the link folder: {len(rows):,} {stay} {where}" + (f"; {more}" if more else "")


def _heir(context: Context, cluster: int) -> int:
    """The cluster itself, or the one that it has merged into since links were moved there.

    Raises
    ------
    NothingThereError
        When it is gone in another way.
    """
    catalog = context.catalog
    heir, since = cluster, []
    for one in catalog.clusterings.history():
        if cluster in catalog.clusterings.cluster_ids(one.id):
            break
        since.append(one)
    for one in reversed(since):
        for union in one.lineage.get("merged", ()):
            heir = union["into"] if heir in union["from"] else heir
    if heir in context.current().cluster_ids:
        return heir
    raise NothingThereError(
        f"cluster {cluster} is gone since; move the images with imgclust clusters move"
    )


def _name(context: Context, cluster: int, folder: bytes) -> None:
    """A person has given a cluster's folder another name."""
    from imgclust.links.names import folder_name

    catalog = context.catalog
    try:
        own = folder_name(context.link_rules.folder, id=cluster, name=None, count=0)
        called = name_in(_text(folder), cluster, own=own.decode())
        with catalog.transaction():
            current = context.current()
            if cluster not in current.cluster_ids:
                raise NothingThereError(f"cluster {cluster} is not there any more")
            names = catalog.clusterings.names()
            if not called or names.get(cluster) == called:
                return
            Corrections(context).free_name(called)
            catalog.clusterings.name(cluster, called)
            catalog.clusterings.confirm(current.id)
            catalog.ledger.queue_links(catalog.assignments.images_in(current.id, cluster))
        _tell(context, f"cluster {cluster} is called {called!r} now, as its folder")
    except ImgclustError as error:
        _tell(context, f"the folder {printable(folder)}: {error}; it gets its name back")


def name_in(text: str, cluster: int, *, own: str) -> str:
    """The name that a person gave a cluster's folder: `Beach`, `007-Beach`; empty for `007`.

    `own` is what the folder of the cluster is called without a name. Any other number before the
    name that is the id by chance belongs to it where a number follows: `7-11`, `1.5 km`.
    """
    padded = rf"(?:{re.escape(own)}|0+{cluster})(?:[-_ .]+(?P<after>.*))?"
    bare = rf"{cluster}(?:[-_ .]+(?P<words>[^0-9].*)?)?"
    found = re.fullmatch(f"{padded}|{bare}", text.strip(), re.DOTALL)
    return (text if found is None else found["after"] or found["words"] or "").strip()


def _text(folder: bytes) -> str:
    try:
        return folder.decode()
    except UnicodeDecodeError:
        raise UsageError("the folder's name is not UTF-8 and cannot be a cluster's") from None


def _tell(context: Context, sentence: str) -> None:
    context.say(sentence)
    with context.catalog.transaction():
        context.catalog.event("links", sentence)
