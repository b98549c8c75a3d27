"""Records a walk through all commands on the sample photos; see scripts/walk --help.

Every command runs in a pseudo terminal, with the real network. The walk fails when a line is wider
than its terminal, a colour cannot be read on white or on black, or an exit code is not as expected.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))

from recording import THEMES, Act, Recording, faint, picture, record

CHECKOUT = Path(__file__).resolve().parents[1]
PHOTOS = CHECKOUT / "scripts" / "samples" / "photos"
SIZES = ((80, 24), (200, 50))
PICTURED = ("first", "status", "query", "clusters", "cluster", "watch")
YES = (Act("[y/N]", "y\n"),)


@dataclass(frozen=True)
class Scene:
    """One command of the walk.

    Attributes
    ----------
    name
        Also the name of its picture.
    command
        Without `imgclust`; {a} and {b} are the ids of the two largest clusters.
    before
        What to do with the files first.
    frame
        A text that is shown while it works: a picture of that is kept.
    """

    name: str
    command: str
    acts: tuple[Act, ...] = ()
    code: int = 0
    before: Callable[[], None] | None = None
    frame: str | None = None


class Place:
    """A home with photos in it, and an index folder."""

    def __init__(self, top: Path, *, photos: int) -> None:
        self.top = top
        self.photos = top / "photos"
        self.photos.mkdir(parents=True)
        (top / "new").mkdir()
        samples = sorted(PHOTOS.iterdir())
        for photo in samples[:6]:
            shutil.copy(photo, top / "new")
        for photo in samples[6 : photos + 6]:
            shutil.copy(photo, self.photos)
        (self.photos / "holiday").mkdir()
        one, other = sorted(self.photos.glob("*.jpg"))[:2]
        shutil.copy(one, self.photos / "holiday" / f"copy of {one.name}")
        with Image.open(other) as opened:
            opened.save(self.photos / "holiday" / f"smaller {other.name}", quality=70)
        (self.photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
        (self.photos / "notes.txt").write_text("no picture")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("IMGCLUST") and name not in {"COLUMNS", "LINES", "NO_COLOR"}
        }
        self.environment = kept | {
            "COLORTERM": "truecolor",
            "HOME": str(top),
            "IMGCLUST_CACHE": str(top / ".cache"),
            "IMGCLUST_EMBEDDING_WEIGHTS": "trunk",
            "IMGCLUST_INDEX": str(top / "index"),
            "IMGCLUST_WATCH_YOUNG_S": "1",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(CHECKOUT),
            "TERM": "xterm-256color",
        }

    @property
    def arrivals(self) -> list[Path]:
        """Photos that come while the watcher runs."""
        return sorted((self.top / "new").iterdir())[1:]

    def arrive(self) -> None:
        """Some photos more."""
        for photo in self.arrivals:
            shutil.copy(photo, self.photos)

    def vanish(self) -> None:
        """Two photos less."""
        for photo in sorted(self.photos.glob("*.jpg"))[-2:]:
            photo.unlink()

    def largest(self) -> tuple[int, int]:
        """The ids of the two largest clusters; 0 where there is none."""
        done = subprocess.run(
            [sys.executable, "-c", "from imgclust.cli import app; app()", "clusters", "--json"],
            env=self.environment,
            cwd=self.top,
            capture_output=True,
            check=False,
        )
        rows = json.loads(done.stdout).get("clusters", [])
        ids = [row["id"] for row in sorted(rows, key=lambda row: (-row["size"], row["id"]))]
        return (*ids, 0, 0)[0], (*ids, 0, 0)[1]

    def scenes(self) -> Iterator[Scene]:
        """The walk."""
        last = sorted(self.photos.glob("*.jpg"))[-1].name
        yield Scene("help", "--help")
        yield Scene("nothing", "status", code=3)
        yield Scene("first", "watch photos --once", frame=" left")
        yield Scene("status", "status")
        yield Scene("query", f"query photos/{last} -n 4")
        yield Scene("query-outside", "query new/photo-001.jpg --images off")
        yield Scene("duplicates", "duplicates")
        yield Scene("sweep", "sweep")
        yield Scene("cluster", "cluster -k 6", YES)
        yield Scene("clusters", "clusters")
        yield Scene("show", "clusters show {a}")
        yield Scene("name", "clusters name {a} 'by the sea'")
        yield Scene("split", "clusters split {a} -k 2", YES)
        yield Scene("merge", "clusters merge {a} {b}", YES)
        yield Scene("history", "clusters history")
        yield Scene("undo", "cluster --undo", YES)
        yield Scene("view", "view")
        yield Scene("links", "links --check")
        yield Scene("report", "report")
        yield Scene("export", "export --format csv --out images.csv")
        yield Scene("add", "add new/photo-001.jpg")
        yield Scene(
            "watch", "watch", (Act("Ctrl-C", self.arrive), Act(self.arrivals[-1].name, "\x03"))
        )
        yield Scene("pause", "pause")
        yield Scene("resume", "resume")
        yield Scene("serve", "serve --help")
        yield Scene("quarantine", "quarantine")
        yield Scene("retry", "quarantine retry")
        yield Scene("missing-scan", "watch --once", before=self.vanish)
        yield Scene("missing", "missing")
        yield Scene("accept", "missing accept", YES)
        yield Scene("remove", "remove 1", YES)
        yield Scene("doctor", "doctor")
        yield Scene("roots", "roots")
        yield Scene("backup", "backup photos.imgclust")
        yield Scene("restore", "restore photos.imgclust --collection copy")
        yield Scene("create", "collections create holiday")
        yield Scene("collections", "collections")
        yield Scene("delete", "collections delete holiday", YES)
        yield Scene("config", "config show")
        yield Scene("weights", "weights")
        yield Scene("reembed", "reembed --dry-run")
        yield Scene("mistyped", "wach photos", code=2)
        yield Scene("no-file", "query nowhere.jpg", code=3)


def walk(
    place: Place, scenes: Sequence[Scene], *, columns: int, rows: int
) -> Iterator[tuple[Scene, Recording, list[str]]]:
    """Run the scenes; each with its recording and with what is wrong with it."""
    for scene in scenes:
        if scene.before is not None:
            scene.before()
        command = scene.command
        if "{a}" in command:
            largest, second = place.largest()
            command = command.format(a=largest, b=second)
        seen = record(
            shlex.split(command),
            columns=columns,
            rows=rows,
            folder=place.top,
            environment=place.environment,
            acts=scene.acts,
            frame=scene.frame,
        )
        wrong = []
        if seen.code != scene.code:
            wrong.append(f"ends with {seen.code}, not {scene.code}")
        if seen.terminal.widest > columns:
            wrong.append(f"a line of {seen.terminal.widest} columns")
        for theme in THEMES:
            for lines in (seen.terminal.texts(), seen.during or []):
                wrong += [f"faint on {theme}: {piece}" for piece in faint(lines, theme=theme)]
        yield scene, seen, wrong


def written(scene: Scene, seen: Recording) -> str:
    """The scene as text: the command as typed, what it showed, its exit code where it is not 0."""
    shown = [line.plain.rstrip() for line in seen.during or []]
    parts = [f"$ {seen.command}"]
    if scene.frame and shown:
        parts += [*shown, "", "[at the end]"]
    parts += seen.terminal.shown
    if seen.code:
        parts.append(f"[exit code {seen.code}]")
    return "\n".join(parts) + "\n"


def main() -> None:
    """Walk at every size, write the captures, say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", action="append", metavar="80x24", help="again for more")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs" / "walk")
    parser.add_argument("--pictures", action="store_true", help="pictures of all commands")
    parser.add_argument(
        "--place", type=Path, default=Path("/tmp/ada"), help="a folder that is made, and removed"
    )
    parser.add_argument("--photos", type=int, default=40)
    given = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in given.size or ()] or SIZES
    given.out.mkdir(parents=True, exist_ok=True)
    failed = False
    for columns, rows in sizes:
        pages = []
        with _folder(given.place) as top:
            place = Place(top, photos=given.photos)
            for scene, seen, wrong in walk(place, [*place.scenes()], columns=columns, rows=rows):
                print(f"{columns}x{rows}  {seen.command}")
                for fault in wrong:
                    failed = True
                    print(f"    {fault}")
                pages.append(written(scene, seen).replace(str(CHECKOUT), "/opt/imgclust"))
                if given.pictures or (columns == SIZES[0][0] and scene.name in PICTURED):
                    _draw(given.out, scene, seen, columns=columns)
        (given.out / f"{columns}x{rows}.txt").write_text("\n".join(pages), "utf-8")
    if failed:
        raise SystemExit("the walk shows faults")


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """A new folder of that name, so that the captures show the same paths each time."""
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _draw(out: Path, scene: Scene, seen: Recording, *, columns: int) -> None:
    lines = seen.during if scene.name in {"first", "watch"} else None
    for theme in THEMES:
        drawn = picture(seen.command, lines or seen.terminal.texts(), columns=columns, theme=theme)
        (out / f"{scene.name}-{columns}-{theme}.svg").write_text(drawn, "utf-8")


if __name__ == "__main__":
    main()
