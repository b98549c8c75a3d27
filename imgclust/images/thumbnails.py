"""Thumbnails and previews on disk: a cache by content that can be deleted at any time."""

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

    def preview_path(self, key: int) -> Path:
        """Where the preview of content `key` is, or would be: what a browser shows instead."""
        return self._folder / f"{key & 0xFF:02x}" / f"{key:016x}-preview.webp"

    def put(self, key: int, webp: bytes, *, preview: bytes | None = None) -> None:
        """Keep the thumbnail of content `key`, and its preview; a reader sees no half of one."""
        self._write(self.path(key), webp)
        if preview is not None:
            self._write(self.preview_path(key), preview)

    def remove(self, key: int) -> None:
        """Forget the thumbnail and the preview of content `key`, if there are any."""
        self.path(key).unlink(missing_ok=True)
        self.preview_path(key).unlink(missing_ok=True)

    def _write(self, path: Path, webp: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, lasting=False) as file:
            file.write(webp)
