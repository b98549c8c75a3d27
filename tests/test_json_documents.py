"""Every JSON document of the command line: its keys, types and values, its order and exit code.

`golden/json-documents.json` has them. Sentences for people are left out of it, as are times,
durations and sizes of files. Keys may be added, never changed or removed: after an addition
`pytest tests/test_json_documents.py --rewrite-golden` writes the file again, to be read in a diff.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import imgclust.collection
from imgclust.cli import watch_output
from imgclust.collection import Event, MissingImage, MovedRoot, Removed, RootRow
from imgclust.collection.json_documents import document, dumps
from imgclust.errors import StoppedError, WeightsError
from imgclust.ingest import loop, pipeline
from imgclust.locks import FileLock
from tests.command_line import Run, runner
from tests.conftest import write_picture
from tests.test_every_command import commands

GOLDEN = Path(__file__).parent / "golden" / "json-documents.json"

# In this order, each with --json, in a folder with `drop`, `more` and some odd files.
CALLS = """
status
status --collection a/b
status --collection=
status --index=
status --config nosuch
status --config wrong.toml
status --config broken.toml
wach
collections
collections list
config show
config show --changed
config
watch nowhere
watch more/later.bmp
watch --once
watch --once drop --settle-s -1
watch --once drop --recluster-every weekly
watch --once drop --log-file drop/watch.log
watch --once drop --no-cluster
watch --once drop --hours 22:00-06:00
watch drop --hours 22
watch drop --exec no-such-program
pause
watch --once drop
resume
resume
status
clusters
clusters show 1
clusters history
clusters history 1
cluster --undo
watch --once
status
config show --changed
quarantine
quarantine retry
quarantine retry drop/broken.jpg
quarantine retry drop/picture-00.bmp
add more
add nowhere
add
missing
missing accept
query 3 -n 4
query 3 5 -n 3
query drop/picture-04.bmp -n 3
query drop/picture-04.bmp -n 3 --region 0,0,0.5,1
query 3 -n 3 --cluster 1
query 3 --min-score 1
query 3 -n 2 --sheet similar.png
query 999
query 3 --cluster 999
query 3 -n 0
query 3 --region 1,2
query 3 5 --region 0,0,1,1
query 3 -f
query nowhere.jpg
query drop/notes.xmp
query
duplicates
duplicates --similar
duplicates --min-score 0.5
duplicates -f --similar
duplicates dismiss 4 5
duplicates dismiss 4 5 --undo
duplicates dismiss 4 999
duplicates dismiss 4
sweep --k-max 6
sweep --k-max 4 --space embedding
sweep --k-min 9 --k-max 3
cluster -k 4 --dry-run
cluster -k 4
cluster -k auto
cluster -k 3 --space embedding
cluster --undo
cluster --finer
cluster --coarser
cluster --fresh -k 4
cluster --finer -k 3
cluster --undo
cluster --undo
cluster --undo
cluster -k 0
cluster -k many
cluster --undo -k 3
cluster --dry-run --pca-dims 3
clusters
clusters show 1
clusters show 2 --sheet two.png
clusters show 999
clusters show seven
clusters name 1 "red things"
clusters name 999 nothing
clusters split 1 -k 2 --dry-run
clusters split 1 -k 2
clusters split 999
clusters merge 2 3 --dry-run
clusters merge 2 3
clusters merge 2
clusters merge 2 999
clusters history
clusters history 1
clusters history 999
cluster -k 500
cluster --undo
view
view --method pca --dims 3 --out map.png
view --method pca --refit
view --out map.gif
view --dims 4
links
links --check
links --dry-run
links --outliers
links --folder {id:04d}
links --folder {what}
links --check --dry-run
links --link-mode x
report
report --out report.html
report --out drop/report.html
export --format csv --out images.csv
export --format csv --out images.csv --embeddings
export --format csv --out -
export --format csv
export --format excel --out images.csv
export --format csv --out drop/images.csv
clusters move 3 --to 1 --dry-run
clusters move 3 --to 1
clusters move 999 --to 1
clusters move 3 --to 999
clusters exclude 3 --from 1
clusters exclude 4 --from 1
clusters new cats 5 6
clusters new cats 7
clusters new 7 7
clusters together 8 9 --dry-run
clusters together 8
clusters apart 8 9 --dry-run
clusters review -n 0
clusters corrections
clusters corrections --remove 1
clusters corrections --remove 1
clusters corrections --ended
clusters corrections --remove 2 --ended
clusters show 1
cluster -k 3 --dry-run
doctor
doctor --repair
roots
roots list
roots move nowhere drop
roots move drop nowhere
roots move drop drop
roots remove nowhere
roots remove drop --remove-images
roots remove drop --dry-run
serve --watch nowhere
serve --port 99999999
backup kept.imgclust
backup kept.imgclust
backup drop
restore kept.imgclust
restore kept.imgclust --collection twin --dry-run
restore kept.imgclust --collection twin
restore wrong.npz --collection third
restore nowhere.imgclust
remove 3 --dry-run
remove 3
remove 3 -y
remove 999 -y
status
missing
missing accept --dry-run
missing accept -y
reembed --dry-run
reembed
reembed -y
reembed --raw --dry-run
reembed --raw -y
weights
weights list
weights verify trunk.npz
weights verify wrong.npz
weights verify nowhere.npz
weights download
collections create other
collections create other
collections create a/b
collections
collections rename other third
collections rename other fourth
collections rename third default
collections delete third --dry-run
collections delete third
collections delete third -y
collections delete default --dry-run
collections delete default -y
collections
""".strip().splitlines()

# Values that people read, and those that no two runs share.
PROSE = {"message", "words", "suggestion", "trouble", "reason", "held"}
TIMES = {"taken", "time", "published", "created", "since", "scanned", "made", "ended"}
DURATIONS = {"seconds"}
# Of files that imgclust writes: wording and blocks of the disk change them.
SIZED = {"report", "roots", "made"}


class Recorder:
    """Runs command lines in a folder, and keeps what each left, without what is not compared."""

    def __init__(self, run: Run, top: Path) -> None:
        self._run = run
        self._top = os.fsencode(os.path.realpath(top)).decode()
        self.records: list[dict[str, Any]] = []

    def call(self, call: str, *, note: str = "", lines: bool = False) -> list[Any]:
        """Run one and keep it; its documents."""
        said = self._run(*shlex.split(call), "--json")
        texts = said.out.splitlines()
        assert lines or len(texts) == 1, (call, said.out)
        documents = [json.loads(text) for text in texts]
        shown = [self._stable(document) for document in documents]
        if lines:
            shown = [one for one in shown if one["event"] != "scanned"]
            shown.sort(key=lambda one: (one["event"] == "clustered", one["path"] or ""))
        self.records.append({"call": call + note, "code": said.code, "documents": shown})
        return documents

    def _stable(self, value: Any, key: str = "", beside: frozenset[str] = frozenset()) -> Any:
        if isinstance(value, dict):
            keys = frozenset(value)
            return {name: self._stable(one, name, keys) for name, one in value.items()}
        if isinstance(value, list):
            return [self._stable(one, key) for one in value]
        if isinstance(value, str):
            if key in PROSE:
                return "<text>" if value else ""
            if key in TIMES:
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", value)
                return "<time>"
            if key == "sha256" and "made" in beside:  # of a file that holds the time
                assert re.fullmatch("[0-9a-f]{64}", value)
                return "<digest>"
            if key == "path_bytes":
                inside = base64.b64decode(value).replace(os.fsencode(self._top), b"<top>")
                return base64.b64encode(inside).decode()
            return value.replace(self._top, "<top>").replace(str(CHECKOUT), "<checkout>")
        if isinstance(value, float):
            assert key not in DURATIONS or value >= 0
            # Beyond that, rounding on other processors shows.
            return 0.5 if key in DURATIONS else round(value, 4)
        if (key == "bytes" and beside & SIZED) or (key == "device" and value is not None):
            assert isinstance(value, int)
            return 1
        return value


CHECKOUT = Path(__file__).parents[1]


def one_at_a_time(*arguments: Any, **options: Any) -> pipeline.Pipeline:
    """A pipeline that takes a file when the one before it is committed."""
    return pipeline.Pipeline(*arguments, **{**options, "capacity": 1})


def record(
    top: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """What all calls leave, in a folder made for them."""
    for number in range(24):
        write_picture(top / "drop" / f"picture-{number:02d}.bmp", number, hue=number % 3)
    drop = top / "drop"
    shutil.copy(drop / "picture-00.bmp", drop / "same.bmp")
    write_picture(Path(os.fsdecode(os.fsencode(drop) + b"/bad\xff.bmp")), 41)
    (drop / "notes.xmp").write_text("no picture")
    (drop / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    write_picture(top / "more" / "later.bmp", 42)
    write_picture(top / "live" / "first.bmp", 50)
    (top / "live" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    (top / "live" / "notes.xmp").write_text("no picture")
    shutil.copy(CHECKOUT / "imgclust" / "trunk" / "trunk.npz", top / "trunk.npz")
    (top / "wrong.npz").write_bytes(b"wrong")
    (top / "wrong.toml").write_text("[watch]\nsettel_s = 2\n")
    (top / "broken.toml").write_text("[watch\n")
    patch.chdir(top)
    patch.setenv("HOME", str(top))
    patch.setenv("TZ", "UTC")
    # Images get their ids in the order of their names, however busy the machine is.
    patch.setattr(loop, "Pipeline", one_at_a_time)
    run = runner(top, capsys, patch)
    recorder = Recorder(run, top)
    for call in CALLS:
        if call == "weights download":
            _downloads(recorder, patch)
        else:
            recorder.call(call)
    _watch(recorder, patch)
    _locked(recorder, top)
    _gone(recorder, top)
    _faults(recorder, patch)
    return recorder.records


def _downloads(recorder: Recorder, patch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the network: one that brings a file, one that refuses."""
    verified = imgclust.collection.verify_weights(Path("trunk.npz"))

    def refuse(**_: object) -> None:
        raise WeightsError("refused")

    with patch.context() as inner:
        inner.setattr(imgclust.collection, "download_weights", lambda **_: verified)
        recorder.call("weights download")
        inner.setattr(imgclust.collection, "download_weights", refuse)
        recorder.call("weights download", note=" (refused)")


def _watch(recorder: Recorder, patch: pytest.MonkeyPatch) -> None:
    """The event lines of a watcher: the first pass, clusters, changes, a return."""
    heard = watch_output.Listener.__call__
    expected: Counter[str] = Counter()

    def hear(self: watch_output.Listener, event: Event) -> None:
        heard(self, event)
        expected[event.kind] -= 1
        if all(count <= 0 for count in expected.values()):
            self._call.stop.set()

    def watch(note: str, *options: str, **kinds: int) -> None:
        expected.clear()
        expected.update(kinds)
        alarm = threading.Timer(60, os.kill, (os.getpid(), signal.SIGTERM))
        alarm.start()
        recorder.call(
            shlex.join(["watch", "live", "--collection", "live", *options]),
            note=f" ({note})",
            lines=True,
        )
        alarm.cancel()

    live = Path("live")
    with patch.context() as inner:
        inner.setattr(watch_output.Listener, "__call__", hear)
        watch("the first pass", "--no-cluster", ingested=1, quarantined=1, skipped=1)
        for number in range(51, 74):
            write_picture(live / f"more-{number}.bmp", number, hue=number % 3)
        watch("the first clusters", ingested=23, clustered=1)
        os.rename(live / "first.bmp", live / "moved.bmp")
        shutil.copy(live / "more-51.bmp", live / "more-51-again.bmp")
        write_picture(live / "more-52.bmp", 90)
        (live / "more-53.bmp").unlink()
        os.utime(live / "more-54.bmp", (1, 1))
        watch("changes", "--no-cluster", moved=1, reused=1, replaced=1, missing=1, touched=1)
        (live / "more-51-again.bmp").unlink()
        write_picture(live / "more-53.bmp", 53, hue=53 % 3)
        watch("a return", "--no-cluster", missing=1, touched=1)
    recorder.call("status --collection live")
    recorder.call("watch --once --collection live")


def _locked(recorder: Recorder, top: Path) -> None:
    folder = top / "index" / "live"
    with FileLock(folder / "ingest.lock", purpose="ingesting into"):
        for call in (
            "watch --once --collection live",
            "collections",
            "collections rename live dead",
            "collections delete live -y",
            "status --collection live",
        ):
            recorder.call(call, note=" (while a watcher runs)")
    with FileLock(folder / "clustering.lock", purpose="clustering"):
        for call in ("cluster --collection live", "clusters split 1 --collection live"):
            recorder.call(call, note=" (while another clusters)")


def _gone(recorder: Recorder, top: Path) -> None:
    for path in sorted((top / "live").glob("more-*")):
        path.unlink()
    for call in ("watch --once", "missing", "missing accept --dry-run", "status", "doctor"):
        recorder.call(f"{call} --collection live", note=" (half of it gone)")
    recorder.call("missing accept -y --collection live", note=" (half of it gone)")
    shutil.rmtree(top / "live")
    recorder.call("watch --once --collection live", note=" (root gone)")
    recorder.call("status --collection live", note=" (root gone)")
    recorder.call("collections delete live -y")


def _faults(recorder: Recorder, patch: pytest.MonkeyPatch) -> None:
    for error in (
        ZeroDivisionError("by chance"),
        OSError(28, "No space left on device", "/nowhere"),
        KeyboardInterrupt(),
        StoppedError("stopped"),
    ):

        def fail(error: BaseException = error) -> None:
            raise error

        with patch.context() as inner:
            inner.setattr(imgclust.collection, "list_weights", fail)
            recorder.call("weights", note=f" ({type(error).__name__})")


def differences(expected: Any, found: Any, place: str = "") -> Iterator[str]:
    """What differs, place by place: keys and their order, types, values."""
    if type(expected) is not type(found):
        yield f"{place}: {expected!r} became {found!r}"
    elif isinstance(expected, dict):
        if list(expected) != list(found):
            yield f"{place}: the keys {list(expected)} became {list(found)}"
        for key in expected.keys() & found.keys():
            yield from differences(expected[key], found[key], f"{place}.{key}")
    elif isinstance(expected, list):
        if len(expected) != len(found):
            yield f"{place}: {expected!r} became {found!r}"
        for number, pair in enumerate(zip(expected, found, strict=False)):
            yield from differences(*pair, f"{place}[{number}]")
    elif isinstance(expected, float):
        if found != pytest.approx(expected, rel=2e-3, abs=2e-3):
            yield f"{place}: {expected!r} became {found!r}"
    elif expected != found:
        yield f"{place}: {expected!r} became {found!r}"


def test_every_document(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    found = record(tmp_path, capsys, monkeypatch)
    if request.config.getoption("--rewrite-golden"):
        lines = (json.dumps(one, ensure_ascii=False) for one in found)
        GOLDEN.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")
    expected = json.loads(GOLDEN.read_text("utf-8"))
    assert [one["call"] for one in found] == [one["call"] for one in expected]
    wrong = [
        line
        for before, after in zip(expected, found, strict=True)
        for line in differences(before, after, before["call"])
    ]
    assert not wrong, "\n".join(wrong)


def test_every_command_is_among_them() -> None:
    for name in commands():
        assert any(f"{call} ".startswith(f"{name} ") for call in CALLS), name


def test_the_comparison_sees_each_kind_of_change() -> None:
    before = {"a": 1, "b": [0.5, None], "c": {"d": "x"}}
    assert not list(differences(before, {"a": 1, "b": [0.5001, None], "c": {"d": "x"}}))
    for after in (
        {"a": 1, "b": [0.5, None]},
        {"a": 1, "b": [0.5, None], "c": {"d": "x"}, "e": 1},
        {"b": [0.5, None], "a": 1, "c": {"d": "x"}},
        {"a": 1.0, "b": [0.5, None], "c": {"d": "x"}},
        {"a": True, "b": [0.5, None], "c": {"d": "x"}},
        {"a": 2, "b": [0.5, None], "c": {"d": "x"}},
        {"a": 1, "b": [0.6, None], "c": {"d": "x"}},
        {"a": 1, "b": [0.5, 0], "c": {"d": "x"}},
        {"a": 1, "b": [0.5], "c": {"d": "x"}},
        {"a": 1, "b": [0.5, None], "c": {"d": "y"}},
        {"a": 1, "b": [0.5, None], "c": {}},
    ):
        assert list(differences(before, after)), after


def test_paths_times_and_numbers_of_results() -> None:
    row = RootRow(b"/a\xff", "watched", "held", "why", 3, 1, 0.0, os.makedev(8, 1))
    assert document([row], rows="roots") == {
        "roots": [
            {
                "path": "/a\ufffd",
                "path_bytes": "L2H/",
                "kind": "watched",
                "state": "held",
                "reason": "why",
                "images": 3,
                "missing": 1,
                "scanned": "1970-01-01T00:00:00+00:00",
                "device": "8:1",
            }
        ]
    }
    moved = document(MovedRoot(b"/a\xff", b"/b", images=2))
    assert (moved["old"], moved["new"], moved["old_bytes"]) == ("/a\ufffd", "/b", "L2H/")
    assert "new_bytes" not in moved
    removed = document(Removed(1, b"/a", copies=((2, b"/a\xff"),)))
    assert removed["copies"] == [{"id": 2, "path": "/a\ufffd", "path_bytes": "L2H/"}]
    missing = MissingImage(4, b"/b", 2, None)
    assert document([missing], rows="accepted") == {"accepted": [{"id": 4, "path": "/b"}]}
    assert document([], rows="missing") == {"missing": []}
    event = document(Event("note", "words"), time=0.0)
    assert list(event)[:3] == ["event", "time", "path"]
    assert (event["time"], event["path"]) == ("1970-01-01T00:00:00+00:00", None)
    assert dumps({"a": float("inf"), "b": [float("nan"), 0.5]}) == '{"a": null, "b": [null, 0.5]}'
