"""A browser that looks at the pages of a service, and what it finds wrong."""

from __future__ import annotations

import importlib.resources
import shutil
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def started() -> Iterator[Browser]:
    """A browser, until the generator is closed; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    with sync_playwright() as tools:
        try:
            made = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"chromium does not start here: {error}")
        yield made
        made.close()


class Visit:
    """A page of the gallery in a browser, with what went wrong on it.

    `every` holds the visits of a test: the fixture fails it for a fault that is left on any page.
    """

    every: ClassVar[list[Visit]] = []

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.address = address
        self.faults: list[str] = []
        self.every.append(self)
        self.page = self.open()

    def open(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console", lambda one: self.faults.append(one.text) if one.type == "error" else None
        )
        page.on("request", self._asked)
        return page

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:")):
            self.faults.append(f"asked {request.url}")

    def go(self, path: str) -> None:
        self.page.goto(f"{self.address}/c/default/{path}", wait_until="load")

    def accessible(self) -> list[str]:
        """What axe has to say against the page that is open."""
        axe = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
        script = importlib.resources.files(axe).joinpath("axe.min.js").read_text("utf-8")
        self.page.evaluate(script)
        found = self.page.evaluate("axe.run()")
        return [
            f"{one['id']}: {node['target']}" for one in found["violations"] for node in one["nodes"]
        ]
