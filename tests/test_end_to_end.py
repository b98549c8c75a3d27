"""The command line with the real network on real photos, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[1]
PHOTOS = CHECKOUT / "scripts" / "samples" / "photos"
COMMAND = Path(sys.executable).parent / "imgclust"
LIMIT_S = 300


def environment(home: Path) -> dict[str, str]:
    """No settings of this machine, an index folder and a cache of our own, the trunk."""
    kept = {name: value for name, value in os.environ.items() if "IMGCLUST" not in name}
    return kept | {
        "IMGCLUST_INDEX": str(home / "index"),
        "IMGCLUST_CACHE": str(home / "cache"),
        "IMGCLUST_EMBEDDING_WEIGHTS": "trunk",
        "COLUMNS": "100",
    }


def imgclust(home: Path, *arguments: str | Path, code: int = 0) -> Any:
    """Run a command with --json; its document."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments), "--json"],
        env=environment(home),
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout)


def sample(folder: Path, *arguments: str) -> dict[str, dict[str, str]]:
    """Make pictures with scripts/sample_images.py; its manifest."""
    manifest = folder.parent / f"{folder.name}.json"
    script = CHECKOUT / "scripts" / "sample_images.py"
    command = [sys.executable, str(script), *arguments, "--manifest", str(manifest), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
    found: dict[str, dict[str, str]] = json.loads(manifest.read_text("utf-8"))
    return found


def linked(home: Path) -> dict[str, str]:
    """Folder of every linked original; each is linked exactly once."""
    links = home / "index" / "default" / "links"
    found: dict[str, str] = {}
    for folder in links.glob("[0-9]*"):
        for entry in folder.iterdir():
            target = os.path.realpath(entry)
            assert os.path.isfile(target)
            assert target not in found
            found[target] = folder.name
    return found


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Home, drop folder and manifest of 300 pictures of mixed kinds and five bad companions."""
    home = tmp_path_factory.mktemp("mixed")
    return home, home / "drop", sample(home / "drop", "--mixed", "300")


def test_a_mixed_folder_of_300(mixed: tuple[Path, Path, dict[str, Any]]) -> None:
    home, drop, manifest = mixed
    before = {path: path.read_bytes() for path in drop.rglob("*") if path.is_file()}
    fates = {drop / name: entry["fate"] for name, entry in manifest.items()}
    result = imgclust(home, "watch", drop, "--once")
    assert (result["quarantined"], result["skipped"]) == (3, 2)
    assert result["ingested"] + result["reused"] == 300

    readable = {str(path) for path, fate in fates.items() if fate == "read"}
    assert len(readable) == 300
    assert set(linked(home)) == readable

    rows = imgclust(home, "quarantine")["quarantined"]
    assert {row["path"] for row in rows} == {
        str(path) for path, fate in fates.items() if fate == "quarantine"
    }
    assert len({row["reason"] for row in rows}) == 3
    status = imgclust(home, "status")
    assert status["skipped"] == {".mov": 1, ".xmp": 1}
    assert (status["images"], status["unassigned"], status["pending"]) == (300, 0, 0)
    assert imgclust(home, "links", "--check")["missing"] == 0
    assert before == {path: path.read_bytes() for path in drop.rglob("*") if path.is_file()}


def test_an_indexed_image_is_found_without_tensorflow(
    mixed: tuple[Path, Path, dict[str, Any]],
) -> None:
    home, drop, manifest = mixed
    name = next(one for one, entry in manifest.items() if entry["fate"] == "read")
    program = (
        "import sys; from imgclust.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'faiss' in sys.modules\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "query", str(drop / name), "--include-self", "--json"],
        env=environment(home),
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    first = json.loads(done.stdout)["neighbours"][0]
    assert first["path"] == str(drop / name)
    assert first["score"] == pytest.approx(1.0, abs=1e-3)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Home and drop folder of the sample photos, ingested."""
    home = tmp_path_factory.mktemp("samples")
    sample(home / "drop")
    imgclust(home, "watch", home / "drop", "--once")
    return home, home / "drop"


def test_a_crop_finds_its_original(samples: tuple[Path, Path], tmp_path: Path) -> None:
    home, drop = samples
    names = sorted(path.name for path in drop.iterdir())[::25][:10]
    assert len(names) == 10
    found = 0
    for name in names:
        with Image.open(drop / name) as picture:
            wide, tall = picture.size
            box = (wide // 20, tall // 20, wide - wide // 20, tall - tall // 20)
            picture.convert("RGB").crop(box).save(tmp_path / name, quality=80)
        first = imgclust(home, "query", tmp_path / name, "-n", "1")["neighbours"][0]
        found += first["path"] == str(drop / name)
    assert found >= 9


def test_the_same_seed_gives_the_same_clusters(samples: tuple[Path, Path]) -> None:
    home, _ = samples
    first = imgclust(home, "cluster", "-k", "12")
    folders = linked(home)
    again = imgclust(home, "cluster", "-k", "12")
    assert (again["moved"], again["sizes"]) == (0, first["sizes"])
    assert linked(home) == folders
    other = imgclust(home, "cluster", "-k", "12", "--seed", "7")
    kept = {row["id"] for row in other["kept"]}
    assert kept <= {int(one) for one in first["sizes"]}
    assert len(kept) >= 6
    swept = imgclust(home, "sweep", "--k-max", "30")
    assert swept["k"] == list(range(1, 31))
    assert all(a >= b for a, b in zip(swept["inertia"], swept["inertia"][1:], strict=False))


class Watcher:
    """`imgclust watch` in a process of its own; its events, a JSON document a line."""

    def __init__(self, home: Path, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [COMMAND, "watch", *map(str, arguments), "--json"],
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def wait_for(self, kind: str, name: str = "") -> dict[str, Any]:
        """The next event of this kind about a path that ends so; the watcher must not end."""
        deadline = time.monotonic() + LIMIT_S
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == kind and str(event.get("path", "")).endswith(name):
                return event
            assert time.monotonic() < deadline
        raise AssertionError(f"the watcher ended before {kind} {name}")

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def watcher(samples: tuple[Path, Path]) -> Iterator[Watcher]:
    home, drop = samples
    running = Watcher(home, drop)
    yield running
    running.process.kill()
    running.process.communicate()


def test_a_running_watcher_takes_arrivals_and_new_clusters(
    samples: tuple[Path, Path], watcher: Watcher, tmp_path: Path
) -> None:
    home, drop = samples
    watcher.wait_for("scanned")
    with Image.open(drop / "photo-010.jpg") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(drop / "first.jpg")
    first = watcher.wait_for("ingested", "first.jpg")
    alike = imgclust(home, "query", drop / "photo-010.jpg", "--include-self")["neighbours"][0]
    assert first["cluster"] == alike["cluster"]

    imgclust(home, "cluster", "-k", "5")
    with Image.open(drop / "photo-020.jpg") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(drop / "second.jpg")
    second = watcher.wait_for("ingested", "second.jpg")
    clusters = {row["id"] for row in imgclust(home, "clusters")["clusters"]}
    assert len(clusters) == 5
    assert second["cluster"] in clusters

    alone = tmp_path / "alone.png"
    with Image.open(PHOTOS / "photo-030.jpg") as picture:
        picture.rotate(90, expand=True).save(alone)
    assert imgclust(home, "add", alone)["ingested"] == 1

    (drop / "first.jpg").rename(drop / "renamed.jpg")
    moved = watcher.wait_for("moved", "renamed.jpg")
    assert moved["id"] == first["id"]
    assert imgclust(home, "watch", drop, "--once", code=4)["error"]["code"] == "locked"

    assert watcher.stop() == 0
    assert imgclust(home, "links", "--check")["missing"] == 0
    assert str(drop / "second.jpg") in linked(home)
    (drop / "renamed.jpg").unlink()
    (drop / "second.jpg").unlink()
