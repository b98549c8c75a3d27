"""What an ingest or a new clustering did, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imgclust.terminal.screen import Screen
from imgclust.terminal.words import counted, duration, printable, suffixes

if TYPE_CHECKING:
    from imgclust.collection import ClusterResult, Event, IngestResult

# Events that a person should hear of although a summary follows.
_WORTH_SAYING = {"trouble", "held", "waiting", "note"}
_IDS_SHOWN = 12


def event(screen: Screen, one: Event) -> None:
    """One event of a watcher on a line: kind, path, cluster."""
    text = f"{one.kind:<11}"
    if one.path is not None:
        text += f" {printable(one.path)}"
    if one.cluster is not None:
        text += f" -> cluster {one.cluster}"
    elif one.kind not in {"ingested", "missing", "gone"}:
        text += f"{':' if one.path is not None else ''} {printable(one.sentence)}"
    if one.kind in _WORTH_SAYING:
        screen.exact(text)
    else:
        screen.outcome(text)


def remark(screen: Screen, one: Event) -> None:
    """An event during a run that ends with a summary: said only when it matters."""
    if one.kind in _WORTH_SAYING:
        where = "" if one.path is None else f"{printable(one.path)}: "
        screen.note(f"{where}{one.sentence}")


def ingested(screen: Screen, result: IngestResult, skipped: Mapping[str, int]) -> None:
    """The summary of a run: what became of the files that were looked at."""
    parts = [f"{result.ingested:,} ingested", f"{result.reused:,} reused"]
    if result.unchanged:
        parts.append(f"{result.unchanged:,} unchanged")
    kinds = f" ({suffixes(skipped)})" if skipped else ""
    parts.append(f"{result.skipped:,} skipped{kinds}")
    parts.append(f"{result.quarantined:,} quarantined")
    if result.missing:
        parts.append(f"{result.missing:,} missing")
    screen.summary(
        f"{counted(result.seen, 'file')}: {', '.join(parts)}; {duration(result.seconds)}"
    )
    if result.quarantined:
        screen.summary("see why some could not be read: imgclust quarantine")
    for root, reason in result.held:
        screen.line(f"held: {printable(root)}: {printable(reason)}")


def clustered(screen: Screen, result: ClusterResult, *, first: bool, would: bool = False) -> None:
    """A new clustering, and what became of the clusters before it."""
    made = "would be" if would else "are"
    screen.summary(
        f"{counted(result.k, 'cluster')}: {printable(result.sentence)}; space {result.space}, "
        f"inertia {result.inertia:.4g}"
    )
    sizes = sorted(result.sizes.values())
    if sizes:
        screen.summary(
            f"sizes from {sizes[0]:,} to {sizes[-1]:,}, median {sizes[len(sizes) // 2]:,}"
        )
    if not first:
        for sentence in _lineage(result):
            screen.summary(sentence)
        screen.summary(f"{counted(result.moved, 'image')} {made} in another cluster than before")
    for note in result.notes:
        screen.summary(printable(note))


def _lineage(result: ClusterResult) -> list[str]:
    sentences = []
    if result.kept:
        sentences.append(f"kept: {len(result.kept):,}")
    sentences += [f"split: {one['from']} into {_ids(one['into'])}" for one in result.split]
    sentences += [f"merged: {_ids(one['from'])} into {one['into']}" for one in result.merged]
    if result.new:
        sentences.append(f"new: {_ids(result.new)}")
    if result.gone:
        sentences.append("gone: " + ", ".join(_gone(one) for one in result.gone[:_IDS_SHOWN]))
    return sentences


def _ids(ids: Any) -> str:
    shown = ", ".join(str(one) for one in ids[:_IDS_SHOWN])
    return shown + (f" and {len(ids) - _IDS_SHOWN} more" if len(ids) > _IDS_SHOWN else "")


def _gone(one: Mapping[str, Any]) -> str:
    return f"{one['id']} {printable(one['name'])}" if one["name"] else str(one["id"])
