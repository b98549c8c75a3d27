"""The questions of a review: on a terminal, or answers on standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgclust.cli.context import Call
from imgclust.cli.questions import next_line, on_terminal
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

    On a terminal a person is asked. Elsewhere standard input holds the answers, a line each, for
    as long as it lasts; each pair is shown before its answer is read.

    Attributes
    ----------
    answers
        Those that were stored.
    refused
        How many were not, as they contradict others.
    unanswered
        How many questions were left when the input ended.
    """

    def __init__(self, call: Call, corrections: Corrections) -> None:
        """Raises `UsageError` where a person cannot see the questions."""
        if not call.screen.can_ask and on_terminal():
            raise UsageError(
                "nobody sees the pictures, since standard error is not a terminal; list the pairs "
                "with --dry-run, or write the answers to standard input"
            )
        self._call = call
        self._corrections = corrections
        self._skipped: list[tuple[int, int]] = []
        self.answers: list[Answer] = []
        self.refused = 0
        self.unanswered = 0

    def ask(self, number: int) -> None:
        """Ask so many questions, or fewer where nothing is left to ask.

        Raises
        ------
        StoppedError
            When it was interrupted; what was answered stays.
        UsageError
            For a line of standard input that does not answer the question, and for a no where
            there is one cluster.
        """
        for place in range(1, number + 1):
            if self._call.stop.is_set():
                raise self._interrupted()
            found = self._corrections.questions(1, skipped=self._skipped).questions
            if not found:
                self._call.screen.summary("nothing is left to ask about")
                break
            try:
                word = self._word(found[0], f"{place} of {number}")
            except (KeyboardInterrupt, StoppedError):
                raise self._interrupted() from None
            if word is None:
                self.unanswered = number - place + 1
                return
            if word == "quit":
                return
            self._take(found[0], word)
        if not self._call.screen.can_ask and next_line(self._call):
            self._call.screen.note("more answers follow on standard input; they are not read (-n)")

    def finish(self) -> None:
        """Have pages follow the answers that have moved nothing."""
        if any(not one.already for one in self.answers):
            self._corrections.finish_answers(moved=False)

    def _interrupted(self) -> StoppedError:
        return StoppedError(f"interrupted; {counted(len(self.answers), 'answer')} kept")

    def _take(self, question: Question, word: str) -> None:
        one, other = question.image.id, question.other.id
        if word != "skip":
            try:
                said = self._corrections.answer(one, other, same=word == "yes", finish=False)
                self.answers.append(said)
                if said.moved:
                    self._corrections.finish_answers(moved=True)
                return
            except (UsageError, NothingThereError) as error:
                from imgclust.collection import TooFewClustersError

                if isinstance(error, TooFewClustersError) and error.clusters == 1:
                    raise  # so it would be with every other no
                self._call.screen.note(f"not kept: {error}")
                self.refused += 1
        self._skipped.append((one, other))

    def _word(self, question: Question, which: str) -> str | None:
        """The answer to a question; None at the end of what answers it."""
        call = self._call
        if not call.screen.can_ask:
            tables.question(call.screen, question, (None, None), which=which)
            return _piped(call)
        call.screen.clear()
        pictures = self._corrections.pictures(question)
        tables.question(call.screen, question, pictures, which=which)
        while True:
            said = call.reply("same group? [y]es, [n]o, [s]kip, [q]uit")
            if said is None:
                return None
            if said in _WORDS:
                return _WORDS[said]


def _piped(call: Call) -> str | None:
    line = next_line(call, patience_s=None)
    if not line:
        return None
    said = line.decode("utf-8", "replace").strip().lower()
    if said not in _WORDS or not line.endswith(b"\n"):
        raise UsageError(f"{said!r} is not an answer; use y, n, skip or quit, a line each")
    return _WORDS[said]
