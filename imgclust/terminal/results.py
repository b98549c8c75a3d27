"""How each result is shown: a function each, from the result to lines and tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgclust.terminal.screen import Column, Screen
from imgclust.terminal.words import counted, moment, printable, size, suffixes

if TYPE_CHECKING:
    from pathlib import Path

    from imgclust.collection import (
        ClusterDetails,
        ClusterRow,
        LinksResult,
        Listed,
        MapResult,
        MissingImage,
        Quarantined,
        QueryResult,
        Removed,
        Status,
        SweepResult,
        Weights,
    )

_SHOWN_MEMBERS = 20
_FOREIGN_SHOWN = 10


def query(screen: Screen, result: QueryResult) -> None:
    """Neighbours, the most similar first."""
    if not result.neighbours:
        screen.line("no image is that similar")
        return
    screen.table(
        _columns("score", "cluster", "id", path="path"),
        [
            (f"{row.score:.4f}", _number(row.cluster), str(row.id), printable(row.path))
            for row in result.neighbours
        ],
    )


def status(screen: Screen, result: Status) -> None:
    """How the collection stands, a fact a line."""
    facts = [("collection", result.collection), ("kept in", printable(result.folder))]
    images = counted(result.images, "image")
    if result.distinct != result.images:
        images += f", {result.distinct:,} distinct"
    facts.append(("images", images))
    facts.append(("clusters", _clusters(result)))
    watched = [printable(root) for root in result.roots]
    facts += _listed("watched", watched or ["no folder yet"])
    if result.watching:
        facts.append(("", "a watcher is running"))
    if result.added:
        facts.append(("added", f"{counted(result.added, 'file or folder', 'files and folders')}"))
    facts.append(("links", f"{result.link_mode}s in {printable(result.link_folder)}"))
    facts.append(("network", _network(result)))
    if result.pending:
        facts.append(("pending", f"{counted(result.pending, 'file')} not settled yet"))
    if result.quarantined:
        facts.append(
            ("quarantine", f"{counted(result.quarantined, 'file')}; see imgclust quarantine")
        )
    if result.skipped:
        facts.append(("skipped", f"no images: {suffixes(result.skipped)}"))
    if result.missing:
        facts.append(("missing", f"{counted(result.missing, 'image')}; see imgclust missing"))
    facts += [("held", f"{printable(root)}: {reason}") for root, reason in result.held]
    _facts(screen, facts)


def events(screen: Screen, result: Status) -> None:
    """The last events of a collection."""
    for wall, kind, sentence in result.events:
        screen.line(f"{moment(wall)}  {kind:<10}  {printable(sentence)}")


def sweep(screen: Screen, result: SweepResult) -> None:
    """What the sweep found, and where its picture is."""
    screen.summary(
        f"k from {result.k[0]} to {result.k[-1]}, {counted(result.n, 'distinct image')} in the "
        f"space {result.space}: {printable(result.sentence)}"
    )
    if not result.complete:
        screen.summary("interrupted: the larger k are missing")
    for note in result.notes:
        screen.summary(printable(note))
    if result.chart is not None:
        screen.outcome(f"elbow: {printable(result.chart)}")


def clusters(screen: Screen, rows: Sequence[ClusterRow]) -> None:
    """All clusters with size, coherence and medoid."""
    screen.table(
        [
            Column("id", "number"),
            Column("name", "path"),
            Column("size", "number"),
            *_columns("coherence", "medoid", path="path"),
        ],
        [
            (
                str(row.id),
                printable(row.name or ""),
                f"{row.size:,}",
                f"{row.coherence:.3f}",
                _number(row.medoid),
                "" if row.medoid_path is None else printable(row.medoid_path),
            )
            for row in rows
        ],
    )


def cluster_details(screen: Screen, result: ClusterDetails, *, all_members: bool = False) -> None:
    """One cluster: its neighbours, its members from the centre outwards, its contact sheet."""
    row = result.row
    facts = [
        ("cluster", _named(row)),
        ("images", f"{row.size:,}, coherence {row.coherence:.3f}"),
        ("medoid", _number(row.medoid)),
    ]
    if row.folder is not None:
        facts.append(("folder", printable(row.folder)))
    if result.nearest:
        near = ", ".join(f"{other} ({distance:.2f})" for other, distance in result.nearest)
        facts.append(("nearest", near))
    if result.sheet is not None:
        facts.append(("sheet", printable(result.sheet)))
    _facts(screen, facts)
    if not result.members:
        return
    screen.line()
    shown = result.members if all_members else result.members[:_SHOWN_MEMBERS]
    screen.table(
        _columns("distance", "id", path="path"),
        [(f"{one.distance:.4f}", str(one.id), printable(one.path)) for one in shown],
    )
    if len(shown) < len(result.members):
        rest = len(result.members) - len(shown)
        screen.line(f"and {rest:,} more; -v or --json shows all")


def named(screen: Screen, row: ClusterRow) -> None:
    """A cluster after its name was changed."""
    called = f"is called {printable(row.name)}" if row.name else "has no name now"
    screen.summary(f"cluster {row.id} {called}")
    if row.folder is not None:
        screen.outcome(f"folder: {printable(row.folder)}")


def view(screen: Screen, result: MapResult) -> None:
    """Where the map is."""
    screen.summary(printable(result.sentence))
    screen.outcome(f"map: {printable(result.path)}")


def links(screen: Screen, result: LinksResult, *, folder: Path, would: bool = False) -> None:
    """What a sync did to the link folder, or (`would`) what it would do."""
    changes = [
        counted(result.created, "link") + " made" if result.created else "",
        f"{result.removed:,} removed" if result.removed else "",
        f"{result.moved:,} moved" if result.moved else "",
    ]
    said = ", ".join(change for change in changes if change) or "nothing to change"
    if would:
        said = f"would be changed: {said}" if any(changes) else said
        screen.line(said)
    else:
        screen.summary(f"{counted(result.links, 'link')} in step; {said}")
        if result.unmade:
            screen.line(f"{counted(result.unmade, 'link')} could not be made")
        screen.outcome(f"links: {printable(folder)}")
    if result.fell_back:
        screen.note(result.fell_back)
    _foreign(screen, result)


def links_check(screen: Screen, result: LinksResult) -> None:
    """Whether the link folder is in step."""
    if result.in_step:
        screen.summary(f"in step: {counted(result.links, 'link')}")
    else:
        screen.line(
            f"out of step: {result.missing:,} missing, {result.stale:,} stale, "
            f"{result.links:,} right; imgclust links brings them in step"
        )
    _foreign(screen, result)


def quarantine(screen: Screen, rows: Sequence[Quarantined]) -> None:
    """Files that could not be read."""
    if not rows:
        screen.summary("nothing is in quarantine")
        return
    screen.table(
        [Column("path", "path"), Column("reason"), Column("tries", "number"), Column("since")],
        [
            (printable(row.path), printable(row.reason), str(row.tries), moment(row.since)[:16])
            for row in rows
        ],
    )


def missing(screen: Screen, rows: Sequence[MissingImage]) -> None:
    """Images that are not where they were."""
    if not rows:
        screen.summary("no image is missing")
        return
    screen.table(
        _columns("id", "scans", path="path"),
        [(str(row.id), str(row.scans), printable(row.path)) for row in rows],
    )
    for reason in dict.fromkeys(row.held for row in rows if row.held):
        screen.line(f"held: {printable(reason)}")


def accepted(screen: Screen, rows: Sequence[MissingImage]) -> None:
    """Images that were accepted as gone."""
    if rows:
        screen.summary(f"{counted(len(rows), 'image')} taken out of the collection")
    else:
        screen.summary("no image is missing")


def removed(screen: Screen, result: Removed) -> None:
    """An image that was taken out."""
    screen.outcome(f"image {result.id} taken out; its file stays: {printable(result.path)}")


def weights_list(screen: Screen, rows: Sequence[Listed]) -> None:
    """The weights of this machine."""
    screen.table(
        [Column("weights"), Column("state"), Column("size", "number"), Column("path", "path")],
        [
            (row.name, row.state, "" if row.bytes is None else size(row.bytes), printable(row.path))
            for row in rows
        ],
    )


def weights_file(screen: Screen, result: Weights) -> None:
    """A weights file that is right."""
    kind = {
        "imagenet": "ImageNet's, as Keras publishes them",
        "trunk": "the trunk that comes with imgclust",
        "file": f"InceptionV3 ({result.structure})",
    }[result.name]
    screen.summary(f"right: {kind}")
    screen.outcome(f"SHA-256 {result.sha256}  {printable(result.path)}")


def _columns(*numbers: str, path: str) -> list[Column]:
    return [*(Column(title, "number") for title in numbers), Column(path, "path")]


def _facts(screen: Screen, facts: Sequence[tuple[str, str]]) -> None:
    for name, fact in facts:
        screen.exact(f"{name:<11} {fact}")


def _listed(name: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(name if position == 0 else "", line) for position, line in enumerate(lines)]


def _clusters(result: Status) -> str:
    current = result.clustering
    if current is None:
        return "none yet; imgclust cluster makes them"
    chosen = {
        "user": "as asked",
        "config": "by the configuration",
        "knee": "by the knee",
        "silhouette": "by the silhouette",
        "rule": "by rule",
    }.get(current.chosen_by, current.chosen_by)
    text = f"{result.clusters} (k {chosen}, space {current.space}, {current.created[:10]})"
    if current.provisional:
        text += "; provisional, imgclust cluster makes lasting ones"
    if result.unassigned:
        text += f"; {counted(result.unassigned, 'image')} unassigned"
    return text


def _network(result: Status) -> str:
    if result.recipe is None:
        return "chosen at the first ingest"
    return f"{result.recipe}, weights {result.weights}"


def _named(row: ClusterRow) -> str:
    return f"{row.id} {printable(row.name)}" if row.name else str(row.id)


def _foreign(screen: Screen, result: LinksResult) -> None:
    if not result.foreign:
        return
    screen.line(f"{counted(len(result.foreign), 'entry is', 'entries are')} not ours, left alone:")
    for path in result.foreign[:_FOREIGN_SHOWN]:
        screen.exact(f"  {printable(os.fsdecode(path))}")
    if len(result.foreign) > _FOREIGN_SHOWN:
        screen.line(f"  and {len(result.foreign) - _FOREIGN_SHOWN:,} more")


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
