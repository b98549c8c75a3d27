"""What is never looked at: hidden names, unfinished downloads, folders of systems, patterns.

A decision is about one entry of a folder whose own folders are looked at, as git decides about its
ignored files: below a folder that is left out no pattern brings anything back.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from imgclust.errors import UsageError
from imgclust.fs import SYSTEM_FOLDERS, has_excluded_name

# An escaped character, or a class, of a regular expression.
_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
# Folders whose decision is kept; each costs about 200 bytes.
_MOST_FOLDERS = 50_000


@dataclass(frozen=True)
class _Line:
    """A pattern; `out` is False for one that brings back what others leave out."""

    regex: re.Pattern[str]
    out: bool


class Exclusion:
    """Decides which paths below a root are left out.

    Parameters
    ----------
    folders
        Names of folders, with `*`, `?` and `[...]`, whatever their letter case.
    patterns
        Lines as in a `.gitignore` file at the root; a later one wins.

    Raises
    ------
    UsageError
        For a pattern that matches nothing.
    """

    def __init__(
        self,
        folders: Sequence[str] = SYSTEM_FOLDERS,
        patterns: Sequence[str] = (),
    ) -> None:
        names = [fnmatch.translate(name.lower()) for name in folders]
        self._folders = re.compile("|".join(names)) if names else None
        self._patterns = _compiled(patterns)
        self._known: dict[tuple[bytes, bytes], bool] = {}

    def below(self, root: bytes) -> Callable[[bytes, bool], bool]:
        """`leaves_out` for the entries below one root."""
        return partial(self.leaves_out, root)

    def leaves_out(self, root: bytes, path: bytes, folder: bool) -> bool:
        """True for an entry that is left out; the folders between it and the root are not."""
        if has_excluded_name(path):
            return True
        if folder and self._folders is not None:
            name = os.fsdecode(os.path.basename(path))
            if self._folders.match(name.lower()):
                return True
        if not self._patterns:
            return False
        inside = path[len(root.rstrip(b"/")) + 1 :]
        return _is_out(self._patterns, _matched(inside) + ("/" if folder else ""))

    def covers(self, root: bytes, path: bytes) -> bool:
        """True for a path that is left out, or lies in a folder that is; it counts as a file."""
        top = root.rstrip(b"/")
        return self._folder_is_out(top, os.path.dirname(path)) or self.leaves_out(top, path, False)

    def _folder_is_out(self, top: bytes, folder: bytes) -> bool:
        if len(folder) <= len(top):
            return False
        found = self._known.get((top, folder))
        if found is None:
            found = self._folder_is_out(top, os.path.dirname(folder)) or self.leaves_out(
                top, folder, True
            )
            if len(self._known) >= _MOST_FOLDERS:
                self._known.clear()
            self._known[top, folder] = found
        return found


def path_pattern(pattern: str) -> Callable[[bytes], bool]:
    """Whether an absolute path matches a pattern that is absolute too, or lies in a match.

    Raises
    ------
    UsageError
        For a pattern that matches nothing.
    """
    [compiled] = _compiled([pattern])
    return lambda path: bool(compiled.regex.search(_matched(path[1:])))


def _is_out(patterns: Sequence[_Line], entry: str) -> bool:
    """What the last pattern says that matches an entry itself, and not only a folder above it.

    The expressions have a group `ps_d` at the end of a folder's name, where what is below matches
    too. `GitIgnoreSpec` decides about files only, and misjudges folders.
    """
    for pattern in reversed(patterns):
        for match in pattern.regex.finditer(entry):
            if match.groupdict().get("ps_d") is None or match.end("ps_d") == len(entry):
                return pattern.out
    return False


def _matched(path: bytes) -> str:
    """A path as the patterns are matched with: no expression matches a line break."""
    return os.fsdecode(path).replace("\n", "\0")


def _compiled(patterns: Sequence[str]) -> list[_Line]:
    if not patterns:
        return []
    from pathspec.patterns.gitignore import GitIgnorePatternError
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    compiled = []
    for line in patterns:
        if "[[:" in line:
            raise UsageError(f"the pattern {line!r}: write [0-9] for [[:digit:]], and so on")
        pattern = None
        with contextlib.suppress(GitIgnorePatternError, re.error):
            pattern = GitIgnoreSpecPattern(line.replace("\n", "\0"))
        if (
            pattern is None
            or pattern.include is None
            or pattern.regex is None
            or _has_no_name(line)
        ):
            hint = f"; for a name with # write \\{line}" if line.startswith("#") else ""
            raise UsageError(f"the pattern {line!r} matches nothing{hint}")
        compiled.append(_Line(_within_names(pattern.regex), pattern.include))
    return compiled


def _has_no_name(line: str) -> bool:
    """True for a pattern with a part that no path has: an empty one (`//`, `!/`), `.` or `..`."""
    parts = line.removeprefix("!").rstrip(" ").removeprefix("/").removesuffix("/").split("/")
    return "[" not in line and any(part in {"", ".", ".."} for part in parts)


def _within_names(regex: re.Pattern[str]) -> re.Pattern[str]:
    """The same expression in which no class of a pattern, as `[!0-9]`, matches a slash.

    In git a slash is matched by a slash alone; pathspec writes classes as they are.
    """
    return re.compile(_CLASS.sub(_no_slash, regex.pattern), regex.flags)


def _no_slash(found: re.Match[str]) -> str:
    text = found.group()
    return text if text.startswith("\\") or text == "[^/]" else f"(?!/){text}"
