"""What a sync or a check of the link folder found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinksResult:
    """The link folder after a sync, or as a check found it.

    `links` counts the entries that are right, `missing` and `stale` those that are not, `created`
    and `removed` those that were made and taken out, `moved` those that got another place or name,
    `unmade` those that could not be made; `foreign` lists paths below the link folder that are not
    ours; `fell_back` says why another mode was used. `dangling` counts, in a check, the symbolic
    links among them whose image is not there.
    """

    links: int
    created: int = 0
    removed: int = 0
    missing: int = 0
    stale: int = 0
    foreign: tuple[bytes, ...] = ()
    moved: int = 0
    unmade: int = 0
    fell_back: str | None = None
    dangling: int = 0

    @property
    def in_step(self) -> bool:
        """True when every image has its link."""
        return not (self.missing or self.stale)
