"""How an export is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgclust.terminal.screen import Screen
from imgclust.terminal.words import counted, printable

if TYPE_CHECKING:
    from imgclust.collection import ExportResult


def exported(screen: Screen, result: ExportResult) -> None:
    """How many images were written, and where."""
    beside = ", with embeddings" if result.embeddings else ""
    screen.summary(f"{counted(result.images, 'image')} as {result.format}{beside}")
    for note in result.notes:
        screen.summary(note)
    if result.path is not None:
        screen.outcome(f"export: {printable(result.path)}")
