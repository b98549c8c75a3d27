"""Errors: what the system refuses, in words for people."""

from __future__ import annotations

import errno
import os

import pytest

from imgclust.errors import reason_of


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EACCES, "Permission denied; correct its permissions"),
        (errno.EROFS, "Read-only file system; use another place"),
        (errno.EIO, "Input/output error; check the disk"),
    ],
)
def test_what_the_system_refuses_is_said_with_its_cure(code: int, words: str) -> None:
    assert reason_of(OSError(code, os.strerror(code))) == words


def test_a_refusal_without_a_number_is_said_as_it_is() -> None:
    assert reason_of(OSError("the cable is out")) == "the cable is out"
