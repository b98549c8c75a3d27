"""Corrections of a collection: what they survive, what they show, and wrong input."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from imgclust.collection import Collection, restore_collection
from imgclust.errors import NothingThereError, UsageError
from tests.conftest import Open, inside, write_picture
from tests.oracle import violated


@pytest.fixture
def collection(open_collection: Open, drop: Path) -> Collection:
    made = open_collection()
    made.watch([drop], once=True, cluster=False)
    made.cluster(k=3)
    return made


def cluster_of(collection: Collection, path: Path) -> int | None:
    context = inside(collection)
    image = context.catalog.images.at(os.fsencode(path))
    assert image is not None
    return context.catalog.assignments.cluster_of(context.current().id, image.content)


def elsewhere(collection: Collection, path: Path) -> int:
    """A cluster that an image is not in."""
    home = cluster_of(collection, path)
    return next(row.id for row in collection.clusters() if row.id != home)


def satisfied(collection: Collection) -> bool:
    import sqlite3

    database = sqlite3.connect(collection.folders.catalog)
    try:
        return violated(database) == []
    finally:
        database.close()


def test_a_correction_survives_rename_move_reembed_and_restore(
    collection: Collection, drop: Path, tmp_path: Path, open_collection: Open
) -> None:
    path = sorted(drop.glob("*.png"))[0]
    target = elsewhere(collection, path)
    collection.corrections.move([path], to=target)
    (drop / "sub").mkdir()
    moved = drop / "sub" / "renamed.png"
    path.rename(moved)
    collection.watch([drop], once=True, cluster=False)
    collection.cluster(k=3, fresh=True, seed=3)
    assert cluster_of(collection, moved) == target
    collection.backup(tmp_path / "kept.imgclust")
    collection.close()
    again = open_collection(
        flags={"embedding.raw": True}, changing=frozenset({"embedding.raw"}), create_for=None
    )
    again.reembed()
    assert cluster_of(again, moved) == target
    assert satisfied(again)
    again.close()
    restore_collection(tmp_path / "kept.imgclust", index=tmp_path / "other")
    copy = open_collection(index=tmp_path / "other", create_for=None)
    assert [row.cluster for row in copy.corrections.rows()] == [target]
    copy.cluster(k=4, fresh=True, seed=9)
    assert cluster_of(copy, moved) == target


def test_a_replaced_file_loses_it_and_a_copy_keeps_it(collection: Collection, drop: Path) -> None:
    first, second = sorted(drop.glob("*.png"))[:2]
    twin = drop / "twin.png"
    shutil.copy(second, twin)
    collection.watch([drop], once=True)
    for path in (first, second):
        collection.corrections.move([path], to=elsewhere(collection, path))
    said: list[str] = []
    write_picture(first, 300, hue=1)
    write_picture(second, 301, hue=1)
    collection.watch([drop], once=True, emit=lambda event: said.append(event.sentence))
    rows = {row.id: row for row in collection.corrections.rows(ended=True)}
    assert [row.reason for row in rows.values()] == ["replaced", None]
    assert rows[2].path == bytes(twin)
    assert any("1 correction of the old content ends" in line for line in said)
    assert any("stays with its copies" in line for line in said)


def test_the_first_correction_makes_the_clusters_final(open_collection: Open, drop: Path) -> None:
    collection = open_collection()
    collection.watch([drop], once=True)
    assert inside(collection).current().provisional
    path = sorted(drop.glob("*.png"))[0]
    done = collection.corrections.exclude(
        [path], of=cluster_of(collection, path) or 0, dry_run=True
    )
    assert done.dry_run
    assert inside(collection).current().provisional
    assert collection.corrections.rows() == ()
    collection.corrections.move([path], to=cluster_of(collection, path) or 0)
    assert not inside(collection).current().provisional


def test_it_is_shown(collection: Collection, drop: Path, tmp_path: Path) -> None:
    path = sorted(drop.glob("*.png"))[0]
    target = elsewhere(collection, path)
    collection.corrections.move([path], to=target)
    assert collection.status().corrections == {"in": 1}
    marked = [one.path for one in collection.cluster_details(target).members if one.corrected]
    assert marked == [bytes(path)]
    for name in ("csv", "json"):
        collection.export(tmp_path / f"out.{name}", format=name)
    with open(tmp_path / "out.csv", newline="") as file:
        rows = {row["path"]: row["corrected"] for row in csv.DictReader(file)}
    assert {one for one, corrected in rows.items() if corrected == "true"} == {str(path)}
    entries = json.loads((tmp_path / "out.json").read_text())["images"]
    assert [one["path"] for one in entries if one["corrected"]] == [str(path)]
    plan = collection.cluster(k=3, fresh=True, seed=2, dry_run=True)
    assert plan.corrections == 1
    assert plan.corrected in (0, 1)


def test_doctor_finds_and_mends_what_is_violated(collection: Collection, drop: Path) -> None:
    path = sorted(drop.glob("*.png"))[0]
    home, target = cluster_of(collection, path), elsewhere(collection, path)
    collection.corrections.move([path], to=target)
    context = inside(collection)
    image = context.catalog.images.at(bytes(path))
    assert image is not None
    with context.catalog.transaction():
        context.catalog.assignments.move(context.current().id, [(image.content, home or 0, 0.0)])
    found = collection.doctor()
    assert not found.ok
    assert any("1 images not where corrections" in check.sentence for check in found.checks)
    assert collection.doctor(repair=True).ok
    assert cluster_of(collection, path) == target


def test_images_that_look_like_it_are_proposed_and_moved(
    collection: Collection, drop: Path
) -> None:
    path = sorted(drop.glob("*.png"))[0]
    target = elsewhere(collection, path)
    plan = collection.corrections.move([path], to=target, dry_run=True)
    assert 1 <= len(plan.similar) <= 20
    assert not plan.similar_moved
    done = collection.corrections.move([path], to=target, similar=True)
    assert done.similar_moved
    assert {one.id for one in done.similar} == {one.id for one in plan.similar}
    for one in done.similar:
        assert cluster_of(collection, one.location) == target


def test_a_new_cluster_lives_on(collection: Collection, drop: Path) -> None:
    paths = sorted(drop.glob("*.png"))[:4]
    done = collection.corrections.new("our dog", paths)
    assert done.name == "our dog"
    for seed in range(3):
        collection.cluster(k=3 + seed, seed=seed, fresh=True)
        assert {cluster_of(collection, path) for path in paths} == {done.cluster}
    collection.undo()
    assert {cluster_of(collection, path) for path in paths} == {done.cluster}
    assert collection.cluster_life(done.cluster or 0).alive
    late = write_picture(drop / "late.png", 400, hue=0)
    collection.add([late])
    assert satisfied(collection)


def test_taking_a_correction_back(collection: Collection, drop: Path) -> None:
    path = sorted(drop.glob("*.png"))[0]
    home, target = cluster_of(collection, path), elsewhere(collection, path)
    (number,) = collection.corrections.move([path], to=target).corrections
    with pytest.raises(UsageError, match=f"correction {number}"):
        collection.corrections.exclude([path], of=target)
    collection.corrections.remove([number])
    assert collection.corrections.rows() == ()
    collection.corrections.exclude([path], of=target)
    assert cluster_of(collection, path) == home
    with pytest.raises(NothingThereError, match="has ended"):
        collection.corrections.remove([number])


def test_wrong_input(collection: Collection, drop: Path) -> None:
    path = sorted(drop.glob("*.png"))[0]
    corrections = collection.corrections
    with pytest.raises(NothingThereError, match="nosuch"):
        corrections.move(["nosuch.png"], to=1)
    with pytest.raises(NothingThereError):
        corrections.move([path], to="no such cluster")
    with pytest.raises(NothingThereError):
        corrections.move([999999], to=1)
    with pytest.raises(UsageError, match="no image given"):
        corrections.move([], to=1)
    with pytest.raises(UsageError, match="is a number"):
        corrections.new("7", [path])
    with pytest.raises(UsageError, match="empty"):
        corrections.new(" ", [path])
    corrections.new("dogs", [path])
    with pytest.raises(UsageError, match="already"):
        corrections.new("dogs", [sorted(drop.glob("*.png"))[1]])
    with pytest.raises(UsageError, match="same bytes"):
        corrections.together(path, path)
    with pytest.raises(NothingThereError, match="correction 77"):
        corrections.remove([77])
    assert len(corrections.rows()) == 1


def test_questions_are_asked_once_and_answers_count(collection: Collection) -> None:
    corrections = collection.corrections
    asked = corrections.questions(5)
    assert 1 <= len(asked.questions) <= 5
    assert (asked.together, asked.apart) == (0, 0)
    pair = asked.questions[0]
    assert pair.image.id != pair.other.id
    done = corrections.answer(pair.image.id, pair.other.id, same=True, made_by="gallery")
    again = corrections.answer(pair.other.id, pair.image.id, same=True)
    assert (done.kind, done.already, again.already) == ("together", False, True)
    assert done.correction == again.correction
    after = corrections.questions(100)
    assert after.together == 1
    assert {pair.image.id, pair.other.id} not in [
        {one.image.id, one.other.id} for one in after.questions
    ]
    with pytest.raises(UsageError, match=f"contradicts correction {done.correction}: "):
        corrections.answer(pair.image.id, pair.other.id, same=False)
    assert cluster_of(collection, pair.image.location) == cluster_of(
        collection, pair.other.location
    )
    assert corrections.rows()[0].made_by == "gallery"
    skipped = after.questions[0]
    ids = (skipped.other.id, skipped.image.id)
    assert skipped not in corrections.questions(100, skipped=[ids]).questions


def test_who_belongs_to_an_image_of_a_named_cluster_joins_it(
    collection: Collection, drop: Path
) -> None:
    context = inside(collection)
    rows = collection.clusters()
    for name, row in zip("abc", rows, strict=False):
        mine = collection.cluster_details(row.id).members
        other = next(one for one in rows if one.id != row.id)
        collection.name_cluster(row.id, name)
        frozen = {member.id for member in mine}
        one, two = mine[0].id, collection.cluster_details(other.id).members[0].id
        done = collection.corrections.answer(one, two, same=True)
        image = context.catalog.images.get(two)
        assert image is not None
        for seed in (1, 2):
            now = context.catalog.assignments.cluster_of(context.current().id, image.content)
            assert now == row.id
            members = {one.id for one in collection.cluster_details(row.id).members}
            assert frozen | {two} <= members
            collection.cluster(k=3, seed=seed, fresh=seed == 2)
        collection.corrections.remove([done.correction])
        collection.name_cluster(row.id, "")


def two_of_one_cluster(collection: Collection, drop: Path) -> tuple[Path, Path]:
    first, *others = sorted(drop.glob("*.png"))
    home = cluster_of(collection, first)
    return first, next(path for path in others if cluster_of(collection, path) == home)


@pytest.fixture
def paged(open_collection: Open, drop: Path) -> Collection:
    made = open_collection(flags={"links.pages": True})
    made.watch([drop], once=True, cluster=False)
    made.cluster(k=3)
    return made


def marks(collection: Collection) -> int:
    """How many images the pages of the link folder mark as corrected."""
    pages = (collection.link_folder / ".pages").glob("[0-9]*.html")
    return sum(page.read_text().count("corrected</") for page in pages)


def test_an_answer_that_moves_nothing_is_on_the_pages_at_once(
    paged: Collection, drop: Path
) -> None:
    one, other = two_of_one_cluster(paged, drop)
    assert marks(paged) == 0
    done = paged.corrections.answer(one, other, same=True)
    assert done.moved == 0
    assert marks(paged) == 2
    paged.corrections.remove([done.correction])
    assert marks(paged) == 0
    pair = paged.corrections.pair([one, other], same=True)
    assert (pair.moved, marks(paged)) == (0, 2)


def test_answers_of_a_session_are_on_the_pages_at_its_end(paged: Collection, drop: Path) -> None:
    one, other = two_of_one_cluster(paged, drop)
    paged.corrections.answer(one, other, same=True, finish=False)
    assert marks(paged) == 0
    paged.corrections.finish_answers(moved=False)
    assert marks(paged) == 2


def test_beside_a_watcher_the_pages_wait_for_it(paged: Collection, drop: Path) -> None:
    one, other = two_of_one_cluster(paged, drop)
    context = inside(paged)
    with context.ingest_lock():
        paged.corrections.answer(one, other, same=True)
    assert marks(paged) == 0
    assert len(context.catalog.ledger.queued_pages()) == 1  # which a watcher makes, and any sync
    paged.corrections.finish_answers(moved=False)
    assert marks(paged) == 2


def test_a_correction_about_a_cluster_that_is_gone_answers_no_question(
    collection: Collection, drop: Path
) -> None:
    before = {row.id for row in collection.clusters()}
    collection.cluster(k=6, fresh=True, seed=8)
    gone = next(row.id for row in collection.clusters() if row.id not in before)
    paths = sorted(drop.glob("*.png"))[:-2]
    collection.corrections.move(paths, to=gone)
    assert len(collection.corrections.questions(30).questions) <= 2
    collection.undo()
    assert {row.applies for row in collection.corrections.rows()} == {False}
    assert len(collection.corrections.rows()) == len(paths)
    assert len(collection.corrections.questions(30).questions) >= 3


def test_an_image_that_comes_back_says_which_correction_ends(
    collection: Collection, drop: Path
) -> None:
    one, other = two_of_one_cluster(collection, drop)
    target = elsewhere(collection, one)
    (old,) = collection.corrections.move([one], to=target).corrections
    collection.corrections.apart(one, other)
    collection.remove(one)
    collection.corrections.move([other], to=target)
    said: list[str] = []
    collection.add([one], emit=lambda event: said.append(event.sentence))
    assert sum(f"correction {old} ends (image" in line for line in said) == 1
    ended = {row.id: row.reason for row in collection.corrections.rows(ended=True)}
    assert ended.pop(old) == "contradicted"
    assert set(ended.values()) == {None}
    assert cluster_of(collection, one) != target == cluster_of(collection, other)
    assert satisfied(collection)
    assert collection.doctor().ok


def test_links_of_images_that_move_with_an_arrival_follow(
    collection: Collection, drop: Path
) -> None:
    one, between = two_of_one_cluster(collection, drop)
    home = cluster_of(collection, one)
    last = next(
        path
        for path in sorted(drop.glob("*.png"))
        if path not in (one, between) and cluster_of(collection, path) == home
    )
    target = elsewhere(collection, one)
    collection.corrections.together(one, between)
    collection.corrections.together(between, last)
    collection.remove(between)
    collection.corrections.move([one], to=target)
    assert cluster_of(collection, last) == home
    collection.add([between])
    assert {cluster_of(collection, path) for path in (one, between, last)} == {target}
    assert collection.links(check=True).in_step
