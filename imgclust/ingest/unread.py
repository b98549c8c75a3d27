"""Images whose files cannot be read or decoded now: they stay unless their bytes have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgclust.catalog import Catalog, Image
from imgclust.images import NO_PERMISSION, Died, Outcome, ReadFailed, Skipped, Unreadable
from imgclust.reconcile import MAX_DEATHS

if TYPE_CHECKING:
    from imgclust.ingest.environment import Disk


@dataclass(frozen=True)
class KeptImage:
    """An image that stays; `again` says that its file is to be read again, as nothing is known."""

    image: Image
    again: bool


class UnreadFiles:
    """Finds out whether files that give no picture now still have the bytes of their images."""

    def __init__(self, catalog: Catalog, disk: Disk) -> None:
        self._catalog = catalog
        self._disk = disk
        self._digests: dict[bytes, bytes | None] = {}
        self._told: set[tuple[bytes, str]] = set()

    def read(self, outcomes: Sequence[Outcome], *, last: bool = False) -> None:
        """Read the files of which more needs to be known: not in a transaction, it takes long.

        `last`: none of them is tried again.
        """
        self._digests = {
            outcome.path: self._disk.digest(outcome.path)
            for outcome in outcomes
            if (last or self._is_doubtful(outcome))
            and self._catalog.images.at(outcome.path) is not None
            and self._has_its_size(outcome.path)
        }

    def image_of(self, outcome: Outcome) -> KeptImage | None:
        """The image that stays although its file gave no picture; None when its bytes are others.

        That they cannot be read, or not be decoded any more, says nothing about them.
        """
        path = outcome.path
        image = self._catalog.images.at(path)
        content = None if image is None else self._catalog.contents.get(image.content)
        if image is None or content is None or image.doubt == "displaced":
            return None
        if isinstance(outcome, ReadFailed):
            return KeptImage(image, again=True)
        if not self._has_its_size(path):
            return None
        sha256 = outcome.sha256 if isinstance(outcome, Unreadable) else None
        if sha256 is None:
            sha256 = self._digests.get(path)
        if sha256 is None:
            # Permissions change the stat when they come back; nothing else does.
            closed = isinstance(outcome, Unreadable) and outcome.reason == NO_PERMISSION
            return KeptImage(image, again=not closed)
        return KeptImage(image, again=False) if sha256 == content.sha256 else None

    def is_news(self, path: bytes, reason: str) -> bool:
        """True the first time in a run: files are read again in each scan."""
        news = (path, reason) not in self._told
        self._told.add((path, reason))
        return news

    def _is_doubtful(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Died):
            known = self._catalog.observations.at(outcome.path)
            return known is not None and known.deaths + 1 >= MAX_DEATHS
        return isinstance(outcome, Skipped) or (
            isinstance(outcome, Unreadable) and outcome.sha256 is None
        )

    def _has_its_size(self, path: bytes) -> bool:
        """True when the file has as many bytes as the image at its path."""
        known = self._catalog.observations.at(path)
        image = self._catalog.images.at(path)
        content = None if image is None else self._catalog.contents.get(image.content)
        return known is not None and content is not None and content.bytes == known.stat[2]
