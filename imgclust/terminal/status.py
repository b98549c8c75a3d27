"""How the state of a collection is shown: status, quarantine, missing, doctor, reembed, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from imgclust.terminal.screen import Screen
from imgclust.terminal.table import Column, columns
from imgclust.wording import (
    NEXT_STEP,
    counted,
    day,
    duration,
    held,
    minute,
    moment,
    offline,
    printable,
    size,
    suffixes,
    suggested,
    unreadable,
)

if TYPE_CHECKING:
    from imgclust.collection import (
        DamagedImage,
        DoctorResult,
        Drifting,
        Listed,
        MissingImage,
        Paused,
        Quarantined,
        ReembedResult,
        Removed,
        Status,
        Weights,
    )


_LINKS = {"symlink": "symbolic links", "hardlink": "hard links", "copy": "copies"}


def status(screen: Screen, result: Status) -> None:
    """The status of the collection, a fact a line."""
    facts = [("collection", result.collection), ("kept in", printable(result.folder))]
    images = f"{result.images:,}"
    if result.distinct != result.images:
        images += f", {result.distinct:,} distinct"
    facts.append(("images", images))
    facts.append(("clusters", _clusters(result)))
    if result.drift is not None and result.drift.overall.ratio is not None:
        facts.append(("drift", _drift(result.drift)))
    facts += _listed(
        "suggested",
        [suggested(**asdict(one)) for one in result.suggestions],
    )
    watched = [printable(root) for root in result.roots]
    facts += _listed("watched", watched or ["no folder yet"])
    if result.watching:
        facts.append(("", "a watcher is running"))
    if result.pause:
        facts.append(("paused", result.pause.sentence))
    elif result.pause.hours:
        facts.append(("hours", f"files are read in the hours {result.pause.hours}, so now too"))
    if result.added:
        folders = "1 folder that is" if result.added == 1 else f"{result.added:,} folders that are"
        facts.append(("added", f"images from {folders} not watched; see imgclust roots"))
    facts.append(("links", f"{_LINKS[result.link_mode]} in {printable(result.link_folder)}"))
    if result.links_offline:
        facts.append(("offline", result.links_offline))
    facts.append(("network", _network(result)))
    if result.pending:
        waits = "queued" if result.pause else "not settled yet"
        facts.append(("pending", f"{counted(result.pending, 'file')} {waits}"))
    if result.quarantined:
        facts.append(
            ("quarantine", f"{counted(result.quarantined, 'file')}; see imgclust quarantine")
        )
    if result.corrections:
        number = sum(result.corrections.values())
        facts.append(("corrections", f"{number:,}; see imgclust clusters corrections"))
    if result.waiting_links:
        wait = counted(result.waiting_links, "moved link waits", "moved links wait")
        decide = "see imgclust clusters corrections, then --accept or --reject"
        facts.append(("waiting", f"{wait}; {decide}"))
    if result.damaged:
        facts.append(
            (
                "damaged",
                f"{counted(result.damaged, 'image')}, in; see imgclust quarantine --damaged",
            )
        )
    if result.skipped:
        facts.append(("skipped", f"no images: {suffixes(result.skipped)}"))
    if result.removed:
        stay = f"{counted(result.removed, 'file')} taken out; imgclust add brings them back"
        facts.append(("removed", stay))
    if result.missing:
        facts.append(("missing", f"{counted(result.missing, 'image')}; see imgclust missing"))
    facts += [("unreadable", unreadable(path, reason)) for path, reason in result.unreadable]
    facts += [("offline", offline(path, images)) for path, images in result.offline]
    away = {path for path, _ in result.offline}
    facts += [("held", held(path, reason)) for path, reason in result.held if path not in away]
    screen.facts(facts)


def paused(screen: Screen, result: Paused) -> None:
    """Whether files are read, and what happens with those that arrive."""
    already = "" if result.changed else "already "
    queued = f"; {counted(result.pending, 'file')} queued" if result.pending else ""
    if result.since is not None:
        screen.summary(
            f"{already}paused since {minute(result.since)}{queued}; imgclust resume continues"
        )
    elif result.changed:
        goes = "" if result.watching else "; imgclust watch reads them"
        if result.hours:
            screen.summary(f"not paused any more{queued}; the watcher reads at {result.hours} only")
        else:
            screen.summary(f"files are read again{queued}{goes}")
    elif result.hours:
        screen.summary(f"not paused: the watcher reads at {result.hours} only")
    else:
        screen.summary("not paused: files are read as they arrive")


def engine(screen: Screen, result: Status, why: str | None) -> None:
    """What computes embeddings on this machine and why, and what has computed those there are."""
    facts = [("engine", why or "the first image decides; see docs/speed.md")]
    facts += [
        ("", f"the newest: {counted(count, 'embedding')} by {provenance}")
        for provenance, count in sorted(result.provenances.items())
    ]
    screen.facts(facts)


def events(screen: Screen, result: Status) -> None:
    """The last events of a collection."""
    for wall, kind, sentence in result.events:
        screen.line(f"{moment(wall)}  {kind:<10}  {printable(sentence)}")


def quarantine(screen: Screen, rows: Sequence[Quarantined]) -> None:
    """Files that could not be read."""
    if not rows:
        screen.summary("nothing is in quarantine")
        return
    screen.table(
        [Column("path", "path"), Column("reason"), Column("tries", "number"), Column("since")],
        [(row.path, printable(row.reason), str(row.tries), minute(row.since)) for row in rows],
    )
    screen.summary("imgclust quarantine retry reads them again, such as after a repair")


def missing(screen: Screen, rows: Sequence[MissingImage]) -> None:
    """Images that are not where they were."""
    if not rows:
        screen.summary("no image is missing")
        return
    screen.table(
        columns("id", "scans", path="path"),
        [(str(row.id), str(row.scans), row.path) for row in rows],
    )
    for reason in dict.fromkeys(row.held for row in rows if row.held):
        screen.line(f"held: {printable(reason)}")
    if any(row.held for row in rows):
        screen.line(f"held images are kept: {NEXT_STEP}")
    else:
        screen.summary(
            "imgclust missing accept takes them out now; later scans do so by themselves"
        )


def accepted(screen: Screen, rows: Sequence[MissingImage]) -> None:
    """Images that were accepted as gone."""
    if rows:
        screen.summary(f"{counted(len(rows), 'image')} taken out of the collection")
    else:
        screen.summary("no image is missing")


def damaged(screen: Screen, rows: Sequence[DamagedImage]) -> None:
    """Images whose files are damaged: they are in."""
    if not rows:
        screen.summary("no image is damaged")
        return
    screen.table(
        [Column("id", "number"), Column("reason"), Column("path", "path")],
        [(str(row.id), printable(row.reason), row.path) for row in rows],
    )


def removed(screen: Screen, results: Sequence[Removed], *, would: bool) -> None:
    """Images that were, or would be, taken out."""
    if screen.quiet and not would:
        return
    taken = "would be taken out" if would else "taken out"
    if len(results) > 1:
        screen.table(columns("id", path="path"), [(str(one.id), one.path) for one in results])
        screen.summary(f"{counted(len(results), 'image')} {taken}; their files stay")
        return
    result = results[0]
    screen.summary(f"image {result.id} {taken}; its file stays: {printable(result.path)}")
    others = counted(len(result.copies), "other image")
    if result.copies and result.copies_removed:
        screen.summary(f"{others} with the same bytes {taken} too")
    elif result.copies:
        stay = "stays" if len(result.copies) == 1 else "stay"
        screen.summary(f"{others} with the same bytes {stay}; --copies takes out all of them")


def doctor(screen: Screen, result: DoctorResult, *, repair: bool) -> None:
    """What agrees and what does not, and what could be better."""
    for check in result.checks:
        if check.ok and screen.quiet:
            continue
        verdict = "ok" if check.ok else "WRONG"
        screen.line(
            f"{verdict:<6} {check.name}: {printable(check.sentence)}",
            style=None if check.ok else "red",
        )
        if check.repaired:
            screen.line(f"       repaired: {printable(check.repaired)}")
    for advisory in result.advisories:
        verdict = "ok" if advisory.ok else "note"
        screen.summary(f"{verdict:<6} {advisory.name}: {printable(advisory.sentence)}")
    if not result.ok and not repair:
        screen.line("imgclust doctor --repair repairs what can be repaired")


def reembedded(screen: Screen, result: ReembedResult) -> None:
    """What was embedded again, or would be."""
    distinct = counted(result.contents, "distinct image")
    if result.before == result.after:
        screen.summary(f"all {distinct} are embedded by {result.after} already")
    elif result.dry_run:
        screen.summary(f"{result.waiting:,} of {distinct} would be embedded again")
        screen.summary(f"from: {result.before}")
        screen.summary(f"to:   {result.after}")
        if not math.isnan(result.seconds):
            screen.summary(f"that takes about {duration(result.seconds)}")
    else:
        screen.summary(f"{distinct} embedded by {result.after} ({result.embedded:,} of them now)")
        if result.clusters is not None:
            screen.summary(
                f"{counted(result.clusters, 'cluster')} in the new space; "
                f"{result.kept:,} continue one from before, with id and name"
            )


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
    screen.summary(f"SHA-256 {result.sha256}  {printable(result.path)}")


def _listed(name: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(name if position == 0 else "", line) for position, line in enumerate(lines)]


def _clusters(result: Status) -> str:
    current = result.clustering
    if current is None:
        return "none yet; imgclust cluster makes them"
    chosen = {
        "user": "as asked",
        "config": "by the configuration",
        "knee": "as suggested by the elbow curve (knee)",
        "groups": "by the number of groups",
        "silhouette": "by the silhouette",
        "rule": "by rule",
    }.get(current.chosen_by, current.chosen_by)
    text = f"{result.clusters} (k {chosen}, space {current.space}, {day(current.created)})"
    if current.provisional:
        text += "; provisional, imgclust cluster makes lasting ones"
    if result.unassigned:
        text += f"; {counted(result.unassigned, 'image')} unassigned"
    return text


def _drift(found: Drifting) -> str:
    ratio, came = found.overall.ratio, found.overall.arrivals
    if found.suggestion:
        return found.suggestion
    return (
        f"{counted(came, 'new image')} at {ratio:.2f} times the distance of the old ones from "
        f"their centres (drift {ratio:.2f})"
    )


def _network(result: Status) -> str:
    if result.recipe is None:
        return "chosen at the first ingest"
    named = {"trunk": "built-in weights (trunk)", "imagenet": "ImageNet weights"}
    weights = named.get(result.weights or "", f"weights {result.weights}")
    return f"{weights}, {result.recipe}"
