"""Routes of corrections: what a person says about images and clusters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from imgclust.collection import Corrected, CorrectionList, CorrectionRow, Paused
from imgclust.collection.json_documents import document
from imgclust.server.answers import Documents, answers
from imgclust.server.change_routes import Body, DryRun, Nothing
from imgclust.server.read_routes import Here, Name, Which

router = APIRouter()

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
            body.images, to=cluster, similar=body.similar, dry_run=body.dry_run
        )
        return Documents(document(done))


@router.post("/collections/{name}/clusters/{cluster}/exclude", responses=answers(Corrected))
def exclude(site: Here, name: Name, cluster: Which, body: Exclusion) -> Response:
    """Take images out of a cluster: they never come back; as `imgclust clusters exclude`."""
    with site.open(name) as collection:
        done = collection.corrections.exclude(body.images, of=cluster, dry_run=body.dry_run)
        return Documents(document(done))


@router.post("/collections/{name}/clusters", responses=answers(Corrected))
def new(site: Here, name: Name, body: NewCluster) -> Response:
    """Make a named cluster of images; as `imgclust clusters new`."""
    with site.open(name) as collection:
        done = collection.corrections.new(body.name, body.images, dry_run=body.dry_run)
        return Documents(document(done))


@router.post(
    "/collections/{name}/corrections/remove", responses=answers(CorrectionRow, rows="taken_back")
)
def take_back(site: Here, name: Name, body: Numbers) -> Response:
    """Take corrections back; as `imgclust clusters corrections --remove`."""
    with site.open(name) as collection:
        found = collection.corrections.remove(body.corrections)
        return Documents(document(found, rows="taken_back"))


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
