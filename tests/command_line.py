"""Calls of the command line in this process, with a stand-in for the network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgclust.cli import main
from imgclust.collection import embedder
from tests.conftest import DIMENSIONS, write_picture
from tests.fakes import FakeEmbedder

QUICK = {
    "IMGCLUST_EMBEDDING_WEIGHTS": "trunk",
    "IMGCLUST_WATCH_SETTLE_S": "0.02",
    "IMGCLUST_WATCH_YOUNG_S": "0",
    "IMGCLUST_CLUSTERING_PCA_DIMS": "8",
    "IMGCLUST_DECODE_WORKERS": "1",
    "IMGCLUST_LINKS_PAGES": "false",
    "COLUMNS": "120",  # the paths of temporary folders fit
}


@dataclass(frozen=True)
class Said:
    """What a call of the command line left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        assert self.out.count("\n") == 1
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def refused(self, code: int) -> str:
        """The one line of a failure with this exit code."""
        assert (self.code, self.out) == (code, "")
        assert self.err.startswith("imgclust: ")
        assert self.err.count("\n") == 1
        return self.err


Run = Callable[..., Said]


def runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """A function that runs the command line on the index folder `tmp_path / "index"`."""
    monkeypatch.setenv("IMGCLUST_INDEX", str(tmp_path / "index"))
    _prepare(monkeypatch, tmp_path)

    def call(*arguments: str | Path) -> Said:
        capsys.readouterr()
        code = main([str(one) for one in arguments])
        return Said(code, *capsys.readouterr())

    return call


def make(top: Path, *commands: Sequence[str]) -> Path:
    """`top` with `drop` (24 pictures, a text, a broken one) and its ingested `index`.

    Then the command line runs `commands` there.
    """
    for number in range(24):
        write_picture(top / "drop" / f"picture-{number:02d}.png", number, hue=number % 3)
    (top / "drop" / "notes.xmp").write_text("no picture")
    (top / "drop" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    with pytest.MonkeyPatch.context() as patch:
        _prepare(patch, top)
        place = ["--index", str(top / "index")]
        assert main([*place, "watch", "--once", "-q", str(top / "drop")]) == 0
        for command in commands:
            assert main([*place, "-q", *command]) == 0, command
    return top


def _prepare(patch: pytest.MonkeyPatch, top: Path) -> None:
    patch.setenv("IMGCLUST_CACHE", str(top / "cache"))
    patch.setattr(embedder, "open_embedder", lambda *_, **__: FakeEmbedder(DIMENSIONS))
    for name, value in QUICK.items():
        patch.setenv(name, value)
