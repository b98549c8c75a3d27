"""The stream of changes: written by the commits that it tells of, continued without a gap."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from imgclust.catalog.catalog import Catalog
from imgclust.collection import Collection
from tests.command_line import Run
from tests.conftest import inside, write_picture
from tests.served import HERE, client, service, until


def test_changes_are_told(api: TestClient, run: Run, index: Path, tmp_path: Path) -> None:
    start = api.get(f"{HERE}/changes").json()
    assert (start["complete"], start["events"]) == (True, [])
    steps: list[tuple[list[str], dict[str, Any]]] = [
        (["clusters", "name", "1", "red"], {"event": "cluster_changed", "cluster": 1}),
        (["cluster", "-k", "4", "-y"], {"event": "clusters_published"}),
        (["remove", "3", "-y"], {"event": "image_removed", "image": 3}),
        (["quarantine", "retry"], {"event": "quarantine_changed"}),
        (["roots", "remove", str(_root(api))], {"event": "roots_changed"}),
    ]
    after = start["last"]
    for command, expected in steps:
        assert run(*command).code == 0
        found = api.get(f"{HERE}/changes", params={"after": after}).json()
        assert found["complete"]
        events = found["events"]
        assert any(expected.items() <= event.items() for event in events), (command, events)
        assert [event["id"] for event in events] == sorted(
            (event["id"] for event in events), key=lambda one: int(one.rpartition("-")[2])
        )
        after = found["last"]
    later = write_picture(tmp_path / "more" / "later.png", 78, hue=1)
    assert run("add", later).code == 0
    events = api.get(f"{HERE}/changes", params={"after": after}).json()["events"]
    (added,) = [event for event in events if event["event"] == "image_added"]
    assert added["cluster"] == api.get(f"{HERE}/images/{added['image']}").json()["cluster"]


def _root(api: TestClient) -> str:
    (root,) = api.get(f"{HERE}/roots").json()["roots"]
    path: str = root["path"]
    return path


def test_what_is_rolled_back_is_not_told(index: Path) -> None:
    with Collection.open(index) as collection:
        start = collection.service.changes().last
        catalog = inside(collection).catalog

        def fail() -> None:
            with catalog.transaction():
                catalog.event("trial", "never happened")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert collection.service.changes(start).events == ()
        with catalog.transaction():
            catalog.event("trial", "happened")
        (event,) = collection.service.changes(start).events
        assert (event.kind, event.message) == ("note", "happened")


def test_the_feed_is_pruned_and_a_gap_is_told(index: Path) -> None:
    with Collection.open(index) as collection:
        start = collection.service.changes().last
        catalog = inside(collection).catalog
        with catalog.transaction():
            for number in range(21_000):
                catalog.store("trial", number)
                catalog.event("trial", str(number))
        assert catalog.feed.last() - catalog.feed.first() < 20_600
        part = collection.service.changes(start)
        assert (part.complete, part.events) == (False, ())
        assert part.last == collection.service.changes().last
        assert collection.service.changes(part.last).complete


@pytest.mark.parametrize(
    "after", ["", "x", "0", "-", "12345", "otherstream-3", "{}-999999999", "{}--1", "{}-x", "{}-٣"]
)
def test_an_id_of_elsewhere_begins_again(api: TestClient, after: str) -> None:
    known = api.get(f"{HERE}/changes").json()["last"]
    stream = known.rpartition("-")[0]
    found = api.get(f"{HERE}/changes", params={"after": after.replace("{}", stream)}).json()
    assert (found["complete"], found["last"]) == (False, known)


def test_a_catalog_of_its_own_stream(tmp_path: Path) -> None:
    with Catalog(tmp_path / "one") as one, Catalog(tmp_path / "two") as two:
        assert one.feed.stream() != two.feed.stream()
        assert (one.feed.last(), one.feed.first()) == (0, 1)


def listen(
    address: str, after: str | None, take: int, *, seconds: float = 30
) -> list[tuple[str, str, dict[str, Any]]]:
    """The next events of a stream, after this one: id, kind, data; then the connection breaks."""
    headers = {} if after is None else {"last-event-id": after}
    found: list[tuple[str, str, dict[str, Any]]] = []
    with httpx2.stream(
        "GET", f"{address}{HERE}/events", headers=headers, timeout=seconds
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
            if len(found) >= take:
                return found
    return found


def test_a_broken_stream_is_continued_without_gap_or_double(index: Path, run: Run) -> None:
    """Names are changed meanwhile; the connection breaks again and again at any place."""
    generator = random.Random(4)
    names, over = 120, threading.Event()

    def change() -> None:
        with Collection.open(index) as collection:
            for number in range(names):
                collection.name_cluster(1, f"name {number}")
        over.set()

    with service(index) as (address, _, _):
        (hello,) = listen(address, None, 1)
        assert hello[1] == "hello"
        thread = threading.Thread(target=change)
        thread.start()
        after, heard = hello[0], list[str]()
        while heard.count("cluster_changed") < names:
            left = names - heard.count("cluster_changed")
            for number, kind, data in listen(address, after, min(left, generator.randint(1, 9))):
                assert kind != "reset"
                assert int(number.rpartition("-")[2]) == int(after.rpartition("-")[2]) + 1
                assert data["id"] == number
                after = number
                heard.append(kind)
        thread.join()
        assert over.is_set()
        assert heard.count("cluster_changed") == names


def test_an_arrival_is_told_with_its_cluster(index: Path, ready: Path) -> None:
    arrival = ready / "drop" / "arrival.png"
    with service(index) as (address, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        (hello,) = listen(address, None, 1)
        write_picture(arrival, 99, hue=1)
        try:
            found = listen(address, hello[0], 1)
            ((_, kind, data),) = found
            assert kind == "image_added"
            shown = httpx2.get(f"{address}{HERE}/images/{data['image']}").json()
            assert shown["path"] == str(arrival)
            assert data["cluster"] == shown["cluster"] is not None
        finally:
            arrival.unlink()


def test_the_service_ends_with_streams_open(index: Path) -> None:
    with service(index) as (address, _, stop):
        ended: list[int] = []

        def hear() -> None:
            ended.append(len(listen(address, None, 10**9)))

        threads = [threading.Thread(target=hear) for _ in range(6)]
        for thread in threads:
            thread.start()
        metrics = f"{address}/metrics"
        until(lambda: "imgclust_streams 6.0" in httpx2.get(metrics).text)
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert ended == [1] * 6


def test_many_streams_are_bounded(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imgclust.server import event_routes

    monkeypatch.setattr(event_routes, "_MOST_STREAMS", 0)
    with client(index) as api:
        assert api.get(f"{HERE}/events").status_code == 429
