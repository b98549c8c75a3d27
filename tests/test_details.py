"""When and by what a picture was taken, what is damaged about it, and images chosen by that."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgclust.collection import Collection, Selection
from imgclust.errors import UsageError
from imgclust.images.decoder import Picture, decode
from imgclust.images.headers import read_origin
from tests import ingest_world, pictures
from tests.command_line import Run
from tests.conftest import Open
from tests.ingest_world import World

MAKE, MODEL, EXIF, TAKEN, DIGITISED, OFFSET = 0x010F, 0x0110, 0x8769, 0x9003, 0x9004, 0x9011


def described(
    kind: str = "JPEG",
    seed: int = 1,
    *,
    taken: Any = None,
    offset: Any = None,
    make: Any = None,
    model: Any = None,
    digitised: Any = None,
) -> bytes:
    """A picture with EXIF data."""
    exif = Image.Exif()
    for tag, value in ((MAKE, make), (MODEL, model)):
        if value is not None:
            exif[tag] = value
    inner = exif.get_ifd(EXIF)
    for tag, value in ((TAKEN, taken), (OFFSET, offset), (DIGITISED, digitised)):
        if value is not None:
            inner[tag] = value
    return pictures.encoded(pictures.photo(64, 48, seed), kind, exif=exif.tobytes())


def origin(content: bytes, suffix: str = ".jpg") -> tuple[str | None, str | None]:
    picture = decode(content, suffix=suffix)
    assert isinstance(picture, Picture), picture
    return picture.origin.taken, picture.origin.camera


def tiff(tags: dict[int, str], *, big: bool = False) -> bytes:
    """A TIFF file of texts alone, as the blocks of a CR3 are."""
    order, mark = (">", b"MM") if big else ("<", b"II")
    texts, entries = b"", b""
    start = 8 + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        text = value.encode() + b"\0"
        entries += struct.pack(f"{order}HHII", tag, 2, len(text), start + len(texts))
        texts += text + b"\0" * (len(text) % 2)
    head = mark + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(tags))
    return head + entries + bytes(4) + texts


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    """A box of an ISO base media file, with its size in 4 bytes or in 8 more."""
    if large:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8, kind) + content


def cr3(*, big: bool = False, large: bool = False) -> bytes:
    """The boxes of a Canon CR3 that say when and by what it was taken, and some others."""
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    blocks = box(b"CNCV", b"CanonCR3_001/00.09.00/00.00.00")
    blocks += box(b"CMT1", tiff({MAKE: "Canon", MODEL: "Canon EOS R5 mark"}, big=big))
    blocks += box(
        b"CMT2", tiff({TAKEN: "2021:07:04 05:06:07", OFFSET: "+02:00"}, big=big), large=large
    )
    blocks += box(b"CMT3", tiff({6: "makernotes"}, big=big))
    moov = box(b"uuid", bytes(16) + b"xyz") + box(b"uuid", canon + blocks) + box(b"mvhd", bytes(99))
    head = box(b"ftyp", b"crx \0\0\0\1crx isom")
    return head + box(b"moov", moov, large=large) + box(b"mdat", bytes(500))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_time_and_camera_of_a_cr3(big: bool, large: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.CR3"
    path.write_bytes(cr3(big=big, large=large))
    found = read_origin(os.fsencode(path))
    assert found is not None
    assert (found.taken, found.camera) == ("2021-07-04T05:06:07+02:00", "Canon EOS R5 mark")


def test_no_damage_of_a_cr3_is_more_than_a_missing_date(tmp_path: Path) -> None:
    whole, path = cr3(), tmp_path / "a.cr3"
    given = random.Random(0)
    for length in range(24, len(whole), 7):
        path.write_bytes(whole[:length])
        assert read_origin(os.fsencode(path)) is not None
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[given.randrange(len(damaged) - 500)] = given.randrange(256)
        path.write_bytes(bytes(damaged))
        assert read_origin(os.fsencode(path)) is not None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_time_and_camera_of_every_kind(kind: str, tmp_path: Path) -> None:
    content = described(
        kind, taken="2024:05:31 18:30:15", offset="+02:00", make="Canon", model="Canon EOS 5D"
    )
    assert origin(content) == ("2024-05-31T18:30:15+02:00", "Canon EOS 5D")
    path = tmp_path / "x"
    path.write_bytes(content)
    found = read_origin(os.fsencode(path))
    assert found is not None
    assert (found.taken, found.camera) == ("2024-05-31T18:30:15+02:00", "Canon EOS 5D")


@pytest.mark.parametrize(
    ("taken", "offset", "wanted"),
    [
        ("2024:05:31 18:30:15", None, "2024-05-31T18:30:15"),
        ("2024:05:31 18:30:15", "-0330", "2024-05-31T18:30:15-03:30"),
        ("2024:05:31 18:30:15", "Z", "2024-05-31T18:30:15+00:00"),
        ("2024:05:31 18:30:15", "+99:00", "2024-05-31T18:30:15"),
        ("2024-05-31T18:30", None, "2024-05-31T18:30:00"),
        ("2024:02:30 10:00:00", None, None),
        ("2024:05:31 24:61:00", None, None),
        ("0000:00:00 00:00:00", None, None),
        ("9999:01:01 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("\u0662\u0660\u0662\u0664:05:31 18:30:15", None, None),
        ("", None, None),
    ],
)
def test_times_as_cameras_write_them(taken: str, offset: str | None, wanted: str | None) -> None:
    assert origin(described(taken=taken, offset=offset))[0] == wanted


@pytest.mark.parametrize(
    ("make", "model", "wanted"),
    [
        ("NIKON CORPORATION", "NIKON D80", "NIKON D80"),
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("SONY  ", " ILCE-7\0garbage", "SONY ILCE-7"),
        ("Leica", None, "Leica"),
        (None, "X100", "X100"),
        ("a\nb\tc", "\x1b[31m", "a b c [31m"),
        ("x" * 20_000, "y" * 20_000, "x" * 80),
        ("\0\0", "  ", None),
    ],
)
def test_cameras(make: str | None, model: str | None, wanted: str | None) -> None:
    found = origin(described(make=make, model=model))[1]
    assert found == wanted


def garbage() -> Iterator[bytes]:
    """Pictures whose EXIF data are garbage of all kinds."""
    good = described(taken="2024:05:31 18:30:15", make="Canon", model="Canon EOS 5D")
    start = good.index(b"Exif\0\0")
    generator = np.random.default_rng(3)
    for _ in range(300):
        content = bytearray(good)
        for _ in range(int(generator.integers(1, 12))):
            content[start + 6 + int(generator.integers(0, 100))] = int(generator.integers(0, 256))
        yield bytes(content)
    for value in (b"\xff" * 40, (1, 2), 2**31, 1.5, b"", "\ud800"):
        try:
            yield described(taken=value, make=value, model=value)
        except Exception:  # this cannot be written
            continue


def test_no_garbage_in_exif_costs_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    for content in garbage():
        taken, camera = origin(content)
        for text in (taken, camera):
            assert text is None or (len(text) <= 81 and text.encode() is not None)
        path.write_bytes(content)
        assert read_origin(os.fsencode(path)) is not None


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from ingest_world.opened(tmp_path, monkeypatch)


def facts(world: World, path: Path) -> Any:
    image = world.image(path)
    return world.catalog.details.of_images([image.id])[image.id]


def test_details_are_stored_with_the_image_and_leave_with_it(world: World) -> None:
    path = world.write("a.jpg", described(taken="2024:05:31 18:30:15", model="X100"))
    plain = world.write("b.jpg", described(seed=2))
    os.utime(plain, ns=(10**18, 10**18))
    for content in garbage():
        world.write("garbage.jpg", content)
    world.once()
    found = facts(world, path)
    assert (found.taken, found.taken_from, found.camera) == ("2024-05-31T18:30:15", "exif", "X100")
    assert facts(world, plain).taken_from == "file"
    assert facts(world, plain).taken[:4] == "2001"
    world.write("a.jpg", described(taken="2020:01:01 00:00:00", seed=3))
    world.once()
    assert facts(world, path).taken == "2020-01-01T00:00:00"
    assert list(world.catalog.details.lacking(after=-1, limit=9)) == []


def forget_details(world: World) -> None:
    """As a catalog of before is after its upgrade."""
    with world.catalog.transaction():
        world.catalog._connection.execute("DELETE FROM details")


@pytest.mark.parametrize("how", ["once", "watch"])
def test_older_images_get_theirs_without_embedding_again(world: World, how: str) -> None:
    path = world.write("a.jpg", described(taken="2024:05:31 18:30:15", model="X100"))
    world.pictures(5)
    world.once()
    calls = world.embedded
    forget_details(world)
    gone = world.image(world.drop / "000.png")
    if how == "once":
        (world.drop / "000.png").unlink()
        world.once()
    else:
        world.events.lost = True
        scans: list[str] = []

        def enough(event: Any) -> bool:
            scans.append(event.kind)
            if scans.count("scanned") < 3:
                world.events.lost = True
            return scans.count("scanned") >= 3

        world.watch(enough)
    assert facts(world, path).taken == "2024-05-31T18:30:15"
    assert world.embedded == calls
    lacking = world.catalog.details.lacking(after=-1, limit=9)
    assert lacking == ([gone.content] if how == "once" else [])  # its file is not there


def test_a_run_that_is_cut_off_goes_on_the_next_time(world: World) -> None:
    from imgclust.ingest.upkeep import DetailReader

    world.pictures(200)
    world.once()
    forget_details(world)
    DetailReader(world.catalog, world.disk).advance(budget_s=1e-9)
    left = len(world.catalog.details.lacking(after=-1, limit=999))
    assert left == 200 - 64
    reader = DetailReader(world.catalog, world.disk)
    while reader.advance(budget_s=1e-9):
        pass
    assert world.catalog.details.lacking(after=-1, limit=999) == []


# Choosing


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [
        ("2024", None, ["may", "june", "june late"]),
        ("2024-06", None, ["june", "june late"]),
        ("2024-06-30", "2024-06-30", ["june late"]),
        (None, "2024-05", ["old", "may"]),
        (None, "2024-06-30T23", ["old", "may", "june", "june late"]),
        ("2024-06-30T23:30", None, ["june late"]),
        ("2024-06-30 23:31", None, []),
    ],
)
def test_dates_take_all_of_what_they_name(
    since: str | None, until: str | None, wanted: list[str]
) -> None:
    from imgclust.catalog.details import Facts

    rows = {
        "old": Facts("1999-12-31T23:59:59", "file"),
        "may": Facts("2024-05-31T23:59:59+02:00", "exif", "Canon EOS 5D"),
        "june": Facts("2024-06-01T00:00:00", "exif"),
        "june late": Facts("2024-06-30T23:30:00-05:00", "exif"),
        "never": Facts(),
    }
    chosen = Selection(since, until)
    assert [name for name, one in rows.items() if chosen.has(one)] == wanted
    assert Selection(camera="eos").has(rows["may"])
    assert not Selection(camera="eos").has(rows["june"])


@pytest.mark.parametrize("date", ["yesterday", "2024-13", "2024-02-30", "24-05-01", "2024-5", ""])
def test_a_date_that_is_none_is_refused(date: str) -> None:
    with pytest.raises(UsageError, match="give a date"):
        Selection(since=date)
    with pytest.raises(UsageError, match="is later than"):
        Selection(since="2024-06", until="2024-05-31")


@pytest.fixture
def dated(open_collection: Open, tmp_path: Path) -> Collection:
    """Twenty-four pictures, one a month of 2023 and 2024, by two cameras; one is damaged."""
    drop = tmp_path / "drop"
    drop.mkdir()
    for number in range(24):
        year, month = 2023 + number // 12, 1 + number % 12
        model = "X100" if number % 2 else "Canon EOS 5D"
        content = described(seed=number, taken=f"{year}:{month:02d}:15 12:00:00", model=model)
        (drop / f"{year}-{month:02d}.jpg").write_bytes(content)
    spoiled = pictures.encoded(pictures.photo(640, 480, 99), "JPEG")
    at = len(spoiled) // 2
    (drop / "spoiled.jpg").write_bytes(spoiled[:at] + bytes(4096) + spoiled[at + 4096 :])
    collection = open_collection()
    collection.watch([drop], once=True)
    return collection


def names(rows: Any) -> set[str]:
    return {os.path.basename(os.fsdecode(row.path)) for row in rows}


def test_lists_take_only_the_chosen_ones(dated: Collection, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    chosen = Selection("2023-11", "2024-02", "canon")
    wanted = {"2023-11.jpg", "2024-01.jpg"}
    found = dated.query(drop / "2024-06.jpg", n=50, selection=chosen)
    assert names(found.neighbours) == wanted
    assert {row.facts.camera for row in found.neighbours} == {"Canon EOS 5D"}
    cluster = dated.clusters()[0].id
    every = dated.cluster_details(cluster).members
    some = dated.cluster_details(cluster, selection=chosen).members
    assert names(some) == wanted & names(every)
    both = dated.query(drop / "2024-06.jpg", n=50, selection=chosen, cluster=cluster)
    assert names(both.neighbours) == wanted & names(every)
    for name in ("2024-01.jpg", "2024-02.jpg", "2023-11.jpg"):
        (drop / name).unlink()
    dated.watch(once=True)
    assert names(dated.missing(selection=chosen)) == wanted
    stream = io.BytesIO()
    dated.export(stream, format="json", selection=chosen)
    images = json.loads(stream.getvalue())["images"]
    assert {os.path.basename(row["path"]) for row in images} == wanted
    assert {row["taken"] for row in images} == {"2023-11-15T12:00:00", "2024-01-15T12:00:00"}
    assert {(row["taken_from"], row["camera"]) for row in images} == {("exif", "Canon EOS 5D")}


def test_damaged_images_are_in_and_marked(dated: Collection) -> None:
    status = dated.status()
    assert (status.images, status.damaged, status.quarantined) == (25, 1, 0)
    [row] = dated.damaged()
    assert names([row]) == {"spoiled.jpg"}
    assert "damaged" in row.reason
    stream = io.BytesIO()
    dated.export(stream, format="csv")
    rows = list(csv.DictReader(io.StringIO(stream.getvalue().decode())))
    assert [os.path.basename(one["path"]) for one in rows if one["damage"]] == ["spoiled.jpg"]


def test_the_command_line_chooses_and_lists(run: Run, tmp_path: Path) -> None:
    drop = tmp_path / "photos"
    drop.mkdir()
    for number in range(4):
        content = described(seed=number, taken=f"202{number}:05:01 10:00:00", model="X100")
        (drop / f"{number}.jpg").write_bytes(content)
    run("watch", str(drop), "--once", "-q")
    found = run("query", str(drop / "0.jpg"), "--since", "2021", "--until", "2022", "--json")
    rows = found.document["neighbours"]
    assert {row["taken"] for row in rows} == {"2021-05-01T10:00:00", "2022-05-01T10:00:00"}
    assert {(row["taken_from"], row["camera"]) for row in rows} == {("exif", "X100")}
    assert run("query", str(drop / "0.jpg"), "--since", "soon").code == 2
    assert run("quarantine", "--damaged", "--json").document == {"damaged": []}
    nothing = run("export", "--format", "json", "--out", str(tmp_path / "x"), "--camera", "Leica")
    assert nothing.code == 3


def test_skipped_raw_files_name_the_package_that_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from imgclust.collection import ingest
    from imgclust.ingest.events import IngestResult

    monkeypatch.setattr(ingest, "raw_installed", lambda: False)
    numbers: Any = dict.fromkeys(
        ("ingested", "reused", "unchanged", "quarantined", "missing", "seconds"), 0
    )
    result = IngestResult(seen=4, skipped=4, suffixes={".cr2": 2, ".nef": 1, ".txt": 1}, **numbers)
    hint = '3 RAW files were skipped; pip install "imgclust[raw]" installs what reads them'
    assert ingest.raw_hint(result) == hint
    assert ingest.raw_hint(IngestResult(seen=1, skipped=1, suffixes={".txt": 1}, **numbers)) == ""
    monkeypatch.setattr(ingest, "raw_installed", lambda: True)
    assert ingest.raw_hint(result) == ""
