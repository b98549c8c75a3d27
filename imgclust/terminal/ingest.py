"""What an ingest says while it runs, and its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgclust.terminal.screen import Screen
from imgclust.wording import counted, duration, held, offline, printable, suffixes

if TYPE_CHECKING:
    from imgclust.collection import Event, IngestResult

# Events that a person should hear of although a summary follows.
_WORTH_SAYING = {"trouble", "held", "offline", "waiting", "note"}


def event(screen: Screen, one: Event) -> None:
    """One event of a watcher on a line: kind, path, cluster."""
    if screen.quiet and one.kind not in _WORTH_SAYING:
        return
    before, path, after = parts(one)
    if one.path is not None:
        path = screen.below(one.path)
    if one.path is None or not screen.fits(before, after):
        screen.line(f"{before}{path}{after}")  # a sentence: wrapped between its words
    else:
        screen.fitted(before, path, after)


def parts(one: Event) -> tuple[str, str, str]:
    """The line of an event: the text before its path, the path, the text after it."""
    after = ""
    if one.cluster is not None:
        name = f" {printable(one.cluster_name)}" if one.cluster_name else ""
        after = f" -> cluster {one.cluster}{name}"
    elif one.path is None:
        after = printable(one.sentence)
    elif one.kind not in {"ingested", "missing", "gone"}:
        after = f": {printable(one.sentence)}"
    path = "" if one.path is None else printable(one.path)
    return f"{one.kind:<11} ", path, after


def matters(one: Event) -> bool:
    """True for what a person should hear of wherever the others are only counted."""
    return one.kind in _WORTH_SAYING


def remark(screen: Screen, one: Event) -> None:
    """An event during a run that ends with a summary: said only when it matters."""
    if one.kind in _WORTH_SAYING - {"held", "offline"}:  # what is held is in the summary
        where = "" if one.path is None else f"{printable(one.path)}: "
        screen.note(f"{where}{one.sentence}")


def words(result: IngestResult) -> list[str]:
    """What happened to the files, each counted once."""
    kinds = f" ({suffixes(result.suffixes)})" if result.suffixes else ""
    parts = [f"{result.ingested:,} ingested", f"{result.reused:,} reused"]
    still = result.still_quarantined
    if result.unchanged > still:
        parts.append(f"{result.unchanged - still:,} unchanged")
    parts.append(f"{result.skipped:,} skipped{kinds}")
    parts.append(f"{result.quarantined:,} quarantined")
    if still:
        parts.append(f"{still:,} still in quarantine")
    if result.removed:
        parts.append(f"{result.removed:,} removed")
    if result.pending:
        parts.append(f"{result.pending:,} to read")
    return parts


def ingested(screen: Screen, result: IngestResult) -> None:
    """The summary of a run: what happened to the files that were read."""
    missing = f"; {counted(result.missing, 'image')} missing" if result.missing else ""
    screen.summary(
        f"{counted(result.seen, 'file')}: {', '.join(words(result))}{missing}; "
        f"{duration(result.seconds)}"
    )
    if result.taken_out:
        taken = counted(result.taken_out, "image")
        screen.summary(f"{taken} taken out, in places that are left out; the files stay")
    if result.quarantined:
        screen.summary("see why some could not be read: imgclust quarantine")
    if result.removed:
        screen.summary("imgclust add brings back a file whose content was removed")
    away = dict(result.offline)
    for path, reason in result.held:
        if path in away:
            screen.summary(offline(path, away[path]))
        else:
            screen.line(f"held: {held(path, reason)}")
    for suggestion in result.suggestions:
        screen.line(printable(suggestion))
