"""How exports and reports are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgclust.terminal.screen import Screen
from imgclust.terminal.text import counted, printable, size

if TYPE_CHECKING:
    from imgclust.collection import ExportResult, ReportResult


def exported(screen: Screen, result: ExportResult) -> None:
    """How many images were written, and where."""
    beside = ", with embeddings" if result.embeddings else ""
    screen.summary(f"{counted(result.images, 'image')} as {result.format}{beside}")
    for note in result.notes:
        screen.summary(note)
    if result.path is not None:
        screen.outcome(f"export: {printable(result.path)}")


def reported(screen: Screen, result: ReportResult) -> None:
    """What is on the page, its size, and where it lies."""
    screen.summary(f"{counted(result.clusters, 'cluster')}, {size(result.bytes)}")
    if result.pictured < result.clusters:
        screen.summary(
            f"only the {result.pictured:,} largest clusters show an image: with all of them the "
            "page would be too large"
        )
    elif result.pictures < result.most_pictures:
        screen.summary(
            f"each cluster shows {counted(result.pictures, 'image')}: with "
            f"{result.most_pictures} the page would be too large"
        )
    screen.outcome(f"report: {printable(result.path)}")
