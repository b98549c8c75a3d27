"""The watcher, with real inotify: every change is reported, and blindness does not last."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgclust import fs
from imgclust.watcher import watcher as watcher_module
from imgclust.watcher.exclusion import Exclusion
from imgclust.watcher.watcher import Watcher, scan, watch_limits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux")

PATIENCE_S = 20.0


class Seen:
    """What a watcher said, and a way to wait for it."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self.troubles: list[tuple[str, str]] = []
        self._news = threading.Condition()

    def path(self, path: bytes) -> None:
        with self._news:
            self.paths.append(path)
            self._news.notify_all()

    def trouble(self, code: str, sentence: str) -> None:
        with self._news:
            self.troubles.append((code, sentence))
            self._news.notify_all()

    def codes(self) -> list[str]:
        return [code for code, _ in self.troubles]

    def wait(self, until: Callable[[], bool]) -> bool:
        with self._news:
            return self._news.wait_for(until, timeout=PATIENCE_S)

    def wait_until(self, what: Callable[[], bool]) -> bool:
        """Look again and again; for what no callback tells."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if what():
                return True
            time.sleep(0.01)
        return False

    def wait_for(self, *paths: Path | bytes) -> None:
        wanted = {os.fsencode(path) for path in paths}
        assert self.wait(lambda: wanted <= set(self.paths)), wanted - set(self.paths)

    def forget(self) -> None:
        with self._news:
            self.paths.clear()


class Bench:
    """A folder, watchers on it, and what they said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen = Seen()
        self.watchers: list[Watcher] = []

    def watcher(self, *roots: Path, **options: Any) -> Watcher:
        made = Watcher(
            [os.fsencode(root) for root in roots or (self.root,)],
            self.seen.path,
            on_trouble=self.seen.trouble,
            **options,
        )
        self.watchers.append(made)
        made.start()
        return made

    def scanning(self) -> bool:
        """Whether the newest watcher scans; a call, so that no type checker takes it as lasting."""
        return self.watchers[-1].scanning

    def settle(self, folder: Path | None = None) -> None:
        """Return when the events up to now are through: events come in order."""
        marker = (folder or self.root) / f"marker-{len(self.seen.paths)}-{time.monotonic_ns()}"
        marker.touch()
        self.seen.wait_for(marker)
        marker.unlink()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    root = tmp_path / "root"
    root.mkdir()
    before = set(threading.enumerate())
    made = Bench(root)
    yield made
    for watcher in made.watchers:
        watcher.stop()
    assert set(threading.enumerate()) <= before


# --- events -----------------------------------------------------------------------------------


def test_made_changed_moved_and_deleted_files(bench: Bench) -> None:
    watcher = bench.watcher()
    assert not bench.scanning()
    first, second = bench.root / "a.jpg", bench.root / "b.jpg"
    first.write_bytes(b"one")
    bench.seen.wait_for(first)
    bench.settle()
    bench.seen.forget()
    with first.open("ab") as file:
        file.write(b"two")
    bench.seen.wait_for(first)
    first.rename(second)
    bench.seen.wait_for(first, second)
    bench.settle()
    bench.seen.forget()
    second.chmod(0o600)
    bench.seen.wait_for(second)
    bench.settle()
    bench.seen.forget()
    second.unlink()
    bench.seen.wait_for(second)
    assert bench.seen.troubles == []
    assert not watcher.overflowed()


def test_moves_in_and_out_of_the_root(bench: Bench, tmp_path: Path) -> None:
    bench.watcher()
    (tmp_path / "outside.jpg").touch()
    inside = bench.root / "inside.jpg"
    (tmp_path / "outside.jpg").rename(inside)
    bench.seen.wait_for(inside)
    bench.seen.forget()
    inside.rename(tmp_path / "out.jpg")
    bench.seen.wait_for(inside)


def test_a_tree_moved_in_moved_about_and_out(bench: Bench, tmp_path: Path) -> None:
    bench.watcher()
    tree = tmp_path / "tree"
    (tree / "deep" / "deeper").mkdir(parents=True)
    names = ["1.jpg", "deep/2.jpg", "deep/deeper/3.jpg"]
    for name in names:
        (tree / name).touch()
    here = bench.root / "here"
    tree.rename(here)
    bench.seen.wait_for(*(here / name for name in names))
    late = here / "deep" / "deeper" / "late.jpg"
    late.touch()
    bench.seen.wait_for(late)
    there = bench.root / "there"
    here.rename(there)
    bench.seen.wait_for(here, *(there / name for name in names))
    bench.seen.forget()
    (there / "deep" / "later.jpg").touch()
    bench.seen.wait_for(there / "deep" / "later.jpg")
    there.rename(tree)
    bench.seen.wait_for(there)


def test_folders_made_and_filled_at_once(bench: Bench) -> None:
    bench.watcher()
    expected = []
    for number in range(40):
        folder = bench.root / f"{number}" / "a" / "b"
        folder.mkdir(parents=True)
        for path in (folder / "x.jpg", folder.parent / "y.jpg", folder.parent.parent / "z.jpg"):
            path.touch()
            expected.append(path)
    bench.seen.wait_for(*expected)


def test_a_deleted_folder_is_reported_itself(bench: Bench) -> None:
    folder = bench.root / "folder"
    folder.mkdir()
    (folder / "x.jpg").touch()
    bench.watcher()
    (folder / "x.jpg").unlink()
    folder.rmdir()
    bench.seen.wait_for(folder, folder / "x.jpg")


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"new\nline.jpg", b"\xff\xfe", "日本.png".encode(), b"x" * 255]
)
def test_every_name_survives(bench: Bench, name: bytes) -> None:
    root = os.fsencode(bench.root)
    folder = os.path.join(root, b"f\xe9")
    os.mkdir(folder)
    bench.watcher(Path(os.fsdecode(folder)))
    path = os.path.join(folder, name)
    with open(path, "wb"):
        pass
    bench.seen.wait_for(path)
    assert [found for found, _ in scan(root, trouble=fail)] == [path]


def test_excluded_and_skipped_paths_are_not_reported(bench: Bench) -> None:
    ours = bench.root / "ours"
    watcher = bench.watcher(skip=[os.fsencode(ours)])
    for name in (".hidden.jpg", "x.part", "x.jpg~", ".git/x.jpg", "@eaDir/y/x.jpg", "ours/z.jpg"):
        (bench.root / name).parent.mkdir(parents=True, exist_ok=True)
        (bench.root / name).touch()
    finished = bench.root / "x.jpg"
    (bench.root / "x.part").rename(finished)
    bench.seen.wait_for(finished)
    bench.settle()
    reported = {path for path in bench.seen.paths if b"marker" not in path}
    assert reported == {os.fsencode(finished)}
    assert not watcher.overflowed()


def test_links_are_not_followed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (bench.root / "link").symlink_to(outside)
    (bench.root / "loop").symlink_to(bench.root)
    bench.watcher()
    (outside / "x.jpg").touch()
    (bench.root / "loop" / "seen-once.jpg").touch()
    bench.settle()
    assert not any(b"x.jpg" in path or b"loop" in path for path in bench.seen.paths)


def test_our_own_reads_are_no_work(bench: Bench) -> None:
    picture = bench.root / "x.jpg"
    picture.write_bytes(b"content")
    watcher = bench.watcher()
    picture.read_bytes()
    list(scan(os.fsencode(bench.root), trouble=fail))
    watcher.check()
    bench.settle()
    assert {path for path in bench.seen.paths if b"marker" not in path} == set()


def test_all_roots_are_watched_until_the_stop(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    watcher = bench.watcher(bench.root, other)
    (bench.root / "x.jpg").touch()
    (other / "x.jpg").touch()
    bench.seen.wait_for(bench.root / "x.jpg", other / "x.jpg")
    watcher.stop()
    watcher.stop()
    bench.seen.forget()
    (other / "y.jpg").touch()
    bench.watcher()
    bench.settle()
    assert os.fsencode(other / "y.jpg") not in bench.seen.paths


# --- what goes wrong --------------------------------------------------------------------------


def test_a_real_overflow_is_noticed_and_survived(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgclust.watcher.inotify import Reader

    limit = watch_limits().queued_events
    if limit is None or limit > 100_000:
        pytest.skip(f"the event queue holds {limit} events")
    gate = threading.Event()
    real = Reader.read_events

    def waiting(self: Any, **options: Any) -> Any:
        events = real(self, **options)
        assert gate.wait(PATIENCE_S)
        return events

    monkeypatch.setattr(Reader, "read_events", waiting)
    pictures = [bench.root / "a.jpg", bench.root / "b.jpg"]
    for picture in pictures:
        picture.touch()
    watcher = bench.watcher()
    for _ in range(limit // 2 + 2000):  # by turns: equal events in a row become one
        for picture in pictures:
            os.utime(picture)
    assert not watcher.overflowed()
    gate.set()
    assert bench.seen.wait(lambda: "overflow" in bench.seen.codes())
    assert watcher.overflowed()
    assert not watcher.overflowed()
    (bench.root / "after.jpg").touch()
    bench.seen.wait_for(bench.root / "after.jpg")
    watcher.check()
    assert not bench.scanning()
    assert bench.seen.codes() == ["overflow"]


def test_a_root_renamed_away_and_made_again(bench: Bench, tmp_path: Path) -> None:
    (bench.root / "x.jpg").touch()
    watcher = bench.watcher()
    bench.root.rename(tmp_path / "old")
    bench.root.mkdir()
    watcher.check()
    assert not bench.scanning()
    (bench.root / "y.jpg").touch()
    bench.seen.wait_for(bench.root / "y.jpg")
    bench.seen.forget()
    (tmp_path / "old" / "z.jpg").touch()
    bench.settle()
    assert not any(b"z.jpg" in path for path in bench.seen.paths)


def test_a_root_deleted_and_made_again(bench: Bench) -> None:
    watcher = bench.watcher()
    for turn in range(2):
        bench.root.rmdir()
        watcher.check()
        watcher.check()
        assert bench.scanning()
        assert bench.seen.codes() == ["root"] * (turn + 1)  # once for each time it is gone
        bench.root.mkdir()
        watcher.check()
        assert not bench.scanning()
        (bench.root / "x.jpg").touch()
        bench.seen.wait_for(bench.root / "x.jpg")
        bench.seen.forget()
        (bench.root / "x.jpg").unlink()
        bench.seen.wait_for(bench.root / "x.jpg")
    assert os.fsencode(bench.root) not in bench.seen.paths


def test_an_absent_root_is_watched_once_it_is_there(bench: Bench, tmp_path: Path) -> None:
    late = tmp_path / "late"
    watcher = bench.watcher(bench.root, late)
    assert bench.scanning()
    late.mkdir()
    watcher.check()
    assert not bench.scanning()
    (late / "x.jpg").touch()
    bench.seen.wait_for(late / "x.jpg")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_file_system_unmounted_and_mounted_again(bench: Bench) -> None:
    def mount() -> None:
        subprocess.run(["mount", "-t", "tmpfs", "none", bench.root], check=True)

    if subprocess.run(["mount", "-t", "tmpfs", "none", bench.root], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        watcher = bench.watcher(proof_s=60.0)  # device and inode come again, and no file is there
        subprocess.run(["umount", bench.root], check=True)
        mount()
        assert bench.seen.wait_until(watcher.overflowed)
        watcher.check()
        assert not bench.scanning()
        (bench.root / "z.jpg").touch()
        bench.seen.wait_for(bench.root / "z.jpg")
    finally:
        subprocess.run(["umount", bench.root], check=True)


@pytest.mark.parametrize("which", ["observer", "reader", "emitter"])
def test_a_thread_that_ended_is_started_again(bench: Bench, which: str) -> None:
    (bench.root / "known.jpg").touch()
    watcher = bench.watcher()
    observer: Any = watcher._observer
    thread = {
        "observer": observer,
        "reader": observer.reader,
        "emitter": next(iter(observer.emitters)),
    }[which]
    if which == "observer":  # without its own clean-up, as an exception would end it
        thread._stopped_event.set()
        observer.event_queue.put(observer.stop_event)
    else:
        thread.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    watcher.check()
    assert not bench.scanning()
    (bench.root / "x.jpg").touch()
    bench.seen.wait_for(bench.root / "x.jpg")
    assert bench.seen.codes() == ([] if which == "emitter" else ["dead"])


def test_a_blind_observer_is_replaced(bench: Bench) -> None:
    (bench.root / "known.jpg").touch()
    watcher = bench.watcher(proof_s=0.3)
    observer: Any = watcher._observer
    from watchdog.observers.inotify_c import inotify_rm_watch

    for descriptor in list(observer.reader._watch_for_wd):
        inotify_rm_watch(observer.reader._inotify_fd, descriptor)
    watcher.check()
    assert watcher._observer is not observer
    assert not bench.scanning()
    (bench.root / "x.jpg").touch()
    bench.seen.wait_for(bench.root / "x.jpg")
    assert bench.seen.troubles == []


def test_where_no_event_ever_comes_the_scan_is_the_watch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgclust.watcher.inotify import Reader

    (bench.root / "known.jpg").touch()
    monkeypatch.setattr(Reader, "handle_event", lambda self, event: None)
    watcher = bench.watcher(proof_s=0.1)
    for _ in range(2):
        watcher.check()
        assert bench.scanning()
        assert not watcher.overflowed()  # or scan would follow scan
    assert bench.seen.codes() == ["blind"]
    monkeypatch.undo()
    watcher.check()
    assert not bench.scanning()


def test_an_empty_root_needs_no_proof(bench: Bench) -> None:
    watcher = bench.watcher(proof_s=0.0)
    watcher.check()
    assert not bench.scanning()


def limited_to(
    monkeypatch: pytest.MonkeyPatch, folders: int, error: int, *, but: bytes = b""
) -> None:
    """Let inotify refuse every watch after the first few, of the folder `but` none."""
    from watchdog.observers import inotify_c

    real = inotify_c.inotify_add_watch
    granted = [0]

    def add(descriptor: int, path: bytes, mask: int) -> int:
        granted[0] += path != but
        if granted[0] > folders and path != but:
            ctypes.set_errno(error)
            return -1
        return int(real(descriptor, path, mask))

    monkeypatch.setattr(inotify_c, "inotify_add_watch", add)


@pytest.mark.parametrize("granted", [0, 1, 3])
def test_an_exhausted_watch_limit_means_scanning(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granted: int
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    for number in range(5):
        (bench.root / f"{number}").mkdir()
    limited_to(monkeypatch, granted, errno.ENOSPC, but=os.fsencode(small))
    watcher = bench.watcher(bench.root, small)
    assert bench.scanning()
    watcher.check()
    assert bench.scanning()
    assert bench.seen.codes() == ["limit"]
    assert "max_user_watches" in bench.seen.troubles[0][1]
    (small / "x.jpg").touch()  # the other root is watched as before
    bench.seen.wait_for(small / "x.jpg")


def test_a_limit_reached_later_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = bench.watcher()
    limited_to(monkeypatch, 0, errno.ENOSPC)
    (bench.root / "new").mkdir()
    bench.settle()
    assert watcher.overflowed()
    watcher.check()
    assert bench.scanning()
    assert bench.seen.codes() == ["limit"]


def test_no_inotify_instance_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from watchdog.observers import inotify_c

    def refused() -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    monkeypatch.setattr(inotify_c, "inotify_init", refused)
    watcher = bench.watcher()
    watcher.check()
    assert bench.scanning()
    assert bench.seen.codes() == ["limit"]


def test_the_real_watch_limit(tmp_path: Path) -> None:
    """In a user namespace of its own, so that nobody else's watches are touched."""
    for number in range(8):
        (tmp_path / f"{number}").mkdir()
    program = (
        "import os, sys; from imgclust.watcher.watcher import Watcher\n"
        "codes = []\n"
        "watcher = Watcher([os.fsencode(sys.argv[1])], print,"
        " on_trouble=lambda code, sentence: codes.append(code))\n"
        "watcher.start(); assert watcher.scanning; watcher.stop(); print(codes)"
    )
    script = 'echo 3 >/proc/sys/user/max_inotify_watches || exit 77; exec "$@"'
    apart = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    try:
        done = subprocess.run(
            [*apart, sys.executable, "-c", program, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[1],
        )
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("user namespaces are not allowed here")
    assert (done.returncode, done.stdout) == (0, "['limit']\n"), done.stderr


def test_a_folder_without_permission_leaves_the_rest_watched(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from watchdog.observers import inotify_c

    for name in ("locked", "locked-too", "open"):
        (bench.root / name).mkdir()
    real = inotify_c.inotify_add_watch

    def add(descriptor: int, path: bytes, mask: int) -> int:
        if b"locked" in path:
            ctypes.set_errno(errno.EACCES)
            return -1
        return int(real(descriptor, path, mask))

    monkeypatch.setattr(inotify_c, "inotify_add_watch", add)
    bench.watcher()
    assert not bench.scanning()
    (bench.root / "open" / "x.jpg").touch()
    bench.seen.wait_for(bench.root / "open" / "x.jpg")
    assert bench.seen.troubles == []


def test_polling_and_network_folders_have_no_observer(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    polling = bench.watcher(polling=True)
    polling.check()
    assert polling.scanning
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(fs, "_MOUNTS", mounts)
    mounts.write_text(f"1 0 0:1 / {bench.root} rw - nfs4 server:/export rw\n")
    remote = bench.watcher()
    remote.check()
    assert remote.scanning
    assert threading.active_count() == before
    assert bench.seen.codes() == ["network"]


def test_watchdog_itself_stays_silent(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.watcher().stop()
    assert logging.getLogger("watchdog").hasHandlers()
    assert capfd.readouterr() == ("", "")


# --- scanning ---------------------------------------------------------------------------------


def fail(path: bytes, error: OSError) -> None:
    raise AssertionError((path, error))


def test_scan_yields_regular_files_in_order(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a.jpg", "b/1.jpg", "b/c/3", ".h/4.jpg", "@eaDir/5.jpg", "ours/6.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.jpg").mkdir()
    root = os.fsencode(tmp_path)
    found = dict(scan(root, skip=[root + b"/ours"], trouble=fail))
    assert [path[len(root) + 1 :] for path in found] == [b"a.jpg", b"b/1.jpg", b"b/2.jpg", b"b/c/3"]
    assert found[root + b"/b/c/3"].st_size == 5
    everything = list(scan(root, excluded=lambda path, folder: False, trouble=fail))
    assert len(everything) == 7


def test_scan_says_what_it_could_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("locked", "open", "vanished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").touch()
    real = os.scandir
    errors = {"locked": errno.EACCES, "vanished": errno.ENOENT}

    def refusing(path: bytes) -> Any:
        code = errors.get(os.fsdecode(os.path.basename(path)))
        if code:
            raise OSError(code, os.strerror(code))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    troubles: list[bytes] = []
    root = os.fsencode(tmp_path)
    found = [path for path, _ in scan(root, trouble=lambda path, _: troubles.append(path))]
    assert found == [root + b"/open/x.jpg"]
    assert troubles == [root + b"/locked"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_scan_of_a_really_locked_folder(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    troubles: list[bytes] = []
    list(scan(os.fsencode(tmp_path), trouble=lambda path, _: troubles.append(path)))
    assert troubles == [os.fsencode(tmp_path / "locked")]


def test_scan_of_an_absent_root_is_trouble(tmp_path: Path) -> None:
    troubles: list[bytes] = []
    absent = os.fsencode(tmp_path / "absent")
    assert list(scan(absent, trouble=lambda path, _: troubles.append(path))) == []
    assert troubles == [absent]


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        (b"/a/b.jpg", False),
        (b"/.a/b.jpg", False),
        (b"/a/.b.jpg", True),
        (b"/a/b.jpg.part", True),
        (b"/a/B.CRDOWNLOAD", True),
        (b"/a/b.tmp", True),
        (b"/a/b.filepart", True),
        (b"/a/b.jpg~", True),
        (b"/a/part", False),
    ],
)
def test_excluded_names(path: bytes, excluded: bool) -> None:
    assert Exclusion((), ()).leaves_out(b"/", path, False) is excluded


def test_watch_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = watch_limits()
    assert limits.watches is not None
    assert limits.watches > 0
    monkeypatch.setattr(watcher_module, "_LIMITS", tmp_path)
    (tmp_path / "max_queued_events").write_text("16384\n")
    assert (watch_limits().queued_events, watch_limits().watches) == (16384, None)


def test_importing_the_watcher_does_not_load_watchdog() -> None:
    program = "import sys, imgclust.watcher; sys.exit('watchdog' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])
