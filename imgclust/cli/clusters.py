"""Commands about clusters: sweep, cluster, clusters, view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imgclust.cli import checks, completion
from imgclust.cli.checks import agreed
from imgclust.cli.context import Call
from imgclust.cli.links import Outliers
from imgclust.cli.typer_ext import (
    Camera,
    Cluster,
    Commands,
    DryRun,
    Since,
    Until,
    Yes,
    count_or_auto,
    selection,
    whole,
)
from imgclust.errors import UsageError
from imgclust.terminal import clusters as tables

if TYPE_CHECKING:
    from imgclust.collection import ClusterResult, Collection

commands = Commands()

SpaceName = Literal["smoothed", "pca", "embedding", "tsne"]


@commands.adds(
    example="""\
imgclust sweep
imgclust sweep --k-max 60 --space embedding""",
)
def sweep(
    call: Call,
    k_min: Annotated[
        int | None, typer.Option(parser=whole(1), metavar="K", help="First k.")
    ] = None,
    k_max: Annotated[int | None, typer.Option(parser=whole(1), metavar="K", help="Last k.")] = None,
    space: Annotated[SpaceName | None, typer.Option(help="What k-means runs in.")] = None,
) -> None:
    """Try every k, find the knee, draw the elbow curve."""
    checks.k_range(call.options.files, k_min, k_max)
    with call.open() as collection:
        found = collection.sweep(k_min=k_min, k_max=k_max, space=space)
        call.answer(found, tables.sweep)


@commands.adds(
    example="""\
imgclust cluster             improve them; as many as the curve suggests
imgclust cluster -k 20       20 clusters
imgclust cluster --finer     some more clusters: the widest ones are split
imgclust cluster --coarser   fewer clusters: the nearest ones are merged
imgclust cluster --fresh     from nothing; named clusters stay
imgclust cluster --dry-run   what would change
imgclust cluster --undo      back to the clusters before""",
)
def cluster(
    call: Call,
    k: Annotated[
        str | None,
        typer.Option(
            "-k",
            parser=count_or_auto(1),
            metavar="N|auto",
            help="How many; auto: chosen from the images.",
        ),
    ] = None,
    space: Annotated[
        SpaceName | None, typer.Option(help="What k-means runs in, from now on.")
    ] = None,
    pca_dims: Annotated[
        int | None,
        typer.Option(
            parser=whole(1), metavar="N", help="Dimensions of the space pca, from now on."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole(0, (1 << 31) - 1), metavar="N", help="Seed of the random choices."
        ),
    ] = None,
    outliers: Outliers = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Start from nothing, not from the clusters there are; named ones stay."
        ),
    ] = False,
    finer: Annotated[
        bool, typer.Option("--finer", help="One step more clusters, by splits; all others stay.")
    ] = False,
    coarser: Annotated[
        bool, typer.Option("--coarser", help="One step fewer, by merging; all others stay.")
    ] = False,
    dry_run: DryRun = False,
    undo: Annotated[bool, typer.Option("--undo", help="Go back to the clustering before.")] = False,
    yes: Yes = False,
) -> None:
    """Improve the clusters: ids last, and named clusters stay as they are."""
    alone = [
        option
        for option, given in (
            ("-k", k),
            ("--fresh", fresh),
            ("--finer", finer),
            ("--coarser", coarser),
        )
        if given
    ]
    if len(alone) > 1 and (finer or coarser):
        raise UsageError(f"{alone[0]} cannot be combined with {alone[1]}")
    if undo:
        given = alone or space or pca_dims or dry_run
        if given or seed is not None or outliers is not None:
            raise UsageError("--undo cannot be combined with other options")
        if not _may_change(call, "Go back to the clustering before?", yes=yes):
            return
        with call.open() as collection:
            call.answer(collection.undo(), partial(tables.clustered, first=False))
        return
    if dry_run and (pca_dims or outliers is not None):
        wrong = "--pca-dims" if pca_dims else "--outliers"
        raise UsageError(f"{wrong} changes a stored setting and cannot be combined with --dry-run")
    first = not _has_clusters(call)

    def make(
        collection: Collection, *, space: SpaceName | None = None, dry_run: bool = False
    ) -> ClusterResult:
        return collection.cluster(
            k=k,
            space=space,
            seed=seed,
            fresh=fresh,
            step="finer" if finer else "coarser" if coarser else None,
            dry_run=dry_run,
        )

    ask = call.screen.can_ask and not yes and not first
    preview = None
    if dry_run or (ask and not pca_dims):
        with call.open() as collection:
            preview = make(collection, space=space, dry_run=True)
            call.answer(preview, partial(tables.clustered, first=first, would=True))
    if dry_run or not _may_change(call, yes=yes, asks=not first):
        return
    flags = {
        "clustering.space": space,
        "clustering.pca_dims": pca_dims,
        "links.outliers": outliers,
    }
    changing = [key for key, value in flags.items() if value is not None]
    with call.open(flags, changing=changing) as collection:
        done = make(collection)
        call.answer(done, partial(tables.done, plan=preview, first=first))


def _may_change(
    call: Call,
    question: str = "Change the clusters and their folders?",
    *,
    yes: bool,
    asks: bool = True,
) -> bool:
    doing = "the clusters would change"
    return agreed(call, question, yes=yes, doing=doing, reversible=True, asks=asks)


def _has_clusters(call: Call) -> bool:
    with call.open() as collection:
        return collection.standing().clusters > 0


@commands.adds(
    example="""\
imgclust view
imgclust view --method pca --dims 3 --out map.png
imgclust view --out map.html              3 dimensions, turned with the mouse""",
)
def view(
    call: Call,
    method: Annotated[Literal["pca", "tsne"] | None, typer.Option(help="Projection.")] = None,
    dims: Annotated[
        int | None, typer.Option(parser=whole(2, 3), metavar="2|3", help="Dimensions of the map.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .png or .svg file, or an .html page that turns (3)."),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Recompute the map.")] = False,
) -> None:
    """Draw a map of the images, coloured by cluster."""
    checks.map_file(out, dims)
    with call.open() as collection:
        drawn = collection.view(method=method, dims=dims, out=out, refit=refit)
        call.answer(drawn, tables.view)


clusters_commands = Commands()
commands.add_typer(clusters_commands, name="clusters")


@clusters_commands.alone(example="imgclust clusters")
def clusters(call: Call) -> None:
    """List the clusters; show, name, split or merge them."""
    with call.open() as collection:
        rows, suggestions = collection.clusters(), collection.standing().suggestions
        call.answer(
            rows,
            partial(tables.clusters, suggestions=suggestions),
            rows="clusters",
            more={"suggestions": suggestions},
        )


@clusters_commands.adds(
    example="""\
imgclust clusters show 7
imgclust clusters show "red things"
imgclust clusters show 7 --sheet seven.png""",
)
def show(
    call: Call,
    cluster: Cluster,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the contact sheet goes.")
    ] = None,
    since: Since = None,
    until: Until = None,
    camera: Camera = None,
) -> None:
    """Show a cluster and its images, from the centre outwards."""
    chosen = selection(since, until, camera)
    checks.sheet(sheet)
    with call.open() as collection:
        details = collection.cluster_details(cluster, selection=chosen, sheet=sheet)
        every = call.options.verbosity > 0
        call.answer(details, partial(tables.cluster_details, all_members=every))


@clusters_commands.adds(
    example="""\
imgclust clusters name 7 "cats on sofas"
imgclust clusters name 7 ""                 remove the name
imgclust clusters name 7 --release          keep the name, let its images move""",
)
def name(
    call: Call,
    cluster: Cluster,
    words: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The new name; the folder is renamed too.")
    ] = None,
    release: Annotated[
        bool,
        typer.Option("--release", help="Keep the name, and let re-clustering move its images."),
    ] = False,
) -> None:
    """Name a cluster: its images, and those that join it, stay in it from now on."""
    if words is None and not release:
        raise UsageError("no name given; see imgclust clusters name --help")
    if words is not None and release:
        raise UsageError("--release keeps the name and cannot be combined with one")
    checks.cluster_name(words or "")
    with call.open() as collection:
        row = collection.name_cluster(cluster, words, release=release)
        call.answer(row, tables.named)


@clusters_commands.adds(
    example="""\
imgclust clusters split 7              as many parts as its images suggest
imgclust clusters split 7 -k 3         three parts
imgclust clusters split 7 --dry-run    what would change""",
)
def split(
    call: Call,
    cluster: Cluster,
    k: Annotated[
        str,
        typer.Option(
            "-k", parser=count_or_auto(2), metavar="N|auto", help="How many parts; auto: the knee."
        ),
    ] = "auto",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Divide one cluster; all others stay as they are."""
    _change(
        call,
        lambda collection, dry: collection.split_cluster(cluster, k=k, dry_run=dry),
        dry_run=dry_run,
        yes=yes,
    )


@clusters_commands.adds(
    example="""\
imgclust clusters merge 3 9            one cluster of two
imgclust clusters merge 3 9 --name sea the whole is called "sea"
imgclust clusters merge 3 9 12 -y      of three, without asking""",
)
def merge(
    call: Call,
    ids: Annotated[
        list[str],
        typer.Argument(
            metavar="CLUSTER",
            autocompletion=completion.clusters,
            help="Ids or names of the clusters.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the whole.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Put clusters together into the largest of them; all others stay as they are."""
    checks.several(ids, "merging takes two or more different clusters")
    checks.whole_name(name)
    _change(
        call,
        lambda collection, dry: collection.merge_clusters(ids, name=name, dry_run=dry),
        dry_run=dry_run,
        yes=yes,
    )


def _change(
    call: Call, change: Callable[[Collection, bool], ClusterResult], *, dry_run: bool, yes: bool
) -> None:
    """Carry out a change of clusters; a person is shown it and asked before."""
    preview = None
    if dry_run or (call.screen.can_ask and not yes):
        with call.open() as collection:
            preview = change(collection, True)
        call.answer(preview, partial(tables.clustered, first=False, would=True))
        nothing = not (preview.new or preview.gone)
        if dry_run or nothing:
            return
    if not _may_change(call, yes=yes):
        return
    with call.open() as collection:
        done = change(collection, False)
        call.answer(done, partial(tables.done, plan=preview, first=False))


@clusters_commands.adds(
    example="""\
imgclust clusters history              what every clustering did
imgclust clusters history 7            the life of one cluster""",
)
def history(
    call: Call,
    cluster: Annotated[
        str | None,
        typer.Argument(
            metavar="CLUSTER",
            autocompletion=completion.clusters,
            help="Id or name of a cluster, gone ones too.",
        ),
    ] = None,
) -> None:
    """Show what happened to the clusters, from one clustering to the next."""
    with call.open() as collection:
        if cluster is not None:
            call.answer(collection.cluster_life(cluster), tables.life)
            return
        every = call.options.verbosity > 0
        call.answer(collection.history(), partial(tables.history, every=every), rows="clusterings")
