"""The questions of a review: on a terminal, or answers on standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgclust.cli.context import Call
from imgclust.cli.questions import next_line
from imgclust.errors import NothingThereError, StoppedError, UsageError
from imgclust.terminal import corrections as tables
from imgclust.wording import counted

if TYPE_CHECKING:
    from imgclust.collection import Answer, Corrections, Question

_WORDS = {
    "y": "yes",
    "yes": "yes",
    "n": "no",
    "no": "no",
    "s": "skip",
    "skip": "skip",
    "q": "quit",
    "quit": "quit",
}


class Session:
    """Asks about one pair after the other; each answer is stored at once.

    On a terminal a person is asked. Elsewhere a line of standard input is an answer; where none
    comes within a second, or the input ends, so does the session.

    Attributes
    ----------
    answers
        Those that were stored.
    refused
        How many were not, as they contradict others.
    """

    def __init__(self, call: Call, corrections: Corrections) -> None:
        self._call = call
        self._corrections = corrections
        self._skipped: list[tuple[int, int]] = []
        self.answers: list[Answer] = []
        self.refused = 0

    def ask(self, number: int) -> None:
        """Ask so many questions, or fewer where nothing is left to ask.

        Raises
        ------
        StoppedError
            When it was interrupted; what was answered stays.
        UsageError
            For a line of standard input that does not answer the question.
        """
        for place in range(1, number + 1):
            if self._call.stop.is_set():
                raise self._interrupted()
            found = self._corrections.questions(1, skipped=self._skipped).questions
            if not found:
                self._call.screen.summary("nothing is left to ask about")
                return
            try:
                word = self._word(found[0], f"{place} of {number}")
            except (KeyboardInterrupt, StoppedError):
                raise self._interrupted() from None
            if word == "quit":
                return
            self._take(found[0], word)

    def _interrupted(self) -> StoppedError:
        return StoppedError(f"interrupted; {counted(len(self.answers), 'answer')} kept")

    def _take(self, question: Question, word: str) -> None:
        one, other = question.image.id, question.other.id
        if word != "skip":
            try:
                self.answers.append(self._corrections.answer(one, other, same=word == "yes"))
                return
            except (UsageError, NothingThereError) as error:
                self._call.screen.note(f"not kept: {error}")
                self.refused += 1
        self._skipped.append((one, other))

    def _word(self, question: Question, which: str) -> str:
        call = self._call
        if not call.screen.can_ask:
            return _piped(call)
        call.screen.clear()
        pictures = self._corrections.pictures(question)
        tables.question(call.screen, question, pictures, which=which)
        while True:
            said = call.reply("same group? [y]es, [n]o, [s]kip, [q]uit")
            if said is None:
                return "quit"
            if said in _WORDS:
                return _WORDS[said]


def _piped(call: Call) -> str:
    line = next_line(call)
    if not line:
        return "quit"
    said = line.decode("utf-8", "replace").strip().lower()
    if said not in _WORDS or not line.endswith(b"\n"):
        raise UsageError(f"{said!r} is not an answer; use y, n, skip or quit, a line each")
    return _WORDS[said]
