"""Thumbnails on disk: a cache by content that can be deleted at any time."""

from __future__ import annotations

from pathlib import Path

from imgclust.fs import replacing


class ThumbnailStore:
    """WebP files under `folder`, spread over 256 folders by the last byte of their content key.

    Nothing is synced to disk: a thumbnail that is lost can be made again. Every failure is an
    OSError, and the caller decides whether it matters.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: int) -> Path:
        """Where the thumbnail of content `key` is, or would be."""
        return self._folder / f"{key & 0xFF:02x}" / f"{key:016x}.webp"

    def put(self, key: int, webp: bytes) -> None:
        """Keep `webp` as the thumbnail of content `key`; a reader never sees half of it."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, lasting=False) as file:
            file.write(webp)

    def remove(self, key: int) -> None:
        """Forget the thumbnail of content `key`, if there is one."""
        self.path(key).unlink(missing_ok=True)
