"""What is left out: system folders and patterns, in scans, events and `add`, and what was in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imgclust.collection import images
from imgclust.config import Watch
from imgclust.errors import NothingThereError, UsageError
from imgclust.watcher.exclusion import Exclusion, path_pattern
from imgclust.watcher.watcher import scan
from tests.command_line import Run
from tests.conftest import Open, inside, write_picture

PATTERNS = (
    ["*.png"],
    ["cache/"],
    ["/top"],
    ["a/**/b"],
    ["*", "!*/", "!*.jpg"],
    ["foo/*", "!foo/keep", "foo/keep/x?"],
    ["[ab]*.jpg", "!b.jpg"],
    ["d/e", "!d/e/f"],
    ["IMG[!0-9]*"],
    ["/IMG[^x]*"],
    ["[!a]*.jpg", "![b-z]*"],
    ["IMG[+-9]*"],
    ["d[+-9]e"],
    ["[]a].jpg", "[^]a].jpg"],
)
PATHS = (
    *("x.png", "x.jpg", "a.jpg", "b.jpg", "top", "d/top", "cache", "d/cache/x.jpg", "d/cache/y/z"),
    *("a/b", "a/x/b", "a/x/y/b/c.jpg", "foo/x", "foo/keep/xy", "foo/keep/z.jpg", "d/e/f", "d/f"),
    *("IMG/one.jpg", "IMG/1/two.jpg", "IMGx.jpg", "IMG1.jpg", "d/IMGy.jpg", "].jpg", "IMG+.jpg"),
    *("a/x.png/c.jpg", "\u00e9.png", "a b/c.png", "foo/keep/d/x.png"),
)


def files(root: Path, *patterns: str) -> set[str]:
    """The files that a scan of `root` yields, by their path below it."""
    top = os.fsencode(root)
    excluded = Exclusion(patterns=patterns).below(top)
    found = scan(top, excluded=excluded, trouble=lambda *_: pytest.fail("cannot be read"))
    return {os.fsdecode(path[len(top) + 1 :]) for path, _ in found}


@pytest.mark.parametrize("patterns", PATTERNS, ids=" ".join)
def test_patterns_mean_what_git_says(patterns: list[str], tmp_path: Path) -> None:
    there = [path for path in PATHS if not any(o.startswith(f"{path}/") for o in PATHS)]
    for path in there:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(patterns) + "\n")
    listed = subprocess.run(
        ["git", "ls-files", "-oz", "--exclude-standard"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    ).stdout
    wanted = {os.fsdecode(path) for path in listed.split(b"\0")} - {"", ".gitignore"}
    assert files(tmp_path, *patterns) == wanted
    exclusion, top = Exclusion(patterns=patterns), os.fsencode(tmp_path)
    by_event = {p for p in there if not exclusion.covers(top, top + b"/" + os.fsencode(p))}
    assert by_event == wanted


@pytest.mark.parametrize("name", [b"x\n", b"\nx", b"a\nb", b"\xff\xfe", b"\r", b"a\\b", b" x "])
def test_patterns_work_on_names_of_any_bytes(name: bytes) -> None:
    """A name ends at its end, and a line break is a letter like another."""
    exclusion = Exclusion(patterns=["*.jpg", "out/", "?.gif"])
    assert exclusion.covers(b"/r", b"/r/" + name + b".jpg")
    assert exclusion.covers(b"/r", b"/r/out/" + name)
    assert not exclusion.covers(b"/r", b"/r/x.jpg" + name)
    assert not exclusion.covers(b"/r", b"/r/" + name)
    assert exclusion.covers(b"/r", b"/r/\n.gif")


@pytest.mark.parametrize("name", ["drop[!0-9]*", "drop[.-0]*", "[a-z]rop[^x]"])
def test_no_class_of_a_pattern_names_what_is_in_a_folder(name: str) -> None:
    matches = path_pattern(f"/top/{name}")
    assert not matches(b"/top/drop/one.jpg")
    assert matches(b"/top/dropped.jpg") == (name == "drop[!0-9]*")


def test_a_class_with_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"write \[0-9\]"):
        Exclusion(patterns=["x[[:digit:]]"])


@pytest.mark.parametrize(
    "pattern",
    ["", "#recycle", "!", "[z", "/", "\\", "//", "!/", "!//", "a//b", "a//", "./a", "a/..", "!."],
)
def test_a_pattern_that_matches_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="matches nothing"):
        Exclusion(patterns=[pattern])


@pytest.mark.parametrize(
    "folder",
    [
        *("#recycle", "@Recycle", "$Recycle.Bin", "$RECYCLE.BIN", ".Trash-1000", ".Trashes"),
        *("lost+found", "System Volume Information", "@eaDir", "~snapshot", "#snapshot"),
        *("__MACOSX", ".snapshot", "@Recently-Snapshot", "RECYCLER"),
    ],
)
def test_trash_and_system_folders_are_left_out_at_any_depth(folder: str, tmp_path: Path) -> None:
    for path in (f"{folder}/x.jpg", f"a/b/{folder}/c/x.jpg", f"x{folder[1:]}/y.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "a" / f"{folder}.jpg").touch()
    found = files(tmp_path)
    assert f"x{folder[1:]}/y.jpg" in found
    assert not any(folder in path.split("/") for path in found)


def test_a_setting_lists_the_folders() -> None:
    assert "#recycle" in Watch().exclude_folders
    assert not Exclusion(()).covers(b"/r", b"/r/#recycle/x.jpg")


def test_a_photo_in_the_trash_has_left_the_collection(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    trash = drop / "#recycle" / "sub"
    trash.mkdir(parents=True)
    (drop / "picture-00.png").rename(trash / "picture-00.png")
    result = collection.watch(once=True)
    assert (result.seen, result.missing, result.excluded) == (23, 1, 0)
    for _ in range(2):
        collection.watch(once=True)
    assert collection.status().images == 23
    (trash / "picture-00.png").rename(drop / "picture-00.png")
    assert collection.watch(once=True).seen == 24


def test_patterns_are_kept_and_what_was_in_leaves_only_when_asked(
    open_collection: Open, drop: Path
) -> None:
    for number in range(3):
        write_picture(drop / "cache" / f"{number}.png", 100 + number)
    collection = open_collection()
    said: list[str] = []

    def emit(event: object) -> None:
        said.append(str(getattr(event, "sentence", "")))

    assert collection.watch([drop], once=True).ingested == 27
    result = collection.watch(once=True, exclude=["cache/"], emit=emit)
    assert (result.excluded, collection.status().images) == (3, 27)
    assert any("3 images are in places that" in sentence for sentence in said)
    collection.close()
    again = open_collection()  # another run, without the option
    write_picture(drop / "cache" / "new.png", 110)
    assert again.watch(once=True).ingested == 0
    assert [os.path.basename(row.path) for row in again.excluded()] == [
        b"0.png",
        b"1.png",
        b"2.png",
    ]
    result = again.watch(once=True, remove_excluded=True)
    assert (result.excluded, result.taken_out) == (0, 3)
    assert again.status().images == 24
    # Left out is not removed: without the pattern they come in again.
    assert again.watch(once=True, exclude_fresh=True).seen == 28
    assert again.status().images == 28


def test_what_waits_or_is_quarantined_leaves_too(open_collection: Open, drop: Path) -> None:
    (drop / "cache").mkdir()
    (drop / "cache" / "bad.jpg").write_text("no picture")
    (drop / "cache" / "text.txt").write_text("no picture")
    collection = open_collection()
    collection.watch([drop], once=True)
    assert len(collection.quarantine()) == 1
    result = collection.watch(once=True, exclude=["cache/"])
    assert (collection.quarantine(), result.seen) == ((), 24)
    assert collection.status().skipped == {}


def test_a_configuration_that_says_otherwise_is_said(open_collection: Open, drop: Path) -> None:
    open_collection(flags={"watch.exclude": ["*.gif"]}).watch([drop], once=True)
    said: list[str] = []
    other = open_collection(flags={"watch.exclude": ["picture-1*"]})
    other.watch(once=True, emit=lambda event: said.append(event.sentence))
    assert "patterns: picture-1* left out now; *.gif not left out any more" in said
    assert open_collection().settings.watch.exclude == ("picture-1*",)


def test_add_of_a_folder_leaves_out_the_same(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    for name in ("sub/a.png", "sub/cache/b.png", "sub/@eaDir/c.png", "cache/d.png", "x/a.png"):
        write_picture(drop / name, len(name) + ord(name[-5]))
    collection = open_collection()
    collection.watch([drop], once=True, exclude=["/sub/cache", "/a.png", "/cache/"])
    assert collection.status().images == 2
    assert collection.add([drop / "sub"]).ingested == 0  # patterns count from the watched folder
    assert collection.add([drop / "cache" / "d.png"]).ingested == 1  # a person names it
    outside = tmp_path / "outside"
    write_picture(outside / "a.png", 7)
    write_picture(outside / "sub" / "a.png", 8)
    assert collection.add([outside]).ingested == 1  # they count from the folder that is named


def test_the_command_line_asks_before_excluded_images_leave(run: Run, drop: Path) -> None:
    run("watch", str(drop), "--once", "-q")
    assert run("watch", "--remove-excluded").code == 2
    assert run("watch", "--once", "--exclude", "#x").code == 2
    refused = run("watch", "--once", "--exclude", "picture-0*", "--remove-excluded")
    assert refused.code == 2
    assert "10 images would leave the collection; pass -y" in refused.err
    done = run("watch", "--once", "--exclude", "picture-0*", "--remove-excluded", "-y", "--json")
    assert (done.code, done.document["excluded"], done.document["taken_out"]) == (0, 0, 10)
    assert run("status", "--json").document["images"] == 14
    said = run("watch", "--once", "--exclude", "picture-1*", "--remove-excluded", "-y").out
    assert "10 images taken out, in places that are left out; the files stay" in said


def test_remove_takes_ids_folders_and_patterns(open_collection: Open, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    names = ["a.png", "b/1.png", "b/2.png", "c/.h/x[1].png", "c/x1.png", "c/d/y_thumb.png", "z.png"]
    for seed, name in enumerate(names):
        write_picture(drop / name, seed)
    collection = open_collection()
    for name in names:
        collection.add([drop / name])

    def left() -> list[str]:
        top = len(os.fsencode(drop)) + 1
        return sorted(
            os.fsdecode(image.path[top:]) for image in inside(collection).catalog.images.all()
        )

    first = inside(collection).catalog.images.at(os.fsencode(drop / "a.png"))
    assert first is not None
    with pytest.raises(NothingThereError, match="nothing\\.png"):
        collection.remove_all([first.id, drop / "b", drop / "nothing.png"])
    assert left() == sorted(names)
    assert len(collection.remove_all([first.id, drop / "b"], dry_run=True)) == 3
    collection.remove_all([first.id, drop / "b", drop / "a.png"])
    assert left() == sorted(names[3:])
    collection.remove_all([drop / "c" / ".h" / "x[1].png"])  # the name, not the pattern
    assert left() == ["c/d/y_thumb.png", "c/x1.png", "z.png"]
    collection.remove_all([f"{drop}/**/*_thumb.png", f"{drop}/c/x?.png"])
    assert left() == ["z.png"]


def test_an_image_that_moves_while_a_folder_is_removed_stays(
    open_collection: Open, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    for name in ("out/a.png", "out/b.png"):
        write_picture(drop / name, len(name) + ord(name[4]))
    collection = open_collection()
    collection.watch([drop], once=True)
    context = inside(collection)
    found = images.chosen(context, [str(drop / "out")])
    (drop / "out" / "a.png").rename(drop / "a.png")
    collection.watch(once=True)
    removed, _ = images.take_out(context, found, copies=False)
    assert [one.path for one in removed] == [os.fsencode(drop / "out" / "b.png")]
    assert [one.path for one in context.catalog.images.all()] == [os.fsencode(drop / "a.png")]
