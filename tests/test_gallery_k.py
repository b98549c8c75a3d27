"""The choice of k: the curve, the clusters of each k before they are made, and the page of both."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from tests.browsing import Visit
from tests.command_line import Run
from tests.conftest import write_picture
from tests.served import HERE, client, finished, service, until


def swept(api: TestClient) -> None:
    done = finished(api, api.post(f"{HERE}/sweep", json={"k_min": 1, "k_max": 6}))
    assert done["state"] == "done", done


def hue(api: TestClient, image: int) -> int:
    """The group that a picture of `drop` was made in."""
    path = api.get(f"{HERE}/images/{image}").json()["path"]
    return int(path[-6:-4]) % 3


def test_the_clusters_of_a_k_are_seen_before_they_are_made(api: TestClient) -> None:
    before = api.get(f"{HERE}/history").json()
    swept(api)
    curve = api.get(f"{HERE}/sweep").json()
    assert curve["k"] == curve["kept"] == [1, 2, 3, 4, 5, 6]
    assert len(curve["inertia"]) == 6
    assert (curve["distinct"], curve["current"], curve["complete"]) == (24, True, True)
    whole = api.get(f"{HERE}/sweep/1").json()
    assert [one["images"] for one in whole["clusters"]] == [24]
    three = api.get(f"{HERE}/sweep/3").json()
    assert [one["images"] for one in three["clusters"]] == [8, 8, 8]
    assert (three["sampled"], three["distinct"]) == (24, 24)
    groups = [{hue(api, one) for one in row["representatives"]} for row in three["clusters"]]
    assert sorted(map(tuple, groups)) == [(0,), (1,), (2,)]  # pictures of one group each
    assert api.get(f"{HERE}/history").json() == before


def test_a_preview_says_where_the_images_are_now(api: TestClient) -> None:
    swept(api)
    finished(api, api.post(f"{HERE}/cluster", json={"k": 3, "fresh": True}))
    row = api.get(f"{HERE}/sweep/3").json()["clusters"][0]
    homes = {api.get(f"{HERE}/images/{one}").json()["cluster"] for one in row["representatives"]}
    assert (homes, row["share"], row["name"]) == ({row["cluster"]}, 1.0, None)
    api.post(f"{HERE}/clusters/{row['cluster']}/name", json={"name": "blue"})
    named = api.get(f"{HERE}/sweep/3").json()["clusters"]
    assert [one["name"] for one in named if one["cluster"] == row["cluster"]] == ["blue"]
    whole = api.get(f"{HERE}/sweep/1").json()["clusters"][0]
    assert whole["share"] == pytest.approx(1 / 3, abs=0.001)


def test_a_curve_knows_that_images_came_since(api: TestClient, tmp_path: Path, ready: Path) -> None:
    swept(api)
    extra = [str(write_picture(tmp_path / "more" / f"{n}.png", 70 + n, hue=1)) for n in range(3)]
    finished(api, api.post(f"{HERE}/add", json={"paths": extra}))
    assert api.get(f"{HERE}/sweep").json()["current"] is False
    shown = api.get(f"{HERE}/sweep/1").json()
    assert (shown["distinct"], [one["images"] for one in shown["clusters"]]) == (27, [27])


def test_what_there_is_not(api: TestClient) -> None:
    swept(api)
    for path, status in (("sweep/7", 404), ("sweep/0", 422), ("sweep/x", 422)):
        answer = api.get(f"{HERE}/{path}")
        assert (answer.status_code, "message" in answer.json()["error"]) == (status, True), path


def test_without_a_sweep_the_page_offers_one(run: Run, tmp_path: Path) -> None:
    assert (
        run(
            "watch", "--once", "--no-cluster", write_picture(tmp_path / "in" / "one.png", 1).parent
        ).code
        == 0
    )
    with client(tmp_path / "index") as made:
        for path in ("sweep", "sweep/1"):
            assert made.get(f"{HERE}/{path}").status_code == 404
        assert "Draw the curve" in made.get("/c/default/k").text


@pytest.mark.slow
def test_k_is_chosen_by_looking(browser: Browser, index: Path) -> None:
    with service(index) as (address, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        visit = Visit(browser, address, viewport={"width": 1280, "height": 900})
        page = visit.page
        visit.go("k")
        assert visit.accessible() == []
        # Where groups are clear, the clusters were made without a sweep.
        for button in ("Draw the curve", "Draw the curve again"):
            with page.expect_navigation():
                page.click(f"text={button}")
        page.wait_for_selector("#preview li img")
        page.locator("#k").fill("3")
        until(lambda: page.locator("#preview li").count() == 3)
        assert page.locator("#preview .name").all_text_contents() == ["8 images"] * 3
        page.locator("#k").blur()
        page.keyboard.press("ArrowRight")
        until(lambda: page.locator("#preview li").count() == 4)
        assert page.locator("#now").text_content() == "4 clusters (k = 4)"
        moved = page.locator("#cursor").get_attribute("transform")
        page.keyboard.press("ArrowLeft")
        assert page.locator("#cursor").get_attribute("transform") != moved
        page.keyboard.press("?")
        assert page.locator("#keys").is_visible()
        page.keyboard.press("Escape")
        assert visit.accessible() == []
        apply = page.locator("[data-do=apply]")
        assert apply.is_disabled()  # there are three now
        page.keyboard.press("ArrowRight")
        assert apply.is_enabled()
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        page.wait_for_url("**/c/default/")
        assert len(httpx2.get(f"{address}{HERE}/clusters").json()["clusters"]) == 4
        visit.go("k")
        page.click("text=Coarser")
        page.keyboard.press("Enter")
        page.wait_for_url("**/c/default/")
        assert len(httpx2.get(f"{address}{HERE}/clusters").json()["clusters"]) < 4
        assert visit.faults == []
