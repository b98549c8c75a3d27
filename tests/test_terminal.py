"""The terminal: tables of every width, and what a screen leaves away."""

from __future__ import annotations

import io
import logging
import os
import pty
import subprocess
import sys

import pytest

from imgclust.collection import (
    ClusterResult,
    Event,
    IngestResult,
    LinksResult,
    Neighbour,
    QueryResult,
)
from imgclust.terminal import clusters, ingest, query
from imgclust.terminal.screen import Forecast, Screen
from imgclust.terminal.table import (
    Column,
    PathsBelowRoots,
    below_roots,
    cells,
    shortened,
    with_name,
)
from imgclust.wording import NOTE, printable

PATHS = [
    b"/home/someone/Pictures/2023/summer holiday by the sea/IMG_0001.jpg",
    "/home/someone/Pictures/Été à la mer/IMG_0002.jpg".encode(),
    "/home/someone/写真/二〇二三年の夏/海の写真その一.jpg".encode(),
    b"/home/someone/caf\xe9/\x1b[31mred\n.jpg",
    b"/a.jpg",
]
FOUND = QueryResult(
    query="1",
    queries=("1",),
    image=1,
    neighbours=tuple(
        Neighbour(id=1000 + i, path=p, score=1 / (i + 1), cluster=i or None, name=None)
        for i, p in enumerate(PATHS)
    ),
)


# Widths


@pytest.mark.parametrize("path", [printable(path) for path in PATHS])
@pytest.mark.parametrize("width", [1, 4, 12, 20, 40, 79, 200])
def test_shortened_paths_fit(path: str, width: int) -> None:
    short = shortened(path, width)
    assert cells(short) <= width
    if cells(path) <= width:
        assert short == path
    elif width >= 12:
        assert "..." in short
        assert short.endswith(".jpg")


def test_shortened_keeps_the_name_longest() -> None:
    path = "/home/someone/Pictures/summer/IMG_0001.jpg"
    assert shortened(path, 26) == "/home/so...er/IMG_0001.jpg"
    assert shortened(path, 13) == "...G_0001.jpg"


# Screens


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    query.query(Screen(), FOUND)
    Screen().facts([("kept in", "/a very/long path/" * 10), ("", "short")])
    out = capsys.readouterr().out
    assert max(cells(line) for line in out.splitlines()) <= columns
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_table_that_is_too_wide_leaves_out_paths_or_becomes_lists(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = [Column("setting"), Column("value", "path")]
    numbered = [Column("coherence", "number"), Column("id", "number"), Column("path", "path")]
    for columns, expected in (
        (
            40,
            [
                "setting               value",
                "watch.rescan_s        300",
                "decode.memory_limit_mb  4,096",
            ],
        ),
        (24, ["setting  watch.rescan_s", "value    300", "", "setting  decode.memory_l"]),
    ):
        monkeypatch.setenv("COLUMNS", str(columns))
        Screen().table(named, [("watch.rescan_s", "300"), ("decode.memory_limit_mb", "4,096")])
        shown = capsys.readouterr().out.splitlines()
        assert [line.split() for line in shown[: len(expected)]] == [
            line.split() for line in expected
        ]
    Screen().table(numbered, [("0.913", "7", "/a/long/way/to/a/photo.jpg")])
    assert capsys.readouterr().out == "coherence  id\n    0.913   7\n"


def test_a_pipe_gets_whole_paths(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    query.query(Screen(), FOUND)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(PATHS)
    assert lines[1] == f"1.0000        -  1000  {printable(PATHS[0])}"
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("roots", "paths", "lines", "shown"),
    [
        ([b"/p"], [b"/p/a/1.jpg", b"/p/2.jpg"], ["paths below /p"], ["a/1.jpg", "2.jpg"]),
        ([b"/p", b"/q"], [b"/p/1.jpg"], ["paths below /p"], ["1.jpg"]),
        (
            [b"/p", b"/q/r"],
            [b"/p/1.jpg", b"/q/r/s/2.jpg"],
            ["p: /p", "r: /q/r"],
            ["p/1.jpg", "r/s/2.jpg"],
        ),
        (  # roots of one name: as much of them as tells them apart
            [b"/d/a/x", b"/d/b/x", b"/x"],
            [b"/d/a/x/1", b"/d/b/x/1", b"/x/1"],
            ["a/x: /d/a/x", "b/x: /d/b/x", "x: /x"],
            ["a/x/1", "b/x/1", "x/1"],
        ),
        (  # a root in a root: the inner one
            [b"/p", b"/p/in"],
            [b"/p/in/1", b"/p/inside/2"],
            ["p: /p", "in: /p/in"],
            ["in/1", "p/inside/2"],
        ),
        ([b"/p"], [b"/p/1", b"/elsewhere/2"], ["paths below /p"], ["1", "/elsewhere/2"]),
        ([b"/p"], [b"/pp/1"], [], ["/pp/1"]),
        ([b"/"], [b"/a/1"], [], ["/a/1"]),
        ([], [b"/a/1"], [], ["/a/1"]),
        ([b"/caf\xe9\n"], [b"/caf\xe9\n/\x1b1"], ["paths below /caf\\xe9\\n"], ["\\x1b1"]),
        (  # too many roots to name
            [b"/m/%d" % i for i in range(6)],
            [b"/m/%d/1" % i for i in range(6)],
            ["paths below /m"],
            [f"{i}/1" for i in range(6)],
        ),
        (
            [b"/%d" % i for i in range(6)],
            [b"/%d/1" % i for i in range(6)],
            [],
            [f"/{i}/1" for i in range(6)],
        ),
    ],
)
def test_paths_are_shown_below_their_roots(
    roots: list[bytes], paths: list[bytes], lines: list[str], shown: list[str]
) -> None:
    said, texts = below_roots(paths, roots)
    assert said == lines
    assert [texts[path] for path in paths] == shown


@pytest.mark.parametrize("width", [5, 12, 20, 40, 80])
@pytest.mark.parametrize("path", [*map(printable, PATHS), "no-folder.jpg", "a/" * 40 + "写真.jpg"])
def test_a_name_is_never_cut(path: str, width: int) -> None:
    short = with_name(path, width)
    name = path.rpartition("/")[2]
    assert short.rpartition("/")[2] == name
    assert cells(short) <= max(width, cells(name))
    assert short == path or cells(path) > width


@pytest.mark.parametrize("columns", ["36", "60", "80"])
def test_tables_hold_whole_names_whatever_the_width(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    screen = Screen()
    screen.roots = [b"/home/someone"]
    name = "a long name of a picture by the sea, the second one (copy 2).jpg"
    path = f"/home/someone/{'folder/' * 20}{name}".encode()
    screen.table([Column("n", "number"), Column("path", "path")], [("1", path)])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "paths below /home/someone"
    assert name.replace(" ", "") in "".join(out[2:]).replace(" ", "")
    assert max(map(cells, out)) <= int(columns)


def test_full_paths_are_not_below_a_root(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for full in (False, True):
        screen = Screen(full_path=full)
        screen.roots = [b"/home/someone"]
        query.query(screen, FOUND)
    below, whole = (
        capsys.readouterr().out.split("paths below /home/someone\n")[1].split("score")[1:]
    )
    assert "  Pictures/2023/summer holiday by the sea/IMG_0001.jpg" in below
    assert "/home/someone" not in below
    assert "  /home/someone/Pictures/2023/summer holiday by the sea/IMG_0001.jpg" in whole


def test_the_time_left_is_told_when_it_means_something() -> None:
    """20 s of loading, then 32 every 4 s of 1,000; while the total grows nothing is told."""
    forecast = Forecast()
    told = {}
    for now in range(60):
        done = 32 * max(0, (now - 20) // 4 + 1)
        forecast.see(float(now), done, 1000 if now < 50 else 1000 + now)
        told[now] = forecast.left_s(float(now))
    assert {told[now] for now in range(28)} == {None}
    assert told[28] == (1000 - 3 * 32) / 8
    assert told[48] == pytest.approx((1000 - 8 * 32) / 8, rel=0.1)
    assert {told[now] for now in range(50, 60)} == {None}


def test_a_step_that_begins_again_is_forecast_again() -> None:
    forecast = Forecast()
    for now in range(10):
        forecast.see(float(now), now, 100)
    assert forecast.rate(9.0) == pytest.approx(1.0)
    forecast.see(10.0, 0, 100)
    assert forecast.left_s(10.0) is None


def test_quiet_says_results_and_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=True)
    screen.summary("summary")
    screen.note("note")
    screen.outcome("outcome")
    screen.line("result")
    screen.error("wrong")
    assert capsys.readouterr() == ("result\n", "imgclust: wrong\n")


def test_no_bar_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().progress("ingesting", 3, 10)
    assert capsys.readouterr() == ("", "")


def test_markup_in_names_stays(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.line("[bold]x[/bold] :smile:")
    screen.error("[red]y[/red]")
    assert capsys.readouterr() == ("[bold]x[/bold] :smile:\n", "imgclust: [red]y[/red]\n")


def test_log_records_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("imgclust.somewhere")
    with Screen().logging(logging.WARNING):
        log.warning("beware\nof %s", "this")
        log.info("not shown")
    log.warning("not shown either")
    assert capsys.readouterr().err == "imgclust: warning: beware of this\n"


def test_what_a_service_says_in_passing_is_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("imgclust.server.site")
    with Screen().logging(NOTE):
        log.log(NOTE, "trying %s, once", "this")
        log.warning("beware")
    with Screen(quiet=True).logging(NOTE):
        log.log(NOTE, "not shown")
    assert capsys.readouterr().err == "trying this, once\nimgclust: warning: beware\n"
    assert logging.getLevelName(NOTE) == "NOTE"


@pytest.mark.parametrize(("answer", "yes"), [("y", True), ("YES", True), ("n", False), ("", False)])
def test_questions(answer: str, yes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer + "\n" if answer else ""))
    assert Screen().ask("Go on?") is yes


def test_a_terminal_gets_a_bar_and_colours_that_no_color_takes_away() -> None:
    code = (
        "from imgclust.terminal import stdio; from imgclust.terminal.screen import Screen\n"
        "stdio.adapt(json=False)\n"
        "screen = Screen()\n"
        "screen.progress('ingesting', 3, 10)\n"
        "screen.line('a line above it')\n"
        "screen.progress('ingesting', 10, 10)\n"
        "screen.error('wrong')\n"
    )
    shown = _on_a_terminal(code, {})
    assert "ingesting" in shown
    assert "3/10" in shown
    assert "a line above it" in shown
    assert "\x1b[31mimgclust: wrong" in shown
    assert "\x1b[31m" not in _on_a_terminal(code, {"NO_COLOR": "1"})
    plain = _on_a_terminal(code, {"LC_ALL": "C"})
    assert plain.isascii()


def _on_a_terminal(code: str, environment: dict[str, str]) -> str:
    """What the code writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "LC_ALL"}}
    done = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**kept, "TERM": "xterm", "COLUMNS": "80", "LANG": "C.UTF-8", **environment},
    )
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    assert done.wait() == 0
    return shown.decode()


# Results


def test_the_summary_of_a_pass(capsys: pytest.CaptureFixture[str]) -> None:
    result = IngestResult(
        seen=300,
        ingested=290,
        reused=3,
        unchanged=0,
        skipped=4,
        quarantined=3,
        missing=0,
        seconds=62.0,
        held=((b"/gone", "3 of 4 images vanished at once"), (b"/away", "the folder is gone")),
        offline=((b"/away", 1200),),
        suggestions=("do this",),
        suffixes={".mov": 3, ".xmp": 1},
    )
    ingest.ingested(Screen(), result)
    assert capsys.readouterr().out.splitlines() == [
        "300 files: 290 ingested, 3 reused, 4 skipped (3 .mov, 1 .xmp), 3 quarantined; 1 min 02 s",
        "see why some could not be read: imgclust quarantine",
        "held: /gone: 3 of 4 images vanished at once; bring them back, or remove them with "
        "imgclust missing accept",
        "/away is offline: 1,200 images kept",
        "do this",
    ]


def test_events_of_a_watcher(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    ingest.event(screen, Event("ingested", "embedded", b"/a.jpg", 1, 7))
    ingest.event(screen, Event("quarantined", "the file is empty", b"/b.jpg"))
    ingest.event(screen, Event("clustered", "5 clusters"))
    assert capsys.readouterr().out.splitlines() == [
        "ingested    /a.jpg -> cluster 7",
        "quarantined /b.jpg: the file is empty",
        "clustered   5 clusters",
    ]
    ingest.remark(screen, Event("ingested", "embedded", b"/a.jpg", 1, 7))
    ingest.remark(screen, Event("trouble", "cannot be read", b"/c"))
    assert capsys.readouterr() == ("", "/c: cannot be read\n")


def test_what_became_of_clusters(capsys: pytest.CaptureFixture[str]) -> None:
    result = ClusterResult(
        clustering=3,
        k=4,
        chosen_by="user",
        sentence="k = 4 as asked",
        space="pca",
        inertia=12.3456,
        sizes={1: 5, 2: 9, 6: 7, 7: 1},
        kept=({"id": 1, "images": 5, "jaccard": 1.0},),
        split=({"from": 3, "into": [6, 7]},),
        merged=({"from": [4, 5], "into": 2},),
        new=(6, 7),
        gone=({"id": 3, "name": "cats"}, {"id": 4, "name": None}),
        moved=8,
        provisional=False,
        notes=("a note",),
    )
    clusters.clustered(Screen(), result, first=False)
    assert capsys.readouterr().out.splitlines() == [
        "k = 4 as asked",
        "space pca, inertia 12.35; sizes 1 to 9, median 7",
        "kept: 1",
        "split: 3 into 6, 7",
        "merged: 4, 5 into 2",
        "new: 6, 7",
        "gone: 3 cats, 4",
        "8 images are in another cluster than before",
        "a note",
    ]
    clusters.clustered(Screen(), result, first=True)
    assert "kept" not in capsys.readouterr().out


def test_links_that_are_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    found = LinksResult(
        links=3, created=0, removed=0, missing=1, stale=0, foreign=(b"001/mine.txt",)
    )
    clusters.links_check(Screen(), found)
    assert capsys.readouterr().out.splitlines() == [
        "out of step: 1 missing, 0 stale, 3 right; imgclust links updates them",
        "1 entry is not ours, left alone:",
        "  001/mine.txt",
    ]


@pytest.mark.parametrize(
    ("roots", "path", "line", "shown"),
    [
        ([b"/a/b"], b"/a/b/c/d.jpg", "paths below /a/b", "c/d.jpg"),
        ([b"/a/b", b"/a/b/c"], b"/a/b/c/d.jpg", "c: /a/b/c", "c/d.jpg"),
        ([b"/one/pics", b"/two/pics"], b"/two/pics/d.jpg", "two/pics: /two/pics", "two/pics/d.jpg"),
        ([b"/a/b"], b"/a/bc/d.jpg", None, "/a/bc/d.jpg"),
        ([b"/"], b"/d.jpg", None, "/d.jpg"),
        ([], b"/d.jpg", None, "/d.jpg"),
    ],
)
def test_a_path_alone_is_below_its_root_which_is_named_once(
    roots: list[bytes], path: bytes, line: str | None, shown: str
) -> None:
    paths = PathsBelowRoots(roots)
    assert paths.shown(path) == ([] if line is None else [line], shown)
    assert paths.shown(path) == ([], shown)


def test_events_show_paths_below_their_roots(capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        Event("ingested", "embedded", b"/a/one/1.jpg", 1, 7),
        Event("ingested", "embedded", b"/a/one/x/2.jpg"),
        Event("quarantined", "it is damaged", b"/b/3.jpg"),
    ]
    for full, expected in (
        (
            False,
            [
                "one: /a/one",
                "ingested    one/1.jpg -> cluster 7",
                "ingested    one/x/2.jpg",
                "b: /b",
                "quarantined b/3.jpg: it is damaged",
            ],
        ),
        (
            True,
            [
                "ingested    /a/one/1.jpg -> cluster 7",
                "ingested    /a/one/x/2.jpg",
                "quarantined /b/3.jpg: it is damaged",
            ],
        ),
    ):
        screen = Screen(full_path=full)
        screen.roots = [b"/a/one", b"/b"]
        for one in events:
            ingest.event(screen, one)
        assert capsys.readouterr().out.splitlines() == expected
