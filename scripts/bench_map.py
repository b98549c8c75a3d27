#!/usr/bin/env python3
"""How fluently the map of the gallery moves: made-up points, in a browser without a graphics card.

Opens the page of the package in Debian's Chromium, drags and zooms it with the mouse, and says how
many frames a second were shown and what one takes to draw. No service and no collection is
needed: the answers are made up.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from playwright.sync_api import Page, Route, sync_playwright

import imgclust.server
from imgclust.charts.figure import cluster_mark
from imgclust.server.page_routes import page as rendered
from imgclust.server.security import HEADERS

_PLACE = "http://127.0.0.1:1"  # nothing listens there: every answer is made here
_CLUSTERS = 60
_STATIC = Path(imgclust.server.__file__).parent / "static"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Counts what is drawn, and the time between pictures.
_WATCH = """() => {
  const map = document.querySelector("image-map");
  const draw = map.draw;
  window.took = []; window.frames = [];
  map.draw = function () {
    const from = performance.now();
    draw.call(map);
    window.took.push(performance.now() - from);
  };
  const tick = (now) => { window.frames.push(now); requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
}"""


def points_of(n: int) -> bytes:
    """Columns of n points in groups of different sizes, as a map has them."""
    generator = np.random.default_rng(0)
    share = generator.dirichlet(np.full(_CLUSTERS, 0.7))
    clusters = generator.choice(_CLUSTERS, n, p=share) + 1
    centres = generator.uniform(-80, 80, (_CLUSTERS + 1, 2))
    spread = generator.uniform(1.5, 7, _CLUSTERS + 1)
    places = centres[clusters] + spread[clusters, None] * generator.standard_normal((n, 2))
    return b"".join(
        (
            struct.pack("<4sIII", b"IMGP", 1, n, n),
            np.arange(1, n + 1, dtype="<u4").tobytes(),
            places[:, 0].astype("<f4").tobytes(),
            places[:, 1].astype("<f4").tobytes(),
            clusters.astype("<i4").tobytes(),
            bytes(n),
        )
    )


def overview_of(n: int) -> dict[str, Any]:
    """What the service says of a map."""
    marks = [cluster_mark(one) for one in range(1, _CLUSTERS + 1)]
    clusters = [
        {"id": at + 1, "name": None, "size": n // _CLUSTERS, "colour": one, "on_dark": dark}
        | {"shape": shape}
        for at, (one, dark, shape) in enumerate(marks)
    ]
    return {"map": 1, "method": "tsne", "distinct": n, "absent": 0, "clusters": clusters}


def answer(route: Route, *, points: bytes, overview: dict[str, Any], n: int) -> None:
    """Answer a request of the page."""
    path = route.request.url.removeprefix(_PLACE).partition("?")[0]
    if path.startswith("/static/"):
        file = _STATIC / path.removeprefix("/static/")
        route.fulfill(body=file.read_bytes(), content_type=_KINDS[file.suffix], headers=HEADERS)
    elif path.endswith("/map/points"):
        route.fulfill(body=points, content_type="application/octet-stream")
    elif path.endswith("/default/map") and path.startswith("/api/"):
        route.fulfill(body=json.dumps(overview), content_type="application/json")
    elif path == "/c/default/map":
        values: dict[str, Any] = {"overview": SimpleNamespace(distinct=n), "images": n}
        values |= {"others": [], "collection": "default", "collections": [], "page": "map"}
        values |= {"pages": (), "last": "x-0", "api": "/api/v1/collections/default"}
        body = bytes(rendered("map.html", **values).body)
        route.fulfill(body=body, content_type="text/html", headers=HEADERS)
    else:  # thumbnails, events
        route.fulfill(status=404, body="")


def answers(points: bytes, overview: dict[str, Any], n: int) -> Callable[[Route], None]:
    """What answers the requests of a page with these points."""
    return lambda route: answer(route, points=points, overview=overview, n=n)


def moved(page: Page, name: str, seconds: float) -> str:
    """Move the map for some seconds; returns what was seen."""
    box = page.locator("#map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate("() => { window.took.length = 0; window.frames.length = 0; }")
    page.mouse.move(x, y)
    if name == "pan":
        page.mouse.down()
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        if name == "pan":
            page.mouse.move(x + 150 * np.sin(number / 9), y + 90 * np.cos(number / 13))
        else:
            page.mouse.wheel(0, -60 if number // 25 % 2 == 0 else 60)
    if name == "pan":
        page.mouse.up()
    took, frames = page.evaluate("() => [window.took, window.frames]")
    gaps = sorted(b - a for a, b in itertools.pairwise(frames))
    return (
        f"{name}: {1000 * (len(gaps)) / sum(gaps):.0f} frames a second, slowest twentieth "
        f"{gaps[int(0.95 * len(gaps))]:.0f} ms; drawing {statistics.median(took):.1f} ms (median), "
        f"{len(took)} drawn"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("numbers", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the page")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("there is no chromium here")
    with sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for n in given.numbers:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            points, overview = points_of(n), overview_of(n)
            context.route("**/*", answers(points, overview, n))
            page = context.new_page()
            began = time.monotonic()
            page.goto(f"{_PLACE}/c/default/map")
            page.wait_for_selector("#legend li")
            page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
            print(f"{n:,} points, shown after {time.monotonic() - began:.1f} s")
            page.evaluate(_WATCH)
            if given.pictures:
                page.screenshot(path=given.pictures / f"map-{n}.png")
            for name in ("pan", "zoom"):
                print("  " + moved(page, name, given.seconds), flush=True)
            context.close()


if __name__ == "__main__":
    main()
