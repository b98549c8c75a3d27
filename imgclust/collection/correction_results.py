"""What is said of corrections: what one did, the list of them, links that wait."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imgclust.paths import Located, as_path


@dataclass(frozen=True)
class CorrectedImage(Located):
    """An image that a person spoke about; its cluster before and after."""

    id: int
    path: bytes
    before: int | None
    after: int | None


@dataclass(frozen=True)
class LookAlike(Located):
    """An image that looks like one that was corrected; `score` is their cosine."""

    id: int
    path: bytes
    score: float


@dataclass(frozen=True)
class Corrected:
    """What a correction did.

    Attributes
    ----------
    kind, cluster, name
        As in `CorrectionRow`; the cluster that it is about.
    images
        Those that were named, with the files of equal bytes.
    same_bytes
        How many of them were not named: they have the bytes of one that was.
    near_copies
        Ids of images that follow, as they are near copies.
    moved
        How many images have another cluster now.
    similar
        Images that look like those named and are elsewhere; `similar_moved` says whether they
        were moved too.
    corrections
        Numbers of the corrections that were made.
    already
        How many images were corrected so before.
    """

    kind: str
    cluster: int | None
    name: str | None
    images: tuple[CorrectedImage, ...]
    same_bytes: int
    near_copies: tuple[int, ...]
    moved: int
    similar: tuple[LookAlike, ...]
    similar_moved: bool
    corrections: tuple[int, ...]
    already: int
    dry_run: bool


@dataclass(frozen=True)
class WaitingLink(Located):
    """A link that was moved in the link folder and waits for a person.

    `link` is where it is below the link folder; `cluster` that of this folder, None for a new one.
    """

    id: int
    path: bytes
    link: bytes
    cluster: int | None

    @property
    def link_location(self) -> Path:
        """`link` as a `Path`."""
        return as_path(self.link)


@dataclass(frozen=True)
class PutBackLink(WaitingLink):
    """A link that could not become a correction, and why."""

    reason: str


@dataclass(frozen=True)
class AcceptedLinks:
    """Links that waited: those that are corrections now, and those that were put back."""

    accepted: tuple[WaitingLink, ...]
    put_back: tuple[PutBackLink, ...]


@dataclass(frozen=True)
class CorrectionRow:
    """A correction as it is listed.

    `image` and `other` are ids, None where no file with that content is in; `files` counts the
    images with the content. `applies` is False where its cluster or an image is not there now.
    """

    id: int
    kind: str
    image: int | None
    path: bytes | None
    other: int | None
    other_path: bytes | None
    cluster: int | None
    name: str | None
    made_by: str
    made: float
    follows: int | None
    files: int
    applies: bool
    ended: float | None = None
    reason: str | None = None

    @property
    def location(self) -> Path | None:
        """`path` as a `Path`."""
        return None if self.path is None else as_path(self.path)

    @property
    def other_path_location(self) -> Path | None:
        """`other_path` as a `Path`."""
        return None if self.other_path is None else as_path(self.other_path)


@dataclass(frozen=True)
class CorrectionList:
    """The corrections, and the links that wait for a person before they become some."""

    corrections: tuple[CorrectionRow, ...]
    waiting: tuple[WaitingLink, ...]


@dataclass(frozen=True)
class QuestionImage(Located):
    """An image of a question, and the cluster that it is in."""

    id: int
    path: bytes
    cluster: int | None
    name: str | None


@dataclass(frozen=True)
class Question:
    """Two images: are they of the same group?"""

    image: QuestionImage
    other: QuestionImage


@dataclass(frozen=True)
class Questions:
    """Pairs to ask a person about, the most telling first.

    `together` and `apart` count the answers that there are.
    """

    questions: tuple[Question, ...]
    together: int
    apart: int


@dataclass(frozen=True)
class Answer:
    """What an answer did.

    Attributes
    ----------
    correction, kind
        Number of the correction, "together" or "apart".
    image, other
        Ids of the two images.
    moved
        How many images have another cluster now.
    already
        True where it was said before.
    """

    correction: int
    kind: str
    image: int
    other: int
    moved: int
    already: bool


@dataclass(frozen=True)
class Paired:
    """What was said about pairs of images, and how many images have another cluster now.

    `kind` is "together" or "apart".
    """

    kind: str
    answers: tuple[Answer, ...]
    moved: int
    dry_run: bool
