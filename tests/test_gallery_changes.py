"""What the pages say of changes: where images went, the way back, names, a service that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser

from tests.browsing import Visit
from tests.conftest import write_picture
from tests.served import HERE, service, until

SIZE = {"width": 1200, "height": 800}


@pytest.fixture
def address(index: Path) -> Iterator[str]:
    with service(index) as (found, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        yield found


def clusters(address: str) -> dict[int, dict[str, Any]]:
    rows = httpx2.get(f"{address}{HERE}/clusters").json()["clusters"]
    return {row["id"]: row for row in rows}


def said(visit: Visit, text: str) -> None:
    visit.page.wait_for_selector(f"#status >> text={text}")


def test_a_move_says_where_to_and_is_undone(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport=SIZE)
    page = visit.page
    visit.go("clusters/1")
    assert page.locator("[data-do=undo]").count() == 0  # that would be about all clusters
    page.keyboard.press("m")
    said(visit, "select images first")
    place = page.locator("#grid").bounding_box()
    before = clusters(address)
    boxes = page.locator("#grid input[type=checkbox]")
    for at in (0, 1):
        boxes.nth(at).check()
    assert page.locator("#grid").bounding_box() == place
    chosen = [
        int(one.get_attribute("data-image") or 0) for one in page.locator("#grid li.selected").all()
    ]
    target = next(one for one in before if one != 1)
    # What was said before stays said.
    httpx2.post(f"{address}{HERE}/clusters/1/move", json={"images": chosen[:1]})
    page.keyboard.press("m")
    page.keyboard.press("Enter")  # no cluster is chosen yet, and none is taken for another
    assert page.locator("#ask").is_visible()
    page.locator("#ask-which input[type=search]").fill(str(target))
    assert page.locator("#ask-which label:visible").count() < len(before)
    page.keyboard.press("Enter")
    said(visit, f"2 images moved to cluster {target}")
    homes = [httpx2.get(f"{address}{HERE}/images/{one}").json()["cluster"] for one in chosen]
    assert homes == [target, target]
    size = page.locator(f"#targets [data-target='{target}'] .soft").text_content()
    assert size == str(before[target]["size"] + 2)
    assert page.get_by_role("button", name="Undo").is_visible()
    with page.expect_navigation():
        page.keyboard.press("u")
    said(visit, "2 images moved back")
    homes = [httpx2.get(f"{address}{HERE}/images/{one}").json()["cluster"] for one in chosen]
    assert homes == [1, 1]
    rows = httpx2.get(f"{address}{HERE}/corrections").json()["corrections"]
    assert [(row["image"], row["kind"], row["cluster"]) for row in rows] == [(chosen[0], "in", 1)]


def test_a_new_cluster_is_a_target_at_once_and_is_undone(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport=SIZE)
    page = visit.page
    before = clusters(address)
    visit.go("clusters/1")
    first = page.locator("#grid li").first
    image = int(first.get_attribute("data-image") or 0)
    first.locator("input").check()
    page.keyboard.press("n")
    page.locator("#ask-text input").fill("odd one")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    (made,) = set(clusters(address)) - set(before)
    said(visit, f"1 image moved to odd one (cluster {made})")
    assert page.locator("#targets li", has_text="odd one").is_visible()
    with page.expect_navigation():
        page.get_by_role("button", name="Undo").click()
    said(visit, "1 image moved back")
    assert httpx2.get(f"{address}{HERE}/images/{image}").json()["cluster"] == 1
    assert httpx2.get(f"{address}{HERE}/corrections").json()["corrections"] == []
    assert (clusters(address)[made]["name"], clusters(address)[made]["size"]) == (None, 0)
    assert page.locator(f"#targets [data-target='{made}']").count() == 0
    visit.go("")
    assert page.locator("#grid li").count() == len(before)


def test_targets_show_a_picture_and_those_of_similar_images_come_first(
    browser: Browser, address: str
) -> None:
    visit = Visit(browser, address, viewport=SIZE)
    page = visit.page
    rows = clusters(address)
    for path, opened in (("clusters/1", "Merge with…"), ("images/3", "Move to…")):
        visit.go(path)
        page.get_by_role("button", name=opened).click()
        assert visit.accessible() == [], path
        shown = {
            int(one.get_attribute("value") or 0): one.locator("..").locator("img")
            for one in page.locator("#ask-which input[type=radio]").all()
        }
        for cluster, picture in shown.items():
            source = picture.get_attribute("src") or ""
            assert source.endswith(f"/images/{rows[cluster]['medoid']}/thumbnail")
        assert len(shown) == len(rows) - 1
        page.keyboard.press("Escape")
    here = httpx2.get(f"{address}{HERE}/images/3").json()["cluster"]
    near = [
        one["cluster"]
        for one in httpx2.get(f"{address}{HERE}/query?image=3&n=12").json()["neighbours"]
        if one["cluster"] != here
    ]
    order = [near.count(one) for one in shown]
    assert order == sorted(order, reverse=True)
    assert set(shown) == set(rows) - {here}


def test_a_split_says_what_became_of_the_cluster(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport=SIZE)
    page = visit.page
    visit.go("clusters/1")
    page.get_by_role("button", name="Split").click()
    page.get_by_role("button", name="OK").click()
    said(visit, "not split: its images show no groups")
    job = httpx2.post(f"{address}{HERE}/merge", json={"clusters": [1, 2]})
    until(lambda: httpx2.get(address + job.headers["location"]).json()["state"] == "done")
    before = clusters(address)
    (whole,) = [one for one, row in before.items() if row["size"] == 16]
    visit.go(f"clusters/{whole}")
    page.get_by_role("button", name="Split").click()
    with page.expect_navigation(url=f"{address}/c/default/"):
        page.get_by_role("button", name="OK").click()
    after = clusters(address)
    (part,) = set(after) - set(before)
    said(visit, f"split: Cluster {whole} has 8 images, cluster {part} has 8 images")
    assert page.locator("#notice").text_content() == ""  # nobody else has changed the clusters


def test_a_name_is_given_refused_and_removed(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport=SIZE)
    page = visit.page
    visit.go("clusters/1")
    field = page.locator("#ask-text input")
    page.keyboard.press("r")
    page.keyboard.press("Enter")  # without a name, and none given: nothing happens
    page.wait_for_selector("#ask", state="hidden")
    page.keyboard.press("r")
    field.fill("x" * 101)
    page.keyboard.press("Enter")
    page.wait_for_selector("#ask-why >> text=at most 100 characters")
    assert field.input_value() == "x" * 101
    assert [one for one in visit.faults if "400" not in one] == []
    visit.faults.clear()
    until(field.is_enabled)
    field.fill("sea/side")
    with page.expect_navigation():
        field.press("Enter")
    said(visit, "the name is sea/side now")
    assert page.locator("#title").text_content() == "sea/side"
    assert "sea" in (page.locator("#folder").text_content() or "")
    with page.expect_download() as got:
        page.get_by_role("link", name="Export list (CSV)").click()
    assert got.value.suggested_filename == "sea_side.csv"
    page.keyboard.press("r")
    assert field.input_value() == "sea/side"
    field.fill("")
    field.press("Enter")
    page.wait_for_selector("text=Remove the name?")
    with page.expect_navigation():
        page.get_by_role("button", name="OK").click()
    said(visit, "the name is removed")
    assert clusters(address)[1]["name"] is None


def test_going_back_is_offered_where_there_is_a_way(browser: Browser, address: str) -> None:
    visit = Visit(browser, address, viewport=SIZE)
    page = visit.page
    visit.go("")
    number = len(clusters(address))
    assert page.locator("[data-do=undo]").count() == 0
    job = httpx2.post(f"{address}{HERE}/cluster", json={"k": number + 1})
    until(lambda: httpx2.get(address + job.headers["location"]).json()["state"] == "done")
    visit.go("")
    page.get_by_role("button", name=f"Go back to the {number} clusters before").click()
    page.get_by_role("button", name="OK").click()
    said(visit, f"back at the {number} clusters before")
    assert len(clusters(address)) == number


def test_a_service_that_is_gone_is_said_once(browser: Browser, index: Path) -> None:
    with service(index) as (address, _, stop):
        visit = Visit(browser, address)
        visit.go("")
        visit.page.wait_for_timeout(500)
        assert visit.page.locator("#notice").text_content() == ""
        stop.set()
        visit.page.wait_for_selector("#notice >> text=imgclust is not running any more")
    assert visit.page.locator("#notice > div").count() == 1
    visit.page.route("**/livez", lambda route: route.fulfill(status=200, body="{}"))
    visit.page.wait_for_selector("#notice > div", state="detached")
    visit.page.goto("about:blank")
    visit.faults.clear()  # requests that nobody answers


def test_a_search_is_there_after_back_and_fails_visibly(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    visit = Visit(browser, address, viewport=SIZE)
    page = visit.page
    visit.go("search")
    page.set_input_files("#file", write_picture(tmp_path / "asked.png", 5, hue=2))
    page.wait_for_selector("#grid li a.home")
    shown = "[...document.querySelectorAll('#grid li')].map(one => one.dataset.image)"
    found = page.evaluate(shown)
    page.locator("#grid a.home").first.click()
    page.wait_for_url("**/clusters/*")
    page.go_back()
    page.wait_for_selector("#by >> text=Most similar to asked.png")
    assert page.evaluate(shown) == found
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "bad.png")
    page.wait_for_selector("#status .fault >> text=the picture cannot be used")
    assert page.locator("#by").text_content() == ""
    assert not page.locator("#asked").is_visible()
    assert page.evaluate(shown) == []
    assert [one for one in visit.faults if "422" not in one] == []
    visit.faults.clear()
