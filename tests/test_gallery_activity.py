"""Activity: what waits, what has changed, what a person should look at, and the page of these."""

from __future__ import annotations

import html
import os
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from imgclust import config
from imgclust.collection import Collection
from tests.browsing import Visit
from tests.command_line import Run
from tests.conftest import inside, write_picture
from tests.served import HERE, finished, service, until

PAGE = {"accept": "text/html"}
EVIL = "<img src=x onerror=alert(1)>.jpg"


def test_changes_have_paths_and_names(api: TestClient, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "more" / "later.png", 99, hue=1)
    finished(api, api.post(f"{HERE}/add", json={"paths": [str(picture)]}))
    changes = api.get(f"{HERE}/activity").json()["changes"]
    added = next(one for one in changes if one["event"] == "image_added")
    assert (added["path"], added["name"], added["count"]) == (str(picture), None, 1)
    assert added["cluster"] == api.get(f"{HERE}/images/{added['image']}").json()["cluster"]
    api.post(f"{HERE}/clusters/{added['cluster']}/name", json={"name": "later"})
    (newest,) = api.get(f"{HERE}/activity?limit=1").json()["changes"]
    assert (newest["event"], newest["name"]) == ("cluster_changed", "later")
    api.post(f"{HERE}/remove", json={"images": [added["image"]]})
    (newest,) = api.get(f"{HERE}/activity?limit=1").json()["changes"]
    assert newest["event"] == "image_removed"
    assert (newest["image"], newest["path"]) == (added["image"], None)


def test_equal_changes_are_one_line(api: TestClient, run: Run, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / f"{number}.jpg").write_bytes(b"no picture")
    assert run("add", tmp_path / "bad").code == 0
    changes = api.get(f"{HERE}/activity").json()["changes"]
    counts = [one["count"] for one in changes if one["event"] == "quarantine_changed"]
    assert counts[0] == 3


def test_what_waits_is_named(api: TestClient, index: Path, ready: Path) -> None:
    assert api.get(f"{HERE}/activity").json()["pending"] == 0
    assert "No file waits" in api.get("/c/default/activity", headers=PAGE).text
    path = os.fsencode(ready / "drop" / "picture-03.png")
    with Collection.open(index, "default", effective=config.load()) as collection:
        catalog = inside(collection).catalog
        image = catalog.images.at(path)
        assert image is not None
        with catalog.transaction():
            catalog.observations.read_again(path, image.root)
    found = api.get(f"{HERE}/activity").json()
    assert (found["pending"], found["waiting"]) == (1, [os.fsdecode(path)])
    assert found["oldest_pending_s"] >= 0
    assert api.post(f"{HERE}/pause", json={}).status_code == 200
    text = api.get("/c/default/activity", headers=PAGE).text
    assert "1 file to read" in text
    assert "Paused since" in text


@pytest.mark.parametrize("name", [EVIL, "a&b\"'.jpg", "{{7*7}}.jpg"])
def test_names_in_quarantine_are_escaped(
    api: TestClient, run: Run, tmp_path: Path, name: str
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / name).write_bytes(b"no picture")
    assert run("add", tmp_path / "bad").code == 0
    text = api.get("/c/default/activity", headers=PAGE).text
    assert "<img src=x" not in text
    assert "49.jpg" not in text
    assert [one["path"] for one in api.get(f"{HERE}/quarantine").json()["quarantined"]]
    assert html.escape(name) in text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def test_a_disk_that_is_away_has_a_next_step(api: TestClient, ready: Path) -> None:
    drop, away = ready / "drop", ready / "away"
    drop.rename(away)
    try:
        text = api.get("/c/default/activity", headers=PAGE).text
        assert "imgclust roots move OLD NEW" in text
    finally:
        away.rename(drop)
    assert "imgclust roots move" not in api.get("/c/default/activity", headers=PAGE).text


@pytest.mark.slow
def test_the_page_follows_what_happens(browser: Browser, index: Path, ready: Path) -> None:
    with service(index) as (address, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        visit = Visit(browser, address, viewport={"width": 1280, "height": 900})
        page = visit.page
        visit.go("activity")
        assert visit.accessible() == []
        arrival = write_picture(ready / "drop" / "arrival.png", 400, hue=1)
        bad = ready / "drop" / EVIL
        bad.write_bytes(b"no picture")
        os.utime(bad, (1e9, 1e9))
        try:
            page.wait_for_selector("#changes a:text('arrival.png')", timeout=30_000)
            listed = page.locator("#quarantine li", has_text="onerror")
            listed.wait_for(timeout=60_000)
            assert EVIL in (listed.text_content() or "")
            assert visit.accessible() == []
            good = write_picture(ready / "good" / "good.png", 401, hue=2)
            bad.write_bytes(good.read_bytes())  # it is read at its next try, whoever asks for it
            listed.locator("button").click()
            listed.wait_for(state="detached", timeout=60_000)
            page.locator("h1").click()
            page.keyboard.press("p")
            page.wait_for_selector("text=Paused since")
            page.keyboard.press("p")
            page.wait_for_selector("text=Paused since", state="detached")
            assert httpx2.get(f"{address}{HERE}/status").json()["paused"] is None
        finally:
            arrival.unlink()
            bad.unlink()
        assert visit.faults == []
