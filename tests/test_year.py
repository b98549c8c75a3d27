"""A year with a collection: ids follow contents, named clusters keep all that is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.watch_process import fake_embedder
from tests.year import ENVIRONMENT, Year


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from imgclust.collection import networks

    monkeypatch.setattr(networks, "open_embedder", fake_embedder)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMGCLUST_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_a_year(tmp_path: Path) -> None:
    seed = int(os.environ.get("TEST_IMGCLUST_SEED", "0"))
    with Year(tmp_path, seed) as year:
        year.live()
        assert year.clusterings >= 40
        assert year.kills >= 5
        assert year.model.ids_checked > 10_000
        assert year.model.members_checked > 5_000


def test_a_few_weeks(tmp_path: Path) -> None:
    with Year(tmp_path, 1, images=40, names=4, kills=False) as year:
        year.live(weeks=4)
        assert year.clusterings >= 2
