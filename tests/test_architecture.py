"""docs/architecture.md names modules that exist, and every package."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "architecture.md").read_text("utf-8")


def test_every_module_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", PAGE))
    assert len(named) > 30
    missing = {name for name in named if not (CHECKOUT / "imgclust" / name).is_file()}
    assert not missing


def test_the_page_names_every_package() -> None:
    folders = {path.parent.name for path in (CHECKOUT / "imgclust").glob("*/__init__.py")}
    assert folders - set(re.findall(r"`([a-z_]+)/?`", PAGE)) == set()
