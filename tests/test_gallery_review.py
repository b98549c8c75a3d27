"""The review in the service: questions, answers, and the page that asks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from tests.browsing import Visit
from tests.served import HERE, service, until


def pair(question: dict[str, Any]) -> tuple[int, int]:
    return question["image"]["id"], question["other"]["id"]


def test_an_answer_is_a_correction_and_is_not_asked_again(api: TestClient) -> None:
    found = api.get(f"{HERE}/review?count=3").json()
    assert (found["together"], found["apart"], len(found["questions"])) == (0, 0, 3)
    one, other = pair(found["questions"][0])
    body = {"image": one, "other": other, "same": False}
    done = api.post(f"{HERE}/review", json=body).json()
    assert (done["kind"], done["image"], done["other"], done["already"]) == (
        *("apart", one, other),
        False,
    )
    assert api.post(f"{HERE}/review", json=body).json()["already"] is True
    clusters = {api.get(f"{HERE}/images/{image}").json()["cluster"] for image in (one, other)}
    assert len(clusters) == 2
    (row,) = api.get(f"{HERE}/corrections").json()["corrections"]
    assert (row["id"], row["made_by"]) == (done["correction"], "gallery")
    later = api.get(f"{HERE}/review?count=3").json()
    assert (later["together"], later["apart"]) == (0, 1)
    assert {one, other} not in [set(pair(question)) for question in later["questions"]]
    taken = api.post(f"{HERE}/corrections/remove", json={"corrections": [done["correction"]]})
    assert taken.status_code == 200
    assert api.get(f"{HERE}/review").json()["apart"] == 0


def test_what_was_skipped_is_not_asked(api: TestClient) -> None:
    asked = [pair(one) for one in api.get(f"{HERE}/review?count=2").json()["questions"]]
    skipped = "&".join(f"skipped={one}-{other}" for one, other in asked)
    left = api.get(f"{HERE}/review?count=2&{skipped}").json()["questions"]
    assert not {frozenset(pair(one)) for one in left} & {frozenset(one) for one in asked}


@pytest.mark.parametrize(
    ("skipped", "status"), [("42", 400), ("a-b", 400), ("1-2-3", 400), ("¹-2", 400), ("7-999", 200)]
)
def test_a_pair_is_two_ids(api: TestClient, skipped: str, status: int) -> None:
    answer = api.get(f"{HERE}/review", params={"count": 1, "skipped": skipped})
    assert answer.status_code == status, answer.text


def test_two_images_of_the_collection(api: TestClient) -> None:
    for body, status in (
        ({"image": 1, "other": 999, "same": True}, 404),
        ({"image": 1, "other": 1, "same": True}, 400),
        ({"image": 1, "other": -5, "same": True}, 404),
        ({"image": 10**30, "other": 2, "same": True}, 404),
        ({"image": 1, "same": True}, 422),
        ({"image": 1, "other": 2, "same": "yes"}, 422),
    ):
        assert api.post(f"{HERE}/review", json=body).status_code == status, body


@pytest.mark.slow
def test_the_page_asks(browser: Browser, index: Path) -> None:
    with service(index) as (address, events, _):
        until(lambda: any(event.kind == "scanned" for event in events))
        visit = Visit(browser, address, viewport={"width": 1280, "height": 900})
        page = visit.page
        visit.go("review")
        page.wait_for_selector("#pair a[href]")
        assert visit.accessible() == []

        def shown() -> set[int]:
            links = page.locator("#pair a").all()
            return {int((one.get_attribute("href") or "0").rpartition("/")[2]) for one in links}

        def corrections() -> list[dict[str, Any]]:
            rows = httpx2.get(f"{address}{HERE}/corrections").json()["corrections"]
            return [{"kind": one["kind"], "pair": {one["image"], one["other"]}} for one in rows]

        first = shown()
        page.keyboard.press("s")
        until(lambda: shown() != first)
        second = shown()
        page.keyboard.press("n")
        until(lambda: shown() != second)
        assert corrections() == [{"kind": "apart", "pair": second}]
        third = shown()
        assert third not in (first, second)
        page.click("[data-do=same]")
        until(lambda: len(corrections()) == 2)
        assert {"kind": "together", "pair": third} in corrections()
        until(lambda: "1 time the same" in (page.locator("#answers").text_content() or ""))
        page.keyboard.press("u")
        until(lambda: corrections() == [{"kind": "apart", "pair": second}])
        assert visit.faults == []
