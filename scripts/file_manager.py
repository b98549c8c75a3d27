"""Corrects clusters with a real file manager on a virtual screen; see scripts/file_manager --help.

The file manager is PCManFM, driven by mouse and keyboard only, while a watcher runs. After every
step the tree, the corrections and the clusters are compared with what a person would expect.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from virtual_screen import PROGRAMS, Screen, absent, screen, wait

from imgclust import Collection

CHECKOUT = Path(__file__).resolve().parents[1]
PHOTOS = CHECKOUT / "scripts" / "samples" / "photos"
MANAGER = "pcmanfm"
MODES = ("symlink", "hardlink", "copy")
_COMMAND = [sys.executable, "-c", "from imgclust.cli import app; app()"]
# Names of two photos each, in different folders.
_LAKES, _ZOOS = "lake.jpg", "zoo.jpg"
_WINDOWS = ((0, 20, 620, 400), (640, 20, 620, 400))
_TOP = (0, 450, 900, 390)
_TRIES = 3


class FaultError(Exception):
    """A step ended differently than a person expects."""


@dataclass(frozen=True)
class Said:
    """A correction as it is compared: its kind, the name of the file, the cluster."""

    kind: str
    file: str
    cluster: int | None


class Desk:
    """A collection with a watcher, and a file manager that shows its link folder."""

    def __init__(
        self, screen: Screen, collection: Collection, log: Path, pictures: Path | None
    ) -> None:
        self.screen = screen
        self.step = ""
        self._pictures = pictures
        self.collection = collection
        self.links = collection.link_folder
        self._log = log
        self._read = 0

    # The file manager

    def open(self, folder: Path, place: tuple[int, int, int, int]) -> str:
        """A window that shows a folder."""
        before = set(self.screen.windows(folder.name))
        self.screen.start(MANAGER, "--new-win", str(folder))
        opened = wait(lambda: set(self.screen.windows(folder.name)) - before, f"window {folder}")
        window = str(opened.pop())
        self.screen.place(window, *place)
        return window

    @contextlib.contextmanager
    def windows(self, *folders: str) -> Iterator[list[str]]:
        """Windows that show folders of the link folder, closed at the end."""
        opened = [
            self.open(self.links / folder if folder else self.links, place)
            for folder, place in zip(folders, _WINDOWS, strict=False)
        ]
        try:
            yield opened
        finally:
            if self._pictures is not None:
                self.screen.picture(self._pictures / f"{self.step}.png")
            for window in opened:
                self.screen.activate(window)
                self.screen.press("ctrl+w")

    def select(self, window: str, folder: str, *names: str) -> tuple[int, int]:
        """Select neighbours in a window by the keyboard; returns where the first one is."""
        shown = self.shown(folder)
        first = shown.index(names[0])
        assert shown[first : first + len(names)] == list(names)
        self.screen.activate(window)
        self.screen.still(window)  # a window that is just opened may not have its entries yet
        for _ in range(_TRIES - 1):
            with contextlib.suppress(TimeoutError):
                return self._go_to(window, first, len(names))
        return self._go_to(window, first, len(names))

    def _go_to(self, window: str, first: int, count: int) -> tuple[int, int]:
        """Each key is pressed when what the one before did is seen."""
        self.screen.press("Home")
        place = self.screen.selected(window)
        for _ in range(first):
            self.screen.press("Down")
            place = self.screen.selected(window, but=place)
        for more in range(1, count):
            self.screen.press("shift+Down")
            self.screen.selected(window, count=1 + more)
        self.screen.still(window)  # what is done with a selection is done with the noted one
        return place

    def shown(self, folder: str) -> list[str]:
        """Names in a folder, in the order of the file manager."""
        seen = [one for one in os.scandir(self.links / folder) if not one.name.startswith(".")]
        ordered = sorted(seen, key=lambda one: (not one.is_dir(follow_symlinks=False), one.name))
        return [one.name for one in ordered]

    def photos(self, folder: str) -> list[str]:
        """Names of links in a folder, without those of which there are two."""
        return [name for name in self.shown(folder) if name.startswith("photo")]

    def ground(self, window: str) -> tuple[int, int]:
        """A place in a window below what it shows."""
        said = self.screen.xdotool("getwindowgeometry", "--shell", window)
        at = dict(line.split("=") for line in said.splitlines())
        return int(at["X"]) + int(at["WIDTH"]) - 60, int(at["Y"]) + int(at["HEIGHT"]) - 45

    def answer(self, title: str, *keys: str, text: str = "") -> None:
        """Answer a question of the file manager."""
        window = wait(lambda: self.screen.windows(title), f"the question {title!r}")[0]
        self.screen.activate(window)
        if text:
            self.screen.write(text)
        self.screen.press(*keys)

    # The collection

    def folders(self) -> list[str]:
        """The clusters' folders, those with most links first."""
        found = [one for one in self.shown("") if (self.links / one).is_dir()]
        return sorted(found, key=lambda one: (-len(self.shown(one)), one))

    def cluster(self, folder: str) -> int:
        """The cluster of a folder."""
        return int(folder.split("-")[0])

    def tree(self) -> dict[str, list[str]]:
        """Names of all entries by folder."""
        return {folder: self.shown(folder) for folder in sorted(self.folders())}

    def corrections(self) -> set[Said]:
        """What counts, without near copies that follow."""
        return {
            Said(row.kind, os.path.basename(os.fsdecode(row.path or b"")), row.cluster)
            for row in self.collection.corrections.rows()
            if row.follows is None
        }

    def names(self) -> dict[int, str | None]:
        """The clusters and their names."""
        return {row.id: row.name for row in self.collection.clusters()}

    def said(self) -> str:
        """What the watcher has said since this was asked last."""
        text = self._log.read_text("utf-8", "replace")
        new, self._read = text[self._read :], len(text)
        return new

    def see(self, expected: Callable[[], object], what: str) -> None:
        """Wait for something."""
        try:
            wait(expected, what)
        except TimeoutError as error:
            raise FaultError(str(error)) from None

    def at_rest(self, *, foreign: int = 0) -> None:
        """Wait until the tree is as the catalog says, with so many entries that are a person's."""

        def right() -> bool:
            checked = self.collection.links(check=True)
            return checked.in_step and len(checked.foreign) == foreign

        self.see(right, f"a tree as the catalog says, with {foreign} files of a person's own")


# The steps. Each begins with a tree at rest and ends with one.


def drag_one(desk: Desk) -> None:
    """Drag a link from the window of one cluster into that of another."""
    source, target = desk.folders()[:2]
    name = desk.photos(source)[0]
    with desk.windows(source, target) as (here, there):
        start = desk.select(here, source, name)
        desk.screen.drag(start, desk.ground(there))
        _stays(desk, [name], target)


def drag_several(desk: Desk) -> None:
    """Drag three links at once."""
    source, target = desk.folders()[0], desk.folders()[-1]
    names = desk.photos(source)[1:4]
    with desk.windows(source, target) as (here, there):
        start = desk.select(here, source, *names)
        desk.screen.drag(start, desk.ground(there))
        _stays(desk, names, target)


def drag_on_a_folder(desk: Desk) -> None:
    """Drag a link on the folder of another cluster, in a window that shows all of them."""
    source, target = desk.folders()[0], desk.folders()[1]
    name = desk.photos(source)[-1]
    with desk.windows(source, "") as (here, top):
        end = desk.select(top, "", target)
        start = desk.select(here, source, name)
        desk.screen.drag(start, end)
        _stays(desk, [name], target)


def cut_and_paste(desk: Desk) -> None:
    """Cut a link and paste it into the folder of another cluster."""
    source, target = desk.folders()[:2]
    name = desk.photos(source)[0]
    with desk.windows(source, target) as (here, there):
        desk.select(here, source, name)
        desk.screen.press("ctrl+x")
        desk.screen.activate(there)
        desk.screen.press("ctrl+v")
        _stays(desk, [name], target)


def copy_and_paste(desk: Desk) -> None:
    """Copy a link into another cluster's folder: nothing; then delete the first: a move."""
    source, target = desk.folders()[:2]
    before, name = desk.corrections(), desk.photos(source)[0]
    with desk.windows(source, target) as (here, there):
        desk.select(here, source, name)
        desk.screen.press("ctrl+c")
        desk.screen.activate(there)
        desk.screen.press("ctrl+v")
        desk.see(lambda: name in desk.shown(target), "the copy")
        desk.at_rest(foreign=1)
        if desk.corrections() != before or name not in desk.shown(source):
            raise FaultError("a copy is taken for a move")
        desk.select(here, source, name)
        desk.screen.press("shift+Delete")
        desk.answer("Confirm", "Return")
        _stays(desk, [name], target)


def rename_folder(desk: Desk) -> None:
    """Rename the folder of a cluster."""
    folder = desk.folders()[1]
    cluster = desk.cluster(folder)
    with desk.windows("") as (top,):
        desk.select(top, "", folder)
        desk.screen.press("F2")
        desk.answer("Rename.*", "Return", text="Sea and sky")
        desk.see(lambda: desk.names().get(cluster) == "Sea and sky", "the cluster's new name")
        desk.at_rest()
    if f"{cluster:03d}-Sea and sky" not in desk.folders():
        raise FaultError(f"the folders are {desk.folders()}")


def new_folder(desk: Desk) -> None:
    """Make a folder and move two links into it."""
    source = desk.folders()[0]
    names = desk.photos(source)[:2]
    with desk.windows("", source) as (top, here):
        desk.screen.activate(top)
        desk.screen.press("ctrl+shift+n")
        desk.answer("Creating New Folder", "Return", text="Our dogs")
        desk.see(lambda: "Our dogs" in desk.shown(""), "the new folder")
        end = desk.select(top, "", "Our dogs")
        start = desk.select(here, source, *names)
        desk.screen.drag(start, end)
        desk.see(lambda: "Our dogs" in desk.names().values(), "a cluster called as the folder")
        cluster = {name: key for key, name in desk.names().items()}["Our dogs"]
        _stays(desk, names, f"{cluster:03d}-Our dogs")
    if "Our dogs" in desk.shown(""):
        raise FaultError("the folder that was made is still there")


def trash(desk: Desk) -> None:
    """Put a link into the trash: it is made again, and that is said once."""
    _deleted(desk, "Delete")


def delete(desk: Desk) -> None:
    """Delete two links for good."""
    _deleted(desk, "shift+Delete", count=2)


def delete_folder(desk: Desk) -> None:
    """Put the folder of a cluster into the trash: it is made again with its links."""
    before, corrections = desk.tree(), desk.corrections()
    with desk.windows("") as (top,):
        desk.select(top, "", desk.folders()[0])
        desk.screen.press("Delete")
        desk.answer("Confirm", "Return")
        desk.see(lambda: desk.folders() != sorted(before), "the folder going")
        desk.at_rest()
        desk.see(lambda: desk.tree() == before, "the tree as before")
    if desk.corrections() != corrections:
        raise FaultError("there are other corrections than before")


def drag_out(desk: Desk) -> None:
    """Drag a link out of the link folder, into the home: it is made again."""
    source, home = desk.folders()[0], desk.screen.home / "Elsewhere"
    home.mkdir()
    before, corrections, name = desk.tree(), desk.corrections(), desk.photos(source)[0]
    with desk.windows(source) as (here,):
        there = desk.open(home, _WINDOWS[1])
        start = desk.select(here, source, name)
        desk.screen.drag(start, desk.ground(there))
        desk.see(lambda: os.listdir(home) == [name], "the link in the home")
        desk.see(lambda: desk.tree() == before, "the tree as before")
        desk.at_rest()
        desk.screen.activate(there)
        desk.screen.press("ctrl+w")
    if desk.corrections() != corrections:
        raise FaultError("there are other corrections than before")


def folder_in_folder(desk: Desk) -> None:
    """Drag the folder of a cluster into that of another, by mistake: it is made again."""
    source, target = desk.folders()[:2]
    before, corrections = desk.tree(), desk.corrections()
    with desk.windows("", target) as (top, there):
        start = desk.select(top, "", source)
        desk.screen.drag(start, desk.ground(there))
        desk.see(lambda: source in desk.shown(target), "the folder in the folder")
        desk.at_rest(foreign=1)
        if desk.tree() != before | {target: desk.shown(target)}:
            raise FaultError(f"the tree is {desk.tree()}")
    if desk.corrections() != corrections:
        raise FaultError("there are other corrections than before")
    shutil.rmtree(desk.links / target / source)


def overwrite(desk: Desk) -> None:
    """Drag a link on one of the same name and have it overwritten: both images have a link."""
    source, target = (one for one in desk.folders() if _LAKES in desk.shown(one))
    count = sum(map(len, desk.tree().values()))
    with desk.windows(source, target) as (here, there):
        start = desk.select(here, source, _LAKES)
        desk.screen.drag(start, desk.ground(there))
        desk.answer("Confirm.*", "alt+o")
        said = Said("in", _LAKES, desk.cluster(target))
        desk.see(lambda: said in desk.corrections(), f"the correction {said}")
        desk.at_rest()
    if sum(map(len, desk.tree().values())) != count:
        raise FaultError(f"the tree is {desk.tree()}")


def same_name(desk: Desk) -> None:
    """Drag a link where one of the same name is, and give it another name."""
    source, target = (one for one in desk.folders() if _ZOOS in desk.shown(one))
    with desk.windows(source, target) as (here, there):
        start = desk.select(here, source, _ZOOS)
        desk.screen.drag(start, desk.ground(there))
        desk.answer("Confirm.*", "alt+r", text="another.jpg")
        said = Said("in", _ZOOS, desk.cluster(target))
        desk.see(lambda: said in desk.corrections(), f"the correction {said}")
        desk.at_rest()
    if len([one for one in desk.shown(target) if one.startswith(("zoo", "another"))]) != 2:
        raise FaultError(f"in the folder are {desk.shown(target)}")


STEPS = (
    *(same_name, overwrite, drag_one, drag_several, drag_on_a_folder, cut_and_paste),
    *(copy_and_paste, rename_folder, new_folder, trash, delete, delete_folder),
    *(drag_out, folder_in_folder),
)


def _stays(desk: Desk, names: list[str], folder: str) -> None:
    wanted = {Said("in", name, desk.cluster(folder)) for name in names}
    desk.see(lambda: wanted <= desk.corrections(), f"the corrections {wanted}")
    desk.at_rest()
    tree = desk.tree()
    for name in names:
        where = [one for one, entries in tree.items() if name in entries]
        if where != [folder]:
            raise FaultError(f"{name} is in {where}, not in {folder}")


def _numbers(said: str) -> int:
    """Of how many links was said that they were deleted."""
    found = re.findall(r"(\d+) links? (?:was|were) deleted in the link folder", said)
    return sum(map(int, found))


def _deleted(desk: Desk, key: str, *, count: int = 1) -> None:
    source = desk.folders()[0]
    names = desk.photos(source)[:count]
    before, corrections, _ = desk.tree(), desk.corrections(), desk.said()
    with desk.windows(source) as (here,):
        desk.select(here, source, *names)
        desk.screen.press(key)
        desk.answer("Confirm", "Return")
        said = ""

        def told() -> bool:
            nonlocal said
            said += desk.said()
            return _numbers(said) >= count  # a sync between two of them says it of each

        try:
            desk.see(told, "a line that says that links were deleted")
        except FaultError as error:
            raise FaultError(f"{error}; the watcher said: {said or 'nothing'}") from None
        desk.at_rest()
    if (desk.tree(), desk.corrections()) != (before, corrections):
        raise FaultError("the tree or the corrections are not as before")
    if _numbers(said + desk.said()) != count:
        raise FaultError(f"not said once of each: {said}")


def prepare(top: Path) -> Path:
    """Photos, some of them of the same name."""
    photos = top / "photos"
    (photos / "1").mkdir(parents=True)
    (photos / "2").mkdir()
    chosen = sorted(PHOTOS.iterdir())[:100:4]
    for photo in chosen[4:]:
        shutil.copy(photo, photos)
    names = ((folder, name) for folder in ("1", "2") for name in (_LAKES, _ZOOS))
    for photo, (folder, name) in zip(chosen, names, strict=False):
        with Image.open(photo) as opened:
            opened.convert("RGB").save(photos / folder / name, quality=90)
    return photos


def run(top: Path, steps: Sequence[Callable[[Desk], None]], *, mode: str, out: Path | None) -> int:
    """Do the steps in one link mode; returns how many failed."""
    index, log = top / "index", top / "watch.log"
    environment = os.environ | {
        "IMGCLUST_EMBEDDING_WEIGHTS": "trunk",
        "IMGCLUST_INDEX": str(index),
        "PYTHONPATH": str(CHECKOUT),
    }

    def imgclust(*words: str) -> str:
        done = subprocess.run(
            [*_COMMAND, *words], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise FaultError(f"imgclust {words[0]}: {done.stderr.strip()}")
        return done.stdout

    imgclust("watch", str(prepare(top)), "--once", "--link-mode", mode)
    imgclust("cluster", "-k", "4", "-y")
    (top / "screen").mkdir()
    failed = 0
    with (
        Collection.open(index) as collection,
        screen(top / "screen") as shown,
        log.open("wb") as written,
    ):
        settings = shown.home / ".config" / MANAGER / "default"
        settings.mkdir(parents=True)
        (settings / f"{MANAGER}.conf").write_text("[ui]\nview_mode=compact\n")
        desk = Desk(shown, collection, log, out)
        _apart(desk)
        command = [*_COMMAND, "watch", "-v"]
        watcher = subprocess.Popen(command, env=environment, stdout=written, stderr=written)
        try:
            wait(lambda: collection.status().watching, "a watcher", seconds=60)
            desk.open(desk.links, _TOP)
            for step in steps:
                failed += not _done(desk, step, mode)
        finally:
            watcher.send_signal(signal.SIGINT)
            watcher.wait(60)
        print(imgclust("clusters", "corrections"), imgclust("clusters"), sep="\n")
        corrections = desk.corrections()
        for seed in range(3):
            collection.cluster(k=6, seed=seed, fresh=True)
        wrong = [check.sentence for check in collection.doctor().checks if not check.ok]
        if desk.corrections() != corrections:
            wrong.append("other corrections than before the clusters were made again")
        for what in wrong:
            failed += 1
            print(f"FAILED  {mode}: {what}")
    return failed


def _apart(desk: Desk) -> None:
    """Have files of one name in different clusters."""
    clusters = [*desk.names()]
    members = [
        (cluster, member)
        for cluster in clusters
        for member in desk.collection.cluster_details(cluster).members
    ]
    for name in (_LAKES, _ZOOS):
        (first, _), (second, image) = (
            (cluster, one.id) for cluster, one in members if one.path.endswith(os.fsencode(name))
        )
        if first == second:
            other = next(one for one in clusters if one != first)
            desk.collection.corrections.move([image], to=other)


def _done(desk: Desk, step: Callable[[Desk], None], mode: str) -> bool:
    title = (step.__doc__ or "").rstrip(".")
    desk.step = f"{mode}-{STEPS.index(step) + 1:02d}-{step.__name__}"
    try:
        step(desk)
    except (FaultError, TimeoutError) as error:
        print(f"FAILED  {mode}: {title}\n        {error}")
        return False
    print(f"ok      {mode}: {title}")
    return True


def main() -> None:
    """Do all steps, in the modes that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", action="append", choices=MODES, help="again for more")
    parser.add_argument("--step", action="append", choices=[one.__name__ for one in STEPS])
    parser.add_argument("--out", type=Path, help="a folder for pictures of the screen")
    given = parser.parse_args()
    lacking = absent([*PROGRAMS, MANAGER])
    if lacking:
        raise SystemExit(f"not installed: {', '.join(lacking)}")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    steps = [one for one in STEPS if not given.step or one.__name__ in given.step]
    failed = 0
    for mode in given.mode or MODES:
        with tempfile.TemporaryDirectory(prefix="file-manager-") as top:
            failed += run(Path(top), steps, mode=mode, out=given.out)
    if failed:
        raise SystemExit(f"{failed} failed")


if __name__ == "__main__":
    main()
