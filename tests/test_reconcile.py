"""What to do about a path: every row of the table, without a file, a catalog or a clock."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclust.catalog.observations import Observation
from imgclust.images.filestat import FileStat
from imgclust.images.reader import Again, Decoded, Died, Outcome, ReadFailed, Skipped, Unreadable
from imgclust.reconcile import (
    MAX_DEATHS,
    MAX_READS,
    Fate,
    Look,
    RootScan,
    Verdict,
    hold,
    judge,
    look,
    same_file,
    settled,
)

PATH = b"/photos/a.jpg"
STAT = FileStat(device=1, inode=2, size=3, mtime_ns=4, ctime_ns=5_000_000_000)
STATES = ("seen", "done", "skipped", "quarantined", "missing", "removed")
OTHER = {field: STAT._replace(**{field: getattr(STAT, field) + 1}) for field in FileStat._fields}
evidence = pytest.mark.parametrize("field", FileStat._fields)
local_and_network = pytest.mark.parametrize("network", [False, True])


def observed(state: str = "seen", *, tries: int = 0, deaths: int = 0) -> Observation:
    return Observation(PATH, 1, (*STAT,), 0.0, state, 0.0, tries, deaths)


# Evidence


@evidence
def test_evidence_of_change_on_a_local_disk(field: str) -> None:
    assert same_file(STAT, OTHER[field], network=False) is (field == "device")


@evidence
def test_only_size_and_mtime_are_evidence_on_a_network(field: str) -> None:
    assert same_file(STAT, OTHER[field], network=True) is (field not in {"size", "mtime_ns"})


# Looks


@local_and_network
def test_a_new_path_is_seen_and_an_absent_unknown_one_is_nothing(network: bool) -> None:
    assert look(None, STAT, network=network) is Look.SEE
    assert look(None, None, network=network) is Look.NOTHING


@pytest.mark.parametrize(
    ("state", "there", "away"),
    [
        ("seen", Look.NOTHING, Look.VANISHED),
        ("done", Look.NOTHING, Look.VANISHED),
        ("skipped", Look.NOTHING, Look.VANISHED),
        ("quarantined", Look.NOTHING, Look.VANISHED),
        ("missing", Look.BACK, Look.NOTHING),
        ("removed", Look.NOTHING, Look.NOTHING),
    ],
)
@local_and_network
def test_an_unchanged_or_absent_path(state: str, there: Look, away: Look, network: bool) -> None:
    assert look(observed(state), STAT, network=network) is there
    assert look(observed(state), None, network=network) is away


@pytest.mark.parametrize("state", STATES)
@evidence
def test_every_change_makes_the_path_due_again_whatever_it_was(state: str, field: str) -> None:
    found = look(observed(state), OTHER[field], network=False)
    if field == "device":
        assert found is look(observed(state), STAT, network=False)
    else:
        assert found is Look.SEE


def test_a_removed_image_comes_back_only_when_asked_for_by_name() -> None:
    assert look(observed("removed"), STAT, network=False) is Look.NOTHING
    assert look(observed("removed"), STAT, network=False, asked=True) is Look.SEE
    for state in set(STATES) - {"removed"}:
        asked = look(observed(state), STAT, network=False, asked=True)
        assert asked is look(observed(state), STAT, network=False)


@evidence
@local_and_network
def test_ripe_means_that_nothing_has_changed_since(field: str, network: bool) -> None:
    assert settled(observed(), STAT, network=network) is Look.CLAIM
    assert settled(observed(), None, network=network) is Look.VANISHED
    same = same_file(STAT, OTHER[field], network=network)
    expected = Look.CLAIM if same else Look.SEE
    assert settled(observed(), OTHER[field], network=network) is expected


# Judgements


def decoded(stat: FileStat = STAT) -> Decoded:
    pixels = np.zeros((1, 1, 3), np.uint8)
    return Decoded(PATH, stat, bytes(32), 1, 1, "PNG", pixels, None, 0.0)


def judged(
    known: Observation | None,
    outcome: Outcome,
    *,
    age_s: float = 1e6,
    network: bool = False,
    disk_works: bool = True,
) -> Verdict:
    return judge(
        known,
        outcome,
        wall=STAT.ctime_ns / 1e9 + age_s,
        settle_s=2.0,
        young_s=30.0,
        retry_s=(1.0, 5.0, 25.0),
        network=network,
        disk_works=disk_works,
    )


OUTCOMES: list[Outcome] = [
    decoded(),
    Skipped(PATH, STAT, ".txt"),
    Unreadable(PATH, STAT, None, "damaged"),
    Again(PATH, "a writer has it"),
    Died(PATH, STAT, "killed"),
    ReadFailed(PATH, "input/output error"),
]
every_outcome = pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: type(o).__name__)


@every_outcome
def test_what_left_the_queue_meanwhile_is_dropped(outcome: Outcome) -> None:
    assert judged(None, outcome).fate is Fate.DROP
    for state in set(STATES) - {"seen"}:
        assert judged(observed(state), outcome).fate is Fate.DROP


@pytest.mark.parametrize(
    ("outcome", "fate"),
    list(
        zip(
            OUTCOMES,
            (Fate.COMMIT, Fate.SKIP, Fate.QUARANTINE, Fate.AGAIN, Fate.AGAIN, Fate.AGAIN),
            strict=True,
        )
    ),
)
def test_the_fate_of_each_outcome_of_an_old_file(outcome: Outcome, fate: Fate) -> None:
    assert judged(observed(), outcome).fate is fate


@pytest.mark.parametrize("outcome", OUTCOMES[:3], ids=lambda o: type(o).__name__)
@evidence
@local_and_network
def test_what_was_read_of_another_state_of_the_file_settles_again(
    outcome: Outcome, field: str, network: bool
) -> None:
    assert not isinstance(outcome, Again | ReadFailed)
    other = dataclasses.replace(outcome, stat=OTHER[field])
    verdict = judged(observed(), other, network=network)
    if same_file(STAT, OTHER[field], network=network):
        assert verdict.fate is judged(observed(), outcome).fate
    else:
        assert verdict == Verdict(Fate.SEE, 2.0)


def test_a_young_unreadable_file_is_tried_after_1_5_and_25_seconds_then_set_aside() -> None:
    damaged = Unreadable(PATH, STAT, None, "damaged")
    known = observed()
    delays: list[float] = []
    while (verdict := judged(known, damaged, age_s=sum(delays))).fate is Fate.AGAIN:
        delays.append(verdict.delay_s)
        known = observed(tries=verdict.tries)
    assert delays == [1.0, 5.0, 25.0]
    assert verdict == Verdict(Fate.QUARANTINE, tries=4, reason="damaged")


@pytest.mark.parametrize(("age_s", "young"), [(-5, True), (0, True), (29.9, True), (30, False)])
def test_the_age_of_a_file_counts_from_its_ctime(age_s: float, young: bool) -> None:
    verdict = judged(observed(), Unreadable(PATH, STAT, None, "damaged"), age_s=age_s)
    assert verdict.fate is (Fate.AGAIN if young else Fate.QUARANTINE)


def test_tries_that_began_go_on_when_the_file_has_grown_old() -> None:
    verdict = judged(observed(tries=1), Unreadable(PATH, STAT, None, "damaged"), age_s=1e6)
    assert verdict == Verdict(Fate.AGAIN, 5.0, 2)


def test_the_third_death_sets_a_file_aside() -> None:
    assert MAX_DEATHS == 3
    died = Died(PATH, STAT, "killed")
    assert judged(observed(deaths=0), died) == Verdict(Fate.AGAIN, 0.0, 0, 1)
    assert judged(observed(deaths=1), died) == Verdict(Fate.AGAIN, 0.0, 0, 2)
    assert judged(observed(deaths=2), died) == Verdict(Fate.QUARANTINE, tries=3, reason="killed")


def test_a_file_that_fails_to_be_read_three_times_is_set_aside() -> None:
    assert MAX_READS == 3
    failed = ReadFailed(PATH, "input/output error")
    assert judged(observed(tries=0), failed) == Verdict(Fate.AGAIN, 1.0, 1, 0)
    assert judged(observed(tries=1), failed) == Verdict(Fate.AGAIN, 5.0, 2, 0)
    assert judged(observed(tries=2), failed) == Verdict(
        Fate.QUARANTINE, tries=3, reason="input/output error"
    )


@pytest.mark.parametrize("tries", range(5))
def test_a_disk_that_fails_costs_no_file_a_try(tries: int) -> None:
    failed = ReadFailed(PATH, "input/output error")
    assert judged(observed(tries=tries), failed, disk_works=False) == Verdict(Fate.WAIT)


def test_a_busy_file_costs_neither_tries_nor_deaths() -> None:
    verdict = judged(observed(tries=2, deaths=1), Again(PATH, "a writer has it"))
    assert verdict == Verdict(Fate.AGAIN, 2.0, 2, 1)


# Holding


def held(
    *, there: bool = True, files: int = 100, images: int = 100, newly: int = 0, moved: bool = False
) -> str | None:
    scan = RootScan(
        there=there, files=files, images=images, newly_missing=newly, device_changed=moved
    )
    return hold(scan, share=0.2, least=10)


def test_nothing_is_held_that_has_no_images() -> None:
    assert held(there=False, files=0, images=0) is None


def test_a_root_that_is_gone_is_held_whatever_is_missing() -> None:
    assert held(there=False, files=0, images=1) == "the folder is gone"


def test_an_emptied_root_is_held_even_for_one_image() -> None:
    assert held(files=0, images=1, newly=1) == "the folder is empty"


def test_another_device_is_held_only_with_images_missing() -> None:
    assert held(newly=0, moved=True) is None
    assert held(newly=1, moved=True) is not None


@pytest.mark.parametrize(
    ("images", "newly", "reason"),
    [
        (100, 20, None),
        (100, 21, "21 of 100 images vanished at once"),
        (20, 9, None),
        (20, 10, "10 of 20 images vanished at once"),
        (10, 9, None),
        (50, 10, None),
        (49, 10, "10 of 49 images vanished at once"),
    ],
)
def test_more_than_a_fifth_and_at_least_ten(images: int, newly: int, reason: str | None) -> None:
    assert held(images=images, newly=newly) == reason


@given(
    images=st.integers(1, 1000),
    newly=st.integers(0, 1000),
    more=st.integers(0, 1000),
    moved=st.booleans(),
)
def test_more_missing_never_frees_a_root(images: int, newly: int, more: int, moved: bool) -> None:
    newly, more = min(newly, images), min(newly + more, images)
    if held(images=images, newly=newly, moved=moved) is not None:
        assert held(images=images, newly=more, moved=moved) is not None


def test_every_state_and_stat_has_an_answer() -> None:
    stats: list[FileStat | None] = [None, STAT, *OTHER.values()]
    knowns = [None, *(observed(state) for state in STATES)]
    flags = [False, True]
    for known, stat, network, asked in itertools.product(knowns, stats, flags, flags):
        assert isinstance(look(known, stat, network=network, asked=asked), Look)
