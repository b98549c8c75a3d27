"""Numbers as people write them; what Python alone would take for a number is refused."""

from __future__ import annotations

import pytest

from imgclust.errors import UsageError
from imgclust.numbers import (
    MOST,
    count,
    count_or_auto,
    is_digits,
    number,
    quoted,
    recurrence,
    whole,
)

# Of these `str.isdigit`, `int` or `float` takes each for a number in some place.
NO_COUNTS = [
    *("²", "٣", "३", "Ⅷ", "1²", "1_000", " 5", "5 ", "5\n", "\t5", "+5", "-1", "0", "00", "-0"),
    *("1e3", "5.0", "0x10", "1,000", "", " ", "nan", "inf", "auto ", " auto", "AUTO", "Auto"),
    *(str(MOST + 1), "9" * 19, "9" * 20, "9" * 5000, "many", "None", "True"),
]


@pytest.mark.parametrize("text", NO_COUNTS)
def test_what_is_no_count(text: str) -> None:
    assert count(text) is None
    with pytest.raises(UsageError) as caught:
        count_or_auto(text, name="k")
    said = str(caught.value)
    assert said.startswith("k = ")
    assert said.endswith(" is neither auto nor a whole number from 1 to 999,999,999")
    assert len(said) < 150


@pytest.mark.parametrize(("text", "said"), [("1", 1), ("007", 7), (str(MOST), MOST), ("42", 42)])
def test_counts(text: str, said: int) -> None:
    assert count(text) == count_or_auto(text) == count_or_auto(said) == said


def test_auto_and_least() -> None:
    assert count_or_auto("auto") is None
    assert count_or_auto("2", least=2) == 2
    with pytest.raises(UsageError, match=r"^'1' is neither auto nor a whole number from 2 to"):
        count_or_auto("1", least=2)
    with pytest.raises(UsageError, match="neither auto"):
        count_or_auto(True)
    with pytest.raises(UsageError, match="a number of thousands of digits"):
        count_or_auto(10**5000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", 0),
        ("-3", -3),
        ("+5", 5),
        ("9" * 19, int("9" * 19)),
        ("9" * 20, None),
        ("²", None),
        ("٣", None),
        ("1_0", None),
        (" 5", None),
        ("5\n", None),
        ("5.0", None),
        ("1e3", None),
        ("", None),
    ],
)
def test_whole_numbers(text: str, said: int | None) -> None:
    assert whole(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.5", 0.5),
        ("-1", -1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("2E-1", 0.2),
        ("1e999", None),
        ("9" * 400, None),
        ("9" * 5000, None),
        ("nan", None),
        ("inf", None),
        ("-Infinity", None),
        ("1_000.5", None),
        ("٣.٥", None),
        ("²", None),
        (" 1", None),
        ("1\n", None),
        (".", None),
        ("", None),
        ("0x1p3", None),
    ],
)
def test_numbers(text: str, said: float | None) -> None:
    assert number(text) == said


@pytest.mark.parametrize(
    ("text", "digits"),
    [("7", True), ("007", True), ("²", False), ("٣", False), ("", False), ("-7", False)],
)
def test_only_ascii_digits_are_an_id(text: str, digits: bool) -> None:
    assert is_digits(text) is digits


@pytest.mark.parametrize("text", ["²d", "٣h", "1_0d", " 5h", "0d", "h", "d", "1e3", "5 d", "-1h"])
def test_what_is_no_recurrence(text: str) -> None:
    assert recurrence(text) is None


def test_long_text_is_cut_in_messages() -> None:
    assert quoted("²") == "'²'"
    assert len(quoted("x" * 10_000)) < 50
