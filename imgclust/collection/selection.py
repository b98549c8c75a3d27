"""Images chosen by when and by which camera they were taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from imgclust.catalog.details import Facts
from imgclust.errors import UsageError

if TYPE_CHECKING:
    from imgclust.collection.context import Context

_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}(:[0-9]{2}(:[0-9]{2})?)?)?)?)?")
_WHOLE = "0000-01-01T00:00:00"


@dataclass(frozen=True)
class Selection:
    """Taken from `since` to `until`, both included, by a camera whose name has `camera` in it.

    A date may be a year, a month, a day, or a time (2024, 2024-05, 2024-05-31, 2024-05-31T18:30);
    all of that year, month or day counts. It is compared with what the camera's clock showed, and
    for a picture that does not say so, with the time of the file on this machine.

    Raises
    ------
    UsageError
        For a date that is none, and when `since` is later than `until`.
    """

    since: str | None = None
    until: str | None = None
    camera: str | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _date(value, name))
        if self.since and self.until:
            length = min(len(self.since), len(self.until))
            if self.since[:length] > self.until[:length]:
                raise UsageError(f"--since {self.since} is later than --until {self.until}")

    def __bool__(self) -> bool:
        """True when it leaves any image out."""
        return any((self.since, self.until, self.camera))

    def has(self, facts: Facts) -> bool:
        """True for an image with these facts."""
        if self.camera and self.camera.casefold() not in (facts.camera or "").casefold():
            return False
        if not self.since and not self.until:
            return True
        if facts.taken is None:
            return False
        since, until = self.since or "", self.until or ""
        return facts.taken[: len(since)] >= since and (
            not until or facts.taken[: len(until)] <= until
        )

    def images(self, context: Context) -> frozenset[int] | None:
        """Ids of the chosen images; None for all."""
        if not self:
            return None
        every = context.catalog.details.all()
        return frozenset(image for image, facts in every if self.has(facts))


class _Row(Protocol):
    """A dataclass with these fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> int: ...

    @property
    def facts(self) -> Facts: ...


T = TypeVar("T", bound=_Row)


def with_facts(context: Context, rows: Sequence[T]) -> tuple[T, ...]:
    """The rows with the facts of their images."""
    found = context.catalog.details.of_images([row.id for row in rows])
    return tuple(replace(row, facts=found.get(row.id, row.facts)) for row in rows)


def selected(rows: Iterable[T], selection: Selection | None) -> tuple[T, ...]:
    """Those of the rows, with their facts, that are chosen."""
    return tuple(row for row in rows if selection is None or selection.has(row.facts))


def _date(text: str, name: str) -> str:
    written = text.strip().replace(" ", "T", 1)
    if _DATE.fullmatch(written):
        try:
            datetime.fromisoformat(written + _WHOLE[len(written) :])
        except ValueError:
            pass
        else:
            return written
    raise UsageError(f"--{name} {text}: give a date such as 2024, 2024-05, 2024-05-31")
