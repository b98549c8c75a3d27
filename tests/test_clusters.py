from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, cast

import apsw
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imgclust import config, progress
from imgclust.catalog.catalog import Catalog
from imgclust.clusters import feature_space, model, publish, stored_sweeps
from imgclust.clusters.model import ArrivalAssigner, ClusterResult, SweepResult
from imgclust.clusters.schedule import ArrivalCount, AutomaticClustering, is_due
from imgclust.clusters.service import Recluster
from imgclust.collection import Collection
from imgclust.config import Settings
from imgclust.errors import ClusteringError, StoppedError, StorageError
from imgclust.links import syncer
from imgclust.links.link_plan import plan
from imgclust.progress import Progress, SideThread, StopFlag, left_behind, silent
from imgclust.projection.half_white import projection_from_bytes
from imgclust.projection.pca import PcaProjection, fit_pca, refreshed
from imgclust.vectors import to_unit_length
from tests.conftest import Open, inside, write_picture

SETTINGS = Settings()
PCA = {"clustering.space": "pca"}


def due(**given: object) -> bool:
    """`is_due` with what is usual, but for what is given."""
    usual: dict[str, object] = {
        "contents": 50,
        "clustered": None,
        "provisional": False,
        "empty": True,
        "over": False,
        "first_pass": True,
        "elapsed_s": 1.0,
        "settings": SETTINGS,
    }
    return is_due(**(usual | given))  # type: ignore[arg-type]


def test_when_the_first_clustering_is_made() -> None:
    assert due()
    assert not due(contents=19)
    assert due(contents=1, over=True)
    assert not due(contents=0, over=True)
    assert not due(empty=False)
    assert due(empty=False, contents=1000)
    assert due(empty=False, elapsed_s=120.0)
    assert not due(empty=False, elapsed_s=120.0, contents=19)


def test_when_a_provisional_clustering_is_made_again() -> None:
    assert not due(clustered=50, provisional=True)
    assert due(clustered=40, provisional=True)
    assert not due(clustered=40, provisional=True, first_pass=False)
    assert due(contents=200, clustered=50, provisional=True, first_pass=False, empty=False)
    assert not due(contents=199, clustered=50, provisional=True, first_pass=False)
    assert not due(contents=10_000, clustered=50, provisional=False, over=True)


def test_ids_of_provisional_clusters_are_used_again_until_a_clustering_is_final(
    open_collection: Open, drop: Path
) -> None:
    """A first pass is clustered with ever other k: no id is above the largest of them."""
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    context = inside(collection)
    most = 0
    for k in (8, 3, 9, 4, 10):
        result = context.recluster().cluster(
            k=str(k), space="pca", seed=k, provisional=True, automatic=True, fresh=True
        )
        most = max(most, k)
        assert max(result.sizes) <= most
        assert not set(result.new) & {one["id"] for one in result.gone}
        assert len(collection.links(check=False).foreign) == 0
        assert collection.links(check=True).in_step
    shown = {row.id for row in collection.clusters()}
    final = collection.cluster(k=12, fresh=True)
    assert set(final.sizes) == {*range(1, 13)} > shown
    # From here on no id is used a second time.
    fewer = collection.cluster(k=2, fresh=True)
    gone = {one["id"] for one in fewer.gone}
    more = collection.cluster(k=12, fresh=True)
    assert len(gone) >= 10
    assert not set(more.new) & {*range(1, 13)}


def test_a_clustering_published_during_a_link_sync_keeps_every_link(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    with inside(collection).catalog.transaction():
        inside(collection).catalog.ledger.queue_review(None)
    other = open_collection(index=inside(collection).index_folder.path, create_for=None)
    published: list[int] = []

    def plan_late(*arguments: object, **options: object) -> object:
        if not published:
            published.append(inside(other).recluster().cluster(k="7", space="pca", seed=0).k)
        return plan(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(syncer, "plan", plan_late)
    collection.sync_links()
    assert published == [7]
    monkeypatch.undo()
    check = collection.links(check=True)
    assert (check.links, check.missing, check.stale) == (24, 0, 0)
    assert len(list(collection.link_folder.iterdir())) == 7


def test_half_a_sweep_decides_nothing(open_collection: Open, drop: Path) -> None:
    open_collection().watch([drop], once=True, cluster=False)
    stop = StopFlag()

    def stop_soon(step: str, done: int, total: int | None) -> None:
        if step == "sweep" and done == 3:
            stop.set()

    collection = open_collection(stop=stop, progress=stop_soon)
    with pytest.raises(StoppedError):
        collection.cluster(k="auto", space="pca")
    assert inside(collection).catalog.clusterings.current_id() is None


@pytest.mark.parametrize(("step", "done"), [("sweep", 3), ("null model", 1)])
def test_an_interrupted_sweep_keeps_what_is_done(
    open_collection: Open, drop: Path, step: str, done: int
) -> None:
    open_collection().watch([drop], once=True, cluster=False)

    def interrupted() -> SweepResult:
        stop = StopFlag()

        def stop_soon(now: str, number: int, total: int | None) -> None:
            if (now, number) == (step, done):
                stop.set()

        return open_collection(stop=stop, progress=stop_soon).sweep(k_max=8)

    found = interrupted()
    assert found.k == ((1, 2, 3) if step == "sweep" else tuple(range(1, 9)))
    assert not found.complete
    assert found.knee is None
    assert "interrupted" in found.sentence
    assert found.chart is not None
    assert found.chart.is_file()
    again = open_collection()
    stored = inside(again).catalog.sweeps.newest("smoothed")
    assert stored is not None
    assert stored.summary["k"] == list(found.k)
    assert again.cluster(k=3).inertia == pytest.approx(found.inertia[2], rel=1e-6)
    fresh = again.cluster(k="auto", fresh=True)
    assert fresh.chosen_by in {"groups", "silhouette"}
    again.sweep()
    whole = inside(again).catalog.sweeps.newest("smoothed")
    assert whole is not None
    assert whole.summary["complete"]

    assert not interrupted().complete
    kept = inside(again).catalog.sweeps.newest("smoothed")
    assert kept is not None
    assert kept.id == whole.id, "it says more about the same contents"


def test_a_narrow_sweep_does_not_decide_for_auto(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.sweep(k_max=2)
    assert collection.cluster(k="auto").k > 2


def axes_of(collection: Collection) -> PcaProjection:
    """The projection that the current clustering was made in."""
    number = inside(collection).current().projection
    assert number is not None
    found = projection_from_bytes(inside(collection).catalog.projections.get(number).blob)
    assert isinstance(found, PcaProjection)
    return found


def everything(collection: Collection) -> NDArray[np.float32]:
    """All embeddings, as `cluster` takes them."""
    _, vectors = inside(collection).catalog.contents.all_embeddings(collection.recipe)
    return to_unit_length(vectors)


def test_axes_learn_what_came_since_the_last_clustering(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_space, "LEAST_CONTENTS", 10)
    monkeypatch.setattr(feature_space, "FRESH_SHARE", 0.2)
    collection = open_collection(flags=PCA)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    first = axes_of(collection)
    np.testing.assert_array_equal(
        first.components, fit_pca(everything(collection), dims=first.dims).components
    )
    collection.cluster(k=4)  # nothing came, so they stay
    np.testing.assert_array_equal(axes_of(collection).components, first.components)

    before = set(inside(collection).catalog.contents.embedded(collection.recipe).tolist())
    collection.add([write_picture(drop / f"late-{n}.png", 70 + n, hue=n % 3) for n in range(5)])
    collection.cluster(k=3)
    keys, vectors = inside(collection).catalog.contents.all_embeddings(collection.recipe)
    fresh = to_unit_length(vectors)[[key not in before for key in keys.tolist()]]
    assert len(fresh) == 5
    second = axes_of(collection)
    assert second.rows == 29
    np.testing.assert_array_equal(second.components, refreshed(first, fresh).components)


@pytest.mark.parametrize(
    "reason", ["many came", "some left", "another seed", "few contents", "damaged"]
)
def test_axes_are_fitted_anew(
    reason: str, open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_space, "LEAST_CONTENTS", 40 if reason == "few contents" else 10)
    monkeypatch.setattr(feature_space, "FRESH_SHARE", 0.2)
    collection = open_collection(flags=PCA)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    came = 8 if reason == "many came" else 2
    collection.add([write_picture(drop / f"late-{n}.png", 70 + n, hue=n % 3) for n in range(came)])
    if reason == "some left":
        for number in range(2):
            collection.remove(drop / f"picture-{number:02d}.png")
    if reason == "damaged":
        raw = apsw.Connection(str(collection.folders.root / "catalog.sqlite3"))
        raw.execute("UPDATE projections SET blob = x'00'")
        raw.close()
    seed = 1 if reason == "another seed" else 0
    collection.cluster(k=3, seed=seed)
    found = axes_of(collection)
    rows = everything(collection)
    assert found.rows == len(rows)
    np.testing.assert_array_equal(
        found.components, fit_pca(rows, dims=found.dims, seed=seed).components
    )


def test_what_a_person_went_back_to_is_not_made_again(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    first = inside(collection).current()
    assert first.provisional
    collection.cluster(k=7)
    collection.undo()
    for number in range(4 * 24):
        write_picture(drop / f"more-{number:03d}.png", 1000 + number, hue=number % 3)
    collection.watch(once=True)
    assert inside(collection).current().id == first.id


def test_what_a_crash_left_unpublished_goes_with_the_next_clustering(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    before = inside(collection).current().id

    def crash(self: object, clustering: int, lineage: object) -> None:
        raise RuntimeError("crash")

    monkeypatch.setattr(type(inside(collection).catalog.clusterings), "publish", crash)
    with pytest.raises(RuntimeError):
        collection.cluster(k=5)
    monkeypatch.undo()
    assert inside(collection).current().id == before
    collection.cluster(k=4)
    with Catalog(collection.folders.catalog) as catalog:
        assert len(catalog.clusterings.history()) == 2
        assert catalog.checking.unpublished() == []


def test_contents_that_arrive_during_a_fit_are_assigned_when_it_is_published(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    late = write_picture(drop / "late.png", 77, hue=1)
    other = open_collection(index=inside(collection).index_folder.path, create_for=None)
    came: list[int] = []

    def let_it_in(step: str, done: int, total: int | None) -> None:
        if step == "writing assignments" and not came:
            came.append(other.add([late], cluster=False).ingested)

    recluster = inside(collection).recluster(progress=let_it_in)
    result = recluster.cluster(k="3", space="pca", seed=0)
    assert came == [1]
    assert sum(result.sizes.values()) == 25
    assert collection.status().unassigned == 0
    image = inside(collection).catalog.images.at(os.fsencode(late))
    assert image is not None
    assert result.clustering is not None
    arrivals = inside(collection).catalog.assignments.arrivals(result.clustering)
    assert sum(count for count, _, _ in arrivals.values()) == 1


def test_what_leaves_and_comes_while_assignments_are_written(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_CHUNK", 5)
    monkeypatch.setattr(publish, "_CHANGES", 2)
    monkeypatch.setattr(publish, "_FEW", 1)
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=2)
    late = [write_picture(drop / f"late-{number}.png", 70 + number) for number in range(5)]
    other = open_collection(index=inside(collection).index_folder.path, create_for=None)
    steps: list[int] = []

    def meddle(step: str, done: int, total: int | None) -> None:
        if step == "writing assignments":
            steps.append(done)
            if done == 10:  # some of these are written already, some are not
                for number in (0, 1, 22, 23):
                    other.remove(drop / f"picture-{number:02d}.png")
                other.add(late, cluster=False)

    result = inside(collection).recluster(progress=meddle).cluster(k="4", space="pca", seed=0)
    assert steps == [0, 5, 10, 15, 20]
    assert result.clustering is not None
    assert sum(result.sizes.values()) == 25
    catalog = inside(collection).catalog
    assert catalog.checking.assignments_without_content(result.clustering) == []
    assert collection.status().unassigned == 0
    collection.sync_links()
    assert collection.links(check=True).in_step


def test_undo_assigns_what_came_since(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_CHUNK", 2)
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    first = inside(collection).current().id
    sizes = {row.id: row.size for row in collection.clusters()}
    collection.cluster(k=5)
    collection.add([write_picture(drop / f"late-{n}.png", 70 + n) for n in range(5)])
    collection.remove(drop / "picture-00.png")
    result = collection.undo()
    assert result.clustering == first
    assert collection.status().unassigned == 0
    now = {row.id: row.size for row in collection.clusters()}
    assert now.keys() == sizes.keys()
    assert sum(now.values()) == sum(sizes.values()) + 5 - 1
    assert collection.links(check=True).in_step


def test_catching_up_is_resumed_after_a_crash(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_CHUNK", 5)
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    catalog = inside(collection).catalog
    number = inside(collection).current().id
    contents, clusters, _ = catalog.assignments.of(number)
    expected = dict(zip(contents.tolist(), clusters.tolist(), strict=True))
    with catalog.transaction():
        catalog.assignments.unassign(number, contents.tolist())
        catalog.ledger.unqueue_links(10**9)
    assigner = ArrivalAssigner(catalog)
    assign = type(catalog.assignments).assign
    calls: list[int] = []

    def crash(self: Any, *arguments: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise StorageError("full")
        assign(self, *arguments, **options)

    monkeypatch.setattr(type(catalog.assignments), "assign", crash)
    with pytest.raises(StorageError):
        assigner.catch_up(collection.recipe)
    assert len(catalog.assignments.of(number)[0]) == 10
    assert len(catalog.ledger.queued_links(99)[1]) == 10
    assert assigner.catch_up(collection.recipe) == 14
    contents, clusters, _ = catalog.assignments.of(number)
    assert dict(zip(contents.tolist(), clusters.tolist(), strict=True)) == expected
    assert len(catalog.ledger.queued_links(99)[1]) == 24


@pytest.mark.parametrize(("space", "near"), [("pca", 0.1), ("smoothed", 0.2)])
def test_drift_of_arrivals_is_told_overall_and_by_cluster(
    open_collection: Open, drop: Path, space: str, near: float
) -> None:
    collection = open_collection(flags={"clustering.space": space})
    for number in range(100, 160):
        write_picture(drop / f"old-{number}.png", number, hue=number % 3)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    found = collection.status().drift
    assert found is not None
    assert (found.overall.arrivals, found.overall.ratio, found.suggestion) == (0, None, None)
    for number in range(200, 240):
        write_picture(drop / f"new-{number}.png", number, hue=number % 3)
    collection.watch(once=True)
    found = collection.status().drift
    assert found is not None
    assert found.overall.arrivals == 40
    assert found.overall.ratio == pytest.approx(1, abs=near)
    assert not found.high
    assert found.suggestion is None
    for number in range(300, 360):
        write_picture(drop / f"other-{number}.png", number)
    collection.watch(once=True)
    found = collection.status().drift
    assert found is not None
    assert found.overall.high
    assert found.suggestion is not None
    assert "imgclust cluster" in found.suggestion
    rows = collection.clusters()
    assert sum(row.drift.arrivals for row in rows) == 100
    assert tuple(row.id for row in rows if row.drift.high) == found.high
    collection.cluster(k=4)
    found = collection.status().drift
    assert found is not None
    assert found.suggestion is None


def test_drift_counts_the_arrivals_that_are_still_there(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    for number in range(6):
        write_picture(drop / f"came-{number}.png", 700 + number)
    collection.watch(once=True)
    assert arrivals(collection) == 6
    collection.remove_all([drop / "came-0.png", drop / "came-1.png"])
    assert arrivals(collection) == 4
    shutil.copy(drop / "came-2.png", drop / "copy.png")  # a content counts once
    write_picture(drop / "came-3.png", 790)
    collection.watch(once=True)
    assert arrivals(collection) == 4
    first = min(path for path in drop.iterdir() if path.name[:4] not in {"came", "copy"})
    collection.remove_all([first, drop / "came-2.png"])  # one was there, the other has a copy
    assert arrivals(collection) == 4
    collection.remove_all([drop / "copy.png", *(drop / f"came-{n}.png" for n in (3, 4, 5))])
    assert arrivals(collection) == 0
    assert all(row.drift.ratio is None for row in collection.clusters())


def test_an_arrival_that_a_person_moves_counts_where_it_is(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    came = [write_picture(drop / f"came-{number}.png", 700 + number) for number in range(6)]
    collection.watch(once=True)
    to = min(row.id for row in collection.clusters() if row.drift.arrivals < 6)
    for number in range(1, 7):
        collection.corrections.move(came[:number], to=to)
        assert arrivals(collection) == 6
    assert [row.drift.arrivals for row in collection.clusters() if row.id == to] == [6]
    collection.remove_all(came[:4])
    assert arrivals(collection) == 2
    collection.remove_all(came[4:])
    assert arrivals(collection) == 0


def arrivals(collection: Collection) -> int:
    found = collection.status().drift
    assert found is not None
    assert found.overall.arrivals == sum(row.drift.arrivals for row in collection.clusters())
    return found.overall.arrivals


def every(rule: str) -> Settings:
    return config.load(flags={"clustering.recluster_every": rule}).settings


def test_when_a_watcher_clusters_again_by_itself() -> None:
    usual = {"clustered": 50, "provisional": False, "first_pass": False}
    assert not due(**usual, arrived=10**6, waited_s=1e9)
    assert due(**usual, arrived=5000, settings=every("5000"))
    assert not due(**usual, arrived=4999, waited_s=1e9, settings=every("5000"))
    assert due(**usual, arrived=1, waited_s=12 * 3600.0, settings=every("12h"))
    assert not due(**usual, arrived=1, waited_s=12 * 3600.0 - 1, settings=every("12h"))
    assert not due(**usual, arrived=0, waited_s=1e9, settings=every("12h"))
    assert not due(contents=5, empty=False, arrived=10**6, settings=every("5"))  # the first one


def test_reclustering_is_counted_from_the_last_clustering_whoever_made_it(
    open_collection: Open, drop: Path
) -> None:
    flags = {"clustering.recluster_every": "8"}
    open_collection(flags=flags).watch([drop], once=True)
    collection = open_collection(flags=flags)
    collection.cluster(k=4)
    made = inside(collection).current().id

    def come(numbers: range) -> int:
        for number in numbers:
            write_picture(drop / f"more-{number:03d}.png", 1000 + number, hue=number % 3)
        again = open_collection(flags=flags, create_for=None)  # each time a new process
        again.watch(once=True)
        return inside(again).current().id

    assert come(range(7)) == made
    again = come(range(7, 8))
    assert again > made
    current = inside(collection).current()
    assert (current.k, current.chosen_by, current.provisional) == (4, "user", False)
    assert come(range(8, 15)) == again
    collection.undo()
    assert come(range(15, 22)) == made
    assert come(range(22, 23)) > again


def test_what_came_since_the_last_clustering_is_counted_change_by_change(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    catalog = inside(collection).catalog
    tally = ArrivalCount(catalog, collection.recipe)

    def counts() -> tuple[int, int]:
        tally.read()
        since = (catalog.setting("clustered_last") or (0, 0))[1]
        rows = catalog.contents.changes_after(0, 10**6)
        assert tally.contents == len(catalog.contents.embedded(collection.recipe))
        assert tally.arrived == sum(
            sequence > since and action == "add" for sequence, _, action in rows
        )
        return tally.contents, tally.arrived

    assert counts() == (24, 24)
    collection.cluster(k=3)
    assert counts() == (24, 0)
    collection.remove("3")
    collection.add([write_picture(drop / f"more-{number}.png", number) for number in (1001, 1002)])
    assert counts() == (25, 2)
    collection.add([write_picture(drop / "last.png", 1003)])
    assert counts() == (26, 3)
    collection.cluster(k=4)
    collection.undo()
    assert counts() == (26, 0)
    assert counts() == (26, 0)
    assert tally.last == pytest.approx(time.time(), abs=60)


def test_a_time_is_counted_by_the_wall_clock(open_collection: Open, drop: Path) -> None:
    collection = open_collection(flags={"clustering.recluster_every": "7d"})
    collection.watch([drop], once=True)
    collection.cluster(k=3)
    made = inside(collection).current().id
    collection.add([write_picture(drop / "more.png", 1000)])
    told: list[ClusterResult] = []
    now = time.time()
    automatic = AutomaticClustering(
        inside(collection).catalog,
        path=collection.folders.catalog,
        recipe=collection.recipe,
        settings=collection.settings,
        make=inside(collection).recluster,
        tell=told.append,
        clock=lambda: now,
    )
    automatic(empty=True, over=True)
    assert inside(collection).current().id == made
    now += 7 * 86400
    automatic(empty=True, over=True)
    assert [one.clustering for one in told] == [inside(collection).current().id]
    assert inside(collection).current().id > made


class SlowRecluster:
    """A clustering that ends when it is let, or (`looks`) when it is asked to stop."""

    def __init__(self, stop: StopFlag, *, looks: bool) -> None:
        self.begun, self.let = threading.Event(), threading.Event()
        self._stop, self._looks = stop, looks

    def cluster(self, **_: Any) -> ClusterResult:
        self.begun.set()
        while not self.let.wait(0.01):
            if self._looks:
                self._stop.check()
        raise ClusteringError("let go")


@pytest.mark.parametrize("looks", [True, False])
def test_a_watcher_that_stops_does_not_wait_for_its_clustering(
    open_collection: Open,
    drop: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    looks: bool,
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    stop = StopFlag()
    slow = SlowRecluster(stop, looks=looks)
    automatic = AutomaticClustering(
        inside(collection).catalog,
        path=collection.folders.catalog,
        recipe=collection.recipe,
        settings=collection.settings,
        make=lambda _: cast(Recluster, slow),
        tell=lambda _: pytest.fail("nothing was made"),
        stop=stop,
    )
    automatic(empty=True, over=False)
    assert slow.begun.wait(60)
    monkeypatch.setattr(progress, "_GRACE_S", 60.0 if looks else 0.01)
    stop.set()
    automatic.close()
    assert left_behind() is not looks
    slow.let.set()
    for thread in threading.enumerate():
        if isinstance(thread, SideThread):
            thread.join()
    assert not left_behind()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == ([] if looks else ["no automatic clustering: let go"])


@pytest.mark.parametrize("step", ["writing assignments", "null model", "sweep"])
def test_a_clustering_can_be_interrupted_at_every_step(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    stop = StopFlag()

    doing = step

    def stop_at(step: str, done: int, total: int | None) -> None:
        if step == doing:
            stop.set()

    def made(stop: StopFlag, progress: Progress) -> ClusterResult:
        return Recluster(
            inside(collection).catalog,
            recipe=collection.recipe,
            settings=collection.settings,
            lock=collection.folders.lock("clustering"),
            charts_folder=collection.folders.charts,
            progress=progress,
            stop=stop,
        ).cluster(k="auto", space="pca", seed=0)

    with pytest.raises(StoppedError):
        made(stop, stop_at)
    assert inside(collection).catalog.clusterings.current_id() is None
    assert sum(made(StopFlag(), silent).sizes.values()) == 24
    assert inside(collection).catalog.checking.unpublished() == []


def entries(folder: Path) -> dict[str, str]:
    return {entry.name: entry.parent.name for entry in folder.rglob("*.png")}


def test_outliers_go_to_a_folder_of_their_own_and_come_back(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection()
    for number in range(100, 130):
        write_picture(drop / f"usual-{number}.png", number, hue=number % 3)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3)
    assert not (collection.link_folder / "outliers").exists()
    far = drop / "far.png"
    Image.effect_noise((80, 60), 200).convert("RGB").save(far)
    collection.add([far])
    inside = entries(collection.link_folder)
    assert inside["far.png"] != "outliers"
    rows = collection.clusters()
    count = sum(row.outliers for row in rows)
    assert count >= 1

    changing = frozenset({"links.outliers"})
    options = {"create_for": None, "changing": changing}
    open_collection(flags={"links.outliers": True}, **options).links()
    outside = entries(collection.link_folder)
    assert outside["far.png"] == "outliers"
    assert sum(folder == "outliers" for folder in outside.values()) == count
    assert {name for name in inside if inside[name] != outside[name]} == {
        name for name, folder in outside.items() if folder == "outliers"
    }
    assert collection.clusters() == rows  # in its cluster all the same

    other = open_collection(create_for=None)
    assert other.settings.links.outliers  # kept
    assert other.links(check=True).in_step
    other.cluster(k=3, seed=1)
    assert other.links(check=True).in_step
    with Image.open(far) as picture:
        picture.rotate(180).save(drop / "further.png")
    other.add([drop / "further.png"])
    assert entries(collection.link_folder)["further.png"] == "outliers"

    open_collection(flags={"links.outliers": False}, **options).cluster(k=3)
    assert "outliers" not in entries(collection.link_folder).values()
    assert not (collection.link_folder / "outliers").exists()


def test_the_links_of_what_becomes_an_outlier_are_looked_at(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection(flags={"links.outliers": True})
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=1)
    before = inside(collection).catalog.assignments.all_outlying(inside(collection).current().id)
    inside(collection).catalog._connection.execute(
        "UPDATE clustering_clusters SET outlier_from = 0.0"
    )
    collection.links()
    assert set(entries(collection.link_folder).values()) == {"outliers"}
    collection.cluster(k=1)  # the same cluster, the usual limit again
    after = inside(collection).catalog.assignments.all_outlying(inside(collection).current().id)
    assert after == before
    assert collection.links(check=True).in_step


def test_links_are_brought_in_step_in_slices(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncer, "_SLICE", 5)
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    recluster = inside(collection).recluster()
    recluster.cluster(k="3", space="pca", seed=0)
    link_syncer = inside(collection).link_syncer()
    made = []
    while link_syncer.queued:
        assert link_syncer.advance(budget_s=0.0001) is None
        made.append(inside(collection).catalog.ledger.count())
    assert made == [5, 10, 15, 20, 24]
    assert collection.links(check=True).in_step


def test_a_clustering_becomes_current_in_a_transaction_that_writes_no_row_an_image(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    catalog = inside(collection).catalog
    queued: list[tuple[int, bool]] = []

    def look(name: str) -> None:
        if name == "recluster.publish":
            queued.append((catalog.ledger.count_queued_links(), catalog.ledger.reviews))

    monkeypatch.setattr(publish, "passing", look)
    with catalog.transaction():
        catalog.ledger.unqueue_links(10**9)
    recluster = inside(collection).recluster()
    recluster.cluster(k="3", space="pca", seed=0)
    collection.links()
    recluster.cluster(k="5", space="pca", seed=0)
    recluster.undo()
    assert queued == [(0, True)] * 3
    collection.links()
    assert collection.links(check=True).in_step
    assert len(list(collection.link_folder.glob("[0-9]*/*"))) == 24


def test_a_folder_name_with_a_count_follows_when_a_command_ends(
    open_collection: Open, drop: Path
) -> None:
    collection = open_collection(flags={"links.folder": "{id}_{count}"})
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=1)

    def folders() -> list[str]:
        return sorted(entry.name for entry in collection.link_folder.iterdir())

    (row,) = collection.clusters()
    assert folders() == [f"{row.id}_24"]
    late = [write_picture(drop / f"late-{n}.png", 70 + n) for n in range(3)]
    other = open_collection(
        index=inside(collection).index_folder.path,
        create_for=None,
        flags={"links.folder": "{id}_{count}"},
    )
    other.add(late)
    assert folders() == [f"{row.id}_27"]
    assert other.links(check=True).in_step
    catalog = inside(collection).catalog
    image = catalog.images.at(os.fsencode(late[0]))
    assert image is not None
    with catalog.transaction():  # a watcher removes it, and does not count at once
        catalog.remove_image(image)
    link_syncer = inside(collection).link_syncer()
    link_syncer.advance(budget_s=10.0)
    assert folders() == [f"{row.id}_27"]
    assert link_syncer.check().in_step
    link_syncer.advance(budget_s=10.0, recount=True)
    assert folders() == [f"{row.id}_26"]
    assert link_syncer.check().in_step


@pytest.mark.parametrize("space", ["pca", "embedding"])
def test_one_last_k_where_embeddings_are_the_same(
    open_collection: Open, drop: Path, space: str
) -> None:
    for number in range(3):  # other bytes, the same picture
        twin = drop / f"twin-{number}.png"
        twin.write_bytes((drop / "picture-00.png").read_bytes() + bytes([number]))
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    swept = collection.sweep(k_max=5000, space=space)
    assert swept.n == 27
    assert swept.k == tuple(range(1, 25))
    assert swept.notes == ("k = 24: there are only 24 distinct embeddings; 5,000 was asked",)
    done = collection.cluster(k=5000, space=space)
    assert (done.k, done.sentence, done.notes) == (24, *swept.notes, ())
    assert collection.cluster(k=24, space=space).sentence == "k = 24 as asked"
    parts = collection.split_cluster(next(iter(collection.cluster(k=1).sizes)), k=5000)
    assert (parts.k, "5,000 was asked" in parts.sentence) == (24, True)


def test_few_fits_of_a_long_sweep_are_kept(
    open_collection: Open, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True, cluster=False)
    before = collection.sweep(k_max=24)
    stored = inside(collection).catalog.sweeps.newest("smoothed")
    assert stored is not None
    assert inside(collection).catalog.sweeps.fit_bytes(stored.id).keys() == set(range(1, 25))
    whole = {k: collection.cluster(k=k, dry_run=True).inertia for k in range(1, 25)}
    monkeypatch.setattr(stored_sweeps, "_CENTROID_BYTES", 1000)
    again = collection.sweep(k_max=24)
    assert again.inertia == before.inertia
    stored = inside(collection).catalog.sweeps.newest("smoothed")
    assert stored is not None
    assert stored.summary["k"] == list(range(1, 25))
    kept = inside(collection).catalog.sweeps.fit_bytes(stored.id)
    assert stored.summary["chosen"] in kept
    assert sum(kept.values()) <= 1000
    for k in range(1, 25):
        assert collection.cluster(k=k, dry_run=True).k == k
    for k in kept:
        assert collection.cluster(k=k, dry_run=True).inertia == whole[k]


def test_the_fits_of_an_old_version_leave_and_their_space_is_given_back(
    open_collection: Open, drop: Path, tmp_path: Path
) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    collection.sweep()
    catalog = inside(collection).catalog
    stored = catalog.sweeps.newest("smoothed")
    assert stored is not None
    with catalog.transaction():
        large = [(1000 + k, 0.0, np.zeros((1000, 256), np.float32)) for k in range(40)]
        catalog.sweeps.put_fits(stored.id, large)
    catalog.checkpoint()
    full = catalog.path.stat().st_size
    assert full > 40_000_000
    other = Catalog(catalog.path)  # a watcher has it open
    assert other.images.count() == 24
    done = collection.cluster(k=3)
    assert catalog.path.stat().st_size < 10_000_000
    kept = catalog.sweeps.fit_bytes(stored.id)
    assert kept.keys() >= set(range(1, 25))
    assert sum(kept.values()) <= 8 << 20
    assert catalog.damage() == []
    with other.transaction():
        other.event("test", "it goes on")
    assert other.clusterings.current_id() == done.clustering
    other.close()
    assert catalog.shrink(most_bytes=1 << 30) is False
    write_picture(drop / "late.png", 77)
    collection.watch(once=True)
    collection.cluster(k=2)
    assert catalog.sweeps.fit_bytes(stored.id) == {}, "they are of other contents"


def test_a_large_catalog_is_not_copied(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    catalog = inside(collection).catalog
    with catalog.transaction():
        catalog.store("large", "x" * (20 << 20))
    with catalog.transaction():
        catalog.store("large", "")
    assert catalog.shrink(most_bytes=1000) is False
    assert catalog.shrink(most_bytes=1 << 30) is True
