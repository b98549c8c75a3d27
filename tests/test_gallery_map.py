"""The map: its points in columns, new images in their place, and the page that draws them."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from tests.browsing import Visit
from tests.conftest import write_picture
from tests.served import HERE, finished, service, until


def columns(content: bytes) -> dict[str, Any]:
    """The columns as the OpenAPI document describes them."""
    magic, version, n, last = struct.unpack_from("<4sIII", content)
    assert (magic, version, len(content)) == (b"IMGP", 1, 16 + n * (4 * 4 + 1))
    kinds = [("ids", "<u4"), ("x", "<f4"), ("y", "<f4"), ("clusters", "<i4"), ("flags", "u1")]
    found: dict[str, Any] = {"last": last}
    offset = 16
    for name, kind in kinds:
        found[name] = np.frombuffer(content, kind, n, offset)
        offset += n * np.dtype(kind).itemsize
    return found


def made_map(api: TestClient) -> None:
    assert finished(api, api.post(f"{HERE}/view", json={"method": "pca", "dims": 2}))["result"]


def test_points_are_those_of_the_stored_map(api: TestClient) -> None:
    for path in ("map", "map/points"):
        assert api.get(f"{HERE}/{path}").status_code == 404
    made_map(api)
    overview = api.get(f"{HERE}/map").json()
    assert (overview["method"], overview["distinct"], overview["absent"]) == ("pca", 24, 0)
    points = columns(api.get(f"{HERE}/map/points").content)
    assert points["ids"].tolist() == sorted(points["ids"].tolist())
    assert (len(points["ids"]), points["last"]) == (24, points["ids"].max())
    for row, image in enumerate(points["ids"].tolist()):
        shown = api.get(f"{HERE}/images/{image}").json()
        assert shown["cluster"] == points["clusters"][row]
    assert points["flags"].tolist() == [0] * 24
    # Pictures of a colour lie together: the nearest point of each is of its own group.
    places = np.column_stack([points["x"], points["y"]])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag([np.inf] * 24)
    groups = np.array(
        [
            int(api.get(f"{HERE}/images/{one}").json()["path"][-6:-4]) % 3
            for one in points["ids"].tolist()
        ]
    )
    assert (groups[apart.argmin(axis=1)] == groups).mean() > 0.9


def test_clusters_differ_in_colour_or_shape(api: TestClient) -> None:
    made_map(api)
    finished(api, api.post(f"{HERE}/cluster", json={"k": 12, "fresh": True}))
    clusters = api.get(f"{HERE}/map").json()["clusters"]
    marks = {(one["colour"], one["shape"]) for one in clusters}
    assert len(marks) == len({(one["on_dark"], one["shape"]) for one in clusters}) == 12
    assert {one["shape"] for one in clusters} <= {
        *("circle", "square", "triangle", "diamond", "down")
    }
    assert sum(one["size"] for one in clusters) == 24


def test_new_images_get_a_place_without_another_map(
    api: TestClient, tmp_path: Path, ready: Path
) -> None:
    made_map(api)
    before = columns(api.get(f"{HERE}/map/points").content)
    twin = tmp_path / "more" / "twin.png"
    twin.parent.mkdir()
    twin.write_bytes((ready / "drop" / "picture-00.png").read_bytes())
    late = write_picture(tmp_path / "more" / "late.png", 400, hue=1)
    finished(api, api.post(f"{HERE}/add", json={"paths": [str(twin.parent)]}))
    assert api.get(f"{HERE}/map").json()["absent"] == 1
    after = columns(api.get(f"{HERE}/map/points?after={before['last']}").content)
    paths = [api.get(f"{HERE}/images/{one}").json()["path"] for one in after["ids"].tolist()]
    assert sorted(paths) == sorted([str(twin), str(late)])
    assert sorted(after["flags"].tolist()) == [0, 2]  # the twin lies where its content lies
    place = dict(
        zip(paths, zip(after["x"].tolist(), after["y"].tolist(), strict=True), strict=True)
    )
    assert place[str(twin)] in set(zip(before["x"].tolist(), before["y"].tolist(), strict=True))
    assert api.get(f"{HERE}/map").json()["absent"] == 0
    whole = columns(api.get(f"{HERE}/map/points").content)
    assert whole["x"][: len(before["x"])].tolist() == before["x"].tolist()
    assert columns(api.get(f"{HERE}/map/points?after={whole['last']}").content)["ids"].size == 0


def test_missing_images_are_marked(api: TestClient, tmp_path: Path) -> None:
    made_map(api)
    path = write_picture(tmp_path / "more" / "gone.png", 401, hue=1)
    finished(api, api.post(f"{HERE}/add", json={"paths": [str(path)]}))
    path.unlink()
    finished(api, api.post(f"{HERE}/add", json={"paths": [str(path.parent)]}))
    points = columns(api.get(f"{HERE}/map/points").content)
    for row, image in enumerate(points["ids"].tolist()):
        missing = api.get(f"{HERE}/images/{image}").json()["missing"]
        assert bool(points["flags"][row] & 1) is missing


def test_corrected_images_are_marked(api: TestClient) -> None:
    made_map(api)
    points = columns(api.get(f"{HERE}/map/points").content)
    first, second, *_ = points["ids"].tolist()
    cluster = int(points["clusters"][0])
    assert api.post(f"{HERE}/clusters/{cluster}/move", json={"images": [first, second]}).is_success
    flags = columns(api.get(f"{HERE}/map/points").content)["flags"].tolist()
    assert [flag & 4 for flag in flags] == [4, 4, *[0] * (len(flags) - 2)]
    numbers = [row["id"] for row in api.get(f"{HERE}/corrections").json()["corrections"]]
    api.post(f"{HERE}/corrections/remove", json={"corrections": numbers})
    assert not any(flag & 4 for flag in columns(api.get(f"{HERE}/map/points").content)["flags"])


@pytest.mark.slow
def test_the_page_draws_selects_and_lights_up(browser: Browser, index: Path, ready: Path) -> None:
    with service(index) as (address, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        visit = Visit(browser, address, viewport={"width": 1280, "height": 900})
        page = visit.page
        visit.go("map")
        assert visit.accessible() == []
        with page.expect_navigation():
            page.click("text=Make the map")
        page.wait_for_selector("#legend li button")
        inked = (
            "(id) => { const it = document.getElementById(id);"
            "return it.getContext('2d').getImageData(0, 0, it.width, it.height).data"
            ".reduce((sum, one, at) => sum + (at % 4 === 3 && one ? 1 : 0), 0); }"
        )
        until(lambda: page.evaluate(inked, "points") > 24)
        until(lambda: page.evaluate(inked, "over") > 24)
        assert visit.accessible() == []
        box = page.locator("#map").bounding_box()
        assert box is not None
        (left, top), (width, height) = (box["x"], box["y"]), (box["width"], box["height"])
        page.keyboard.press("l")
        page.mouse.move(left + 6, top + 6)  # its corners are round
        page.mouse.down()
        for x, y in ((width - 2, 2), (width - 2, height - 2), (2, height - 2), (6, 6)):
            page.mouse.move(left + x, top + y, steps=4)
        page.mouse.up()
        until(lambda: page.locator("#count").text_content() == "24 selected")
        page.keyboard.press("Escape")
        assert page.locator(".chosen").is_hidden()
        page.keyboard.press(".")  # the largest cluster
        page.keyboard.press("v")
        chosen = page.locator("#count").text_content() or ""
        assert 1 <= int(chosen.split()[0]) <= 24
        page.keyboard.press("n")
        page.keyboard.type("by lasso")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        made = httpx2.get(f"{address}{HERE}/clusters/by%20lasso/images").json()
        assert f"{made['total']} selected" == chosen
        page.wait_for_selector("#legend li button:has-text('by lasso')")
        before = page.evaluate(inked, "over")
        arrival = write_picture(ready / "drop" / "arrival.png", 500, hue=1)
        try:
            until(lambda: page.locator("#where").text_content() == "1 new")
            until(lambda: page.evaluate(inked, "over") != before)
        finally:
            arrival.unlink()
        page.keyboard.press("0")
        page.mouse.move(left + width / 2, top - 20)
        page.wait_for_timeout(300)
        away = page.evaluate(inked, "over")
        place = page.evaluate(
            "(() => { const it = document.querySelector('image-map'); const { x, y } = it.data;"
            "return it.pixel(x[0], y[0]).map(one => one / it.ratio); })()"
        )
        page.mouse.move(left + place[0] + 3, top + place[1] + 3)
        until(lambda: page.evaluate(inked, "over") > away + 5000)  # its picture, 160 pixels wide
        hovered = page.evaluate(inked, "over")
        page.mouse.move(left + width / 2, top - 20)
        until(lambda: page.evaluate(inked, "over") < hovered - 5000)
        page.keyboard.press("i")
        page.wait_for_selector("#shown a:has-text('Open picture-')")
        page.locator("#map").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/images/*")
        assert os.path.basename(page.url).isdigit()
        assert visit.faults == []
