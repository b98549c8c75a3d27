"""How clusterings, clusters, their maps and their links are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column, columns, likeness_cells
from imgclust.wording import counted, duration, minute, printable, rarity_meant, suggested

if TYPE_CHECKING:
    from pathlib import Path

    from imgclust.collection import (
        ClusterDetails,
        ClusterLife,
        ClusterResult,
        ClusterRow,
        Drift,
        LifeEvent,
        LinksResult,
        MapResult,
        PastClustering,
        Suggestion,
        SweepResult,
    )

_CRITERIA = {
    "simplified_silhouette": "simplified silhouette",
    "calinski_harabasz": "Calinski-Harabasz",
    "bic": "BIC",
}
_MEMBERS_SHOWN = 20
_CLUSTERINGS_SHOWN = 20
_FOREIGN_SHOWN = 10
_IDS_SHOWN = 12
_SAME = "nothing to change"


def sweep(screen: Screen, result: SweepResult) -> None:
    """What the sweep found, and where its picture is."""
    screen.summary(
        f"k from {result.k[0]} to {result.k[-1]}, {counted(result.n, 'distinct image')} in the "
        f"space {result.space}: {printable(result.sentence)}"
    )
    if result.preferred:
        said = ", ".join(f"{_CRITERIA[name]} {k}" for name, k in result.preferred.items())
        screen.summary(f"of k up to {result.compared_to}, other criteria prefer: {said}")
    for note in result.notes:
        screen.summary(printable(note))
    screen.summary(f"took {duration(result.seconds)}")
    if result.chart is not None:
        screen.outcome(f"elbow: {printable(result.chart)}")


def clustered(screen: Screen, result: ClusterResult, *, first: bool, would: bool = False) -> None:
    """A new clustering, and what happened to the clusters before it."""
    made = "would be" if would else "is" if result.moved == 1 else "are"
    screen.summary(printable(result.sentence))
    sizes = sorted(result.sizes.values())
    spread = ""
    if sizes:
        spread = f"; sizes {sizes[0]:,} to {sizes[-1]:,}, median {sizes[len(sizes) // 2]:,}"
    screen.summary(f"space {result.space}, inertia {result.inertia:.4g}{spread}")
    if not first:
        if result.frozen:
            kept = counted(len(result.frozen), "named cluster")
            stay = "as it is" if len(result.frozen) == 1 else "as they are"
            screen.summary(f"{kept} {'would be ' if would else ''}kept {stay}")
        if result.corrections:
            elsewhere = counted(result.corrected, "distinct image")
            screen.summary(
                f"{counted(result.corrections, 'correction')} {'would be ' if would else ''}"
                f"satisfied; without, {elsewhere} would be elsewhere"
            )
        for sentence in _lineage(result):
            screen.summary(sentence)
        screen.summary(f"{counted(result.moved, 'image')} {made} in another cluster than before")
    for note in result.notes:
        screen.summary(printable(note))


def done(screen: Screen, result: ClusterResult, plan: ClusterResult | None, *, first: bool) -> None:
    """A new clustering; in one line where it is what a person was shown before."""
    if plan is None or (plan.sizes, plan.moved) != (result.sizes, result.moved):
        clustered(screen, result, first=first)
    else:
        screen.summary(f"done as shown: {counted(len(result.sizes), 'cluster')}")


def history(screen: Screen, clusterings: Sequence[PastClustering], *, every: bool = False) -> None:
    """What each clustering did, newest first."""
    if not clusterings:
        screen.summary("there are no clusterings yet")
    shown = clusterings if every else clusterings[:_CLUSTERINGS_SHOWN]
    for one in shown:
        made = f"k = {one.k:,} by {one.chosen_by}, {one.space}"
        made += ", provisional" if one.provisional else ""
        moved = f"{counted(one.moved, 'image')} moved"
        screen.line(f"{_when(one.id, one)}  {made}; {moved}", style="bold" if one.current else None)
        for sentence in one.words:
            screen.line(f"  {printable(sentence)}")
    if len(shown) < len(clusterings):
        screen.line(f"and {len(clusterings) - len(shown):,} before; -v or --json shows all")


def life(screen: Screen, result: ClusterLife) -> None:
    """What happened to one cluster, from its beginning."""
    called = f" {printable(result.name)}" if result.name else ""
    screen.line(f"cluster {result.id}{called}" + ("" if result.alive else ", gone"))
    for one in result.events:
        images = "" if one.images is None else f"  {counted(one.images, 'image')}"
        screen.line(f"{_when(one.clustering, one)}{images}", style="bold" if one.current else None)
        for sentence in one.words:
            screen.line(f"  {printable(sentence)}")


def clusters(
    screen: Screen, rows: Sequence[ClusterRow], *, suggestions: Sequence[Suggestion] = ()
) -> None:
    """All clusters with size, coherence and medoid; outliers and drift where there are any."""
    more = [
        (title, shown)
        for title, shown in (
            ("frozen", ["yes" if row.frozen else "" for row in rows]),
            ("outliers", [f"{row.outliers:,}" if row.outliers else "" for row in rows]),
            ("drift", [_drift(row.drift) for row in rows]),
        )
        if any(shown)
    ]
    screen.table(
        [
            Column("id", "number"),
            Column("name", "path"),
            Column("size", "number"),
            *(Column(title, "number") for title, _ in more),
            *columns("coherence", "medoid", path="path"),
        ],
        [
            (
                str(row.id),
                printable(row.name or ""),
                f"{row.size:,}",
                *(shown[number] for _, shown in more),
                f"{row.coherence:.3f}",
                "-" if row.medoid is None else str(row.medoid),
                row.medoid_path or "",
            )
            for number, row in enumerate(rows)
        ],
    )
    screen.summary("medoid: the most central image of a cluster")
    if any(row.drift.ratio is not None for row in rows):
        screen.summary("drift: how far new images differ from the old ones (1: not at all)")
    if any(row.drift.high for row in rows):
        screen.summary(
            "! new images lie farther out than those that the cluster was made from; "
            "imgclust cluster updates the clusters"
        )
    for one in suggestions:
        screen.summary(suggested(**asdict(one)))


def cluster_details(screen: Screen, result: ClusterDetails, *, all_members: bool = False) -> None:
    """One cluster: its neighbours, its members from the centre outwards, its contact sheet."""
    row = result.row
    facts = [
        ("cluster", _named(row)),
        ("images", f"{row.size:,}, coherence {row.coherence:.3f}"),
        ("most central", "-" if row.medoid is None else f"image {row.medoid} (medoid)"),
    ]
    if result.representatives:
        facts.append(("representatives", ", ".join(str(one.id) for one in result.representatives)))
    if row.frozen:
        facts.append(("frozen", "yes: its images stay in it, whatever is clustered"))
    missing = sum(member.missing for member in result.members)
    corrected = sum(member.corrected for member in result.members)
    if corrected:
        said = f"{counted(corrected, 'image')}; see imgclust clusters corrections"
        facts.append(("corrected", said))
    if missing:
        facts.append(("missing", f"{counted(missing, 'image')}; see imgclust missing"))
    if row.outliers:
        facts.append(("outliers", f"{counted(row.outliers, 'image')} far from the centroid"))
    if row.drift.ratio is not None:
        came = counted(row.drift.arrivals, "distinct image")
        facts.append(
            ("drift", f"{_drift(row.drift)}: {came} that are new differ from the old ones")
        )
    if row.folder is not None:
        facts.append(("folder", printable(row.folder)))
    if result.nearest:
        near = ", ".join(f"{other} ({distance:.2f})" for other, distance in result.nearest)
        facts.append(("nearest", near))
    if result.sheet is not None:
        facts.append(("sheet", printable(result.sheet)))
    screen.facts(facts)
    if not result.members:
        return
    screen.line()
    alike = any(one.similarity is not None for one in result.members)
    shown = result.members if all_members else result.members[:_MEMBERS_SHOWN]
    screen.table(
        [
            Column("distance", "number"),
            *([Column("similarity", "number"), Column("rarity")] if alike else []),
            Column("id", "number"),
            *([Column("file")] if missing else []),
            *([Column("corrected")] if corrected else []),
            Column("path", "path"),
        ],
        [
            (
                f"{one.distance:.4f}",
                *(likeness_cells(one.similarity, one.rarity) if alike else []),
                str(one.id),
                *(["missing" if one.missing else ""] if missing else []),
                *(["yes" if one.corrected else ""] if corrected else []),
                one.path,
            )
            for one in shown
        ],
    )
    if len(shown) < len(result.members):
        rest = len(result.members) - len(shown)
        screen.line(f"and {rest:,} more; -v or --json shows all")
    if alike:
        meant = rarity_meant(one.rarity for one in result.members)
        screen.summary("similarity: to the most central image" + (f"; {meant}" if meant else ""))


def named(screen: Screen, row: ClusterRow) -> None:
    """A cluster after its name was changed."""
    called = f"is called {printable(row.name)}" if row.name else "has no name now"
    stays = "its images stay in it" if row.frozen else "imgclust cluster may move its images"
    screen.summary(f"cluster {row.id} {called}; {stays}")
    if row.folder is not None:
        screen.outcome(f"folder: {printable(row.folder)}")


def view(screen: Screen, result: MapResult) -> None:
    """Where the map is."""
    method = {"tsne": "t-SNE", "pca": "PCA"}[result.method]
    text = f"{counted(result.n, 'distinct image')} by {method} in {result.dims} dimensions"
    if result.sentence:
        text += f"; {result.sentence}"
    screen.summary(text)
    marked = [
        f"{counted(result.corrected, 'image')} corrected (+)" if result.corrected else "",
        f"{result.missing:,} missing (\u00d7)" if result.missing else "",
    ]
    if any(marked):
        screen.summary(f"marked: {', '.join(filter(None, marked))}")
    screen.outcome(f"map: {printable(result.path)}")
    if result.page not in (None, result.path):
        screen.outcome(f"turn it in a browser: {printable(result.page)}")


def links(screen: Screen, result: LinksResult, *, folder: Path, would: bool = False) -> None:
    """What a sync did to the link folder, or (`would`) what it would do."""
    changes = [
        counted(result.created, "link") + " made" if result.created else "",
        f"{result.removed:,} removed" if result.removed else "",
        f"{result.moved:,} moved" if result.moved else "",
    ]
    said = ", ".join(change for change in changes if change)
    by_hand = [
        f"{counted(result.corrected, 'link')} moved by hand now {_count(result.corrected)}"
        if result.corrected
        else "",
        *_by_hand(result),
    ]
    if would:
        screen.line(
            "; ".join(filter(None, [said and f"would be changed: {said}", *by_hand])) or _SAME
        )
    else:
        right = f"{counted(result.links - result.waiting, 'link')} up to date"
        changed = [said, *by_hand] if said or any(by_hand) else [_SAME]
        screen.summary("; ".join(filter(None, [right, *changed])))
        if result.unmade:
            screen.line(f"{counted(result.unmade, 'link')} could not be made")
        screen.outcome(f"links: {printable(folder)}")
    if result.fell_back:
        screen.note(result.fell_back)
    _foreign(screen, result)


def links_check(screen: Screen, result: LinksResult) -> None:
    """Whether the link folder is up to date."""
    right, by_hand = result.links - result.waiting, _by_hand(result)
    if result.in_step:
        screen.summary("; ".join([f"up to date: {counted(right, 'link')}", *by_hand]))
    else:
        wrong = f"{result.missing:,} missing, {result.stale:,} stale, {right:,} right"
        screen.line("; ".join([f"out of step: {wrong}", *by_hand, "imgclust links updates them"]))
    if result.dangling:
        lead = "link leads" if result.dangling == 1 else "links lead"
        screen.line(f"{result.dangling:,} {lead} to images that are missing; see imgclust missing")
    _foreign(screen, result)


def _by_hand(result: LinksResult) -> list[str]:
    """What is still to be read or said of links that people moved."""
    said = []
    if result.unread:
        said.append(f"{counted(result.unread, 'link')} moved by hand, not read yet")
    if result.waiting:
        wait = counted(result.waiting, "link moved by hand waits", "links moved by hand wait")
        said.append(f"{wait} for imgclust clusters corrections --accept or --reject")
    return said


def _count(links: int) -> str:
    return "counts as a correction" if links == 1 else "count as corrections"


def _drift(found: Drift) -> str:
    """Distance of arrivals by that of the fit, marked where it is high; empty without arrivals."""
    if found.ratio is None:
        return ""
    return f"{found.ratio:.2f}!" if found.high else f"{found.ratio:.2f}"


def _when(number: int, one: PastClustering | LifeEvent) -> str:
    state = " (now)" if one.current else " (undone)" if one.undone else ""
    return f"{minute(one.published)}  clustering {number}{state}"


def _lineage(result: ClusterResult) -> list[str]:
    sentences = []
    if result.kept:
        sentences.append(f"kept: {len(result.kept):,}")
    sentences += [f"split: {one['from']} into {_ids(one['into'])}" for one in result.split]
    sentences += [f"merged: {_ids(one['from'])} into {one['into']}" for one in result.merged]
    if result.new:
        sentences.append(f"new: {_ids(result.new)}")
    if result.gone:
        sentences.append(f"gone: {_called(result.gone)}")
    if result.returned:
        sentences.append(f"back: {_called(result.returned)}")
    return sentences


def _ids(ids: Any) -> str:
    shown = ", ".join(str(one) for one in ids[:_IDS_SHOWN])
    return shown + (f" and {len(ids) - _IDS_SHOWN} more" if len(ids) > _IDS_SHOWN else "")


def _called(clusters: Sequence[Mapping[str, Any]]) -> str:
    return _ids([f"{one['id']} {printable(one['name'] or '')}".rstrip() for one in clusters])


def _named(row: ClusterRow) -> str:
    return f"{row.id} {printable(row.name)}" if row.name else str(row.id)


def _foreign(screen: Screen, result: LinksResult) -> None:
    if not result.foreign:
        return
    screen.line(f"{counted(len(result.foreign), 'entry is', 'entries are')} not ours, left alone:")
    for path in result.foreign[:_FOREIGN_SHOWN]:
        screen.exact(f"  {printable(path)}")
    if len(result.foreign) > _FOREIGN_SHOWN:
        screen.line(f"  and {len(result.foreign) - _FOREIGN_SHOWN:,} more")
