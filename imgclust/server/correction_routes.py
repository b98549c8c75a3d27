"""Routes of corrections, and of pause and resume: what a person says about images and ingest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from imgclust.collection import (
    Answer,
    Corrected,
    CorrectionList,
    CorrectionRow,
    Paused,
    Questions,
)
from imgclust.collection.json_documents import document
from imgclust.errors import NothingThereError, UsageError
from imgclust.server.answers import Documents, answers
from imgclust.server.change_routes import Body, DryRun, Nothing
from imgclust.server.read_routes import Here, Name, Which
from imgclust.server.site import slow
from imgclust.wording import printable

router = APIRouter()

_MOMENT_S = 2.0

Images = Annotated[
    list[int],
    Field(description="Ids of images.", min_length=1, max_length=10_000, examples=[[42, 43]]),
]


class Move(DryRun):
    """As `imgclust clusters move`."""

    images: Images
    similar: bool = Field(False, description="Move images that look like them too.")


class NewCluster(DryRun):
    """As `imgclust clusters new`."""

    name: str = Field(
        description="Name of the cluster.", min_length=1, max_length=400, examples=["beach"]
    )
    images: Images


class Exclusion(DryRun):
    """As `imgclust clusters exclude`."""

    images: Images


class Numbers(Body):
    """As `imgclust clusters corrections --remove`."""

    corrections: list[int] = Field(
        description="Numbers of corrections.", min_length=1, max_length=10_000, examples=[[3]]
    )


class Placed(Body):
    """An image of a command, as its answer says it."""

    id: int = Field(description="Id of the image.", examples=[42])
    path: str | None = Field(None, description="As in the answer; the id decides.")
    before: int | None = Field(description="Its cluster before.", examples=[7])
    after: int | None = Field(description="Its cluster after.", examples=[9])


class Undo(Body):
    """What the answer of `move`, `exclude` or `clusters` said."""

    kind: Literal["in", "not_in"] = Field(description="As in the answer.")
    cluster: int = Field(description="As in the answer.", examples=[9])
    images: list[Placed] = Field(description="As in the answer.", min_length=1, max_length=20_000)
    corrections: list[int] = Field(
        description="As in the answer. All of them must still count.",
        min_length=1,
        max_length=20_000,
    )
    unname: str | None = Field(
        None,
        description="The name of a cluster that the command made: taken away if it still has it.",
        examples=["beach"],
    )


class Reply(Body):
    """An answer of a review."""

    image: int = Field(description="Id of an image.", examples=[42])
    other: int = Field(description="Id of the other one.", examples=[43])
    same: bool = Field(description="Whether they are of the same group.", examples=[True])


_ASKED = {"id": 42, "path": "/home/ann/Pictures/cat.jpg", "cluster": 7, "name": "cats on sofas"}
_QUESTIONS = {
    "questions": [
        {
            "image": _ASKED,
            "other": _ASKED | {"id": 43, "path": "/home/ann/Pictures/dog.jpg"},
        }
    ],
    "together": 2,
    "apart": 1,
}
_ANSWER = {
    "correction": 3,
    "kind": "apart",
    "image": 42,
    "other": 43,
    "moved": 1,
    "already": False,
}


@router.get("/collections/{name}/corrections", responses=answers(CorrectionList))
def corrections(
    site: Here,
    name: Name,
    ended: Annotated[bool, Query(description="Those that ended too.")] = False,
) -> Response:
    """List the corrections; as `imgclust clusters corrections`."""
    with site.open(name) as collection:
        return Documents(document(collection.corrections.listed(ended=ended)))


@router.post("/collections/{name}/clusters/{cluster}/move", responses=answers(Corrected))
def move(site: Here, name: Name, cluster: Which, body: Move) -> Response:
    """Put images into a cluster, where they stay; as `imgclust clusters move --to CLUSTER`."""
    with site.open(name) as collection:
        done = collection.corrections.move(
            body.images,
            to=cluster,
            similar=body.similar,
            made_by="gallery",
            dry_run=body.dry_run,
        )
        return Documents(document(done))


@router.post("/collections/{name}/clusters/{cluster}/exclude", responses=answers(Corrected))
def exclude(site: Here, name: Name, cluster: Which, body: Exclusion) -> Response:
    """Take images out of a cluster: they never come back; as `imgclust clusters exclude`."""
    with site.open(name) as collection:
        done = collection.corrections.exclude(
            body.images, of=cluster, made_by="gallery", dry_run=body.dry_run
        )
        return Documents(document(done))


@router.post("/collections/{name}/clusters", responses=answers(Corrected))
def new(site: Here, name: Name, body: NewCluster) -> Response:
    """Make a named cluster of images; as `imgclust clusters new`."""
    with site.open(name) as collection:
        done = collection.corrections.new(
            body.name, body.images, made_by="gallery", dry_run=body.dry_run
        )
        return Documents(document(done))


@router.post(
    "/collections/{name}/corrections/remove", responses=answers(CorrectionRow, rows="taken_back")
)
def take_back(site: Here, name: Name, body: Numbers) -> Response:
    """Take corrections back; as `imgclust clusters corrections --remove`."""
    with site.open(name) as collection:
        found = collection.corrections.remove(body.corrections)
        return Documents(document(found, rows="taken_back"))


@router.post(
    "/collections/{name}/corrections/undo", responses=answers(CorrectionRow, rows="taken_back")
)
def undo_move(site: Here, name: Name, body: Undo) -> Response:
    """Put images back where they were; what was said of them before counts again.

    Refused when something was said of them since, or a cluster they were in is gone: nothing
    changes then. `taken_back` are the corrections that ended.
    """
    with site.open(name) as collection:
        said = collection.corrections
        rows = {row.id: row for row in said.rows(ended=True)}
        ours = _all_active(body, rows)
        clusters = {row.id: row for row in collection.clusters()}
        earlier = _replaced_by(ours, rows.values())
        homes: dict[tuple[int, bool], list[int]] = {}
        stayed = set()
        for one in {one.id: one for one in body.images}.values():
            if one.before is None or one.before == one.after:
                stayed.add(one.id)
                continue
            if one.before not in clusters:
                raise NothingThereError(
                    f"cluster {one.before}, where image {one.id} was, is not there any more; "
                    "nothing was put back"
                )
            place = one.before, (one.id, one.before) in earlier
            homes.setdefault(place, []).append(one.id)
        # A move back ends what a move said; of those that did not move, it is ended here.
        ending = [row.id for row in ours if body.kind == "not_in" or row.image in stayed]
        gone = list(said.remove(ending)) if ending else []
        for (home, stays), images in homes.items():
            back = said.move(images, to=home, made_by="gallery").corrections
            if back and not stays:
                gone += said.remove(back)
        made = clusters.get(body.cluster)
        if made is not None and body.unname and made.name == body.unname:
            collection.name_cluster(made.id, "")
        return Documents(document(tuple(gone), rows="taken_back"))


def _all_active(body: Undo, rows: Mapping[int, CorrectionRow]) -> list[CorrectionRow]:
    """The corrections that a command made, when all of them still count."""
    for number in body.corrections:
        row = rows.get(number)
        if row is None or row.kind != body.kind or row.cluster != body.cluster:
            raise NothingThereError(
                f"correction {number} is not of that command; see imgclust clusters corrections"
            )
        if row.ended is not None:
            raise NothingThereError(
                f"correction {number} has ended: something was said of its image since; "
                "nothing was put back"
            )
    return [rows[number] for number in body.corrections]


def _replaced_by(
    ours: Sequence[CorrectionRow], rows: Iterable[CorrectionRow]
) -> set[tuple[int | None, int | None]]:
    """Images and clusters of what a command replaced: it ended a moment before."""
    made = [row.made for row in ours]
    first, last = min(made) - _MOMENT_S, max(made)
    return {
        (row.image, row.cluster)
        for row in rows
        if (row.kind, row.reason) == ("in", "changed")
        if row.ended is not None and first <= row.ended <= last
    }


@router.get("/collections/{name}/review", responses=answers(Questions, _QUESTIONS))
@slow
def questions(
    site: Here,
    name: Name,
    count: Annotated[int, Query(ge=1, le=100, description="At most so many.")] = 20,
    skipped: Annotated[
        list[str] | None,
        Query(
            description="Pairs of ids that nobody wants to answer.",
            examples=[["42-43"]],
            max_length=200,
        ),
    ] = None,
) -> Response:
    """Show pairs of images to ask a person about; as `imgclust clusters review`.

    `together` and `apart` count the answers that there are.
    """
    passed = [_pair(one) for one in skipped or ()]
    with site.ready(name) as collection:
        return Documents(
            document(collection.service.gallery.asking.questions(count, skipped=passed))
        )


def _pair(given: str) -> tuple[int, int]:
    one, _, other = given.partition("-")
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (one, other)):
        raise UsageError(f"{printable(given[:60])} is not a pair of ids; write 42-43")
    return int(one), int(other)


@router.post("/collections/{name}/review", responses=answers(Answer, _ANSWER))
def answer(site: Here, name: Name, body: Reply) -> Response:
    """Say whether two images are of the same group; what follows from it is done at once."""
    with site.ready(name) as collection:
        done = collection.service.gallery.asking.answer(
            body.image, body.other, same=body.same, made_by="gallery"
        )
        return Documents(document(done))


@router.post("/collections/{name}/pause", responses=answers(Paused))
def pause(site: Here, name: Name, body: Nothing) -> Response:
    """Read no file until it is resumed; as `imgclust pause`."""
    with site.open(name) as collection:
        return Documents(document(collection.pause()))


@router.post("/collections/{name}/resume", responses=answers(Paused))
def resume(site: Here, name: Name, body: Nothing) -> Response:
    """Read files again; as `imgclust resume`."""
    with site.open(name) as collection:
        return Documents(document(collection.resume()))
