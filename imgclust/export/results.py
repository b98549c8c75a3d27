"""What an export returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ExportResult:
    """What was written where; `path` is None for a stream, `images` fewer than `of` for a part.

    `notes` are sentences for people: what was left out, and why.
    """

    path: Path | None
    format: str
    images: int
    of: int
    embeddings: bool
    notes: tuple[str, ...]
